"""The rule about what a backup made now would lack."""

from collections.abc import Iterator

from toombos_cli.base.findings import Finding, fail, warn
from toombos_cli.base.fixes import advice
from toombos_cli.base.results import Verdict
from toombos_cli.settings.backup_gaps import Gap
from toombos_cli.settings.facts import SettingsFacts


def gaps(facts: SettingsFacts) -> Iterator[Finding]:
    """What is missing from every backup is missed only when it is restored."""
    yield from map(_finding, facts.backup_gaps)


def _finding(gap: Gap) -> Finding:
    if gap.verdict is Verdict.FAIL:
        return fail(gap.message, cause="no backup counts as good until it is mended", fix=advice(gap.hint))
    return warn(gap.message, cause="no restore brings it back", fix=advice(gap.hint))
