"""`toombos smoke` on a team's own service and manifest: outputs, exit codes, cleanup, secrets."""

import json
import re
import subprocess
import sys

import pytest

from tests.support.ports import free_port
from tests.support.servers import hang, read_request, serve

SECRET = "shop-key-of-the-smoke-test-0815"


class Shop:
    """A small API that keeps orders, requires a key, and reports that it is in dry-run mode."""

    def __init__(self):
        self.orders = {}
        self.seen = []

    def __call__(self, connection):
        request = read_request(connection)
        line, _, rest = request.decode().partition("\r\n")
        method, path, _ = line.split(" ")
        self.seen.append(f"{method} {path}")
        status, body = self.answer(method, path, rest)
        data = json.dumps(body).encode()
        head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
        connection.sendall(head.encode() + data)

    def answer(self, method, path, rest):
        if path == "/health":
            return 200, {"status": "ok", "dry_run": True}
        if path == "/stats":
            return 200, {"orders": len(self.orders)}
        if f"x-api-key: {SECRET}" not in rest.lower():
            return 401, {"detail": "no key"}
        name = path.rpartition("/")[2]
        if method == "POST":
            name = f"o{len(self.orders) + 1}"
            self.orders[name] = {"id": name, "echo": SECRET}
        if method == "DELETE":
            self.orders.pop(name, None)
            return 200, {}
        return (200, self.orders[name]) if name in self.orders else (404, {"detail": f"no {name}"})


STEPS = """
[[smoke]]
name = "dry-run"
service = "shop"
path = "/health"
json = { dry_run = true }
proves_dry_run = true
[[smoke]]
name = "no-key"
service = "shop"
path = "/orders/o1"
status = 401
[[smoke]]
name = "order"
service = "shop"
method = "POST"
path = "/orders"
headers = { X-API-Key = "${env.SHOP_KEY}" }
body = { item = "book ${run.id}" }
capture = { order = "id" }
counters = [{ service = "shop", path = "/stats", json = "orders", rises_by = 1 }]
cleanup = { path = "/orders/${order}" }
[[smoke]]
name = "read"
service = "shop"
path = "/orders/${order}"
headers = { X-API-Key = "${env.SHOP_KEY}" }
json = { id = "${order}", ECHO }
[[smoke]]
name = "only-with-beta"
service = "shop"
path = "/beta"
if_set = "SHOP_BETA"
"""


@pytest.fixture
def shop():
    return Shop()


@pytest.fixture
def project(tmp_path, shop):
    with serve(shop) as port:
        write(tmp_path, port)
        yield tmp_path


def write(project, port, *, echo=f'echo = "{SECRET}"'):
    service = f'[services.shop]\ncommand = ["unused"]\nport = {port}\n'
    (project / "toombos.toml").write_text(service + STEPS.replace("ECHO", echo))
    (project / ".env").write_text(f"SHOP_KEY={SECRET}\n")


def test_a_teams_own_steps_pass_and_their_data_is_removed(toombos, shop):
    done = toombos("smoke")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^PASS +order +shop +\d+ ms$", done.stdout, re.MULTILINE)
    assert "SKIP  only-with-beta: applies only if SHOP_BETA is set" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("smoke test passed: 5 steps")
    assert "DELETE /orders/o1" in shop.seen
    assert shop.orders == {}


def test_a_failure_shows_the_request_the_expected_and_actual_response_and_a_clear_last_line(toombos, project, shop):
    text = (project / "toombos.toml").read_text().replace("rises_by = 1", "rises_by = 2")
    (project / "toombos.toml").write_text(text)
    done = toombos("smoke")
    lines = [line.strip() for line in done.stdout.splitlines()]
    assert done.returncode == 1
    assert any(line.startswith("request   POST http://127.0.0.1") for line in lines)
    assert "expected  shop orders rises by 2" in lines
    assert "got       shop orders rose by 1" in lines
    assert lines[-1] == "smoke test FAILED: order (1 of 5 steps, 1 skipped)"
    assert shop.orders == {}  # removed although the step failed


def test_a_health_step_that_got_no_response_shows_how_long_it_waited(toombos, project):
    with serve(hang) as port:
        (project / "toombos.toml").write_text(f'[services.s]\ncommand = ["true"]\nport = {port}\nhealth = "/"\n')
        (step,) = json.loads(toombos("smoke", "--json").stdout)["data"]["steps"]
    assert step["got"].startswith("timeout")
    assert step["duration_ms"] >= 1900


def test_json_has_the_contract_keys_for_every_step(toombos):
    document = json.loads(toombos("smoke", "--json").stdout)
    steps = document["data"]["steps"]
    keys = {"name", "verdict", "duration_ms", "request", "expected", "got", "detail"}
    assert all(keys <= step.keys() for step in steps)
    assert [step["name"] for step in steps] == ["health-shop", "dry-run", "no-key", "order", "read", "only-with-beta"]
    assert (document["verdict"], document["exit_code"]) == ("pass", 0)


