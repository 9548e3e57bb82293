"""The verdict on the body of a health response, whatever its status line claims."""

import gzip

import pytest

from tests.unit.probes.health_shapes import SHAPES, Shape
from toombos_cli.base.results import Verdict
from toombos_cli.manifest.tables.expectations import Expectation
from toombos_cli.manifest.tables.health_words import HealthWords, dictionary
from toombos_cli.probes import (
    Cause,
    HealthState,
    ProbeResult,
    Reason,
    health_state,
    health_verdict,
    is_ready,
    judge_health,
    read_json,
)
from toombos_cli.probes.health_document import judge_document

PLAIN = Expectation(path="/health")


def responded(shape: Shape, *, most_bytes: int = 1024 * 1024) -> ProbeResult:
    """Return the result of a probe that got this response; its content coding is already undone."""
    headers = {"content-type": shape.content_type} | {name.lower(): value for name, value in shape.headers.items()}
    body = gzip.decompress(shape.body) if "content-encoding" in headers else shape.body
    return ProbeResult(
        url=f"http://x{shape.path}",
        reason=Reason.OK if 200 <= shape.status < 300 else Reason.STATUS,
        http_status=shape.status,
        headers=tuple((name, value) for name, value in headers.items() if value),
        body=body[:most_bytes],
        truncated=len(body) > most_bytes,
    )


@pytest.mark.parametrize("shape", SHAPES, ids=[shape.name for shape in SHAPES])
def test_each_shape_of_response_is_judged_as_its_sender_means_it(shape):
    judged = judge_health(responded(shape), Expectation(path=shape.path))
    assert health_state(judged.reason, judged.cause) == shape.expected, judged.detail
    assert is_ready(judged.reason, judged.cause) == (shape.expected in ("well", "degraded"))
    assert bool(judged.detail) == (shape.expected != "well" or judged.reason is not Reason.OK) or shape.status >= 300
    assert judged.detail.isprintable()
    assert judged.note.isprintable()


JSON = (("content-type", "application/json"),)
# body, headers, (complaint if a status is expected, complaint if any body will do)
BODIES = {
    "status healthy": (b'{"status": "healthy"}', JSON, ("", "")),
    "ok in upper case": (b'{"status": "OK"}', JSON, ("", "")),
    "status true": (b'{"status": true}', JSON, ("", "")),
    "status unhealthy": (b'{"status": "unhealthy"}', JSON, ("says status 'unhealthy'",) * 2),
    "status degraded": (b'{"status": "degraded"}', JSON, ("says status 'degraded'",) * 2),
    "status unknown": (b'{"status": "unknown"}', JSON, ("says status 'unknown'",) * 2),
    "a status that means nothing": (b'{"status": "meh"}', JSON, ("says status 'meh'", "")),
    "JSON without a status": (b'{"database": "ok"}', JSON, ("has no `status`", "")),
    "a JSON list": (b"[1]", JSON, ("has no `status`", "")),
    "incomplete JSON": (b'{"status": "hea', JSON, ("not JSON",) * 2),
    "JSON nested too deeply": (b"[" * 100_000, JSON, ("nested too deeply",) * 2),
    "JSON that is not UTF-8": (b'{"status": "\xff"}', JSON, ("not JSON",) * 2),
    "an empty body": (b"", (), ("is empty", "")),
    "plain text": (b"Prometheus Server is Healthy.\n", (), ("not JSON", "")),
    "a web page": (b"<!DOCTYPE html><html>Log in</html>", (), ("not JSON", "web page")),
}


@pytest.mark.parametrize("expects", ["status", "any"])
@pytest.mark.parametrize(("body", "headers", "complaints"), BODIES.values(), ids=BODIES)
def test_a_2xx_response_is_healthy_only_if_its_body_says_so(body, headers, complaints, expects):
    result = ProbeResult(url="http://x/", reason=Reason.OK, http_status=200, body=body, headers=headers)
    judged = judge_health(result, PLAIN, expects=expects)
    complaint = complaints[expects == "any"]
    assert judged.reason is (Reason.BODY if complaint else Reason.OK)
    assert complaint in judged.detail


