"""Runs the safe fixes: they start or restart the project's services, resume a suspended one, or edit a settings file.

A settings file is copied first, under a name of its own. An edit that may replace what is meant is run only if a
person agrees. A command that kills a process, or that only the user's own shell can run, is never run here.
"""

import os
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from toombos_cli.base.errors import OperationError
from toombos_cli.base.findings import Finding
from toombos_cli.base.fixes import Fix
from toombos_cli.base.quoting import joined
from toombos_cli.base.redaction import Redactor
from toombos_cli.diagnose.report import DiagnoseReport, FixOutcome

_TIMEOUT_S = 180.0
_OUTPUT_CHARS = 2000
_MOST_COPIES = 1000
"""Of one second: each fix has its own."""


def runnable(report: DiagnoseReport, *, ask: bool = False) -> tuple[tuple[Finding, Fix], ...]:
    """Return the roots whose fix may be run, each with that fix, the most urgent first, each fix once.

    These are the safe ones, and also the other edits if a person is asked.
    """
    found: dict[Fix, Finding] = {}
    for root in report.root_findings:
        if root.fix is not None and (root.fix.safe or (ask and root.fix.edit is not None)):
            found.setdefault(root.fix, root)
    return tuple((root, fix) for fix, root in found.items())


def run_fix(finding: Finding, fix: Fix, project: Path, redactor: Redactor) -> FixOutcome:
    """Run one safe fix as printed. Raise OperationError if the file that it edits cannot be copied first."""
    backup = _put_aside(Path(fix.edit.path)) if fix.edit is not None else None
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    try:
        done = subprocess.run(
            ["/bin/sh", "-c", fix.command],
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
    if backup and fix.edit and code == 0 and backup.read_bytes() == Path(fix.edit.path).read_bytes():
        code, output = 1, "it changed nothing: the line is not the one that was checked"
    return FixOutcome(
        id=finding.id,
        service=finding.service,
        command=fix.command,
        exit_code=code,
        output=redactor.text(output)[-_OUTPUT_CHARS:],
        backup=backup,
        undo=joined(("cp", str(backup), fix.edit.path)) if backup and fix.edit else fix.undo,
    )


def _put_aside(settings: Path) -> Path | None:
    if not settings.exists():
        return None
    stem = f"{settings.name}.bak-{time.strftime('%Y%m%dT%H%M%S')}"
    names = (stem, *(f"{stem}-{number}" for number in range(2, _MOST_COPIES)))
    try:
        for copy in map(settings.with_name, names):
            with suppress(FileExistsError):
                fd = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                with os.fdopen(fd, "wb") as target, settings.open("rb") as source:
                    shutil.copyfileobj(source, target)
                    target.flush()
                    os.fsync(target.fileno())
                return copy
    except OSError as error:
        raise OperationError(f"cannot be copied before it is changed: {error.strerror}", where=str(settings)) from None
    raise OperationError("cannot be copied before it is changed: it has too many copies", where=str(settings))
