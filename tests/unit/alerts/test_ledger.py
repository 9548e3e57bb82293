"""Which alerts become messages: repeats, worsening, recovery, the limit and its summary."""

import pytest

from toombos_cli.alerts.ledger import Ledger
from toombos_cli.manifest.tables.alerts import Alerts, Severity
from toombos_cli.manifest.tables.escalation import Trouble, severity_of
from toombos_cli.project.alert_spool import AlertEvent

NOW = 1_800_000_000.0
RULES = Alerts(repeat_after_s=600, max_per_hour=3)


def event(key="crm", severity=Severity.P2, resolved=False):
    return AlertEvent(key=key, source="test", severity=severity, title=f"{key} is down", resolved=resolved, at=NOW)


def sent(ledger, *steps, rules=RULES):
    """Return the kinds and severities of the messages for steps of (seconds after the first, event)."""
    found = []
    for after_s, what in steps:
        found += [(m.kind, m.severity.value) for m in ledger.judge([what], NOW + after_s, rules)]
    return found


P1, P2 = Severity.P1, Severity.P2
HISTORIES = {
    "a problem is reported once": ([(0, event()), (5, event()), (300, event())], [("problem", "P2")]),
    "a lasting problem is reported again after the pause": ([(0, event()), (600, event())], [("problem", "P2")] * 2),
    "a worse problem is reported at once": (
        [(0, event()), (5, event(severity=P1))],
        [("problem", "P2"), ("problem", "P1")],
    ),
    "a milder problem is not reported again": ([(0, event(severity=P1)), (5, event(severity=P2))], [("problem", "P1")]),
    "a recovery is reported": ([(0, event()), (5, event(resolved=True))], [("problem", "P2"), ("recovery", "P2")]),
    "a recovery has the severity that was reported": (
        [(0, event(severity=P1)), (5, event()), (9, event(resolved=True))],
        [("problem", "P1"), ("recovery", "P1")],
    ),
    "a recovery is reported once": (
        [(0, event()), (5, event(resolved=True)), (6, event(resolved=True))],
        [("problem", "P2"), ("recovery", "P2")],
    ),
    "the recovery of an unknown problem is silent": ([(0, event(resolved=True))], []),
    "a problem after a recovery is a new problem": (
        [(0, event()), (1, event(resolved=True)), (2, event())],
        [("problem", "P2"), ("recovery", "P2"), ("problem", "P2")],
    ),
    "two keys make two problems": ([(0, event("a")), (0, event("b"))], [("problem", "P2")] * 2),
    "no more messages than the limit": ([(0, event(str(n))) for n in range(9)], [("problem", "P2")] * 3),
    "an hour later messages are sent again": (
        [(0, event(str(n))) for n in range(9)] + [(3600, event("later"))],
        [("problem", "P2")] * 4,
    ),
    "the recovery of a problem that was held back is silent": (
        [*((0, event(str(n))) for n in range(4)), (3600, event("3", resolved=True))],
        [("problem", "P2")] * 3,
    ),
}


@pytest.mark.parametrize(("steps", "expected"), HISTORIES.values(), ids=HISTORIES.keys())
def test_a_history_of_events_makes_the_expected_messages(steps, expected):
    assert sent(Ledger(), *steps) == expected


def test_a_storm_makes_messages_up_to_the_limit_and_one_summary_afterwards():
    ledger = Ledger()
    messages = ledger.judge([event(str(n)) for n in range(1000)], NOW, RULES)
    assert len(messages) == 3
    assert ledger.summary(NOW + 1) is None
    summary = ledger.summary(NOW + 5)
    assert summary is not None
    assert "997 more alerts were held back (997 P2)" in summary.title
    assert "3 is down" in summary.body
    assert ledger.summary(NOW + 6) is None


def test_a_lasting_storm_is_summarised_after_a_minute_and_then_every_quarter_of_an_hour():
    ledger, times = Ledger(), []
    for second in range(3600):
        ledger.judge([event(str(second))], NOW + second, RULES)
        if ledger.summary(NOW + second):
            times.append(second)
    assert times == [63, 963, 1863, 2763]


@pytest.mark.parametrize(("critical", "severity"), [(10, "P1"), (11, "P0")])
def test_more_than_ten_critical_alerts_make_the_summary_p0(critical, severity):
    ledger = Ledger()
    ledger.judge([event(str(n), P1) for n in range(critical)], NOW, RULES)
    summary = ledger.summary(NOW + 10)
    assert summary is not None
    assert summary.severity == severity


def test_the_message_of_a_lasting_problem_gives_its_duration():
    ledger = Ledger()
    ledger.judge([event()], NOW, RULES)
    (message,) = ledger.judge([event()], NOW + 3660, RULES)
    assert message.title == "crm is down (for 1 h 1 min)"


