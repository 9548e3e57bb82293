"""The facts of the healthy system with one thing changed: the cause that is named, and the fix that mends it."""

import copy
from collections.abc import Callable

import pytest

from tests.faults.diagnose.conftest import Values
from tests.faults.diagnose.test_every_check import HELD, POSTGRES, both, logged, probed, put, service
from toombos_cli.base.findings import Finding
from toombos_cli.base.redaction import Redactor
from toombos_cli.diagnose.checks import CHECKS
from toombos_cli.diagnose.facts.source import SavedFacts
from toombos_cli.diagnose.incident import make_incident
from toombos_cli.diagnose.issue import make_issue
from toombos_cli.diagnose.report import DiagnoseReport
from toombos_cli.diagnose.run import Diagnosis, judge
from toombos_cli.manifest.model import Manifest

Healthy = tuple[Manifest, Values, float]
Change = Callable[[Values, float], None]

GONE = {"pid": 0, "pids": [], "holder": None, "ours": False, "listens_at": [], "desired": False}


def diagnosed(found: Healthy, change: Change) -> DiagnoseReport:
    manifest, values, now = found
    values = copy.deepcopy(values)
    change(values, now)
    return judge(SavedFacts(manifest, values, now=now), CHECKS, CHECKS, Redactor())


def first_root(found: Healthy, change: Change) -> Finding:
    return diagnosed(found, change).root_findings[0]


def roots(found: Healthy, change: Change) -> tuple[str, ...]:
    return diagnosed(found, change).roots


def answers(reason: str, status: int | None, detail: str = "") -> Change:
    return probed("crm", reason=reason, http_status=status, detail=detail or f"HTTP {status}")


ANSWERS = {
    "no-route": (answers("status", 404), "no route GET /health", "health in [services.crm]"),
    "asks-for-a-key": (answers("status", 401), "asks for a key", "without a key"),
    "redirect": (answers("status", 302), "no redirects", "redirects to"),
    "own-verdict": (answers("status", 503), "says itself", "logs crm --errors"),
    "web-page": (answers("body", 200, "the body is a web page, not a health answer"), "catches all", "health in"),
    "hung-up": (answers("reset", None, "the connection was reset"), "hung up", "logs crm --errors"),
    "tls": (answers("tls", None, "the port speaks TLS, and the URL says http"), "agree on TLS", 'scheme = "https"'),
    "certificate": (answers("tls", None, "certificate not accepted: expired"), "expired", "renew it"),
    "name": (answers("dns", None, "crm.test does not resolve"), "resolver", "host in [services.crm]"),
}


@pytest.mark.parametrize("row", ANSWERS)
def test_an_answer_that_is_not_well_has_the_cause_and_the_fix_of_its_kind(row: str, healthy: Healthy):
    change, cause, fix = ANSWERS[row]
    root = first_root(healthy, change)
    assert (root.id, cause in root.cause, fix in root.fix) == ("http.status", True, True), root


def failed_start(detail: str) -> Change:
    """A start that crm failed, and that took the others down with it."""
    stopped = both(*(service(name, phase="stopped", **GONE) for name in ("platform", "generator")))
    return both(
        stopped,
        service("crm", **(GONE | {"phase": "failed", "detail": detail, "last_lines": ["listening on 0"]})),
        *(
            probed(name, reason="refused", http_status=None, latency_ms=None)
            for name in ("crm", "platform", "generator")
        ),
    )


def test_after_a_failed_start_the_fix_starts_all_that_it_took_down(healthy: Healthy):
    root = first_root(healthy, failed_start("not ready after 60 s: nothing listens on port 1 yet"))
    assert (root.id, root.pasteable) == ("proc.missing", True)
    assert root.fix.endswith((" start", " start --dry-run"))
    conflict = both(failed_start("port 9 is taken"), service("crm", holder=HELD, managed=True))
    assert first_root(healthy, conflict).fix.endswith((" start", " start --dry-run"))


def test_a_service_that_failed_without_an_error_in_its_log_shows_what_it_said_last(healthy: Healthy):
    line = {"path": "crm.log", "line": 9, "offset": 0, "at": None, "error": False, "startup": True}
    said = put("logs.crm.last", [line | {"text": "listening on 0"}])
    quiet = put("logs.crm.entries", [])
    root = first_root(healthy, both(failed_start("not ready after 60 s"), said, quiet))
    assert ("crm.log:9", "listening on 0") in [(e.place, e.text) for e in root.evidence]


@pytest.mark.parametrize(
    ("database", "root"),
    [
        ({"ping": "database disk image is malformed"}, "db.ping"),
        ({"permission": "/x is not writable"}, "db.perm"),
        (POSTGRES | {"reached": "refused", "ping": "refused"}, "db.service"),
    ],
)
def test_a_start_that_waited_for_the_database_in_vain_is_explained_by_it(healthy: Healthy, database: Values, root: str):
    def change(values: Values, now: float) -> None:
        values["database"][0].update(database)

    failed = service("generator", **(GONE | {"phase": "failed", "detail": "not ready after 60 s: /ready answered 503"}))
    unanswered = probed("generator", reason="refused", http_status=None, latency_ms=None)
    assert roots(healthy, both(failed, unanswered, change)) == (root,)
    stopped = service("generator", **(GONE | {"phase": "stopped", "detail": ""}))
    assert roots(healthy, both(stopped, unanswered, change)) == (root, "proc.missing")


