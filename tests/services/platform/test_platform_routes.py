"""The mock platform over HTTP: every route's response, every simulation, publication states, validation."""

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from services.platform.app import create
from services.platform.settings import PlatformSettings
from tests.services.conftest import serve

CONTENT = {"title": "News", "content": "Hello"}
POST = {"platform": "twitter", "content": "Hello"}
FUTURE = "2090-01-01T12:00:00Z"
PAST = "2020-01-01T12:00:00Z"


@pytest.fixture
def platform() -> Iterator[httpx.Client]:
    with client() as running:
        yield running


def client(**settings: Any) -> AbstractContextManager[httpx.Client]:
    return serve(create(PlatformSettings(_env_file=None, **({"mock_slow_s": 0} | settings))))


def publish(platform: httpx.Client, headers: dict[str, str] | None = None, **fields: Any) -> httpx.Response:
    return platform.post("/api/v1/content/publish", json=CONTENT | fields, headers=headers)


def stats(platform: httpx.Client) -> Any:
    return platform.get("/api/v1/stats").json()


def test_content_is_published_immediately_by_default(platform: httpx.Client) -> None:
    response = publish(platform).json()
    assert response.keys() == {"content_id", "url", "status", "published_at", "scheduled_at"}
    assert (response["status"], response["scheduled_at"]) == ("published", None)
    assert abs(datetime.now(UTC) - datetime.fromisoformat(response["published_at"])) < timedelta(minutes=1)
    assert response["content_id"] in response["url"]


STATES = {
    "a time in the future": ({"scheduled_at": FUTURE}, "scheduled", None, FUTURE),
    "a time in the future, not immediately": (
        {"scheduled_at": FUTURE, "publish_immediately": False},
        "scheduled",
        None,
        FUTURE,
    ),
    "a time in the past": ({"scheduled_at": PAST}, "published", PAST, PAST),
    "neither immediately nor scheduled": ({"publish_immediately": False}, "draft", None, None),
    "draft in the title": ({"title": "A draft of news", "scheduled_at": FUTURE}, "draft", None, None),
    "with an offset": ({"scheduled_at": "2090-01-01T14:00:00+02:00"}, "scheduled", None, FUTURE),
    "without an offset": ({"scheduled_at": "2090-01-01T12:00:00"}, "scheduled", None, FUTURE),
}


@pytest.mark.parametrize("case", STATES)
def test_the_request_determines_when_content_becomes_public(platform: httpx.Client, case: str) -> None:
    fields, status, published_at, scheduled_at = STATES[case]
    response = publish(platform, **fields).json()
    assert (response["status"], response["published_at"], response["scheduled_at"]) == (
        status,
        published_at,
        scheduled_at,
    )
    details = platform.get(f"/api/v1/content/{response['content_id']}").json()
    assert {key: details[key] for key in response} == response


SIMULATIONS = {
    "error": (400, "Simulated platform error: Content publishing failed"),
    "forbidden": (403, "Simulated platform refusal: Publishing is forbidden"),
    "timeout": (408, "Simulated platform timeout"),
    "slow": (200, None),
    "draft": (200, None),
}


@pytest.mark.parametrize("by", ["title", "header"])
@pytest.mark.parametrize("name", SIMULATIONS)
def test_simulations_respond_as_requested(platform: httpx.Client, name: str, by: str) -> None:
    response = (
        publish(platform, title=f"{name.title()} test") if by == "title" else publish(platform, {"X-Simulate": name})
    )
    status, detail = SIMULATIONS[name]
    assert response.status_code == status
    if detail is not None:
        assert response.json() == {"detail": detail}
        assert platform.get("/api/v1/content").json()["total"] == 0
    else:
        assert response.json()["status"] == ("draft" if name == "draft" else "published")


def test_slow_takes_three_seconds_unless_configured() -> None:
    assert PlatformSettings(_env_file=None).mock_slow_s == 3
    with client(mock_slow_s=0.3) as platform:
        assert publish(platform, title="slow").elapsed >= timedelta(seconds=0.3)


def test_a_repeated_idempotency_key_publishes_once(platform: httpx.Client) -> None:
    key = {"Idempotency-Key": "k"}
    assert publish(platform, key).json() == publish(platform, key).json()
    first, second = (platform.post("/api/v1/social/post", json=POST, headers=key) for _ in range(2))
    assert first.json() == second.json()
    assert (stats(platform)["content_published"], stats(platform)["social_posts"]) == (1, 1)


