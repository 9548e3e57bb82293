"""Starts one service's process; everything that can be wrong is checked first and reported for a person."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from toombos_cli import processes
from toombos_cli.base import locks
from toombos_cli.base.accounts import child_identity
from toombos_cli.base.executables import executable_of, why_exec_failed, why_not_run
from toombos_cli.base.files import open_to_append
from toombos_cli.base.fixes import toombos
from toombos_cli.base.plain_files import APPEND, open_plain
from toombos_cli.manifest.tables.service import Service
from toombos_cli.project.port_owner import neighbour, socket_owner
from toombos_cli.project.state import FailureKind, RunDirectory, run_id_prefix
from toombos_cli.supervisor.account_check import account_failure
from toombos_cli.supervisor.protocol import ServiceFailure, ServicePlan


class CannotStartError(Exception):
    """A service could not be started; nothing of it is left running."""

    def __init__(self, failure: ServiceFailure) -> None:
        super().__init__(failure.message)
        self.failure = failure


@dataclass(slots=True, kw_only=True)
class Spawned:
    """A process that was just started. `log_offset` is where its own output starts in the log, the file `log_file`."""

    child: "subprocess.Popen[bytes]"
    identity: processes.ProcessIdentity
    log_offset: int
    log_file: tuple[int, int]


def new_run_id(run: RunDirectory, service: str) -> str:
    """Return the tag of one spawn: it contains project and service, and is never repeated."""
    return run_id_prefix(run.project, service) + os.urandom(6).hex()


def check(plan: ServicePlan) -> None:
    """Raise CannotStartError if the command, the directory, the user, the log or the port cannot be used."""
    for failure in failures_of(plan):
        raise CannotStartError(failure)


def failures_of(plan: ServicePlan) -> Iterator[ServiceFailure]:
    """Yield everything that is known beforehand to prevent a start: what `check` raises, and what follows it."""
    for part in (_check_directory, _check_programs, _check_log, _check_port):
        try:
            part(plan)
        except CannotStartError as error:
            yield error.failure


def _check_directory(plan: ServicePlan) -> None:
    service = plan.service
    if not Path(service.cwd).is_dir():
        problem = "is not a directory" if Path(service.cwd).exists() else "does not exist"
        raise _refused(service, FailureKind.DIRECTORY, f"its working directory {service.cwd} {problem}")


def _check_programs(plan: ServicePlan) -> None:
    service = plan.service
    for key, command in (("command", service.command), ("stop_command", service.stop_command)):
        if not command:
            continue
        flaw = why_not_run(command[0], directory=service.cwd, path=plan.environment.get("PATH"))
        if flaw is not None:
            hint = flaw.hint or f"correct `{key}` or PATH"
            raise _refused(service, FailureKind.COMMAND, f"its {key} {command[0]!r} {flaw.why}", hint=hint)
        program = _find_program(plan, command[0])
        failure = account_failure(service, program) if program else None
        if failure is not None:
            raise CannotStartError(failure)


def _check_port(plan: ServicePlan) -> None:
    """Raise CannotStartError with the port owner if the service's port is in use."""
    for listener in listeners_of(plan.service):
        raise CannotStartError(port_failure(plan.service, listener))


def listeners_of(service: Service) -> tuple[processes.Listener, ...]:
    """Return what listens on the service's address, its Unix socket included."""
    if not service.unix:
        return processes.listeners_at(service.host, service.port) if service.port else ()
    pid = socket_owner(service.unix)
    if pid is None:
        return ()
    return (processes.Listener(host="", port=0, pid=pid),)


def port_failure(service: Service, listener: processes.Listener) -> ServiceFailure:
    """Return the failure that names the owner of the service's port."""
    theirs = neighbour(listener.pid) if listener.pid else None
    hint = f"stop that process, or give {service.name} another {'socket' if service.unix else 'port'} in toombos.toml"
    if theirs:
        hint = toombos(Path(theirs.project), "stop", theirs.service).command
    owner = f"pid {listener.pid} ({theirs})" if theirs else processes.named(listener.pid)
    place = service.place if service.unix else f"port {service.port}"
    message = f"{place} is taken by {owner}"
    return ServiceFailure(service=service.name, kind=FailureKind.PORT, message=message, hint=hint)


def spawn(plan: ServicePlan, run: RunDirectory, run_id: str) -> Spawned:
    """Start the process in a session of its own, with its tag and its lock, appending to its log.

    Raises CannotStartError.
    """
    service = plan.service
    with ExitStack() as opened:
        log = open_log(service)
        opened.callback(os.close, log)
        found = os.fstat(log)  # before the program runs: its first output counts too
        lock = _take_lock(service, run)
        opened.callback(os.close, lock)
        stdin = _standard_input(service)
        opened.callback(os.close, stdin)
        try:
            child = subprocess.Popen(
                service.command,
                executable=_find_program(plan, service.command[0]),
                cwd=service.cwd,
                env=plan.environment | {processes.TAG: run_id},
                stdin=stdin,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=(lock,),
                **child_identity(service.user, service.group),
            )
        except OSError as error:
            raise _not_run(plan, "command", error) from None
        # The child is not reaped yet, so its pid cannot have been reused even if it has ended already.
        row = processes.read_row(child.pid)
    identity = processes.ProcessIdentity(
        boot_id=processes.boot_id(),
        pid_namespace=processes.pid_namespace(),
        pid=child.pid,
        start_ticks=row.start_ticks if row else 0,
    )
    log_file = (found.st_dev, found.st_ino)
    return Spawned(child=child, identity=identity, log_offset=found.st_size, log_file=log_file)


