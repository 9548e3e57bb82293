"""Each fault is injected into the running system: diagnose reports exactly its root, and the printed fix works."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

from tests.faults.diagnose.conftest import DryRun, Found
from tests.support.ports import free_port
from tests.support.programs import needs, obeying_file_modes
from tests.support.runner import run_toombos
from tests.support.waiting import wait_for


@contextmanager
def foreign_server(port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run a foreign web server in another process, which is reaped as soon as it ends, as its shell would do."""
    process = subprocess.Popen(
        [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/tmp",
    )
    reaper = Thread(target=process.wait)
    reaper.start()
    try:
        wait_for(lambda: listens(port), what="the foreign server")
        yield process
    finally:
        process.kill()
        reaper.join()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def post(url: str, body: dict[str, Any], **headers: str) -> int:
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json"} | headers, method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


def generate(system: DryRun) -> int:
    url = f"http://127.0.0.1:{system.ports['generator']}/api/v2/generate-content"
    return post(url, {}, **{"X-API-Key": system.api_key})


def edit_env(system: DryRun, old: str, new: str) -> int:
    """Replace a line of .env and return its number."""
    lines = system.env_file.read_text().splitlines()
    number = lines.index(old)
    lines[number] = new
    system.env_file.write_text("\n".join(lines) + "\n")
    return number + 1


def test_1_a_stranger_on_the_port_is_reported_but_its_client_is_not(system: DryRun):
    assert system.run("stop", "crm").returncode == 0
    port = system.ports["crm"]
    with foreign_server(port) as stranger, socket.create_connection(("127.0.0.1", port)) as client:
        root = system.diagnose().only_root("port.conflict", "crm")
        assert f"pid {stranger.pid} " in root["reason"]
        assert str(os.getpid()) not in re.findall(r"\d+", json.dumps(root)), "the client is this process"
        assert root["fix"]["command"].startswith(f"kill {stranger.pid} ")
        client.close()
        system.paste(root["fix"]["command"])
    system.wait_until_well()


def test_2_a_suspended_process_is_reported_as_suspended(system: DryRun):
    pid = system.pid("generator")
    os.kill(pid, signal.SIGSTOP)
    root = system.diagnose().only_root("proc.stopped", "generator")
    assert root["fix"]["command"] == f"kill -CONT {pid}"
    system.paste(root["fix"]["command"])
    system.wait_until_well()


def test_3_a_killed_mock_is_the_cause_of_the_publishing_errors(system: DryRun):
    os.kill(system.pid("crm"), signal.SIGKILL)
    wait_for(lambda: system.state("crm")["phase"] == "failed", what="the supervisor's note")
    assert generate(system) == 200  # partial success: the other channels were published
    found = system.diagnose()
    root = found.only_root("proc.missing", "crm")
    assert "SIGKILL" in root["cause"]
    assert found.finding("log.publisher", "generator")["explained_by"] == "proc.missing"
    assert found.finding("net.mock_urls", "generator")["explained_by"] == "proc.missing"
    system.paste(root["fix"]["command"])
    system.wait_until_well()


def test_4_an_invalid_line_that_disables_dry_run_is_reported(system: DryRun):
    line = edit_env(system, "DRY_RUN_MODE=true", "DRY_RUN_MODE: true")
    root = system.diagnose().only_root("parse")
    assert root["evidence"][0]["line"] == line
    assert "dry-run is OFF" in root["reason"]
    system.paste(root["fix"]["command"])
    assert system.env_file.read_text() == system.env_text
    system.wait_until_well()


def test_5_spaces_around_the_equals_sign_cause_a_warning_with_the_line(system: DryRun):
    line = edit_env(system, "LOG_LEVEL=INFO", "LOG_LEVEL = INFO")
    found = system.diagnose()
    root = found.only_root("spaces")
    assert (root["verdict"], found.exit_code) == ("warn", 0)
    assert root["evidence"][0]["line"] == line
    system.paste(root["fix"]["command"])
    system.wait_until_well()


def test_6_an_unreadable_env_file_is_reported_with_its_mode_and_without_a_traceback(system: DryRun):
    system.env_file.chmod(0o000)
    done = system.run("diagnose", "--json", through=obeying_file_modes())
    assert done.stderr == ""
    found = Found(json.loads(done.stdout), done.returncode)
    root = found.only_root("mode")
    assert root["fix"]["command"] == f"chmod 600 {system.env_file}"
    assert found.finding("load")["explained_by"] == "mode"
    system.paste(root["fix"]["command"])
    system.wait_until_well()


def test_6_the_file_mode_is_the_root_even_if_root_runs_diagnose(system: DryRun):
    system.env_file.chmod(0o000)
    root = system.diagnose().only_root("mode")
    system.paste(root["fix"]["command"])
    system.wait_until_well()


def test_7_diagnose_in_another_directory_lists_the_searched_paths(system: DryRun):
    found = system.diagnose(cwd=Path("/"))
    root = found.only_root("not_found")
    assert [e["source"] for e in root["evidence"]] == ["/"]
    assert "--project DIR" in root["fix"]["advice"]
    elsewhere = system.run("diagnose", "--json", "--project", str(system.project), cwd=Path("/"))
    assert json.loads(elsewhere.stdout)["data"]["roots"] == []


def test_8_a_misspelt_key_is_reported_with_its_line_and_the_nearest_name(system: DryRun):
    line = edit_env(system, "LOG_LEVEL=INFO", "LOG_LEVLE=sesame-open-17")
    found = system.diagnose()
    root = found.only_root("extra")
    assert (root["evidence"][0]["line"], "LOG_LEVEL?" in root["reason"]) == (line, True)
    assert "sesame" not in json.dumps(found.findings)
    system.paste(root["fix"]["command"])
    assert "LOG_LEVEL=sesame" in system.env_file.read_text()


def test_8_an_invalid_boolean_is_reported_with_its_line_but_its_value_is_not_printed(system: DryRun):
    line = edit_env(system, "USE_MOCK_SERVICES=true", "USE_MOCK_SERVICES=sesame-open-17")
    found = system.diagnose()
    root = found.only_root("types")
    assert (root["evidence"][0]["line"], "USE_MOCK_SERVICES" in root["reason"]) == (line, True)
    assert "sesame" not in json.dumps(found.findings)


def test_9_an_exported_variable_that_overrides_the_file_is_reported(system: DryRun):
    root = system.diagnose(env={"DRY_RUN_MODE": "false"}).only_root("shadow")
    assert root["fix"]["command"] == "unset DRY_RUN_MODE"


def test_10_settings_that_changed_after_the_start_need_a_restart(system: DryRun):
    edit_env(system, "LOG_LEVEL=INFO", "LOG_LEVEL=WARNING")
    root = system.diagnose().only_root("stale")
    assert root["fix"]["command"] == f"toombos --project {system.project} restart"
    system.paste(root["fix"]["command"])
    system.wait_until_well()


def test_11_a_service_on_a_different_port_than_in_the_manifest_is_reported(system: DryRun):
    old, new = system.ports["crm"], free_port()
    manifest = system.project / "toombos.toml"
    manifest.write_text(system.manifest.replace(f"port = {old}", f"port = {new}"))
    root = system.diagnose().only_root("port.mismatch", "crm")
    assert (str(old) in root["reason"], str(new) in root["reason"]) == (True, True)
    system.paste(root["fix"]["command"])
    system.wait_until_well()


def test_12_a_service_without_metrics_is_the_cause_of_the_panels_without_data(system: DryRun):
    needs("prometheus")
    source = (
        "import os, http.server as h\n"
        "class A(h.BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        "        self.send_response(404 if self.path == '/metrics' else 200)\n"
        "        self.send_header('Content-Type', 'application/json')\n"
        "        self.end_headers()\n"
        '        self.wfile.write(b\'{"status": "healthy"}\')\n'
        "h.ThreadingHTTPServer(('127.0.0.1', int(os.environ['PORT'])), A).serve_forever()\n"
    )
    (system.project / "no_metrics.py").write_text(source)
    port = free_port()
    command = 'command = ["{python}", "no_metrics.py"]\nopenapi = ""\n'
    (system.project / "prometheus.yml").write_text(
        "global: {scrape_interval: 1s}\nscrape_configs:\n- job_name: services\n  static_configs:\n"
        f"  - targets: [{', '.join(f'127.0.0.1:{p}' for p in system.ports.values())}]\n"
    )
    prometheus = (
        f'[services.prometheus]\nport = {port}\ncommand = ["prometheus", "--config.file={{project}}/prometheus.yml", '
        '"--storage.tsdb.path={project}/data/prometheus", "--web.listen-address=127.0.0.1:{port}"]\n'
    )
    manifest = system.manifest.replace("[services.platform]\n", f"[services.platform]\n{command}") + prometheus
    (system.project / "toombos.toml").write_text(manifest)
    assert system.run("restart", "platform").returncode == 0
    assert system.run("start", "prometheus").returncode == 0
    wait_for(
        lambda: any(f["id"] == "prom.targets" and "404" in f["reason"] for f in system.diagnose().findings),
        within_s=60,
        what="the scrape's failure",
    )
    found = system.diagnose()
    root = found.only_root("metrics.endpoint", "platform")
    assert "404" in root["reason"]
    assert found.finding("metrics.nodata", "platform")["explained_by"] == "metrics.endpoint"
    assert found.finding("prom.targets", "platform")["explained_by"] == "metrics.endpoint"
    assert "404" in found.finding("prom.targets", "platform")["evidence"][0]["text"]


def test_13_a_mock_that_responds_with_500_is_reported(system: DryRun):
    source = (
        "import os, http.server as h\n"
        "class A(h.BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        '        body = b\'{"status": "unhealthy", "error": "out of paper"}\'\n'
        "        well = self.path in ('/live', '/ready')\n"
        "        body = b'{}' if well else body\n"
        "        self.send_response(200 if well else 500)\n"
        "        self.send_header('Content-Type', 'application/json')\n"
        "        self.send_header('Content-Length', str(len(body)))\n"
        "        self.end_headers()\n"
        "        self.wfile.write(body)\n"
        "h.ThreadingHTTPServer(('127.0.0.1', int(os.environ['PORT'])), A).serve_forever()\n"
    )
    (system.project / "broken.py").write_text(source)
    (system.project / "toombos.toml").write_text(
        system.manifest.replace(
            "[services.crm]", '[services.crm]\ncommand = ["{python}", "broken.py"]\nopenapi = "/x"\n'
        )
    )
    assert system.run("restart", "crm").returncode == 0
    root = system.diagnose().only_root("http.status", "crm")
    assert "500" in root["reason"]
    assert "out of paper" in root["evidence"][0]["text"]


def test_13_a_simulated_failure_is_reported_as_a_simulation(system: DryRun):
    url = f"http://127.0.0.1:{system.ports['crm']}/api/v1/email/send"
    assert post(url, {"subject": "error test", "html_content": "x"}) == 500
    root = system.diagnose().only_root("mock.simulated", "crm")
    assert "on purpose" in root["reason"]
    assert "simulation" in root["cause"]
    assert system.run("restart", "crm").returncode == 0
    system.wait_until_well()


def test_failures_that_the_smoke_test_simulates_are_not_faults(system: DryRun):
    assert system.run("smoke", "--only", "crm-error").returncode == 0
    assert system.diagnose().wrong == []


def test_14_five_sockets_that_never_respond_are_reported_in_time_as_five_timeouts(tmp_path: Path):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(5)]
    try:
        tables = (
            f'[services.s{i}]\ncommand = ["silent"]\nport = {s.getsockname()[1]}\n' for i, s in enumerate(sockets)
        )
        (tmp_path / "toombos.toml").write_text('name = "five"\n' + "".join(tables))
        begun = time.monotonic()
        done = run_toombos("diagnose", "--json", cwd=tmp_path, env={"HTTP_PROXY": "http://127.0.0.1:9"}, timeout_s=30)
        found = Found(json.loads(done.stdout), done.returncode)
        assert time.monotonic() - begun < 10 * float(os.environ.get("TOOMBOS_TEST_PATIENCE", "2"))
    finally:
        for each in sockets:
            each.close()
    assert set(found.roots) == {"net.timeout", "net.proxy"}
    timeouts = [f for f in found.findings if f["id"] == "net.timeout" and f["verdict"] == "fail"]
    assert sorted(f["service"] for f in timeouts) == ["s0", "s1", "s2", "s3", "s4"]
    assert not any(f["explained_by"] for f in timeouts)
