"""One readiness request from inside the supervisor's event loop.

Not `toombos_cli.probes`: that one judges bodies, latency and TLS for `health`, and blocks. Here a status line is all
that matters, and the wait must end at once when the service dies.
"""

import asyncio
import ssl
from dataclasses import dataclass

from toombos_cli import processes
from toombos_cli.manifest.service import Service

_NOT_FOUND = 404


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Whether the service said yes, and what to tell a person who waits for it."""

    ok: bool
    detail: str


async def ask(service: Service, path: str) -> Answer:
    """The service's answer to GET `path` within its probe timeout; 2xx is a yes, for tcp an accepted connection."""
    try:
        if service.scheme == "tcp":
            return await asyncio.wait_for(_accepts(service), service.probe_timeout_s)
        status = await asyncio.wait_for(_status_of(service, path), service.probe_timeout_s)
    except TimeoutError:
        asked = path or f"port {service.port}"
        return Answer(ok=False, detail=f"no answer from {asked} within {service.probe_timeout_s:g} s")
    except ConnectionRefusedError:
        return Answer(ok=False, detail=f"nothing listens on port {service.port} yet")
    except ValueError:
        remedy = f"if it is not meant to: scheme = 'tcp' in [services.{service.name}]"
        return Answer(ok=False, detail=f"port {service.port} does not speak HTTP; {remedy}")
    except OSError as error:
        return Answer(ok=False, detail=f"{path or service.url}: {error.strerror or error}")
    detail = f"{path} answered {status}"
    if status == _NOT_FOUND:
        detail += f"; `health` or `ready` in [services.{service.name}] names another path"
    return Answer(ok=200 <= status < 300, detail=detail)


async def _accepts(service: Service) -> Answer:
    _, writer = await asyncio.open_connection(service.host, service.port)
    writer.close()
    return Answer(ok=True, detail="")


async def _status_of(service: Service, path: str) -> int:
    context = None
    if service.scheme == "https":
        context = ssl._create_unverified_context()  # noqa: S323  (whose process answers is proved by its socket)
    reader, writer = await asyncio.open_connection(service.host, service.port, ssl=context)
    try:
        host = f"[{service.host}]" if ":" in service.host else service.host
        writer.write(
            f"GET {path} HTTP/1.1\r\nHost: {host}:{service.port}\r\nUser-Agent: toombos\r\n"
            "Accept: */*\r\nConnection: close\r\n\r\n".encode()
        )
        line = await reader.readline()
        version, status, *_ = line.split(None, 2)
        if not version.startswith(b"HTTP/"):
            raise ValueError(line)
        return int(status)
    finally:
        writer.close()


def stranger_on_port(service: Service, own: dict[int, processes.ProcessRow]) -> processes.Listener | None:
    """The listener that answers for the service's address though none of its processes holds it, if there is one."""
    found = processes.listeners_at(service.host, service.port, own)
    if not found or any(listener.pid is not None for listener in found):
        return None
    return next(iter(processes.listeners_at(service.host, service.port)), None)