def spawn_in_foreground(
    plan: ServicePlan, run: RunDirectory, arguments: tuple[str, ...], output: int | None
) -> "subprocess.Popen[bytes]":
    """Start a task as this command's own child, with its terminal and the task's lock; `output` replaces its stdout.

    It has no tag, because no supervisor may adopt it. Raises CannotStartError.
    """
    service = plan.service
    lock = _take_lock(service, run)
    try:
        return subprocess.Popen(
            (*service.command, *arguments),
            executable=_find_program(plan, service.command[0]),
            cwd=service.cwd,
            env={name: value for name, value in plan.environment.items() if name != processes.TAG},
            stdout=output,
            pass_fds=(lock,),
            **child_identity(service.user, service.group),
        )
    except OSError as error:
        raise _not_run(plan, "command", error) from None
    finally:
        os.close(lock)


def _standard_input(service: Service) -> int:
    """Return what a service reads: the null device, or a FIFO in which nothing ever comes, and no end.

    A descriptor for reading and writing makes the service the FIFO's writer, too: it depends on no other process.
    Raises CannotStartError.
    """
    if service.stdin == "null":
        return os.open(os.devnull, os.O_RDONLY)
    from tempfile import TemporaryDirectory  # few services need it

    try:
        with TemporaryDirectory(prefix="toombos-") as directory:
            path = Path(directory, "stdin")
            os.mkfifo(path, 0o600)
            return os.open(path, os.O_RDWR)
    except OSError as error:
        reason = (
            f"its standard input cannot be created in {error.filename or 'a temporary directory'}: {error.strerror}"
        )
        raise _refused(service, FailureKind.DIRECTORY, reason) from None


def spawn_stop_command(plan: ServicePlan, pid: int) -> "subprocess.Popen[bytes]":
    """Start the service's stop command in its directory and environment, with the main process's pid in MAINPID.

    It has no tag, because it is no process of the service. Raises CannotStartError.
    """
    service = plan.service
    inherited = {name: value for name, value in plan.environment.items() if name != processes.TAG}
    log = open_log(service)
    try:
        return subprocess.Popen(
            service.stop_command,
            executable=_find_program(plan, service.stop_command[0]),
            cwd=service.cwd,
            env=inherited | {"MAINPID": str(pid)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            **child_identity(service.user, service.group),
        )
    except OSError as error:
        raise _not_run(plan, "stop_command", error) from None
    finally:
        os.close(log)


def open_log(service: Service) -> int:
    """Return a descriptor that appends to the service's log; a new log is private. Raises CannotStartError."""
    path = Path(service.log)
    try:
        return open_to_append(path)
    except OSError as error:
        raise _unwritable(service, error) from None


def _check_log(plan: ServicePlan) -> None:
    """Raise CannotStartError if the log exists and cannot be written, or never can."""
    service = plan.service
    try:
        os.close(open_plain(Path(service.log), APPEND & ~os.O_CREAT))
    except FileNotFoundError:
        pass  # it is created when the service starts
    except OSError as error:
        raise _unwritable(service, error) from None


def _unwritable(service: Service, error: OSError) -> CannotStartError:
    path = Path(service.log)
    place = path.parent if isinstance(error, NotADirectoryError) else error.filename or path
    reason = "is a file, not a directory" if isinstance(error, FileExistsError | NotADirectoryError) else None
    message = f"its log {path} cannot be written: {place} {reason or error.strerror}"
    return _refused(service, FailureKind.LOG, message)


def _take_lock(service: Service, run: RunDirectory) -> int:
    path = run.service_lock(service.name)
    try:
        lock = locks.take(path)
    except OSError as error:
        raise _refused(service, FailureKind.LOCK, f"{path} cannot be created: {error.strerror}") from None
    if lock is None:
        named = ", ".join(map(processes.named, processes.lock_holders(path) or (None,)))
        raise _refused(service, FailureKind.LOCK, f"another instance of it is still running: {named} holds {path}")
    return lock


def _find_program(plan: ServicePlan, name: str) -> str | None:
    return executable_of(name, directory=plan.service.cwd, path=plan.environment.get("PATH"))


def _not_run(plan: ServicePlan, key: Literal["command", "stop_command"], error: OSError) -> CannotStartError:
    """Return the failure of a program that the kernel has refused to run."""
    name = getattr(plan.service, key)[0]
    flaw = why_exec_failed(_find_program(plan, name) or name, error)
    return _refused(plan.service, FailureKind.COMMAND, f"its {key} {name!r} {flaw.why}", hint=flaw.hint)


def _refused(service: Service, kind: FailureKind, message: str, hint: str | None = None) -> CannotStartError:
    return CannotStartError(ServiceFailure(service=service.name, kind=kind, message=message, hint=hint))
