# ruff: noqa: E501  (a table is read by its rows)
"""One change to the facts of the healthy system: one check finds it, and nothing else is a root."""

import copy
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.faults.diagnose.conftest import Values
from toombos_cli.base.redaction import Redactor
from toombos_cli.base.results import Verdict
from toombos_cli.diagnose.checks import CHECKS, all_checks
from toombos_cli.diagnose.facts.source import SavedFacts
from toombos_cli.diagnose.run import judge
from toombos_cli.manifest.model import Manifest
from toombos_cli.manifest.tables.service import Service


def put(path: str, value: Any) -> Callable[[Values, float], None]:
    """Return a change that sets the value at a dotted path."""

    def change(values: Values, now: float) -> None:
        *parents, last = path.split(".")
        place: Any = values
        for key in parents:
            place = place[int(key) if key.isdigit() else key]
        place[int(last) if last.isdigit() else last] = value

    return change


def logged(service: str, *texts: str, error: bool = True, ago_s: float = 1.0) -> Callable[[Values, float], None]:
    """Return a change that adds lines to the log of a service."""

    def change(values: Values, now: float) -> None:
        entries = values["logs"][service]["entries"]
        for text in texts:
            line = {"path": "app.log", "line": 7, "offset": 0, "at": now - ago_s, "error": error, "startup": False}
            entries.append(line | {"text": text})
        values["system"]["services"][service]["started_at"] = now - 600

    return change


def probed(service: str, **changes: Any) -> Callable[[Values, float], None]:
    return lambda values, now: values["probes"][service]["health"].update(changes)


def ready(name: str, required: bool = True) -> Callable[[Values, float], None]:
    entry = {"name": name, "ready": False, "message": "refused", "required": required}
    return put("probes.generator.ready.body", json.dumps({"ready": False, "checks": [entry]}))


def service(name: str, **changes: Any) -> Callable[[Values, float], None]:
    return lambda values, now: values["system"]["services"][name].update(changes)


def both(*changes: Callable[[Values, float], None]) -> Callable[[Values, float], None]:
    def change(values: Values, now: float) -> None:
        for each in changes:
            each(values, now)

    return change


def restarted(values: Values, now: float) -> None:
    records = [{"at": now - n, "reason": "its process ended"} for n in (3, 2, 1)]
    values["system"]["services"]["crm"]["restarts"] = records


def each_operation(**changes: Any) -> Callable[[Values, float], None]:
    def change(values: Values, now: float) -> None:
        for operation in values["probes"]["generator"]["operations"]:
            operation.update(changes)

    return change


def succeeded_since(values: Values, now: float) -> None:
    logged("generator", "ERROR Internal Server Error: /ht/")(values, now)
    entries = values["logs"]["generator"]["entries"]
    success = {"offset": 9, "error": False, "text": 'INFO "GET /ht/ HTTP/1.1" 200 9'}
    entries.append(entries[-1] | success)


def firewall(values: Values, now: float) -> None:
    port = values["system"]["services"]["crm"]["holder"]["port"]
    values["network"].update(firewall=[f"tcp dport {port} drop"], firewall_skipped="")


def access(**statuses: Any) -> Callable[[Values, float], None]:
    return lambda values, now: values["access"][0].update(statuses)


def scraped(health: str, series: int) -> Callable[[Values, float], None]:
    target = {"service": "platform", "url": "http://127.0.0.1:1/metrics", "health": health, "last_error": "404"}
    names = ("crm", "platform", "generator")
    others = [target | {"service": n, "health": "up", "last_error": ""} for n in names if n != "platform"]
    facts = {"running": ["prometheus"], "targets": [target, *others], "series": {"up of platform": series}}
    return lambda values, now: values["monitoring"].update(facts)


POSTGRES = {"kind": "postgresql", "path": "", "ping_skipped": "", "permission": "", "services": ["generator"]}
LOOKUP = {"host": "crm.internal", "used_by": "MOCK_CRM_BASE_URL", "problem": "Name or service not known"}


