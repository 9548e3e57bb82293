"""Facts: what diagnose looks at, each gathered at most once, at the same time as the others, and within a limit.

A check is a function of facts alone, so the same checks judge a living system (LiveFacts) and a saved one (SavedFacts).
"""

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
OVERALL_LIMIT_S = 9.0
"""After so long every fact that is still missing counts as unavailable: with the rules, diagnose ends within 10 s."""


class FactUnavailableError(Exception):
    """A fact could not be gathered; the message says why and holds no secret. A check that needs it is an ERROR."""


@dataclass(frozen=True, slots=True, eq=False)
class Fact(Generic[T]):
    """One thing to know: its name in a bundle, the msgspec type of its value, and how it is found out.

    `gather` may ask for other facts, whose time then counts as its own.
    """

    name: str
    type: Any
    gather: "Callable[[Facts], T]"
    limit_s: float = FACT_LIMIT_S


class Facts(Protocol):
    """Where checks get facts from."""

    @property
    def manifest(self) -> Manifest: ...
    @property
    def searched_from(self) -> Path: ...
    @property
    def now(self) -> float: ...

    def get(self, fact: Fact[T]) -> T:
        """The value of a fact. Raises FactUnavailableError."""
        ...


class LiveFacts:
    """The facts of the system that runs here and now."""

    def __init__(self, manifest: Manifest, *, start: Path | None = None, limit_s: float = OVERALL_LIMIT_S) -> None:
        """`start` is the directory that the project was looked for from."""
        self._manifest = manifest
        self._start_directory = start or manifest.project
        self._now = time.time()
        self._deadline = time.monotonic() + limit_s
        self._started: dict[str, tuple[Future[Any], float]] = {}
        self._given_up: dict[str, FactUnavailableError] = {}
        self._lock = Lock()

    @property
    def manifest(self) -> Manifest:
        """The project's manifest."""
        return self._manifest

    @property
    def searched_from(self) -> Path:
        """The directory that the project was looked for from."""
        return self._start_directory

    @property
    def now(self) -> float:
        """When gathering began, in seconds since the epoch."""
        return self._now

    def start(self, facts: Iterable[Fact[Any]]) -> None:
        """Begins to gather all of these at once."""
        for fact in facts:
            self._start(fact)

    def get(self, fact: Fact[T]) -> T:
        """The value, waited for until the fact's limit or the overall one. Raises FactUnavailableError.

        What was given up once stays so, that all who ask, and a bundle, are told the same.
        """
        if fact.name in self._given_up:
            raise self._given_up[fact.name]
        future, begun = self._start(fact)
        until = min(begun + fact.limit_s, self._deadline)
        try:
            value: T = future.result(max(0.0, until - time.monotonic()))
        except TimeoutError:
            error = FactUnavailableError(f"{fact.name} not known within {until - begun:.1f} s")
            raise self._given_up.setdefault(fact.name, error) from None
        return value

    def values(self, facts: Iterable[Fact[Any]]) -> dict[str, Any]:
        """What is known, by fact name, in JSON's own types; `{"unavailable": why}` for what is not."""
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
                # A daemon thread: one that hangs in a system call must not keep the command from ending.
                Thread(target=self._gather, args=(fact, future), name=fact.name, daemon=True).start()
            return self._started[fact.name]

    def _gather(self, fact: Fact[Any], future: Future[Any]) -> None:
        try:
            future.set_result(fact.gather(self))
        except FactUnavailableError as error:
            future.set_exception(error)
        except Exception as error:  # whatever goes wrong, this fact alone is missing
            # Type and place alone: an exception's text may quote a secret.
            future.set_exception(FactUnavailableError(f"{fact.name} could not be found out: {type_and_place(error)}"))


class SavedFacts:
    """The facts of a bundle, as LiveFacts.values() gave them."""

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

    def get(self, fact: Fact[T]) -> T:
        """The saved value. Raises FactUnavailableError when it was not known then, or does not read as one."""
        saved = self._values.get(fact.name, {"unavailable": f"{fact.name} is not in the bundle"})
        if isinstance(saved, dict) and "unavailable" in saved:
            raise FactUnavailableError(str(saved["unavailable"]))
        try:
            value: T = msgspec.convert(saved, fact.type)
        except msgspec.ValidationError:
            raise FactUnavailableError(f"{fact.name} was saved by another version of toombos") from None
        return value
