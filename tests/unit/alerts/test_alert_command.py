"""`toombos alert` as a person meets it."""

import json
import signal
import subprocess
import sys

import pytest

from tests.conftest import wait_for
from tests.unit.alerts.conftest import SECRET, add_alerts, wait_until_quiet
from toombos_cli.alerts.ledger_file import read_ledger
from toombos_cli.alerts.receiver import events_of
from toombos_cli.project.alert_spool import AlertDirectory


def test_a_test_message_says_for_each_channel_that_it_arrived(alerting, toombos, webhook):
    done = toombos("alert", "test")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("PASS  hook: 1 attempt")
    assert webhook.titles == ["[P3] toombos: Test alert"]


def test_a_channel_that_refuses_is_exit_1_with_the_reason_and_without_the_secret(alerting, toombos, webhook):
    webhook.statuses = [401] * 5
    done = toombos("alert", "test", "--json")
    assert done.returncode == 1
    (outcome,) = json.loads(done.stdout)["data"]["channels"]
    assert (outcome["delivered"], outcome["attempts"]) == (False, 3)
    assert "401" in outcome["reason"]
    assert SECRET not in done.stdout + done.stderr


def test_a_secret_that_is_stored_encrypted_is_used_in_clear(alerting, toombos, webhook):
    from toombos_cli.settings.encryption import encrypt

    key = "k" * 20 + "0123456789abcdefghij"
    (alerting / ".env").write_text(f"API_KEY_ENCRYPTION_KEY={key}\nHOOK_URL={encrypt(webhook.url, key)}\n")
    assert toombos("alert", "test").returncode == 0
    assert len(webhook.received) == 1
    (alerting / ".env").write_text(f"HOOK_URL={encrypt(webhook.url, key)}\n")
    done = toombos("alert", "test")
    assert done.returncode == 3
    assert "HOOK_URL is not set, or cannot be decrypted" in done.stderr


def test_no_channel_is_a_warning_that_says_how_to_get_one(project, toombos):
    done = toombos("alert", "test")
    assert done.returncode == 0
    assert "no channel carries P3" in done.stdout
    assert "[alerts.channels.NAME]" in done.stderr


@pytest.mark.parametrize(
    ("url", "message"),
    [("${MISSING}", "MISSING is not set"), ("nosuch://host", "no service that apprise knows")],
)
def test_a_channel_that_cannot_be_used_is_exit_3(project, toombos, url, message):
    add_alerts(project, url=url)
    done = toombos("alert", "test")
    assert done.returncode == 3
    assert f"alerts.channels.hook: {message}" in " ".join(done.stderr.split()).replace("its url is of ", "")


def test_an_unknown_severity_is_exit_2(project, toombos):
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


def test_status_lists_what_has_not_ended(alerting, toombos, webhook):
    toombos("alert", "send", "the queue is full", "--key", "queue")
    wait_for(lambda: webhook.received, what="the message")
    wait_until_quiet(alerting)
    done = toombos("alert", "status")
    assert "P2" in done.stdout
    assert "the queue is full" in done.stdout
    toombos("alert", "send", "fine", "--key", "queue", "--resolved")
    wait_until_quiet(alerting)
    assert "no open alerts" in toombos("alert", "status").stdout


# -- the receiver of Alertmanager's webhook

FIRING = {
    "status": "firing",
    "labels": {"alertname": "MockDown", "severity": "P2", "service": "crm"},
    "annotations": {"summary": "crm (a mock) does not answer", "runbook": "docs/monitoring-runbook.md#mockdown"},
}


def test_a_firing_alert_becomes_an_event_with_its_severity():
    (event,) = events_of({"alerts": [FIRING]})
    assert (event.severity, event.resolved) == ("P2", False)
    assert event.title == "MockDown: crm (a mock) does not answer"
    assert "runbook: docs/monitoring-runbook.md#mockdown" in event.body


def test_problem_and_recovery_have_the_same_key_and_another_service_has_another():
    other = FIRING | {"labels": FIRING["labels"] | {"service": "platform"}}
    problem, recovery, stranger = events_of({"alerts": [FIRING, FIRING | {"status": "resolved"}, other]})
    assert problem.key == recovery.key != stranger.key
    assert recovery.resolved


@pytest.mark.parametrize("severity", [None, "critical", 7, ""])
def test_a_severity_that_is_not_ours_is_p2(severity):
    alert = FIRING | {"labels": {"alertname": "Foreign", "severity": severity}}
    assert events_of({"alerts": [alert]})[0].severity == "P2"