def durations(path: str, *buckets: tuple[str, int]) -> str:
    lines = "".join(f'http_request_duration_seconds_bucket{{le="{le}",path="{path}"}} {n}\n' for le, n in buckets)
    return f"# TYPE http_request_duration_seconds histogram\n{lines}http_request_duration_seconds_count 100\n"


SLOW = durations("/x", ("2", 10), ("5", 99), ("+Inf", 100))
HELD = {"host": "127.0.0.1", "port": 9, "pid": 99, "command": "other", "suspended": False}

GROUP = {"path": "/sys/fs/cgroup/x", "limit_bytes": 100, "used_bytes": 99, "kills": 1}
CERTIFICATE = {"service": "crm", "subject": "CN=x", "serial": "1", "begins_at": 0.0, "ends_at": 1.0}
WRITER = {"pid": 7, "who": "python import.py"}


def redis(refusal: str = "", variable: str = "", **info: str) -> Callable[[Values, float], None]:
    found = {
        "service": "crm",
        "host": "127.0.0.1",
        "port": 6379,
        "refusal": refusal,
        "variable": variable,
        "info": info,
    }
    return put("redis", [found])


KILL = {"pid": 4711, "name": "python", "source": "/dev/kmsg", "text": "Out of memory: Killed process 4711 (python)"}
END = {"reason": "signal", "text": "its process was ended by SIGKILL", "signal": "SIGKILL"}
DOWN = {"phase": "failed", "pid": 0, "pids": [], "holder": None, "ours": False, "listens_at": []}


def recovered(values: Values, now: float, *, again: bool = False) -> None:
    """Log a fault of the database while the probes of the generator fail, which succeed later, or fail again."""
    logged("generator", "ERROR database failed: disk I/O error", ago_s=100)(values, now)
    for found in values["system"]["services"].values():
        found["started_at"] = now - 600
    turns = [("unhealthy", 90), ("recovered", 50), *([("unhealthy", 10)] if again else [])]
    values["system"]["history"] = [
        {"at": now - ago_s, "service": "generator", "event": event, "text": event} for event, ago_s in turns
    ]


def killed_for_memory(ago_s: float = 0.0, ended: int = 4711, **changes: Any) -> Callable[[Values, float], None]:
    """Return what lets crm end, and the kernel end a process so many seconds earlier."""

    def change(values: Values, now: float) -> None:
        values["memory_kills"] = [KILL | {"at": now - 9 - ago_s}]
        event = {"at": now - 9, "service": "crm", "event": "exited", "text": "exited", "pid": ended}
        values["system"]["history"] = [event]
        values["system"]["services"]["crm"].update(
            {"last_end": END | {"at": now - 9}, "started_at": now - 600} | changes
        )

    return change


def process(**changes: Any) -> Callable[[Values, float], None]:
    return lambda values, now: values["kernel"]["crm"]["processes"][0].update(changes)


WORDS = "in words that no program knows"

