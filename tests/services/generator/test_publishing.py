"""Publishing over a bad network: retries, lost responses, circuit breaker, bounded concurrency."""

import asyncio
import socket
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import httpx
import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from services.generator.outgoing.circuit_breaker import CircuitBreaker, CircuitOpenError, CircuitState
from services.generator.outgoing.client import build_client
from services.generator.outgoing.retry import AttemptsFailedError, RetryPolicy, send_with_retry
from services.generator.publishing.target import PublishError, PublishTarget
from tests.services.conftest import StartService
from tests.support.servers import answer, serve_tls

QUICK = RetryPolicy(attempts=4, base_delay_s=0.001, max_delay_s=0.05)


class Sender:
    """A sender that returns the given responses in order and records the pauses between them."""

    def __init__(self, *responses: int | httpx.Response | Exception) -> None:
        self._responses = list(responses)
        self.pauses_s: list[float] = []
        self.sent = 0

    async def send(self) -> httpx.Response:
        self.sent += 1
        response = self._responses.pop(0)
        if isinstance(response, Exception):
            raise response
        return httpx.Response(response) if isinstance(response, int) else response

    async def sleep(self, delay_s: float) -> None:
        self.pauses_s.append(delay_s)

    def run(self, policy: RetryPolicy = RetryPolicy(), breaker: CircuitBreaker | None = None) -> httpx.Response:  # noqa: B008  (frozen)
        return asyncio.run(send_with_retry(self.send, target="CRM", policy=policy, breaker=breaker, sleep=self.sleep))


@pytest.mark.parametrize("failure", [408, 429, 500, 502, 503, 504, httpx.ConnectError("x"), httpx.ReadTimeout("x")])
def test_a_temporary_failure_is_retried(failure: int | Exception) -> None:
    sender = Sender(failure, failure, 200)
    assert sender.run().status_code == 200
    assert sender.sent == 3


@pytest.mark.parametrize("status", [200, 201, 204, 400, 401, 403, 404, 409, 422])
def test_a_definite_response_is_not_retried(status: int) -> None:
    sender = Sender(status, 200)
    assert sender.run().status_code == status
    assert sender.sent == 1


def test_attempts_are_bounded_and_pauses_grow_up_to_a_bound() -> None:
    sender = Sender(*[503] * 10)
    policy = RetryPolicy(attempts=5, base_delay_s=1, max_delay_s=4)
    with pytest.raises(AttemptsFailedError, match=r"CRM: HTTP 503 \(5 attempts\)"):
        sender.run(policy)
    assert sender.sent == 5
    for pause_s, longest_s in zip(sender.pauses_s, (1, 2, 4, 4), strict=True):
        assert longest_s / 2 <= pause_s <= longest_s


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_a_retry_waits_for_the_time_in_retry_after(form: str) -> None:
    value = "3" if form == "seconds" else format_datetime(datetime.now(UTC) + timedelta(seconds=4), usegmt=True)
    sender = Sender(httpx.Response(429, headers={"Retry-After": value}), 200)
    sender.run()
    assert 2 <= sender.pauses_s[0] <= 4


def test_a_retry_after_longer_than_the_maximum_pause_ends_the_attempts() -> None:
    sender = Sender(httpx.Response(503, headers={"Retry-After": "3600"}), 200)
    with pytest.raises(AttemptsFailedError, match="1 attempt"):
        sender.run()
    assert sender.pauses_s == []


