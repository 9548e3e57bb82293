"""A channel that hangs, refuses or is unusable does not delay the others, and is not forgotten."""

import re
import socket
import threading
import time

import pytest

from tests.support.ports import free_port
from tests.support.waiting import wait_for
from tests.unit.alerts.conftest import SECRET, log_lines, wait_until_quiet
from toombos_cli.alerts.ledger_file import read_ledger, write_ledger
from toombos_cli.alerts.operations import run_status
from toombos_cli.alerts.receiver import metrics_text, waits_for_a_sender
from toombos_cli.manifest.reading.loader import load_manifest
from toombos_cli.manifest.tables.alerts import Severity
from toombos_cli.project.alert_spool import AlertDirectory, AlertEvent, begin_sender, emit


def problem(key, severity=Severity.P1):
    return AlertEvent(key=key, source="test", severity=severity, title=f"{key} happened")


def add_channel(project, name, url):
    with (project / "toombos.toml").open("a") as file:
        file.write(f'[alerts.channels.{name}]\nurl = "{url}"\n')


def test_a_channel_without_its_secret_does_not_stop_the_others(alerting, webhook):
    add_channel(alerting, "pager", "${NOWHERE_SET}")
    emit(alerting, problem("a"))
    wait_until_quiet(alerting)
    assert webhook.titles == ["[P1] toombos: a happened"]
    assert "NOWHERE_SET is not set" in log_lines(alerting, "not sent")[0]["message"]
    assert read_ledger(alerting).deliveries == {"hook/delivered": 1, "pager/gave-up": 1}


@pytest.fixture
def hanging():
    """Yield the URL of a receiver that accepts connections and never responds."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken, over = [], threading.Event()
        server.settimeout(0.1)

        def serve():
            while not over.is_set():
                try:
                    taken.append(server.accept()[0])
                except TimeoutError:
                    continue

        worker = threading.Thread(target=serve)
        worker.start()
        yield f"json://127.0.0.1:{server.getsockname()[1]}/"
        over.set()
        worker.join()
        for connection in taken:
            connection.close()


def test_a_later_alert_does_not_wait_for_a_channel_that_hangs(alerting, webhook, hanging):
    add_channel(alerting, "slow", hanging)
    emit(alerting, problem("first"))
    wait_for(lambda: webhook.titles, what="the first message")
    emit(alerting, problem("second", Severity.P0))  # the hanging channel takes 3 attempts of 2 s for the first
    wait_for(lambda: len(webhook.titles) == 2, what="the second message")
    assert read_ledger(alerting).deliveries.get("slow/gave-up") is None
    wait_until_quiet(alerting)
    assert read_ledger(alerting).deliveries == {"hook/delivered": 2, "slow/gave-up": 2}
    assert read_ledger(alerting).outbox == []


def test_a_channel_that_gave_up_stays_failing_until_a_message_arrives(alerting, toombos, webhook):
    manifest = load_manifest(alerting)
    failing = 'toombos_alert_channel_failing{channel="hook"} %s'
    assert failing % "0.0" in metrics_text(manifest).decode()
    webhook.statuses = [500] * 3
    emit(alerting, problem("a"))
    wait_until_quiet(alerting)
    assert failing % "1.0" in metrics_text(manifest).decode()
    assert [row.channel for row in run_status(manifest).failing] == ["hook"]
    assert run_status(manifest).verdict == "warn"

    assert toombos("alert", "test").returncode == 0
    assert failing % "0.0" in metrics_text(manifest).decode()
    assert run_status(manifest).failing == ()


def test_an_undelivered_message_arrives_once_a_channel_works_again(alerting, toombos, webhook):
    webhook.statuses = [429] * 3
    emit(alerting, problem("a", Severity.P0))
    wait_until_quiet(alerting)
    (incident,) = read_ledger(alerting).incidents.values()
    assert (incident.told_at, incident.untaken_at > 0) == (0.0, True)
    assert re.search("a happened .*no channel took it", toombos("alert", "status").stdout)

    ledger = read_ledger(alerting)
    ledger.incidents["a"].untaken_at -= 301
    write_ledger(AlertDirectory(alerting), ledger)
    begin_sender(alerting)  # as the alert receiver and any new alert do
    wait_for(lambda: len(webhook.titles) == 4, what="the message")
    wait_until_quiet(alerting)
    assert webhook.titles[-1].startswith("[P0] toombos: a happened")
    assert read_ledger(alerting).incidents["a"].untaken_at == 0.0


def test_a_message_that_one_of_two_channels_took_counts_as_delivered(alerting, webhook):
    add_channel(alerting, "pager", f"json://127.0.0.1:{free_port()}/")
    emit(alerting, problem("a"))
    wait_until_quiet(alerting)
    assert read_ledger(alerting).incidents["a"].untaken_at == 0.0


def test_the_receiver_starts_a_sender_for_undelivered_messages(alerting, webhook):
    manifest = load_manifest(alerting)
    assert not waits_for_a_sender(manifest)
    webhook.statuses = [500] * 3
    emit(alerting, problem("a"))
    wait_until_quiet(alerting)
    assert not waits_for_a_sender(manifest)
    ledger = read_ledger(alerting)
    ledger.incidents["a"].untaken_at -= 301
    write_ledger(AlertDirectory(alerting), ledger)
    assert waits_for_a_sender(manifest)


def test_a_failed_test_message_makes_its_channel_failing(alerting, toombos, webhook):
    webhook.statuses = [500] * 3
    assert toombos("alert", "test").returncode == 1
    assert read_ledger(alerting).failing.keys() == {"hook"}
    assert SECRET not in AlertDirectory(alerting).ledger.read_text()


def test_a_channel_removed_from_the_manifest_is_not_failing(alerting, webhook):
    add_channel(alerting, "gone", f"json://127.0.0.1:{free_port()}/")
    emit(alerting, problem("a"))
    wait_until_quiet(alerting)
    assert read_ledger(alerting).failing.keys() == {"gone"}
    text = (alerting / "toombos.toml").read_text()
    (alerting / "toombos.toml").write_text(text[: text.index("[alerts.channels.gone]")])
    emit(alerting, problem("b"))
    wait_until_quiet(alerting)
    assert read_ledger(alerting).failing == {}


def test_alerts_wait_for_a_broken_manifest_and_the_log_says_so(alerting, webhook):
    whole = (alerting / "toombos.toml").read_text()
    (alerting / "toombos.toml").write_text(whole.replace("max_per_hour", "max_per_our"))
    emit(alerting, problem("a"))
    (line,) = wait_for(lambda: log_lines(alerting, "alerts cannot be sent and are kept"), what="the line in the log")
    assert "max_per_our" in line["message"]
    (alerting / "toombos.toml").write_text(whole)
    emit(alerting, problem("b"))
    wait_until_quiet(alerting)
    assert webhook.titles == ["[P1] toombos: a happened", "[P1] toombos: b happened"]
    assert time.time() - read_ledger(alerting).incidents["a"].first_at < 300
