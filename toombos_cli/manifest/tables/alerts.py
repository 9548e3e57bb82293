"""The manifest's `[alerts]` table: who is notified when something is wrong, and how."""

from enum import StrEnum

from toombos_cli.manifest.tables.table import Table


class Severity(StrEnum):
    """How urgent an alert is: P0 is the most urgent, P3 the least."""

    P0 = "P0"
    P1 = "P1"
    P2 = "P2"
    P3 = "P3"


CRITICAL = (Severity.P0, Severity.P1)
REPORTED_EVERY_S = 300
"""How often Alertmanager sends the firing alerts to the alert receiver. The ledger decides when people are notified."""


class ContactTable(Table, frozen=True):
    """Who handles alerts of a severity, how soon, and how to reach them."""

    name: str
    response: str
    method: str


class ChannelTable(Table, frozen=True):
    """An apprise URL, usually `${NAME}` for a secret in `.env`, and the severities to send to it."""

    url: str
    severities: tuple[Severity, ...] = tuple(Severity)


class DeliveryTable(Table, frozen=True):
    """How often delivery of a message is attempted before it is given up; the pause doubles after each attempt."""

    attempts: int = 5
    first_pause_s: float = 2.0
    timeout_s: float = 10.0

    def __post_init__(self) -> None:
        if self.attempts < 1 or self.first_pause_s <= 0 or self.timeout_s <= 0:
            raise ValueError("attempts must be at least 1, first_pause_s and timeout_s above 0")


class Alerts(Table, frozen=True):
    """Escalation contacts by severity, the channels that reach them, and the limits that protect them from a storm."""

    contacts: dict[Severity, ContactTable] = {}
    channels: dict[str, ChannelTable] = {}
    repeat_after_s: float = 3600.0
    """Seconds after which the notification of a continuing problem is repeated."""
    max_per_hour: int = 20
    """The most messages in any hour; one summary says how many more were held back."""
    delivery: DeliveryTable = DeliveryTable()
    support: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.max_per_hour < 1:
            raise ValueError("max_per_hour must be at least 1")
