"""Facts: what diagnose looks at. Each is gathered at most once, concurrently with the others, and within a time limit.

A check is a function of facts alone, so it works for a running system (LiveFacts) and a saved one (SavedFacts).
"""

import os
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from threading import Lock, Thread
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from toombos_cli.base.errors import type_and_place
from toombos_cli.manifest.model import Manifest

T = TypeVar("T")

FACT_LIMIT_S = 3.0
_CORES = os.cpu_count() or 1
OVERALL_LIMIT_S = 9.0
"""After this time, facts that are still missing are unavailable, so that diagnose ends within 10 s, rules included."""


class FactUnavailableError(Exception):
    """A fact could not be gathered. The message says why, without secrets. A check that needs the fact is an ERROR."""


class NotKnownHereError(FactUnavailableError):
    """The fact is about a machine, and the system is at another place: a check that needs it is a SKIP."""


@dataclass(frozen=True, slots=True, eq=False)
class Fact(Generic[T]):
    """A fact: its name in a bundle, the msgspec type of its value, and the function that gathers it.

    `gather` may get other facts; their time counts as its own. `from_afar` if it can be gathered at another place.
    """

    name: str
    type: Any
    gather: "Callable[[Facts], T]"
    limit_s: float = FACT_LIMIT_S
    from_afar: bool = False


class Facts(Protocol):
    """The source of facts for checks."""

    def __hash__(self) -> int: ...
    @property
    def manifest(self) -> Manifest: ...
    @property
    def searched_from(self) -> Path: ...
    @property
    def now(self) -> float: ...
    @property
    def slowness(self) -> float: ...
    @property
    def late(self) -> frozenset[str]: ...

    def get(self, fact: Fact[T]) -> T:
        """Return the value of a fact. Raise FactUnavailableError."""
        ...


class LiveFacts:
    """The facts of the system that runs here now."""

    def __init__(self, manifest: Manifest, *, start: Path | None = None, limit_s: float = OVERALL_LIMIT_S) -> None:
        """`start` is the directory from which the project was searched for."""
        self._manifest = manifest
        self._start_directory = start or manifest.project
        self._now = time.time()
        self._deadline = time.monotonic() + limit_s
        self._slowness = min(_slowness(), limit_s / FACT_LIMIT_S)
        self._started: dict[str, tuple[Future[Any], float]] = {}
        self._given_up: dict[str, FactUnavailableError] = {}
        self._lock = Lock()

    @property
    def manifest(self) -> Manifest:
        """The project's manifest."""
        return self._manifest

    @property
    def searched_from(self) -> Path:
        """The directory from which the project was searched for."""
        return self._start_directory

    @property
    def now(self) -> float:
        """When gathering started, in seconds since the epoch."""
        return self._now

    @property
    def slowness(self) -> float:
        """How many times longer than on an idle machine things may take."""
        return self._slowness

    @property
    def late(self) -> frozenset[str]:
        """The names of the facts that were not there in time: another diagnosis may have them."""
        return frozenset(self._given_up)

    def start(self, facts: Iterable[Fact[Any]]) -> None:
        """Start to gather all these facts concurrently."""
        for fact in facts:
            self._start(fact)

    def get(self, fact: Fact[T]) -> T:
        """Wait for the value until the fact's limit, longer on a busy machine, or the overall one.

        Raise FactUnavailableError.

        A fact that timed out once stays unavailable, so that all checks, and a bundle, see the same.
        """
        if fact.name in self._given_up:
            raise self._given_up[fact.name]
        if self._manifest.place is not None and not fact.from_afar:
            raise NotKnownHereError(f"not known here: the place {self._manifest.source.place} cannot be looked into")
        future, begun = self._start(fact)
        until = min(begun + fact.limit_s * self._slowness, self._deadline)
        try:
            value: T = future.result(max(0.0, until - time.monotonic()))
        except TimeoutError:
            error = FactUnavailableError(f"{fact.name}: no result within {until - begun:.1f} s")
            raise self._given_up.setdefault(fact.name, error) from None
        return value

    def values(self, facts: Iterable[Fact[Any]]) -> dict[str, Any]:
        """Return the values by fact name, in JSON's own types; `{"unavailable": why}` for missing ones."""
        known: dict[str, Any] = {}
        for fact in facts:
            try:
                known[fact.name] = msgspec.to_builtins(self.get(fact))
            except FactUnavailableError as error:
                known[fact.name] = {"unavailable": str(error)}
        return known

    def _start(self, fact: Fact[Any]) -> tuple[Future[Any], float]:
        with self._lock:
            if fact.name not in self._started:
                future: Future[Any] = Future()
                self._started[fact.name] = future, time.monotonic()
                # A daemon thread: one that hangs in a system call must not keep the process alive.
                Thread(target=self._gather, args=(fact, future), name=fact.name, daemon=True).start()
            return self._started[fact.name]

    def _gather(self, fact: Fact[Any], future: Future[Any]) -> None:
        try:
            future.set_result(fact.gather(self))
        except FactUnavailableError as error:
            future.set_exception(error)
        except Exception as error:  # a bug in one fact must not affect the others
            # Only type and place: an exception's text may quote a secret.
            future.set_exception(FactUnavailableError(f"{fact.name} could not be determined: {type_and_place(error)}"))


def _slowness() -> float:
    """Return how many times longer than alone a process takes on this machine now: 1 if a core is free."""
    try:
        last_minute, _, _, running, _ = Path("/proc/loadavg").read_text("ascii").split()
        return max(1.0, float(last_minute) / _CORES, int(running.partition("/")[0]) / _CORES)
    except (OSError, ValueError):
        return max(1.0, os.getloadavg()[0] / _CORES)


class SavedFacts:
    """The facts of a bundle, as returned by LiveFacts.values()."""

    def __init__(self, manifest: Manifest, values: Mapping[str, Any], *, now: float = 0.0) -> None:
        self._manifest = manifest
        self._values = values
        self._now = now

    @property
    def manifest(self) -> Manifest:
        """The manifest of the system that was saved."""
        return self._manifest

    @property
    def searched_from(self) -> Path:
        """The project's directory on the machine that was saved."""
        return self._manifest.project

    @property
    def now(self) -> float:
        """When the system was saved, in seconds since the epoch."""
        return self._now

    @property
    def slowness(self) -> float:
        """1: nothing is waited for."""
        return 1.0

    @property
    def late(self) -> frozenset[str]:
        """Empty: nothing is waited for."""
        return frozenset()

    def get(self, fact: Fact[T]) -> T:
        """Return the saved value. Raise FactUnavailableError if it was unavailable then, or cannot be read."""
        saved = self._values.get(fact.name, {"unavailable": f"{fact.name} is not in the bundle"})
        if isinstance(saved, dict) and "unavailable" in saved:
            raise FactUnavailableError(str(saved["unavailable"]))
        try:
            value: T = msgspec.convert(saved, fact.type)
        except msgspec.ValidationError:
            raise FactUnavailableError(f"{fact.name} was saved by another version of toombos") from None
        return value
