"""The mode of a system: how it is chosen, and that a dry run is reported only if the services confirm it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

SAYS = Path(__file__).parent.parent / "services" / "says.py"
KEY = "K9x_w2Vb7Lm4Qp8Zt6Rd1Ny5Hc0Jf3sTgX"
SWITCHES = {"DRY_RUN_MODE": "true", "USE_MOCK_SERVICES": "true"}


@pytest.fixture
def sink() -> Iterator[tuple[str, list[str]]]:
    """A "live" address on loopback, and the paths of the requests that reached it."""
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            seen.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class's name)
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/live", seen
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def shop(system: Any) -> Any:
    """The services `api` and `web`, which report their settings, and the modes dry_run (two variables) and staging."""
    system.top = '[modes.staging]\nenv = { STAGE = "staging" }\n'
    for name in ("api", "web"):
        system.add(name, command=["{python}", "-P", str(SAYS)])
    write_modes(system)
    return system


def write_modes(system: Any) -> None:
    """Make the mode dry_run set both switches. Call this after each change of the manifest."""
    path = system.project / "toombos.toml"
    path.write_text(path.read_text().replace('{ DRY_RUN_MODE = "true" }', toml_of(SWITCHES)))


def toml_of(table: dict[str, str]) -> str:
    return "{ " + ", ".join(f"{key} = {json.dumps(value)}" for key, value in table.items()) + " }"


def data_of(done: Any) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(done.stdout)["data"]
    return data


SPELLINGS = {
    "dry_run_mode in another case": {"dry_run_mode": "false"},
    "use_mock_services in another case": {"use_mock_services": "false"},
    "both switches in another case": {"dry_run_mode": "false", "use_mock_services": "false"},
    "dry_run_mode in mixed case": {"Dry_Run_Mode": "false"},
}
PLACES = {
    "environment": "(environment)",
    ".env": "(.env:3)",
    "the service's env": "(toombos.toml, env of [services.api])",
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS.keys())
def test_a_dry_run_that_a_misspelt_variable_disables_is_stopped_and_publishes_nothing(
    shop: Any, sink: tuple[str, list[str]], place: str, spelling: dict[str, str]
) -> None:
    """The correct names are set first, as `config init` writes them, so that the wrong one is read last."""
    url, seen = sink
    lines = SWITCHES | (spelling if place == ".env" else {})
    (shop.project / ".env").write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
    own = spelling if place == "the service's env" else {}
    shop.add("api", command=["{python}", "-P", str(SAYS)], env={"LIVE_URL": url} | own)
    write_modes(shop)

    failed = shop("start", "--dry-run", env=spelling if place == "environment" else {}, exit_code=5)

    assert f"{next(iter(spelling))}=false {PLACES[place]}" in failed.stderr
    assert "not in dry-run mode" in failed.stderr
    assert "in dry-run mode" not in failed.stdout
    publish(shop.ports["api"])
    assert seen == []
    assert shop.tagged() == {}


def publish(port: int) -> None:
    """Ask a service to publish, if it is running."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/v2/generate-content",
        data=b"{}",
        headers={"Content-Type": "application/json", "X-API-Key": KEY},
    )
    with contextlib.suppress(urllib.error.URLError):
        urllib.request.urlopen(request, timeout=30).close()


