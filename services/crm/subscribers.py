"""The mock CRM's invented subscribers: always the same 120, 100 of them active."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache

from services.common.mock.figures import draws
from services.crm.models import SubscriberStatus

ACTIVE_SUBSCRIBERS = 100
_COUNTS: tuple[tuple[SubscriberStatus, int], ...] = (
    ("active", ACTIVE_SUBSCRIBERS),
    ("unsubscribed", 15),
    ("bounced", 5),
)
_FIRST_NAMES = ("Ada", "Bruno", "Chiara", "Dinesh", "Elif", "Farid", "Grace", "Hana", "Ivo", "Jun", "Kofi", "Lena")
_LAST_NAMES = ("Abara", "Berg", "Castillo", "Dubois", "Eriksen", "Fischer", "Garcia", "Hoang", "Ito", "Jansen")
_SINCE = datetime(2024, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSubscriber:
    subscriber_id: str
    email: str
    first_name: str
    last_name: str
    status: SubscriberStatus
    subscribed_at: datetime


@cache
def subscribers() -> tuple[StoredSubscriber, ...]:
    """Return all subscribers, active ones first."""
    statuses = (status for status, count in _COUNTS for _ in range(count))
    return tuple(_subscriber(number, status) for number, status in enumerate(statuses, 1))


def _subscriber(number: int, status: SubscriberStatus) -> StoredSubscriber:
    subscriber_id = f"sub_{number:04d}"
    first, last, since, *_ = draws(subscriber_id)
    first_name = _FIRST_NAMES[int(first * len(_FIRST_NAMES))]
    last_name = _LAST_NAMES[int(last * len(_LAST_NAMES))]
    return StoredSubscriber(
        subscriber_id=subscriber_id,
        email=f"{first_name}.{last_name}.{number}@example.org".lower(),
        first_name=first_name,
        last_name=last_name,
        status=status,
        subscribed_at=_SINCE + timedelta(days=int(since * 365)),
    )
