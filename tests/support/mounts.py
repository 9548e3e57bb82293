"""Mounts for tests: made as root, and taken away again in reverse order."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


class Mounts:
    """The mounts that a test made."""

    def __init__(self) -> None:
        self._made: list[Path] = []

    def bind(self, source: Path, target: Path) -> None:
        """Show a directory or file at another place as well."""
        self._mount("--bind", source, target)

    def make_read_only(self, target: Path) -> None:
        """Forbid to write through a mount; its source stays writable."""
        subprocess.run(["mount", "-o", "remount,bind,ro", str(target)], check=True)

    def tmpfs(self, target: Path) -> None:
        """Mount an empty file system in memory."""
        self._mount("-t", "tmpfs", "-o", "size=4m", "test", target)

    def _mount(self, *argv: object) -> None:
        done = subprocess.run(["mount", *map(str, argv)], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"mounting is not allowed here: {done.stderr}")
        self._made.append(Path(str(argv[-1])))

    def remove(self) -> None:
        for path in reversed(self._made):
            subprocess.run(["umount", "-l", str(path)], capture_output=True, check=False)


@pytest.fixture
def mounts() -> Iterator[Mounts]:
    if os.geteuid() != 0:
        pytest.skip("only root mounts")
    made = Mounts()
    yield made
    made.remove()
