"""Every reason that `health` can report, each caused by a real socket and a real manifest."""

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
    """Write and load a manifest of services given as `name={key: value}`; their commands are never run."""
    lines = []
    for name, keys in services.items():
        keys = {"command": ["unused"], "probe_timeout_s": 0.4, "health_answer": "status"} | keys
        lines += [f"[services.{name}]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items())]
    (directory / "toombos.toml").write_text("\n".join(lines) + "\n")
    return load_manifest(directory)


# server, status, verdict, reason, words of the detail
CASES = {
    "the service is healthy": (HEALTHY, ServiceStatus.UP, Verdict.PASS, Reason.OK, ""),
    "the service is slow": (
        json_answer('{"status": "healthy"}', after_s=0.1),
        ServiceStatus.DEGRADED,
        Verdict.WARN,
        Reason.SLOW,
        "more than 50 ms",
    ),
    "the response is 500 with healthy JSON": (
        json_answer('{"status": "healthy"}', status="500 Oops"),
        ServiceStatus.DOWN,
        Verdict.FAIL,
        Reason.STATUS,
        "HTTP 500",
    ),
    "the response is 503 unhealthy": (
        json_answer('{"status": "unhealthy"}', status="503 No"),
        ServiceStatus.DOWN,
        Verdict.FAIL,
        Reason.STATUS,
        "HTTP 503",
    ),
    "the response is 200 unhealthy": (
        json_answer('{"status": "unhealthy"}'),
        ServiceStatus.DEGRADED,
        Verdict.FAIL,
        Reason.BODY,
        "unhealthy",
    ),
    "the response is 200 unknown": (
        json_answer('{"status": "unknown"}'),
        ServiceStatus.DEGRADED,
        Verdict.FAIL,
        Reason.BODY,
        "unknown",
    ),
    "the response is 200 degraded": (
        json_answer('{"status": "degraded"}'),
        ServiceStatus.DEGRADED,
        Verdict.WARN,
        Reason.BODY,
        "degraded",
    ),
    "the JSON has no status": (
        json_answer('{"state": 1}'),
        ServiceStatus.DEGRADED,
        Verdict.FAIL,
        Reason.BODY,
        "no `status`",
    ),
    "the JSON is truncated": (
        json_answer('{"status": "hea'),
        ServiceStatus.DEGRADED,
        Verdict.FAIL,
        Reason.BODY,
        "not JSON",
    ),
    "the body is empty": (answer(b""), ServiceStatus.DEGRADED, Verdict.FAIL, Reason.BODY, "empty"),
    "the response is a redirect": (
        answer(status="302 Found", headers="Location: /login\r\n"),
        ServiceStatus.DOWN,
        Verdict.FAIL,
        Reason.STATUS,
        "redirects to /login",
    ),
    "the body is endless": (endless, ServiceStatus.DEGRADED, Verdict.FAIL, Reason.BODY, "longer than"),
    "there is no response": (hang, ServiceStatus.DOWN, Verdict.FAIL, Reason.TIMEOUT, "no response"),
    "the response drips": (
        drip(b"HTTP/1.1 200 OK\r\n"),
        ServiceStatus.DOWN,
        Verdict.FAIL,
        Reason.TIMEOUT,
        "not complete",
    ),
    "the connection is reset": (reset, ServiceStatus.DOWN, Verdict.FAIL, Reason.RESET, "reset"),
    "the response is not HTTP": (raw(b"220 smtp\r\n"), ServiceStatus.DOWN, Verdict.FAIL, Reason.BODY, "not valid HTTP"),
}


@pytest.mark.parametrize(("handler", "status", "verdict", "reason", "words"), CASES.values(), ids=CASES)
def test_each_response_has_its_verdict_and_reason(tmp_path, handler, status, verdict, reason, words):
    with serve(handler) as port:
        report = run_health(manifest(tmp_path, web={"port": port, "latency_warn_ms": 50}))
    (found,) = report.services
    assert (found.status, found.verdict, found.reason) == (status, verdict, reason), found.detail
    assert words in found.detail
    assert report.verdict is verdict
    assert (found.pid, found.listens_on) == (os.getpid(), f"127.0.0.1:{port}")


def test_a_service_that_does_not_listen_is_down_and_the_fix_starts_it(tmp_path):
    (found,) = run_health(manifest(tmp_path, web={"port": free_port()}), ("web",)).services
    assert (found.status, found.reason, found.pid) == (ServiceStatus.DOWN, Reason.REFUSED, None)
    assert str(found.fix) == f"toombos --project {tmp_path} start web"


def test_the_fix_can_be_pasted_even_if_the_project_path_needs_quoting(tmp_path):
    project = tmp_path / "my shop's"
    project.mkdir()
    (found,) = run_health(manifest(project, web={"port": free_port()}), ("web",)).services
    assert found.fix.argv == ("toombos", "--project", str(project), "start", "web")
    assert shlex.split(found.fix.command) == list(found.fix.argv)


def test_a_black_hole_is_a_timeout(tmp_path):
    with black_hole() as port:
        (found,) = run_health(manifest(tmp_path, web={"port": port})).services
    assert (found.status, found.reason) == (ServiceStatus.DOWN, Reason.TIMEOUT)


def test_a_host_name_that_does_not_resolve_is_a_dns_failure(tmp_path):
    web = {"port": 80, "host": "no-such-host.invalid"}
    (found,) = run_health(manifest(tmp_path, web=web)).services
    assert (found.status, found.reason) == (ServiceStatus.DOWN, Reason.DNS)


def test_plain_http_to_a_tls_port_is_a_tls_failure_and_https_is_up(tmp_path):
    with serve_tls(HEALTHY, tmp_path) as port:
        # Three connections and two handshakes with a server in this process: 0.4 s is too little on a busy machine.
        web = {"port": port, "probe_timeout_s": 10}
        (wrong,) = run_health(manifest(tmp_path, web=web)).services
        (right,) = run_health(manifest(tmp_path, web=web | {"scheme": "https", "latency_warn_ms": 10_000})).services
    assert (wrong.status, wrong.reason) == (ServiceStatus.DOWN, Reason.TLS)
    assert right.status is ServiceStatus.UP


def test_an_ipv6_only_listener_is_up_at_its_address_and_shown_when_ipv4_is_refused(tmp_path):
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


def test_five_services_that_hang_take_the_time_of_one(tmp_path):
    with ExitStack() as stack:
        ports = [stack.enter_context(serve(hang)) for _ in range(5)]
        services = {f"web{i}": {"port": port, "probe_timeout_s": 1.0} for i, port in enumerate(ports)}
        loaded = manifest(tmp_path, **services)
        started = time.monotonic()
        report = run_health(loaded)
        took_s = time.monotonic() - started
    assert {s.reason for s in report.services} == {Reason.TIMEOUT}
    assert took_s < 3  # five timeouts in a row would be 5 s


def test_an_optional_service_is_skipped_unless_it_responds_or_is_requested(tmp_path):
    with serve(HEALTHY) as port:
        loaded = manifest(tmp_path, web={"port": port}, extra={"port": free_port(), "optional": True})
        report = run_health(loaded)
        assert [s.name for s in report.skipped] == ["extra"]
        assert report.verdict is Verdict.PASS
        assert run_health(loaded, ("extra",)).verdict is Verdict.FAIL
    with serve(answer(status="500 No")) as broken, serve(HEALTHY) as port:
        loaded = manifest(tmp_path, web={"port": port}, extra={"port": broken, "optional": True})
        assert run_health(loaded).verdict is Verdict.FAIL


def test_a_degraded_service_is_explained_by_a_dependency_that_is_down(tmp_path):
    with serve(json_answer('{"status": "degraded"}')) as app, serve(HEALTHY) as middle:
        loaded = manifest(
            tmp_path,
            base={"port": free_port()},
            middle={"port": middle, "depends_on": ["base"]},
            app={"port": app, "depends_on": ["middle"]},
        )
        report = run_health(loaded)
    assert {s.name: s.explained_by for s in report.services} == {"base": None, "middle": None, "app": "base"}


def test_a_timeout_is_explained_only_by_the_timeout_of_a_dependency(tmp_path):
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


def test_an_unhealthy_service_is_explained_by_an_unhealthy_dependency(tmp_path):
    with serve(json_answer('{"status": "error"}')) as base, serve(answer(status="500 No")) as app:
        loaded = manifest(tmp_path, base={"port": base}, app={"port": app, "depends_on": ["base"]})
        first, second = run_health(loaded).services
    assert (first.explained_by, second.explained_by, second.fix) == (None, "base", None)
    assert first.fix.command.endswith("logs base")