def test_a_service_that_failed_after_warnings_alone_shows_the_last_of_them(healthy: Healthy):
    warned = logged("crm", "WARNING http://d/doc.md: All connection attempts failed", error=False)
    root = first_root(healthy, both(failed_start("not ready after 60 s"), put("logs.crm.entries", []), warned))
    assert "WARNING http://d/doc.md: All connection attempts failed" in [e.text for e in root.evidence]


def test_a_service_that_is_slow_behind_a_suspended_one_is_explained_by_it(healthy: Healthy):
    late = probed("generator", reason="slow", latency_ms=2507.0, detail="answered after 2507 ms, more than 2000 ms")
    silent = probed("crm", reason="timeout", http_status=None, latency_ms=None)
    assert roots(healthy, both(service("crm", suspended=True), silent, late)) == ("proc.stopped",)


@pytest.mark.parametrize(
    ("detail", "key"),
    [
        ("its command 'python9' was not found", "command"),
        ("its command './run' cannot be run: Permission denied", "command"),
        ("its working directory /x/y does not exist", "cwd"),
    ],
)
def test_what_cannot_be_run_is_to_be_corrected_not_started_again(healthy: Healthy, detail: str, key: str):
    root = first_root(healthy, failed_start(detail))
    assert (root.id, root.pasteable) == ("proc.missing", False)
    assert root.fix.startswith(f"correct {key} in [services.crm]")


def test_the_lines_of_one_traceback_count_once_and_the_message_is_whole(healthy: Healthy):
    lines = ("Traceback (most recent call last):", "BrokenPipeError: [Errno 32] Broken pipe")
    once = first_root(healthy, logged("generator", "2026-11-25 22:04:11,158 ERROR a.b order failed", *lines))
    assert once.reason == "generator logged once: BrokenPipeError: [Errno 32] Broken pipe"
    twice = first_root(healthy, both(logged("generator", *lines, ago_s=0.9), logged("generator", *lines, ago_s=0.5)))
    assert "logged 2 times" in twice.reason


@pytest.mark.parametrize(("offset", "begin", "found"), [(10, 20, False), (20, 20, True), (10, 9000, True)])
def test_a_line_without_a_time_is_of_this_life_when_it_stands_behind_the_start(
    healthy: Healthy, offset: int, begin: int, found: bool
):
    """The last row: the log is shorter than it was at the start, so it was rotated."""

    def change(values: Values, now: float) -> None:
        line = {"path": values["logs"]["crm"]["path"], "line": 1, "offset": offset, "at": None, "error": True}
        values["logs"]["crm"].update(size_bytes=1000, entries=[line | {"startup": False, "text": "ERROR it broke"}])
        values["system"]["services"]["crm"]["log_offset"] = begin

    assert roots(healthy, change) == (("log.errors",) if found else ())


def test_an_incident_begins_in_the_present_life_of_what_is_concerned(healthy: Healthy):
    manifest, values, now = healthy
    values = copy.deepcopy(values)
    both(
        put("logs.crm.entries", []),
        logged("generator", "ERROR of an earlier life", ago_s=7200),
        logged("crm", "ERROR of an earlier life", ago_s=7200),
        logged("crm", "INFO stopped", error=False, ago_s=40),
        service("crm", phase="stopped", **GONE),
        probed("crm", reason="refused", http_status=None, latency_ms=None),
    )(values, now)
    facts = SavedFacts(manifest, values, now=now)
    report = judge(facts, CHECKS, CHECKS, Redactor())
    incident = make_incident(Diagnosis(report=report, facts=facts, redactor=Redactor()))
    assert incident.duration_s == 40.0
    assert not [event for event in incident.timeline if "earlier life" in event.text]
    assert "last sign of crm in its log" in [event.text for event in incident.timeline]


def test_an_issue_quotes_the_logs_of_the_services_that_it_is_about(healthy: Healthy):
    manifest, values, now = healthy
    values = copy.deepcopy(values)
    logged("platform", "ERROR of another service and another day", ago_s=3600)(values, now)

    def quoted() -> str:
        facts = SavedFacts(manifest, values, now=now)
        report = judge(facts, CHECKS, CHECKS, Redactor())
        return "\n".join(make_issue(Diagnosis(report=report, facts=facts, redactor=Redactor())).logs)

    assert "another day" in quoted()
    both(service("crm", suspended=True), logged("crm", "ERROR of the one that is suspended", ago_s=3600))(values, now)
    assert "the one that is suspended" in quoted()
    assert "another day" not in quoted()
