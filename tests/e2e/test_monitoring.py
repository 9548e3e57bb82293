"""Monitoring with the real Prometheus and Alertmanager: targets, panels, rules, and delivery of an alert."""

import json
import os
import select
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.ports import free_port
from tests.support.programs import needs
from tests.support.runner import begin_toombos
from tests.support.waiting import wait_for
from tests.unit.alerts.conftest import add_alerts
from toombos_cli.manifest.reading.loader import load_manifest

PROGRAMS = ("prometheus", "prometheus-alertmanager", "prometheus-node-exporter", "promtool")


@pytest.fixture
def watched(project: Path, httpserver) -> Path:
    """The dry-run system with monitoring that scrapes each second and sends alerts to a webhook."""
    for program in PROGRAMS:
        needs(program)
    ports = "".join(
        f"[services.{name}]\nport = {free_port()}\n" for name in ("alertmanager", "prometheus", "host", "grafana")
    )
    text = (project / "toombos.toml").read_text() + ports
    text += "[monitoring]\nbackend = 'native'\nscrape_interval_s = 1\nrate_window_s = 8\n"
    text += "[monitoring.patience]\nmock_down_s = 2\n"
    text += "[services.crm.restart]\npolicy = 'never'\n"
    (project / "toombos.toml").write_text(text)
    hook = httpserver.url_for("/hook").replace("http://", "json://")
    add_alerts(project, url=hook)
    return project


@pytest.fixture
def messages(httpserver) -> list[str]:
    """The titles that reached the webhook."""
    titles: list[str] = []

    def take(request):
        from werkzeug import Response

        titles.append(json.loads(request.get_data())["title"])
        return Response("")

    httpserver.expect_request("/hook", method="POST").respond_with_handler(take)
    return titles


def pid_of(toombos, name: str) -> int | None:
    services = json.loads(toombos("status", "--json").stdout)["data"]["services"]
    return next((row["pid"] for row in services if row["name"] == name), None)


def test_monitoring_works_from_start_to_alert_to_recovery(watched, toombos, messages):
    started = toombos("start", "--dry-run", timeout_s=120)
    assert started.returncode == 0, started.stderr
    up = toombos("monitoring", "up", timeout_s=120)
    assert up.returncode == 0, up.stderr
    # Debian has no Grafana, so `up` may warn that it is missing.
    assert "missing" in up.stdout or "grafana  up" in up.stdout
    well = toombos("health", "--json")
    reasons = {s["name"]: s["reason"] for s in json.loads(well.stdout)["data"]["services"] if s["verdict"] != "skip"}
    assert reasons.keys() >= {"crm", "platform", "generator", "alerts", "alertmanager", "prometheus", "host"}
    assert set(reasons.values()) <= {"ok", "slow"}
    assert well.returncode == 0

    # After traffic through all three services every panel of both dashboards has data.
    generator = load_manifest(watched).services["generator"].url
    _generate_until(lambda: _no_idle_panel(toombos), generator)
    checked = toombos("monitoring", "check", "--wait", "30", "--json", timeout_s=120)
    report = json.loads(checked.stdout)
    assert checked.returncode == 0, [i for i in report["data"]["items"] if i["verdict"] not in ("pass", "skip")]
    panels = [item for item in report["data"]["items"] if item["group"] == "panels"]
    assert len(panels) == 32
    assert {item["verdict"] for item in report["data"]["items"] if item["group"] == "targets"} == {"pass"}

    diagnosed = toombos("diagnose", timeout_s=60)
    assert diagnosed.returncode == 0, diagnosed.stdout

    # A mock crashes and is not restarted.
    os.kill(pid_of(toombos, "crm"), signal.SIGKILL)
    wait_for(lambda: any("MockDown" in title for title in messages), within_s=60, what="the alert")
    assert [t for t in messages if "MockDown" in t] == ["[P2] toombos: MockDown: crm (a mock) does not respond"]

    assert toombos("start", "--dry-run", "crm", timeout_s=60).returncode == 0
    recovered = "[P2] toombos: Recovered: MockDown: crm"
    wait_for(lambda: any(t.startswith(recovered) for t in messages), within_s=60, what="the recovery")


