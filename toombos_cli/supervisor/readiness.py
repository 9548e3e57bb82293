"""Asks a service whether it is ready or alive, from inside the supervisor's event loop.

The judge is that of `health` (`toombos_cli.probes`). It blocks, so it works in a thread of its own, which a service
that dies does not wait for; and it is imported when the first service has been spawned, which waits for our imports.
A service that is starting is not asked before it listens: a refused connection takes a hundredth of a request.
"""

import asyncio
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Thread
from typing import TYPE_CHECKING, TypeVar

from toombos_cli import processes
from toombos_cli.base.addresses import is_loopback
from toombos_cli.base.text import seconds
from toombos_cli.manifest.tables.expectations import Expectation, ProbeSetting, header_variables
from toombos_cli.manifest.tables.service import QUESTIONS, Question, Service
from toombos_cli.project.port_owner import listens_elsewhere, socket_owner
from toombos_cli.project.state import FailureKind
from toombos_cli.supervisor.protocol import ServiceFailure
from toombos_cli.supervisor.service_process import Running
from toombos_cli.supervisor.spawning import CannotStartError
from toombos_cli.supervisor.stop_command import WatchChild

if TYPE_CHECKING:
    from toombos_cli.probes import ProbeResult

_T = TypeVar("_T")
_NOT_FOUND = 404
_MAX_BODY_BYTES = 65_536
_FIRST_PROBE_S, _LAST_PROBE_S = 0.01, 0.25
_PROBE_LATENESS = 0.04  # how late a service is found ready at most, as a share of its start-up time
_LIVES_S = 1.0  # a worker with a misspelt command or file ends sooner
_CONNECTS_S = 0.05  # to this machine; it takes longer if a full queue of connections drops it
_LOOK_ELSEWHERE_EVERY_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """Whether the service is ready, and if not, why, for a person who waits for it."""

    ok: bool
    detail: str
    kind: FailureKind = FailureKind.TIMEOUT
    """What it fails of if it stays so until the start-up deadline."""


