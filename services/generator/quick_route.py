"""The way of the busiest requests, past FastAPI's solving of parameters: over a third of a preview's CPU time."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import ValidationError
from starlette.requests import ClientDisconnect

from services.generator.access import authenticate
from services.generator.models import GenerateRequest

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class GenerateRoute(APIRoute):
    """Hands a valid JSON body and the caller's role to the endpoint, whose other parameters keep their defaults.

    A request with a query, another content type or a body that is not valid takes FastAPI's own way from the start:
    the route, its OpenAPI and its 422 answers are as declared. `endpoint` takes `body` and `role` and gives a Response.
    """

    def get_route_handler(self) -> Handler:
        thorough = super().get_route_handler()
        validate_json = GenerateRequest.__pydantic_validator__.validate_json

        async def handle(request: Request) -> Response:
            if request.scope["query_string"] or request.headers.get("content-type") != "application/json":
                return await thorough(request)
            try:
                body = validate_json(await request.body())
            except (ValidationError, ClientDisconnect):
                return await thorough(request)  # the request keeps the body that it has read
            response: Response = await self.endpoint(body=body, role=await authenticate(request))
            return response

        return handle
