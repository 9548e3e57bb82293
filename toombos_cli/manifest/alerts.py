"""The manifest's `[alerts]` table: who is told, and how, when something is wrong."""

from typing import Literal

from toombos_cli.manifest.service import Table


class Contact(Table, frozen=True):
    """Who answers for a severity, and how soon."""

    name: str
    response: str
    method: str


class Channel(Table, frozen=True):
    """An apprise URL, usually `${NAME}` of a secret in `.env`, and the severities that it carries."""

    url: str
    severities: tuple[Literal["P0", "P1", "P2", "P3"], ...] = ("P0", "P1", "P2", "P3")


class Alerts(Table, frozen=True):
    """Escalation contacts by severity and the channels that reach them."""

    contacts: dict[Literal["P0", "P1", "P2", "P3"], Contact] = {}
    channels: dict[str, Channel] = {}
    repeat_after_s: float = 3600.0
    max_per_hour: int = 20
    support: tuple[str, ...] = ()