def test_content_is_returned_as_it_was_sent(platform: httpx.Client) -> None:
    sent = {"content_type": "blog_post", "tags": ["a", "b"], "metadata": {"n": [1, {"x": None}], "big": 10**40}}
    content_id = publish(platform, **sent).json()["content_id"]
    got = platform.get(f"/api/v1/content/{content_id}").json()
    assert {key: got[key] for key in (*CONTENT, *sent)} == CONTENT | sent


def test_content_is_listed_by_type_and_status_with_pagination(platform: httpx.Client) -> None:
    for number in range(3):
        publish(platform, title=f"web {number}")
    publish(platform, title="blog", content_type="blog_post")
    publish(platform, title="later", scheduled_at=FUTURE)

    def titles(**query: Any) -> list[str]:
        return [item["title"] for item in platform.get("/api/v1/content", params=query).json()["items"]]

    assert titles() == ["web 0", "web 1", "web 2", "blog", "later"]
    assert titles(content_type="blog_post") == ["blog"]
    assert titles(status="scheduled") == ["later"]
    assert titles(limit=2, offset=1) == ["web 1", "web 2"]
    assert platform.get("/api/v1/content", params={"limit": 1}).json()["total"] == 5


def test_an_update_replaces_only_the_given_fields(platform: httpx.Client) -> None:
    created = publish(platform, tags=["a"]).json()
    path = f"/api/v1/content/{created['content_id']}"
    updated = platform.put(path, json={"title": "Newer", "tags": []}).json()
    assert (updated["title"], updated["content"], updated["tags"]) == ("Newer", "Hello", [])
    assert updated["published_at"] == created["published_at"]
    assert updated["updated_at"] > updated["created_at"]
    assert platform.get(path).json() == updated


def test_a_draft_can_be_scheduled_and_then_published(platform: httpx.Client) -> None:
    path = f"/api/v1/content/{publish(platform, publish_immediately=False).json()['content_id']}"
    assert platform.put(path, json={"scheduled_at": FUTURE}).json()["status"] == "scheduled"
    published = platform.put(path, json={"publish_immediately": True}).json()
    assert (published["status"], published["scheduled_at"]) == ("published", None)
    again = platform.put(path, json={"scheduled_at": FUTURE}).json()
    assert again["published_at"] == published["published_at"], "published content was scheduled again"
    counts = stats(platform)
    assert (counts["content_drafts"], counts["content_scheduled"], counts["content_published"]) == (1, 1, 1)


def test_deleted_content_is_gone_but_still_counted(platform: httpx.Client) -> None:
    path = f"/api/v1/content/{publish(platform).json()['content_id']}"
    assert platform.delete(path).json()["status"] == "deleted"
    assert [call.status_code for call in (platform.get(path), platform.delete(path))] == [404, 404]
    assert stats(platform)["content_published"] == 1


@pytest.mark.parametrize("name", ["twitter", "linkedin", "facebook", "instagram"])
def test_social_posts_are_posted_on_known_platforms(platform: httpx.Client, name: str) -> None:
    sent = {"platform": name, "content": "Hello", "hashtags": ["#a"], "media_urls": ["https://example.org/a.png"]}
    posted = platform.post("/api/v1/social/post", json=sent).json()
    assert (posted["status"], posted["platform"]) == ("published", name)
    got = platform.get(f"/api/v1/social/{posted['post_id']}").json()
    assert {key: got[key] for key in sent} == sent


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        pytest.param({"platform": "myspace"}, 400, id="unknown platform"),
        pytest.param({"content": "a BANNED word"}, 403, id="banned text"),
        pytest.param({"content": ""}, 422, id="no text"),
    ],
)
def test_social_posts_are_refused(platform: httpx.Client, fields: dict[str, str], status: int) -> None:
    response = platform.post("/api/v1/social/post", json=POST | fields)
    assert response.status_code == status
    assert response.json()["detail"]
    assert stats(platform)["social_posts"] == 0


