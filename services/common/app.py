"""The app factory: a FastAPI app that behaves like every Toombos service."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import HTMLResponse, JSONResponse
from starlette.routing import Route

from services.common.host_check import HostCheck
from services.common.metrics import ServiceMetrics
from services.common.middleware import RequestMiddleware
from services.common.operations import HealthCheck, Operations, ReadinessCheck
from services.common.settings import ServiceSettings, listed

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[Any]]
Guard = Callable[[Request], Awaitable[object]]
"""A check that raises HTTPException for a request that may not pass."""


def package_version() -> str:
    try:
        return version("toombos")
    except PackageNotFoundError:  # run from a source tree that is not installed
        return "0"


def create_app(
    settings: ServiceSettings,
    *,
    service: str,
    title: str,
    routers: Sequence[APIRouter],
    description: str = "",
    metrics: ServiceMetrics | None = None,
    readiness: Sequence[ReadinessCheck] = (),
    health: Sequence[HealthCheck] = (),
    lifespan: Lifespan | None = None,
    documents_guard: Guard | None = None,
    security_schemes: Mapping[str, Any] | None = None,
) -> FastAPI:
    """Return the service's app: its routes, the operations' routes, request ids, limits, errors, metrics and logs.

    Routers must have full paths and their own `responses=errors(...)`: their routes are used unchanged, because
    including a router matches each request twice. Pass `metrics` if the service has metrics of its own, and
    `documents_guard` to check the readers of /docs and /openapi.json, whose routes may name `security_schemes`.
    """
    metrics = metrics or ServiceMetrics(service=service, version=package_version())
    operations = Operations(
        service=service,
        version=package_version(),
        environment=settings.environment,
        dry_run=settings.dry_run_mode,
        metrics=metrics,
        readiness=readiness,
        health=health,
    )
    hosts = HostCheck(bound=settings.host, allowed=listed(settings.allowed_hosts), any_name=settings.needs_key)
    app = FastAPI(
        title=title,
        description=description,
        version=package_version(),
        lifespan=lifespan,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # looked up for every request, which is slow
        openapi_url=None,  # served below: FastAPI's own pages load scripts from other hosts
        redirect_slashes=False,  # a redirect of a wrong path has no JSON body
        routes=[route for router in (*routers, operations.router()) for route in router.routes],
        middleware=[
            Middleware(RequestMiddleware, metrics=metrics, max_body_bytes=settings.max_body_bytes, hosts=hosts)
        ],
    )
    _add_documents(app, documents_guard, security_schemes)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(405, _method_not_allowed)
    return app


def _add_documents(app: FastAPI, guard: Guard | None, security_schemes: Mapping[str, Any] | None) -> None:
    """Serve the OpenAPI document and its page. Neither is part of the document."""
    without_schemes = app.openapi

    def with_schemes() -> dict[str, Any]:
        document = without_schemes()
        if security_schemes:
            document["components"]["securitySchemes"] = security_schemes
        return document

    app.openapi = with_schemes  # type: ignore[method-assign]  # FastAPI's documented way

    async def guarded(request: Request) -> dict[str, Any]:
        if guard is not None:
            await guard(request)
        return app.openapi()

    async def openapi(request: Request) -> Response:
        return JSONResponse(await guarded(request))

    async def docs(request: Request) -> Response:
        from services.common.docs_page import HEADERS, docs_page  # few starts need it

        return HTMLResponse(docs_page(await guarded(request)), headers=HEADERS)

    app.router.routes += [Route("/openapi.json", openapi), Route("/docs", docs)]


async def _invalid(request: Request, error: Exception) -> Response:
    """Return 422 with location and reason, without the input: it may be large, secret, or not encodable as UTF-8."""
    assert isinstance(error, RequestValidationError)  # noqa: S101  (registered for nothing else)
    detail: list[dict[str, Any]] = [
        {"loc": list(problem["loc"]), "msg": problem["msg"], "type": problem["type"]} for problem in error.errors()
    ]
    return Response(json.dumps({"detail": detail}), status_code=422, media_type="application/json")


async def _method_not_allowed(request: Request, error: Exception) -> Response:
    """Return 405 with all methods of the path in Allow (Starlette lists only those of the first route)."""
    assert isinstance(error, HTTPException)  # noqa: S101  (registered for nothing else)
    path = request.scope["route"].path
    routes = (route for route in request.app.routes if isinstance(route, Route) and route.path == path)
    allowed = sorted({method for route in routes for method in route.methods or ()})
    return JSONResponse({"detail": error.detail}, status_code=405, headers={"Allow": ", ".join(allowed)})