VERDICTS = {
    "ok": (Reason.OK, b"", Verdict.PASS),
    "slow": (Reason.SLOW, b"", Verdict.WARN),
    "degraded": (Reason.OK, b'{"status": "degraded"}', Verdict.WARN),
    "warn, the word of Consul": (Reason.OK, b'{"status": "warn"}', Verdict.WARN),
    "unhealthy": (Reason.OK, b'{"status": "unhealthy"}', Verdict.FAIL),
    "503 degraded": (Reason.STATUS, b'{"status": "degraded"}', Verdict.FAIL),
    "refused": (Reason.REFUSED, b"", Verdict.FAIL),
}


@pytest.mark.parametrize(("reason", "body", "verdict"), VERDICTS.values(), ids=VERDICTS)
def test_only_a_degraded_or_slow_200_response_is_a_warning(reason, body, verdict):
    judged = judge_health(ProbeResult(url="http://x/", reason=reason, http_status=200, body=body), PLAIN)
    assert health_verdict(judged.reason, judged.cause) is verdict


def test_an_unhealthy_body_outweighs_a_slow_response():
    result = ProbeResult(url="http://x/", reason=Reason.SLOW, http_status=200, body=b'{"status": "unhealthy"}')
    assert judge_health(result, PLAIN).reason is Reason.BODY


@pytest.mark.parametrize("reason", [Reason.REFUSED, Reason.TIMEOUT])
def test_a_failed_probe_keeps_its_reason(reason):
    result = ProbeResult(url="http://x/", reason=reason, detail="why", http_status=500, body=b'{"status": "unhealthy"}')
    assert judge_health(result, PLAIN, expects="status") is result


XML = (("content-type", "application/xml"),)
REFUSALS = {
    "a component of django-health-check": (
        503,
        JSON,
        b'{"status": "unhealthy", "checks": {"database": "unavailable: OperationalError", "cache": "working"}}',
        "HTTP 503: the body says status 'unhealthy', checks.database 'unavailable: OperationalError'",
    ),
    "a component of Spring": (
        503,
        (("content-type", "application/vnd.spring-boot.actuator.v3+json"),),
        b'{"status": "DOWN", "components": {"db": {"status": "DOWN"}, "disk": {"status": "UP"}}}',
        "HTTP 503: the body says status 'down', components.db.status 'down'",
    ),
    "a component alone": (
        500,
        JSON,
        b'{"checks": {"db": "ok", "mq": "down"}}',
        "HTTP 500: the body says checks.mq 'down'",
    ),
    "nothing but a word": (503, JSON, b'{"status": "starting"}', "HTTP 503: the body says status 'starting'"),
    "a word in XML": (503, XML, b"<a><status>DOWN</status></a>", "HTTP 503: the body says a.status 'down'"),
    "the message of a framework": (
        503,
        JSON,
        b'{"detail": "no database"}',
        "HTTP 503: the body says detail 'no database'",
    ),
    "a problem of RFC 9457": (
        503,
        (("content-type", "application/problem+json"),),
        b'{"status": 503, "title": "Service Unavailable", "detail": "no replica"}',
        "HTTP 503: the body says detail 'no replica'",
    ),
    "a nested error": (
        500,
        JSON,
        b'{"error": {"code": 500, "message": "disk full"}}',
        "HTTP 500: the body says error 'disk full'",
    ),
    "nothing but the status": (503, JSON, b'{"status": 503, "error": "Service Unavailable"}', "HTTP 503"),
    "health in a refusal": (401, JSON, b'{"status": "ok"}', "HTTP 401"),
    "a body that is no JSON": (502, JSON, b"{", "HTTP 502"),
    "a list": (502, JSON, b"[1]", "HTTP 502"),
    "no body": (502, (), b"", "HTTP 502"),
    "a web page": (503, (("content-type", "text/html"),), b"<html>no</html>", "HTTP 503"),
}