ROWS: dict[str, tuple[Callable[[Values, float], None], str, str]] = {
    "a service leaks descriptors": (process(open_files=1000, soft_limit=1024), "proc.descriptors", "fail"),
    "a service has used many descriptors": (process(open_files=900, soft_limit=1024), "proc.descriptors", "warn"),
    "the kernel ended a service for want of memory": (killed_for_memory(**DOWN), "proc.memory", "fail"),
    "the kernel ended a process of a service that goes on": (killed_for_memory(), "proc.memory", "warn"),
    "a service is at a limit": (process(limits=[{"kind": "nproc", "used": 100, "limit": 100}]), "proc.limits", "fail"),
    "a service is near a limit": (process(limits=[{"kind": "as", "used": 90, "limit": 100}]), "proc.limits", "warn"),
    "no local port is free": (put("local_ports", {"first": 1, "last": 100, "used": 100}), "net.local_ports", "fail"),
    "few local ports are free": (put("local_ports", {"first": 1, "last": 100, "used": 90}), "net.local_ports", "warn"),
    "the clock of a service is ahead": (put("probes.crm.health.ahead_s", 3600), "clock.others", "warn"),
    "a log was written in the future": (lambda v, n: v["logs"]["crm"].update(modified_at=n + 3600), "clock.own", "warn"),
    "a debugger holds a service": (process(state="t", tracer=7), "proc.traced", "fail"),
    "a service is stuck in the kernel": (process(state="D", waits_in="nfs_wait"), "proc.waiting", "warn"),
    "a service does not collect its children": (process(zombies=50), "proc.zombies", "warn"),
    "a service's directory is gone": (process(directory="/gone"), "proc.removed", "fail"),
    "a service's library was replaced": (process(libraries=["/etc/passwd"]), "proc.removed", "warn"),
    "a service has an older variable": (put("kernel.crm.changed", ["COLOUR"]), "proc.environment", "warn"),
    "a control group is full": (put("kernel.crm.memory", GROUP), "res.group", "warn"),
    "a file system is read-only": (both(put("places.0.read_only", True), put("places.0.written", True)), "res.places", "fail"),
    "a certificate has expired": (put("certificates", [CERTIFICATE]), "tls.dates", "fail"),
    "a transaction is not ended": (put("database.0.holders", [WRITER]), "db.locks", "warn"),
    "Redis rejects the password": (redis("-WRONGPASS", "CACHE_URL"), "redis.password", "fail"),
    "Redis is full": (redis(maxmemory="100", used_memory="99", maxmemory_policy="noeviction"), "redis.memory", "fail"),
    "Redis has become a replica": (redis(role="slave", master_host="h", master_port="1"), "redis.role", "fail"),
    "Redis cannot save": (redis(rdb_last_bgsave_status="err"), "redis.saves", "fail"),
    "Redis has too many clients": (redis(connected_clients="99", maxclients="100"), "redis.clients", "warn"),
    "the disk is full": (put("machine.disk_free_bytes", 1), "res.disk", "fail"),
    "there are no free inodes": (put("machine.inodes_free", 1), "res.disk", "fail"),
    "little memory is available": (put("machine.memory_available_bytes", 2_000_000_000), "res.memory", "warn"),
    "no memory is available": (put("machine.memory_available_bytes", 1), "res.memory", "fail"),
    "a service uses much CPU": (both(put("machine.service_cpu_percent.generator", 95.0), service("generator", cpu_percent=93.0)), "res.cpu", "warn"),
    "the load is high": (put("machine.load", [90.0, 90.0, 9000.0]), "res.load", "warn"),
    "there is memory pressure": (put("machine.pressure", {"memory": 0.5}), "res.pressure", "warn"),
    "the memory of a service grows": (put("monitoring.growth_bytes_per_h", {"generator": 2e8}), "res.rss_slope", "warn"),
    "the interpreter cannot be run": (both(put("packages.modules.0.problem", "python9 cannot be run"), put("packages.modules.0.origin", "")), "py.path", "fail"),
    "a module cannot be imported": (put("packages.modules.0.origin", ""), "py.import", "fail"),
    "a package is missing": (put("packages.problems", [{"package": "a", "needs": "b>1", "found": None}]), "deps.missing", "fail"),
    "a package has the wrong version": (put("packages.problems", [{"package": "a", "needs": "b>1", "found": "1"}]), "deps.check", "warn"),
    "localhost has a wrong address": (put("network.hosts_localhost", ["10.0.0.9"]), "hosts", "fail"),
    "a host name does not resolve": (put("network.lookups", [LOOKUP | {"answers": ["", "", ""]}]), "dns", "fail"),
    "a host name resolves only sometimes": (put("network.lookups", [LOOKUP | {"answers": ["", "10.0.0.1", "10.0.0.1"]}]), "dns", "fail"),
    "the address of a host name changes": (put("network.lookups", [LOOKUP | {"answers": ["10.0.0.2", "10.0.0.1"]}]), "dns", "warn"),
    "a proxy is set": (put("network.proxies", ["HTTP_PROXY"]), "net.proxy", "warn"),
    "a firewall drops packets to a service": (firewall, "net.firewall", "warn"),
    "a service listens on all addresses": (put("system.services.crm.listens_at.0.host", "0.0.0.0"), "net.bind", "warn"),
    "the connection is refused": (probed("crm", reason="refused", http_status=None), "net.refused", "fail"),
    "the probe times out": (probed("crm", reason="timeout", http_status=None), "net.timeout", "fail"),
    "the service is unhealthy": (probed("generator", reason="status", http_status=503, detail="HTTP 503"), "http.status", "fail"),
    "the service is degraded": (probed("generator", reason="body", cause="degraded", detail=WORDS), "http.status", "warn"),
    "the service is unhealthy and its text contains degraded": (probed("generator", reason="body", cause="unwell", detail="the body says status 'not degraded but dead'"), "http.status", "fail"),
    "the probe is slow": (probed("crm", reason="slow", latency_ms=2500.0), "perf.latency", "warn"),
    "some requests are slow": (put("probes.generator.metrics.body", SLOW), "perf.latency", "warn"),
    "a mock cannot be reached": (ready("crm"), "net.mock_urls", "fail"),
    "an optional mock cannot be reached": (ready("crm", required=False), "net.mock_urls", "warn"),
    "the document source is not ready": (ready("document_source"), "net.fetcher", "fail"),
    "a component is not ready": (ready("queue"), "ready", "fail"),
    "the service is not ready and gives no details": (lambda v, n: v["probes"]["crm"]["ready"].update(reason="status", detail="HTTP 503", body="busy"), "ready", "fail"),
    "the database is not writable": (put("database.0.permission", "/x is not writable"), "db.perm", "fail"),
    "the database is damaged": (lambda v, n: v["database"][0].update(ping=WORDS, damaged=True), "db.ping", "fail"),
    "the database server refuses connections": (lambda v, n: v["database"][0].update(POSTGRES, reached="refused", ping="refused"), "db.service", "fail"),
    "the database password is wrong": (lambda v, n: v["database"][0].update(POSTGRES, reached="ok", ping="password authentication failed"), "db.ping", "fail"),
    "the database server accepts no more connections": (lambda v, n: v["database"][0].update(POSTGRES, reached="ok", ping="too many", exhausted=True, clients=[{"who": "pid 7 (report)", "connections": 9}]), "db.pool", "fail"),
    "the database connections are almost used up": (lambda v, n: v["database"][0].update(POSTGRES, reached="ok", connections=99, max_connections=100), "db.pool", "warn"),
    "another process has the port": (service("crm", holder=HELD, ours=False, pid=0, pids=[], listens_at=[], phase="failed"), "port.conflict", "fail"),
    "the service listens on another port": (service("crm", holder=None, ours=False, listens_at=[HELD]), "port.mismatch", "fail"),
    "the service listens on another address": (service("crm", holder=None, ours=False, listens_at=[HELD | {"host": "127.0.0.9", "port": 8001}]), "port.mismatch", "fail"),
    "a killed backup had stopped a service": (both(put("system.interruption", {"stopped": ["crm"]}), service("crm", phase="stopped", pid=0, pids=[], holder=None, ours=False, listens_at=[])), "backup.interrupted", "fail"),
    "the process is suspended": (service("crm", suspended=True), "proc.stopped", "fail"),
    "the service is in a crash loop": (service("crm", phase="crash-loop", pid=0, pids=[], holder=None, ours=False, listens_at=[]), "proc.crash_loop", "fail"),
    "the service is not running": (service("crm", phase="failed", pid=0, pids=[], holder=None, ours=False, listens_at=[]), "proc.missing", "fail"),
    "the service is starting": (service("crm", phase="starting", pid=0, pids=[], holder=None, ours=False, listens_at=[]), "proc.missing", "warn"),
    "the service restarted three times": (restarted, "proc.restarts", "warn"),
    "the service has no supervisor": (service("crm", phase="unsupervised"), "proc.supervision", "warn"),
    "the service is not in dry-run mode": (both(service("generator", wants_dry_run=True), probed("generator", body='{"dry_run": false}')), "proc.mode", "fail"),
    "the state belongs to another user": (lambda v, n: v["system"].update(unreadable="/x/run/state.json", owner="ops"), "proc.seen", "fail"),
    "the services run in another container": (lambda v, n: (v["system"].update(elsewhere=True), service("crm", holder=HELD | {"pid": None, "command": None})(v, n)), "proc.seen", "warn"),
    "the log cannot be read": (put("logs.crm.problem", "cannot be read: Permission denied"), "log.tail", "fail"),
    "the log was moved away": (service("crm", stray_output="/x/crm.log was moved away: crm writes to /x/crm.log.1"), "log.stray", "warn"),
    "the log shows a MemoryError": (logged("generator", "ERROR MemoryError"), "log.oom", "warn"),
    "the log shows a missing module": (logged("generator", "ERROR ModuleNotFoundError: No module named 'x'"), "log.missing_module", "warn"),
    "the log shows an exhausted connection pool": (logged("generator", "ERROR QueuePool limit of size 5 overflow 10 reached"), "log.pool", "warn"),
    "the log shows a database error": (logged("generator", "ERROR database failed: disk I/O error"), "log.db", "warn"),
    "the log shows a database error and the service is unwell again": (partial(recovered, again=True), "log.db", "warn"),
    "the log shows a publisher error": (logged("generator", "ERROR publisher: email failed: HTTP 500"), "log.publisher", "warn"),
    "the log shows a failed generation": (logged("generator", "ERROR Content generation failed: no document"), "log.known", "warn"),
    "the log shows invalid settings": (logged("generator", "CRITICAL invalid settings"), "log.known", "warn"),
    "the log shows a failed name resolution": (logged("generator", "ERROR Name resolution failed for crm"), "log.network", "warn"),
    "the log shows an address in use": (logged("generator", "ERROR bind: Address already in use"), "log.port", "warn"),
    "the log shows a full disk": (logged("generator", "OSError: [Errno 28] No space left on device"), "log.disk", "warn"),
    "the log shows a timeout": (logged("generator", "WARNING crm: timed out; attempt 2", error=False), "log.timeout", "warn"),
    "the log shows an unknown error": (logged("generator", "ERROR something unheard of"), "log.errors", "warn"),
    "the log of the generator shows an error and the clock was set back": (both(logged("generator", "ERROR something unheard of"), lambda v, n: v["system"]["services"]["generator"].update(started_at=n + 50)), "log.errors", "warn"),
    "the log of crm shows an error and the clock was set back": (both(logged("crm", "ERROR something unheard of"), lambda v, n: v["system"]["services"]["crm"].update(started_at=n + 50)), "log.errors", "warn"),
    "the log shows many invalid keys": (logged("generator", *["WARNING Invalid API key"] * 20, error=False), "log.auth", "warn"),
    "a mock simulates an error": (logged("crm", "WARNING Simulated CRM error: Email sending failed", error=False), "mock.simulated", "warn"),
    "the generator logs a simulated error": (logged("generator", "WARNING publish: Simulated CRM error", error=False), "mock.trigger", "warn"),
    "the correct key is refused": (access(right=401), "auth.keycheck", "fail"),
    "a wrong key is accepted": (access(wrong=200), "auth.middleware", "fail"),
    "no key is needed": (access(without=200), "auth.middleware", "fail"),
    "the OpenAPI document declares no key": (each_operation(secured=False), "openapi.security", "warn"),
    "the routes have changed": (each_operation(path="/v3", secured=True), "openapi.diff", "fail"),
    "the OpenAPI document lacks responses": (each_operation(described=False), "openapi.responses", "warn"),
    "there are no metrics": (lambda v, n: v["probes"]["platform"]["metrics"].update(reason="status", detail="HTTP 404"), "metrics.endpoint", "fail"),
    "the metrics route returns HTML": (put("probes.platform.metrics.body", "<html>"), "metrics.endpoint", "fail"),
    "a Prometheus target is down": (scraped("down", 0), "prom.targets", "fail"),
    "a Prometheus series is missing": (scraped("up", 0), "prom.series", "warn"),
    "Grafana times out": (both(service("grafana", desired=True, phase="ready", pid=1, pids=[1]), probed("grafana", reason="timeout")), "net.timeout", "fail"),
}  # fmt: skip


