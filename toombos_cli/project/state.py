"""The supervisor's record of the running system, `run/state.json`, and the paths of everything in `run/`.

Only the supervisor writes it; `status`, `health` and `diagnose` read it. It holds no secret: only a fingerprint of
the environment.
"""

import os
import stat
import zlib
from enum import StrEnum
from pathlib import Path

import msgspec

from toombos_cli import processes
from toombos_cli.base.directories import make_private_directory
from toombos_cli.base.own_records import decode_own
from toombos_cli.base.plain_files import read_plain
from toombos_cli.base.trust import check_private_directory
from toombos_cli.base.untrusted import EpochSeconds, ProcessNumber, UntrustedError
from toombos_cli.manifest.tables.service import Service

SCHEMA_VERSION = 1


class Phase(StrEnum):
    """The phase of a service's process. UNSUPERVISED is never stored: a reader finds it (see `own_processes`)."""

    STOPPED = "stopped"
    STARTING = "starting"
    READY = "ready"
    UNHEALTHY = "unhealthy"
    STOPPING = "stopping"
    DONE = "done"
    """It is a task and has succeeded."""
    CRASH_LOOP = "crash-loop"
    FAILED = "failed"
    UNSUPERVISED = "unsupervised"


WELL = frozenset({Phase.READY, Phase.DONE})
"""Phases of a service that works as intended."""
RUNNING = frozenset({Phase.STARTING, Phase.READY, Phase.UNHEALTHY, Phase.STOPPING, Phase.UNSUPERVISED})


class FailureKind(StrEnum):
    """Why a service could not be started, kept up or ended. The values are contract (`run/state.json`, `--json`)."""

    COMMAND = "command"
    DIRECTORY = "directory"
    USER = "user"
    LOG = "log"
    PORT = "port"
    LOCK = "lock"
    EXITED = "exited"
    BACKGROUND = "background"
    """Its process ended and left another one in the background."""
    CONFIGURATION = "configuration"
    """It exited with one of its `exit_codes_of_invalid_configuration`."""
    TIMEOUT = "timeout"
    """It started and was not ready in time."""
    ADDRESS = "address"
    """It started and listens, but not where the manifest says."""
    LIMIT = "limit"
    """The supervisor ended it because it exceeded one of its limits."""
    UNHEALTHY = "unhealthy"
    """The supervisor ended it because its probes failed, and restart_when_unhealthy is set."""
    STUBBORN = "stubborn"
    """One of its processes survived SIGKILL."""
    DEPENDENCY = "dependency"
    """The supervisor restarted it because something that it depends on had got a new process."""
    BUG = "bug"
    NOT_DRY_RUN = "not-dry-run"


class EventReason(StrEnum):
    """Why it happened. The values are contract (`run/state.json`, `run/history.jsonl`, `--json`)."""

    EXIT_CODE = "exit-code"
    SIGNAL = "signal"
    UNKNOWN = "unknown"
    """Its process ended, and nobody knows how: it was not a child of this supervisor."""
    COMMAND = "command"
    """Somebody's command asked for it; `by` and `uid` say which and whose."""
    LIMIT = "limit"
    UNHEALTHY = "unhealthy"
    DEPENDENCY = "dependency"
    """Something that it depends on has got a new process."""
    WATCHED_FILE = "watched-file"
    NOT_READY = "not-ready"
    CONFIGURATION = "configuration"
    NOT_DRY_RUN = "not-dry-run"
    CANNOT_START = "cannot-start"
    STUBBORN = "stubborn"
    BUG = "bug"
    LEFTOVER = "leftover"
    """It belonged to an earlier supervisor's service, whose main process had ended."""
    SUPERVISOR_ENDS = "supervisor-ends"
    NOTHING_LEFT = "nothing-left"


class End(msgspec.Struct, frozen=True, kw_only=True):
    """How a service's last process ended and why: `text` is for a person, the rest for programs.

    `exit_code` and `signal` (such as `SIGKILL`) are set if it ended by itself, `file` if a watched file had changed.
    """

    at: EpochSeconds
    reason: EventReason
    text: str
    exit_code: int | None = None
    signal: str = ""
    file: str = ""


class ServiceState(msgspec.Struct, frozen=True, kw_only=True):
    """One service as last written. `service` is its manifest table without the environment.

    `desired` is what the operator asked for; `detail` explains the phase to a person, and `failure_kind` is its kind of
    failure, or None. `last_end` is how its last process ended since a command started it, if no command ended it; what
    was before that is in the history (`project.history`). `adopted` means that the process was taken over from an
    earlier supervisor. `pid` and `start_ticks` are 0 if there is no process. `log_offset` is the log's size at its
    start, and `log_file` the device and the inode of the file that it got as its log. Times are seconds since the
    epoch. `wants_dry_run` is what it was started for, `says_dry_run` what its health response said when it became
    ready, or None.
    """

    service: Service
    desired: bool
    phase: Phase
    run_id: str = ""
    pid: ProcessNumber = 0
    start_ticks: int = 0
    started_at: EpochSeconds = 0.0
    ready_after_s: float | None = None
    detail: str = ""
    failure_kind: FailureKind | None = None
    fingerprint: str = ""
    restarts: int = 0
    last_end: End | None = None
    cpu_percent: float | None = None
    rss_bytes: int | None = None
    warnings: tuple[str, ...] = ()
    last_lines: tuple[str, ...] = ()
    log_offset: int = 0
    log_file: tuple[int, int] = (0, 0)
    wants_dry_run: bool = False
    says_dry_run: bool | None = None
    adopted: bool = False


class EnvFileStamp(msgspec.Struct, frozen=True, kw_only=True):
    """What the running services were started with: `sha256` is that of all env files, "" if there was none."""

    path: str
    mtime_ns: int
    sha256: str