@pytest.mark.parametrize("value", ["soon", "Mon, 01 Jan 99999999999 00:00:00 GMT", "Mon, 01 Jan 2026 00:00:00 -0000"])
def test_a_retry_after_that_is_not_a_time_is_ignored(value: str) -> None:
    sender = Sender(httpx.Response(503, headers={"Retry-After": value}), 200)
    assert sender.run().status_code == 200


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_a_breaker_opens_after_consecutive_failures_and_closes_after_a_successful_trial() -> None:
    clock = Clock()
    breaker = CircuitBreaker("CRM", failures_to_open=2, open_s=10, clock=clock)
    breaker.admit(), breaker.fail()
    breaker.admit(), breaker.succeed()
    breaker.admit(), breaker.fail()
    assert breaker.state is CircuitState.CLOSED
    breaker.admit(), breaker.fail()
    assert breaker.state is CircuitState.OPEN
    with pytest.raises(CircuitOpenError, match="possible in 10 s"):
        breaker.admit()
    clock.now_s = 10
    assert breaker.state is CircuitState.HALF_OPEN
    breaker.admit()
    with pytest.raises(CircuitOpenError):
        breaker.admit()  # one trial at a time
    breaker.fail()
    assert breaker.state is CircuitState.OPEN
    clock.now_s = 20
    breaker.admit(), breaker.release()  # an abandoned trial makes room for another
    breaker.admit(), breaker.succeed()
    assert breaker.state is CircuitState.CLOSED


def test_an_open_breaker_keeps_requests_from_the_target() -> None:
    breaker = CircuitBreaker("CRM", failures_to_open=3, open_s=60)
    sender = Sender(*[503] * 10)
    with pytest.raises(CircuitOpenError):
        sender.run(RetryPolicy(attempts=5), breaker)
    assert sender.sent == 3
    with pytest.raises(CircuitOpenError):
        sender.run(RetryPolicy(attempts=5), breaker)
    assert sender.sent == 3


def test_a_refused_request_does_not_open_the_breaker() -> None:
    breaker = CircuitBreaker("CRM", failures_to_open=1)
    Sender(422).run(breaker=breaker)
    assert breaker.state is CircuitState.CLOSED


def publish(base_url: str, *, times: int = 1, slots: int = 10) -> list[dict[str, object]]:
    """Return the responses to `times` different publications at once."""

    async def run() -> list[dict[str, object]]:
        client = build_client(
            guarded=True, allowed_hosts=frozenset(), max_connections=50, timeout_s=5, count_refusal=lambda: None
        )
        async with client:
            target = PublishTarget(
                "CRM",
                base_url=base_url,
                api_key=None,
                client=client,
                slots=asyncio.Semaphore(slots),
                breaker=CircuitBreaker("CRM", failures_to_open=1000),
                policy=QUICK,
            )
            body = {"subject": "News", "html_content": "<p>x</p>"}
            return await asyncio.gather(
                *(target.publish("/api/v1/email/send", body, idempotency_key=f"k{n}") for n in range(times))
            )

    return asyncio.run(run())


def test_all_attempts_of_a_publication_have_the_same_idempotency_key(httpserver: HTTPServer) -> None:
    for status in (500, 429, 200):
        httpserver.expect_ordered_request("/api/v1/email/send").respond_with_json({"message_id": "m"}, status=status)
    assert publish(httpserver.url_for("")) == [{"message_id": "m"}]
    assert [request.headers["Idempotency-Key"] for request, _ in httpserver.log] == ["k0"] * 3


def test_concurrent_requests_never_exceed_the_slots(httpserver: HTTPServer) -> None:
    running, most, lock = 0, 0, threading.Lock()

    def respond(_: Request) -> Response:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.02)  # the target is busy, and other requests could arrive
        with lock:
            running -= 1
        return Response("{}", content_type="application/json")

    httpserver.expect_request("/api/v1/email/send").respond_with_handler(respond)
    assert len(publish(httpserver.url_for(""), times=12, slots=3)) == 12
    assert 1 <= most <= 3


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (400, '{"detail": "bad subject"}', "HTTP 400: bad subject"),
        (404, "<html>", "HTTP 404"),
        (200, "<html>", "without a JSON object"),
        (200, "[]", "without a JSON object"),
        (500, '{"detail": "Simulated CRM error"}', r"HTTP 500: Simulated CRM error \(4 attempts\)"),
        (302, "", "HTTP 302"),
    ],
)
def test_a_refusal_by_the_target_is_reported_with_its_reason(
    httpserver: HTTPServer, status: int, body: str, reason: str
) -> None:
    httpserver.expect_request("/api/v1/email/send").respond_with_data(body, status=status)
    with pytest.raises(PublishError, match=f"CRM: .*{reason}"):
        publish(httpserver.url_for(""))


