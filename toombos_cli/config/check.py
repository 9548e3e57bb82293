"""`config check`: judges the configuration by every rule."""

from pathlib import Path

from toombos_cli.config.reports import CheckReport
from toombos_cli.manifest.model import Manifest
from toombos_cli.project.configuration import gather_facts
from toombos_cli.settings.check import check_configuration


def run_check(manifest: Manifest, *, mode: str | None, start: Path) -> CheckReport:
    """The findings for a system that is started in `mode`; `start` is where the project was looked for."""
    facts = gather_facts(manifest, mode=mode, start=start)
    return CheckReport(env_file=facts.env_file.path, mode=mode, findings=check_configuration(facts))
