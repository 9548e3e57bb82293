"""The generator over HTTP, as a real process with real mocks."""

import json
import re
import resource
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from services.generator.access import ApiKeys, network_of
from services.generator.app import create
from services.generator.settings import GeneratorSettings
from tests.services.conftest import RunningService, StartService, serve
from tests.support.ports import free_port

GENERATE = "/api/v2/generate-content"
PREVIEW = {"preview_only": True}
KEY, READ_KEY = "an-editor-key-of-tests", "a-reader-key-of-tests"
BEARER = {"Authorization": f"Bearer {KEY}"}
DRY_RUN = {"DRY_RUN_MODE": "true"}


@pytest.fixture(scope="module")
def mocks(start_shared_service: StartService) -> dict[str, RunningService]:
    return {name: start_shared_service(name) for name in ("crm", "platform")}


@pytest.fixture(scope="module")
def generator(start_shared_service: StartService, mocks: dict[str, RunningService]) -> RunningService:
    """A generator in dry-run mode without API keys, with its mocks."""
    return start_shared_service("generator", **DRY_RUN, **addresses(mocks))


def addresses(mocks: dict[str, RunningService]) -> dict[str, str]:
    return {"MOCK_CRM_BASE_URL": mocks["crm"].url, "MOCK_PLATFORM_BASE_URL": mocks["platform"].url}


def nobody() -> str:
    """Return an address on which nothing listens."""
    return f"http://127.0.0.1:{free_port()}"


def post(service: RunningService, body: Any = PREVIEW, **options: Any) -> httpx.Response:
    with service.client() as client:
        return client.post(options.pop("path", GENERATE), json=body, **options)


def counted(mocks: dict[str, RunningService]) -> tuple[int, int, int]:
    """Return the (emails, web updates, social posts) that the mocks have accepted."""
    crm, platform = (httpx.get(f"{mocks[n].url}/api/v1/stats", trust_env=False).json() for n in ("crm", "platform"))
    return crm["emails_sent"], platform["content_published"], platform["social_posts"]


def sample(service: RunningService, name: str, **labels: str) -> float:
    text = httpx.get(f"{service.url}/metrics", trust_env=False).text
    found = [
        one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
        if one.name == name and labels.items() <= one.labels.items()
    ]
    assert found, f"no sample {name}{labels}"
    return sum(found)


def without_identity(response: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in response.items() if name not in ("content_id", "generated_at")}


def test_equal_requests_get_equal_content_and_different_ids(generator: RunningService) -> None:
    first, second, fresh = (post(generator, PREVIEW | more).json() for more in ({}, {}, {"force_refresh": True}))
    assert without_identity(first) == without_identity(second) == without_identity(fresh)
    assert len({first["content_id"], second["content_id"], fresh["content_id"]}) == 3


def test_another_process_renders_the_same_content(
    generator: RunningService, mocks: dict[str, RunningService], start_service: StartService
) -> None:
    other = start_service("generator", **DRY_RUN, **addresses(mocks))
    assert without_identity(post(generator).json()) == without_identity(post(other).json())


def test_a_preview_has_all_content_and_publishes_nothing(
    generator: RunningService, mocks: dict[str, RunningService]
) -> None:
    before = counted(mocks)
    response = post(generator).json()
    assert counted(mocks) == before
    assert (response["status"], response["published_to"], response["results"], response["errors"]) == (
        "preview",
        [],
        {},
        [],
    )
    assert response["newsletter"].keys() == {"subject", "html", "text", "preview_text"}
    assert response["web_update"].keys() == {"title", "content", "excerpt", "slug", "tags"}
    assert [p["platform"] for p in response["social_posts"]] == ["twitter", "linkedin", "facebook", "instagram"]


def test_content_is_published_to_every_channel_once(
    generator: RunningService, mocks: dict[str, RunningService]
) -> None:
    emails, updates, posts = counted(mocks)
    response = post(generator, {}).json()
    assert (response["status"], response["published_to"]) == ("success", ["email", "web", "social"])
    assert response["results"]["email"]["external_id"]
    assert response["results"]["web"]["url"]
    assert len(response["results"]["social"]["posts"]) == 4
    assert counted(mocks) == (emails + 1, updates + 1, posts + 4)


