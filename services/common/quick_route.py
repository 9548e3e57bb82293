"""A route that passes a valid JSON body straight to its endpoint, bypassing FastAPI's parameter resolution.

That resolution takes a third of a busy request's CPU time. Throughput over a bare FastAPI route, medians of seven
rounds of tests/benchmarks/services_vs_bare.py, with this route and without it:

    sending an email in the mock CRM     0.82   0.60   (goal 0.7)
    publishing in the mock platform      0.82   0.71   (goal 0.7)
    a preview of the generator           0.65   0.49   (goal 0.5)
"""

import inspect
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_origin

from fastapi import Request, Response, params
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from starlette.requests import ClientDisconnect

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class QuickRoute(APIRoute):
    """A route for endpoints that take one body model, and perhaps dependencies on the request, and return a Response.

    FastAPI itself handles requests with a query, another content type or an invalid body, so the OpenAPI document and
    the 422 responses are as declared. It also handles endpoints of any other shape. The endpoint's other parameters
    keep their defaults.
    """

    def get_route_handler(self) -> Handler:
        thorough = super().get_route_handler()
        shape = None if self.dependencies else _shape_of(self.endpoint)
        if shape is None:
            return thorough
        endpoint, body_name, dependencies = self.endpoint, shape.body_name, shape.dependencies
        validate_json = shape.body_model.__pydantic_validator__.validate_json

        async def handle(request: Request) -> Response:
            if request.scope["query_string"] or not _is_json(request.scope["headers"]):
                return await thorough(request)
            try:
                arguments = {body_name: validate_json(await request.body())}
            except (ValidationError, ClientDisconnect):
                return await thorough(request)  # the request caches the body that was read
            for name, dependency in dependencies.items():
                arguments[name] = await dependency(request)
            response: Response = await endpoint(**arguments)
            return response

        return handle


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shape:
    """The parameters of an endpoint: one body, and dependencies by name, each a coroutine function of the request."""

    body_name: str
    body_model: type[BaseModel]
    dependencies: dict[str, Callable[[Request], Awaitable[Any]]]


def _shape_of(endpoint: Callable[..., Any]) -> _Shape | None:
    """Return the shape of an endpoint, or None if QuickRoute cannot serve it."""
    signature = inspect.signature(endpoint)
    if signature.return_annotation is not Response:
        return None
    bodies: dict[str, type[BaseModel]] = {}
    dependencies: dict[str, Callable[[Request], Awaitable[Any]]] = {}
    for name, parameter in signature.parameters.items():
        annotation = parameter.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            bodies[name] = annotation
        elif (dependency := _dependency_on_request(annotation)) is not None:
            dependencies[name] = dependency
        elif parameter.default is parameter.empty or isinstance(parameter.default, FieldInfo | params.Depends):
            return None
    if len(bodies) != 1:
        return None
    ((body_name, body_model),) = bodies.items()
    return _Shape(body_name=body_name, body_model=body_model, dependencies=dependencies)


def _dependency_on_request(annotation: Any) -> Callable[[Request], Awaitable[Any]] | None:
    """Return the dependency of `Annotated[T, Depends(...)]` if it is a coroutine function of the request alone."""
    if get_origin(annotation) is not Annotated:
        return None
    found = [each.dependency for each in get_args(annotation)[1:] if isinstance(each, params.Depends)]
    if len(found) != 1 or found[0] is None:
        return None
    taken = [parameter.annotation for parameter in inspect.signature(found[0]).parameters.values()]
    call = found[0] if inspect.isfunction(found[0]) else type(found[0]).__call__
    return found[0] if taken == [Request] and inspect.iscoroutinefunction(call) else None


def _is_json(headers: list[tuple[bytes, bytes]]) -> bool:
    """Report whether the content type is JSON without parameters, as nearly every client sends it."""
    return any(name == b"content-type" and value == b"application/json" for name, value in headers)
