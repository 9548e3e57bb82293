"""The rules of `config check`, as checks: the same ids, the same answers, and which of them explains which."""

from collections.abc import Iterator
from dataclasses import fields
from functools import partial

from toombos_cli.base.findings import Answer
from toombos_cli.diagnose.check import Check
from toombos_cli.diagnose.facts.configuration import CONFIGURATION
from toombos_cli.diagnose.facts.source import Facts

_GROUP = "config"

# Rules by what they explain: a file that cannot be read explains its lines, a lost line the values, values the rest.
_FILE = ("not_found", "mode", "owner", "load")
_LINES = ("parse", "spaces", "duplicates", "portability", "extra", "pydantic_v1")
_VALUES = ("types", "missing", "shadow", "dryrun", "live", "publisher", "secret_set", "mock", "client_urls", "dsn")
_FOLLOWS: dict[str, tuple[str, ...]] = {
    "load": ("not_found", "mode"),
    "types": ("parse",),
    "missing": ("not_found", "mode", "load", "parse", "extra", "shadow"),
    "dryrun": ("not_found", "mode", "load", "parse", "extra", "types", "shadow"),
    "live": ("not_found", "mode", "load", "parse", "extra", "types", "shadow", "dryrun"),
    "publisher": ("parse", "extra", "live"),
    "secret_set": ("shadow", "dryrun"),
    "example_diff": ("not_found", "mode", "load", "parse", "extra"),
    "ports": ("port_clash",),
    "client_urls": ("port_clash", "types"),
    "prometheus": ("port_clash",),
    # What is wrong in .env was written after the start: mended, it is what the services were started with.
    "stale": ("not_found", "load", *_LINES, *_VALUES),
}
# Causes before symptoms; whatever is not named comes last, in the order of the rules.
_FIRST = (*_FILE, *_LINES, "shadow", "types", "missing", "dryrun", "live")


def _run(rule: str, facts: Facts) -> Iterator[Answer]:
    for finding in facts.get(CONFIGURATION):
        if finding.id == rule:
            yield Answer(**{f.name: getattr(finding, f.name) for f in fields(Answer)})


def _titles() -> dict[str, str]:
    from toombos_cli.settings.check import RULES

    titles = {rule.id: rule.title for rule in RULES}
    return {rule: titles[rule] for rule in sorted(titles, key=_depth)}


def _depth(rule: str) -> int:
    """Where a rule stands: those of `_FIRST` in their order, `stale` last, the others between as RULES has them."""
    return _FIRST.index(rule) if rule in _FIRST else len(_FIRST) + (rule == "stale")


CHECKS = tuple(
    Check(id=rule, title=title, group=_GROUP, run=partial(_run, rule), follows=_FOLLOWS.get(rule, ()))
    for rule, title in _titles().items()
)
