"""The rules of `config check` as checks, with the same ids, findings and `follows`."""

from collections.abc import Iterator
from functools import partial

from toombos_cli.base.findings import Check, Finding
from toombos_cli.diagnose.facts.configuration import CONFIGURATION
from toombos_cli.diagnose.facts.source import Facts


def _run(rule: str, facts: Facts) -> Iterator[Finding]:
    yield from (finding for finding in facts.get(CONFIGURATION) if finding.id == rule)


def _checks() -> Iterator[Check[Facts]]:
    from toombos_cli.settings.check import RULES

    for rule in RULES:
        yield Check(id=rule.id, title=rule.title, group=rule.group, run=partial(_run, rule.id), follows=rule.follows)


CHECKS = tuple(_checks())
