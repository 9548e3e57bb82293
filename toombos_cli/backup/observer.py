"""Reports the progress of a long operation: the command line draws a bar from it, fault tests kill at its steps."""

from typing import Protocol


class BackupObserver(Protocol):
    """Receives each step before it is done, and the bytes that a step has processed."""

    def step(self, name: str, total_bytes: int = 0) -> None:
        """Start a step; `total_bytes` is 0 if it cannot be measured in bytes."""

    def advance(self, size_bytes: int) -> None:
        """Report that `size_bytes` more bytes of the step are done."""


class Silent:
    """An observer that does nothing."""

    def step(self, name: str, total_bytes: int = 0) -> None:
        pass

    def advance(self, size_bytes: int) -> None:
        pass
