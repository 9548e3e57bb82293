"""`config check`: judges the configuration against every rule."""

from pathlib import Path

from toombos_cli.config.reports import CheckReport
from toombos_cli.manifest.model import Manifest
from toombos_cli.project.configuration import gather_facts
from toombos_cli.settings.check import check_configuration


def run_check(manifest: Manifest, *, mode: str | None, start: Path) -> CheckReport:
    """Return the findings for a system started in `mode`; `start` is where the search for the project started."""
    facts = gather_facts(manifest, mode=mode, start=start)
    return CheckReport(
        env_file=facts.env_file.path,
        env_file_exists=facts.env_file.exists,
        mode=mode,
        findings=check_configuration(facts),
    )
