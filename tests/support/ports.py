"""Free TCP ports of the loopback address."""

import socket

_given: set[int] = set()


def free_port() -> int:
    """Return a port of the loopback address on which nothing listens, a different one at each call."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port not in _given:
            _given.add(port)
            return port
