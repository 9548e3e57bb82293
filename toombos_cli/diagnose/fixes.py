"""Runs the safe fixes: they start or restart the project's services, resume a suspended one, or edit a settings file.

A settings file is copied first. A command that kills a process, or that only the user's own shell can run, is never
run here.
"""

import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

from toombos_cli.base.errors import OperationError
from toombos_cli.base.findings import Finding
from toombos_cli.base.fixes import Fix
from toombos_cli.base.redaction import Redactor
from toombos_cli.diagnose.report import DiagnoseReport, FixOutcome

_TIMEOUT_S = 180.0
_OUTPUT_CHARS = 2000


def runnable(report: DiagnoseReport) -> tuple[tuple[Finding, Fix], ...]:
    """Return the roots whose fix is safe, each with that fix, the most urgent first, each fix once."""
    found: dict[Fix, Finding] = {}
    for root in report.root_findings:
        if root.fix is not None and root.fix.safe:
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
    return FixOutcome(
        id=finding.id,
        service=finding.service,
        command=fix.command,
        exit_code=code,
        output=redactor.text(output)[-_OUTPUT_CHARS:],
        backup=backup,
        undo=shlex.join(("cp", str(backup), fix.edit.path)) if backup and fix.edit else fix.undo,
    )


def _put_aside(settings: Path) -> Path | None:
    if not settings.exists():
        return None
    copy = settings.with_name(f"{settings.name}.bak-{time.strftime('%Y%m%dT%H%M%S')}")
    try:
        fd = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(fd, "wb") as target, settings.open("rb") as source:
            shutil.copyfileobj(source, target)
    except OSError as error:
        raise OperationError(f"cannot be copied before it is changed: {error.strerror}", where=str(settings)) from None
    return copy
