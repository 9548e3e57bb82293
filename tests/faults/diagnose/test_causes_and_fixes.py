"""One change to the facts of the healthy system: the reported cause and its fix."""

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


WORDS = "in words that no program knows"


def responds(reason: str, status: int | None, cause: str | None = None, detail: str = WORDS) -> Change:
    return probed("crm", reason=reason, http_status=status, cause=cause, detail=detail)


RESPONSES = {
    "there is no such route": (responds("status", 404), "no route GET /health", "health in [services.crm]"),
    "the route requires a key": (responds("status", 401), "requires a key", "without a key"),
    "the route redirects": (responds("status", 302), "do not follow redirects", "redirects to"),
    "the service reports itself unhealthy": (
        responds("status", 503),
        "reports that it is not well",
        "logs crm --errors",
    ),
    "the body is a web page": (responds("body", 200, "web-page"), "catch-all", "health in"),
    "the connection is closed": (responds("reset", None), "closed the connection", "logs crm --errors"),
    "TLS fails": (responds("tls", None), "agree on TLS", 'scheme = "https"'),
    "the certificate is invalid": (responds("tls", None, "certificate"), "expired", "renew it"),
    "it wants a client certificate": (responds("tls", None, "client-certificate"), "certificates", "client_cert in"),
    "it speaks HTTP/2 alone, in TLS": (responds("tls", None, "http2"), "HTTP/1.1", "http2 = true in [services.crm]"),
    "it speaks HTTP/2 alone": (responds("body", None, "http2"), "HTTP/1.1", "http2 = true in [services.crm]"),
    "the host name does not resolve": (responds("dns", None), "nor DNS", "host in [services.crm]"),
    "the body is not HTTP": (responds("body", None, "not-http"), "does not speak HTTP", 'scheme = "tcp"'),
    "the body is unhealthy and mentions a web page": (
        responds("body", 200, "unwell", "the body says status 'no web page, no certificate'"),
        "reports that it is not well",
        "logs crm --errors",
    ),
    "the handshake error mentions a certificate": (
        responds("tls", None, None, "TLS handshake failed: NO_CERTIFICATE, the certificate is asked for"),
        "agree on TLS",
        'scheme = "https"',
    ),
}


@pytest.mark.parametrize("row", RESPONSES)
def test_an_unhealthy_response_gets_the_cause_and_fix_for_its_kind(row: str, healthy: Healthy):
    change, cause, fix = RESPONSES[row]
    root = first_root(healthy, change)
    assert (root.id, cause in root.cause, fix in str(root.fix)) == ("http.status", True, True), root


def exit_code(code: int) -> dict[str, object]:
    """Return the record of a process that ended by itself."""
    return {"at": 0.0, "reason": "exit-code", "text": f"exited with code {code}", "exit_code": code}


def by_signal(name: str) -> dict[str, object]:
    """Return the record of a process that a signal ended."""
    return {"at": 0.0, "reason": "signal", "text": f"ended by {name}", "signal": name}


def failed_start(kind: str, detail: str = WORDS) -> Change:
    """Return a start that failed because of crm, so that the other services were stopped too."""
    stopped = both(*(service(name, phase="stopped", **GONE) for name in ("platform", "generator")))
    return both(
        stopped,
        service(
            "crm",
            **(GONE | {"phase": "failed", "failure_kind": kind, "detail": detail, "last_lines": ["listening on 0"]}),
        ),
        *(
            probed(name, reason="refused", http_status=None, latency_ms=None)
            for name in ("crm", "platform", "generator")
        ),
    )


def test_the_fix_for_a_failed_start_starts_all_stopped_services(healthy: Healthy):
    killed = both(failed_start("exited"), service("crm", last_end=by_signal("SIGKILL")))
    root = first_root(healthy, killed)
    assert (root.id, root.fix.safe) == ("proc.missing", True)
    assert root.fix.command.endswith((" start", " start --dry-run"))
    conflict = both(failed_start("port"), service("crm", holder=HELD, managed=True))
    assert first_root(healthy, conflict).fix.command.endswith((" start", " start --dry-run"))


def test_the_last_log_lines_are_the_evidence_if_a_failed_service_logged_no_error(healthy: Healthy):
    path = healthy[1]["logs"]["crm"]["path"]
    line = {"path": path, "line": 9, "offset": 10**9, "at": None, "error": False, "startup": True}
    last = put("logs.crm.last", [line | {"text": "listening on 0"}])
    quiet = put("logs.crm.entries", [])
    root = first_root(healthy, both(failed_start("timeout"), last, quiet))
    assert (f"{path}:9", "listening on 0") in [(e.place, e.text) for e in root.evidence]


