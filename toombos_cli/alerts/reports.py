"""What `toombos alert` returns."""

from dataclasses import dataclass
from typing import ClassVar

from toombos_cli.base.results import Report, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelOutcome:
    """How a test message fared on one channel."""

    channel: str
    delivered: bool
    attempts: int
    duration_s: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertTestReport(Report):
    """One test message through every channel; WARN when there is none."""

    kind: ClassVar[str] = "alert_test"

    severity: str
    channels: tuple[ChannelOutcome, ...]

    @property
    def verdict(self) -> Verdict:
        """FAIL when a channel did not take it."""
        if not self.channels:
            return Verdict.WARN
        return Verdict.PASS if all(outcome.delivered for outcome in self.channels) else Verdict.FAIL


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenIncident:
    """A problem that has not ended; times are seconds since the epoch, `told_at` is None while nobody was told.

    `untaken_at` is when no channel took the last message about it, else None.
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
    """What is wrong at present as far as alerts tell, and how deliveries fared."""

    kind: ClassVar[str] = "alert_status"
    asked_for: ClassVar[bool] = True

    incidents: tuple[OpenIncident, ...]
    withheld: int
    waiting: int
    deliveries: dict[str, int]
    failing: tuple[FailingChannel, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """PASS without open incidents and failing channels, else WARN: this lists, it does not judge."""
        return Verdict.WARN if self.incidents or self.failing else Verdict.PASS


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertSentReport(Report):
    """An alert was handed over; its delivery goes on by itself."""

    kind: ClassVar[str] = "alert_sent"

    key: str
    severity: str
    resolved: bool

    @property
    def verdict(self) -> Verdict:
        """Always PASS."""
        return Verdict.PASS
