"""Bounded storage: a mock that has accepted a million emails keeps only the newest ten thousand."""

from collections.abc import Callable, Hashable
from itertools import islice
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Records(Generic[K, V]):
    """Values by key, in insertion order. Beyond either bound the oldest are dropped; the newest is always kept.

    `size_bytes` is the caller's estimate of a value's size.
    """

    def __init__(self, *, max_records: int, max_bytes: int) -> None:
        self._values: dict[K, tuple[V, int]] = {}
        self._max_records = max_records
        self._max_bytes = max_bytes
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._values)

    def put(self, key: K, value: V, *, size_bytes: int) -> None:
        """Add a value, or replace it without changing its position."""
        self._bytes += size_bytes - self._values.get(key, (None, 0))[1]
        self._values[key] = (value, size_bytes)
        while len(self._values) > self._max_records or (self._bytes > self._max_bytes and len(self._values) > 1):
            oldest = next(iter(self._values))
            self.remove(oldest)

    def get(self, key: K) -> V | None:
        entry = self._values.get(key)
        return entry[0] if entry else None

    def remove(self, key: K) -> V | None:
        """Remove and return a value, or return None if there is none."""
        value, size_bytes = self._values.pop(key, (None, 0))
        self._bytes -= size_bytes
        return value

    def page(
        self, *, offset: int, limit: int, where: Callable[[V], bool] = lambda _: True
    ) -> tuple[tuple[V, ...], int]:
        """Return one page of the values that satisfy `where`, oldest first, and their total number."""
        matching = [value for value, _ in self._values.values() if where(value)]
        return tuple(islice(matching, offset, offset + limit)), len(matching)

    def clear(self) -> None:
        self._values.clear()
        self._bytes = 0