@pytest.mark.parametrize(
    ("body", "rises"),
    [
        ({"send_email": False}, (0, 1, 4)),
        ({"publish_web": False}, (1, 0, 4)),
        ({"generate_social": False}, (1, 1, 0)),
        ({"send_email": False, "publish_web": False, "generate_social": False}, (0, 0, 0)),
    ],
    ids=["no email", "no web", "no social", "none"],
)
def test_only_the_requested_channels_are_published(
    generator: RunningService, mocks: dict[str, RunningService], body: dict[str, bool], rises: tuple[int, int, int]
) -> None:
    before = counted(mocks)
    response = post(generator, body).json()
    assert response["status"] == "success"
    assert tuple(after - b for after, b in zip(counted(mocks), before, strict=True)) == rises
    assert len(response["social_posts"]) == rises[2]


def test_options_shape_the_content(generator: RunningService) -> None:
    def generated(body: dict[str, Any] | None = None, **query: Any) -> dict[str, Any]:
        response: dict[str, Any] = post(generator, PREVIEW | (body or {}), params=query).json()
        return response

    plain = generated()
    assert generated({"tone": "encouraging"})["newsletter"] != plain["newsletter"]
    mixed = generated({"per_channel_tones": {"web": "medical_scientific"}})
    assert mixed["newsletter"] == plain["newsletter"]
    assert mixed["web_update"] != plain["web_update"]
    assert generated(template_style="minimal")["newsletter"]["html"] != plain["newsletter"]["html"]
    assert generated(seo_optimize="false")["web_update"] != plain["web_update"]
    for wanted in ("twitter,linkedin", ["linkedin", "twitter"]):
        posts = generated(social_platforms=wanted)["social_posts"]
        assert [one["platform"] for one in posts] == ["twitter", "linkedin"]
    bare = generated({"include_preview": False})
    assert (bare["newsletter"], bare["web_update"], bare["social_posts"]) == (None, None, [])


@pytest.mark.parametrize(
    ("content", "query", "place"),
    [
        (b'{"preview": true}', "", "preview"),
        (b'{"preview_only": "yes"}', "", "preview_only"),
        (b'{"preview_only": 1}', "", "preview_only"),
        (b'{"preview_only": null}', "", "preview_only"),
        (b'{"tone": "sarcastic"}', "", "tone"),
        (b'{"tone": ["professional"]}', "", "tone"),
        (b'{"per_channel_tones": {"fax": "professional"}}', "", "fax"),
        (b'{"per_channel_tones": "professional"}', "", "per_channel_tones"),
        (b"[]", "", "body"),
        (b"{", "", "body"),
        (b"\xff\xfe", "", ""),
        (b"", "", "body"),
        (b'{"preview_only": true}', "?template_style=fancy", "template_style"),
        (b'{"preview_only": true}', "?social_platforms=myspace", "social_platforms"),
        (b'{"preview_only": true}', "?seo_optimize=perhaps", "seo_optimize"),
    ],
)
def test_invalid_requests_are_refused_and_publish_nothing(
    generator: RunningService, mocks: dict[str, RunningService], content: bytes, query: str, place: str
) -> None:
    before = counted(mocks)
    with generator.client() as client:
        response = client.post(GENERATE + query, content=content, headers={"Content-Type": "application/json"})
    assert response.status_code in (400, 422)
    assert place in json.dumps(response.json()["detail"])
    assert counted(mocks) == before


@pytest.mark.parametrize(
    "content",
    [json.dumps(PREVIEW), "{}x", "[]", "", "null", '{"tone": "rude"}', '{"preview_only": 1}', '{"unknown": true}'],
)
def test_the_quick_route_responds_like_fastapis_own(generator: RunningService, content: str) -> None:
    """FastAPI's own route handles a content type with a parameter."""
    types = ("application/json", "application/json; charset=utf-8")
    with generator.client() as client:
        quick, thorough = (client.post(GENERATE, content=content, headers={"Content-Type": t}) for t in types)
    assert quick.status_code == thorough.status_code
    assert without_identity(quick.json()) == without_identity(thorough.json())


def test_a_body_of_10_mb_is_refused(generator: RunningService) -> None:
    response = post(generator, {"tone": "x" * 10_000_000})
    assert (response.status_code, "larger than" in response.json()["detail"]) == (413, True)