class Asker:
    """Asks one service. `setting` is None if its variables are not known, as after a crash of the supervisor."""

    def __init__(self, service: Service, setting: ProbeSetting | None, watch_child: WatchChild) -> None:
        self._service = service
        self._setting = setting
        self._watch_child = watch_child
        self._may_not_listen_yet = False
        self._readiness: ProbeResult | None = None
        """What it last responded when it was asked whether it is ready."""
        self._look_elsewhere_at = 0.0
        self._elsewhere = ""

    async def ask(self, question: Question, running: Running) -> Readiness | None:
        """Return what the service says, within its probe timeout; None if its process has ended."""
        answer = None
        if not running.is_suspended:
            answer = await running.unless_ended(self._ask(question, running))
        if running.is_suspended and not running.ended.done():
            pid = running.tree.leader.pid
            return Readiness(ok=False, detail=f"pid {pid} is suspended by a signal; kill -CONT {pid} resumes it")
        return answer

    async def ask_again(self, running: Running) -> Readiness | None:
        """Return whether an adopted process, which was ready once, is ready now; None if it has ended."""
        answer = await self.ask("ready", running)
        stranger = self._stranger(running) if answer is not None and answer.ok else None
        return answer if stranger is None else Readiness(ok=False, detail=self._in_its_place(stranger))

    async def until_ready(self, running: Running, tell: Callable[[str], None], *, already_s: float = 0.0) -> None:
        """Wait until the running process itself is ready; report to `tell` what it waits for.

        `already_s` is how long it has been starting. Raises CannotStartError if it ends before, if another process
        responds in its place, and at the start-up deadline.
        """
        service = self._service
        began = time.monotonic()
        deadline = began + service.startup_timeout_s - already_s
        self._may_not_listen_yet = bool(service.port) and not service.unix and is_loopback(service.host)
        self._look_elsewhere_at = min(began + _LOOK_ELSEWHERE_EVERY_S, deadline)
        while True:
            answer = await self.ask("ready", running)
            if answer is None:
                raise CannotStartError(running.why_it_ended())
            if answer.ok:
                stranger = self._stranger(running)
                if stranger is None:
                    return
                message = self._in_its_place(stranger)
                raise CannotStartError(ServiceFailure(service=service.name, kind=FailureKind.PORT, message=message))
            if time.monotonic() >= deadline:
                message = f"not ready after {seconds(service.startup_timeout_s)}: {answer.detail}"
                raise CannotStartError(ServiceFailure(service=service.name, kind=answer.kind, message=message))
            tell(answer.detail)
            pause_s = min(max((time.monotonic() - began) * _PROBE_LATENESS, _FIRST_PROBE_S), _LAST_PROBE_S)
            await running.unless_ended(asyncio.sleep(pause_s))

    async def read_dry_run(self, running: Running) -> bool | None:
        """Return what the service's health response says of the dry run, or None if it says nothing in time."""
        unknown = self._setting is None and self._service.needs_variables
        if not self._service.health_path or unknown:
            return None
        from toombos_cli.probes import said_dry_run

        same = self._service.expectation("ready") == self._service.expectation("health")
        if same and self._readiness is not None and not self._readiness.truncated:
            return said_dry_run(self._readiness.body)
        if self._may_not_send("health", running):
            return None
        result = await running.unless_ended(in_thread(lambda: self._probe("health", _MAX_BODY_BYTES)))
        return None if result is None or result.http_status is None else said_dry_run(result.body)

    async def _ask(self, question: Question, running: Running) -> Readiness:
        service, expectation = self._service, self._service.expectation(question)
        if self._setting is None and service.needs_variables:
            return await in_thread(lambda: _is_there(service))
        if expectation.command:
            result = await self._run(expectation)
        elif not service.listens:  # it is ready if it lives for a second: the caller notices its end
            await asyncio.sleep(_LIVES_S)
            return Readiness(ok=True, detail="")
        elif self._may_not_listen_yet and _refuses(service.host, service.port):
            return self._not_listening(running)
        elif self._may_not_send(question, running):
            return Readiness(ok=False, detail=f"another process listens at {service.place}: no variable was sent to it")
        else:
            self._may_not_listen_yet = False
            result = await in_thread(lambda: self._probe(question, None))
            self._readiness = result if question == "ready" else None
        return self._judged(result, expectation, running)

    def _probe(self, question: Question, max_body_bytes: int | None) -> "ProbeResult":
        from toombos_cli.base.errors import ToombosError
        from toombos_cli.probes import ProbeResult, Reason, probe_health

        setting = self._setting or ProbeSetting()
        try:
            return probe_health(self._service, question=question, setting=setting, max_body_bytes=max_body_bytes)
        except (ToombosError, ValueError) as error:
            return ProbeResult(url=self._service.place, reason=Reason.ERROR, detail=str(error))

    async def _run(self, expectation: Expectation) -> "ProbeResult":
        """Run a command; this process reaps every child, so the command is started here and not in a thread."""
        from toombos_cli.probes.command import HealthCommand

        loop = asyncio.get_running_loop()
        command = HealthCommand(self._service, expectation, self._setting.values if self._setting else {})
        failed = command.start()
        if failed is not None or command.child is None:
            return failed or command.result(None)
        ended: asyncio.Future[int] = loop.create_future()
        self._watch_child(command.child, lambda code: None if ended.done() else ended.set_result(code))

        def read(descriptor: int) -> None:
            if not command.read(descriptor):
                loop.remove_reader(descriptor)

        outputs = command.outputs
        for descriptor in outputs:
            loop.add_reader(descriptor, read, descriptor)
        try:
            await asyncio.wait({ended}, timeout=command.timeout_s)
            return command.result(ended.result() if ended.done() else None)
        finally:
            for descriptor in outputs:
                loop.remove_reader(descriptor)
            command.end()

    def _judged(self, result: "ProbeResult", expectation: Expectation, running: Running) -> Readiness:
        """Return the judged response in the words of someone who waits."""
        from toombos_cli.probes import Reason, is_ready

        if is_ready(result.reason, result.cause):
            return Readiness(ok=True, detail="")
        service, path = self._service, expectation.path.partition("?")[0]
        detail = f"{path}: {result.detail}" if path else result.detail
        if result.reason is Reason.REFUSED:
            return self._not_listening(running)
        if result.reason is Reason.TIMEOUT and not expectation.command:
            limit_s = expectation.timeout_s or service.probe_timeout_s
            detail = f"no response from {path or f'port {service.port}'} within {seconds(limit_s)}"
        elif result.reason is Reason.STATUS:
            detail = f"{path} returned {result.detail.removeprefix('HTTP ')}"
            if result.http_status == _NOT_FOUND:
                detail += f"; `health` or `ready` in [services.{service.name}] names another path"
        return Readiness(ok=False, detail=detail)

    def _not_listening(self, running: Running) -> Readiness:
        """Return that nothing listens at the service's place, and where its processes listen instead.

        That takes a look at all processes, so it is asked for now and then only.
        """
        service, now = self._service, time.monotonic()
        if now >= self._look_elsewhere_at:
            self._look_elsewhere_at = now + _LOOK_ELSEWHERE_EVERY_S
            self._elsewhere = listens_elsewhere(service, running.tree.members())
        place = service.place if service.unix else f"port {service.port}"
        if not self._elsewhere:
            return Readiness(ok=False, detail=f"nothing listens on {place} yet")
        detail = f"nothing listens on {place}, but {self._elsewhere}"
        return Readiness(ok=False, detail=detail, kind=FailureKind.ADDRESS)

    def _may_not_send(self, question: Question, running: Running) -> bool:
        """Report whether a stranger would get the variables in the headers."""
        uses = header_variables(self._service.expectation(question).headers)
        return bool(uses) and self._stranger(running) is not None

    def _in_its_place(self, stranger: processes.Listener) -> str:
        place = self._service.place if self._service.unix else f"port {self._service.port}"
        return f"{place} responds, but {processes.named(stranger.pid)} listens there"

    def _stranger(self, running: Running) -> processes.Listener | None:
        """Return the listener on the service's address if it is not one of the service's processes, else None."""
        service, own = self._service, running.tree.members()
        if service.unix:
            pid = socket_owner(service.unix)
            if pid is None or pid in own:
                return None
            return processes.Listener(host="", port=0, pid=pid)
        found = processes.listeners_at(service.host, service.port, own)
        if not found or any(listener.pid is not None for listener in found):
            return None
        stranger = next(iter(processes.listeners_at(service.host, service.port)), None)
        if stranger is not None and stranger.pid is None and not all(map(processes.is_readable, own)):
            return None  # one of its processes hides its sockets from this user, as programs with file capabilities do
        return stranger


