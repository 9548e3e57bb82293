"""The whole manifest as one immutable value; each section belongs to the features that use it."""

from pathlib import Path
from typing import Literal

import msgspec

from toombos_cli.base.errors import ConfigurationError
from toombos_cli.base.fixes import here
from toombos_cli.manifest.tables.alerts import Alerts
from toombos_cli.manifest.tables.backup import BackupScope
from toombos_cli.manifest.tables.environment import Variable
from toombos_cli.manifest.tables.health_words import HealthWords
from toombos_cli.manifest.tables.hosts import HostTable
from toombos_cli.manifest.tables.known import Diagnose
from toombos_cli.manifest.tables.load import LoadDefaults
from toombos_cli.manifest.tables.logs import Logs as Logs
from toombos_cli.manifest.tables.monitoring import Monitoring
from toombos_cli.manifest.tables.places import PlaceTable
from toombos_cli.manifest.tables.schedule import Job
from toombos_cli.manifest.tables.service import Service
from toombos_cli.manifest.tables.service import start_order as start_order
from toombos_cli.manifest.tables.smoke import SmokeStep
from toombos_cli.manifest.tables.table import Table

DRY_RUN = "dry_run"
"""The mode of `--dry-run`."""


class Mode(Table, frozen=True):
    """A named way to run the system (`start --mode NAME`): its variables override all others."""

    env: dict[str, str] = {}


class Source(Table, frozen=True):
    """Where a manifest came from: `path` is None if only the packaged default was read.

    `written` are the keys of sections that the project's own file sets, such as ("backup", "roots"). `place` is the
    place whose addresses the services have, "" for this machine.
    """

    path: Path | None
    project: Path
    written: frozenset[tuple[str, str]] = frozenset()
    place: str = ""


class Manifest(Table, frozen=True):
    """Everything that toombos knows about a system. Paths are relative to `project` unless absolute."""

    name: str
    services: dict[str, Service]
    source: Source
    schema_version: Literal[1] = 1
    modes: dict[str, Mode] = {}
    env_files: tuple[str, ...] = ()
    """Files like `.env` for all services, below it or in its place: a later one wins, and `?` marks an optional one."""
    environment: dict[str, Variable] = {}
    health_words: HealthWords = HealthWords()
    logs: Logs = Logs()
    smoke: tuple[SmokeStep, ...] = ()
    load: LoadDefaults = LoadDefaults()
    backup: BackupScope = BackupScope()
    alerts: Alerts = Alerts()
    diagnose: Diagnose = Diagnose()
    monitoring: Monitoring = Monitoring()
    schedule: dict[str, Job] = {}
    places: dict[str, PlaceTable] = {}
    hosts: dict[str, HostTable] = {}

    @property
    def project(self) -> Path:
        """The project directory, absolute."""
        return self.source.project

    @property
    def place(self) -> PlaceTable | None:
        """The place whose addresses the services have; None for this machine."""
        return self.places[self.source.place] if self.source.place else None

    def mode_env(self, mode: str | None) -> dict[str, str]:
        """Return the variables that a mode sets; {} for None. Raises ConfigurationError for an unknown mode."""
        if mode is None:
            return {}
        if mode not in self.modes:
            raise ConfigurationError(
                f"the manifest has no mode {mode}",
                where=str(self.source.path) if self.source.path else None,
                hint=f"describe [modes.{mode}] again, or end what runs in it: {here('stop')}",
            )
        return self.modes[mode].env


def encode(manifest: Manifest) -> bytes:
    """Return the manifest as JSON bytes, for another process."""
    return msgspec.json.encode(manifest, enc_hook=str)
