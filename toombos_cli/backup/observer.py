"""How a long operation tells where it is. The command line draws a bar from it; the fault tests kill at its steps."""

from typing import Protocol


class Observer(Protocol):
    """Told of each step before it is done, and of the bytes that a step has worked through."""

    def step(self, name: str, total_bytes: int = 0) -> None:
        """A step begins; `total_bytes` is 0 where it cannot be measured in bytes."""

    def advance(self, size_bytes: int) -> None:
        """So many more bytes of the step are done."""


class Silent:
    """An observer that tells nobody."""

    def step(self, name: str, total_bytes: int = 0) -> None:
        pass

    def advance(self, size_bytes: int) -> None:
        pass
