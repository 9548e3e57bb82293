"""A service unit for each job, and a timer unit unless it runs at boot, for systemd's user manager."""

import os
import subprocess
from pathlib import Path

from toombos_cli.base.errors import OperationError
from toombos_cli.base.files import replace_file
from toombos_cli.base.fixes import here
from toombos_cli.base.programs import find_program
from toombos_cli.base.trust import user_name
from toombos_cli.manifest.model import Manifest
from toombos_cli.manifest.tables.schedule import Job
from toombos_cli.project.state import project_key
from toombos_cli.schedule.job_command import job_argv, job_path

_TIMEOUT_S = 30.0
_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
"""How a unit spells what would end a line, or be taken for a blank."""
_AT_BOOT = "\n[Install]\nWantedBy=default.target\n"
"""The end of a unit that the user manager starts with itself."""


def is_available() -> bool:
    """Return whether systemd runs this machine and a user manager responds."""
    if not Path("/run/systemd/system").is_dir():
        return False
    try:
        return _systemctl("show-environment").returncode == 0
    except OperationError:
        return False


def units(manifest: Manifest, *, user: str = "") -> dict[str, str]:
    """Return the text of every unit by its file name; `user` is for units of the system manager."""
    texts = {}
    for name, job in manifest.schedule.items():
        if job.enabled:
            unit = _unit_name(manifest.project, name)
            texts[f"{unit}.service"] = _service(manifest, name, job, user)
            if not job.at_boot:
                texts[f"{unit}.timer"] = _timer(manifest, name, job)
    return texts


def install(manifest: Manifest) -> tuple[str, ...]:
    """Write and enable the units, remove those of deleted jobs; return the names of those enabled.

    What runs at boot is not started now. Raise OperationError.
    """
    texts = units(manifest)
    directory = unit_directory()
    obsolete = [path for path in _installed(manifest.project) if path.name not in texts]
    _disable(obsolete)
    try:
        for path in obsolete:
            path.unlink()
        for name, text in texts.items():
            replace_file(directory / name, text.encode(), durable=True)
    except OSError as error:
        raise OperationError(f"the units cannot be written: {error.strerror}", where=str(directory)) from None
    timers = tuple(name for name in texts if name.endswith(".timer"))
    at_boot = tuple(name for name, text in texts.items() if _AT_BOOT in text)
    _must("daemon-reload")
    if timers:
        _must("enable", "--now", *timers)
    if at_boot:
        _must("enable", *at_boot)
    return timers + at_boot


def remove(project: Path) -> tuple[str, ...]:
    """Stop and delete the project's units; return the names of their files. Raise OperationError."""
    paths = _installed(project)
    _disable(paths)
    for path in paths:
        path.unlink()
    if paths:
        _must("daemon-reload")
    return tuple(path.name for path in paths)


def unit_directory() -> Path:
    """Return the directory of the user's own units."""
    configured = os.environ.get("XDG_CONFIG_HOME")
    return (Path(configured) if configured else Path.home() / ".config") / "systemd" / "user"


def lingers() -> bool:
    """Report whether the user manager runs from boot on, and not only while the user is logged in."""
    return Path("/var/lib/systemd/linger", user_name(os.geteuid())).exists()


def _service(manifest: Manifest, name: str, job: Job, user: str) -> str:
    return (
        "[Unit]\n"
        f"Description={plain(manifest.name)}: {plain(job.title or name)}\n\n"
        "[Service]\n"
        "Type=oneshot\n"
        f"{_account(user)}"
        f"ExecStart={' '.join(quoted(part) for part in job_argv(manifest.project, name))}\n"
        "KillMode=process\n"  # leave processes that outlive the job, such as a supervisor or an alert's sender, running
        f"{_environment(job)}"
        f"{_AT_BOOT if job.at_boot else ''}"
    )


def _account(user: str) -> str:
    return f"User={user}\n" if user else ""


def _environment(job: Job) -> str:
    path = job_path(job).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'Environment="PATH={path}"\n' if path else ""


def _timer(manifest: Manifest, name: str, job: Job) -> str:
    return (
        "[Unit]\n"
        f"Description={plain(manifest.name)}: time for {plain(job.title or name)}\n\n"
        "[Timer]\n"
        f"OnCalendar={calendar(job)}\n"
        "AccuracySec=1s\n"
        "Persistent=true\n\n"
        "[Install]\n"
        "WantedBy=timers.target\n"
    )


def calendar(job: Job) -> str:
    """Return the job's times as a systemd calendar event."""
    if job.every_minutes is not None:
        return "*-*-* *:00:00" if job.every_minutes == 60 else f"*-*-* *:00/{job.every_minutes}:00"
    day = f"{job.weekday} " if job.weekday else ""
    return f"{day}*-*-* {job.at}:00"


def quoted(part: str) -> str:
    """Return one argument in systemd's syntax: quoted, with its specifiers and variables made literal."""
    escaped = part.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    escaped = "".join(_ESCAPES.get(c, c) for c in escaped)
    return f'"{escaped}"'


def plain(text: str) -> str:
    """Return a text on one line, with its specifiers made literal."""
    return " ".join(text.split()).replace("%", "%%")


def _unit_name(project: Path, job: str) -> str:
    return f"toombos-{project_key(project)}-{job}"


def _installed(project: Path) -> list[Path]:
    return sorted(unit_directory().glob(f"toombos-{project_key(project)}-*.*"))


def _disable(paths: list[Path]) -> None:
    timers = [path.name for path in paths if path.suffix == ".timer"]
    if timers:
        _must("disable", "--now", *timers)
    at_boot = [path.name for path in paths if path.suffix == ".service" and _AT_BOOT in path.read_text("utf-8")]
    if at_boot:
        _must("disable", *at_boot)


def _must(*arguments: str) -> None:
    done = _systemctl(*arguments)
    if done.returncode != 0:
        complaint = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise OperationError(f"systemctl --user {arguments[0]} failed: {complaint}", hint=here("schedule", "show"))


def _systemctl(*arguments: str) -> "subprocess.CompletedProcess[str]":
    argv = (find_program("systemctl") or "/bin/systemctl", "--user", *arguments)
    try:
        return subprocess.run(argv, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        raise OperationError(f"systemctl --user cannot be used: {error}") from None