@pytest.mark.parametrize("row", ROWS)
def test_one_change_causes_one_root(row: str, healthy: tuple[Manifest, Values, float]):
    change, name, status = ROWS[row]
    manifest, values, now = healthy
    values = copy.deepcopy(values)
    change(values, now)
    report = judge(SavedFacts(manifest, values, now=now), CHECKS, CHECKS, Redactor())
    assert report.roots == (name,), [(f.id, f.service, f.reason) for f in report.root_findings]
    root = report.root_findings[0]
    assert root.verdict == status
    assert root.reason
    assert root.cause
    assert root.fix
    assert not [f for f in report.findings if f.verdict is Verdict.ERROR]


HISTORY = {
    "a collector of node_exporter has no source": logged(
        "host", 'ts=1 level=error msg="collector failed" name=systemd'
    ),
    "the error is older than 15 minutes": logged("generator", "ERROR publisher: email failed", ago_s=901),
    "the error is from before the start": logged("generator", "ERROR publisher: email failed", ago_s=601),
    "the operation has succeeded since": both(
        logged("generator", "ERROR publisher: email failed"),
        logged("generator", "INFO publisher: email success", error=False),
    ),
    "the database is ready again": both(
        logged("generator", "ERROR database failed: x"),
        logged("generator", "INFO database ready", error=False),
    ),
    "the error is from before the start but the clock was ahead": both(
        logged("generator", "ERROR publisher: email failed", ago_s=-7200),
        service("generator", log_offset=1),
    ),
    "the requests may have been within the limit": put(
        "probes.generator.metrics.body", durations("/x", ("1", 10), ("5", 99), ("+Inf", 100))
    ),
    "only probes were slow": put(
        "probes.generator.metrics.body",
        durations("/ready", ("2", 10), ("+Inf", 100)) + durations("/x", ("2", 100), ("+Inf", 100)).partition("\n")[2],
    ),
    "a few keys were wrong": logged("generator", "WARNING Invalid API key", error=False),
    "a request that failed has succeeded since": succeeded_since,
    "a Redis that evicts is full": redis(maxmemory="100", used_memory="99", maxmemory_policy="allkeys-lru"),
    "a Redis reports to nobody without a password": redis("-NOAUTH Authentication required."),
    "a service runs under a debugger and goes on": process(state="S", tracer=7),
    "the kernel ended a process of nobody here for want of memory": killed_for_memory(ended=99),
    "the kernel ended another process with the same pid long ago": killed_for_memory(ago_s=7200),
    "the service has recovered since": recovered,
    "a service has used half of a limit": process(limits=[{"kind": "pids", "used": 50, "limit": 100}]),
    "half of the local ports are in use": put("local_ports", {"first": 1, "last": 100, "used": 50}),
    "the clock of a service differs by a second": put("probes.crm.health.ahead_s", -1),
    "a log has the time of another zone": put("logs.crm.ahead_s", 32400.0),
    "a service has two ended children": process(zombies=2),
    "a control group has room": put("kernel.crm.memory", GROUP | {"used_bytes": 50}),
    "a directory that nobody writes is read-only": both(
        put("places.0.read_only", True), put("places.0.written", False)
    ),
    "the service was busy for a moment": put("machine.service_cpu_percent.generator", 99.0),
    "the machine is busy": put("machine.cpu_ratio", 1.0),
    "the service restarted only twice": lambda values, now: (
        restarted(values, now),
        values["system"]["services"]["crm"]["restarts"].pop(),
    ),
}


