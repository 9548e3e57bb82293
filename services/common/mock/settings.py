"""Settings of a mock: how it misbehaves unless a request asks for a failure."""

from pydantic import Field

from services.common.settings import ServiceSettings


class MockSettings(ServiceSettings):
    mock_latency_ms: float = Field(default=0, ge=0, le=60_000, description="added to every response")
    mock_error_rate: float = Field(default=0, ge=0, le=1, description="share of requests that fail with 503")
    mock_seed: int = Field(default=0, description="selects the requests that fail; the same seed selects the same ones")
    mock_slow_s: float = Field(ge=0, le=60, description="how long the simulation `slow` takes")