def test_the_history_lists_generations_and_finds_them_by_id(generator: RunningService) -> None:
    response = post(generator, PREVIEW | {"tone": "encouraging"}).json()
    with generator.client() as client:
        page = client.get("/api/v2/generations", params={"limit": 1}).json()
        found = client.get(f"/api/v2/generations/{response['content_id']}").json()
        unknown = client.get("/api/v2/generations/none")
    assert page["total"] >= 1
    assert page["generations"][0]["content_id"] == response["content_id"]
    assert page["generations"][0]["options"]["email_tone"] == "encouraging"
    assert {name: found[name] for name in ("newsletter", "web_update", "social_posts")} == {
        name: response[name] for name in ("newsletter", "web_update", "social_posts")
    }
    assert unknown.status_code == 404


def test_a_preview_of_one_channel_is_not_stored(generator: RunningService) -> None:
    whole = post(generator).json()
    with generator.client() as client:
        total = client.get("/api/v2/generations").json()["total"]
        for channel, part in (("email", "newsletter"), ("web", "web_update"), ("social", "social_posts")):
            response = client.post(f"/api/v1/content/preview/{channel}", json={}).json()
            assert response == {"channel": channel, part: whole[part]}
        assert client.get("/api/v2/generations").json()["total"] == total
        assert client.post("/api/v1/content/preview/fax", json={}).status_code == 422


def test_templates_are_listed(generator: RunningService) -> None:
    with generator.client() as client:
        response = client.get("/api/v2/templates").json()
    assert [template["name"] for template in response["templates"]] == ["modern", "minimal", "plain"]


def test_detailed_health_reports_each_component(generator: RunningService) -> None:
    with generator.client() as client:
        response = client.get("/health/detailed").json()
    components = {component["name"]: component for component in response["components"]}
    assert components.keys() == {"database", "document_source", "crm", "platform", "disk", "memory"}
    for component in components.values():
        assert component["response_time_ms"] >= 0
        assert component["message"]


def test_metrics_count_generations_and_publications(generator: RunningService) -> None:
    names = ("toombos_content_generated_total", "toombos_publish_total", "toombos_publish_duration_seconds_count")
    labels: tuple[dict[str, str], ...] = (
        {"channel": "email"},
        {"channel": "email", "outcome": "success"},
        {"channel": "email"},
    )
    post(generator, {})
    before = [sample(generator, name, **label) for name, label in zip(names, labels, strict=True)]
    post(generator, {})
    after = [sample(generator, name, **label) for name, label in zip(names, labels, strict=True)]
    assert [b - a for a, b in zip(before, after, strict=True)] == [1, 1, 1]
    assert sample(generator, "toombos_dry_run_mode") == 1
    assert sample(generator, "toombos_database_up") == 1
    assert sample(generator, "toombos_document_fetch_total", source="file") >= 1


def test_the_other_channels_are_published_once_if_the_crm_is_down(
    mocks: dict[str, RunningService], start_service: StartService
) -> None:
    service = start_service("generator", **DRY_RUN, **addresses(mocks) | {"MOCK_CRM_BASE_URL": nobody()})
    emails, updates, posts = counted(mocks)
    response = post(service, {}).json()
    assert (response["status"], response["published_to"]) == ("partial", ["web", "social"])
    assert response["results"]["email"]["status"] == "failed"
    (error,) = response["errors"]
    assert re.match(r"email: CRM service: .*\(4 attempts\)", error)
    assert counted(mocks) == (emails, updates + 1, posts + 4)
    with service.client() as client:
        stored = client.get(f"/api/v2/generations/{response['content_id']}").json()
        health = client.get("/health")
    assert (stored["status"], stored["errors"]) == ("partial", response["errors"])
    assert (health.status_code, health.json()["status"]) == (200, "degraded")


def test_the_response_is_502_and_stored_if_every_channel_is_down(start_service: StartService) -> None:
    service = start_service("generator", **DRY_RUN, MOCK_CRM_BASE_URL=nobody(), MOCK_PLATFORM_BASE_URL=nobody())
    response = post(service, {})
    assert response.status_code == 502
    body = response.json()
    assert body["detail"].startswith("No channel published: email: CRM service")
    with service.client() as client:
        stored = client.get(f"/api/v2/generations/{body['content_id']}").json()
    assert (stored["status"], stored["published_to"]) == ("failed", [])
    assert sample(service, "toombos_content_generation_failures_total", reason="publish") == 1


