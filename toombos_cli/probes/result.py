"""The result of a probe."""

from enum import StrEnum
from typing import Literal

import msgspec


class Reason(StrEnum):
    """Why a probe succeeded or failed. The values are stable (`health --json`, Nagios, Prometheus labels)."""

    OK = "ok"
    SLOW = "slow"
    """The response was correct but took longer than the service's latency threshold."""
    STATUS = "status"
    """An HTTP status that is not 2xx; redirects are only followed on request."""
    BODY = "body"
    """A 2xx whose body says otherwise, or is not of its declared type; or a response that is not HTTP."""
    COMMAND = "command"
    """The health command exited with another code than 0, or printed another text than is expected."""
    REFUSED = "refused"
    """Nothing listens there, or the address cannot be reached."""
    TIMEOUT = "timeout"
    STOPPED = "stopped"
    """No response because the process is suspended (SIGSTOP). Found in the process table, not by a probe."""
    DNS = "dns"
    TLS = "tls"
    """The handshake failed, or one side speaks TLS and the other does not."""
    RESET = "reset"
    """The connection was closed or reset before the response was complete."""
    WRONG_OWNER = "wrong-owner"
    """Another process than the service listens on its port. Found in the process table, not by a probe."""
    TASK = "task"
    """A task has not succeeded: it failed, runs, or has not run. Found in the state, not by a probe."""
    NOT_KNOWN = "not-known"
    """Nothing at its place can be asked from here, so that it is neither well nor unwell. Found in the manifest."""
    ERROR = "error"
    """The probe could not be made, which says nothing about the service."""


class Cause(StrEnum):
    """The exact cause of a reason, if a reader can do something about it. The values are stable, too."""

    CERTIFICATE = "certificate"
    """TLS: the server's certificate has expired, is for another name, or is signed by an unknown authority."""
    CLIENT_CERTIFICATE = "client-certificate"
    """TLS: the server wants a client certificate, or does not accept the given one."""
    HTTP2 = "http2"
    """TLS or BODY: the server speaks HTTP/2 alone."""
    DEGRADED = "degraded"
    """BODY: the service says that it works with restrictions."""
    STARTING = "starting"
    """BODY: the service says that it is still starting."""
    UNWELL = "unwell"
    """BODY: the service says that it is not well."""
    WEB_PAGE = "web-page"
    """BODY: a page for people, as from a catch-all route or another server."""
    NO_STATUS = "no-status"
    """BODY: JSON without a `status`."""
    UNREADABLE = "unreadable"
    """BODY: empty, truncated, or not of its media type or content coding."""
    UNEXPECTED = "unexpected"
    """BODY or COMMAND: a condition that the manifest writes does not hold."""
    NOT_HTTP = "not-http"
    """BODY: not an HTTP response."""


class ProbeResult(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one request. `latency_ms` runs from the first connection attempt to the end of the response."""

    url: str
    """Of the last request, if redirects were followed."""
    reason: Reason
    cause: Cause | None = None
    detail: str = ""
    """One line for a person; printable characters only, "" if all is well."""
    note: str = ""
    """One line that is worth knowing although all is well, such as a word of health that is not known."""
    http_status: int | None = None
    latency_ms: float | None = None
    """None if there was no response."""
    headers: tuple[tuple[str, str], ...] = ()
    """Names in lower case, in the order received."""
    body: bytes = b""
    """Without its content coding. At most the requested limit; `truncated` says whether there was more."""
    truncated: bool = False
    address: str | None = None
    """The IP address of the connection, or None."""
    family: Literal["ipv4", "ipv6", "unix"] | None = None
    peer_pid: int | None = None
    """The process at the other end of a Unix socket, as the kernel names it; None over TCP."""
    http_version: str | None = None
    """`1.0`, `1.1` or `2`; None if there was no response."""

    def __repr__(self) -> str:
        """Return what may be shown: neither headers nor body, which may hold secrets."""
        return f"ProbeResult(url={self.url!r}, reason={self.reason}, cause={self.cause}, detail={self.detail!r})"

    def header(self, name: str) -> str | None:
        """Return the first header of that name (in any case), or None."""
        return next((value for key, value in self.headers if key == name.lower()), None)

    @property
    def text(self) -> str:
        """The body as text, by its byte order mark, else by its charset, else as UTF-8; U+FFFD for what is invalid."""
        from toombos_cli.probes.charset import decoded

        return decoded(self.body, self.header("content-type") or "")

    @property
    def json_bytes(self) -> bytes:
        """The body as UTF-8 without a byte order mark, and with U+FFFD for each surrogate that JSON leaves unpaired."""
        from toombos_cli.probes.charset import json_bytes

        return json_bytes(self.body, self.header("content-type") or "")
