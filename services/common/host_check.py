"""Whether a request names this service as its host: a page of another site must not reach it through its own name.

A browser lets a page talk to the page's own host. If that host's name is made to resolve to 127.0.0.1 (DNS rebinding),
the page would reach a service that needs no key, but the Host header still has the other name.
"""

import ipaddress
import re
from collections.abc import Iterable

from services.common.loopback import is_loopback

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[0-9a-z._-]+)(?::[0-9]{1,5})?", re.IGNORECASE)
_MAX_KNOWN = 100


class HostCheck:
    """The check of the Host headers of one service, which listens on the address `bound`.

    Loopback names, `bound` and the `allowed` names are right; if the service listens on all addresses, every address
    is right, because a page's own name is never one. With `any_name`, only the number of headers is checked.
    """

    def __init__(self, *, bound: str, allowed: Iterable[str], any_name: bool) -> None:
        self._names = frozenset(_plain(name) for name in (bound, *allowed))
        self._on_all_addresses = bound in ("0.0.0.0", "::", "")  # noqa: S104  (compared with, not bound)
        self._any_name = any_name
        self._known: set[bytes] = set()

    def problem(self, headers: Iterable[tuple[bytes, bytes]], http_version: str) -> str | None:
        """Return what is wrong with the Host headers, or None."""
        hosts = [value for name, value in headers if name == b"host"]
        if len(hosts) == 1:
            return None if self._any_name or hosts[0] in self._known else self._problem_with(hosts[0])
        if not hosts and self._any_name and http_version == "1.0":
            return None
        return f"The request has {len(hosts)} Host headers instead of one"

    def _problem_with(self, value: bytes) -> str | None:
        match = _HOST.fullmatch(value.decode("latin-1"))
        if match is None:
            return "The Host header is not a host and a port"
        name = _plain(match[1])
        if not (name in self._names or is_loopback(name) or (self._on_all_addresses and _is_address(name))):
            return f"This service is not called {name[:100]}; if it is, add the name to ALLOWED_HOSTS"
        if len(self._known) < _MAX_KNOWN:
            self._known.add(value)
        return None


def _plain(name: str) -> str:
    return name.strip().strip("[]").rstrip(".").lower()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
