"""What to send, how often and for how long: one immutable value, the same for every process of a run."""

import hashlib
import json
from dataclasses import dataclass, replace
from typing import Literal

from toombos_cli.load.engine.pacer import Arrival, RampStage
from toombos_cli.load.script import Script, Users
from toombos_cli.probes.endpoint import DIRECT, Endpoint

Scheme = Literal["http", "https"]
Mode = Literal["closed", "open"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadRequest:
    """One kind of request. `request` holds its bytes, ready to be written; `weight` is its share of the mix.

    With a `script`, `request` shows the variables by their names.
    """

    name: str
    method: str
    path: str
    request: bytes
    weight: float = 1.0
    script: Script | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadTarget:
    """Where requests go: one address, resolved and checked once, so that later DNS changes do not matter.

    On a Unix socket, `address` is `unix:PATH` and `port` is 0.
    """

    url: str
    scheme: Scheme
    host: str
    port: int
    address: str
    verify_tls: bool = True
    endpoint: Endpoint = DIRECT
    """The socket and the certificates of the manifest's service at this place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPlan:
    """A load test.

    Closed (`stages` empty): each of `connections` sends its next request when it has the response to the last one,
    until `requests` are sent or `duration_s` is over. Open: requests are due at the stages' arrival rate, whatever
    the server does, over at most `max_connections`; `connections` is ignored.
    """

    target: LoadTarget
    endpoints: tuple[LoadRequest, ...]
    requests: int | None = None
    duration_s: float | None = None
    connections: int = 10
    stages: tuple[RampStage, ...] = ()
    arrival: Arrival = "constant"
    warmup_s: float = 0.0
    timeout_s: float = 30.0
    drain_s: float = 30.0
    keepalive: bool = True
    retry_stale: bool = True
    """Send a request again, on a fresh connection, if the server had closed the kept-alive one before."""
    max_connections: int = 1000
    processes: int = 1
    seed: int = 1
    users: Users | None = None
    """Who sends the requests, if they have scripts."""
    part: tuple[int, int] = (0, 1)
    """In an open loop, this process sends the arrivals whose number is part[0] modulo part[1]."""

    @property
    def mode(self) -> Mode:
        """Return `open` if requests are due at a rate, else `closed`."""
        return "open" if self.stages else "closed"

    @property
    def checked(self) -> frozenset[str]:
        """Return the names of the requests with expectations."""
        return frozenset(e.name for e in self.endpoints if e.script is not None and e.script.has_checks)

    @property
    def planned_s(self) -> float | None:
        """Return the seconds of sending, without warm-up and drain, or None if only `requests` ends the run."""
        return sum(stage.duration_s for stage in self.stages) if self.stages else self.duration_s

    def shares(self) -> tuple["LoadPlan", ...]:
        """Return the plan of each process: requests and connections are divided, arrivals are assigned in turn."""
        n = self.processes

        def share(whole: int, index: int) -> int:
            return whole // n + (index < whole % n)

        return tuple(
            replace(
                self,
                requests=None if self.requests is None else share(self.requests, index),
                connections=share(self.connections, index),
                max_connections=share(self.max_connections, index),
                part=(index, n),
            )
            for index in range(n)
        )

    def fingerprint(self) -> dict[str, str | float | int | bool | None]:
        """Return what two runs must have in common to be comparable; it never contains the text of a request."""
        requests = json.dumps(
            [
                [e.name, e.weight, hashlib.sha256(e.request).hexdigest(), *([e.script.demands] if e.script else [])]
                for e in self.endpoints
            ]
        )
        return {
            "url": self.target.url,
            "mode": self.mode,
            "requests": hashlib.sha256(requests.encode()).hexdigest()[:16],
            "connections": self.connections if self.mode == "closed" else self.max_connections,
            "stages": ",".join(f"{s.duration_s:g}s:{s.start_rps:g}-{s.end_rps:g}" for s in self.stages),
            "arrival": self.arrival if self.mode == "open" else "",
            "keepalive": self.keepalive,
            "timeout_s": self.timeout_s,
            "processes": self.processes,
            **({"http2": True} if self.target.endpoint.http2 else {}),
        }
