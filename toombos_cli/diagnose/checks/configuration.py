"""The rules of `config check` as checks, with the same ids, findings and `follows`."""

from collections.abc import Iterator
from functools import partial

from toombos_cli.base.findings import Check, Finding
from toombos_cli.base.results import Verdict
from toombos_cli.diagnose.checks.places import behind_a_read_only_place
from toombos_cli.diagnose.facts.configuration import CONFIGURATION
from toombos_cli.diagnose.facts.source import Facts


def _run(rule: str, facts: Facts) -> Iterator[Finding]:
    for finding in facts.get(CONFIGURATION):
        if finding.id == rule:
            wrong = rule == "dsn" and finding.verdict is Verdict.FAIL
            yield behind_a_read_only_place(facts, finding) if wrong else finding


def _checks() -> Iterator[Check[Facts]]:
    from toombos_cli.settings.check import RULES

    for rule in RULES:
        yield Check(id=rule.id, title=rule.title, group=rule.group, run=partial(_run, rule.id), follows=rule.follows)


CHECKS = tuple(_checks())
