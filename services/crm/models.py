"""The mock CRM's requests and responses."""

from datetime import date
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, Field

from services.common.mock.fields import EmailAddress, Metadata, MockRequest

SubscriberStatus = Literal["active", "unsubscribed", "bounced"]
Name = Annotated[str, Field(max_length=200)]
Tag = Annotated[str, Field(min_length=1, max_length=100)]
ShortId = Annotated[str, Field(min_length=1, max_length=200)]


class SendEmail(MockRequest):
    subject: str = Field(min_length=1, max_length=998)
    html_content: str = Field(min_length=1)
    text_content: str | None = Field(default=None, max_length=1024 * 1024)
    recipients: list[EmailAddress] | None = Field(default=None, description="default: all active subscribers")
    campaign_id: ShortId | None = None
    sender_email: EmailAddress | None = None
    metadata: Metadata | None = None


class EmailSent(BaseModel):
    message_id: str
    status: Literal["sent"]
    recipients_count: int
    timestamp: AwareDatetime
    campaign_id: str | None


class EmailStatus(BaseModel):
    message_id: str
    status: Literal["delivered"]
    subject: str
    campaign_id: str | None
    sent_at: AwareDatetime
    recipients_count: int
    delivered: int
    bounced: int
    opened: int
    clicked: int


class Subscriber(BaseModel):
    subscriber_id: str
    email: str
    first_name: str
    last_name: str
    status: SubscriberStatus
    subscribed_at: AwareDatetime


class Subscribers(BaseModel):
    subscribers: list[Subscriber]
    total: int
    limit: int
    offset: int


class CreateContact(MockRequest):
    email: EmailAddress
    first_name: Name | None = None
    last_name: Name | None = None
    tags: list[Tag] = Field(default=[], max_length=100)


class Contact(BaseModel):
    contact_id: str
    email: str
    first_name: str | None
    last_name: str | None
    tags: list[str]
    created_at: AwareDatetime


class Contacts(BaseModel):
    contacts: list[Contact]
    total: int
    limit: int
    offset: int


class ContactCount(BaseModel):
    count: int


class CreateCampaign(MockRequest):
    name: str = Field(min_length=1, max_length=200)
    subject: str | None = Field(default=None, max_length=998)
    description: str | None = Field(default=None, max_length=2000)


class Campaign(BaseModel):
    campaign_id: str
    name: str
    subject: str | None
    description: str | None
    created_at: AwareDatetime


class CampaignAnalytics(BaseModel):
    """Sums of the emails sent with this campaign_id. Rates are shares (0 to 1) of the delivered emails."""

    campaign_id: str
    name: str
    emails_sent: int
    recipients_count: int
    delivered: int
    bounced: int
    opened: int
    clicked: int
    open_rate: float
    click_rate: float


class DayReport(BaseModel):
    date: date
    emails_sent: int
    recipients_count: int
    delivered: int
    bounced: int
    opened: int
    clicked: int


class EmailReport(BaseModel):
    """The last `days` days (UTC) including today, with a row for each day with emails, oldest first."""

    days: int
    emails_sent: int
    recipients_count: int
    delivered: int
    bounced: int
    opened: int
    clicked: int
    daily: list[DayReport]


class CrmStats(BaseModel):
    """Counters since the start or the last clearing. They stay exact when old records are dropped."""

    emails_sent: int
    contacts_created: int
    campaigns_created: int


class CrmCleared(CrmStats):
    """The counters before the clearing."""

    status: Literal["cleared"] = "cleared"