def _generate_until(done, generator: str) -> None:
    import httpx

    def generate() -> bool:
        for _ in range(4):
            httpx.post(f"{generator}/api/v2/generate-content", json={}, timeout=30, trust_env=False)
        return done()

    wait_for(generate, within_s=90, what="data in every panel")


def _no_idle_panel(toombos) -> bool:
    checked = json.loads(toombos("monitoring", "check", "--json", timeout_s=60).stdout)
    return all(item["verdict"] == "pass" for item in checked["data"]["items"] if item["group"] == "panels")


def test_a_second_up_changes_nothing_reload_applies_the_manifest_and_down_stops_everything(watched, toombos):
    assert toombos("monitoring", "up", timeout_s=120).returncode == 0
    first = pid_of(toombos, "prometheus")
    assert toombos("monitoring", "up", timeout_s=120).returncode == 0
    assert pid_of(toombos, "prometheus") == first

    text = (watched / "toombos.toml").read_text()
    (watched / "toombos.toml").write_text(text.replace("mock_down_s = 2", "mock_down_s = 77"))
    stale = json.loads(toombos("monitoring", "check", "--json").stdout)["data"]["items"]
    assert next(i for i in stale if i["name"] == "up to date")["verdict"] == "warn"
    reloaded = toombos("monitoring", "reload", "--json")
    assert json.loads(reloaded.stdout)["data"]["reloaded"] == ["prometheus", "alertmanager"]
    assert pid_of(toombos, "prometheus") == first
    assert _loaded_duration(watched, "MockDown") == 77

    assert "level=info" in toombos("monitoring", "logs", "prometheus").stdout
    down = toombos("monitoring", "down", timeout_s=60)
    assert down.returncode == 0, down.stderr
    assert pid_of(toombos, "prometheus") is None


def _loaded_duration(project: Path, rule: str) -> float:
    import httpx

    url = load_manifest(project).services["prometheus"].url
    groups = httpx.get(f"{url}/api/v1/rules", trust_env=False).json()["data"]["groups"]
    return next(r["duration"] for group in groups for r in group["rules"] if r["name"] == rule)


def test_an_invalid_rule_in_the_manifest_is_refused_before_anything_is_written(watched, toombos):
    text = (watched / "toombos.toml").read_text()
    rule = "[[monitoring.rules]]\nname = 'Own'\nexpr = 'rate(x[5m'\nsummary = 's'\n"
    (watched / "toombos.toml").write_text(text + rule)
    done = toombos("monitoring", "up")
    assert done.returncode == 3
    assert "alert rule Own is not valid PromQL" in done.stderr
    assert not (watched / "run" / "monitoring" / "prometheus.yml").exists()


def test_commands_say_how_to_start_monitoring_if_it_is_not_running(watched, toombos):
    status = toombos("monitoring", "status")
    assert status.returncode == 1
    assert "down" in status.stdout
    reloaded = toombos("monitoring", "reload")
    assert (reloaded.returncode, "hint: toombos monitoring up" in reloaded.stderr) == (4, True)


def test_a_rule_that_prometheus_refuses_changes_nothing_and_the_next_up_repairs_refused_files(watched, toombos):
    assert toombos("monitoring", "up", timeout_s=120).returncode == 0
    rules = watched / "run" / "monitoring" / "rules.yml"
    before, whole = rules.read_text(), (watched / "toombos.toml").read_text()
    bad = "[[monitoring.rules]]\nname = 'Own'\nexpr = 'up == 0'\nsummary = '{{ $nope'\n"
    (watched / "toombos.toml").write_text(whole + bad)
    for command in ("up", "reload"):
        done = toombos("monitoring", command)
        assert (done.returncode, 'undefined variable "$nope"' in done.stderr) == (3, True)
        assert rules.read_text() == before
    (watched / "toombos.toml").write_text(whole)

    rules.write_text("groups: [")  # edited by hand, and then reloaded by SIGHUP
    os.kill(pid_of(toombos, "prometheus"), signal.SIGHUP)
    wait_for(lambda: not _last_reload_succeeded(watched), what="the refusal")
    assert toombos("monitoring", "up", timeout_s=60).returncode == 0
    assert _last_reload_succeeded(watched)
    (watched / "toombos.toml").write_text(whole.replace("mock_down_s = 2", "mock_down_s = 5"))
    rules.write_text("groups: [")
    os.kill(pid_of(toombos, "prometheus"), signal.SIGHUP)
    wait_for(lambda: not _last_reload_succeeded(watched), what="the refusal")
    assert toombos("monitoring", "reload", timeout_s=60).returncode == 0
    assert _loaded_duration(watched, "MockDown") == 5


