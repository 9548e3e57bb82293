"""The log files of the services, and where their output really goes if a log was moved away or removed."""

import os
from dataclasses import dataclass
from datetime import tzinfo
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from toombos_cli import processes
from toombos_cli.base.plain_files import obstacle
from toombos_cli.manifest.tables.service import Service
from toombos_cli.project.state import RunDirectory, ServiceState, SystemState

if TYPE_CHECKING:
    from toombos_cli.logs.rotation import LogFile
    from toombos_cli.settings.env_files import EnvFiles

_DELETED = " (deleted)"


@dataclass(frozen=True, slots=True, kw_only=True)
class StrayOutput:
    """A running service that does not write to the file that has its log's name.

    `path` is where that file is now, "" if it was removed, None if it cannot be seen. `descriptor` is where it can be
    read all the same, or None. `obstacle` is what stands in the log's place and cannot be a log, or None.
    """

    service: str
    log: str
    path: str | None
    descriptor: Path | None
    obstacle: str | None = None

    def __str__(self) -> str:
        if self.obstacle:
            return f"{self.log} {self.obstacle}: the output of {self.service} is in {self.path or 'no file'}"
        if self.path is None:
            return f"{self.log} was moved away or removed: the output of {self.service} goes elsewhere"
        if not self.path:
            return f"{self.log} was removed: the output of {self.service} is in no file and is lost when it ends"
        return f"{self.log} was moved away: {self.service} writes to {self.path}"

    @property
    def first(self) -> str:
        """What to do before a restart of the service mends it, as the begin of a sentence; "" if nothing."""
        return f"remove {self.log}, then: " if self.obstacle else ""


def stray_output(entry: ServiceState) -> StrayOutput | None:
    """Return where a service writes to, if the file that it was given as its log has another name now, or none.

    A service that has closed that file, to write to one of its own, is not astray.
    """
    if not entry.pid or not any(entry.log_file):
        return None
    in_its_place = None
    try:
        found = os.stat(entry.service.log, follow_symlinks=False)  # noqa: PTH116  (for each service at each status)
        if (found.st_dev, found.st_ino) == entry.log_file:
            return None
        in_its_place = obstacle(found)
    except OSError:
        pass
    seen = processes.open_file(entry.pid, *entry.log_file)
    if seen == ("", ""):
        return None
    descriptor, path = seen or (None, None)
    return StrayOutput(
        service=entry.service.name,
        log=entry.service.log,
        path="" if path and path.endswith(_DELETED) else path,
        descriptor=Path(descriptor) if descriptor else None,
        obstacle=in_its_place,
    )


def service_logs(
    run: RunDirectory, services: dict[str, Service], state: SystemState | None
) -> "tuple[dict[str, LogFile], tuple[StrayOutput, ...]]":
    """Return the log of each service, and the services that write elsewhere.

    A log that several services share has the names of all, as in `web+worker`: who wrote a line is not known.
    """
    from toombos_cli.logs.rotation import LogFile  # status does not need it

    entries = state.services if state else {}
    strays = {name: stray for name in services if name in entries and (stray := stray_output(entries[name]))}
    files = _EnvFilesOnDemand(run.project)
    writers: dict[str, list[str]] = {}
    for name, service in services.items():
        writers.setdefault(service.log, []).append(name)
    logs = {
        "+".join(names): LogFile(
            path := Path(log),
            run.rotation(path),
            elsewhere=tuple(descriptor for n in names if n in strays and (descriptor := strays[n].descriptor)),
            zone=_zone(services[names[0]], files),
        )
        for log, names in writers.items()
    }
    return logs, tuple(strays.values())


class _EnvFilesOnDemand:
    """The project's env files, read when the first service needs them; none if they cannot be read."""

    def __init__(self, project: Path) -> None:
        self._project = project

    @cached_property
    def files(self) -> "EnvFiles | None":
        """The files, or None."""
        from toombos_cli.base.errors import ToombosError
        from toombos_cli.manifest.reading.loader import load_manifest
        from toombos_cli.settings.env_files import read_env_files

        try:
            return read_env_files(load_manifest(self._project))
        except ToombosError:
            return None

    def value(self, service: Service, name: str) -> str | None:
        """Return what the last file that sets a variable of a service sets it to, or None."""
        layers = self.files.of(service) if self.files else ()
        return next((file.values[name] for file in reversed(layers) if name in file.values), None)


def _zone(service: Service, files: _EnvFilesOnDemand) -> tzinfo | None:
    """Return the time zone that the service's TZ names, or None if it has the one of this process."""
    from toombos_cli.logs.lines import zone_of

    name = service.env.get("TZ") or os.environ.get("TZ") or files.value(service, "TZ") or service.default_env.get("TZ")
    return zone_of(name) if name else None
