"""What each service's OpenAPI must contain: otherwise checking responses against it would prove nothing."""

from collections.abc import Iterator
from typing import Any

import pytest

from services.crm.app import create as create_crm
from services.crm.settings import CrmSettings
from services.generator.app import create as create_generator
from services.generator.settings import GeneratorSettings
from services.platform.app import create as create_platform
from services.platform.settings import PlatformSettings

DOCUMENTS = {
    "crm": create_crm(CrmSettings(_env_file=None)).openapi(),
    "platform": create_platform(PlatformSettings(_env_file=None)).openapi(),
}
GENERATOR = create_generator(GeneratorSettings(_env_file=None, dry_run_mode=True)).openapi()
OPERATIONS = {"get /health", "get /live", "get /ready", "get /metrics"}
CONTRACT = {
    "crm": OPERATIONS
    | {
        "post /api/v1/email/send",
        "get /api/v1/email/{message_id}/status",
        "get /api/v1/users/subscribers",
        "post /api/v1/contacts",
        "get /api/v1/contacts",
        "get /api/v1/contacts/count",
        "post /api/v1/campaigns",
        "get /api/v1/campaigns/{campaign_id}/analytics",
        "get /api/v1/reports/emails",
        "get /api/v1/stats",
        "delete /api/v1/test-data",
    },
    "platform": OPERATIONS
    | {
        "post /api/v1/content/publish",
        "get /api/v1/content",
        "get /api/v1/content/{content_id}",
        "put /api/v1/content/{content_id}",
        "delete /api/v1/content/{content_id}",
        "post /api/v1/social/post",
        "get /api/v1/social/{post_id}",
        "get /api/v1/analytics/content/{content_id}",
        "get /api/v1/analytics/social/{post_id}",
        "post /api/v1/webhooks/content",
        "get /api/v1/stats",
        "delete /api/v1/test-data",
    },
}
CASES = [
    pytest.param(service, path, method, operation, id=f"{service} {method} {path}")
    for service, document in DOCUMENTS.items()
    for path, methods in document["paths"].items()
    for method, operation in methods.items()
]


@pytest.mark.parametrize("service", CONTRACT)
def test_the_routes_match_the_contract(service: str) -> None:
    paths = DOCUMENTS[service]["paths"]
    assert {f"{method} {path}" for path, methods in paths.items() for method in methods} == CONTRACT[service]


@pytest.mark.parametrize(("service", "path", "method", "operation"), CASES)
def test_every_response_has_a_specific_schema(service: str, path: str, method: str, operation: dict[str, Any]) -> None:
    assert "200" in operation["responses"]
    for status, schema in _schemas(operation):
        assert _resolved(service, schema).get("type"), f"{status} of {method} {path} has no specific schema: {schema}"


def test_every_success_of_the_generator_has_a_specific_schema() -> None:
    for path, methods in GENERATOR["paths"].items():
        for method, operation in methods.items():
            (content,) = operation["responses"]["200"]["content"].values()
            assert content["schema"], f"{method} {path}: any JSON is a valid response"


@pytest.mark.parametrize(("service", "path", "method", "operation"), CASES)
def test_every_route_has_a_description(service: str, path: str, method: str, operation: dict[str, Any]) -> None:
    assert operation["description"].endswith(".")


@pytest.mark.parametrize("service", DOCUMENTS)
def test_the_simulations_are_described_in_words(service: str) -> None:
    description = DOCUMENTS[service]["info"]["description"]
    assert "X-Simulate" in description
    assert all(name in description for name in ("error", "timeout", "slow"))


@pytest.mark.parametrize(("service", "path", "method", "operation"), CASES)
def test_every_simulated_status_is_declared(service: str, path: str, method: str, operation: dict[str, Any]) -> None:
    parameters = {parameter["name"]: parameter["schema"] for parameter in operation.get("parameters", [])}
    simulated = {"crm": {"400", "408", "500", "503"}, "platform": {"400", "403", "408", "503"}}[service]
    assert "X-Simulate" not in parameters, "a tool would ask for failures, and report them"
    if "/stats" in path or "/test-data" in path or not path.startswith("/api/"):
        return
    assert ("Idempotency-Key" in parameters) == (method == "post")
    assert set(operation["responses"]) >= simulated | {"422"}
    assert ("413" in operation["responses"]) == ("requestBody" in operation)


def _schemas(operation: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for status, response in operation["responses"].items():
        for media_type in response["content"].values():
            yield status, media_type["schema"]


def _resolved(service: str, schema: dict[str, Any]) -> dict[str, Any]:
    name = schema.get("$ref", "").rpartition("/")[2]
    return DOCUMENTS[service]["components"]["schemas"][name] if name else schema