@pytest.mark.parametrize("row", HISTORY)
def test_past_or_harmless_events_are_not_faults(row: str, healthy: tuple[Manifest, Values, float]):
    manifest, values, now = healthy
    values = copy.deepcopy(values)
    HISTORY[row](values, now)
    report = judge(SavedFacts(manifest, values, now=now), CHECKS, CHECKS, Redactor())
    assert [(f.id, f.reason) for f in report.root_findings] == []


def test_what_several_services_say_about_another_is_one_root(healthy: tuple[Manifest, Values, float]):
    manifest, values, now = healthy
    values = copy.deepcopy(values)
    port = values["system"]["services"]["crm"]["holder"]["port"]
    refused = f"ERROR redis.exceptions.ConnectionError: Error 111 connecting to 127.0.0.1:{port}. Connection refused."
    for name in ("generator", "platform"):
        logged(name, refused)(values, now)
    report = judge(SavedFacts(manifest, values, now=now), CHECKS, CHECKS, Redactor())
    (root,) = report.root_findings
    assert (root.id, root.service) == ("log.network", "crm")
    assert [f.explained_by for f in report.findings if f.id == "log.network" and f is not root] == ["log.network"]


def test_an_error_count_says_how_exact_it_is(healthy: tuple[Manifest, Values, float]):
    manifest, values, now = healthy
    values = copy.deepcopy(values)
    logged("generator", *["2026/11/26 10:00:00 ERROR something unheard of"] * 300)(values, now)

    def reason() -> str:
        report = judge(SavedFacts(manifest, values, now=now), CHECKS, CHECKS, Redactor())
        return next(f.reason for f in report.findings if f.id == "log.errors" and f.service == "generator")

    assert reason().startswith("generator logged 300 times in the last 15 minutes")
    values["logs"]["generator"]["complaints"] = 5000
    assert reason().startswith("generator logged at least 300 times in the last 15 minutes")
    log = values["logs"]["generator"]
    log["entries"][-1] |= {"at": None, "path": log["path"]}
    values["system"]["services"]["generator"]["log_offset"] = 0
    assert reason().startswith("generator logged at least 300 times since its start")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("2026-11-26T10:00:00Z ERROR payment declined", "payment declined"),
        ("2026-11-26 10:00:00,123 ERROR shop.front payment declined", "payment declined"),
        ("2026/11/26 10:00:00 [error] 9#9: payment declined", "[error] 9#9: payment declined"),
    ],
    ids=["a line without a logger name", "a line with a logger name", "a line of nginx"],
)
def test_a_log_message_is_reported_completely(line: str, message: str, healthy: tuple[Manifest, Values, float]):
    manifest, values, now = healthy
    values = copy.deepcopy(values)
    logged("generator", line)(values, now)
    report = judge(SavedFacts(manifest, values, now=now), CHECKS, CHECKS, Redactor())
    (found,) = (f for f in report.findings if f.id == "log.errors" and f.service == "generator")
    assert found.reason == f"generator logged once: {message}"


