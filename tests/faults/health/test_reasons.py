"""Every reason that `health` can name, each from a real socket behind a real manifest."""

import json
import os
import shlex
import time
from contextlib import ExitStack

import pytest

from tests.support.ports import free_port
from tests.support.servers import answer, black_hole, drip, endless, hang, json_answer, raw, reset, serve, serve_tls
from toombos_cli.base.results import Verdict
from toombos_cli.health.check import run_health
from toombos_cli.health.report import ServiceStatus
from toombos_cli.manifest.reading.loader import load_manifest
from toombos_cli.probes import Reason

HEALTHY = json_answer('{"status": "healthy"}')


def manifest(directory, **services):
    """A manifest of services given as `name={key: value}`; commands are never run."""
    lines = []
    for name, keys in services.items():
        keys = {"command": ["unused"], "probe_timeout_s": 0.4, "health_answer": "status"} | keys
        lines += [f"[services.{name}]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items())]
    (directory / "toombos.toml").write_text("\n".join(lines) + "\n")
    return load_manifest(directory)


# server, status, verdict, reason, words of the detail
CASES = {
    "healthy": (HEALTHY, ServiceStatus.UP, Verdict.PASS, Reason.OK, ""),
    "slow": (
        json_answer('{"status": "healthy"}', after_s=0.1),
        ServiceStatus.DEGRADED,
        Verdict.WARN,
        Reason.SLOW,
        "more than 50 ms",
    ),
    "500 with JSON": (
        json_answer('{"status": "healthy"}', status="500 Oops"),
        ServiceStatus.DOWN,
        Verdict.FAIL,
        Reason.STATUS,
        "HTTP 500",
    ),
    "503 unhealthy": (
        json_answer('{"status": "unhealthy"}', status="503 No"),
        ServiceStatus.DOWN,
        Verdict.FAIL,
        Reason.STATUS,
        "HTTP 503",
    ),
    "200 unhealthy": (
        json_answer('{"status": "unhealthy"}'),
        ServiceStatus.DEGRADED,
        Verdict.FAIL,
        Reason.BODY,
        "unhealthy",
    ),
    "200 unknown": (json_answer('{"status": "unknown"}'), ServiceStatus.DEGRADED, Verdict.FAIL, Reason.BODY, "unknown"),
    "200 degraded": (
        json_answer('{"status": "degraded"}'),
        ServiceStatus.DEGRADED,
        Verdict.WARN,
        Reason.BODY,
        "degraded",
    ),
    "wrong JSON": (json_answer('{"state": 1}'), ServiceStatus.DEGRADED, Verdict.FAIL, Reason.BODY, "no `status`"),
    "half of a JSON text": (
        json_answer('{"status": "hea'),
        ServiceStatus.DEGRADED,
        Verdict.FAIL,
        Reason.BODY,
        "not JSON",
    ),
    "an empty body": (answer(b""), ServiceStatus.DEGRADED, Verdict.FAIL, Reason.BODY, "empty"),
    "a redirect": (
        answer(status="302 Found", headers="Location: /login\r\n"),
        ServiceStatus.DOWN,
        Verdict.FAIL,
        Reason.STATUS,
        "redirects to /login",
    ),
    "a gigabyte": (endless, ServiceStatus.DEGRADED, Verdict.FAIL, Reason.BODY, "longer than"),
    "no answer": (hang, ServiceStatus.DOWN, Verdict.FAIL, Reason.TIMEOUT, "no response"),
    "a drip": (drip(b"HTTP/1.1 200 OK\r\n"), ServiceStatus.DOWN, Verdict.FAIL, Reason.TIMEOUT, "not complete"),
    "a reset": (reset, ServiceStatus.DOWN, Verdict.FAIL, Reason.RESET, "reset"),
    "not HTTP": (raw(b"220 smtp\r\n"), ServiceStatus.DOWN, Verdict.FAIL, Reason.BODY, "not valid HTTP"),
}


@pytest.mark.parametrize(("handler", "status", "verdict", "reason", "words"), CASES.values(), ids=CASES)
def test_each_behaviour_has_its_verdict_and_reason(tmp_path, handler, status, verdict, reason, words):
    with serve(handler) as port:
        report = run_health(manifest(tmp_path, web={"port": port, "latency_warn_ms": 50}))
    (found,) = report.services
    assert (found.status, found.verdict, found.reason) == (status, verdict, reason), found.detail
    assert words in found.detail
    assert report.verdict is verdict
    assert (found.pid, found.listens_on) == (os.getpid(), f"127.0.0.1:{port}")


def test_nobody_listens_and_the_fix_starts_it(tmp_path):
    (found,) = run_health(manifest(tmp_path, web={"port": free_port()}), ("web",)).services
    assert (found.status, found.reason, found.pid) == (ServiceStatus.DOWN, Reason.REFUSED, None)
    assert str(found.fix) == f"toombos --project {tmp_path} start web"


def test_the_fix_pastes_for_a_project_whose_name_a_shell_would_take_apart(tmp_path):
    project = tmp_path / "my shop's"
    project.mkdir()
    (found,) = run_health(manifest(project, web={"port": free_port()}), ("web",)).services
    assert found.fix.argv == ("toombos", "--project", str(project), "start", "web")
    assert shlex.split(found.fix.command) == list(found.fix.argv)


def test_a_black_hole_is_a_timeout(tmp_path):
    with black_hole() as port:
        (found,) = run_health(manifest(tmp_path, web={"port": port})).services
    assert (found.status, found.reason) == (ServiceStatus.DOWN, Reason.TIMEOUT)


def test_a_name_that_does_not_resolve(tmp_path):
    web = {"port": 80, "host": "no-such-host.invalid"}
    (found,) = run_health(manifest(tmp_path, web=web)).services
    assert (found.status, found.reason) == (ServiceStatus.DOWN, Reason.DNS)


def test_tls_on_a_plain_port_and_plain_http_on_a_tls_port(tmp_path):
    with serve_tls(HEALTHY, tmp_path) as port:
        # Three connections and two handshakes with a server in this process: 0.4 s is too little on a busy machine.
        web = {"port": port, "probe_timeout_s": 10}
        (wrong,) = run_health(manifest(tmp_path, web=web)).services
        (right,) = run_health(manifest(tmp_path, web=web | {"scheme": "https", "latency_warn_ms": 10_000})).services
    assert (wrong.status, wrong.reason) == (ServiceStatus.DOWN, Reason.TLS)
    assert right.status is ServiceStatus.UP


def test_an_ipv6_only_listener_is_up_by_its_address_and_named_where_ipv4_is_refused(tmp_path):
    with serve(HEALTHY, host="::1") as port:
        (six,) = run_health(manifest(tmp_path, web={"port": port, "host": "::1"})).services
        (four,) = run_health(manifest(tmp_path, web={"port": port, "host": "127.0.0.1"})).services
    assert six.status is ServiceStatus.UP
    assert six.url == f"http://[::1]:{port}/health"
    assert four.reason is Reason.REFUSED
    assert f"listens on [::1]:{port}" in four.detail


def test_a_proxy_in_the_environment_changes_nothing(tmp_path, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    with serve(HEALTHY) as port:
        assert run_health(manifest(tmp_path, web={"port": port})).verdict is Verdict.PASS


def test_five_services_that_hang_cost_the_time_of_one(tmp_path):
    with ExitStack() as stack:
        ports = [stack.enter_context(serve(hang)) for _ in range(5)]
        services = {f"web{i}": {"port": port, "probe_timeout_s": 1.0} for i, port in enumerate(ports)}
        loaded = manifest(tmp_path, **services)
        started = time.monotonic()
        report = run_health(loaded)
        took_s = time.monotonic() - started
    assert {s.reason for s in report.services} == {Reason.TIMEOUT}
    assert took_s < 3  # five timeouts in a row would be 5 s


def test_an_optional_service_is_skipped_until_it_answers_or_is_asked_for(tmp_path):
    with serve(HEALTHY) as port:
        loaded = manifest(tmp_path, web={"port": port}, extra={"port": free_port(), "optional": True})
        report = run_health(loaded)
        assert [s.name for s in report.skipped] == ["extra"]
        assert report.verdict is Verdict.PASS
        assert run_health(loaded, ("extra",)).verdict is Verdict.FAIL
    with serve(answer(status="500 No")) as broken, serve(HEALTHY) as port:
        loaded = manifest(tmp_path, web={"port": port}, extra={"port": broken, "optional": True})
        assert run_health(loaded).verdict is Verdict.FAIL


def test_a_complaint_is_explained_by_the_dependency_that_is_down(tmp_path):
    with serve(json_answer('{"status": "degraded"}')) as app, serve(HEALTHY) as middle:
        loaded = manifest(
            tmp_path,
            base={"port": free_port()},
            middle={"port": middle, "depends_on": ["base"]},
            app={"port": app, "depends_on": ["middle"]},
        )
        report = run_health(loaded)
    assert {s.name: s.explained_by for s in report.services} == {"base": None, "middle": None, "app": "base"}


def test_silence_is_explained_by_the_silence_of_a_dependency_and_by_nothing_else(tmp_path):
    def app_behind(base):
        app = {"port": silent, "depends_on": ["base"], "probe_timeout_s": 0.3}
        loaded = manifest(tmp_path, base={"port": base, "probe_timeout_s": 0.3}, app=app)
        return run_health(loaded).services[1]

    with serve(hang) as silent, serve(hang) as base:
        found = app_behind(base)
        assert (found.reason, found.explained_by, found.fix) == (Reason.TIMEOUT, "base", None)
        found = app_behind(free_port())
        assert (found.reason, found.explained_by) == (Reason.TIMEOUT, None)
        assert found.fix.command.endswith("logs app")


def test_a_complaint_is_explained_by_that_of_a_dependency(tmp_path):
    with serve(json_answer('{"status": "error"}')) as base, serve(answer(status="500 No")) as app:
        loaded = manifest(tmp_path, base={"port": base}, app={"port": app, "depends_on": ["base"]})
        first, second = run_health(loaded).services
    assert (first.explained_by, second.explained_by, second.fix) == (None, "base", None)
    assert first.fix.command.endswith("logs base")
