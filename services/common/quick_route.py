"""The way of busy requests, past FastAPI's solving of parameters, which took over a third of a preview's CPU time."""

import inspect
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, ClassVar

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class QuickRoute(APIRoute):
    """Hands a valid JSON body straight to an endpoint that takes one body model and gives a Response.

    A request with a query, another content type or a body that is not valid takes FastAPI's own way from the start:
    the route, its OpenAPI and its 422 answers are as declared. So does every endpoint of another shape. The
    endpoint's other parameters keep their defaults, but for those that `other_arguments` gives.
    """

    given: ClassVar[frozenset[str]] = frozenset()
    """Names of the parameters that `other_arguments` gives."""

    async def other_arguments(self, request: Request) -> Mapping[str, Any]:
        """What the endpoint takes besides the body; may refuse the request by raising HTTPException."""
        del request
        return {}

    def get_route_handler(self) -> Handler:
        thorough = super().get_route_handler()
        found = _body_of(self.endpoint, self.given)
        if found is None:
            return thorough
        name, model = found
        validate_json = model.__pydantic_validator__.validate_json

        async def handle(request: Request) -> Response:
            if request.scope["query_string"] or not _is_json(request.scope["headers"]):
                return await thorough(request)
            try:
                body = validate_json(await request.body())
            except (ValidationError, ClientDisconnect):
                return await thorough(request)  # the request keeps the body that it has read
            others = await self.other_arguments(request) if self.given else {}
            response: Response = await self.endpoint(**{name: body}, **others)
            return response

        return handle


def _is_json(headers: list[tuple[bytes, bytes]]) -> bool:
    """Whether the content type is JSON without parameters, as nearly every client sends it."""
    return any(name == b"content-type" and value == b"application/json" for name, value in headers)


def _body_of(endpoint: Callable[..., Any], given: frozenset[str]) -> tuple[str, type[BaseModel]] | None:
    """Name and model of the only body parameter; None when the endpoint is not of the shape that QuickRoute serves."""
    signature = inspect.signature(endpoint)
    bodies = {
        name: parameter.annotation
        for name, parameter in signature.parameters.items()
        if isinstance(parameter.annotation, type) and issubclass(parameter.annotation, BaseModel)
    }
    missing = {name for name, p in signature.parameters.items() if p.default is p.empty} - bodies.keys() - given
    if len(bodies) != 1 or missing or signature.return_annotation is not Response:
        return None
    return next(iter(bodies.items()))
