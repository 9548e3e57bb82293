"""Field types shared by the mocks' requests."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import Query
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue
from pydantic_core import to_json


class MockRequest(BaseModel):
    """A request body with strict JSON types (no "1" for 1); unknown keys are ignored, as by most such services."""

    model_config = ConfigDict(strict=True)


def _to_utc(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("should be a string like 2030-01-31T12:00:00Z")  # noqa: TRY004  (pydantic wants ValueError)
    try:
        instant = datetime.fromisoformat(value.upper()) if len(value) > len("2030-01-31") else None
        if instant is not None:
            return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
    except (ValueError, OverflowError):  # not a date, or out of range because of its offset
        pass
    raise ValueError("should be a date and time like 2030-01-31T12:00:00Z")


def _writable(value: dict[str, JsonValue]) -> dict[str, JsonValue]:
    to_json(value)  # raises ValueError: JsonValue accepts lone surrogates and any depth
    return value


Instant = Annotated[datetime, BeforeValidator(_to_utc)]
"""A moment, converted to UTC. Without an offset it is taken as UTC."""

# Spelled out, because `\s` means other characters to pydantic, to Python and to readers of the OpenAPI document.
_NO_SPACE = r"[^@\x00-\x20\x7f-\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff]"
EmailAddress = Annotated[str, Field(pattern=f"^{_NO_SPACE}+@{_NO_SPACE}+$", max_length=320)]
Metadata = Annotated[dict[str, JsonValue], AfterValidator(_writable)]
"""Any JSON object that can be written as JSON again (its strings are valid Unicode)."""

Limit = Annotated[int, Query(ge=1, le=1000)]
Offset = Annotated[int, Query(ge=0, le=1_000_000_000)]