@pytest.mark.parametrize(
    ("database", "root"),
    [
        ({"ping": WORDS, "damaged": True}, "db.ping"),
        ({"permission": "/x is not writable"}, "db.perm"),
        (POSTGRES | {"reached": "refused", "ping": "refused"}, "db.service"),
    ],
)
def test_a_start_that_timed_out_on_the_database_is_explained_by_the_database(
    healthy: Healthy, database: Values, root: str
):
    def change(values: Values, now: float) -> None:
        values["database"][0].update(database)

    failed = service("generator", **(GONE | {"phase": "failed", "failure_kind": "timeout", "detail": WORDS}))
    unanswered = probed("generator", reason="refused", http_status=None, latency_ms=None)
    assert roots(healthy, both(failed, unanswered, change)) == (root,)
    stopped = service("generator", **(GONE | {"phase": "stopped", "detail": ""}))
    assert roots(healthy, both(stopped, unanswered, change)) == (root, "proc.missing")


def test_the_last_warning_is_the_evidence_if_a_failed_service_logged_only_warnings(healthy: Healthy):
    warned = logged("crm", "WARNING http://d/doc.md: All connection attempts failed", error=False)
    root = first_root(healthy, both(failed_start("timeout"), put("logs.crm.entries", []), warned))
    assert "WARNING http://d/doc.md: All connection attempts failed" in [e.text for e in root.evidence]


def test_a_suspended_dependency_explains_a_slow_service(healthy: Healthy):
    late = probed("generator", reason="slow", latency_ms=2507.0, detail="answered after 2507 ms, more than 2000 ms")
    silent = probed("crm", reason="timeout", http_status=None, latency_ms=None)
    assert roots(healthy, both(service("crm", suspended=True), silent, late)) == ("proc.stopped",)


@pytest.mark.parametrize(
    ("kind", "key"),
    [("command", "command"), ("directory", "cwd")],
    ids=["the command does not exist", "the directory does not exist"],
)
def test_the_fix_for_a_service_that_cannot_run_is_to_correct_the_manifest(healthy: Healthy, kind: str, key: str):
    root = first_root(healthy, failed_start(kind))
    assert (root.id, root.fix.command) == ("proc.missing", "")
    assert root.fix.advice.startswith(f"correct {key} in [services.crm]")


def test_a_traceback_counts_as_one_error_and_its_message_is_complete(healthy: Healthy):
    lines = ("Traceback (most recent call last):", "BrokenPipeError: [Errno 32] Broken pipe")
    once = first_root(healthy, logged("generator", "2026-11-25 22:04:11,158 ERROR a.b order failed", *lines))
    assert once.reason == "generator logged once: BrokenPipeError: [Errno 32] Broken pipe"
    twice = first_root(healthy, both(logged("generator", *lines, ago_s=0.9), logged("generator", *lines, ago_s=0.5)))
    assert "logged 2 times" in twice.reason


@pytest.mark.parametrize(("offset", "begin", "found"), [(10, 20, False), (20, 20, True), (10, 9000, True)])
def test_a_log_line_without_a_time_counts_if_it_is_after_the_start_offset(
    healthy: Healthy, offset: int, begin: int, found: bool
):
    """In the last row the log is shorter than it was at the start, so it was rotated."""

    def change(values: Values, now: float) -> None:
        line = {"path": values["logs"]["crm"]["path"], "line": 1, "offset": offset, "at": None, "error": True}
        values["logs"]["crm"].update(size_bytes=1000, entries=[line | {"startup": False, "text": "ERROR it broke"}])
        values["system"]["services"]["crm"]["log_offset"] = begin

    assert roots(healthy, change) == (("log.errors",) if found else ())


def test_an_incident_ignores_the_earlier_runs_of_a_service(healthy: Healthy):
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


@pytest.mark.parametrize(
    ("ping", "is_damaged"),
    [(WORDS, True), ("its account is damaged, the name malformed", False)],
    ids=["the database is damaged", "the server only mentions damage"],
)
def test_the_severity_of_an_incident_depends_on_the_damage_and_not_on_the_message(
    healthy: Healthy, ping: str, is_damaged: bool
):
    manifest, values, now = healthy
    values = copy.deepcopy(values)
    values["database"][0].update(ping=ping, damaged=is_damaged)
    facts = SavedFacts(manifest, values, now=now)
    report = judge(facts, CHECKS, CHECKS, Redactor())
    assert report.roots == ("db.ping",)
    assert ("restore" in str(report.root_findings[0].fix)) is is_damaged
    incident = make_incident(Diagnosis(report=report, facts=facts, redactor=Redactor()))
    assert (incident.severity == "P0") is is_damaged


