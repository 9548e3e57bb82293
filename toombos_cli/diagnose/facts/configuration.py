"""The settings, and the findings of `config check` about them."""

from typing import TYPE_CHECKING, Any

from toombos_cli.base.findings import Finding
from toombos_cli.diagnose.facts.source import Fact, Facts

if TYPE_CHECKING:
    from toombos_cli.settings.facts import SettingsFacts


def _gather_settings(facts: Facts) -> "SettingsFacts":
    from toombos_cli.project.configuration import gather_facts
    from toombos_cli.project.mode import mode_now

    return gather_facts(facts.manifest, mode=mode_now(facts.manifest), start=facts.searched_from)


def _judge(facts: Facts) -> tuple[Finding, ...]:
    from toombos_cli.settings.check import check_configuration

    return check_configuration(facts.get(SETTINGS))


SETTINGS: "Fact[SettingsFacts]" = Fact("settings", Any, _gather_settings, from_afar=True)
"""Contains secrets: it is never saved."""
CONFIGURATION: Fact[tuple[Finding, ...]] = Fact("configuration", tuple[Finding, ...], _judge)
