"""The manifest's `[schedule.NAME]` tables: the periodic jobs that cron or systemd runs."""

import re
from typing import Literal

from toombos_cli.manifest.tables.alerts import Severity
from toombos_cli.manifest.tables.table import Table

WEEKDAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")  # cron counts from Sunday


class Job(Table, frozen=True):
    """A `toombos` command and when it runs: every few minutes, at a local time daily or on one weekday, or at boot."""

    command: tuple[str, ...]
    title: str = ""
    every_minutes: int | None = None
    at: str | None = None
    weekday: Literal["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"] | None = None
    at_boot: bool = False
    severity: Severity = Severity.P2
    """The severity of the alert that is raised while the command's exit code is not 0."""
    enabled: bool = True

    def __post_init__(self) -> None:
        if not self.command:
            raise ValueError("command must name a toombos command")
        if [self.every_minutes is not None, self.at is not None, self.at_boot].count(True) != 1:
            raise ValueError("a job needs one of every_minutes, at and at_boot")
        if self.every_minutes is not None and (self.every_minutes < 1 or 60 % self.every_minutes):
            raise ValueError("every_minutes must divide an hour: 1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30 or 60")
        if self.at is not None and not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", self.at):
            raise ValueError(f"at must be a time of day like 02:00, not {self.at!r}")
        if self.weekday is not None and self.at is None:
            raise ValueError("weekday needs at")
