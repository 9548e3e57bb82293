"""`logs/health-check.log`: one line per check, for people, cron and grep."""

from pathlib import Path

from toombos_cli.base.errors import OperationError
from toombos_cli.base.files import append_line
from toombos_cli.health.report import HealthReport
from toombos_cli.manifest import HEALTH_LOG


def append_to_log(report: HealthReport, project: Path) -> Path:
    """Append one line, which never mixes with that of a concurrent check. Return the log's path.

    The line: time in UTC, the verdict, then `service=status:reason:latency` in manifest order. Raise OperationError.
    """
    words = [report.checked_at.isoformat(timespec="milliseconds"), report.verdict.upper()]
    for s in report.services:
        latency = "-" if s.latency_ms is None else f"{s.latency_ms:.1f}ms"
        words.append(f"{s.name}={s.status}:{s.reason}:{latency}")
    words += [f"{s.name}=skipped" for s in report.skipped]
    path = project / HEALTH_LOG
    try:
        append_line(path, " ".join(words).encode())
    except OSError as error:
        raise OperationError(f"the check could not be logged: {error.strerror}", where=str(path)) from None
    return path
