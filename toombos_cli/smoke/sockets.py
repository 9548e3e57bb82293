"""Watches the sockets of services while the test runs: whether one of them reaches beyond this machine."""

from collections.abc import Mapping
from threading import Event, Lock, Thread

from toombos_cli import processes
from toombos_cli.base.addresses import is_loopback
from toombos_cli.manifest.tables.service import Service

_INTERVAL_S = 0.05


class SocketWatch:
    """Samples the process trees of the services' listeners until it is closed, TCP and UDP.

    Whose connections they are is looked up only when the machine has a new one beyond itself, for that costs ten times
    as much as to see that it has none. A connection shorter than the sampling interval may slip through: the service's
    own egress counter is the other half of the proof.
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
        """The addresses beyond this machine that the service's sockets have reached so far, in words."""
        self._sample()
        return tuple(self._outside[service])

    def unseen(self, service: str) -> str:
        """Why the service's sockets cannot be seen; "" when they can."""
        return self._unseen.get(service, "")

    def _run(self) -> None:
        while not self._stop.wait(_INTERVAL_S):
            if self._has_new_ones():
                self._sample()

    def _has_new_ones(self) -> bool:
        """Whether the machine has a connection beyond itself that it did not have a moment ago, or may have one."""
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
                    self._unseen[name] = "nobody listens" if listener is None else "another user's process listens"
                    continue
                self._unseen.pop(name, None)
                self._trees[name] = processes.descendants([listener.pid], table)
                for pid in self._trees[name]:
                    self._outside[name] |= dict.fromkeys(_outside_of(pid, service.port))

    def _listener(self, name: str, service: Service) -> processes.Listener | None:
        """Looks first where it was found the last time: the whole machine takes twenty times as long."""
        known = processes.listeners_at(service.host, service.port, self._trees[name])
        if any(listener.pid is not None for listener in known):
            return next(listener for listener in known if listener.pid is not None)
        return next(iter(processes.listeners_at(service.host, service.port)), None) if known else None


def _outside_of(pid: int, port: int) -> tuple[str, ...]:
    """The far ends, not on the loopback, of the connections that a process made itself; those to `port` it accepted."""
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
