"""Every command on a team's own services: nothing of the packaged dry-run system shows."""

import re
from pathlib import Path

import pytest

from tests.support.ports import free_port

SERVICE = """
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Shop(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path in ("/ready", "/books") else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Shop).serve_forever()
"""
FOREIGN = re.compile(r"dry.run|live mode|\bcrm\b|\bmock|docs/", re.IGNORECASE)


@pytest.fixture
def shop(tmp_path: Path, toombos) -> Path:
    """One service that responds only to /ready and /books."""
    (tmp_path / "shop.py").write_text(SERVICE)
    manifest = f"""\
[services.shop]
command = ["{{python}}", "shop.py", "{{port}}"]
port = {free_port()}
health = "/ready"
env = {{ PORT = "{{port}}", DATABASE_PASSWORD = "hunter2hunter2", BACKEND = "http://me:hunter2@127.0.0.1" }}
"""
    (tmp_path / "toombos.toml").write_text(manifest)
    return tmp_path


NOT_RUNNING = ["start --preview", "status", "health", "smoke", "load /books", "diagnose", "stop"]
RUNNING = [
    *("status", "health", "logs", "smoke", "load -n 5 /books", "diagnose", "diagnose --issue", "diagnose --incident"),
    *("config check", "config show shop", "backup", "backup status", "restore --latest-good --yes"),
    *("monitoring status", "schedule show", "alert status", "stop"),
]


def test_no_command_mentions_the_packaged_system_for_a_teams_own_services(shop, toombos):
    url = f"http://127.0.0.1:{re.search(r'port = ([0-9]+)', (shop / 'toombos.toml').read_text())[1]}"
    results = {}
    for line in NOT_RUNNING:
        results[line] = toombos(*line.replace(" /", f" {url}/").split())
    assert toombos("start").returncode == 0
    for line in RUNNING:
        done = results[line] = toombos(*line.replace(" /", f" {url}/").split(), timeout_s=120)
        assert done.returncode == 0, (line, done.stdout, done.stderr)
    for line, done in results.items():
        found = FOREIGN.search(done.stdout + done.stderr)
        assert not found, (line, found, done.stdout + done.stderr)
        assert "hunter2" not in done.stdout + done.stderr, line


def test_settings_from_the_manifest_are_shown_and_only_secrets_are_masked(shop, toombos):
    shown = toombos("config", "show", "shop").stdout
    assert re.search(r"PORT +[0-9]+ +service", shown)
    assert re.search(r"DATABASE_PASSWORD +\*+ +service", shown)
    assert re.search(r"BACKEND +http://me:\*+@127.0.0.1 +service", shown)


def test_a_missing_health_path_is_reported_with_the_key_that_changes_it(shop, toombos):
    manifest = (shop / "toombos.toml").read_text()
    (shop / "toombos.toml").write_text(manifest.replace('health = "/ready"', 'ready = "/ready"'))
    assert toombos("start").returncode == 0
    expected = "HTTP 404: there is no /health; `health` in [services.shop] names another path"
    assert expected in toombos("health").stdout


def test_a_site_is_healthy_at_its_root_and_where_the_manifest_says_that_a_page_is_meant(tmp_path, toombos):
    (tmp_path / "index.html").write_text("<!doctype html><p>Welcome" + "!" * 100_000)
    manifest = f"""\
[services.site]
command = ["{{python}}", "-m", "http.server", "{{port}}", "--bind", "{{host}}"]
port = {free_port()}
health = "/"
"""
    (tmp_path / "toombos.toml").write_text(manifest)
    assert toombos("start").returncode == 0
    assert toombos("health").returncode == 0
    elsewhere = manifest.replace('health = "/"', 'health = "/index.html"')
    (tmp_path / "toombos.toml").write_text(elsewhere)
    assert "health_answer = 'page' in [services.site]" in toombos("health").stdout
    (tmp_path / "toombos.toml").write_text(f'{elsewhere}health_answer = "page"\n')
    for line in ("health", "smoke", "diagnose --only network"):
        done = toombos(*line.split())
        assert done.returncode == 0, (line, done.stdout)


def test_a_smoke_step_that_writes_reports_the_missing_dry_run_proof(shop, toombos):
    with (shop / "toombos.toml").open("a") as file:
        file.write('[[smoke]]\nname = "order"\nservice = "shop"\nmethod = "POST"\npath = "/orders"\n')
    toombos("start")
    output = toombos("smoke").stdout
    assert "order: writes, and no step with proves_dry_run checks shop (or: writes = false)" in output


def test_a_missing_default_is_reported_with_the_key_that_sets_it(shop, toombos):
    load = toombos("load")
    assert load.returncode == 2
    assert "(or under [load] in toombos.toml: service = 'shop')" in load.stderr
    settings = toombos("config", "show")
    assert (settings.returncode, settings.stdout) == (0, "the manifest describes no variables\n")
    assert "[environment.NAME]" in settings.stderr


def test_a_failed_service_removed_from_the_manifest_is_no_longer_shown(shop, toombos):
    manifest = (shop / "toombos.toml").read_text()
    broken = manifest.replace("shop.py", "gone.py").replace("[services.shop]", "[services.old]")
    (shop / "toombos.toml").write_text(broken)
    assert toombos("start").returncode == 4
    assert "old" in toombos("status").stdout
    (shop / "toombos.toml").write_text(manifest)
    assert toombos("start").returncode == 0
    shown = toombos("status")
    assert shown.returncode == 0
    assert "old" not in shown.stdout


@pytest.mark.parametrize(
    ("command", "hint"), [("monitoring status", 'extends = "monitoring"'), ("schedule show", "[schedule.NAME]")]
)
def test_an_empty_manifest_section_is_reported_with_a_hint(shop, toombos, command, hint):
    done = toombos(*command.split())
    assert "the manifest describes no" in done.stdout
    assert hint in done.stderr


def test_an_empty_schedule_is_not_installed(shop, toombos):
    done = toombos("schedule", "install")
    assert done.returncode == 3
    assert "the manifest describes no jobs" in done.stderr
