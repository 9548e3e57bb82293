"""Errors that a user can act on; each class maps to one exit code (docs/exit-codes.md)."""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One error message, where the error is (`file:line`, a URL, an option), and the next command to type."""

    message: str
    where: str | None = None
    hint: str | None = None


class ToombosError(Exception):
    """An expected failure. It is printed as message, place and hint, never as a traceback."""

    exit_code: ClassVar[int] = 4

    def __init__(self, message: str, *, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.problems: tuple[Problem, ...] = (Problem(message=message, where=where, hint=hint),)


class UsageError(ToombosError):
    """The command line asks for something that does not exist or contradicts itself."""

    exit_code = 2


class ConfigurationError(ToombosError):
    """A manifest, `.env` or setting is invalid; nothing was done. May carry several problems."""

    exit_code = 3

    def __init__(
        self,
        message: str,
        *,
        where: str | None = None,
        hint: str | None = None,
        problems: tuple[Problem, ...] = (),
    ) -> None:
        super().__init__(message, where=where, hint=hint)
        if problems:
            self.problems = problems


class OperationError(ToombosError):
    """The operation failed or could not be judged: could not start, probe crashed, disk full."""

    exit_code = 4


class RefusedError(ToombosError):
    """The operation was refused for safety: a target that is not local, a prune of the last good backup, live mode."""

    exit_code = 5


class LockedError(ToombosError):
    """Another toombos holds the lock; the message names its pid."""

    exit_code = 6


def raised_at(error: BaseException) -> str | None:
    """Return `file:line` of the last frame of an error's traceback, or None if it has none."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return f"{frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}" if frame else None


def type_and_place(error: BaseException) -> str:
    """Return the type and place of an unexpected error, without its message, which may quote a secret."""
    place = raised_at(error)
    return type(error).__name__ + (f" at {place}" if place else "")