LIVE = "".join(
    f"{name}={value}\n"
    for name, value in {
        **SWITCHES,
        "CRM_API_KEY": "live-crm-9f8e7d6c5b4a3f2e1d0c",
        "PLATFORM_API_KEY": "live-plat-1a2b3c4d5e6f7a8b9c0d",
        "API_KEY": KEY,
        "API_KEY_ENCRYPTION_KEY": "abcdefghijklmnopqrstuvwxyz0123456789ABCD",
    }.items()
)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "wrong",
    [
        {"dry_run_mode": "false"},
        {"use_mock_services": "false"},
        {"dry_run_mode": "false", "use_mock_services": "false"},
        {"Dry_Run_Mode": "false", "use_mock_services": "false"},
    ],
    ids=" and ".join,
)
def test_the_packaged_system_never_publishes_live_after_a_dry_run_start(
    project: Path, toombos: Any, sink: tuple[str, list[str]], place: str, wrong: dict[str, str]
) -> None:
    from toombos_cli.manifest.reading.loader import load_manifest

    url, seen = sink
    lines = "".join(f"{key}={value}\n" for key, value in wrong.items()) if place == ".env" else ""
    (project / ".env").write_text(f"{LIVE}CRM_BASE_URL={url}\nPLATFORM_BASE_URL={url}\n{lines}")
    (project / ".env").chmod(0o600)
    if place == "the service's env":
        path = project / "toombos.toml"
        path.write_text(
            path.read_text().replace("[services.generator]\n", f"[services.generator]\nenv = {toml_of(wrong)}\n")
        )

    done = toombos("start", "--dry-run", env=wrong if place == "environment" else {}, timeout_s=120)

    generator = load_manifest(project).services["generator"]
    publish(generator.port)
    assert seen == []
    assert done.returncode in (0, 5), done.stderr
    if done.returncode == 0:
        with urllib.request.urlopen(f"{generator.url}/health", timeout=5) as response:
            assert json.load(response)["dry_run"] is True
    else:
        assert "in dry-run mode" not in done.stdout
        assert f"{next(iter(wrong))}=false" in done.stderr


HINTS = {
    "environment": ({"dry_run_mode": "false"}, "", "hint: unset dry_run_mode; toombos start --dry-run"),
    ".env": ({}, "A=1\nexport dry_run_mode = false\n", "hint: sed -Ei "),
}