def test_a_social_post_can_be_scheduled(platform: httpx.Client) -> None:
    posted = platform.post("/api/v1/social/post", json=POST | {"scheduled_at": FUTURE}).json()
    assert (posted["status"], posted["published_at"], posted["scheduled_at"]) == ("scheduled", None, FUTURE)


def test_figures_are_reproducible_and_zero_before_publication(platform: httpx.Client) -> None:
    published, later = (
        publish(platform).json()["content_id"],
        publish(platform, scheduled_at=FUTURE).json()["content_id"],
    )
    post_id = platform.post("/api/v1/social/post", json=POST).json()["post_id"]
    content, social = f"/api/v1/analytics/content/{published}", f"/api/v1/analytics/social/{post_id}"
    assert platform.get(content).json() == platform.get(content).json()
    assert platform.get(social).json() == platform.get(social).json()
    assert 200 <= platform.get(content).json()["views"] < 5000
    assert platform.get(social).json()["impressions"] >= 300
    waiting = platform.get(f"/api/v1/analytics/content/{later}").json()
    assert (waiting["status"], waiting["views"], waiting["shares"], waiting["bounce_rate"]) == ("scheduled", 0, 0, 0)


def test_webhook_events_are_received(platform: httpx.Client) -> None:
    response = platform.post("/api/v1/webhooks/content", json={"event": "content.published", "content_id": "c"}).json()
    assert (response["received"], response["event"]) == (True, "content.published")
    assert stats(platform)["webhooks_received"] == 1


def test_stats_count_by_type_and_clearing_resets_them(platform: httpx.Client) -> None:
    for content_type in ("blog_post", "blog_post", "newsletter"):
        publish(platform, content_type=content_type)
    platform.post("/api/v1/social/post", json=POST)
    counts = stats(platform)
    assert (counts["content_published"], counts["social_posts"]) == (3, 1)
    assert counts["content_by_type"] == {"blog_post": 2, "newsletter": 1}
    assert platform.delete("/api/v1/test-data").json() == counts | {"status": "cleared"}
    assert stats(platform)["content_published"] == 0
    assert platform.get("/api/v1/content").json()["total"] == 0


@pytest.mark.parametrize("path", ["content/none", "social/none", "analytics/content/none", "analytics/social/none"])
def test_an_unknown_id_is_404(platform: httpx.Client, path: str) -> None:
    assert platform.get(f"/api/v1/{path}").status_code == 404


INVALID = {
    "no title": ({"content": "x"}, "title"),
    "empty title": (CONTENT | {"title": ""}, "title"),
    "no content": ({"title": "x"}, "content"),
    "unknown type": (CONTENT | {"content_type": "poem"}, "content_type"),
    "number for a flag": (CONTENT | {"publish_immediately": 1}, "publish_immediately"),
    "no date": (CONTENT | {"scheduled_at": "tomorrow"}, "scheduled_at"),
    "a date without a time": (CONTENT | {"scheduled_at": "2090-01-01"}, "scheduled_at"),
    "a number for a date": (CONTENT | {"scheduled_at": 1}, "scheduled_at"),
    "a date beyond the calendar": (CONTENT | {"scheduled_at": "0001-01-01T00:00:00+02:00"}, "scheduled_at"),
    "tags not strings": (CONTENT | {"tags": [1]}, "tags"),
    "lone surrogate in metadata": (CONTENT | {"metadata": {"a": "\ud800"}}, "metadata"),
}


@pytest.mark.parametrize("case", INVALID)
def test_an_invalid_body_is_refused_with_the_name_of_the_field(platform: httpx.Client, case: str) -> None:
    body, field = INVALID[case]
    headers = {"Content-Type": "application/json"}
    response = platform.post("/api/v1/content/publish", content=json.dumps(body), headers=headers)
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"][:2] == ["body", field]


@pytest.mark.parametrize("depth", [100, 300, 900, 5_000, 100_000])
def test_deeply_nested_metadata_is_accepted_or_refused(platform: httpx.Client, depth: int) -> None:
    body = '{"title": "x", "content": "x", "metadata": {"a": ' + "[" * depth + "]" * depth + "}}"
    headers = {"Content-Type": "application/json"}
    response = platform.post("/api/v1/content/publish", content=body, headers=headers)
    assert response.status_code in (200, 400, 422)
    if response.status_code == 200:
        assert platform.get(f"/api/v1/content/{response.json()['content_id']}").status_code == 200