def launch_unready(start_service: StartService, tmp_path: Path, **env: str) -> RunningService:
    """Start a generator with a valid document, which the test then replaces."""
    document = tmp_path / "document.md"
    document.write_text("## [A] B\n### H\n- **Date:** 2026-01-24\n- **Title:** T\n- **Content:** C\n")
    return start_service("generator", **DRY_RUN, LIVING_DOC_ID=str(document), **env)


def test_a_malformed_document_is_422_with_its_line(
    start_service: StartService, mocks: dict[str, RunningService], tmp_path: Path
) -> None:
    service = launch_unready(start_service, tmp_path, **addresses(mocks))
    before = counted(mocks)
    (tmp_path / "document.md").write_text("## [A] B\n### H\n- **Date:** 2026-13-24\n")
    response = post(service, {})
    (problem,) = response.json()["detail"]
    assert (response.status_code, problem["loc"]) == (422, ["document", 2])
    assert "has no **Title:**, **Content:**" in problem["msg"]
    assert counted(mocks) == before
    with service.client() as client:
        ready = client.get("/ready")
        assert client.get("/api/v2/generations").json()["total"] == 0
        assert client.get("/live").status_code == 200
    checks = {check["name"]: check for check in ready.json()["checks"]}
    assert (ready.status_code, checks["document_source"]["ready"]) == (503, False)
    assert "Content generation failed" in service.log()


def test_a_document_too_complex_to_read_is_422_with_its_line(start_service: StartService, tmp_path: Path) -> None:
    service = launch_unready(start_service, tmp_path)
    with (tmp_path / "document.md").open("a") as document:
        document.write("<div>" * 10_000)
    for path in (GENERATE, "/api/v1/content/preview/email"):
        response = post(service, {}, path=path)
        (problem,) = response.json()["detail"]
        assert (response.status_code, problem["loc"]) == (422, ["document", 2])
        assert "takes more than 250000 steps" in problem["msg"]


def test_the_generator_is_unready_while_its_history_cannot_be_written(start_service: StartService) -> None:
    service = start_service("generator", **DRY_RUN)
    hard_limit = resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE)[1]
    resource.prlimit(
        service.process.pid, resource.RLIMIT_FSIZE, (1, hard_limit)
    )  # as on a full disk: reading still works
    assert post(service).status_code == 503
    with service.client() as client:
        for _ in range(2):
            ready = client.get("/ready")
            checks = {check["name"]: check for check in ready.json()["checks"]}
            assert (ready.status_code, checks["database"]["ready"]) == (503, False)
            assert sample(service, "toombos_database_up") == 0
        resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, (hard_limit, hard_limit))
        assert client.get("/ready").status_code == 200
    assert sample(service, "toombos_database_up") == 1
    assert post(service).status_code == 200


def test_a_deleted_document_is_502(start_service: StartService, tmp_path: Path) -> None:
    service = launch_unready(start_service, tmp_path)
    (tmp_path / "document.md").unlink()
    response = post(service)
    assert (response.status_code, "No such file" in response.json()["detail"]) == (502, True)


@pytest.mark.parametrize(
    ("url", "reason"),
    [("http://127.0.0.1:9/doc.md", "attempts"), ("http://192.0.2.1/doc.md", "dry-run mode refuses")],
    ids=["unreachable", "not on this machine"],
)
def test_a_document_url_that_cannot_be_fetched_is_502(tmp_path: Path, url: str, reason: str) -> None:
    settings = GeneratorSettings(
        _env_file=None,
        dry_run_mode=True,
        living_doc_type="url",
        living_doc_url=url,
        database_url=f"sqlite:///{tmp_path}/history.db",
    )
    with serve(create(settings)) as client:
        response = client.post(GENERATE, json={})
        refused = re.search(r"^toombos_egress_refused_total (\S+)", client.get("/metrics").text, re.MULTILINE)
        total = client.get("/api/v2/generations").json()["total"]
    assert (response.status_code, total) == (502, 0)
    assert reason in response.json()["detail"]
    assert refused is not None
    assert float(refused[1]) == (1 if "refuses" in reason else 0)


