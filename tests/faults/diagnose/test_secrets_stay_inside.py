"""Canary secrets in the settings, logs and command line never appear in any output or file, in any spelling."""

import base64
import json
import os
import re
import signal
import subprocess
from pathlib import Path
from urllib.parse import quote

from tests.faults.diagnose.conftest import DryRun
from tests.support.waiting import wait_for

PASSWORD = 'p4ss/w0rd+c&nary=17%zebra"quote'
TOKEN = "c4narytokenabcdefghijklmnop0123456789"
KEY = "c4naryKey-zyxwvutsrqponm-9876543210"


def spellings(secret: str) -> set[str]:
    """Return the forms in which a secret may appear, without using the redactor's own list."""
    escaped = json.dumps(secret)[1:-1]
    encoded = {base64.b64encode(secret.encode()).decode()[:-4], base64.b64encode(b"x" + secret.encode()).decode()[4:-4]}
    return {secret, escaped, json.dumps(escaped)[1:-1], quote(secret, safe=""), quote(secret).lower()} | encoded


CANARIES = {s for secret in (PASSWORD, TOKEN, KEY) for s in spellings(secret)}


def plant(system: DryRun) -> None:
    quoted = PASSWORD.replace("\\", "\\\\").replace('"', '\\"')
    system.env_file.write_text(
        system.env_text
        + f'CRM_API_KEY="{quoted}"\nNOTION_API_KEY={TOKEN}\nMY_OWN_TOKEN={KEY}\n'
        + f"API_KEY_ENCRYPTION_KEY: {KEY}\nDATABASE_URL=postgresql://app:{quote(PASSWORD, safe='')}@127.0.0.1:1/app\n"
    )
    lines = [
        f"ERROR publisher: email failed: key {PASSWORD}",
        json.dumps({"level": "ERROR", "message": f"publisher: web failed {TOKEN}", "headers": {"X-API-Key": KEY}}),
        json.dumps({"level": "ERROR", "message": json.dumps({"password": PASSWORD})}),
        f"ERROR GET /?key={quote(PASSWORD, safe='')} timed out",
        f"ERROR database failed: postgresql://app:{quote(PASSWORD, safe='')}@db/app",
        f"ERROR Authorization: Basic {base64.b64encode(f'app:{TOKEN}'.encode()).decode()}",
        f"ERROR {base64.b64encode(PASSWORD.encode()).decode()}",
    ]
    with (system.project / "logs" / "app.log").open("a") as log:
        log.write("\n".join(lines) + "\n")


def test_outputs_and_files_do_not_contain_secrets(system: DryRun, tmp_path: Path):
    plant(system)
    (system.project / "toombos.toml").write_text(
        f'{system.manifest}[services.extra]\noptional = true\nport = 1\ncommand = ["sleep", "--token={TOKEN}"]\n'
    )
    bundle, page = tmp_path / "b.tar.zst", tmp_path / "d.html"
    outputs = {
        args: system.run("diagnose", *args)
        for args in (
            ("--verbose", "--bundle", str(bundle), "--html", str(page)),
            ("--json",),
            ("--format", "junit"),
            ("--issue",),
            ("--incident",),
            ("--from", str(bundle), "--verbose"),
            ("--only", TOKEN),
        )
    }
    texts = {" ".join(args): done.stdout + done.stderr for args, done in outputs.items() if TOKEN not in args}
    texts["page"] = page.read_text()
    unpacked = subprocess.run(["zstd", "-dc", str(bundle)], capture_output=True, check=True).stdout
    texts["bundle"] = unpacked.decode("utf-8", "replace")
    for where, text in texts.items():
        assert len(text) > 100, where
        assert [c for c in CANARIES if c in text] == [], where
    assert bundle.stat().st_mode & 0o777 == page.stat().st_mode & 0o777 == 0o600


def test_output_without_a_terminal_is_plain_and_complete(system: DryRun, tmp_path: Path):
    os.kill(system.pid("crm"), signal.SIGKILL)
    wait_for(lambda: system.state("crm")["phase"] == "failed", what="the supervisor's note")
    with (system.project / "logs" / "crm-mock.log").open("a") as log:
        log.write("ERROR \x1b[31m" + "long " * 200 + "\n")
    done = system.run("diagnose", "--verbose")
    assert done.stderr == ""
    assert not [c for c in done.stdout if not c.isprintable() and c != "\n"]
    assert not [line for line in done.stdout.splitlines() if "…" in line and "long long" not in line]
    fix = next(fix for fix in re.findall(r"(?m)^  fix: (.+)$", done.stdout) if fix.startswith("toombos "))
    system.paste(fix)
    system.wait_until_well()
