"""The times that options name: a duration back from now, or an ISO time."""

from datetime import UTC, datetime, timedelta

from toombos_cli.base.errors import UsageError
from toombos_cli.base.text import parse_duration


def moment_of(text: str, option: str) -> datetime:
    """Return the time that --since or --until means, in UTC. Raises UsageError."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    try:
        return datetime.now(UTC) - timedelta(seconds=parse_duration(text, where=option))
    except (UsageError, OverflowError):  # the latter before the year 1
        raise UsageError(
            f"{option} {text!r} is not a time", hint="for example 10m, 2h or 2026-01-31T12:00:00"
        ) from None
