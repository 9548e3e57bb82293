"""The reports of `toombos alert`."""

from dataclasses import dataclass
from typing import ClassVar

from toombos_cli.base.results import Report, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelOutcome:
    """The result of a test message on one channel."""

    channel: str
    delivered: bool
    attempts: int
    duration_s: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertTestReport(Report):
    """One test message through every channel; WARN if there is no channel."""

    kind: ClassVar[str] = "alert_test"

    severity: str
    channels: tuple[ChannelOutcome, ...]

    @property
    def verdict(self) -> Verdict:
        """Return FAIL if a channel did not take the message."""
        if not self.channels:
            return Verdict.WARN
        return Verdict.PASS if all(outcome.delivered for outcome in self.channels) else Verdict.FAIL


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenIncident:
    """A problem that has not ended; times are seconds since the epoch, `told_at` is None until a notification goes out.

    `untaken_at` is the time at which no channel took the last message about it, else None.
    """

    key: str
    severity: str
    title: str
    first_at: float
    last_at: float
    told_at: float | None
    untaken_at: float | None
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FailingChannel:
    """A channel that did not take its last message; `since` is seconds since the epoch."""

    channel: str
    since: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertStatusReport(Report):
    """The open problems that alerts report, and the results of deliveries."""

    kind: ClassVar[str] = "alert_status"
    asked_for: ClassVar[bool] = True

    incidents: tuple[OpenIncident, ...]
    withheld: int
    waiting: int
    deliveries: dict[str, int]
    failing: tuple[FailingChannel, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """Return PASS if no incident is open and no channel is failing, else WARN."""
        return Verdict.WARN if self.incidents or self.failing else Verdict.PASS


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertSentReport(Report):
    """An alert that was accepted; a separate process delivers it."""

    kind: ClassVar[str] = "alert_sent"

    key: str
    severity: str
    resolved: bool

    @property
    def verdict(self) -> Verdict:
        """Return PASS."""
        return Verdict.PASS
