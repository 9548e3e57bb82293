"""Asks a service whether it is ready, from inside the supervisor's event loop.

Not `toombos_cli.probes`, which checks bodies, latency and TLS for `health`, and blocks. Here only the status line
matters, and the wait must end as soon as the service dies.
"""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from toombos_cli import processes
from toombos_cli.base.addresses import host_port
from toombos_cli.manifest.tables.service import Service
from toombos_cli.project.state import FailureKind
from toombos_cli.supervisor.protocol import ServiceFailure
from toombos_cli.supervisor.service_process import Running
from toombos_cli.supervisor.spawning import CannotStartError

_NOT_FOUND = 404
_MAX_BODY_BYTES = 65_536
_FIRST_PROBE_S, _LAST_PROBE_S = 0.01, 0.25
_PROBE_LATENESS = 0.04  # how late a service is found ready at most, as a share of its start-up time
_LIVES_S = 1.0  # a worker with a misspelt command or file ends sooner


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """Whether the service is ready, and if not, why, for a person who waits for it."""

    ok: bool
    detail: str


async def ask(service: Service, path: str) -> Readiness:
    """Return whether the service responds to GET `path` with 2xx, or accepts for tcp, within its probe timeout.

    A service without a port is ready if it lives for a second: the caller notices its end.
    """
    if service.scheme == "none":
        await asyncio.sleep(_LIVES_S)
        return Readiness(ok=True, detail="")
    try:
        if service.scheme == "tcp":
            return await asyncio.wait_for(_accepts(service), service.probe_timeout_s)
        status = await asyncio.wait_for(_status_of(service, path), service.probe_timeout_s)
    except TimeoutError:
        asked = path.partition("?")[0] or f"port {service.port}"
        return Readiness(ok=False, detail=f"no response from {asked} within {service.probe_timeout_s:g} s")
    except ConnectionRefusedError:
        return Readiness(ok=False, detail=f"nothing listens on port {service.port} yet")
    except ValueError:
        remedy = f"if it is not meant to: scheme = 'tcp' in [services.{service.name}]"
        return Readiness(ok=False, detail=f"port {service.port} does not speak HTTP; {remedy}")
    except OSError as error:
        return Readiness(ok=False, detail=f"{path.partition('?')[0] or service.url}: {error.strerror or error}")
    detail = f"{path.partition('?')[0]} returned {status}"
    if status == _NOT_FOUND:
        detail += f"; `health` or `ready` in [services.{service.name}] names another path"
    return Readiness(ok=200 <= status < 300, detail=detail)


async def _accepts(service: Service) -> Readiness:
    _, writer = await asyncio.open_connection(service.host, service.port)
    writer.close()
    return Readiness(ok=True, detail="")


async def read_dry_run(service: Service) -> bool | None:
    """Return what the service's health response says of the dry run, or None if it says nothing in time."""
    if service.scheme not in ("http", "https"):
        return None
    from toombos_cli.probes import said_dry_run  # not before the service is spawned, which waits for our imports

    try:
        body = await asyncio.wait_for(_health_body(service), service.probe_timeout_s)
    except (OSError, TimeoutError):
        return None
    return said_dry_run(body)


async def _health_body(service: Service) -> bytes:
    """Return the body of the health response as far as it comes, up to the size limit."""
    from toombos_cli.probes import message

    response = message.PartialResponse("GET", _MAX_BODY_BYTES)
    async with _asked(service, service.health) as reader:
        while not response.complete:
            received = await reader.read(_MAX_BODY_BYTES)
            try:
                response.feed(received)
            except message.NotHttpError:
                return b""
            if not received:
                break
    return bytes(response.body)


async def _status_of(service: Service, path: str) -> int:
    async with _asked(service, path) as reader:
        line = await reader.readline()
        version, status, *_ = line.split(None, 2)
        if not version.startswith(b"HTTP/"):
            raise ValueError(line)
        return int(status)


@asynccontextmanager
async def _asked(service: Service, path: str) -> AsyncIterator[asyncio.StreamReader]:
    """Yield the stream of the service's response to GET `path`."""
    context = None
    if service.scheme == "https":
        context = ssl._create_unverified_context()  # noqa: S323  (the socket proves whose process responds)
    reader, writer = await asyncio.open_connection(service.host, service.port, ssl=context)
    try:
        writer.write(
            f"GET {path} HTTP/1.1\r\nHost: {host_port(service.host, service.port)}\r\nUser-Agent: toombos\r\n"
            "Accept: */*\r\nConnection: close\r\n\r\n".encode()
        )
        yield reader
    finally:
        writer.close()


async def ask_again(service: Service, running: Running) -> Readiness | None:
    """Return whether an adopted process, which was ready once, is ready now; None if it has ended."""
    answer = await running.unless_ended(ask(service, service.readiness))
    stranger = _stranger_on_port(service, running.tree.members()) if answer is not None and answer.ok else None
    return answer if stranger is None else Readiness(ok=False, detail=_in_its_place(service, stranger))


async def until_ready(
    service: Service, running: Running, tell: Callable[[str], None], *, already_s: float = 0.0
) -> None:
    """Wait until the running process itself is ready; report to `tell` what it waits for.

    `already_s` is how long it has been starting. Raises CannotStartError if it ends before, if another process
    responds in its place, and at the start-up deadline.
    """
    path = service.readiness
    began = time.monotonic()
    deadline = began + service.startup_timeout_s - already_s
    while True:
        answer = await running.unless_ended(ask(service, path))
        if answer is None:
            raise CannotStartError(running.why_it_ended())
        if answer.ok:
            stranger = _stranger_on_port(service, running.tree.members())
            if stranger is None:
                return
            message = _in_its_place(service, stranger)
            raise CannotStartError(ServiceFailure(service=service.name, kind=FailureKind.PORT, message=message))
        if time.monotonic() >= deadline:
            message = f"not ready after {service.startup_timeout_s:g} s: {answer.detail}"
            raise CannotStartError(ServiceFailure(service=service.name, kind=FailureKind.TIMEOUT, message=message))
        tell(answer.detail)
        pause_s = min(max((time.monotonic() - began) * _PROBE_LATENESS, _FIRST_PROBE_S), _LAST_PROBE_S)
        await running.unless_ended(asyncio.sleep(pause_s))


def _in_its_place(service: Service, stranger: processes.Listener) -> str:
    return f"port {service.port} responds, but pid {stranger.pid} ({stranger.command}) listens there"


def _stranger_on_port(service: Service, own: dict[int, processes.ProcessRow]) -> processes.Listener | None:
    """Return the listener on the service's address if it is not one of the service's processes, else None."""
    found = processes.listeners_at(service.host, service.port, own)
    if not found or any(listener.pid is not None for listener in found):
        return None
    stranger = next(iter(processes.listeners_at(service.host, service.port)), None)
    if stranger is not None and stranger.pid is None and not all(map(processes.is_readable, own)):
        return None  # one of its processes hides its sockets from this user, as programs with file capabilities do
    return stranger