@pytest.mark.parametrize("fact", ["probes", "system", "machine", "configuration", "logs", "network", "database"])
def test_an_unavailable_fact_causes_errors_and_no_roots(fact: str, healthy: tuple[Manifest, Values, float]):
    manifest, values, now = healthy
    unknown = values | {fact: {"unavailable": f"{fact}: no result within 3.0 s"}}
    report = judge(SavedFacts(manifest, unknown, now=now), CHECKS, CHECKS, Redactor())
    errors = [f for f in report.findings if f.verdict is Verdict.ERROR]
    assert errors
    assert all(f"{fact}: no result" in f.reason for f in errors)
    assert report.root_findings == ()


TASKS: dict[str, tuple[dict[str, Any], str | None]] = {
    "it is done": ({"phase": "done"}, None),
    "it failed": ({"phase": "failed", "detail": "its process ended with exit code 3"}, "fail"),
    "it runs": ({"phase": "starting", "pid": 7, "pids": [7]}, "warn"),
    "it has not run": ({"phase": "stopped"}, "fail"),
}


@pytest.mark.parametrize(("found", "verdict"), TASKS.values(), ids=list(TASKS))
def test_a_task_is_a_cause_unless(
    found: dict[str, Any], verdict: str | None, healthy: tuple[Manifest, Values, float]
) -> None:
    manifest, values, now = healthy
    task = msgspec.convert({"name": "migrate", "command": ["x"], "kind": "task"}, Service)
    manifest = msgspec.structs.replace(manifest, services=manifest.services | {"migrate": task})
    values = copy.deepcopy(values)
    values["system"]["services"]["migrate"] = {"name": "migrate", "managed": True} | found
    values["probes"]["migrate"] = {"health": {"url": "", "reason": "ok", "detail": "it has no port"}}
    values["logs"]["migrate"] = values["logs"]["crm"] | {"entries": [], "path": "migrate.log"}
    report = judge(SavedFacts(manifest, values, now=now), CHECKS, CHECKS, Redactor())
    roots = [(f.id, f.service, f.verdict) for f in report.root_findings if f.service == "migrate"]
    assert roots == ([("task.failed", "migrate", verdict)] if verdict else [])


