"""Responses against the schema in the service's own OpenAPI document, well-meant or hostile."""

import json
import time

import pytest

from toombos_cli.probes import ProbeResult, Reason
from toombos_cli.probes.steps.response import StepResponse
from toombos_cli.smoke import schema
from toombos_cli.smoke.schema import Contract

ITEM = {"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}}}


def promise(described, media_type="application/json"):
    return {"responses": {"200": {"content": {media_type: {"schema": described}}}}}


def respond(body, status=200, content_type="application/json"):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    result = ProbeResult(
        url="http://x",
        reason=Reason.OK,
        http_status=status,
        body=content,
        headers=(("content-type", content_type),),
    )
    return StepResponse(result=result)


DOCUMENT = {
    "servers": [{"url": "https://public.example.com/api/v1"}],
    "components": {
        "schemas": {"Item": ITEM},
        "responses": {"Gone": {"content": {"application/json": {"schema": {"required": ["why"]}}}}},
    },
    "paths": {
        "/items/{id}": {
            "get": {
                "responses": promise({"$ref": "#/components/schemas/Item"})["responses"]
                | {"410": {"$ref": "#/components/responses/Gone"}}
            }
        },
        "/items/special": {"get": promise({"type": "array"})},
        "/vague": {"get": promise({})},
        "/problem": {"get": promise({"required": ["title"]}, "application/problem+json; charset=utf-8")},
        "/twice": {
            "get": promise({"$ref": "#/paths/~1items~1special/get/responses/200/content/application~1json/schema"})
        },
    },
}
CONTRACT = Contract(document=DOCUMENT)
# path, response, violation, why there is no schema
RESPONSES = {
    "conforming": ("/items/1", respond({"id": "1"}), "", ""),
    "conforming, with a query": ("/items/1?x=1", respond({"id": "1"}), "", ""),
    "conforming, below the path of a server": ("/api/v1/items/1", respond({"id": "1"}), "", ""),
    "without a required field": ("/items/1", respond({}), "$: 'id' is a required property", ""),
    "without a required field, below a server": ("/api/v1/items/1", respond({}), "'id' is a required property", ""),
    "with a field of another type": ("/items/1", respond({"id": 1}), "$.id: 1 is not of type 'string'", ""),
    "a literal path beats a template": ("/items/special", respond({}), "is not of type 'array'", ""),
    "a response by reference": ("/items/1", respond({}, 410), "'why' is a required property", ""),
    "a schema by reference to another route": ("/twice", respond({}), "is not of type 'array'", ""),
    "another media type of JSON": (
        "/problem",
        respond({}, content_type="application/problem+json"),
        "'title' is a required property",
        "",
    ),
    "a body that is not JSON": ("/items/1", respond(b"{"), "the body is not JSON", ""),
    "an empty body": ("/items/1", respond(b""), "the body is empty", ""),
    "an empty schema": ("/vague", respond({"x": 1}), "", "has no schema"),
    "a broken body without a schema": ("/vague", respond(b"{"), "", "has no schema"),
    "an undocumented status": ("/items/1", respond({}, 418), "", "does not list 418"),
    "an undocumented path": ("/nowhere", respond({}), "", "has no GET /nowhere"),
}


@pytest.mark.parametrize(("path", "response", "violation", "missing"), RESPONSES.values(), ids=RESPONSES)
def test_a_response_is_checked_against_the_services_own_schema(path, response, violation, missing):
    found = CONTRACT.judge("GET", path, response)
    assert (bool(found.violation), bool(found.missing), found.doubt) == (bool(violation), bool(missing), "")
    assert violation in found.violation
    assert missing in found.missing


CHAIN = {f"a{i}": {"allOf": [{"$ref": f"#/components/schemas/a{i + 1}"}] * 2} for i in range(40)} | {"a40": {}}
HOSTILE = {
    "an expression that takes for ever": ({"pattern": "(a+)+$"}, "a" * 50 + "b"),
    "a reference to itself": ({"$ref": "#/components/schemas/me"}, 1),
    "two references to each other": ({"$ref": "#/components/schemas/you"}, 1),
    "a billion references": ({"$ref": "#/components/schemas/a0"}, 1),
    "a reference to another document": ({"$ref": "http://192.0.2.7/schema.json"}, 1),
    "a reference to a file": ({"$ref": "file:///etc/passwd"}, 1),
    "a reference to nothing": ({"$ref": "#/components/schemas/none"}, 1),
    "an expression that is none": ({"pattern": "("}, "a"),
    "a keyword of another type": ({"required": 7}, {}),
    "a schema that is a number": (7, 1),
}
ME = {"me": {"$ref": "#/components/schemas/me"}, "you": {"allOf": [{"$ref": "#/components/schemas/us"}]}}
ME |= {"us": {"allOf": [{"$ref": "#/components/schemas/you"}]}}


def test_a_hostile_path_does_not_stop_the_test(monkeypatch):
    monkeypatch.setattr(schema, "_JUDGE_S", 0.5)
    document = {"paths": {"/" + "{a}" * 30 + "x": {"get": promise(ITEM)}}}
    started = time.monotonic()
    found = Contract(document=document).judge("GET", "/" + "a" * 200, respond({}))
    assert time.monotonic() - started < 5
    assert found.doubt


@pytest.mark.parametrize(("described", "body"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_document_neither_stops_the_test_nor_fails_the_service(monkeypatch, described, body):
    monkeypatch.setattr(schema, "_JUDGE_S", 0.5)
    document = {"components": {"schemas": CHAIN | ME}, "paths": {"/": {"get": promise(described)}}}
    started = time.monotonic()
    found = Contract(document=document).judge("GET", "/", respond(body))
    assert time.monotonic() - started < 5
    assert (bool(found.doubt), found.violation) == (True, "")


NULL = {"type": "object", "properties": {"a": {"type": "string", "nullable": True}, "n": {"minimum": 0}}}
OF_3_0 = {
    "nullable, and null": ({"a": None}, ""),
    "nullable, and a text": ({"a": "x"}, ""),
    "nullable, and of another type": ({"a": 1}, "$.a: 1 is not"),
    "an exclusive limit": ({"n": 0}, "$.n: 0 is less than or equal"),
}


@pytest.mark.parametrize(("body", "violation"), OF_3_0.values(), ids=OF_3_0)
def test_a_schema_of_openapi_3_0_means_what_3_0_says(tmp_path, body, violation):
    from tests.support.servers import json_answer, serve
    from toombos_cli.probes import DIRECT

    described = {"type": "object", "properties": NULL["properties"] | {"n": {"minimum": 0, "exclusiveMinimum": True}}}
    document = {"openapi": "3.0.3", "paths": {"/": {"get": promise(described)}}}
    with serve(json_answer(json.dumps(document))) as port:
        contract = Contract.fetch(f"http://127.0.0.1:{port}/", headers={}, timeout_s=5, endpoint=DIRECT)
    assert violation in contract.judge("GET", "/", respond(body)).violation
    assert bool(violation) == bool(contract.judge("GET", "/", respond(body)).violation)