@pytest.mark.parametrize("keys", [{}, {"json": {"status": "ok"}}], ids=["alone", "with conditions"])
@pytest.mark.parametrize(("status", "headers", "body", "detail"), REFUSALS.values(), ids=REFUSALS)
def test_a_status_of_failure_is_shown_with_what_its_body_says(status, headers, body, detail, keys):
    result = ProbeResult(
        url="u", reason=Reason.STATUS, http_status=status, detail=f"HTTP {status}", headers=headers, body=body
    )
    judged = judge_health(result, Expectation(path="/health", **keys))
    assert (judged.reason, judged.cause, judged.detail) == (Reason.STATUS, None, detail)


@pytest.mark.parametrize("keys", [{"json": {"status": "ok"}}, {"text": "ok"}, {}], ids=["json", "text", "none"])
def test_a_body_that_the_probe_cannot_read_keeps_the_complaint_of_the_probe(keys):
    why = "the body is in the content coding snappy, which the request did not accept"
    result = ProbeResult(url="u", reason=Reason.BODY, cause=Cause.UNREADABLE, http_status=200, detail=why)
    assert judge_health(result, Expectation(path="/health", **keys)) is result


def test_a_long_plain_text_is_accepted_if_no_status_is_expected():
    headers = (("content-type", "text/plain; version=0.0.4"),)
    result = ProbeResult(
        url="http://x/", reason=Reason.OK, http_status=200, headers=headers, body=b"metric 1\n", truncated=True
    )
    assert judge_health(result, PLAIN) is result
    assert judge_health(result, PLAIN, expects="status").reason is Reason.BODY


def test_a_web_page_of_any_length_is_accepted_if_one_is_expected():
    page = ProbeResult(url="http://x/", reason=Reason.OK, http_status=200, body=b"<html>Welcome", truncated=True)
    assert judge_health(page, PLAIN, expects="page") is page
    assert judge_health(page, PLAIN).detail == "the body is a web page, not a health response"
    denied = ProbeResult(url="http://x/", reason=Reason.OK, http_status=200, body=b'{"status": "down"}')
    assert judge_health(denied, PLAIN, expects="page").reason is Reason.BODY


def test_a_truncated_body_is_not_a_health_response():
    result = ProbeResult(url="http://x/", reason=Reason.OK, http_status=200, body=b'{"a": 1}', truncated=True)
    assert "longer than 8 bytes" in judge_health(result, PLAIN).detail
    with pytest.raises(ValueError, match="longer than 8 bytes"):
        read_json(result)


OWN_WORDS = {
    "a word of one's own that is good": ({"well": ["groovy"]}, {"status": "Groovy"}, "well"),
    "a word of restriction that is good here": ({"well": ["yellow"]}, {"status": "yellow"}, "well"),
    "a good word that denies here": ({"down": ["active"]}, {"status": "ACTIVE"}, "down"),
    "a phrase with other separators": ({"starting": ["catching up"]}, {"status": "catching_up"}, "starting"),
    "a word that is degraded here": ({"degraded": ["Red"]}, {"status": "red"}, "degraded"),
}


@pytest.mark.parametrize(("lists", "document", "expected"), OWN_WORDS.values(), ids=OWN_WORDS)
def test_a_manifest_can_move_words(lists, document, expected):
    changes = HealthWords(**{name: tuple(words) for name, words in lists.items()})
    assert judge_document(document, dictionary([changes])).state == expected


def test_a_later_list_of_words_outweighs_an_earlier_one():
    words = dictionary([HealthWords(down=("meh",)), HealthWords(well=("MEH",))])
    assert words["meh"] == "well"


def test_an_unknown_word_is_good_and_noted():
    result = ProbeResult(url="u", reason=Reason.OK, http_status=200, body=b'{"status": "groovy"}', headers=JSON)
    judged = judge_health(result, PLAIN)
    assert (judged.reason, judged.detail) == (Reason.OK, "")
    assert "'groovy'" in judged.note


