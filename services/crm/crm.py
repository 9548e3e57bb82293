"""The state and operations of the mock CRM, without HTTP.

Memory is bounded: only the newest 10,000 emails, contacts and campaigns can be looked up, and the report covers a
year. Counters, the report's sums and the sums of a stored campaign stay exact.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from secrets import token_hex

from services.common.mock.figures import between, draws
from services.common.mock.records import Records
from services.crm.models import CreateCampaign, CreateContact, SendEmail
from services.crm.subscribers import ACTIVE_SUBSCRIBERS

REPORT_MAX_DAYS = 365
_MAX_RECORDS, _MAX_BYTES = 10_000, 8 * 1024 * 1024


@dataclass(slots=True, kw_only=True)
class DeliveryFigures:
    """The results of some emails. `delivered + bounced == recipients_count`, `clicked <= opened <= delivered`."""

    emails_sent: int = 0
    recipients_count: int = 0
    delivered: int = 0
    bounced: int = 0
    opened: int = 0
    clicked: int = 0

    def add(self, other: "DeliveryFigures") -> None:
        self.emails_sent += other.emails_sent
        self.recipients_count += other.recipients_count
        self.delivered += other.delivered
        self.bounced += other.bounced
        self.opened += other.opened
        self.clicked += other.clicked


@dataclass(frozen=True, slots=True, kw_only=True)
class Email:
    message_id: str
    subject: str
    campaign_id: str | None
    sent_at: datetime
    figures: DeliveryFigures


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredContact:
    contact_id: str
    created_at: datetime
    details: CreateContact


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCampaign:
    campaign_id: str
    created_at: datetime
    details: CreateCampaign
    figures: DeliveryFigures = field(default_factory=DeliveryFigures)


@dataclass(slots=True, kw_only=True)
class CrmCounters:
    emails_sent: int = 0
    contacts_created: int = 0
    campaigns_created: int = 0


class Crm:
    """The mock CRM's state. It is lost when the process ends, as the operators' guide says."""

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now
        self._emails: Records[str, Email] = Records(max_records=_MAX_RECORDS, max_bytes=_MAX_BYTES)
        self._contacts: Records[str, StoredContact] = Records(max_records=_MAX_RECORDS, max_bytes=_MAX_BYTES)
        self._campaigns: Records[str, StoredCampaign] = Records(max_records=_MAX_RECORDS, max_bytes=_MAX_BYTES)
        self._days: dict[date, DeliveryFigures] = {}
        self.counters = CrmCounters()

    def send(self, email: SendEmail) -> Email:
        """Accept an email; without recipients it goes to all active subscribers."""
        message_id = f"msg_{token_hex(12)}"
        sent = Email(
            message_id=message_id,
            subject=email.subject,
            campaign_id=email.campaign_id,
            sent_at=self._now(),
            figures=_outcome(message_id, len(email.recipients or ()) or ACTIVE_SUBSCRIBERS),
        )
        self._emails.put(message_id, sent, size_bytes=len(sent.subject) + len(sent.campaign_id or ""))
        self.counters.emails_sent += 1
        self._day(sent.sent_at.date()).add(sent.figures)
        campaign = self._campaigns.get(email.campaign_id) if email.campaign_id else None
        if campaign is not None:
            campaign.figures.add(sent.figures)
        return sent

    def email(self, message_id: str) -> Email | None:
        return self._emails.get(message_id)

    def create_contact(self, details: CreateContact) -> StoredContact:
        contact = StoredContact(contact_id=f"con_{token_hex(12)}", created_at=self._now(), details=details)
        self._contacts.put(contact.contact_id, contact, size_bytes=len(details.model_dump_json()))
        self.counters.contacts_created += 1
        return contact

    def contacts(self, *, offset: int, limit: int) -> tuple[tuple[StoredContact, ...], int]:
        """Return one page, oldest first, and the total number of contacts."""
        return self._contacts.page(offset=offset, limit=limit)

    def create_campaign(self, details: CreateCampaign) -> StoredCampaign:
        campaign = StoredCampaign(campaign_id=f"cmp_{token_hex(12)}", created_at=self._now(), details=details)
        self._campaigns.put(campaign.campaign_id, campaign, size_bytes=len(details.model_dump_json()))
        self.counters.campaigns_created += 1
        return campaign

    def campaign(self, campaign_id: str) -> StoredCampaign | None:
        return self._campaigns.get(campaign_id)

    def report(self, days: int) -> tuple[DeliveryFigures, tuple[tuple[date, DeliveryFigures], ...]]:
        """Return the sums of the last `days` days including today (UTC), and the days with emails, oldest first."""
        first = self._now().date() - timedelta(days=days - 1)
        daily = tuple((day, figures) for day, figures in sorted(self._days.items()) if day >= first)
        total = DeliveryFigures()
        for _, figures in daily:
            total.add(figures)
        return total, daily

    def clear(self) -> CrmCounters:
        """Delete everything and return the previous counters."""
        cleared, self.counters = self.counters, CrmCounters()
        for records in (self._emails, self._contacts, self._campaigns):
            records.clear()
        self._days.clear()
        return cleared

    def _day(self, day: date) -> DeliveryFigures:
        figures = self._days.get(day)
        if figures is None:
            figures = self._days[day] = DeliveryFigures()
            if len(self._days) > REPORT_MAX_DAYS:
                del self._days[min(self._days)]
        return figures


def _outcome(message_id: str, recipients_count: int) -> DeliveryFigures:
    """Invent results: 95-100 % delivered, 20-60 % of those opened, 5-30 % of those clicked."""
    delivery, opening, clicking, *_ = draws(message_id)
    delivered = round(recipients_count * between(delivery, 0.95, 1.0))
    opened = round(delivered * between(opening, 0.20, 0.60))
    return DeliveryFigures(
        emails_sent=1,
        recipients_count=recipients_count,
        delivered=delivered,
        bounced=recipients_count - delivered,
        opened=opened,
        clicked=round(opened * between(clicking, 0.05, 0.30)),
    )
