"""The metrics that a PromQL expression reads."""

from functools import cache

_FROM_PROMETHEUS_ITSELF = frozenset({"up", "ALERTS", "ALERTS_FOR_STATE"})


@cache
def metrics_of(expr: str) -> tuple[str, ...]:
    """Return the names of the metrics that services must export for `expr`, sorted. Raise ValueError if invalid."""
    import promql_parser

    names: set[str] = set()

    def visit(node: object) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            names.update(name for name in (node.name, *_by_label(node)) if name)

    promql_parser.walk(promql_parser.parse(expr), visit)
    return tuple(sorted(names - _FROM_PROMETHEUS_ITSELF))


def _by_label(selector: object) -> tuple[str, ...]:
    """Return the name if it is written as a label: `{__name__="x"}`."""
    matchers = selector.matchers.matchers  # type: ignore[attr-defined]  # a promql_parser.VectorSelector
    return tuple(matcher.value for matcher in matchers if matcher.name == "__name__")
