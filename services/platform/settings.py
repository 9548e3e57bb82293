"""Settings of the mock platform."""

from pydantic import Field

from services.common.mock.settings import MockSettings


class PlatformSettings(MockSettings):
    port: int = Field(default=8002, ge=0, le=65535)
    mock_slow_s: float = Field(default=3, ge=0, le=60)
