"""Request handling that all services share: ids, limits, errors, metrics, log lines, health."""

import io
import json
import logging
import re
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import httpx
import pytest
from fastapi import APIRouter
from prometheus_client.parser import text_string_to_metric_families
from pydantic import BaseModel, Field

from services.common import logs
from services.common.answers import ComponentHealth, HealthStatus, ReadyCheck
from services.common.app import create_app
from services.common.settings import ServiceSettings
from tests.services.conftest import serve

LIMIT = 2048


class Settings(ServiceSettings):
    port: int = 0
    max_body_bytes: int = LIMIT
    environment: str = "test"


class Note(BaseModel):
    text: str = Field(max_length=LIMIT)  # without any bound, pydantic accepts lone surrogates


def app(**options: Any) -> Any:
    router = APIRouter()

    @router.post("/notes/{number}")
    async def write(number: int, note: Note) -> Note:
        return note

    @router.get("/notes/{number}")
    async def read(number: int) -> Note:
        raise ZeroDivisionError("the password is swordfish")

    settings = Settings(_env_file=None)
    return create_app(settings, service="notes", title="Notes", routers=[router], **options)


@pytest.fixture
def notes() -> Iterator[httpx.Client]:
    with serve(app()) as client:
        yield client


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[dict[str, Any]]]:
    """Return the lines that a service would have written to stdout."""
    stream = io.BytesIO()
    lines = logs.JsonLines(stream, secrets=("swordfish",))
    monkeypatch.setattr(logs, "_lines", lines)
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [logs.JsonHandler(lines)])
    monkeypatch.setattr(root, "level", logging.INFO)
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def post(
    notes: httpx.Client, content: bytes | Iterator[bytes], content_type: str = "application/json"
) -> httpx.Response:
    return notes.post("/notes/1", content=content, headers={"Content-Type": content_type})


def test_a_request_id_is_generated_or_taken_from_the_request(notes: httpx.Client) -> None:
    made_up = [notes.get("/live").headers["X-Request-ID"] for _ in range(2)]
    assert len(set(made_up)) == 2
    assert notes.get("/live", headers={"X-Request-ID": "order-7.a"}).headers["X-Request-ID"] == "order-7.a"


@pytest.mark.parametrize("request_id", ["", "with space", "x" * 129, '"quoted"', "schön".encode().decode("latin-1")])
def test_a_harmful_request_id_is_replaced(notes: httpx.Client, request_id: str) -> None:
    response = notes.get("/live", headers={"X-Request-ID": request_id.encode("latin-1")})
    assert response.headers["X-Request-ID"] != request_id
    assert len(response.headers["X-Request-ID"]) == 32


BODIES = {
    "broken JSON": (b'{"text": "x"', 422),
    "empty": (b"", 422),
    "not UTF-8": (b'{"text": "\xff"}', 400),
    "a lone surrogate": (b'{"text": "\\ud800"}', 422),
    "a wrong type": (b'{"text": 7}', 422),
    "not an object": (b"[]", 422),
    # Since 3.12 the parser has a deeper stack: it reads to the end and reports the missing brackets.
    "nested too deeply": (b"[" * 1000, 422 if sys.version_info >= (3, 12) else 400),
}


@pytest.mark.parametrize("case", BODIES)
def test_a_malformed_body_is_a_4xx_with_detail(notes: httpx.Client, case: str) -> None:
    body, status = BODIES[case]
    response = post(notes, body)
    assert response.status_code == status
    assert response.json()["detail"]


def test_a_refusal_does_not_echo_the_request(notes: httpx.Client) -> None:
    assert "swordfish" not in post(notes, b'{"text": ["swordfish"]}').text


