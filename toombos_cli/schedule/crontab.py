"""The block of one project in the user's crontab. All other bytes are left unchanged."""

import os
import shlex
import subprocess
from pathlib import Path

from toombos_cli.base.errors import OperationError
from toombos_cli.base.programs import find_program
from toombos_cli.manifest.model import Manifest
from toombos_cli.manifest.tables.schedule import WEEKDAYS, Job
from toombos_cli.project.state import project_key
from toombos_cli.schedule.job_command import job_argv, job_path

_TIMEOUT_S = 30.0


def block(manifest: Manifest) -> bytes:
    """Return the job lines between their markers, ended by a newline."""
    begin, end = _markers(manifest.project)
    lines = [_line(manifest.project, name, job) for name, job in manifest.schedule.items() if job.enabled]
    return b"\n".join([begin, *lines, end, b""])


def with_block(crontab: bytes, project: Path, own: bytes) -> bytes:
    """Return the crontab with the project's block replaced, or appended. Raise OperationError."""
    before, after, found = _around(crontab, project)
    if not found and before and not before.endswith(b"\n"):
        before += b"\n"
    return before + own + after


def without_block(crontab: bytes, project: Path) -> bytes:
    """Return the crontab without the project's block. Raise OperationError."""
    before, after, _ = _around(crontab, project)
    return before + after


def has_block(crontab: bytes, project: Path) -> bool:
    """Return whether the project's block is there. Raise OperationError."""
    return _around(crontab, project)[2]


def read_crontab() -> bytes:
    """Return the user's crontab, empty if there is none. Raise OperationError."""
    done = _run("-l")
    if done.returncode == 0:
        return done.stdout
    if b"no crontab for" in done.stderr:
        return b""
    raise OperationError(f"the crontab cannot be read: {_complaint(done)}", hint="crontab -l")


def write_crontab(content: bytes) -> None:
    """Replace the user's crontab, or remove it if the new one is empty. Raise OperationError."""
    done = _run("-", content=content) if content else _run("-r")
    if done.returncode != 0 and not (not content and b"no crontab for" in done.stderr):
        raise OperationError(f"the crontab was not changed: {_complaint(done)}", hint="crontab -l")
    if read_crontab() != content:
        raise OperationError("the crontab differs from what was written to it", hint="crontab -l")


def _around(crontab: bytes, project: Path) -> tuple[bytes, bytes, bool]:
    """Return the bytes before and after the project's block, and whether there is one."""
    begin, end = _markers(project)
    lines = crontab.splitlines(keepends=True)
    plain = [line.rstrip(b"\r\n") for line in lines]
    if begin not in plain and end not in plain:
        return crontab, b"", False
    if plain.count(begin) != 1 or plain.count(end) != 1 or plain.index(end) < plain.index(begin):
        raise OperationError(
            "the crontab's toombos block is damaged: its first or last line is missing or doubled", hint="crontab -e"
        )
    first, last = plain.index(begin), plain.index(end)
    return b"".join(lines[:first]), b"".join(lines[last + 1 :]), True


def _markers(project: Path) -> tuple[bytes, bytes]:
    key = project_key(project)
    return (
        f"# BEGIN toombos {key}: `toombos schedule remove` takes this block out".encode(),
        f"# END toombos {key}".encode(),
    )


def _line(project: Path, name: str, job: Job) -> bytes:
    # cron ends the command at a bare % and reads the rest as its input
    path = f"PATH={shlex.quote(found)} " if (found := job_path(job)) else ""
    command = (path + shlex.join(job_argv(project, name))).replace("%", r"\%")
    return f"{times(job)} ".encode() + os.fsencode(command)


def times(job: Job) -> str:
    """Return the five time fields of a crontab line, or what stands for them."""
    if job.at_boot:
        return "@reboot"
    if job.every_minutes is not None:
        return "0 * * * *" if job.every_minutes == 60 else f"*/{job.every_minutes} * * * *"
    hour, minute = (job.at or "").split(":")
    weekday = "*" if job.weekday is None else str(WEEKDAYS.index(job.weekday))
    return f"{int(minute)} {int(hour)} * * {weekday}"


def _run(*arguments: str, content: bytes | None = None) -> "subprocess.CompletedProcess[bytes]":
    crontab = find_program("crontab")
    if crontab is None:
        raise OperationError("crontab is not installed", hint="apt-get install cron")
    try:
        return subprocess.run(
            (crontab, *arguments), input=content, capture_output=True, timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise OperationError(f"crontab did not finish within {_TIMEOUT_S:g} s") from None


def _complaint(done: "subprocess.CompletedProcess[bytes]") -> str:
    return " ".join(done.stderr.decode("utf-8", "replace").split()) or f"exit code {done.returncode}"
