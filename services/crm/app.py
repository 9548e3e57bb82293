"""The mock CRM's routes."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, FastAPI, HTTPException, Query, Response

from services.common.answers import errors, written
from services.common.app import create_app
from services.common.mock.fields import Limit, Offset
from services.common.mock.simulation import Behaviour, SimulatedFailure, simulated_router
from services.crm import models
from services.crm.crm import REPORT_MAX_DAYS, Crm, StoredCampaign, StoredContact
from services.crm.settings import CrmSettings
from services.crm.subscribers import subscribers

FAILURES = {
    "error": SimulatedFailure(status=500, detail="Simulated CRM error: Email sending failed"),
    "timeout": SimulatedFailure(status=408, detail="Simulated CRM timeout"),
    "invalid": SimulatedFailure(status=400, detail="Simulated CRM rejection: Invalid email"),
}


def create(settings: CrmSettings) -> FastAPI:
    """Return the app of an empty mock CRM."""
    behaviour = Behaviour(settings, label="CRM", failures=FAILURES)
    routes = CrmRoutes(Crm(), behaviour)
    app = create_app(
        settings,
        service="crm",
        title="Toombos mock CRM",
        description="Accepts emails, contacts and campaigns without sending anything. State lives in memory. "
        + behaviour.description,
        routers=[routes.simulated(), routes.control()],
    )
    app.state.behaviour = behaviour
    return app


class CrmRoutes:
    def __init__(self, crm: Crm, behaviour: Behaviour) -> None:
        self._crm = crm
        self._behaviour = behaviour

    def simulated(self) -> APIRouter:
        """Return the CRM's own interface, which can fail on request."""
        router = simulated_router(tags=["crm"], responses=errors(400, 408, 500, 503))
        router.post("/api/v1/email/send", response_model=models.EmailSent, responses=errors(413))(self.send_email)
        router.get("/api/v1/email/{message_id}/status", responses=errors(404))(self.get_email_status)
        router.get("/api/v1/users/subscribers")(self.list_subscribers)
        router.post("/api/v1/contacts", responses=errors(413))(self.create_contact)
        router.get("/api/v1/contacts")(self.list_contacts)
        router.get("/api/v1/contacts/count")(self.count_contacts)
        router.post("/api/v1/campaigns", responses=errors(413))(self.create_campaign)
        router.get("/api/v1/campaigns/{campaign_id}/analytics", responses=errors(404))(self.get_campaign_analytics)
        router.get("/api/v1/reports/emails")(self.report_emails)
        return router

    def control(self) -> APIRouter:
        """Return the interface for tests and operators, which never fails on request."""
        router = APIRouter(tags=["control"])
        router.get("/api/v1/stats")(self.get_stats)
        router.delete("/api/v1/test-data")(self.clear)
        return router

    async def send_email(self, email: models.SendEmail) -> Response:
        """Accept an email. The words error, timeout, invalid and slow in the subject trigger simulations."""
        await self._behaviour.simulate(self._behaviour.named_in(email.subject))
        sent = self._crm.send(email)
        return written(
            models.EmailSent(
                message_id=sent.message_id,
                status="sent",
                recipients_count=sent.figures.recipients_count,
                timestamp=sent.sent_at,
                campaign_id=sent.campaign_id,
            )
        )

    async def get_email_status(self, message_id: str) -> models.EmailStatus:
        """Return the invented results of an email, always the same for the same id."""
        email = self._crm.email(message_id)
        if email is None:
            raise HTTPException(404, f"No email has the id {message_id}")
        return models.EmailStatus(
            message_id=email.message_id,
            status="delivered",
            subject=email.subject,
            campaign_id=email.campaign_id,
            sent_at=email.sent_at,
            **_without_count(asdict(email.figures)),
        )

    async def list_subscribers(
        self, limit: Limit = 100, offset: Offset = 0, status: models.SubscriberStatus | None = None
    ) -> models.Subscribers:
        """List the invented subscribers, optionally of one status."""
        matching = [asdict(person) for person in subscribers() if status in (None, person.status)]
        page = matching[offset : offset + limit]
        return models.Subscribers.model_validate(
            {"subscribers": page, "total": len(matching), "limit": limit, "offset": offset}
        )

    async def create_contact(self, contact: models.CreateContact) -> models.Contact:
        """Add a contact."""
        return _contact(self._crm.create_contact(contact))

    async def list_contacts(self, limit: Limit = 100, offset: Offset = 0) -> models.Contacts:
        """List contacts, oldest first."""
        page, total = self._crm.contacts(offset=offset, limit=limit)
        return models.Contacts(
            contacts=[_contact(contact) for contact in page], total=total, limit=limit, offset=offset
        )

    async def count_contacts(self) -> models.ContactCount:
        """Return the number of contacts created."""
        return models.ContactCount(count=self._crm.counters.contacts_created)

    async def create_campaign(self, campaign: models.CreateCampaign) -> models.Campaign:
        """Add a campaign; emails sent with its id are counted for it."""
        created = self._crm.create_campaign(campaign)
        return models.Campaign(
            campaign_id=created.campaign_id, created_at=created.created_at, **created.details.model_dump()
        )

    async def get_campaign_analytics(self, campaign_id: str) -> models.CampaignAnalytics:
        """Return the results of a campaign's emails; all zeros until one is sent."""
        campaign = self._crm.campaign(campaign_id)
        if campaign is None:
            raise HTTPException(404, f"No campaign has the id {campaign_id}")
        return _analytics(campaign)

    async def report_emails(self, days: Annotated[int, Query(ge=1, le=REPORT_MAX_DAYS)] = 30) -> models.EmailReport:
        """Report the emails of the last days, in total and by day."""
        total, daily = self._crm.report(days)
        rows = [models.DayReport(date=day, **asdict(figures)) for day, figures in daily]
        return models.EmailReport(days=days, daily=rows, **asdict(total))

    async def get_stats(self) -> models.CrmStats:
        """Return the counters since the start or the last clearing."""
        return models.CrmStats(**asdict(self._crm.counters))

    async def clear(self) -> models.CrmCleared:
        """Delete all test data, counters and idempotency keys."""
        self._behaviour.answers.clear()
        return models.CrmCleared(**asdict(self._crm.clear()))


def _contact(contact: StoredContact) -> models.Contact:
    details = contact.details.model_dump()
    return models.Contact(contact_id=contact.contact_id, created_at=contact.created_at, **details)


def _analytics(campaign: StoredCampaign) -> models.CampaignAnalytics:
    figures = campaign.figures
    return models.CampaignAnalytics(
        campaign_id=campaign.campaign_id,
        name=campaign.details.name,
        open_rate=_share(figures.opened, figures.delivered),
        click_rate=_share(figures.clicked, figures.delivered),
        **asdict(figures),
    )


def _share(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0


def _without_count(figures: dict[str, int]) -> dict[str, int]:
    del figures["emails_sent"]
    return figures
