"""The configuration, judged by the rules of `config check`, and the redactor that knows its secrets."""

from typing import TYPE_CHECKING, Any

from toombos_cli.base.findings import Finding
from toombos_cli.diagnose.facts.source import Fact, Facts
from toombos_cli.manifest.model import DRY_RUN

if TYPE_CHECKING:
    from toombos_cli.settings.facts import Facts as Settings


def _gather_settings(facts: Facts) -> "Settings":
    from toombos_cli.project.configuration import gather_facts

    return gather_facts(facts.manifest, mode=judged_mode(facts), start=facts.searched_from)


def _judge(facts: Facts) -> tuple[Finding, ...]:
    from toombos_cli.settings.check import check_configuration

    return check_configuration(facts.get(SETTINGS))


def judged_mode(facts: Facts) -> str | None:
    """The mode that the system runs in, or ran in last; dry-run for one that never ran and has no `.env`."""
    from toombos_cli.project.state import read_state

    modes, project = facts.manifest.modes, facts.manifest.project
    state = read_state(project)
    if state is not None:
        return state.mode if state.mode in modes else None
    return DRY_RUN if DRY_RUN in modes and not (project / ".env").exists() else None


SETTINGS: "Fact[Settings]" = Fact("settings", Any, _gather_settings)
"""Holds secrets: it is never saved."""
CONFIGURATION: Fact[tuple[Finding, ...]] = Fact("configuration", tuple[Finding, ...], _judge)
