"""Responses of all services: the operations' models and errors, as OpenAPI shows them."""

from datetime import UTC, datetime
from enum import StrEnum
from http import HTTPStatus
from typing import Any

from fastapi import Response
from pydantic import AwareDatetime, BaseModel, Field


class HealthStatus(StrEnum):
    """From best to worst."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"


class HealthAnswer(BaseModel):
    status: HealthStatus
    service: str
    version: str
    environment: str
    timestamp: AwareDatetime
    uptime_seconds: float
    dry_run: bool


class ComponentHealth(BaseModel):
    """One component that the service depends on. `response_time_ms` is null if nothing was measured."""

    name: str
    status: HealthStatus
    message: str
    response_time_ms: float | None = None


class DetailedHealthAnswer(HealthAnswer):
    components: list[ComponentHealth]


class LiveAnswer(BaseModel):
    alive: bool
    pid: int
    timestamp: AwareDatetime


class ReadyCheck(BaseModel):
    """One check of readiness. If it is not required, its failure does not make the service unready."""

    name: str
    ready: bool
    message: str
    required: bool = True


class ReadyAnswer(BaseModel):
    ready: bool
    checks: list[ReadyCheck]


class ErrorAnswer(BaseModel):
    detail: str = Field(description="What is wrong, as text")


class InvalidField(BaseModel):
    loc: list[str | int] = Field(description="body, query, path or header, then the path to the field")
    msg: str
    type: str


class InvalidAnswer(BaseModel):
    detail: list[InvalidField]


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the `responses=` of a route or router that may send these statuses with `{"detail": text}`."""
    return {status: {"model": ErrorAnswer, "description": HTTPStatus(status).phrase} for status in statuses}


def written(answer: BaseModel) -> Response:
    """Return the response for a model, for the busiest routes: FastAPI does not validate it again.

    Declare `response_model` on the route.
    """
    return Response(answer.__pydantic_serializer__.to_json(answer), media_type="application/json")


def utc_now() -> datetime:
    return datetime.now(UTC)