def test_an_issue_quotes_the_logs_of_the_affected_services(healthy: Healthy):
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


def ended(*lines: str, error: bool = True, **changes: object) -> Change:
    """Return a change that ends crm with these last lines."""

    def change(values: Values, now: float) -> None:
        service("crm", **(GONE | {"phase": "failed", "failure_kind": "exited", "last_end": exit_code(1)}))(values, now)
        probed("crm", reason="refused", http_status=None, latency_ms=None)(values, now)
        path = values["logs"]["crm"]["path"]
        found = [
            {"path": path, "line": n, "offset": n * 100, "at": None, "error": error, "startup": False, "text": text}
            for n, text in enumerate(lines, start=1)
        ]
        values["logs"]["crm"].update(entries=[], last=found, size_bytes=9000)
        values["system"]["services"]["crm"].update(log_offset=0, **changes)

    return change


LAST_WORDS: dict[str, tuple[tuple[str, ...], bool, str, str]] = {
    "a known error": (("ModuleNotFoundError: No module named 'shop_x'",), True, "log.missing_module", "pip install"),
    "a known error without a level": (("python3: No module named shop_x",), False, "log.missing_module", "pip install"),
    "an unknown error": (("FATAL: the flux is low",), True, "log.errors", "mend what it says"),
    "a known error before an unknown one": (
        ("MemoryError", "ERROR worker gave up"), True, "log.oom", "less memory"
    ),
    "words without an error": (("listening", "bye"), False, "proc.missing", "find out why"),
}  # fmt: skip


@pytest.mark.parametrize("row", LAST_WORDS)
def test_the_last_words_of_a_process_are_the_root_and_its_end_the_symptom(row: str, healthy: Healthy):
    lines, error, name, fix = LAST_WORDS[row]
    report = diagnosed(healthy, ended(*lines, error=error))
    assert report.roots == (name,), [(f.id, f.service, f.reason) for f in report.root_findings]
    (root,) = report.root_findings
    assert (root.service, root.verdict) == ("crm", "fail")
    assert fix in str(root.fix)
    assert root.fix.command == "", "a start alone would fail again"
    assert " start" in root.fix.advice


def test_errors_of_a_service_explain_its_5xx_and_not_the_other_way_round(healthy: Healthy):
    locked = logged("generator", "sqlite3.OperationalError: database is locked")
    ill = probed("generator", reason="status", http_status=503, detail="HTTP 503")
    report = diagnosed(healthy, both(locked, ill))
    assert report.roots == ("log.db",)
    assert [f.explained_by for f in report.findings if f.id == "http.status" and f.service == "generator"] == ["log.db"]
    assert report.root_findings[0].verdict == "fail"


def test_an_error_that_names_the_address_of_another_service_follows_from_that_one(healthy: Healthy):
    port = healthy[0].services["crm"].port
    refused = logged("generator", f"redis.exceptions.ConnectionError: Error 111 connecting to localhost:{port}.")
    ill = probed("generator", reason="status", http_status=503, detail="HTTP 503")
    (root,) = diagnosed(healthy, both(refused, ended("MemoryError"), ill)).root_findings
    assert (root.id, root.service) == ("log.oom", "crm")


def test_an_error_about_another_program_is_a_finding_about_that_service(healthy: Healthy):
    full = "redis.exceptions.OutOfMemoryError: command not allowed when used memory > 'maxmemory'."

    def is_redis(values: Values, now: float) -> None:
        line = dict(values["logs"]["crm"]["last"][-1])
        line["text"] = "33:M 29 Nov 2026 02:38:54.865 * Ready to accept connections"
        values["logs"]["crm"]["last"].append(line)

    ill = probed("generator", reason="status", http_status=500, detail="HTTP 500")
    (root,) = diagnosed(healthy, both(logged("generator", full), is_redis, ill)).root_findings
    assert (root.id, root.service, root.verdict) == ("log.oom", "crm", "fail")
    assert root.reason.startswith("generator logged once: ")
    assert "CONFIG SET maxmemory" in root.fix.advice


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ('FATAL:  data directory "{project}/pg" has invalid permissions', "chmod 0700 {project}/pg"),
        ('FATAL:  data directory "/etc" has invalid permissions', ""),
        ('FATAL:  data directory "{project}/../.." has invalid permissions', ""),
        ('FATAL:  data directory "-R" has invalid permissions', ""),
        ('FATAL:  data directory "/" has invalid permissions', ""),
    ],
    ids=["a path of the project", "a path of the machine", "a path that leaves the project", "an option", "the root"],
)
def test_a_path_in_a_log_line_gets_into_a_command_only_if_it_is_the_services_own(
    line: str, command: str, healthy: Healthy
):
    project = str(healthy[0].project)
    root = first_root(healthy, ended(line.format(project=project)))
    assert root.id == "log.known"
    assert root.fix.command.partition(" && ")[0] == command.format(project=project)