@pytest.mark.parametrize(("given", "text", "hint"), HINTS.values(), ids=HINTS.keys())
def test_the_hint_for_a_refused_dry_run_works_when_it_is_pasted(
    shop: Any, given: dict[str, str], text: str, hint: str
) -> None:
    (shop.project / ".env").write_text(text)
    # This service obeys the wrong spelling in any order.
    shop.add("api", command=["sh", "-c", f"SAYS=${{dry_run_mode:-true}} exec {sys.executable} -P {SAYS}"])
    write_modes(shop)
    failed = shop("start", "--dry-run", env=given, exit_code=5)
    (line,) = (line for line in failed.stderr.splitlines() if line.startswith("hint: "))
    assert line.startswith(hint)
    command = line.removeprefix("hint: ").replace("toombos", f"{sys.executable} -P -m toombos_cli")
    done = subprocess.run(
        ["sh", "-c", command], cwd=shop.project, env=os.environ | given, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("started in dry-run mode: ")


REPORTED = {
    "it reports true": ("true", 0, "started in dry-run mode: web", True),
    "it reports false": ("false", 5, "not started: web", False),
    "it reports null": ("null", 0, "started in mode dry_run, which no service confirms: web", False),
    "it reports a string": ('"false"', 0, "started in mode dry_run, which no service confirms: web", False),
    "it reports a number": ("0", 0, "started in mode dry_run, which no service confirms: web", False),
}


@pytest.mark.parametrize(("reported", "code", "sentence", "confirmed"), REPORTED.values(), ids=REPORTED.keys())
def test_the_mode_that_a_service_reports_overrides_the_requested_mode(
    system: Any, reported: str, code: int, sentence: str, confirmed: bool
) -> None:
    system.add("web", command=["{python}", "-P", str(SAYS)], env={"SAYS": reported})
    done = system("start", "--dry-run", exit_code=code)
    assert done.stdout.splitlines()[0] == sentence
    if code == 0:
        again = system("start", "--dry-run", exit_code=0)
        assert again.stdout.splitlines()[0] == sentence.replace("started", "already running").replace(": web", "")
        shown = data_of(system("status", "--json", exit_code=0))
        assert (shown["dry_run"], shown["mode"]) == (confirmed, "dry_run")
        assert system("status").stdout.splitlines()[0] == sentence.removeprefix("started in ").removesuffix(": web")
        health = data_of(system("health", "--json"))
        assert (health["dry_run"], health["mode"]) == (confirmed, "dry_run")
        assert data_of(system("restart", "--json", exit_code=0))["dry_run"] is confirmed
    else:
        assert "error: web: it says that it is not in dry-run mode" in done.stderr
        assert json.loads(system("start", "--dry-run", "--json", exit_code=5).stdout)["data"]["dry_run"] is False
        assert system.tagged() == {}


def test_a_restart_that_would_leave_the_dry_run_stops_the_service_and_exits_5(shop: Any) -> None:
    shop("start", "--dry-run", exit_code=0)
    shop.add("api", command=["{python}", "-P", str(SAYS)], env={"SAYS": "false"})
    write_modes(shop)
    failed = shop("restart", "api", exit_code=5)
    assert "error: api: it says that it is not in dry-run mode" in failed.stderr
    assert list(shop.tagged()) == [shop.pid("web")]
    assert shop("status").stdout.splitlines()[0] == "dry-run mode: 1 of 2 ready"


def test_a_live_service_that_would_join_a_dry_run_is_stopped(shop: Any) -> None:
    shop("start", "web", "--dry-run", exit_code=0)
    shop.add("api", command=["{python}", "-P", str(SAYS)], env={"SAYS": "false"})
    write_modes(shop)
    shop("start", "api", exit_code=5)
    assert list(shop.tagged()) == [shop.pid("web")]


def test_a_service_is_never_spawned_if_its_dependency_is_not_in_dry_run_mode(system: Any) -> None:
    system.add("crm", command=["{python}", "-P", str(SAYS)], env={"SAYS": "false"})
    system.add("app", command=["{python}", "-P", str(SAYS)], depends_on={"crm": "ready"})
    failed = system("start", "--dry-run", exit_code=5)
    assert "error: crm: it says" in failed.stderr
    assert not system.log("app").exists()
    assert system.tagged() == {}


def test_start_foreground_exits_5_if_a_service_is_not_in_dry_run_mode(system: Any) -> None:
    system.add("web", command=["{python}", "-P", str(SAYS)], env={"SAYS": "false"})
    failed = system("start", "--dry-run", "--foreground", exit_code=5)
    assert "it says that it is not in dry-run mode" in failed.stderr
    assert system.tagged() == {}


def test_a_dry_run_requested_in_the_settings_is_enforced_without_the_option(shop: Any) -> None:
    (shop.project / ".env").write_text("".join(f"{name}={value}\n" for name, value in SWITCHES.items()))
    shop("start", exit_code=0)
    assert shop("status").stdout.splitlines()[0] == "dry-run mode"
    shop("stop", exit_code=0)
    shop.add("api", command=["{python}", "-P", str(SAYS)], env={"SAYS": "false"})
    write_modes(shop)
    shop("start", exit_code=5)
    assert shop.tagged() == {}


def test_a_service_that_becomes_live_after_a_crash_is_reported_everywhere(system: Any, eventually: Any) -> None:
    file = system.project / "says"
    system.add(
        "web",
        command=["{python}", "-P", str(SAYS)],
        env={"SAYS": "true", "SAYS_FILE": str(file)},
        restart={"backoff_initial_s": 0.01},
    )
    system.add("api", command=["{python}", "-P", str(SAYS)], env={"SAYS": "true"})
    system("start", "--dry-run", exit_code=0)
    file.write_text("false")
    os.kill(system.pid("web"), signal.SIGKILL)
    eventually(lambda: system.came_back("web"))

    status = system("status", exit_code=1)
    assert status.stdout.splitlines()[0] == "NOT in dry-run mode, although started in it: web"
    assert data_of(system("status", "--json", exit_code=1))["denied_by"] == ["web"]
    health = system("health", exit_code=1)
    assert "it says that it is not in dry-run mode, but was started in it" in health.stdout
    assert "; dry-run mode" not in health.stdout
    found = data_of(system("diagnose", "--json", exit_code=1))
    assert "proc.mode" in found["roots"]
    again = system("start", "--dry-run", exit_code=5)
    assert "error: web: it says that it is not in dry-run mode" in again.stderr
    assert "NOT in dry-run mode, although started in it: web" in system("restart", "api").stderr


def test_a_supervisor_that_takes_over_asks_the_running_services_for_their_mode(shop: Any) -> None:
    shop("start", "--dry-run", exit_code=0)
    shop.kill_supervisor()
    shop("start", exit_code=0)
    assert shop("status").stdout.splitlines()[0] == "dry-run mode"
    assert data_of(shop("status", "--json"))["dry_run"] is True


def test_any_mode_in_the_manifest_can_be_chosen_and_is_kept(shop: Any) -> None:
    assert "started in mode staging: api" in shop("start", "api", "--mode", "staging", exit_code=0).stdout
    for command in (["start"], ["restart"], ["restart", "api"]):
        shop(*command, exit_code=0)
        for name in ("api", "web"):
            environment = Path(f"/proc/{shop.pid(name)}/environ").read_bytes().split(b"\0")
            assert b"STAGE=staging" in environment
    assert shop("status").stdout.splitlines()[0] == "mode staging"
    assert (data_of(shop("status", "--json"))["mode"], shop.state()["mode"]) == ("staging", "staging")
    shop("stop", exit_code=0)
    assert f"toombos --project {shop.project} start --mode staging" in shop("health", exit_code=1).stdout
    assert "--mode staging" in shop("diagnose", exit_code=1).stdout


WRONG_MODES = {
    "a misspelt mode": (["start", "--mode", "stagin"], "has no mode stagin", "did you mean 'staging'?"),
    "a mode with no similar name": (["start", "--mode", "x"], "has no mode x", "modes: staging, dry_run"),
    "a misspelt mode for restart": (["restart", "--mode", "stagin"], "has no mode stagin", "did you mean 'staging'?"),
    "a misspelt mode for a preview": (
        ["start", "--preview", "--mode", "stagin"],
        "has no mode stagin",
        "did you mean 'staging'?",
    ),
    "a misspelt mode for start --foreground": (
        ["start", "--foreground", "--mode", "stagin"],
        "has no mode",
        "did you mean 'staging'?",
    ),
    "a misspelt mode for config check": (
        ["config", "check", "--mode", "stagin"],
        "has no mode stagin",
        "did you mean 'staging'?",
    ),
    "two modes at once": (
        ["start", "--mode", "staging", "--dry-run"],
        "--dry-run is --mode dry_run",
        "leave one of them out",
    ),
}


@pytest.mark.parametrize(("command", "message", "hint"), WRONG_MODES.values(), ids=WRONG_MODES.keys())
def test_an_invalid_mode_is_a_usage_error(shop: Any, command: list[str], message: str, hint: str) -> None:
    failed = shop(*command, exit_code=2)
    assert message in failed.stderr
    assert hint in failed.stderr
    assert not (shop.project / "run").exists() or not shop.tagged()


@pytest.mark.parametrize("runs", [False, True], ids=["nothing is running", "the system is running"])
def test_a_dry_run_in_a_system_without_one_lists_the_available_modes(system: Any, runs: bool) -> None:
    (system.project / "toombos.toml").write_text(
        '[services.a]\ncommand = ["sleep", "600"]\nscheme = "none"\n[modes.staging]\nenv = { STAGE = "staging" }\n'
    )
    if runs:
        system("start", exit_code=0)
    failed = system("start", "--dry-run", exit_code=2)
    assert "the manifest has no mode dry_run" in failed.stderr
    assert "modes: staging" in failed.stderr
    assert "toombos start --dry-run" not in failed.stderr


def test_a_start_or_restart_in_another_mode_than_the_running_one_is_refused(shop: Any) -> None:
    shop("start", "web", "--mode", "staging", exit_code=0)
    for command in (["start", "--dry-run"], ["start", "--preview", "--dry-run"], ["restart", "api", "--dry-run"]):
        refused = shop(*command, exit_code=5)
        assert "web runs in mode staging, and a start in mode dry_run would join it" in refused.stderr
        assert "hint: toombos stop && toombos start --dry-run" in refused.stderr
    shop("restart", "--dry-run", exit_code=0)
    assert shop("status").stdout.splitlines()[0] == "dry-run mode: 1 of 2 ready"


MODE_CASES = {
    "before the first start, without .env": ([], None, "dry_run"),
    "before the first start, with .env": ([], "LOG_LEVEL=INFO\n", None),
    "during a dry run": (["start --dry-run"], "LOG_LEVEL=INFO\n", "dry_run"),
    "while the system runs in another mode": (["start --mode staging"], "LOG_LEVEL=INFO\n", "staging"),
    "while the system runs live, without .env": (["start"], None, None),
    "after a stop, with .env": (["start --dry-run", "stop"], "LOG_LEVEL=INFO\n", None),
    "after a stop, without .env": (["start --dry-run", "stop"], None, "dry_run"),
    "after a failed start": (["start --dry-run broken"], "LOG_LEVEL=INFO\n", "dry_run"),
}


@pytest.mark.parametrize(("commands", "text", "mode"), MODE_CASES.values(), ids=MODE_CASES.keys())
def test_config_check_and_diagnose_judge_the_same_mode(
    shop: Any, commands: list[str], text: str | None, mode: str | None
) -> None:
    from toombos_cli.manifest.reading.loader import load_manifest
    from toombos_cli.project.mode import mode_now

    shop.add("broken", command=["{python}", "-c", "exit(1)"], optional=True)
    write_modes(shop)
    with (shop.project / "toombos.toml").open("a") as manifest:
        manifest.write(
            '[environment.DRY_RUN_MODE]\ndescription = "x"\ntype = "bool"\nrole = "dry_run"\n'
            '[environment.KEY]\ndescription = "x"\nsecret = true\nrequired_in_live = true\nrole = "access_key"\n'
        )
    for command in commands:
        shop(*command.split())
    if text is not None:
        (shop.project / ".env").write_text(text)
        (shop.project / ".env").chmod(0o600)
    checked = data_of(shop("config", "check", "--json"))["findings"]
    diagnosed = data_of(shop("diagnose", "--json", "--only", "dryrun", "--only", "live"))["findings"]
    verdicts = [
        sorted((f["id"], f["verdict"], f["reason"]) for f in found if f["id"] in ("dryrun", "live"))
        for found in (checked, diagnosed)
    ]
    assert verdicts[0] == verdicts[1]
    assert mode_now(load_manifest(shop.project)) == mode
    assert [status for name, status, _ in verdicts[0] if name == "live"] == ["skip" if mode == "dry_run" else "fail"]


@pytest.mark.parametrize("option", ["--preview", "--plan"])
def test_a_preview_shows_the_requested_mode(shop: Any, option: str) -> None:
    shown = shop("start", option, "--mode", "staging", exit_code=0).stdout
    assert "Would start 2 services in mode staging" in shown
    assert "STAGE=staging" in shown
    assert not (shop.project / "run").exists()


def test_the_help_of_start_does_not_mention_specific_services(shop: Any) -> None:
    text = shop("start", "--help", exit_code=0).stdout
    assert "--mode NAME" in text
    assert "--preview" in text
    assert not [word for word in ("mock", "generator", "crm") if word in text.lower()]
