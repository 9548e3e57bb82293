"""`toombos smoke --deep`: schemathesis with a service that conforms to its OpenAPI document, and one that does not."""

import json

import pytest

from tests.support.programs import needs
from tests.support.servers import read_request, serve

DOCUMENT = {
    "openapi": "3.1.0",
    "info": {"title": "A small service", "version": "1"},
    "paths": {
        "/number": {
            "get": {
                "responses": {
                    "200": {"description": "A number", "content": {"application/json": {"schema": {"type": "integer"}}}}
                }
            }
        }
    },
}


def service(number):
    """Return a handler that declares an integer and responds with `number` to requests of its tenants."""

    def handle(connection):
        head = read_request(connection)
        line = head.split(b"\r\n")[0]
        method, path, _ = line.decode().split(" ")
        known = {"/openapi.json": DOCUMENT, "/number": number, "/health": {"status": "ok", "dry_run": True}}
        status, body = (200, known[path]) if path in known else (404, {})
        if method != "GET":
            status, body = 405, {}
        if b"x-tenant: a-7\r\n" not in head.lower():
            status, body = 401, {}
        data = json.dumps(body).encode()
        head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\nAllow: GET\r\n"
        connection.sendall(head.encode() + b"Connection: close\r\n\r\n" + data)

    return handle


MANIFEST = """
[services.web]
command = ["unused"]
port = PORT
openapi = "/openapi.json"
headers = { X-Tenant = "a-${env.TENANT}" }
env = { TENANT = "7" }
[[smoke]]
name = "dry-run"
service = "web"
path = "/health"
json = { dry_run = true }
json_schema = false
PROOF
"""


def smoke(toombos, project, number, *, proof="proves_dry_run = true"):
    with serve(service(number)) as port:
        (project / "toombos.toml").write_text(MANIFEST.replace("PORT", str(port)).replace("PROOF", proof))
        done = toombos("smoke", "--deep", "--json", timeout_s=200)
    steps = {step["name"]: step for step in json.loads(done.stdout)["data"]["steps"]}
    return done.returncode, steps["deep-web"]


@pytest.mark.full
@pytest.mark.parametrize(("number", "verdict"), [(7, "pass"), ("seven", "fail")], ids=["conforming", "not conforming"])
def test_a_response_that_does_not_conform_to_the_document_is_found(toombos, project, number, verdict):
    needs("schemathesis", search=())
    code, step = smoke(toombos, project, number)
    assert (step["verdict"], code) == (verdict, 0 if verdict == "pass" else 1), step
    assert ("GET /number" in step["got"]) == (verdict == "fail")


def test_a_service_that_may_not_be_written_to_is_not_fuzzed(toombos, project):
    needs("schemathesis")
    code, step = smoke(toombos, project, 7, proof="")
    assert (code, step["verdict"]) == (0, "skip")
    assert "has not said that it is in dry-run mode" in step["detail"]
