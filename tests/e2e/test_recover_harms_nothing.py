"""`toombos recover` stops running services only if it can start them again."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.ports import free_port
from tests.support.runner import begin_toombos

SERVER = """\
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


def make_shop(directory: Path) -> None:
    """Write a team's own system: one service, no dry-run mode, no monitoring."""
    (directory / "server.py").write_text(SERVER)
    (directory / "toombos.toml").write_text(
        f'name = "shop"\n[services.cart]\ncommand = ["{{python}}", "server.py"]\nport = {free_port()}\n'
        'env = { PORT = "{port}" }\nhealth = "/"\n'
    )


@pytest.fixture
def shop(project, toombos) -> Path:
    make_shop(project)
    assert toombos("start").returncode == 0
    return project


def state_of(toombos, *options: str) -> dict:
    return json.loads(toombos(*options, "status", "--json").stdout)["data"]


def pid_of_cart(toombos, *options: str) -> int | None:
    return next(row["pid"] for row in state_of(toombos, *options)["services"] if row["name"] == "cart")


def test_a_system_without_a_dry_run_mode_and_without_monitoring_is_recovered(shop, toombos):
    os.kill(pid_of_cart(toombos), signal.SIGKILL)
    done = toombos("recover", timeout_s=120)
    assert done.returncode == 0, done.stdout
    assert [line.split()[1] for line in done.stdout.splitlines()[:-1]] == [
        "stop", "resources", "archive", "start", "health", "smoke",
    ]  # fmt: skip
    assert toombos("health").returncode == 0


def test_recover_stops_nothing_if_the_manifest_cannot_be_read(shop, toombos):
    pid = pid_of_cart(toombos)
    whole = (shop / "toombos.toml").read_text()
    (shop / "toombos.toml").write_text(whole.replace("port =", "prot =", 1))
    done = toombos("recover")
    assert (done.returncode, done.stdout) == (3, "")
    assert "toombos.toml:4" in done.stderr
    (shop / "toombos.toml").write_text(whole)
    assert pid_of_cart(toombos) == pid


def test_recover_stops_nothing_if_the_env_file_cannot_be_read(shop, toombos):
    pid = pid_of_cart(toombos)
    (shop / ".env").write_bytes("DRY_RUN_MODE=true\n".encode("utf-16"))
    done = toombos("recover")
    assert (done.returncode, done.stdout) == (3, "")
    assert f"{shop / '.env'}:1: not UTF-8" in done.stderr
    (shop / ".env").unlink()
    assert pid_of_cart(toombos) == pid


def test_recover_stops_nothing_if_the_disk_is_full(tmp_path, toombos):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m,mode=700", "tmpfs", disk], check=False).returncode:
        pytest.skip("mount -t tmpfs is not permitted")
    here = ("--project", str(disk))
    try:
        make_shop(disk)
        assert toombos(*here, "start").returncode == 0
        pid = pid_of_cart(toombos, *here)
        done = toombos(*here, "recover")
        assert done.returncode == 1
        assert "the disk is full, so nothing was stopped" in done.stdout
        assert "stopped at resources; not done: stop, archive" in done.stdout
        assert f"du -xh -d 2 {disk}" in done.stderr
        assert pid_of_cart(toombos, *here) == pid
    finally:
        toombos(*here, "stop")
        subprocess.run(["umount", disk], check=True)


def test_a_supervisor_that_hangs_is_killed_and_the_system_is_recovered(shop, toombos):
    hung = state_of(toombos)["supervisor"]["pid"]
    os.kill(hung, signal.SIGSTOP)
    done = toombos("recover", timeout_s=120)
    assert done.returncode == 0, done.stdout
    assert f"the supervisor (pid {hung}) did not respond and was killed" in done.stdout
    assert state_of(toombos)["supervisor"]["pid"] != hung
    assert toombos("health").returncode == 0


def test_a_second_recovery_at_the_same_time_is_refused(shop, toombos):
    from toombos_cli.base.locks import hold_alone

    pid = pid_of_cart(toombos)
    with hold_alone(shop / "run" / "recover.lock", "recovery"):
        done = toombos("recover")
    assert done.returncode == 6
    assert f"another toombos is at work here: pid {os.getpid()} (recovery)" in done.stderr
    assert pid_of_cart(toombos) == pid


def test_an_interrupted_recovery_says_how_to_continue(shop):
    with begin_toombos("recover", cwd=shop) as process:
        assert "stop" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, problems = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "hint: toombos recover" in problems


def test_a_failed_backup_is_not_blamed_on_the_services_that_recover_stopped(shop, toombos):
    (shop / "backups").write_text("a file where the directory should be")
    done = toombos("recover", timeout_s=120)
    assert done.returncode == 4
    assert "backups: the backup directory cannot be read: Not a directory" in done.stdout
    assert "nothing is running" not in done.stdout
    assert "start" not in done.stderr
