"""Errors as `{"detail": ...}`: what FastAPI's own handlers get wrong is handled here."""

import json
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.routing import Route


def install(app: FastAPI) -> None:
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(405, _method_not_allowed)


async def _invalid(request: Request, error: Exception) -> Response:
    """422 with place and reason. The input is not echoed: it may be large, secret, or text that UTF-8 cannot hold."""
    assert isinstance(error, RequestValidationError)  # noqa: S101  (registered for nothing else)
    detail: list[dict[str, Any]] = [
        {"loc": list(problem["loc"]), "msg": problem["msg"], "type": problem["type"]} for problem in error.errors()
    ]
    return Response(json.dumps({"detail": detail}), status_code=422, media_type="application/json")


async def _method_not_allowed(request: Request, error: Exception) -> Response:
    """405 whose Allow names every method of the path (Starlette names those of its first route only)."""
    assert isinstance(error, HTTPException)  # noqa: S101  (registered for nothing else)
    path = request.scope["route"].path
    routes = (route for route in request.app.routes if isinstance(route, Route) and route.path == path)
    allowed = sorted({method for route in routes for method in route.methods or ()})
    return JSONResponse({"detail": error.detail}, status_code=405, headers={"Allow": ", ".join(allowed)})