def _last_reload_succeeded(project: Path) -> bool:
    import httpx

    url = load_manifest(project).services["prometheus"].url
    return "prometheus_config_last_reload_successful 1" in httpx.get(f"{url}/metrics", trust_env=False).text


def test_the_supervisor_sends_an_alert_if_a_monitoring_program_hangs_and_its_logs_can_be_followed(
    watched, toombos, messages
):
    with (watched / "toombos.toml").open("a") as file:
        file.write("[services.prometheus]\nprobe_interval_s = 0.2\nprobe_timeout_s = 0.5\n")
    text = (watched / "toombos.toml").read_text().split("[services.prometheus]\n")
    port, rest = text[1].split("\n", 1)
    (watched / "toombos.toml").write_text(f"{text[0]}[services.prometheus]\n{port}\n{text[2]}{rest}")
    assert toombos("monitoring", "up", timeout_s=120).returncode == 0
    prometheus = pid_of(toombos, "prometheus")
    os.kill(prometheus, signal.SIGSTOP)
    alert = "[P2] toombos: Prometheus does not respond: the system is not monitored"
    wait_for(lambda: alert in messages, within_s=60, what="the alert")
    status = toombos("monitoring", "status")
    assert (status.returncode, "hint: toombos monitoring restart" in status.stderr) == (1, True)
    os.kill(prometheus, signal.SIGCONT)
    wait_for(
        lambda: any(t.startswith(alert.replace("P2] toombos", "P2] toombos: Recovered")) for t in messages),
        within_s=60,
        what="its end",
    )

    argv = ("monitoring", "logs", "prometheus", "-f", "-n", 0)
    with begin_toombos(*argv, cwd=watched, stderr=subprocess.DEVNULL) as follower:
        for _ in range(50):  # until the follower has started
            os.kill(prometheus, signal.SIGHUP)
            if select.select([follower.stdout], [], [], 0.2)[0]:
                break
        assert "onfiguration file" in follower.stdout.readline()
        follower.send_signal(signal.SIGINT)
        assert follower.wait(10) == 130


def test_a_stranger_on_a_monitoring_port_is_reported_as_down(watched, toombos, httpserver):
    httpserver.expect_request("/-/ready").respond_with_data("ok")
    manifest = (watched / "toombos.toml").read_text()
    port = load_manifest(watched).services["alertmanager"].port
    (watched / "toombos.toml").write_text(manifest.replace(f"port = {port}", f"port = {httpserver.port}"))
    status = toombos("monitoring", "status", "--json")
    row = next(r for r in json.loads(status.stdout)["data"]["services"] if r["name"] == "alertmanager")
    assert (row["state"], row["pid"]) == ("down", None)
    assert "another program responds there" in row["detail"]
    up = toombos("monitoring", "up", timeout_s=60)
    assert (up.returncode, f"port {httpserver.port} is taken by pid {os.getpid()}" in up.stderr) == (4, True), up.stderr


def test_monitoring_sends_an_alert_if_the_supervisor_was_killed(watched, toombos, messages):
    text = (watched / "toombos.toml").read_text()
    (watched / "toombos.toml").write_text(text.replace("mock_down_s = 2", "mock_down_s = 2\nmonitoring_down_s = 1"))
    assert toombos("monitoring", "up", timeout_s=120).returncode == 0
    os.kill(json.loads(toombos("status", "--json").stdout)["data"]["supervisor"]["pid"], signal.SIGKILL)
    wait_for(lambda: any("SupervisorDown" in title for title in messages), within_s=60, what="the alert")
    assert toombos("start", "alerts", timeout_s=60).returncode == 0
    wait_for(lambda: any("Recovered: SupervisorDown" in t for t in messages), within_s=60, what="its end")