@pytest.mark.parametrize("body", [{}, {"alerts": 3}, {"alerts": ["x"]}, {"alerts": [{"status": "firing"}]}])
def test_what_is_no_webhook_is_refused(body):
    with pytest.raises(ValueError, match=r"alerts|alert"):
        events_of(body)


@pytest.fixture
def receiver(alerting):
    """`toombos alert serve` as a process; yields its URL."""
    from toombos_cli.manifest.reading.loader import load_manifest

    url = load_manifest(alerting).services["alerts"].url
    process = subprocess.Popen([sys.executable, "-P", "-m", "toombos_cli", "--project", alerting, "alert", "serve"])
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


def test_the_receiver_hands_alerts_on_and_counts_deliveries(receiver, webhook):
    import httpx

    before = _get(receiver + "/metrics").text
    assert 'toombos_alert_deliveries_total{channel="hook",outcome="gave-up"} 0.0' in before
    answer = httpx.post(receiver + "/alertmanager", json={"alerts": [FIRING]}, trust_env=False)
    assert (answer.status_code, answer.json()) == (200, {"accepted": 1})
    wait_for(lambda: webhook.received, what="the message")
    delivered = 'toombos_alert_deliveries_total{channel="hook",outcome="delivered"} 1.0'
    wait_for(lambda: delivered in _get(receiver + "/metrics").text, what="the count")
    assert 'toombos_alert_incidents{severity="P2"} 1.0' in _get(receiver + "/metrics").text


@pytest.mark.parametrize(
    ("method", "path", "content", "status"),
    [
        ("POST", "/alertmanager", b"not json", 400),
        ("POST", "/alertmanager", b"[]", 400),
        ("POST", "/elsewhere", b"{}", 404),
        ("GET", "/elsewhere", b"", 404),
    ],
)
def test_the_receiver_refuses_with_a_reason(receiver, method, path, content, status):
    import httpx

    answer = httpx.request(method, receiver + path, content=content, trust_env=False)
    assert answer.status_code == status
    assert answer.json()["detail"]


@pytest.fixture
def prometheus(alerting, httpserver):
    """The manifest's Prometheus is the test's server, which is not healthy at first."""
    with (alerting / "toombos.toml").open("a") as file:
        file.write(f'[services.prometheus]\nhost = "{httpserver.host}"\nport = {httpserver.port}\n')
    return httpserver


def test_an_end_that_prometheus_does_not_confirm_is_not_told(prometheus, receiver, alerting, webhook):
    """Alertmanager takes for ended what a Prometheus that hangs does not repeat."""
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


def test_a_supervised_receiver_uses_the_secrets_that_stand_in_env_now(alerting, webhook, monkeypatch):
    """Its environment holds those of its start, and would beat the file."""
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
    ids=["no title", "a duration without its trouble", "two severities"],
)
def test_a_contradictory_alert_is_refused_and_nothing_is_raised(arguments, words, toombos, project):
    done = toombos("alert", "send", *arguments)
    assert (done.returncode, words in done.stderr) == (2, True)
    assert not (project / "run" / "alerts").exists()


def test_a_title_of_several_lines_is_told_in_one(alerting, toombos, webhook):
    assert toombos("alert", "send", "disk full:\n  /data").returncode == 0
    wait_for(lambda: webhook.titles, what="the message")
    assert webhook.titles == ["[P2] toombos: disk full: /data"]
    wait_until_quiet(alerting)


def test_another_user_is_told_that_nothing_was_handed_over_and_that_nothing_can_be_read(
    alerting, toombos, as_another_user
):
    (alerting / ".env").unlink()
    assert toombos("alert", "send", "disk full").returncode == 0
    wait_for(lambda: read_ledger(alerting).incidents, what="the incident")
    wait_until_quiet(alerting)
    sent, listed = as_another_user("alert", "send", "not heard"), as_another_user("alert", "status")
    assert (sent.returncode, sent.stdout) == (4, ""), sent.stderr
    assert "the alert could not be handed over" in sent.stderr
    assert (listed.returncode, listed.stdout) == (4, "")
    assert "the open alerts cannot be read: Permission denied" in listed.stderr


def test_a_damaged_ledger_is_no_empty_one(alerting, toombos):
    directory = AlertDirectory(alerting)
    directory.path.mkdir(parents=True)
    directory.ledger.write_text('{"incidents": {')
    done = toombos("alert", "status")
    assert (done.returncode, "it is damaged" in done.stderr) == (4, True)
    assert toombos("alert", "send", "disk full").returncode == 0
    wait_for(lambda: read_ledger(alerting).incidents, what="the incident")
    wait_until_quiet(alerting)
    assert "disk full" in toombos("alert", "status").stdout