def test_a_secret_never_appears_in_the_output_even_if_the_service_sends_it_back(toombos, project):
    text = (project / "toombos.toml").read_text()
    (project / "toombos.toml").write_text(text.replace(f'echo = "{SECRET}"', 'echo = "other"'))
    for arguments in (["smoke", "-v"], ["smoke", "--json"], ["smoke", "--github", "--junit", "smoke.xml"]):
        done = toombos(*arguments)
        assert done.returncode == 1
        assert SECRET not in done.stdout + done.stderr
        assert "echo" in done.stdout
    assert SECRET not in (project / "smoke.xml").read_text()


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ('path = "/health"', 'path = "/stats?k=${env.SHOP_KEY}"', 5),
        (
            'cleanup = { path = "/orders/${order}" }',
            'cleanup = { path = "/orders/x?k=${env.SHOP_KEY}", status = [204] }',
            0,
        ),
    ],
    ids=["refused", "left behind"],
)
def test_a_secret_in_a_url_never_appears_in_a_refusal_or_in_the_list_of_leftovers(toombos, project, old, new, code):
    text = (project / "toombos.toml").read_text()
    (project / "toombos.toml").write_text(text.replace(old, new))
    for arguments in (["smoke"], ["smoke", "--json"]):
        done = toombos(*arguments)
        assert done.returncode == code
        assert "?k=<SHOP_KEY>" in done.stdout + done.stderr
        assert SECRET not in done.stdout + done.stderr


def test_an_unhealthy_service_receives_only_health_requests(toombos, project, shop):
    text = (project / "toombos.toml").read_text()
    untouched = 'cleanup = { path = "/x", if_at_start = { path = "/stats", json = { orders = 0 } } }'
    (project / "toombos.toml").write_text(text.replace('cleanup = { path = "/orders/${order}" }', untouched))
    assert toombos("smoke").returncode == 0
    assert "GET /stats" in shop.seen
    shop.seen.clear()
    shop.answer = lambda method, path, rest: (500, {"detail": "down"})
    assert toombos("smoke").returncode == 1
    assert shop.seen == ["GET /health"]


def test_a_service_without_proof_of_dry_run_mode_receives_no_writes(toombos, project, shop):
    text = (project / "toombos.toml").read_text().replace("proves_dry_run = true\n", "")
    (project / "toombos.toml").write_text(text)
    document = json.loads(toombos("smoke", "--json").stdout)
    assert next(s for s in document["data"]["steps"] if s["name"] == "order")["verdict"] == "skip"
    assert not any(line.startswith("POST") for line in shop.seen)


def test_wait_returns_as_soon_as_the_services_are_ready(toombos, project):
    assert toombos("smoke", "--wait", "30").returncode == 0


def test_the_wait_ends_if_there_is_no_service_and_the_health_step_reports_why(toombos, project):
    write(project, free_port())
    done = toombos("smoke", "--wait", "0.3")
    assert done.returncode == 1
    assert "refused" in done.stdout
    assert "shop is not healthy" in done.stdout


def test_an_encrypted_key_is_decrypted_before_use(toombos, project):
    from toombos_cli.settings.encryption import encrypt

    key = "k" * 40
    (project / ".env").write_text(f"API_KEY_ENCRYPTION_KEY={key}\nSHOP_KEY={encrypt(SECRET, key)}\n")
    assert toombos("smoke").returncode == 0
    (project / ".env").write_text(f"API_KEY_ENCRYPTION_KEY={'x' * 40}\nSHOP_KEY={encrypt(SECRET, key)}\n")
    done = toombos("smoke")
    assert done.returncode == 3
    assert "the encrypted value of SHOP_KEY cannot be read" in done.stderr


def test_a_junit_file_that_cannot_be_written_is_reported(toombos, project):
    (project / "file").write_text("")
    done = toombos("smoke", "--junit", "file/smoke.xml")
    assert done.returncode == 4
    assert "file/smoke.xml: cannot be written: " in done.stderr


@pytest.mark.parametrize("env", [{}, {"NO_COLOR": "1"}, {"TERM": "dumb"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}])
def test_output_to_a_file_has_neither_escape_codes_nor_progress(toombos, env):
    done = toombos("smoke", "-v", env=env)
    assert "\x1b" not in done.stdout + done.stderr
    assert done.stderr == ""


def test_a_closed_pipe_ends_the_command_quietly(toombos, project):
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {sys.executable} -P -m toombos_cli smoke | head -1"],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode in (0, 141)


def test_quiet_prints_nothing_if_everything_passes(toombos):
    done = toombos("smoke", "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
