"""From an alert that is raised to the message that arrives: real senders, a real receiver."""

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


def test_problem_repetition_and_recovery_are_two_messages(alerting, webhook):
    emit(alerting, problem(), problem())
    wait_for(lambda: webhook.received, what="the first message")
    emit(alerting, problem(), problem(resolved=True))
    wait_until_quiet(alerting)
    assert [title.split(" (after")[0] for title in webhook.titles] == [
        "[P1] toombos: crash-loop:crm happened",
        "[P1] toombos: Recovered: crash-loop:crm happened",
    ]


def test_a_storm_of_a_thousand_is_twenty_messages_and_one_summary(alerting, webhook):
    emit(alerting, *(problem(f"service-{number}") for number in range(1000)))
    wait_until_quiet(alerting)
    assert len(webhook.received) == 21
    assert webhook.titles[-1] == "[P0] toombos: Alert storm: 980 more alerts were held back (980 P1)"
    assert sum("raised" in line["message"] for line in log_lines(alerting, "service-")) == 1000


def test_alerts_of_many_processes_at_once_are_all_told_by_one_sender(alerting, webhook):
    emitters = [threading.Thread(target=emit, args=(alerting, problem(f"p{number}"))) for number in range(10)]
    for emitter in emitters:
        emitter.start()
    for emitter in emitters:
        emitter.join()
    wait_until_quiet(alerting)
    assert sorted(webhook.titles) == sorted(f"[P1] toombos: p{number} happened" for number in range(10))


def test_a_receiver_that_answers_500_is_tried_again_until_it_takes_the_message(alerting, webhook):
    webhook.statuses = [500, 503]
    emit(alerting, problem())
    wait_until_quiet(alerting)
    assert len(webhook.received) == 3
    (line,) = log_lines(alerting, '"delivered: ')
    assert line["attempts"] == 3
    assert read_ledger(alerting).deliveries == {"hook/delivered": 1}


def test_a_receiver_that_never_takes_it_is_given_up_after_the_attempts_and_logged_without_its_secret(alerting, webhook):
    webhook.statuses = [500] * 50
    emit(alerting, problem())
    wait_until_quiet(alerting)
    assert len(webhook.received) == 3
    (line,) = log_lines(alerting, "gave up")
    assert (line["level"], line["attempts"], line["channel"]) == ("ERROR", 3, "hook")
    assert line["reason"]
    assert SECRET not in (alerting / "logs" / "alerts.log").read_text()
    assert read_ledger(alerting).deliveries == {"hook/gave-up": 1}


def test_a_receiver_that_is_down_costs_three_attempts_for_the_first_and_one_for_each_other_message(project):
    add_alerts(project, url=f"json://127.0.0.1:{free_port()}/{SECRET}")
    emit(project, *(problem(f"p{number}") for number in range(4)))
    wait_until_quiet(project)
    assert [line["attempts"] for line in log_lines(project, "gave up")] == [3, 1, 1, 1]
    assert "connection error" in log_lines(project, "gave up")[0]["reason"].lower()


def test_whoever_raises_an_alert_does_not_wait_for_a_receiver_that_hangs(alerting, webhook):
    answered = threading.Event()
    webhook.before_answering = lambda: answered.wait(10)
    emit(alerting, problem("first"))
    emit(alerting, problem("second"))  # returns although the receiver has not answered the first
    assert not webhook.received
    answered.set()
    wait_until_quiet(alerting)
    assert len(webhook.received) >= 2


def test_a_receiver_that_sends_a_byte_at_a_time_is_given_up_in_time_and_does_not_hold_up_the_others(alerting, webhook):
    """Each byte comes well within the timeout between bytes, so only the limit of the whole attempt ends it."""
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
    assert outcomes["drip"]["reason"] == "no answer within 0.5 s"
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


def test_a_secret_that_stands_in_an_alert_does_not_leave_the_machine(alerting, webhook):
    with (alerting / ".env").open("a") as file:
        file.write("API_KEY=s3cr3t-api-key-0123456789\n")
    emit(alerting, problem(body="Authorization failed for s3cr3t-api-key-0123456789"))
    wait_until_quiet(alerting)
    assert webhook.received[0]["message"] == "Authorization failed for <API_KEY>"


def test_without_channels_alerts_are_logged(project):
    emit(project, problem())
    wait_until_quiet(project)
    assert log_lines(project, "raised")[0]["severity"] == "P1"


def test_a_channel_whose_secret_is_missing_is_named_in_the_log_and_nothing_is_lost_for_others(project):
    add_alerts(project, url="${NOWHERE_SET}")
    emit(project, problem())
    wait_until_quiet(project)
    assert "NOWHERE_SET is not set" in log_lines(project, "not sent")[0]["message"]


def test_what_a_killed_sender_left_is_told_by_the_next(alerting, webhook):
    """The ledger holds a message whose delivery had not ended, the spool's taken part an event not yet judged."""
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


def test_a_line_of_the_spool_that_is_no_alert_is_dropped_and_the_rest_told(alerting, webhook):
    directory = AlertDirectory(alerting)
    directory.path.mkdir(parents=True)
    directory.spool.write_bytes(b"{half a line\n")
    emit(alerting, problem("whole"))
    wait_until_quiet(alerting)
    assert webhook.titles == ["[P1] toombos: whole happened"]
    assert log_lines(alerting, "no alert and is dropped")


@pytest.mark.parametrize("path", ["run/alerts/spool.jsonl", "run/alerts/ledger.json", "logs/alerts.log"])
def test_what_alerts_leave_behind_is_private(alerting, path):
    emit(alerting, problem(), send=False)
    if path != "run/alerts/spool.jsonl":
        emit(alerting, problem())
        wait_until_quiet(alerting)
    assert (alerting / path).stat().st_mode & 0o777 == 0o600
    assert (alerting / "run" / "alerts").stat().st_mode & 0o777 == 0o700


def test_raising_an_alert_never_raises_an_error(project):
    (project / "run").write_text("a file where the directory should be")
    emit(project, problem())


def test_an_alert_that_can_be_neither_written_nor_handed_over_is_said_to_be_lost(project):
    assert emit(project, problem())
    wait_until_quiet(project)
    assert not emit(project / "toombos.toml", problem())
