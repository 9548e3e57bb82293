"""The times that options name: a duration back from now, or an ISO time."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

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


@dataclass(frozen=True, slots=True)
class Window:
    """The options `--since`, `--until` and `--follow`: which part of a record is shown, or that it is followed."""

    since: str | None = None
    until: str | None = None
    follow: bool = False

    def moments(self) -> tuple[datetime | None, datetime | None]:
        """Return the first and the last moment, None where the window is open. Raises UsageError."""
        if self.follow and self.until:
            raise UsageError("--until has no meaning with --follow", hint="leave one of them out")
        begin = moment_of(self.since, "--since") if self.since else None
        return begin, moment_of(self.until, "--until") if self.until else None


WindowOptions = Annotated[
    Window,
    {
        "since": typer.Option(
            "--since", metavar="TIME", help="Show only entries since then: 90s, 2h, an ISO time.", show_default=False
        ),
        "until": typer.Option(
            "--until", metavar="TIME", help="Show only entries until then: 10m (ago), an ISO time.", show_default=False
        ),
        "follow": typer.Option("--follow", "-f", help="Keep showing new entries until Ctrl-C."),
    },
]
