"""From raising an alert to the arrival of its message, with real senders and a real receiver."""

import contextlib
import json
import socket
import threading

import pytest

from tests.support.ports import free_port
from tests.support.waiting import wait_for
from tests.unit.alerts.conftest import SECRET, add_alerts, log_lines, wait_until_quiet
from toombos_cli.alerts.ledger_file import read_ledger
from toombos_cli.manifest.tables.alerts import Severity
from toombos_cli.project.alert_spool import AlertDirectory, AlertEvent, emit


def problem(key="crash-loop:crm", **fields):
    return AlertEvent(**({"key": key, "source": "test", "severity": Severity.P1, "title": f"{key} happened"} | fields))


def test_an_alert_arrives_with_severity_system_and_body(alerting, toombos, webhook):
    done = toombos("alert", "send", "the disk is full", "--severity", "P1", "--body", "df -h")
    assert done.returncode == 0, done.stderr
    wait_for(lambda: webhook.received, what="the message")
    (message,) = webhook.received
    assert message["title"] == "[P1] toombos: the disk is full"
    assert message["message"] == "df -h"
    wait_until_quiet(alerting)


def test_a_problem_a_repeat_and_a_recovery_make_two_messages(alerting, webhook):
    emit(alerting, problem(), problem())
    wait_for(lambda: webhook.received, what="the first message")
    emit(alerting, problem(), problem(resolved=True))
    wait_until_quiet(alerting)
    assert [title.split(" (after")[0] for title in webhook.titles] == [
        "[P1] toombos: crash-loop:crm happened",
        "[P1] toombos: Recovered: crash-loop:crm happened",
    ]


def test_a_storm_of_a_thousand_makes_twenty_messages_and_one_summary(alerting, webhook):
    emit(alerting, *(problem(f"service-{number}") for number in range(1000)))
    wait_until_quiet(alerting)
    assert len(webhook.received) == 21
    assert webhook.titles[-1] == "[P0] toombos: Alert storm: 980 more alerts were held back (980 P1)"
    assert sum("raised" in line["message"] for line in log_lines(alerting, "service-")) == 1000


def test_one_sender_delivers_the_alerts_of_many_threads_at_once(alerting, webhook):
    emitters = [threading.Thread(target=emit, args=(alerting, problem(f"p{number}"))) for number in range(10)]
    for emitter in emitters:
        emitter.start()
    for emitter in emitters:
        emitter.join()
    wait_until_quiet(alerting)
    assert sorted(webhook.titles) == sorted(f"[P1] toombos: p{number} happened" for number in range(10))


def test_a_receiver_that_returns_500_is_retried_until_it_accepts_the_message(alerting, webhook):
    webhook.statuses = [500, 503]
    emit(alerting, problem())
    wait_until_quiet(alerting)
    assert len(webhook.received) == 3
    (line,) = log_lines(alerting, '"delivered: ')
    assert line["attempts"] == 3
    assert read_ledger(alerting).deliveries == {"hook/delivered": 1}


def test_a_receiver_that_never_accepts_is_given_up_and_logged_without_its_secret(alerting, webhook):
    webhook.statuses = [500] * 50
    emit(alerting, problem())
    wait_until_quiet(alerting)
    assert len(webhook.received) == 3
    (line,) = log_lines(alerting, "gave up")
    assert (line["level"], line["attempts"], line["channel"]) == ("ERROR", 3, "hook")
    assert line["reason"]
    assert SECRET not in (alerting / "logs" / "alerts.log").read_text()
    assert read_ledger(alerting).deliveries == {"hook/gave-up": 1}


def test_a_receiver_that_is_down_costs_three_attempts_for_the_first_message_and_one_for_each_other(project):
    add_alerts(project, url=f"json://127.0.0.1:{free_port()}/{SECRET}")
    emit(project, *(problem(f"p{number}") for number in range(4)))
    wait_until_quiet(project)
    assert [line["attempts"] for line in log_lines(project, "gave up")] == [3, 1, 1, 1]
    assert "connection error" in log_lines(project, "gave up")[0]["reason"].lower()


def test_raising_an_alert_does_not_wait_for_a_receiver_that_hangs(alerting, webhook):
    released = threading.Event()
    webhook.before_responding = lambda: released.wait(10)
    emit(alerting, problem("first"))
    emit(alerting, problem("second"))  # returns before the receiver has responded to the first
    assert not webhook.received
    released.set()
    wait_until_quiet(alerting)
    assert len(webhook.received) >= 2


