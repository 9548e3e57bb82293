"""Runs the fixes that are safe to run unasked-for: they start or restart our own services, wake a suspended one,
or mend `.env` after a copy of it was put aside. A command that ends a process, or that only the user's own shell can
run, is never run from here.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

from toombos_cli.base.errors import OperationError
from toombos_cli.base.findings import Finding
from toombos_cli.base.redaction import Redactor
from toombos_cli.diagnose.report import DiagnoseReport, FixOutcome
from toombos_cli.settings.env_file import ENV_FILE
from toombos_cli.settings.strength import RANDOM_TEXT

_TIMEOUT_S = 180.0
_OWN = (("start",), ("restart",), ("config", "init"), ("monitoring", "restart"), ("monitoring", "reload"))
_OUTPUT_CHARS = 2000
_MORE_THAN_ONE = re.compile(r"[;`\n&|]|\$[({]")
"""What would let a shell run something besides the one command."""
_EDIT = re.compile(r"\d+(s/.*/|\{/.*/d\})")
"""The rules' two kinds of sed script: a replacement without flags, and the removal of a line that still fits."""


def runnable(report: DiagnoseReport) -> tuple[Finding, ...]:
    """The roots whose fix may be run, the most urgent first, each command once."""
    found: dict[str, Finding] = {}
    for root in report.root_findings:
        if root.pasteable and is_safe(root.fix, report.project):
            found.setdefault(root.fix, root)
    return tuple(found.values())


def is_safe(command: str, project: Path) -> bool:
    """Whether a printed fix is one of those that can do no harm here."""
    if _MORE_THAN_ONE.search(command.replace(RANDOM_TEXT, "")):
        return False
    try:
        words = shlex.split(command)
    except ValueError:
        return False
    if words[:1] == ["toombos"]:
        rest = words[3:] if words[1:3] == ["--project", str(project)] else words[1:]
        return any(tuple(rest[: len(own)]) == own for own in _OWN)
    if words[:2] == ["kill", "-CONT"]:
        return all(word.isdigit() for word in words[2:])
    return words == ["chmod", "600", str(project / ENV_FILE)] or _edits(words, project)


def run_fix(finding: Finding, project: Path, redactor: Redactor) -> FixOutcome:
    """Runs one safe fix as it was printed. Raises OperationError when `.env` cannot be copied first."""
    backup = _put_aside(project / ENV_FILE) if _edits(shlex.split(finding.fix), project) else None
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    try:
        done = subprocess.run(
            ["/bin/sh", "-c", finding.fix],
            cwd=project,
            env=os.environ | {"PATH": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_TIMEOUT_S,
            check=False,
        )
        code, output = done.returncode, done.stdout.decode("utf-8", "replace")
    except subprocess.TimeoutExpired:
        code, output = 124, f"it did not end within {_TIMEOUT_S:g} s"
    return FixOutcome(
        id=finding.id,
        service=finding.service,
        command=finding.fix,
        exit_code=code,
        output=redactor.text(output)[-_OUTPUT_CHARS:],
        backup=backup,
    )


def _edits(words: list[str], project: Path) -> bool:
    """Whether the command is one of the rules' edits of `.env`: one sed script, or one line appended."""
    env_file = str(project / ENV_FILE)
    if words[:3] == ["sed", "-i", "-E"]:
        return len(words) == 5 and words[4] == env_file and _EDIT.fullmatch(words[3]) is not None
    return words[:1] == ["printf"] and len(words) == 5 and words[3:] == [">>", env_file]


def _put_aside(env_file: Path) -> Path | None:
    if not env_file.exists():
        return None
    copy = env_file.with_name(f"{env_file.name}.bak-{time.strftime('%Y%m%dT%H%M%S')}")
    try:
        fd = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(fd, "wb") as target, env_file.open("rb") as source:
            shutil.copyfileobj(source, target)
    except OSError as error:
        raise OperationError(f"cannot be copied before it is changed: {error.strerror}", where=str(env_file)) from None
    return copy
