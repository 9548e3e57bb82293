"""`logs/health-check.log`: one line a check, for people, cron and grep."""

import os
from pathlib import Path

from toombos_cli.errors import OperationError
from toombos_cli.health.report import HealthReport

LOG_NAME = "logs/health-check.log"


def append_to_log(report: HealthReport, project: Path) -> Path:
    """Appends one line in a single write, so that lines of checks at the same time never mix; returns the log's path.

    The line: time in UTC, the verdict, then `service=status:reason:latency` in manifest order. Raises OperationError.
    """
    words = [report.checked_at.isoformat(timespec="milliseconds"), report.verdict.upper()]
    for s in report.services:
        latency = "-" if s.latency_ms is None else f"{s.latency_ms:.1f}ms"
        words.append(f"{s.name}={s.status}:{s.reason}:{latency}")
    words += [f"{s.name}=skipped" for s in report.skipped]
    path = project / LOG_NAME
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, (" ".join(words) + "\n").encode())
        finally:
            os.close(descriptor)
    except OSError as error:
        raise OperationError(f"the check could not be logged: {error.strerror}", where=str(path)) from None
    return path