WAYS_BACK: dict[str, tuple[Change, str]] = {
    "was stopped": (service("crm", **(GONE | {"phase": "stopped"})), ""),
    "was killed": (both(failed_start("exited"), service("crm", last_end=by_signal("SIGKILL"))), ""),
    "ended in order": (
        both(service("crm", **(GONE | {"phase": "stopped"})), service("crm", last_end=exit_code(0))),
        "",
    ),
    "ended in order before it was ready": (
        both(failed_start("exited"), service("crm", last_end=exit_code(0))),
        "in the foreground",
    ),
    "ended with an error": (both(failed_start("exited"), service("crm", last_end=exit_code(1))), "find out why: "),
    "crashed": (both(failed_start("exited"), service("crm", last_end=by_signal("SIGSEGV"))), "PYTHONFAULTHANDLER=1"),
    "was not ready in time": (failed_start("timeout"), "startup_timeout_s"),
    "went to the background": (failed_start("background"), "foreground"),
    "exceeded a limit": (failed_start("limit"), "raise its limit"),
}


@pytest.mark.parametrize("row", WAYS_BACK)
def test_a_start_alone_is_the_fix_only_for_a_service_that(row: str, healthy: Healthy):
    change, words = WAYS_BACK[row]
    quiet = put("logs.crm.entries", [])
    root = first_root(healthy, both(change, quiet, put("logs.crm.last", [])))
    assert root.id == "proc.missing"
    if words:
        assert (root.fix.command, words in root.fix.advice) == ("", True)
    else:
        assert " start" in root.fix.command


def test_the_last_line_of_a_service_that_failed_without_an_error_is_quoted(healthy: Healthy):
    report = diagnosed(healthy, ended("reading x.conf", "cannot go on like this", error=False))
    assert report.roots == ("proc.missing",)
    assert report.root_findings[0].cause.endswith("its last line was: cannot go on like this")


@pytest.mark.parametrize(
    ("ago_s", "is_over"), [(5.0, False), (60.0, True)], ids=["a moment ago", "a minute ago, and all is well now"]
)
def test_a_connection_that_failed(ago_s: float, is_over: bool, healthy: Healthy):
    port = healthy[0].services["crm"].port
    text = f"redis.exceptions.ConnectionError: Error 111 connecting to localhost:{port}."
    long_up = service("crm", started_at=healthy[2] - 600), service("platform", started_at=healthy[2] - 600)
    change = both(*long_up, logged("generator", text, ago_s=ago_s))
    assert roots(healthy, change) == (() if is_over else ("log.network",))


def test_the_former_lives_of_a_service_that_keeps_ending_explain_it(healthy: Healthy):
    def change(values: Values, now: float) -> None:
        path = values["logs"]["crm"]["path"]
        line = {"path": path, "line": 1, "offset": 100, "at": None, "error": True, "startup": False}
        values["logs"]["crm"].update(entries=[], last=[line | {"text": "MemoryError"}], size_bytes=9000)
        records = [{"at": now - n, "reason": "its process ended"} for n in (9, 6, 3)]
        values["system"]["services"]["crm"].update(log_offset=500, started_at=now - 2, restarts=records)

    report = diagnosed(healthy, change)
    assert report.roots == ("log.oom",)
    assert [f.explained_by for f in report.findings if f.id == "proc.restarts" and f.verdict == "warn"] == ["log.oom"]


@pytest.mark.parametrize(
    ("offset", "roots"), [(1000, ("log.oom",)), (999, ())], ids=["after its start", "before its start"]
)
def test_a_line_with_the_time_of_another_zone_counts_if_it_was_written(
    offset: int, roots: tuple[str, ...], healthy: Healthy
):
    def change(values: Values, now: float) -> None:
        path = values["logs"]["crm"]["path"]
        line = {"path": path, "line": 7, "offset": offset, "at": now - 6 * 3600, "error": True, "startup": False}
        values["logs"]["crm"]["entries"].append(line | {"text": "MemoryError"})
        values["system"]["services"]["crm"].update(started_at=now - 600, log_offset=1000)

    assert diagnosed(healthy, change).roots == roots
