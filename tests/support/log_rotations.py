"""What others do to the logs of a running service: truncate, copy, move, with and without the real logrotate."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Rotation = Callable[[Path], None]


def truncate(log: Path) -> None:
    """Empty the log: what it had is gone."""
    os.truncate(log, 0)


def copy_and_truncate(log: Path) -> None:
    shutil.copyfile(log, _next_name(log))
    os.truncate(log, 0)


def move(log: Path) -> None:
    if log.exists():
        log.rename(_next_name(log))


def move_and_create(log: Path) -> None:
    move(log)
    log.touch(mode=0o600)


def _next_name(log: Path) -> Path:
    """Return NAME.1 after the earlier ones were renamed to higher numbers."""
    for number in range(99, 0, -1):
        if (before := log.with_name(f"{log.name}.{number}")).exists():
            before.rename(log.with_name(f"{log.name}.{number + 1}"))
    return log.with_name(f"{log.name}.1")


def logrotate(*options: str) -> Rotation:
    """Return a rotation by the real logrotate with these options."""

    def run(log: Path) -> None:
        if shutil.which("logrotate", path="/usr/sbin:/usr/bin") is None:
            pytest.skip("needs logrotate")
        settings = log.parent.parent / "logrotate.conf"
        turn = sum(1 for _ in log.parent.iterdir())  # a date is not used twice
        body = "\n".join(("rotate 99", "missingok", "nomail", *options)).replace("%turn", str(turn))
        settings.write_text(f"{log} {{\n{body}\n}}\n")
        settings.chmod(0o600)
        state = log.parent.parent / "logrotate.state"
        done = subprocess.run(
            ["logrotate", "--force", "--state", str(state), str(settings)],
            env={"PATH": "/usr/sbin:/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    return run


KEEPING_ALL = {
    "copy and truncate": copy_and_truncate,
    "move": move,
    "move and create": move_and_create,
    "logrotate with copytruncate": logrotate("copytruncate"),
    "logrotate with copytruncate and compress": logrotate("copytruncate", "compress"),
    "logrotate with copytruncate and dateext": logrotate("copytruncate", "dateext", "dateformat -%Y%m%d-%turn"),
    "logrotate with create": logrotate("create"),
    "logrotate with create and dateext": logrotate("create", "dateext", "dateformat -%Y%m%d%turn"),
    "logrotate with nocreate": logrotate("nocreate"),
}
"""Rotations by others after which every line is still in a file."""
