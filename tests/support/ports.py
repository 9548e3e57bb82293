"""Free TCP ports of the loopback address."""

import os
import random
import socket
from collections.abc import Iterator

_FIRST, _END = 12_000, 32_000
"""Below the ports that the kernel gives to connections: one of them could be taken before a service listens."""
_WORKERS = 16


def free_port() -> int:
    """Return a port of the loopback address on which nothing listens, never the same for two calls or two workers."""
    for port in _ports:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise AssertionError("this worker has used all its ports")


def _own_ports() -> Iterator[int]:
    """Yield the ports of this worker, from a random one on: another run of the tests may use the same ones."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _WORKERS
    count = (_END - _FIRST) // _WORKERS
    first, start = _FIRST + worker * count, random.randrange(count)
    yield from (first + (start + step) % count for step in range(count))


_ports = _own_ports()