def test_a_receiver_that_sends_a_byte_at_a_time_is_given_up_in_time_and_delays_no_other(alerting, webhook):
    """Each byte arrives within the read timeout, so only the limit on the whole attempt ends it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        over = threading.Event()
        dripping = threading.Thread(target=_drip, args=(listener, over))
        dripping.start()
        url = f"json://127.0.0.1:{listener.getsockname()[1]}/x"
        text = (alerting / "toombos.toml").read_text().replace("timeout_s = 2", "timeout_s = 0.5")
        (alerting / "toombos.toml").write_text(f'{text}[alerts.channels.drip]\nurl = "{url}"\n')
        emit(alerting, problem())
        wait_until_quiet(alerting)
        over.set()
        dripping.join(10)
    outcomes = {line["channel"]: line for line in log_lines(alerting, '"channel"')}
    assert outcomes["drip"]["reason"] == "no response within 0.5 s"
    assert outcomes["hook"]["message"].startswith("delivered")
    assert len(webhook.received) == 1


def _drip(listener: socket.socket, over: threading.Event) -> None:
    listener.settimeout(0.1)
    open_connections = []
    while not over.wait(0.1):
        try:
            open_connections.append(listener.accept()[0])
            open_connections[-1].sendall(b"HTTP/1.1 200 OK\r\nX: ")
        except TimeoutError:
            pass
        for connection in open_connections:
            with contextlib.suppress(OSError):
                connection.sendall(b"x")
    for connection in open_connections:
        connection.close()


def test_a_channel_gets_only_the_severities_that_it_carries(alerting, webhook):
    add_severities = (alerting / "toombos.toml").read_text() + 'severities = ["P0"]\n'
    (alerting / "toombos.toml").write_text(add_severities)
    emit(alerting, problem("minor"), problem("major", severity=Severity.P0))
    wait_until_quiet(alerting)
    assert webhook.titles == ["[P0] toombos: major happened"]


def test_a_secret_in_an_alert_does_not_leave_the_machine(alerting, webhook):
    with (alerting / ".env").open("a") as file:
        file.write("API_KEY=s3cr3t-api-key-0123456789\n")
    emit(alerting, problem(body="Authorization failed for s3cr3t-api-key-0123456789"))
    wait_until_quiet(alerting)
    assert webhook.received[0]["message"] == "Authorization failed for <API_KEY>"


def test_without_channels_alerts_are_logged(project):
    emit(project, problem())
    wait_until_quiet(project)
    assert log_lines(project, "raised")[0]["severity"] == "P1"


def test_the_log_names_a_channel_whose_secret_is_missing(project):
    add_alerts(project, url="${NOWHERE_SET}")
    emit(project, problem())
    wait_until_quiet(project)
    assert "NOWHERE_SET is not set" in log_lines(project, "not sent")[0]["message"]


def test_the_next_sender_delivers_what_a_killed_one_left(alerting, webhook):
    """The ledger holds a message not yet delivered; the taken part of the spool, an event not yet judged."""
    directory = AlertDirectory(alerting)
    directory.path.mkdir(parents=True)
    unsent = {"kind": "problem", "severity": "P1", "title": "unsent"}
    directory.ledger.write_text(json.dumps({"outbox": [unsent]}))
    event = {"key": "k", "source": "test", "severity": "P2", "title": "unjudged", "at": 1.0}
    directory.taken.write_text(json.dumps(event) + "\n")
    emit(alerting, problem("new"))
    wait_until_quiet(alerting)
    assert sorted(webhook.titles) == [
        "[P1] toombos: new happened",
        "[P1] toombos: unsent",
        "[P2] toombos: unjudged",
    ]


def test_a_spool_line_that_is_not_an_alert_is_dropped_and_the_rest_delivered(alerting, webhook):
    directory = AlertDirectory(alerting)
    directory.path.mkdir(parents=True)
    directory.spool.write_bytes(b"{half a line\n")
    emit(alerting, problem("whole"))
    wait_until_quiet(alerting)
    assert webhook.titles == ["[P1] toombos: whole happened"]
    assert log_lines(alerting, "not an alert and is dropped")


@pytest.mark.parametrize("path", ["run/alerts/spool.jsonl", "run/alerts/ledger.json", "logs/alerts.log"])
def test_the_files_of_alerts_are_private(alerting, path):
    emit(alerting, problem(), send=False)
    if path != "run/alerts/spool.jsonl":
        emit(alerting, problem())
        wait_until_quiet(alerting)
    assert (alerting / path).stat().st_mode & 0o777 == 0o600
    assert (alerting / "run" / "alerts").stat().st_mode & 0o777 == 0o700


def test_raising_an_alert_never_raises_an_error(project):
    (project / "run").write_text("a file where the directory should be")
    emit(project, problem())


def test_an_alert_that_can_neither_be_stored_nor_be_passed_on_is_reported_as_lost(project):
    assert emit(project, problem())
    wait_until_quiet(project)
    assert not emit(project / "toombos.toml", problem())