class SystemState(msgspec.Struct, frozen=True, kw_only=True):
    """The whole system. Pids are valid only while `boot_id` and `pid_namespace` are the current ones.

    `mode` and `dry_run` are what was asked for; `project.mode.running_mode` returns what the services report.
    """

    schema_version: int = SCHEMA_VERSION
    boot_id: str
    pid_namespace: int
    supervisor_pid: ProcessNumber
    supervisor_start_ticks: int
    dry_run: bool
    mode: str | None
    started_at: EpochSeconds
    env_file: EnvFileStamp
    services: dict[str, ServiceState]
    warnings: tuple[str, ...] = ()

    @property
    def is_recorded(self) -> bool:
        """Whether a supervisor recorded it; otherwise the mode is unknown (see `own_processes.unsupervised_state`)."""
        return self.supervisor_pid != 0

    @property
    def is_elsewhere(self) -> bool:
        """Whether it belongs to another pid namespace of this machine, such as another container's."""
        return self.boot_id == processes.boot_id() and self.pid_namespace != processes.pid_namespace()

    def wants(self, name: str) -> bool:
        """Report whether the operator asked toombos to run this service, even if that failed."""
        entry = self.services.get(name)
        wanted = (Phase.FAILED, Phase.CRASH_LOOP, Phase.DONE)
        return entry is not None and (entry.desired or entry.phase in wanted)

    @property
    def supervisor(self) -> processes.ProcessIdentity:
        """The identity of the supervisor that wrote this."""
        return processes.ProcessIdentity(
            boot_id=self.boot_id,
            pid_namespace=self.pid_namespace,
            pid=self.supervisor_pid,
            start_ticks=self.supervisor_start_ticks,
        )


class RunDirectory:
    """The paths under a project's `run/`."""

    def __init__(self, project: Path) -> None:
        self.project = project
        self.path = project / "run"
        self.state = self.path / "state.json"
        self.supervisor_lock = self.path / "supervisor.lock"
        self.supervisor_log = self.path / "supervisor.log"
        self.services = self.path / "services"
        """Apart from the product's own files, because users choose the names. No suffix there is the end of another."""

    def service_lock(self, name: str) -> Path:
        """Return the path of the lock that a service's processes hold open while one of them lives."""
        return self.services / f"{name}.lock"

    def task_record(self, name: str) -> Path:
        """Return the path of the record of a task's last runs."""
        return self.services / f"{name}.task"

    def earlier_service_lock(self, name: str) -> Path:
        """Return the path of that lock if version 1.0 started the service."""
        return self.path / f"{name}.lock"

    def rotation(self, log: Path) -> Path:
        """Return the path of the record of a log's rotations: one for all services that write to this log.

        A log in the project keeps its record if the project is moved.
        """
        place, project = log.parent.resolve() / log.name, self.project.resolve()
        key = zlib.crc32(os.fsencode(place.relative_to(project) if place.is_relative_to(project) else place))
        return self.services / f"{log.name[:100]}-{key:08x}.rotation"

    def take_over_rotation(self, service: str, log: Path) -> None:
        """Keep the record of a log's rotations that version 1.0 wrote: one for each service, in `run/` itself."""
        earlier, now = self.path / f"{service}.rotation", self.rotation(log)
        if earlier.is_file():
            earlier.unlink() if now.exists() else earlier.replace(now)

    @property
    def socket(self) -> Path:
        """The control socket, in a directory of its own elsewhere if the project's path is too long for one.

        Raises NotTrustedError if another user could have made that directory.
        """
        path = self.path / "supervisor.sock"
        if len(os.fsencode(path)) < 104:  # sun_path holds 108 bytes on Linux, 104 on macOS, with the final NUL
            return path
        return _socket_directory() / f"{project_key(self.project)}.sock"

    def create(self) -> None:
        """Create the directories, private to the user. Raises OSError, NotTrustedError."""
        make_private_directory(self.path)
        make_private_directory(self.socket.parent)
        make_private_directory(self.services)


def _socket_directory() -> Path:
    """Return this user's directory for sockets: below /run/user if the system has made one, else in /tmp.

    The environment has no say, because a command run by cron must find the supervisor of a login session.
    """
    session = Path(f"/run/user/{os.getuid()}")
    try:
        found = os.lstat(session)
    except OSError:
        found = None
    if found and stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077:
        return session / "toombos"
    directory = Path(f"/tmp/toombos-{os.getuid()}")  # noqa: S108  (checked, and never created for others)
    check_private_directory(directory)
    return directory


def project_key(project: Path) -> str:
    """Return twelve hexadecimal digits that distinguish this project's processes from those of others."""
    import hashlib  # loads OpenSSL, which most readers of the state do not need

    return hashlib.sha256(os.fsencode(project.resolve())).hexdigest()[:12]


def run_id_prefix(project: Path, service: str | None = None) -> str:
    """Return the prefix of TOOMBOS_RUN_ID in every process of the project, or of one of its services."""
    return f"{project_key(project)}:" if service is None else f"{project_key(project)}:{service}:"


def read_state(project: Path) -> SystemState | None:
    """Return the last state that was written completely, or None if there is none that can be read."""
    path = RunDirectory(project).state
    for candidate in (path, path.with_suffix(".json.bak")):
        try:
            state: SystemState = decode_own(read_plain(candidate), SystemState)
        except (OSError, UntrustedError):
            continue
        return state
    return None


def unreadable_state(project: Path) -> Path | None:
    """Return the path of a state file that this user may not read; None if it is readable or does not exist."""
    path = RunDirectory(project).state
    try:
        path.open("rb").close()
    except PermissionError:
        return path
    except OSError:
        pass
    return None
