"""The mock CRM over HTTP: every route's response, every simulation, idempotency keys, validation."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from services.crm.app import create
from services.crm.settings import CrmSettings
from tests.services.conftest import serve

EMAIL = {"subject": "News", "html_content": "<p>Hello</p>"}


@pytest.fixture
def crm() -> Iterator[httpx.Client]:
    with client() as running:
        yield running


def client(**settings: Any) -> AbstractContextManager[httpx.Client]:
    return serve(create(CrmSettings(_env_file=None, **({"mock_slow_s": 0} | settings))))


def send(crm: httpx.Client, headers: dict[str, str] | None = None, **fields: Any) -> Any:
    return crm.post("/api/v1/email/send", json=EMAIL | fields, headers=headers)


def test_an_email_is_sent_to_its_recipients(crm: httpx.Client) -> None:
    response = send(crm, recipients=["a@example.org", "b@example.org"], campaign_id="spring").json()
    assert response.keys() == {"message_id", "status", "recipients_count", "timestamp", "campaign_id"}
    assert (response["status"], response["recipients_count"], response["campaign_id"]) == ("sent", 2, "spring")
    sent_at = datetime.fromisoformat(response["timestamp"])
    assert sent_at.tzinfo == UTC
    assert abs(datetime.now(UTC) - sent_at) < timedelta(minutes=1)


@pytest.mark.parametrize("recipients", [None, []], ids=["absent", "empty"])
def test_an_email_without_recipients_goes_to_all_active_subscribers(crm: httpx.Client, recipients: Any) -> None:
    active = crm.get("/api/v1/users/subscribers", params={"status": "active"}).json()["total"]
    assert send(crm, recipients=recipients).json()["recipients_count"] == 100 == active


SIMULATIONS = {
    "error": (500, "Simulated CRM error: Email sending failed"),
    "timeout": (408, "Simulated CRM timeout"),
    "invalid": (400, "Simulated CRM rejection: Invalid email"),
    "slow": (200, None),
}


@pytest.mark.parametrize("by", ["subject", "capitals", "header"])
@pytest.mark.parametrize("name", SIMULATIONS)
def test_simulations_respond_as_requested(crm: httpx.Client, name: str, by: str) -> None:
    match by:
        case "subject":
            response = send(crm, subject=f"an {name} test")
        case "capitals":
            response = send(crm, subject=f"{name.upper()}!")
        case _:
            response = send(crm, headers={"X-Simulate": name})
    status, detail = SIMULATIONS[name]
    assert response.status_code == status
    assert detail is None or response.json() == {"detail": detail}
    assert crm.get("/api/v1/stats").json()["emails_sent"] == (1 if status == 200 else 0)


@pytest.mark.parametrize("subject", ["Terrors of the deep", "Slowing down", "Timeouts", "invalidated"])
def test_a_simulation_word_inside_another_word_has_no_effect(crm: httpx.Client, subject: str) -> None:
    assert send(crm, subject=subject).status_code == 200


def test_slow_waits_for_the_configured_time() -> None:
    with client(mock_slow_s=0.3) as crm:
        assert send(crm, subject="slow").elapsed >= timedelta(seconds=0.3)


def test_an_unknown_simulation_is_refused_with_a_list_of_the_known_ones(crm: httpx.Client) -> None:
    response = send(crm, headers={"X-Simulate": "explode"})
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"] == ["header", "X-Simulate"]
    assert "error, timeout, invalid, slow" in response.json()["detail"][0]["msg"]


def test_the_header_simulates_on_every_route_except_control_routes(crm: httpx.Client) -> None:
    header = {"X-Simulate": "timeout"}
    assert crm.get("/api/v1/contacts", headers=header).status_code == 408
    assert crm.get("/api/v1/stats", headers=header).status_code == 200
    assert crm.delete("/api/v1/test-data", headers=header).status_code == 200


def test_latency_is_added_to_every_response() -> None:
    with client(mock_latency_ms=120) as crm:
        assert crm.get("/api/v1/contacts").elapsed >= timedelta(milliseconds=120)


def test_the_error_rate_fails_the_same_share_of_requests_for_the_same_seed() -> None:
    def outcomes(seed: int) -> list[int]:
        with client(mock_error_rate=0.3, mock_seed=seed) as crm:
            return [send(crm).status_code for _ in range(200)]

    first = outcomes(1)
    assert first == outcomes(1)
    assert first != outcomes(2)
    assert set(first) == {200, 503}
    assert 40 <= first.count(503) <= 80


def test_a_repeated_idempotency_key_returns_the_first_response_and_sends_once(crm: httpx.Client) -> None:
    key = {"Idempotency-Key": "k1"}
    first, second, other = send(crm, headers=key), send(crm, headers=key), send(crm, headers={"Idempotency-Key": "k2"})
    assert first.json() == second.json() != other.json()
    assert "Idempotent-Replayed" not in first.headers
    assert second.headers["Idempotent-Replayed"] == "true"
    assert first.headers["X-Request-ID"] != second.headers["X-Request-ID"]
    assert crm.get("/api/v1/stats").json()["emails_sent"] == 2


def test_concurrent_duplicates_get_the_same_response() -> None:
    with client(mock_slow_s=0.3) as crm, ThreadPoolExecutor(8) as threads:
        calls = [threads.submit(send, crm, {"Idempotency-Key": "k"}, subject="slow") for _ in range(8)]
        responses = {call.result().json()["message_id"] for call in calls}
        assert len(responses) == 1
        assert crm.get("/api/v1/stats").json()["emails_sent"] == 1


@pytest.mark.parametrize("failure", ["error", "timeout", "invalid"])
def test_a_failed_response_is_not_kept_for_its_key(crm: httpx.Client, failure: str) -> None:
    key = {"Idempotency-Key": "k"}
    assert send(crm, headers=key | {"X-Simulate": failure}).status_code == SIMULATIONS[failure][0]
    assert send(crm, headers=key, subject=failure).status_code == SIMULATIONS[failure][0]
    assert send(crm, headers=key).status_code == 200


def test_the_same_key_on_another_route_counts_as_another_key(crm: httpx.Client) -> None:
    key = {"Idempotency-Key": "k"}
    send(crm, headers=key)
    assert "contact_id" in crm.post("/api/v1/contacts", json={"email": "a@example.org"}, headers=key).json()


OTHER_REQUESTS: dict[str, tuple[bytes, int]] = {
    "another subject": (json.dumps(EMAIL | {"subject": "Other"}).encode(), 409),
    "a further field": (json.dumps(EMAIL | {"campaign_id": "c"}).encode(), 409),
    "no body": (b"", 422),
    "a NUL byte": (b"\0", 422),
    "not JSON": (b"{", 422),
    "an invalid body": (b'{"subject": 7}', 422),
}


@pytest.mark.parametrize("case", OTHER_REQUESTS)
def test_a_key_with_another_request_is_refused(crm: httpx.Client, case: str) -> None:
    other, status = OTHER_REQUESTS[case]
    headers = {"Content-Type": "application/json", "Idempotency-Key": "k"}
    assert crm.post("/api/v1/email/send", json=EMAIL, headers=headers).status_code == 200
    response = crm.post("/api/v1/email/send", content=other, headers=headers)
    assert response.status_code == status
    assert response.json()["detail"]
    assert crm.get("/api/v1/stats").json()["emails_sent"] == 1


@pytest.mark.parametrize("key", ["", "k" * 256], ids=["empty", "256 characters"])
def test_an_invalid_idempotency_key_is_refused(crm: httpx.Client, key: str) -> None:
    assert send(crm, headers={"Idempotency-Key": key}).status_code == 422
    assert crm.get("/api/v1/stats").json()["emails_sent"] == 0


def test_the_figures_of_an_email_are_reproducible_and_add_up(crm: httpx.Client) -> None:
    message_id = send(crm).json()["message_id"]
    first = crm.get(f"/api/v1/email/{message_id}/status").json()
    assert first == crm.get(f"/api/v1/email/{message_id}/status").json()
    assert first["delivered"] + first["bounced"] == first["recipients_count"] == 100
    assert first["clicked"] <= first["opened"] <= first["delivered"]
    assert first["subject"] == "News"


@pytest.mark.parametrize("path", ["email/msg_none/status", "campaigns/cmp_none/analytics", "nothing"])
def test_an_unknown_resource_is_404(crm: httpx.Client, path: str) -> None:
    response = crm.get(f"/api/v1/{path}")
    assert response.status_code == 404
    assert isinstance(response.json()["detail"], str)


@pytest.mark.parametrize(
    ("query", "total", "count"),
    [
        pytest.param({}, 120, 100, id="default page"),
        pytest.param({"limit": 1000}, 120, 120, id="all"),
        pytest.param({"limit": 50, "offset": 100}, 120, 20, id="last page"),
        pytest.param({"offset": 10**9}, 120, 0, id="beyond the end"),
        pytest.param({"status": "active"}, 100, 100, id="active"),
        pytest.param({"status": "unsubscribed"}, 15, 15, id="unsubscribed"),
        pytest.param({"status": "bounced", "limit": 2}, 5, 2, id="bounced"),
    ],
)
def test_subscribers_are_paginated(crm: httpx.Client, query: dict[str, Any], total: int, count: int) -> None:
    response = crm.get("/api/v1/users/subscribers", params=query).json()
    assert (response["total"], len(response["subscribers"])) == (total, count)
    assert all(s["status"] == query.get("status", s["status"]) for s in response["subscribers"])


def test_subscribers_are_distinct_and_always_the_same() -> None:
    with client() as one, client() as other:
        query = {"limit": 1000}
        people = one.get("/api/v1/users/subscribers", params=query).json()
        assert people == other.get("/api/v1/users/subscribers", params=query).json()
        assert len({person["email"] for person in people["subscribers"]}) == 120


def test_contacts_are_created_listed_and_counted(crm: httpx.Client) -> None:
    for number in range(5):
        created = crm.post("/api/v1/contacts", json={"email": f"c{number}@example.org", "tags": ["new"]})
        assert created.json().keys() == {"contact_id", "email", "first_name", "last_name", "tags", "created_at"}
    page = crm.get("/api/v1/contacts", params={"limit": 2, "offset": 1}).json()
    assert [contact["email"] for contact in page["contacts"]] == ["c1@example.org", "c2@example.org"]
    assert (page["total"], page["limit"], page["offset"]) == (5, 2, 1)
    assert crm.get("/api/v1/contacts/count").json() == {"count": 5}


def test_a_campaigns_analytics_are_the_sums_of_its_emails(crm: httpx.Client) -> None:
    campaign_id = crm.post("/api/v1/campaigns", json={"name": "Spring"}).json()["campaign_id"]
    analytics = f"/api/v1/campaigns/{campaign_id}/analytics"
    assert crm.get(analytics).json()["emails_sent"] == 0
    ids = [send(crm, campaign_id=campaign_id).json()["message_id"] for _ in range(3)]
    send(crm, campaign_id="another")
    emails = [crm.get(f"/api/v1/email/{message_id}/status").json() for message_id in ids]
    response = crm.get(analytics).json()
    assert response["emails_sent"] == 3
    for figure in ("recipients_count", "delivered", "bounced", "opened", "clicked"):
        assert response[figure] == sum(email[figure] for email in emails)
    assert response["open_rate"] == round(response["opened"] / response["delivered"], 4)


def test_the_report_sums_the_emails_of_the_day(crm: httpx.Client) -> None:
    for _ in range(3):
        send(crm)
    report = crm.get("/api/v1/reports/emails", params={"days": 2}).json()
    assert (report["days"], report["emails_sent"], report["recipients_count"]) == (2, 3, 300)
    assert sum(day["opened"] for day in report["daily"]) == report["opened"]


def test_clearing_deletes_everything_and_reports_the_counts(crm: httpx.Client) -> None:
    key = {"Idempotency-Key": "k"}
    message_id = send(crm, headers=key).json()["message_id"]
    crm.post("/api/v1/contacts", json={"email": "a@example.org"})
    crm.post("/api/v1/campaigns", json={"name": "Spring"})
    counts = {"emails_sent": 1, "contacts_created": 1, "campaigns_created": 1}
    assert crm.get("/api/v1/stats").json() == counts
    assert crm.delete("/api/v1/test-data").json() == counts | {"status": "cleared"}
    assert crm.get("/api/v1/stats").json() == dict.fromkeys(counts, 0)
    assert crm.get(f"/api/v1/email/{message_id}/status").status_code == 404
    assert crm.get("/api/v1/contacts").json()["total"] == 0
    assert crm.get("/api/v1/reports/emails").json()["emails_sent"] == 0
    assert send(crm, headers=key).json()["message_id"] != message_id


INVALID = {
    "no subject": ("email/send", {"html_content": "x"}, "subject"),
    "empty subject": ("email/send", EMAIL | {"subject": ""}, "subject"),
    "subject of a wrong type": ("email/send", EMAIL | {"subject": 7}, "subject"),
    "no content": ("email/send", {"subject": "x"}, "html_content"),
    "recipient without @": ("email/send", EMAIL | {"recipients": ["nobody"]}, "recipients"),
    "recipients not a list": ("email/send", EMAIL | {"recipients": "a@example.org"}, "recipients"),
    "lone surrogate": ("email/send", EMAIL | {"subject": "\ud800"}, "subject"),
    "metadata not an object": ("email/send", EMAIL | {"metadata": []}, "metadata"),
    "contact without address": ("contacts", {}, "email"),
    "campaign without name": ("campaigns", {"name": ""}, "name"),
}


@pytest.mark.parametrize("case", INVALID)
def test_an_invalid_body_is_refused_with_the_name_of_the_field(crm: httpx.Client, case: str) -> None:
    path, body, field = INVALID[case]
    response = crm.post(f"/api/v1/{path}", content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"][:2] == ["body", field]


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "offset=-1", "limit=x", "status=asleep", f"offset={10**30}"]
)
def test_an_invalid_query_is_refused(crm: httpx.Client, query: str) -> None:
    assert crm.get(f"/api/v1/users/subscribers?{query}").status_code == 422


def test_unknown_keys_of_a_body_are_ignored(crm: httpx.Client) -> None:
    assert send(crm, priority="high").status_code == 200
