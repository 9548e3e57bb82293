"""Each mock against its own OpenAPI: requests find no unrequested 5xx and no response that breaks its schema.

Longer: `TOOMBOS_FUZZ_EXAMPLES=500 pytest tests/services/test_openapi_conformance.py`.
"""

import os
import re
from collections.abc import Iterator

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, settings
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from services.crm.app import create as create_crm
from services.crm.settings import CrmSettings
from services.platform.app import create as create_platform
from services.platform.settings import PlatformSettings
from tests.services.conftest import serve

CRM = create_crm(CrmSettings(_env_file=None, mock_slow_s=0))
PLATFORM = create_platform(PlatformSettings(_env_file=None, mock_slow_s=0))

OVERRULED = [not_a_server_error, positive_data_acceptance, negative_data_rejection]
SIMULATING_WORD = re.compile("error|timeout|invalid|forbidden", re.IGNORECASE)

bounded = settings(
    max_examples=int(os.environ.get("TOOMBOS_FUZZ_EXAMPLES", "20")),
    derandomize="TOOMBOS_FUZZ_EXAMPLES" not in os.environ,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def check(case: Case, url: str) -> None:
    """Run schemathesis' checks, except those overruled by a failure that a word in the text asked for."""
    response = case.call(base_url=url)
    simulated = response.text.startswith('{"detail":"Simulated')
    case.validate_response(response, excluded_checks=OVERRULED if simulated else [])
    if simulated:
        assert SIMULATING_WORD.search(str(case.body))
    else:
        assert response.status_code < 500


def served(app: FastAPI) -> Iterator[str]:
    with serve(app) as client:
        yield str(client.base_url)


@pytest.fixture(scope="module")
def crm_url() -> Iterator[str]:
    yield from served(CRM)


@pytest.fixture(scope="module")
def platform_url() -> Iterator[str]:
    yield from served(PLATFORM)


@schemathesis.openapi.from_dict(CRM.openapi()).parametrize()
@bounded
def test_the_crm_responds_as_its_openapi_says(case: Case, crm_url: str) -> None:
    check(case, crm_url)


@schemathesis.openapi.from_dict(PLATFORM.openapi()).parametrize()
@bounded
def test_the_platform_responds_as_its_openapi_says(case: Case, platform_url: str) -> None:
    check(case, platform_url)