def test_a_publisher_off_this_machine_is_refused_in_dry_run_mode(
    mocks: dict[str, RunningService], start_service: StartService
) -> None:
    service = start_service("generator", **DRY_RUN, **addresses(mocks) | {"MOCK_CRM_BASE_URL": "http://192.0.2.7"})
    response = post(service, {}).json()
    assert response["status"] == "partial"
    assert response["errors"] == [
        "email: dry-run mode refuses requests to 192.0.2.7: not loopback and not allow-listed"
    ]
    assert sample(service, "toombos_egress_refused_total") >= 1
    assert "egress refused in dry-run mode: 192.0.2.7" in service.log()


@pytest.fixture(scope="module")
def locked(start_shared_service: StartService, mocks: dict[str, RunningService]) -> RunningService:
    keys = {"API_KEY": KEY, "READ_ONLY_API_KEY": READ_KEY}
    return start_shared_service("generator", **DRY_RUN, **addresses(mocks), **keys)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param({}, 401, id="no key"),
        pytest.param({"Authorization": "Bearer wrong"}, 401, id="wrong bearer"),
        pytest.param({"X-API-Key": "wrong"}, 401, id="wrong header"),
        pytest.param({"X-API-Key": ""}, 401, id="empty key"),
        pytest.param({"Authorization": f"Basic {KEY}"}, 401, id="another scheme"),
        pytest.param({"Authorization": KEY}, 401, id="no scheme"),
        pytest.param({"Authorization": "Bearer wrong", "X-API-Key": KEY}, 401, id="one wrong key of two"),
        pytest.param({"Authorization": f"Bearer {KEY}"}, 200, id="bearer"),
        pytest.param({"Authorization": f"bearer {KEY}"}, 200, id="the scheme in another case"),
        pytest.param({"X-API-Key": KEY}, 200, id="header"),
        pytest.param({"X-API-Key": READ_KEY}, 200, id="a reader may preview"),
    ],
)
def test_every_request_needs_the_api_key_if_one_is_set(
    locked: RunningService, headers: dict[str, str], status: int
) -> None:
    response = post(locked, headers=headers)
    assert response.status_code == status
    if status == 401:
        assert response.headers["WWW-Authenticate"] == "Bearer"
        assert "key" in response.json()["detail"]
    for path in ("/api/v2/generations", "/api/v2/templates"):
        with locked.client() as client:
            assert client.get(path, headers=headers).status_code == status


def test_a_reader_may_not_publish(locked: RunningService, mocks: dict[str, RunningService]) -> None:
    before = counted(mocks)
    response = post(locked, {}, headers={"X-API-Key": READ_KEY})
    assert (response.status_code, counted(mocks)) == (403, before)


def test_operational_routes_need_no_key(locked: RunningService) -> None:
    with locked.client() as client:
        paths = ("/health", "/live", "/ready", "/metrics")
        assert [client.get(path).status_code for path in paths] == [200] * len(paths)


@pytest.mark.parametrize("path", ["/openapi.json", "/docs"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"X-API-Key": "wrong"}, 401),
        ({"X-API-Key": READ_KEY}, 200),
        ({"Authorization": f"Bearer {KEY}"}, 200),
    ],
    ids=["no key", "wrong key", "a reader", "an editor"],
)
def test_the_documents_need_the_key_if_one_is_set(
    locked: RunningService, generator: RunningService, path: str, headers: dict[str, str], status: int
) -> None:
    with locked.client() as client:
        assert client.get(path, headers=headers).status_code == status
    with generator.client() as client:
        assert client.get(path).status_code == 200


BAD_REQUESTS: dict[str, dict[str, Any]] = {
    "a body that is no JSON": {"content": b"{", "headers": {"Content-Type": "application/json"}},
    "a NUL byte": {"content": b"\0", "headers": {"Content-Type": "application/json"}},
    "a wrong type": {"json": {"preview_only": "yes"}},
    "an unknown field": {"json": {"no": 1}},
    "no body": {},
    "a wrong query": {"json": {}, "params": {"template_style": "loud"}},
    "another content type": {"content": b"{}", "headers": {"Content-Type": "text/plain"}},
}


@pytest.mark.parametrize("path", [GENERATE, "/api/v1/content/preview/email", "/api/v1/content/preview/smoke-signals"])
@pytest.mark.parametrize("case", BAD_REQUESTS)
def test_the_key_is_checked_before_anything_else(locked: RunningService, case: str, path: str) -> None:
    request = BAD_REQUESTS[case]
    with locked.client() as client:
        assert client.post(path, **request).status_code == 401
        headers = request.get("headers", {}) | {"X-API-Key": KEY}
        expected = 200 if case == "no body" and path != GENERATE else 422
        assert client.post(path, **request | {"headers": headers}).status_code in (422, expected)