def test_the_rows_cover_every_check_that_can_find_a_fault():
    found = {name for _, name, _ in ROWS.values()} | {"net.docker"}
    alone = {"proc.running", "proc.top", "metrics", "alerts", "log.startup", "stack"}  # they only report
    folded = {
        "net.tcp",
        "metrics.nodata",
        "system.stopped",
        "grafana",
        "task.failed",
    }  # these accompany another root or need a live fault
    assert {check.id for check in CHECKS if check.group != "config"} == found | alone | folded


def test_checks_from_other_packages_are_loaded(healthy: tuple[Manifest, Values, float], tmp_path: Path):
    package = tmp_path / "shop_checks.py"
    package.write_text(
        "from toombos_cli.base.findings import Check, fail\n"
        "SHOP = Check(id='shop.open', title='the shop is open', group='shop',\n"
        "             run=lambda facts: [fail('closed')])\n"
    )
    info = tmp_path / "shop-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shop\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[toombos.checks]\nshop = shop_checks:SHOP\nbroken = shop_checks:NONE\n")
    sys.path.insert(0, str(tmp_path))
    try:
        checks, problems = all_checks()
    finally:
        sys.path.remove(str(tmp_path))
    assert "shop.open" in {check.id for check in checks}
    assert problems == ("shop_checks:NONE: AttributeError",)


NOT_ASKED = {
    "for its health": ("health", "http.status"),
    "whether it is ready": ("ready", "ready"),
    "for its metrics": ("metrics", "metrics.endpoint"),
}


@pytest.mark.parametrize(("asked", "name"), NOT_ASKED.values(), ids=NOT_ASKED)
def test_what_this_machine_could_not_ask_is_not_judged(asked: str, name: str, healthy: tuple[Manifest, Values, float]):
    manifest, values, now = healthy
    values = copy.deepcopy(values)
    values["probes"]["crm"][asked].update(reason="error", detail="cannot probe: Too many open files", body="")
    report = judge(SavedFacts(manifest, values, now=now), CHECKS, CHECKS, Redactor())
    found = [f for f in report.findings if f.service == "crm" and f.verdict is not Verdict.PASS]
    assert [(f.id, f.verdict) for f in found] == [(name, Verdict.ERROR)]
    assert "cannot probe: Too many open files" in found[0].reason
    assert report.roots == ()
