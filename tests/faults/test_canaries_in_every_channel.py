"""Secrets in settings, logs, responses, command lines and URLs appear in no output and no file that toombos writes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.canaries import CANARIES
from tests.support.ports import free_port
from tests.support.runner import run_toombos
from tests.support.waiting import wait_for

ENV_FILE = {
    "API_KEY": "f1le-Api/Key+of=env?17",
    "SHOP_DSN": "postgresql://app:dsn%2FpaSS9word@db.example.com/shop",
    "ODD_NAME": "Xk9mQ2vL7rTz4WcHnB8y",
    "MULTILINE_TOKEN": "first-Line8Zq7\nsecond-Line4Wm2",
    "DB_PASSWORD_FILE": "key.txt",
    "GIT_SHA": "4f2a9c81d3b7e605f1a8c2d94b6e7f3058a1c9d2",
}
IN_ENVIRONMENT = {"OUTER_TOKEN": "outer-T0ken-of-the-shell-5"}
IN_MANIFEST = {"SERVICE_SECRET": "s3rvice-secret-of-env", "DEFAULT_SECRET": "d3fault-secret-of-env"}
KEY_FILE, ARGUMENT, QUERY = "c0ntent-of-the-key-file", "Arg-0f-the-command-line", "Query-0f-the-health-9"
KNOWN = (
    *(value for name, value in ENV_FILE.items() if name not in ("DB_PASSWORD_FILE", "GIT_SHA", "MULTILINE_TOKEN")),
    *(*IN_ENVIRONMENT.values(), *IN_MANIFEST.values(), KEY_FILE, ARGUMENT, QUERY),
    *("dsn/paSS9word", "dsn%2FpaSS9word", "first-Line8Zq7", "second-Line4Wm2"),
)
INNOCENT = (
    "4f2a9c81d3b7e605f1a8c2d94b6e7f3058a1c9d2",
    "1b4e28ba-2fa1-41d2-883f-0016d3cca427",
    "node-7.prod.example.com",
)

# It prints the lines of a file, and answers with all of it, without a well status, once `sick` exists.
SERVICE = """
import http.server, pathlib, sys
said = pathlib.Path("said.txt").read_text()
for line in said.splitlines():
    print("ERROR " + line, flush=True)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        sick = pathlib.Path("sick").exists()
        body = __import__("json").dumps({"status": said if sick else "ok", "detail": said}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
MANIFEST = """
[services.web]
command = ["{python}", "web.py", "{{port}}", "--token", "{argument}"]
port = {port}
health = "/health?api_key={query}"
health_answer = "status"
env = {{ SERVICE_SECRET = "{service}" }}
default_env = {{ DEFAULT_SECRET = "{default}" }}
[services.failing]
command = ["{python}", "-c", "print(open('said.txt').read(), flush=True); raise SystemExit(1)"]
scheme = "none"
optional = true
restart = {{ policy = "never" }}
[[smoke]]
name = "page"
service = "web"
path = "/page?token={query}"
headers = {{ X-API-Key = "${{env.API_KEY}}" }}
json = {{ status = "never" }}
[load]
service = "web"
path = "/page?token={query}"
headers = {{ X-API-Key = "${{API_KEY}}" }}
[alerts.channels.chat]
url = "json://user:${{API_KEY}}@127.0.0.1:9/"
"""

COMMANDS = [
    ("status",),
    ("status", "--json"),
    ("--verbose", "status"),
    ("logs", "-n", "999"),
    ("logs", "--json", "-n", "999"),
    ("logs", "--errors"),
    ("logs", "web", "--grep", "secret"),
    ("health",),
    ("health", "--json"),
    ("health", "--verbose", "--log"),
    ("health", "--format", "nagios"),
    ("health", "--format", "junit"),
    ("health", "--format", "prometheus"),
    ("health", "--on-fail", "tee alarm.json"),
    ("smoke", "--allow-live", "--junit", "smoke.xml"),
    ("smoke", "--allow-live", "--json", "--github"),
    ("load", "-n", "3", "-c", "1", "--html", "load.html", "--csv", "load.csv", "--junit", "load.xml"),
    ("load", "-n", "3", "-c", "1", "--json"),
    ("load", "http://u:" + ARGUMENT + "@127.0.0.1/"),
    ("load", "http://127.0.0.1:1/?token=" + ARGUMENT),
    ("diagnose", "--verbose", "--html", "page.html", "--bundle", "bundle.tar.zst"),
    ("diagnose", "--json"),
    ("diagnose", "--format", "junit"),
    ("diagnose", "--issue"),
    ("diagnose", "--incident"),
    ("diagnose", "--from", "bundle.tar.zst"),
    ("config", "check"),
    ("config", "check", "--json"),
    ("config", "show"),
    ("config", "show", "web", "--json"),
    ("start", "--preview"),
    ("start", "--preview", "--json"),
    ("start", "failing"),
    ("start", "failing", "--json"),
    ("alert", "send", "--severity", "P1", f"it failed with {ENV_FILE['API_KEY']}"),
    ("alert", "status"),
    ("alert", "test"),
    ("schedule", "install", "--print", "--method", "cron"),
    ("export", "systemd", "--output", "units", "--json"),
    ("export", "compose", "--output", "compose", "--json"),
    ("export", "kubernetes", "--output", "cluster", "--json"),
    ("backup",),
    ("backup", "list", "--json"),
]


def spelled_in(texts: dict[str, str]) -> dict[str, list[str]]:
    """Return the secrets that each text still holds; texts without one are left out."""
    secrets = [*KNOWN, *(part for canary in CANARIES if not canary.known for part in canary.secrets if len(part) > 6)]
    found = {name: sorted({secret for secret in secrets if secret in text}) for name, text in texts.items()}
    return {name: left for name, left in found.items() if left}


@pytest.fixture
def system(tmp_path: Path) -> Path:
    """A project whose service prints and answers every secret."""
    project = tmp_path / "project"
    project.mkdir()
    said = "\n".join(
        (*(c.text for c in CANARIES if not c.known), *(f"got {text} here" for text in (*KNOWN, *INNOCENT)))
    )
    (project / "said.txt").write_text(said)
    (project / "web.py").write_text(SERVICE)
    (project / "key.txt").write_text(KEY_FILE + "\n")
    (project / ".env").write_text("".join(f'{name}="{value}"\n' for name, value in ENV_FILE.items()))
    (project / ".env").chmod(0o600)
    values = {"python": sys.executable, "port": free_port(), "argument": ARGUMENT, "query": QUERY}
    manifest = MANIFEST.format(**values, service=IN_MANIFEST["SERVICE_SECRET"], default=IN_MANIFEST["DEFAULT_SECRET"])
    (project / "toombos.toml").write_text(manifest)
    return project


def test_no_secret_is_in_an_output_or_a_file(system: Path) -> None:
    written = {".env", "toombos.toml", "said.txt", "web.py", "key.txt"}
    texts: dict[str, str] = {}

    def run(*words: str) -> None:
        done = run_toombos(*words, cwd=system, env=IN_ENVIRONMENT)
        assert "Traceback" not in done.stderr, words
        texts[" ".join(words)] = done.stdout + done.stderr

    try:
        run("start")
        (system / "sick").touch()
        for words in COMMANDS:
            run(*words)
        wait_for(lambda: (system / "logs" / "alerts.log").exists(), what="the log of the alerts")
    finally:
        run("stop")
    for path in system.rglob("*"):
        name = str(path.relative_to(system))
        if path.is_file() and name not in written and not name.startswith(("logs/web", "logs/failing", "backups/")):
            texts[name] = path.read_bytes().decode("utf-8", "replace")
    if (bundle := system / "bundle.tar.zst").exists():
        unpacked = subprocess.run(["zstd", "-dc", bundle], capture_output=True, check=True)
        texts["bundle.tar.zst"] = unpacked.stdout.decode("utf-8", "replace")

    left = spelled_in(texts)
    if left.get("run/state.json") == [QUERY]:  # without it, an adopted service could not be asked for its health
        del left["run/state.json"]
    assert json.dumps(left, indent=1) == "{}"
    for innocent in INNOCENT:
        assert innocent in texts["logs -n 999"]
