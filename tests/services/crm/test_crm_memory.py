"""The mock CRM's memory is bounded; its counters and sums stay exact."""

from datetime import UTC, datetime, timedelta

from services.crm.crm import REPORT_MAX_DAYS, Crm
from services.crm.models import CreateCampaign, SendEmail


def email(campaign_id: str | None = None, subject: str = "News") -> SendEmail:
    return SendEmail(subject=subject, html_content="x", recipients=["a@example.org"], campaign_id=campaign_id)


def test_the_oldest_emails_are_forgotten_while_counters_and_sums_stay_exact() -> None:
    crm = Crm()
    campaign = crm.create_campaign(CreateCampaign(name="Spring"))
    sent = [crm.send(email(campaign.campaign_id)).message_id for _ in range(12_000)]
    assert crm.email(sent[0]) is None
    assert crm.email(sent[1_999]) is None
    assert crm.email(sent[2_000]) is not None
    assert crm.counters.emails_sent == campaign.figures.emails_sent == 12_000
    assert crm.report(1)[0].recipients_count == 12_000


def test_memory_for_large_subjects_is_bounded_by_their_size() -> None:
    crm = Crm()
    ids = [crm.send(email(subject="s" * 998)).message_id for _ in range(9_000)]
    kept = sum(crm.email(message_id) is not None for message_id in ids)
    assert kept == 8 * 1024 * 1024 // 998


def test_the_report_covers_the_requested_days_up_to_a_year() -> None:
    today = datetime(2026, 6, 30, 12, tzinfo=UTC)
    moment = today - timedelta(days=400)
    crm = Crm(now=lambda: moment)
    while moment <= today:
        crm.send(email())
        moment += timedelta(days=1)
    moment = today
    assert crm.report(1)[0].emails_sent == 1
    assert crm.report(30)[0].emails_sent == 30
    total, daily = crm.report(REPORT_MAX_DAYS)
    assert total.emails_sent == len(daily) == REPORT_MAX_DAYS
    assert [day for day, _ in daily] == sorted(day for day, _ in daily)
