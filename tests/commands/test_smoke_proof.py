"""What proves dry-run mode, and what a smoke test says if it tested nothing."""

import json

import pytest

from tests.support.ports import free_port
from tests.support.servers import read_request, serve

ITEM = {"required": ["version"]}
WITH_SCHEMA = {"responses": {"200": {"content": {"application/json": {"schema": ITEM}}}}}
DOCUMENTS = {
    "no schema": {"openapi": "3.1.0", "paths": {"/health": {"get": {"responses": {"200": {"description": "fine"}}}}}},
    "no such route": {"openapi": "3.1.0", "paths": {}},
    "a schema that the response breaks": {"openapi": "3.1.0", "paths": {"/health": {"get": WITH_SCHEMA}}},
    "no document": None,
}
MANIFEST = """
[services.api]
command = ["unused"]
port = PORT
openapi = "/openapi.json"
MODE
[[smoke]]
name = "may-write"
service = "api"
path = "/health"
json = { status = "STATUS" }
proves_dry_run = true
EXTRA
[[smoke]]
name = "add"
service = "api"
method = "POST"
path = "/items"
status = 201
"""


def api(document):
    def handle(connection):
        _, path, _ = read_request(connection).split(b"\r\n")[0].decode().split(" ")
        status, body = {"/health": (200, {"status": "ok"}), "/items": (201, {"id": 1})}.get(path, (404, {}))
        if path == "/openapi.json" and document is not None:
            status, body = 200, document
        data = json.dumps(body).encode()
        head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
        connection.sendall(head.encode() + data)

    return handle


def run(toombos, project, document, *options, status="ok", mode="", extra=""):
    with serve(api(document)) as port:
        text = MANIFEST.replace("PORT", str(port)).replace("STATUS", status)
        (project / "toombos.toml").write_text(text.replace("MODE", mode).replace("EXTRA", extra))
        return toombos("smoke", *options)


@pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS)
def test_a_proof_depends_only_on_what_its_step_demands(toombos, project, document):
    done = run(toombos, project, document, "--json")
    steps = {step["name"]: step for step in json.loads(done.stdout)["data"]["steps"]}
    assert steps["add"]["verdict"] in ("pass", "warn"), done.stdout  # it was sent


def test_a_document_that_cannot_be_read_is_a_warning(toombos, project):
    done = run(toombos, project, DOCUMENTS["no document"])
    assert done.returncode == 0
    assert "/openapi.json: status: HTTP 404" in done.stdout


def test_a_route_without_a_schema_is_a_note_that_only_verbose_shows(toombos, project):
    note = "the OpenAPI document has no schema for the body of 200"
    done = run(toombos, project, DOCUMENTS["no schema"])
    assert (done.returncode, note in done.stdout) == (0, False)
    done = run(toombos, project, DOCUMENTS["no schema"], "-v")
    assert note in done.stdout
    assert "PASS" in next(line for line in done.stdout.splitlines() if "may-write" in line)


def test_a_route_without_a_schema_is_a_warning_if_the_step_demands_one(toombos, project):
    done = run(toombos, project, DOCUMENTS["no schema"], "--json", extra="json_schema = true")
    steps = {step["name"]: step for step in json.loads(done.stdout)["data"]["steps"]}
    assert (steps["may-write"]["verdict"], steps["add"]["verdict"]) == ("warn", "pass")
    assert "has no schema" in steps["may-write"]["detail"]


MODES = {"a manifest with the mode": ("[modes.dry_run]\n", True), "a manifest without it": ("", False)}


@pytest.mark.parametrize(("mode", "named"), MODES.values(), ids=MODES)
def test_a_refusal_says_what_differs_and_names_only_commands_that_work(toombos, project, mode, named):
    done = run(toombos, project, DOCUMENTS["no schema"], status="dry", mode=mode)
    assert done.returncode == 5
    assert 'expected status "dry", got status "ok"' in done.stderr
    assert ("start --dry-run" in done.stderr) is named
    assert "--allow-live" in done.stderr


OPTIONAL = """
[services.a]
command = ["unused"]
port = PORT
optional = true
[[smoke]]
name = "home"
service = "a"
path = "/"
"""


def test_a_smoke_test_that_tested_nothing_says_so(toombos, project):
    (project / "toombos.toml").write_text(OPTIONAL.replace("PORT", str(free_port())))
    done = toombos("smoke")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "smoke test: nothing was tested, 2 skipped")
    report = json.loads(toombos("smoke", "--json").stdout)
    assert report["verdict"] == "skip"
    assert report["data"]["steps"][-1]["detail"] == "a is not started"
    assert toombos("smoke", "--strict").returncode == 1