@pytest.mark.parametrize(
    ("body", "headers", "reason"),
    [
        pytest.param(
            b"no gzip", {"Content-Encoding": "gzip"}, r"incorrect header check.* \(4 attempts\)", id="compressed"
        ),
        pytest.param(b"[" * 100_000, {}, "without a JSON object", id="nested too deeply"),
        pytest.param(b"\xff", {}, "without a JSON object", id="not text"),
    ],
)
def test_a_response_that_cannot_be_read_is_a_failed_publication(
    httpserver: HTTPServer, body: bytes, headers: dict[str, str], reason: str
) -> None:
    httpserver.expect_request("/api/v1/email/send").respond_with_data(body, headers=headers)
    with pytest.raises(PublishError, match=f"CRM: .*{reason}"):
        publish(httpserver.url_for(""))


def test_a_certificate_from_an_unknown_authority_is_refused(tmp_path: Path) -> None:
    async def get(port: int) -> None:
        client = build_client(
            guarded=False, allowed_hosts=frozenset(), max_connections=1, timeout_s=5, count_refusal=lambda: None
        )
        async with client:
            await client.get(f"https://localhost:{port}/")

    with serve_tls(answer(), tmp_path) as port, pytest.raises(httpx.ConnectError, match="certificate verify failed"):
        asyncio.run(get(port))


class AnswerLosingProxy:
    """A proxy to `port` that drops the first `losses` responses to POST requests, which the target has carried out."""

    def __init__(self, port: int, *, losses: int) -> None:
        self.lost = 0
        self._port = port
        self._losses = losses
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> "AnswerLosingProxy":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        posting = threading.Event()
        with suppress(OSError), client, socket.create_connection(("127.0.0.1", self._port)) as upstream:
            threading.Thread(target=self._pass_requests, args=(client, upstream, posting), daemon=True).start()
            while chunk := upstream.recv(65536):
                if posting.is_set() and self._lose():
                    client.shutdown(socket.SHUT_RDWR)
                    return
                client.sendall(chunk)

    def _lose(self) -> bool:
        with self._lock:
            lose = self.lost < self._losses
            self.lost += lose
        return lose

    @staticmethod
    def _pass_requests(client: socket.socket, upstream: socket.socket, posting: threading.Event) -> None:
        with suppress(OSError):
            while data := client.recv(65536):
                if data.startswith(b"POST "):
                    posting.set()
                elif data.startswith(b"GET "):
                    posting.clear()
                upstream.sendall(data)
            upstream.shutdown(socket.SHUT_WR)


def test_a_retry_after_a_lost_response_does_not_publish_twice(start_service: StartService) -> None:
    crm, platform = start_service("crm"), start_service("platform")
    with AnswerLosingProxy(crm.port, losses=2) as to_crm, AnswerLosingProxy(platform.port, losses=3) as to_platform:
        generator = start_service(
            "generator", DRY_RUN_MODE="true", MOCK_CRM_BASE_URL=to_crm.url, MOCK_PLATFORM_BASE_URL=to_platform.url
        )
        with generator.client() as client:
            response = client.post("/api/v2/generate-content", json={"include_preview": False})
        assert (to_crm.lost, to_platform.lost) == (2, 3)
    assert response.json()["status"] == "success"
    with crm.client() as client:
        assert client.get("/api/v1/stats").json()["emails_sent"] == 1
    with platform.client() as client:
        stats = client.get("/api/v1/stats").json()
    assert (stats["content_published"], stats["social_posts"]) == (1, 4)
