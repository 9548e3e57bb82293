"""The manifest's `[alerts]` table: who is told, and how, when something is wrong."""

from enum import StrEnum

from toombos_cli.manifest.tables.service import Table


class Severity(StrEnum):
    """How urgent an alert is; P0 is the worst, and the order of the names is the order of urgency."""

    P0 = "P0"
    P1 = "P1"
    P2 = "P2"
    P3 = "P3"


CRITICAL = (Severity.P0, Severity.P1)
REPORTED_EVERY_S = 300
"""So often Alertmanager tells the alert receiver what fires; what people are told of it is the ledger's business."""


class Contact(Table, frozen=True):
    """Who answers for a severity, and how soon."""

    name: str
    response: str
    method: str


class Channel(Table, frozen=True):
    """An apprise URL, usually `${NAME}` of a secret in `.env`, and the severities that it carries."""

    url: str
    severities: tuple[Severity, ...] = tuple(Severity)


class Delivery(Table, frozen=True):
    """How long delivery tries before it gives a message up; the pause doubles after each attempt."""

    attempts: int = 5
    first_pause_s: float = 2.0
    timeout_s: float = 10.0

    def __post_init__(self) -> None:
        if self.attempts < 1 or self.first_pause_s <= 0 or self.timeout_s <= 0:
            raise ValueError("attempts must be at least 1, first_pause_s and timeout_s above 0")


class Alerts(Table, frozen=True):
    """Escalation contacts by severity, the channels that reach them, and what keeps a storm from flooding them."""

    contacts: dict[Severity, Contact] = {}
    channels: dict[str, Channel] = {}
    repeat_after_s: float = 3600.0
    """A problem that lasts is told again after so long."""
    max_per_hour: int = 20
    """Messages in any hour; one summary tells how many more were held back."""
    delivery: Delivery = Delivery()
    support: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.max_per_hour < 1:
            raise ValueError("max_per_hour must be at least 1")