@pytest.mark.parametrize("chunked", [False, True], ids=["with Content-Length", "chunked"])
@pytest.mark.parametrize(("size", "status"), [(LIMIT, 200), (LIMIT + 1, 413), (LIMIT * 500, 413)])
def test_a_body_over_the_limit_is_refused(notes: httpx.Client, size: int, status: int, chunked: bool) -> None:
    frame = b'{"text": ""}'
    body = frame[:-2] + b"x" * (size - len(frame)) + frame[-2:]
    response = post(notes, iter([body[: size // 2], body[size // 2 :]]) if chunked else body)
    assert response.status_code == status
    if status == 413:
        assert response.json() == {"detail": f"The body is larger than {LIMIT} bytes"}
        assert response.headers["X-Request-ID"]


def test_unknown_paths_and_methods_get_a_json_response(notes: httpx.Client) -> None:
    missing = notes.get("/nothing")
    assert (missing.status_code, missing.json()) == (404, {"detail": "Not Found"})
    wrong = notes.delete("/notes/1")
    assert (wrong.status_code, wrong.json()) == (405, {"detail": "Method Not Allowed"})
    assert wrong.headers["Allow"] == "GET, POST"


def test_a_bug_is_a_500_and_only_the_log_has_its_message(
    notes: httpx.Client, log: Callable[[], list[dict[str, Any]]]
) -> None:
    response = notes.get("/notes/1", headers={"X-Request-ID": "r1"})
    assert response.status_code == 500
    assert "ZeroDivision" not in response.text
    error = next(line for line in log() if "exception" in line)
    assert "ZeroDivisionError: the password is ***" in error["exception"], "a secret is not masked"
    assert (error["level"], error["request_id"]) == ("ERROR", "r1")


def test_every_request_is_one_log_line_without_its_query(
    notes: httpx.Client, log: Callable[[], list[dict[str, Any]]]
) -> None:
    post(notes, b'{"text": "x"}')
    notes.get("/nothing?key=abcdef", headers={"X-Request-ID": "r2"})
    first, second = (line for line in log() if line["logger"] == "services.requests")
    assert (first["level"], first["message"], first["status"]) == ("INFO", "POST /notes/1 200", 200)
    assert second.keys() >= {"timestamp", "level", "logger", "message", "request_id", "method", "path", "duration_ms"}
    assert (second["path"], second["request_id"]) == ("/nothing", "r2")


def test_health_polls_are_not_logged_at_info(notes: httpx.Client, log: Callable[[], list[dict[str, Any]]]) -> None:
    for path in ("/health", "/live", "/ready", "/metrics"):
        notes.get(path)
    assert [line for line in log() if line["logger"] == "services.requests"] == []


def samples(notes: httpx.Client) -> dict[tuple[str, ...], float]:
    families = text_string_to_metric_families(notes.get("/metrics").text)
    return {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}


def test_requests_are_counted_by_route_template(notes: httpx.Client) -> None:
    for number in (1, 2, 3):
        notes.post(f"/notes/{number}", json={"text": "x"})
    notes.post("/notes/x", json={"text": "x"})
    found = samples(notes)
    assert found["http_requests_total", "POST", "/notes/{number}", "200"] == 3
    assert found["http_requests_total", "POST", "/notes/{number}", "422"] == 1
    assert found["http_request_duration_seconds_count", "POST", "/notes/{number}"] == 4
    assert found["app_info", "notes", app().version] == 1
    assert found["process_resident_memory_bytes",] > 10_000_000


def test_unknown_paths_and_methods_add_no_labels(notes: httpx.Client) -> None:
    for number in range(50):
        notes.get(f"/nothing/{number}")
        notes.request(f"M{number}", "/notes/1")
    labels = {labels[1:3] for labels in samples(notes) if labels[0] == "http_requests_total"}
    assert labels <= {
        ("GET", "(unmatched)"),
        ("OTHER", "/notes/{number}"),
        ("OTHER", "(unmatched)"),
        ("GET", "/metrics"),
    }


def check(name: str, *, ready: bool, required: bool = True) -> Callable[[], Awaitable[ReadyCheck]]:
    async def run() -> ReadyCheck:
        return ReadyCheck(name=name, ready=ready, message="", required=required)

    return run


@pytest.mark.parametrize(
    ("checks", "status"),
    [
        pytest.param([], 200, id="nothing to check"),
        pytest.param([check("a", ready=True)], 200, id="ready"),
        pytest.param([check("a", ready=True), check("b", ready=False)], 503, id="one not ready"),
        pytest.param([check("a", ready=False, required=False)], 200, id="one optional check not ready"),
    ],
)
def test_ready_depends_on_the_required_checks(checks: list[Any], status: int) -> None:
    with serve(app(readiness=checks)) as notes:
        response = notes.get("/ready")
        assert response.status_code == status
        assert response.json()["ready"] is (status == 200)
        assert len(response.json()["checks"]) == len(checks)


def component(status: HealthStatus) -> Callable[[], Awaitable[ComponentHealth]]:
    async def run() -> ComponentHealth:
        return ComponentHealth(name=status, status=status, message="", response_time_ms=1.5)

    return run


@pytest.mark.parametrize(
    ("components", "status", "http_status"),
    [
        pytest.param(["healthy", "healthy"], "healthy", 200, id="all healthy"),
        pytest.param(["degraded", "healthy"], "degraded", 200, id="one degraded"),
        pytest.param(["degraded", "unhealthy", "healthy"], "unhealthy", 503, id="one unhealthy"),
    ],
)
def test_health_equals_the_worst_component(components: list[str], status: str, http_status: int) -> None:
    with serve(app(health=[component(HealthStatus(name)) for name in components])) as notes:
        for path in ("/health", "/health/detailed"):
            response = notes.get(path)
            assert (response.status_code, response.json()["status"]) == (http_status, status)
        assert [part["name"] for part in response.json()["components"]] == components


def test_health_identifies_the_service_and_its_environment(notes: httpx.Client) -> None:
    response = notes.get("/health").json()
    keys = {"status", "service", "version", "environment", "timestamp", "uptime_seconds", "dry_run"}
    assert response.keys() == keys
    assert (response["service"], response["environment"], response["dry_run"]) == ("notes", "test", False)
    assert notes.get("/health/detailed").status_code == 404


def test_bytes_that_are_not_http_are_refused_and_the_service_keeps_running(notes: httpx.Client) -> None:
    with socket.create_connection((notes.base_url.host, notes.base_url.port or 0), timeout=5) as client:
        client.sendall(b"\x16\x03\x01\x00\xa5 hello\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 400")
    assert notes.get("/live").json()["alive"] is True


def test_the_page_of_the_api_needs_nothing_from_elsewhere(notes: httpx.Client) -> None:
    page = notes.get("/docs")
    assert page.status_code == 200
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert "/notes/{number}" in page.text
    assert not re.search(r"<script|<link|<img|src=|url\(|https?://", page.text)
    assert notes.get("/redoc").status_code == 404


STRANGE = ["lone surrogate", "huge integer", "number as a key", "unknown type", "not a number"]


@pytest.mark.parametrize("value", ["\ud800", 2**70, {1: 2}, {"nested": object()}, float("nan")], ids=STRANGE)
def test_any_logged_value_becomes_a_line_of_json(value: object) -> None:
    stream = io.BytesIO()
    logs.JsonLines(stream).write("INFO", "test", "message", {"value": value})
    assert json.loads(stream.getvalue())["message"] == "message"
