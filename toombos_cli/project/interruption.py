"""What a backup or restore has to undo at its end: it is recorded first, so that a killed one leaves it to the next.

The services that it stopped run again, and `[backup] after` undoes what `before` did.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import msgspec

from toombos_cli.base.errors import OperationError
from toombos_cli.base.files import replace_file
from toombos_cli.base.fixes import here
from toombos_cli.base.locks import hold, is_held
from toombos_cli.base.own_records import encode_own, read_own
from toombos_cli.base.untrusted import UntrustedError


class Interruption(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is still to be undone. `stopped` are services, which ran in `mode`; `after` is whether the hook is due."""

    by: Literal["backup", "restore"] = "backup"
    stopped: tuple[str, ...] = ()
    mode: str | None = None
    after: bool = False

    @property
    def messages(self) -> tuple[str, ...]:
        """What was left undone, each with the command that helps."""
        found = []
        if self.stopped:
            verb = "is" if len(self.stopped) == 1 else "are"
            found.append(
                f"{', '.join(self.stopped)} {verb} stopped because of a {self.by} that was killed: "
                f"{here('start', *self.stopped)}"
            )
        if self.after:
            found.append(f"a backup was killed before [backup] after ran: {here('backup')}")
        return tuple(found)


def find_interruption(project: Path) -> Interruption | None:
    """Return what a killed backup or restore left undone, or None; also None while one is at work."""
    found = load_interruption(project)
    return None if found == Interruption() or is_held(project / "run" / "backup.lock") else found


def load_interruption(project: Path) -> Interruption:
    """Return the record, an empty one if there is none or it cannot be read."""
    try:
        return read_own(_record(project), Interruption)
    except (OSError, UntrustedError):
        return Interruption()


def record_stopped(project: Path, by: Literal["backup", "restore"], names: Collection[str], mode: str | None) -> None:
    """Record services before they are stopped. Raise OperationError."""
    with _recording(project):
        stopped = (*load_interruption(project).stopped, *names)
        _change(project, by=by, stopped=tuple(dict.fromkeys(stopped)), mode=mode)


def record_after(project: Path, *, is_due: bool) -> None:
    """Record whether `[backup] after` has still to run. Raise OperationError."""
    with _recording(project):
        _change(project, after=is_due)


def forget_stopped(project: Path, names: Collection[str] = ()) -> None:
    """Forget services (no names: all), because they run again or a person wants them stopped."""
    if _record(project).exists():
        with suppress(OperationError), _recording(project):
            left = tuple(name for name in load_interruption(project).stopped if names and name not in names)
            _change(project, stopped=left)


@contextmanager
def _recording(project: Path) -> Iterator[None]:
    """Keep other processes from changing the record during the block. Raise OperationError for disk errors."""
    try:
        with hold(project / "run"):
            yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise OperationError(
            f"{_record(project).name} cannot be written: {reason}", where=str(project / "run")
        ) from None


def _change(project: Path, **changes: Any) -> None:
    changed = msgspec.structs.replace(load_interruption(project), **changes)
    if not (changed.stopped or changed.after):
        _record(project).unlink(missing_ok=True)
    else:
        replace_file(_record(project), encode_own(changed), durable=True)


def _record(project: Path) -> Path:
    return project / "run" / "interruption.json"
