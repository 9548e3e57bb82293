"""The verdict on the body of a health response, whatever its status line claims."""

import pytest

from toombos_cli.base.results import Verdict
from toombos_cli.probes import ProbeResult, Reason, health_verdict, judge_health, read_json

JSON = (("content-type", "application/json"),)
# body, headers, (complaint if a status is expected, complaint if any body will do)
BODIES = {
    "status healthy": (b'{"status": "healthy"}', JSON, ("", "")),
    "ok in upper case": (b'{"status": "OK"}', JSON, ("", "")),
    "status true": (b'{"status": true}', JSON, ("", "")),
    "status unhealthy": (b'{"status": "unhealthy"}', JSON, ("says status 'unhealthy'",) * 2),
    "status degraded": (b'{"status": "degraded"}', JSON, ("says status 'degraded'",) * 2),
    "status unknown": (b'{"status": "unknown"}', JSON, ("says status 'unknown'",) * 2),
    "a status that means nothing": (b'{"status": "meh"}', JSON, ("says status 'meh'",) * 2),
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
    judged = judge_health(result, expects=expects)
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
    judged = judge_health(ProbeResult(url="http://x/", reason=reason, body=body))
    assert health_verdict(judged.reason, judged.cause) is verdict


def test_an_unhealthy_body_outweighs_a_slow_response():
    result = ProbeResult(url="http://x/", reason=Reason.SLOW, http_status=200, body=b'{"status": "unhealthy"}')
    assert judge_health(result).reason is Reason.BODY


@pytest.mark.parametrize("reason", [Reason.STATUS, Reason.REFUSED, Reason.TIMEOUT])
def test_a_failed_probe_keeps_its_reason(reason):
    result = ProbeResult(url="http://x/", reason=reason, detail="why", body=b'{"status": "unhealthy"}')
    assert judge_health(result, expects="status") is result


def test_a_long_plain_text_is_accepted_if_no_status_is_expected():
    headers = (("content-type", "text/plain; version=0.0.4"),)
    result = ProbeResult(url="http://x/", reason=Reason.OK, headers=headers, body=b"metric 1\n", truncated=True)
    assert judge_health(result) is result
    assert judge_health(result, expects="status").reason is Reason.BODY


def test_a_web_page_of_any_length_is_accepted_if_one_is_expected():
    page = ProbeResult(url="http://x/", reason=Reason.OK, body=b"<html>Welcome", truncated=True)
    assert judge_health(page, expects="page") is page
    assert judge_health(page).detail == "the body is a web page, not a health response"
    denied = ProbeResult(url="http://x/", reason=Reason.OK, body=b'{"status": "down"}')
    assert judge_health(denied, expects="page").reason is Reason.BODY


def test_a_truncated_body_is_not_a_health_response():
    result = ProbeResult(url="http://x/", reason=Reason.OK, body=b'{"a": 1}', truncated=True)
    assert "longer than 8 bytes" in judge_health(result).detail
    with pytest.raises(ValueError, match="longer than 8 bytes"):
        read_json(result)
