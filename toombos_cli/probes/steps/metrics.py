"""Reads numbers from Prometheus text with Prometheus' own parser."""

import re

_METRIC = re.compile(r"(?P<name>[A-Za-z_:][A-Za-z0-9_:]*)\s*(?:\{(?P<labels>.*)\})?")
_LABEL = re.compile(r'\s*([A-Za-z_][A-Za-z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*(?:,|$)')


def metric_value(text: str, metric: str) -> float | None:
    """Return the sum of the samples that match `name` or `name{label="value"}`, or None if there are none.

    Raises ValueError if `text` is not Prometheus text or `metric` is not a metric.
    """
    from prometheus_client.parser import text_string_to_metric_families

    name, labels = parse_metric(metric)
    lines = "\n".join(line for line in text.splitlines() if line.startswith(name))  # parsing all would take seconds
    values = [
        sample.value
        for family in text_string_to_metric_families(lines + "\n")
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]
    return sum(values) if values else None


def parse_metric(metric: str) -> tuple[str, dict[str, str]]:
    """Return the name and the labels of a metric in Prometheus notation. Raises ValueError."""
    found = _METRIC.fullmatch(metric)
    if found is None:
        raise ValueError(f"{metric!r} is not a metric")
    labels, rest = {}, found["labels"] or ""
    while rest.strip():
        label = _LABEL.match(rest)
        if label is None:
            raise ValueError(f"{metric!r} has labels that cannot be read")
        labels[label[1]] = label[2]
        rest = rest[label.end() :]
    return found["name"], labels
