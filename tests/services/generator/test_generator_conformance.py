"""The generator against its own OpenAPI: generated requests find no 5xx and no response that breaks its schema.

Longer: `TOOMBOS_FUZZ_EXAMPLES=500 pytest tests/services/generator/test_generator_conformance.py`.
"""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import Case
from schemathesis.specs.openapi.checks import negative_data_rejection

from services.crm.app import create as create_crm
from services.crm.settings import CrmSettings
from services.generator.app import create
from services.generator.settings import GeneratorSettings
from services.platform.app import create as create_platform
from services.platform.settings import PlatformSettings
from tests.services.conftest import serve

KEY = "a-key-of-tests"
SCHEMA = create(GeneratorSettings(_env_file=None, dry_run_mode=True)).openapi()

bounded = settings(
    max_examples=int(os.environ.get("TOOMBOS_FUZZ_EXAMPLES", "20")),
    derandomize="TOOMBOS_FUZZ_EXAMPLES" not in os.environ,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def generator_url() -> Iterator[str]:
    """A generator with its mocks, all in this process."""
    mocks = create_crm(CrmSettings(_env_file=None)), create_platform(PlatformSettings(_env_file=None))
    with tempfile.TemporaryDirectory() as directory, serve(mocks[0]) as crm, serve(mocks[1]) as platform:
        generator = create(
            GeneratorSettings(
                _env_file=None,
                dry_run_mode=True,
                api_key=KEY,
                mock_crm_base_url=str(crm.base_url),
                mock_platform_base_url=str(platform.base_url),
                database_url=f"sqlite:///{Path(directory)}/history.db",
            )
        )
        with serve(generator) as client:
            yield str(client.base_url)


@schemathesis.openapi.from_dict(SCHEMA).parametrize()
@bounded
def test_the_generator_responds_as_its_openapi_says(case: Case, generator_url: str) -> None:
    response = case.call(base_url=generator_url, headers={"Authorization": f"Bearer {KEY}"})
    # A request that is invalid only because it has no key is valid with it.
    excluded = [] if "Authorization" in (case.headers or {}) else [negative_data_rejection]
    case.validate_response(response, excluded_checks=excluded)
    assert response.status_code < 500


def test_every_response_has_a_specific_schema() -> None:
    for path, operations in SCHEMA["paths"].items():
        for method, operation in operations.items():
            content = operation["responses"]["200"]["content"]
            schema = next(iter(content.values()))["schema"]
            assert schema, f"{method} {path}: any JSON is a valid response"
