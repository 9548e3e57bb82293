"""The whole manifest as one immutable value; sections belong to the features that use them."""

from pathlib import Path
from typing import Literal

import msgspec

from toombos_cli.base.errors import ConfigurationError
from toombos_cli.manifest.tables.alerts import Alerts
from toombos_cli.manifest.tables.backup import BackupScope
from toombos_cli.manifest.tables.environment import Variable
from toombos_cli.manifest.tables.load import LoadDefaults
from toombos_cli.manifest.tables.logs import Logs as Logs
from toombos_cli.manifest.tables.monitoring import Monitoring
from toombos_cli.manifest.tables.schedule import Job
from toombos_cli.manifest.tables.service import Service, Table
from toombos_cli.manifest.tables.service import start_order as start_order
from toombos_cli.manifest.tables.smoke import Step

DRY_RUN = "dry_run"
"""The mode of `--dry-run`."""


class Mode(Table, frozen=True):
    """A named way to run the system (`--dry-run` is the mode `dry_run`): variables set on top of all others."""

    env: dict[str, str] = {}


class Source(Table, frozen=True):
    """Where a manifest came from: `path` is None for the packaged default alone.

    `written` are the keys of sections that the project's own file sets, such as ("backup", "roots").
    """

    path: Path | None
    project: Path
    written: frozenset[tuple[str, str]] = frozenset()


class Manifest(Table, frozen=True):
    """Everything toombos knows about a system. All paths below `project` unless absolute."""

    name: str
    services: dict[str, Service]
    source: Source
    schema_version: Literal[1] = 1
    modes: dict[str, Mode] = {}
    environment: dict[str, Variable] = {}
    logs: Logs = Logs()
    smoke: tuple[Step, ...] = ()
    load: LoadDefaults = LoadDefaults()
    backup: BackupScope = BackupScope()
    alerts: Alerts = Alerts()
    monitoring: Monitoring = Monitoring()
    schedule: dict[str, Job] = {}

    @property
    def project(self) -> Path:
        """The project directory, absolute."""
        return self.source.project

    def mode_env(self, mode: str | None) -> dict[str, str]:
        """The variables that a mode sets; none for None. Raises ConfigurationError for a mode that is not described."""
        if mode is None:
            return {}
        if mode not in self.modes:
            raise ConfigurationError(
                f"the manifest has no mode {mode}",
                where=str(self.source.path) if self.source.path else None,
                hint=f"add [modes.{mode}] with its env, or leave the option out",
            )
        return self.modes[mode].env


def encode(manifest: Manifest) -> bytes:
    """The manifest as JSON bytes, as one process hands it to another."""
    return msgspec.json.encode(manifest, enc_hook=str)
