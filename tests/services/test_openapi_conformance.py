"""Each operation of each service against its OpenAPI, with all checks of schemathesis and either way to send the key.

Longer: `TOOMBOS_FUZZ_EXAMPLES=500 pytest --hypothesis-seed=1 tests/services/test_openapi_conformance.py`.
"""

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, settings
from schemathesis import Case
from schemathesis.checks import CHECKS, load_all_checks, not_a_server_error
from schemathesis.generation.hypothesis.builder import HypothesisTestConfig, HypothesisTestMode, create_test
from schemathesis.generation.overrides import with_config_headers
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import positive_data_acceptance

from services.crm.app import create as create_crm
from services.crm.settings import CrmSettings
from services.generator.app import create as create_generator
from services.generator.settings import GeneratorSettings
from services.platform.app import create as create_platform
from services.platform.settings import PlatformSettings
from tests.services.conftest import serve

KEY = "a-key-of-tests"
CRM = create_crm(CrmSettings(_env_file=None, mock_slow_s=0))
PLATFORM = create_platform(PlatformSettings(_env_file=None, mock_slow_s=0))
DOCUMENTS = {
    "crm": CRM.openapi(),
    "platform": PLATFORM.openapi(),
    "generator": create_generator(GeneratorSettings(_env_file=None, dry_run_mode=True)).openapi(),
}
WAYS = {
    "crm": ("crm", {}),
    "platform": ("platform", {}),
    "generator with X-API-Key": ("generator", {"X-API-Key": KEY}),
    "generator with Authorization": ("generator", {"Authorization": f"Bearer {KEY}"}),
}

BY_NATURE_FALSE_OF_SIMULATIONS = {
    not_a_server_error: "a word in a valid text asks for the failure of a server",
    positive_data_acceptance: "a word in a valid text asks for its refusal",
}
"""The checks that cannot hold for a response that a word in the request's text asked for, and why."""
SIMULATING_WORD = re.compile("error|timeout|invalid|forbidden|banned", re.IGNORECASE)

bounded = settings(
    max_examples=int(os.environ.get("TOOMBOS_FUZZ_EXAMPLES", "20")),
    derandomize="TOOMBOS_FUZZ_EXAMPLES" not in os.environ,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
load_all_checks()


def operations() -> Iterator[object]:
    for way, (service, headers) in WAYS.items():
        schema = schemathesis.openapi.from_dict(DOCUMENTS[service])
        schema.config.update(headers=headers)
        for found in schema.get_all_operations():
            operation = found.ok()
            yield pytest.param(service, operation, id=f"{way}: {operation.label}")


@pytest.fixture(scope="module")
def urls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The addresses of the mocks and of a generator that needs a key, all in this process."""
    with ExitStack() as running:

        def started(app: FastAPI) -> str:
            return str(running.enter_context(serve(app)).base_url)

        crm, platform = started(CRM), started(PLATFORM)
        generator = create_generator(
            GeneratorSettings(
                _env_file=None,
                dry_run_mode=True,
                api_key=KEY,
                mock_crm_base_url=crm,
                mock_platform_base_url=platform,
                database_url=f"sqlite:///{tmp_path_factory.mktemp('generator')}/history.db",
            )
        )
        yield {"crm": crm, "platform": platform, "generator": started(generator)}


@pytest.mark.parametrize(("service", "operation"), list(operations()))
def test_an_operation_responds_as_its_openapi_says(service: str, operation: APIOperation, urls: dict[str, str]) -> None:
    config = operation.schema.config

    def responds(case: Case) -> None:
        response = case.call(base_url=urls[service], headers=config.headers)
        simulated = response.text.startswith('{"detail":"Simulated')
        checks = [c for c in CHECKS.get_all() if not (simulated and c in BY_NATURE_FALSE_OF_SIMULATIONS)]
        case.validate_response(response, checks=checks, headers=config.headers)
        if simulated:
            assert SIMULATING_WORD.search(str(case.body))

    create_test(
        operation=operation,
        test_func=bounded(responds),
        config=HypothesisTestConfig(
            project=config,
            modes=list(HypothesisTestMode),
            override=with_config_headers(config, operation=operation),
        ),
    )()
