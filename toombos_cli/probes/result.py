"""What one probe found."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal


class Reason(StrEnum):
    """Why a probe succeeded or not. The values are contract (`health --json`, Nagios, Prometheus labels)."""

    OK = "ok"
    SLOW = "slow"
    """It answered rightly, and later than the service's latency threshold."""
    STATUS = "status"
    """An HTTP status that is not 2xx; redirects are not followed."""
    BODY = "body"
    """A 2xx whose body says otherwise, is not what was promised, or is not HTTP at all."""
    REFUSED = "refused"
    """Nobody listens there, or the address cannot be reached."""
    TIMEOUT = "timeout"
    STOPPED = "stopped"
    """No answer because the process is suspended (SIGSTOP). Found from the process table, not by a probe."""
    DNS = "dns"
    TLS = "tls"
    """The handshake failed, or one side speaks TLS and the other does not."""
    RESET = "reset"
    """The connection was closed or reset before the answer was complete."""
    WRONG_OWNER = "wrong-owner"
    """A process that is not the service's listens on its port. Found from the process table, not by a probe."""
    ERROR = "error"
    """The probe could not be made."""


class Cause(StrEnum):
    """What exactly is behind a reason, where a reader can do something about it. The values are contract, too."""

    CERTIFICATE = "certificate"
    """TLS: the certificate has expired, or is another name's."""
    DEGRADED = "degraded"
    """BODY: the service says that it works with restrictions."""
    UNWELL = "unwell"
    """BODY: the service says that it is not well."""
    WEB_PAGE = "web-page"
    """BODY: a page for people, as of a catch-all route or another server."""
    NO_STATUS = "no-status"
    """BODY: JSON that does not say how the service is."""
    UNREADABLE = "unreadable"
    """BODY: empty, cut off, or not what its media type says."""
    NOT_HTTP = "not-http"
    """BODY: not a response of HTTP."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """One request's outcome. `latency_ms` runs from the first connection attempt to the end of the answer."""

    url: str
    reason: Reason
    cause: Cause | None = None
    detail: str = ""
    """One line for a person; printable characters only, "" when all is well."""
    http_status: int | None = None
    latency_ms: float | None = None
    """None when no answer came."""
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Names in lower case, in the order received."""
    body: bytes = field(default=b"", repr=False)
    """At most the limit that was asked for; `truncated` tells that there was more."""
    truncated: bool = False
    address: str | None = None
    """The IP address that was connected to; None when none was."""
    family: Literal["ipv4", "ipv6"] | None = None

    def header(self, name: str) -> str | None:
        """The first header of that name (any case), or None."""
        return next((value for key, value in self.headers if key == name.lower()), None)