def _is_there(service: Service) -> Readiness:
    """Return whether anything listens for a service whose variables are not known; its process runs."""
    from toombos_cli.base.errors import OperationError
    from toombos_cli.probes import Reason, probe_tcp

    if service.unix:
        there = socket_owner(service.unix) is not None
    else:
        try:
            there = not service.port or probe_tcp(service.host, service.port).reason is Reason.OK
        except OperationError as error:
            return Readiness(ok=False, detail=str(error))
    return Readiness(ok=there, detail="" if there else f"nothing listens on {service.place}")


def is_asked(service: Service) -> bool:
    """Return whether anything can be asked of a service that runs; that it lives is known without a question."""
    return service.listens or any(service.expectation(question).command for question in QUESTIONS)


def _refuses(host: str, port: int) -> bool:
    """Return whether this machine refuses a connection to the port at once; False also if that is not known."""
    try:
        socket.create_connection((host, port), _CONNECTS_S).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False


async def in_thread(work: Callable[[], _T]) -> _T:
    """Return the result of work that blocks; a thread that nobody waits for any more ends by itself."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[_T] = loop.create_future()

    def settle(value: _T | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(value)  # type: ignore[arg-type]  # a result of None is one of the values of _T

    def run() -> None:
        value, failed = None, None
        try:
            value = work()
        except Exception as error:  # handed to the task that waits for it
            failed = error
        try:
            loop.call_soon_threadsafe(settle, value, failed)
        except RuntimeError:  # the loop is closed: the supervisor ends
            return

    Thread(target=run, daemon=True).start()
    return await done
