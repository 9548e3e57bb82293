"""Free TCP ports of the loopback address."""

import os
import random
import socket
from collections.abc import Iterator
from itertools import count, islice

_FIRST, _END = 12_000, 32_000
"""Below the ports that the kernel gives to connections: one of them could be taken before a service listens."""
_WORKERS = 8
_SHARE = (_END - _FIRST) // _WORKERS


def free_port() -> int:
    """Return a port of the loopback address on which nothing listens, never one that another worker gets.

    The same worker gets it again only after all its others.
    """
    for port in islice(_ports, _SHARE):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise AssertionError("something listens on every port of this worker")


def _own_ports() -> Iterator[int]:
    """Yield the ports of this worker for ever, from a random one on: another run may use the same ones."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _WORKERS
    first, start = _FIRST + worker * _SHARE, random.randrange(_SHARE)
    return (first + (start + step) % _SHARE for step in count())


_ports = _own_ports()