def test_both_ways_to_send_the_key_are_declared() -> None:
    document = create(GeneratorSettings(_env_file=None, dry_run_mode=True)).openapi()
    assert document["components"]["securitySchemes"].keys() == {"Bearer", "ApiKey"}
    for path, methods in document["paths"].items():
        for operation in methods.values():
            expected = [{"Bearer": []}, {"ApiKey": []}] if path.startswith("/api/") else None
            assert operation.get("security") == expected, path


def test_wrong_keys_from_all_of_loopback_share_one_limit(
    start_service: StartService, mocks: dict[str, RunningService]
) -> None:
    service = start_service("generator", **DRY_RUN, **addresses(mocks), RATE_LIMIT_PER_MINUTE="3", API_KEY=KEY)
    statuses = []
    for number in range(2, 7):
        transport = httpx.HTTPTransport(local_address=f"127.0.0.{number}")
        with httpx.Client(base_url=service.url, transport=transport, timeout=20) as client:
            statuses.append(client.get("/api/v2/templates", headers={"X-API-Key": "guess"}).status_code)
    assert statuses == [401, 401, 401, 429, 429]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("127.0.0.1", "127.9.9.9", True),
        ("127.0.0.1", "::1", True),
        ("127.0.0.1", "::ffff:127.0.0.2", True),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "127.0.0.1", False),
    ],
)
def test_addresses_that_a_client_chooses_freely_are_one_client(one: str, other: str, same: bool) -> None:
    assert (network_of(one) == network_of(other)) is same


def test_keys_never_appear_in_the_log(locked: RunningService) -> None:
    post(locked, headers={"X-API-Key": KEY})
    post(locked, headers={"X-API-Key": "wrong-key-of-a-stranger"})
    assert "API key" in locked.log()
    assert KEY not in locked.log()
    assert "wrong-key-of-a-stranger" not in locked.log()


def test_a_wrong_key_is_refused_even_if_no_key_is_needed(generator: RunningService) -> None:
    assert post(generator, headers={"Authorization": "Bearer invalid_key"}).status_code == 401
    assert post(generator).status_code == 200


def test_a_key_may_contain_any_letters_and_surrounding_blanks_are_ignored(
    start_service: StartService, mocks: dict[str, RunningService]
) -> None:
    service = start_service("generator", **DRY_RUN, **addresses(mocks), API_KEY=" schlüssel-ключ ")
    key = "schlüssel-ключ".encode()
    for headers in ({b"X-API-Key": key}, {b"Authorization": b"Bearer  " + key}):
        assert post(service, headers=headers).status_code == 200


def test_a_blank_key_gives_no_access() -> None:
    keys = ApiKeys("  ", None)
    assert [keys.role_of(key) for key in (None, "", "  ")] == [None, None, None]


def test_the_rate_is_limited_per_key(start_service: StartService, mocks: dict[str, RunningService]) -> None:
    service = start_service("generator", **DRY_RUN, **addresses(mocks), API_KEY=KEY, RATE_LIMIT_PER_MINUTE="3")
    statuses = [post(service, headers={"X-API-Key": KEY}).status_code for _ in range(4)]
    assert statuses == [200, 200, 200, 429]
    limited = post(service, headers={"X-API-Key": KEY})
    assert 1 <= int(limited.headers["Retry-After"]) <= 20
    assert post(service, headers={"X-API-Key": "other"}).status_code == 401
    with service.client() as client:
        assert client.get("/health").status_code == 200


def test_the_generator_stays_alive_but_unready_if_the_database_is_unavailable(
    mocks: dict[str, RunningService], start_service: StartService
) -> None:
    service = start_service("generator", **DRY_RUN, **addresses(mocks))
    before = counted(mocks)
    database = service.project / "data" / "generator.db"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("ALTER TABLE generations RENAME TO elsewhere")
    response = post(service, {})
    assert (response.status_code, counted(mocks)) == (503, before)
    assert "database" in response.json()["detail"]
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("ALTER TABLE elsewhere RENAME TO generations")
    assert post(service, {}).status_code == 200
