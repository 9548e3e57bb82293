"""Stops and starts the services of a restore through the supervisor."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from toombos_cli import processes
from toombos_cli.backup.living.base_backup import wait_while_starting
from toombos_cli.backup.postgres import Postgres
from toombos_cli.backup.scope import readable_manifest
from toombos_cli.base.errors import ConfigurationError, OperationError, ToombosError
from toombos_cli.base.fixes import here
from toombos_cli.manifest.model import Manifest
from toombos_cli.manifest.reading.loader import load_manifest
from toombos_cli.manifest.tables.service import Service
from toombos_cli.project.interruption import forget_stopped, load_interruption, record_stopped
from toombos_cli.project.mode import mode_name
from toombos_cli.project.state import RunDirectory, read_state
from toombos_cli.settings.databases import Server
from toombos_cli.supervisor.operations import run_start, run_stop
from toombos_cli.supervisor.reports import ChangeReport
from toombos_cli.supervisor.running_system import present_state

OnReport = Callable[[ChangeReport], None]


class SupervisedServices:
    """The running services, which a restore stops and starts again in the same mode.

    A service that serves the `postgres` database of the restore keeps running until the others are started again: the
    database is saved and restored through it. `on_report` gets the report of each stop.
    """

    def __init__(self, project: Path, postgres: Postgres | None = None, on_report: OnReport = lambda _: None) -> None:
        self._project = project
        self._postgres = postgres
        self._on_report = on_report
        self._mode: str | None = None
        self._kept: dict[str, Service] = {}

    def running(self) -> tuple[str, ...]:
        """Return the names of the services that `stop` would stop, as far as the supervisor says it."""
        try:
            services = load_manifest(self._project).services
        except ConfigurationError:
            services = {}
        try:
            state = present_state(self._project, services)
        except ToombosError:  # the restore itself refuses then
            return ()
        return tuple(name for name, service in state.services.items() if service.pid) if state else ()

    def stop(self) -> tuple[str, ...]:
        """Stop the services and return their names, with those that a killed backup or restore had stopped.

        Raise OperationError if one does not stop.
        """
        try:
            services = load_manifest(self._project).services
        except ConfigurationError:  # a broken manifest may be why one restores; stop the services all the same
            services = {}
        state = present_state(self._project, services)
        running = tuple(name for name, s in state.services.items() if s.pid) if state else ()
        left = load_interruption(self._project)
        waiting = tuple(name for name in left.stopped if name not in running)
        self._mode = mode_name(state) if state is not None and running else left.mode
        if not running or state is None:
            return waiting
        record_stopped(self._project, "restore", running, self._mode)
        services = services or {name: s.service for name, s in state.services.items()}
        self._kept = {
            name: s
            for name, s in services.items()
            if name in running and self._is_database(s) and not self._is_restored(state.services[name].pid)
        }
        others = tuple(name for name in running if name not in self._kept)
        if others:
            try:
                self._stop(services, others if self._kept else ())
            except ToombosError:
                self._kept = {}
                with suppress(ToombosError):  # the first failure says more
                    self.start(running)
                raise
        return running + waiting

    def logs_in_use(self) -> frozenset[str]:
        """Return the logs of the services that keep running."""
        return frozenset(service.log for service in self._kept.values())

    def start(self, names: tuple[str, ...]) -> None:
        """Start the services and wait until all are ready. Raises OperationError with the first failure."""
        if self._kept:  # its log has been exchanged
            self._stop(self._kept, tuple(self._kept))
        manifest = load_manifest(self._project)  # the restored one
        known = tuple(name for name in names if name in manifest.services)
        mode = self._mode if self._mode in manifest.modes else None
        for name, service in manifest.services.items():
            if service.run == "changed":  # what it did may not be in the restored files
                RunDirectory(self._project).task_record(name).unlink(missing_ok=True)
        if not known:  # run_start would take it for all services
            forget_stopped(self._project)
            return
        report = run_start(manifest, known, mode=mode)
        if report.failures:
            failure = report.failures[0]
            raise OperationError(f"{failure.service}: {failure.message}", hint=failure.hint)
        self._wait_for_databases(manifest, known)
        forget_stopped(self._project)

    def _wait_for_databases(self, manifest: Manifest, names: tuple[str, ...]) -> None:
        """Wait until each PostgreSQL among the services takes connections: it listens long before."""
        state = read_state(self._project)
        for name in names:
            pid = state.services[name].pid if state and name in state.services else 0
            if pid and (directory := processes.working_directory(pid)):
                wait_while_starting(os.fsencode(directory), manifest.services[name].startup_timeout_s)

    def resume(self) -> tuple[str, ...]:
        """Start what a killed backup or restore had stopped, and return it. Raise as `start` does."""
        left = load_interruption(self._project)
        self._mode = left.mode
        if left.stopped:
            self.start(left.stopped)
        return left.stopped

    def _stop(self, services: dict[str, Service], names: tuple[str, ...]) -> None:
        report = run_stop(self._project, services, names)
        self._on_report(report)
        if report.failures:
            raise OperationError(
                f"the services could not be stopped: {report.failures[0].message}", hint=here("status")
            )

    def _is_restored(self, pid: int | None) -> bool:
        """Report whether the process works in a directory that a backup saves: then its files are exchanged."""
        directory = processes.working_directory(pid) if pid else None
        roots = readable_manifest(self._project).backup.roots
        tops = (os.path.realpath(self._project / root) for root in roots)
        return directory is not None and any(Path(directory).is_relative_to(top) for top in tops)

    def _is_database(self, service: Service) -> bool:
        if self._postgres is None:
            return False
        server = Server.parse(self._postgres.dsn)
        return server is not None and service.port == server.port and processes.conflicts(service.host, server.host)
