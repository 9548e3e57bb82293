"""The messages between the command line and the supervisor: one JSON object per line, request first, `Done` last."""

import msgspec

from toombos_cli.base.own_records import decode_own, encode_own
from toombos_cli.manifest.tables.expectations import ProbeSetting
from toombos_cli.manifest.tables.logs import Logs
from toombos_cli.manifest.tables.service import Service
from toombos_cli.project.state import EnvFileStamp, FailureKind, SystemState

LINE_LIMIT_BYTES = 16 * 1024 * 1024
"""The longest message: a plan carries every service's environment."""


class ServicePlan(msgspec.Struct, frozen=True, kw_only=True):
    """One service, ready to be spawned. `fingerprint` changes if anything in its configuration changes.

    `dry_run` is True if its environment asks it to run dry. `setting` is for its probes.
    """

    service: Service
    environment: dict[str, str]
    fingerprint: str
    dry_run: bool = False
    setting: ProbeSetting = ProbeSetting()


class SystemPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The whole system as the command line resolved it: manifest, `.env`, environment and mode."""

    mode: str | None
    dry_run: bool
    env_file: EnvFileStamp
    logs: Logs
    services: dict[str, ServicePlan]


class StartRequest(msgspec.Struct, frozen=True, kw_only=True, tag="Start"):
    """Start these services and their dependencies, and wait until they are ready.

    If one fails, `all_or_nothing` ends all that this request has started; otherwise what is ready stays. `named`: the
    operator named them, so that tasks among them run although they are done.
    """

    plan: SystemPlan
    names: tuple[str, ...]
    timeout_s: float | None = None
    all_or_nothing: bool = False
    named: bool = False


class StopRequest(msgspec.Struct, frozen=True, kw_only=True, tag="Stop"):
    """End these services, dependents first; () means all. `plan` describes those that no state describes."""

    names: tuple[str, ...] = ()
    plan: SystemPlan | None = None


class RestartRequest(msgspec.Struct, frozen=True, kw_only=True, tag="Restart"):
    """Stop and start again with a new plan; `only_changed` leaves alone what the plan does not change."""

    plan: SystemPlan
    names: tuple[str, ...]
    only_changed: bool = False
    timeout_s: float | None = None


class StatusRequest(msgspec.Struct, frozen=True, kw_only=True, tag="Status"):
    """Ask for the current state, with current figures."""


class TaskRanRequest(msgspec.Struct, frozen=True, kw_only=True, tag="TaskRan"):
    """Look at the record of a task that a command has run; `plan` describes it if no unit does."""

    plan: SystemPlan
    name: str


Request = StartRequest | StopRequest | RestartRequest | StatusRequest | TaskRanRequest


class ServiceFailure(msgspec.Struct, frozen=True, kw_only=True):
    """Why one service could not be started or ended, for a person.

    `command` is the toombos command to run next, without the program's name; `hint` is used if there is none.
    """

    service: str
    kind: FailureKind
    message: str
    hint: str | None = None
    command: tuple[str, ...] = ()
    last_lines: tuple[str, ...] = ()


class KilledProcess(msgspec.Struct, frozen=True, kw_only=True):
    """One process that did not end within the grace period and was killed."""

    pid: int
    command: str


class EndedProcess(msgspec.Struct, frozen=True, kw_only=True):
    """One main process that was ended with its tree. `leftover`: it was left by an earlier supervisor, not adopted.

    `killed` are the processes that had been asked by `stop_signal` and lived longer than `grace_period_s`;
    `stop_command_failure` is why the stop command did not help, or None.
    """

    service: str
    pid: int
    leftover: bool = False
    stop_signal: str
    grace_period_s: float
    killed: tuple[KilledProcess, ...] = ()
    stop_command_failure: str | None = None


class Progress(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A change of the phase of a service, or of the condition that it waits for."""

    service: str
    phase: str
    detail: str


class Done(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The final reply. `started` and `stopped` are the names that this request itself started or stopped; `skipped`
    were not started, because they depend on one that failed.

    `ended` are the processes that ended, including what an earlier supervisor had left. `watches` is whether the change
    of a file can still start a service.
    """

    state: SystemState
    failures: tuple[ServiceFailure, ...] = ()
    started: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    stopped: tuple[str, ...] = ()
    ended: tuple[EndedProcess, ...] = ()
    watches: bool = False


class Busy(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Another supervisor holds the project's lock, or this one is exiting: connect to the socket again."""


class Broken(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The supervisor cannot work: `run/` cannot be written, or the request is not valid."""

    message: str
    hint: str | None = None


Reply = Progress | Done | Busy | Broken


def encode(message: Request | Reply) -> bytes:
    """Return the message as one line."""
    return encode_own(message) + b"\n"


def decode_request(line: bytes) -> Request:
    """Return the request on one line. Raise UntrustedError."""
    request: Request = decode_own(line, Request)
    return request


def decode_reply(line: bytes) -> Reply:
    """Return the reply on one line. Raise UntrustedError."""
    reply: Reply = decode_own(line, Reply)
    return reply
