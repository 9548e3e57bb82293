"""Runs a toombos command as a person would, and reads its JSON answer."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toombos_cli.project.commands import own_argv


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a command said: its envelope's parts; `exit_code` is None when it did not end in time."""

    exit_code: int | None
    verdict: str
    data: dict[str, Any]
    errors: tuple[dict[str, Any], ...]

    @property
    def cause(self) -> str:
        """The first error, with its place; "" where there is none."""
        if not self.errors:
            return ""
        first = self.errors[0]
        place = f"{first['where']}: " if first.get("where") else ""
        return f"{place}{first['message']}"

    @property
    def fix(self) -> str:
        """The hint of the first error; "" where there is none."""
        return str(self.errors[0].get("hint") or "") if self.errors else ""


def ask(project: Path, *arguments: str, timeout_s: float) -> Answer:
    """Runs `toombos ARGUMENTS --json` to its end, or for so long."""
    try:
        done = subprocess.run(
            own_argv(project, "--json", *arguments),
            cwd=project,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return _failed(None, f"not done after {timeout_s:g} s")
    try:
        envelope = json.loads(done.stdout)
        return Answer(
            exit_code=done.returncode,
            verdict=envelope["verdict"],
            data=envelope["data"],
            errors=tuple(envelope["errors"]),
        )
    except (ValueError, KeyError, TypeError):
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
        return _failed(done.returncode, last[0] if last else f"exit code {done.returncode}, and no answer")


def _failed(exit_code: int | None, message: str) -> Answer:
    return Answer(exit_code=exit_code, verdict="error", data={}, errors=({"message": message},))
