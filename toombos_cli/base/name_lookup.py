"""The addresses that a host name means on this machine, looked up in one place, for a bounded time."""

import socket
import threading
import time
from functools import lru_cache

from toombos_cli.base.addresses import is_loopback

_LONGEST_S = 1.0
_KEPT_S = 10.0


def addresses_of(host: str) -> frozenset[str]:
    """Return all addresses of a host name, or the address itself; nothing if a lookup fails or takes over a second."""
    return _looked_up(host, int(time.monotonic() / _KEPT_S))


def is_only_local(host: str) -> bool:
    """Report whether a host is a loopback address, or a name that has no other addresses."""
    if is_loopback(host):
        return True
    found = addresses_of(host)
    return bool(found) and all(map(is_loopback, found))


@lru_cache(maxsize=256)
def _looked_up(host: str, period: int) -> frozenset[str]:
    """Return the addresses; `period` numbers the seconds for which the result is kept."""
    del period
    try:
        return frozenset({_plain(host)})
    except ValueError:
        pass  # it is a name
    found: list[str] = []
    thread = threading.Thread(target=_look_up, args=(host, found), daemon=True)  # a resolver may hang for minutes
    thread.start()
    thread.join(_LONGEST_S)
    return frozenset(found)


def _look_up(host: str, found: list[str]) -> None:
    try:
        answers = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return
    found.extend(_plain(str(address[0])) for *_, address in answers)


def _plain(text: str) -> str:
    """Return an address without its zone, and an IPv4 address that is written as IPv6 as such. Raise ValueError."""
    import ipaddress

    address = ipaddress.ip_address(text.partition("%")[0])
    return str(getattr(address, "ipv4_mapped", None) or address)