LONG = b'{"status": "ok", "n": 7, "list": [1, 2]}'
CONDITIONS = {
    "a status that is expected": ({"status": 503}, 503, LONG, Reason.OK, None),
    "one of several statuses": ({"status": (200, 204)}, 204, b"", Reason.OK, None),
    "a class of statuses": ({"status": "4xx"}, 401, b"", Reason.OK, None),
    "another status": ({"status": 204}, 200, b"", Reason.STATUS, None),
    "another class": ({"status": "2xx"}, 503, b"", Reason.STATUS, None),
    "a status without regard to the body": ({"status": 200}, 200, b'{"status": "DOWN"}', Reason.OK, None),
    "a value that is there": ({"json": {"n": 7}}, 200, LONG, Reason.OK, None),
    "a condition that holds": ({"json": {"n": {"min": 7}, "list": {"length": 2}}}, 200, LONG, Reason.OK, None),
    "a value that differs": ({"json": {"n": 8}}, 200, LONG, Reason.BODY, Cause.UNEXPECTED),
    "a value that is not there": ({"json": {"x.y": 8}}, 200, LONG, Reason.BODY, Cause.UNEXPECTED),
    "conditions on a body that is not JSON": ({"json": {"n": 7}}, 200, b"no", Reason.BODY, Cause.UNREADABLE),
    "conditions and a status of failure": ({"json": {"n": 7}}, 500, LONG, Reason.STATUS, None),
    "conditions with a status of failure that is expected": (
        {"status": 500, "json": {"n": 7}},
        500,
        LONG,
        Reason.OK,
        None,
    ),
    "a text that matches": ({"text": "^ready$"}, 200, b"ready", Reason.OK, None),
    "a text that matches a web page": ({"text": "Welcome"}, 200, b"<html>Welcome</html>", Reason.OK, None),
    "a text that does not match": ({"text": "^ready$"}, 200, b"not ready", Reason.BODY, Cause.UNEXPECTED),
}


@pytest.mark.parametrize(("keys", "status", "body", "reason", "cause"), CONDITIONS.values(), ids=CONDITIONS)
def test_conditions_in_the_manifest_decide_alone(keys, status, body, reason, cause):
    made = Reason.OK if status < 300 else Reason.STATUS
    result = ProbeResult(url="u", reason=made, http_status=status, body=body, latency_ms=3.0)
    judged = judge_health(result, Expectation(path="/health", **keys), slow_after_ms=100)
    assert (judged.reason, judged.cause) == (reason, cause), judged.detail
    assert bool(judged.detail) == (reason is not Reason.OK)


def test_a_response_that_meets_its_conditions_late_is_slow():
    result = ProbeResult(url="u", reason=Reason.STATUS, http_status=503, latency_ms=200.0)
    assert judge_health(result, Expectation(status=503), slow_after_ms=100).reason is Reason.SLOW


def test_a_body_that_is_cut_off_names_the_key_that_allows_more():
    result = ProbeResult(url="u", reason=Reason.OK, http_status=200, body=b'{"status"', headers=JSON, truncated=True)
    judged = judge_health(result, PLAIN)
    assert judged.cause is Cause.UNREADABLE
    assert "body_max" in judged.detail


def test_a_document_that_is_wider_or_deeper_than_any_is_judged_in_little_time():
    wide = {"components": {str(n): {"status": "UP"} for n in range(200_000)}}
    assert judge_document(wide, dictionary()).state == "well"


def test_only_an_unwell_service_is_not_ready():
    judged = {state: ProbeResult(url="u", reason=Reason.BODY, cause=Cause(value)) for state, value in STATES.items()}
    assert [is_ready(r.reason, r.cause) for r in judged.values()] == [False, True, False]
    assert [health_verdict(r.reason, r.cause) for r in judged.values()] == [Verdict.FAIL, Verdict.WARN, Verdict.FAIL]


STATES = {HealthState.STARTING: "starting", HealthState.DEGRADED: "degraded", HealthState.DOWN: "unwell"}