GUIDE = [
    (Trouble.COMPLETE_FAILURE, 299, "P1"),
    (Trouble.COMPLETE_FAILURE, 300, "P0"),
    (Trouble.DATA_CORRUPTION, 0, "P0"),
    (Trouble.SECURITY_BREACH, 0, "P0"),
    (Trouble.ALERT_STORM, 0, "P0"),
    (Trouble.DEGRADATION, 1799, "P2"),
    (Trouble.DEGRADATION, 1800, "P1"),
    (Trouble.MOCK_FAILURE, 899, "P3"),
    (Trouble.MOCK_FAILURE, 900, "P2"),
    (Trouble.MONITORING_FAILURE, 0, "P2"),
    (Trouble.CONFIGURATION, 0, "P3"),
]


@pytest.mark.parametrize(("trouble", "lasting_s", "severity"), GUIDE)
def test_the_severity_follows_the_escalation_table_of_the_guide(trouble, lasting_s, severity):
    assert severity_of(trouble, lasting_s=lasting_s) == severity


def test_lesser_alerts_do_not_hold_back_a_worse_one():
    ledger = Ledger()
    lesser = [(0, event(str(n), Severity.P3)) for n in range(9)]
    assert sent(ledger, *lesser, (1, event("worst", Severity.P0))) == [("problem", "P3")] * 3 + [("problem", "P0")]


def test_a_summary_names_the_worst_alerts_held_back():
    ledger = Ledger()
    sent(ledger, *((0, event(f"p1-{n}", P1)) for n in range(3)), (0, event("minor")), (0, event("major", P1)))
    twin = AlertEvent(key="twin", source="test", severity=P1, title="major is down", at=NOW)
    sent(ledger, (1, twin))  # a repeated title is named once
    summary = ledger.summary(NOW + 100)
    assert summary.body.splitlines()[:2] == ["P1: major is down", "P2: minor is down"]
    assert summary.command == ("alert", "status")


def from_alertmanager(episode, key="crm", resolved=False):
    return AlertEvent(
        key=key, source="alertmanager", severity=P2, title="down", resolved=resolved, episode=episode, at=NOW
    )


def test_a_problem_that_ended_unnoticed_and_began_again_is_reported_again():
    """A restarted Alertmanager forgets what fires, so no recovery comes, and the next alert has a later start."""
    ledger = Ledger()
    steps = [(0, from_alertmanager("02:00")), (60, from_alertmanager("02:00")), (120, from_alertmanager("02:30"))]
    assert sent(ledger, *steps) == [("problem", "P2"), ("problem", "P2")]


def test_a_problem_that_alertmanager_stops_repeating_is_closed_and_reported_once():
    ledger = Ledger()
    sent(ledger, (0, from_alertmanager("02:00")), (600, from_alertmanager("02:00")))
    assert ledger.overdue(NOW + 1800) == ()
    assert ledger.overdue(NOW + 1900) == ("crm",)
    (message,) = ledger.judge([], NOW + 1900, RULES)
    assert (message.kind, message.title) == ("recovery", "No longer reported: down (last 21 min 40 s ago)")
    assert ledger.judge([], NOW + 2000, RULES) == ()
    assert ledger.incidents == {}


def test_a_problem_that_a_supervisor_raised_once_stays_open():
    ledger = Ledger()
    sent(ledger, (0, event()))
    assert ledger.overdue(NOW + 86400) == ()


def undelivered(ledger, *steps):
    """Like `sent`, with no channel taking a message before second 1000."""
    found = []
    for after_s, what in steps:
        for message in ledger.judge([what] if what else [], NOW + after_s, Alerts()):
            found.append((after_s, message.kind, message.title))
            if after_s < 1000:
                ledger.undelivered(message, NOW + after_s)
    return found


def test_an_undelivered_problem_is_sent_again_after_minutes_however_often_it_is_raised():
    raised = [(second, event(severity=Severity.P0)) for second in range(0, 1600, 60)]
    assert undelivered(Ledger(), *raised) == [
        (0, "problem", "crm is down"),
        (300, "problem", "crm is down (for 5 min)"),
        (600, "problem", "crm is down (for 10 min)"),
        (900, "problem", "crm is down (for 15 min)"),
        (1200, "problem", "crm is down (for 20 min)"),
    ]


def test_an_undelivered_problem_is_sent_again_by_the_next_sender():
    ledger = Ledger()
    assert undelivered(ledger, (0, event()), (1000, None)) == [
        (0, "problem", "crm is down"),
        (1000, "problem", "crm is down (for 16 min 40 s)"),
    ]
    assert ledger.untaken(NOW + 9999) == ()


def test_a_problem_that_gets_worse_does_not_wait_for_the_pause():
    steps = [(0, event()), (10, event(severity=P1)), (20, event(severity=P1))]
    assert [after_s for after_s, *_ in undelivered(Ledger(), *steps)] == [0, 10]


def test_the_recovery_of_an_undelivered_problem_is_reported():
    steps = [(0, event()), (1000, event(resolved=True))]
    assert undelivered(Ledger(), *steps)[-1] == (1000, "recovery", "Recovered: crm is down (after 16 min 40 s)")


def test_an_undelivered_message_does_not_count_against_the_limit():
    ledger = Ledger()
    for number in range(9):
        (message,) = ledger.judge([event(str(number))], NOW + number, RULES)
        ledger.undelivered(message, NOW + number)
    assert ledger.withheld.count == 0
