"""Settings of the mock CRM."""

from pydantic import Field

from services.common.mock.settings import MockSettings


class CrmSettings(MockSettings):
    port: int = Field(default=8001, ge=0, le=65535)
    mock_slow_s: float = Field(default=2, ge=0, le=60)
