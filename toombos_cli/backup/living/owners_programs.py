"""Runs the programs of a database as the user who owns its data directory, into a scratch directory of ours."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from toombos_cli.base.errors import OperationError


class OwnersPrograms:
    """A scratch directory that the owner of a data directory may write to, for the block, and programs that do so.

    That user cannot reach it by its path, which leads through private directories; `reach` names it for the programs.
    """

    def __init__(self, directory: bytes, scratch: Path) -> None:
        self.owner, self._scratch = os.stat(directory), scratch
        self._become: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self._scratch.mkdir(mode=0o700)
        if os.geteuid() == 0 and self.owner.st_uid != 0:
            os.chown(self._scratch, self.owner.st_uid, self.owner.st_gid)
            self._become = {"user": self.owner.st_uid, "group": self.owner.st_gid, "extra_groups": []}
        self._fd = os.open(self._scratch, os.O_RDONLY | os.O_DIRECTORY)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        os.close(self._fd)

    @property
    def is_trusted(self) -> bool:
        """Whether a program of the owner's may be run: root runs nothing of a stranger's."""
        return bool(self._become) or os.geteuid() != 0

    def reach(self, name: str) -> str:
        """Return the path of an entry of the scratch directory for a program that `run` starts."""
        return f"/proc/self/fd/{self._fd}/{name}"

    def run(self, argv: Sequence[str], env: Mapping[str, str], timeout_s: float) -> tuple[bool, str]:
        """Run a program; return whether it succeeded and what it said on stderr. Raise OperationError if it is slow."""
        try:
            done = subprocess.run(
                argv,
                cwd="/",
                env=env,
                pass_fds=(self._fd,),
                capture_output=True,
                text=True,
                errors="replace",
                stdin=subprocess.DEVNULL,
                timeout=timeout_s,
                check=False,
                **self._become,
            )
        except subprocess.TimeoutExpired:
            name = os.path.basename(argv[0])
            raise OperationError(f"{name} did not end within {timeout_s:g} s") from None
        return done.returncode == 0, done.stderr
