"""A conversation with a TCP service: send bytes, and wait for what the step expects."""

import re
import socket
import time
from dataclasses import dataclass

from toombos_cli.base.addresses import host_port
from toombos_cli.base.text import one_line, seconds, size
from toombos_cli.manifest.tables.service import Service
from toombos_cli.manifest.tables.smoke import SmokeStep

_MAX_BYTES = 64 * 1024
_SHOWN_CHARS = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What a service sent. `problem` says why it is not what was expected, or ""."""

    text: str = ""
    problem: str = ""
    nothing_listens: bool = False

    @property
    def shown(self) -> str:
        """What was sent, in one line."""
        return one_line(repr(self.text)[1:-1], limit=_SHOWN_CHARS) or "nothing"


def words_for(step: SmokeStep, service: Service) -> str:
    """Return the conversation as text, for a report."""
    sent = step.send_hex if step.send is None else repr(step.send)[1:-1]
    place = service.url or service.name
    return f"connect {place}" + (f", send {one_line(sent, limit=200)}" if sent else "")


def converse(step: SmokeStep, service: Service, *, timeout_s: float) -> Heard:
    """Return what the service sends until it is what the filled step expects, within the time and 64 KiB."""
    end = time.monotonic() + timeout_s
    sent = bytes.fromhex(step.send_hex or "") if step.send is None else step.send.encode()
    received = bytearray()
    problem = ""
    try:
        with socket.create_connection((service.host, service.port), timeout=timeout_s) as connection:
            connection.sendall(sent)
            while not _is_found(step, received):
                part = _next_part(connection, end)
                received += part
                if not part or len(received) >= _MAX_BYTES:
                    break
    except ConnectionRefusedError:
        return Heard(problem=f"{host_port(service.host, service.port)}: connection refused", nothing_listens=True)
    except TimeoutError:
        problem = f"after {seconds(timeout_s)}"
    except OSError as error:
        problem = one_line(error.strerror or str(error))
    text = received.decode("utf-8", "replace")
    if _is_found(step, received):
        return Heard(text=text)
    if not problem and len(received) >= _MAX_BYTES:
        problem = f"after {size(_MAX_BYTES)}"
    return Heard(text=text, problem=problem or "then the service closed the connection")


def _next_part(connection: socket.socket, end: float) -> bytes:
    """Return what arrives next, b"" at the end of the stream. Raises TimeoutError."""
    left_s = end - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    connection.settimeout(left_s)
    return connection.recv(_MAX_BYTES)


def _is_found(step: SmokeStep, received: bytearray) -> bool:
    """Report whether everything that the step looks for has arrived: as UTF-8, or byte for byte."""
    wanted = [step.expect] if step.expect is not None else [place.text or "" for _, place in step.captures()]
    texts = [received.decode(code, "replace") for code in ("utf-8", "latin-1")]
    return all(any(re.search(expression, text) for text in texts) for expression in wanted)
