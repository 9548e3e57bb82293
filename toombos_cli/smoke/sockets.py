"""Watches the services' sockets during the test for connections beyond this machine."""

from collections.abc import Mapping
from threading import Event, Lock, Thread

from toombos_cli import processes
from toombos_cli.base.addresses import is_loopback
from toombos_cli.manifest.tables.service import Service

_INTERVAL_S = 0.05


class SocketWatch:
    """Samples the TCP and UDP sockets of the services' process trees until it is closed.

    The owner of a connection is looked up only if the machine has a new one beyond itself: the lookup costs ten times
    as much as seeing that there is none. A connection shorter than the sampling interval may go unnoticed; the
    service's own egress counter is the other half of the proof.
    """

    def __init__(self, services: Mapping[str, Service]) -> None:
        self._services = services
        self._outside: dict[str, dict[str, None]] = {name: {} for name in services}
        self._unseen: dict[str, str] = {}
        self._trees: dict[str, set[int]] = {name: set() for name in services}
        self._beyond: frozenset[processes.FarEnd] = frozenset()
        self._lock = Lock()
        self._stop = Event()
        self._thread = Thread(target=self._run, daemon=True)

    def __enter__(self) -> "SocketWatch":
        if self._services:
            self._sample()
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def outside(self, service: str) -> tuple[str, ...]:
        """Return descriptions of the addresses beyond this machine that the service's sockets have reached so far."""
        self._sample()
        return tuple(self._outside[service])

    def unseen(self, service: str) -> str:
        """Return why the service's sockets cannot be seen, or "" if they can."""
        return self._unseen.get(service, "")

    def _run(self) -> None:
        while not self._stop.wait(_INTERVAL_S):
            if self._has_new_ones():
                self._sample()

    def _has_new_ones(self) -> bool:
        """Report whether the machine has, or may have, a connection beyond itself that is new since the last call."""
        ends = processes.far_ends()
        if ends is None:
            return True
        beyond = frozenset(end for end in ends if not is_loopback(end.host))
        new, self._beyond = beyond - self._beyond, beyond
        return bool(new)

    def _sample(self) -> None:
        with self._lock:
            table = processes.process_table()
            for name, service in self._services.items():
                listener = self._listener(name, service)
                if listener is None or listener.pid is None:
                    self._unseen[name] = "nothing listens" if listener is None else "another user's process listens"
                    continue
                self._unseen.pop(name, None)
                self._trees[name] = processes.descendants([listener.pid], table)
                for pid in self._trees[name]:
                    self._outside[name] |= dict.fromkeys(_outside_of(pid, service.port))

    def _listener(self, name: str, service: Service) -> processes.Listener | None:
        """Return the listener. Looks first in the last known process tree: the whole machine takes 20 times as long."""
        known = processes.listeners_at(service.host, service.port, self._trees[name])
        if any(listener.pid is not None for listener in known):
            return next(listener for listener in known if listener.pid is not None)
        return next(iter(processes.listeners_at(service.host, service.port)), None) if known else None


def _outside_of(pid: int, port: int) -> tuple[str, ...]:
    """Return the non-loopback peers of the connections that a process opened; connections on `port` were accepted."""
    import psutil

    try:
        connections = psutil.Process(pid).net_connections("inet")
    except psutil.Error:
        return ()
    kinds = {1: "TCP", 2: "UDP"}
    return tuple(
        f"{c.raddr.ip} port {c.raddr.port} ({kinds.get(c.type, c.type)}, pid {pid})"
        for c in connections
        if c.raddr and c.laddr.port != port and not is_loopback(c.raddr.ip)
    )
