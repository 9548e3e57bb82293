"""The quick route responds to every request like FastAPI's own route, and skips no dependency."""

from collections.abc import Callable
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response, Security
from fastapi.routing import APIRoute
from pydantic import BaseModel

from services.common.answers import written
from services.common.app import create_app
from services.common.quick_route import QuickRoute
from services.common.settings import ServiceSettings
from tests.services.conftest import serve


class Settings(ServiceSettings):
    port: int = 0


class Note(BaseModel):
    text: str


async def keyed(request: Request) -> str:
    """Refuse a request without a key, and greet the others."""
    if request.headers.get("x-key") != "right":
        raise HTTPException(401, "no key")
    return "hello"


class Keyed:
    async def __call__(self, request: Request) -> str:
        return await keyed(request)


def keyed_at_once(request: Request) -> str:
    if request.headers.get("x-key") != "right":
        raise HTTPException(401, "no key")
    return "hello"


async def keyed_by_dependency(greeting: Annotated[str, Depends(keyed)]) -> str:
    return greeting


async def with_only_a_body(note: Note) -> Response:
    return written(note)


async def with_defaults(note: Note, times: Annotated[int, Query(ge=1)] = 2) -> Response:
    return written(Note(text=note.text * times))


async def with_a_default_in_the_old_style(note: Note, times: int = Query(2, ge=1)) -> Response:
    return written(Note(text=note.text * times))


async def with_a_dependency(note: Note, greeting: Annotated[str, Depends(keyed)]) -> Response:
    return written(Note(text=greeting + note.text))


async def with_a_security_scheme(note: Note, greeting: Annotated[str, Security(Keyed())]) -> Response:
    return written(Note(text=greeting + note.text))


async def with_a_dependency_in_the_old_style(note: Note, greeting: str = Depends(keyed)) -> Response:
    return written(Note(text=greeting + note.text))


async def with_a_dependency_that_is_not_a_coroutine(
    note: Note, greeting: Annotated[str, Depends(keyed_at_once)]
) -> Response:
    return written(Note(text=greeting + note.text))


async def with_a_dependency_of_a_dependency(
    note: Note, greeting: Annotated[str, Depends(keyed_by_dependency)]
) -> Response:
    return written(Note(text=greeting + note.text))


async def with_a_model_as_its_response(note: Note) -> Note:
    return note


ENDPOINTS = [
    with_only_a_body,
    with_defaults,
    with_a_default_in_the_old_style,
    with_a_dependency,
    with_a_security_scheme,
    with_a_dependency_in_the_old_style,
    with_a_dependency_that_is_not_a_coroutine,
    with_a_dependency_of_a_dependency,
    with_a_model_as_its_response,
]
REQUESTS: list[tuple[str, dict[str, Any]]] = [
    ("a valid body", {"json": {"text": "x"}}),
    ("a valid body with the key", {"json": {"text": "x"}, "headers": {"x-key": "right"}}),
    ("an invalid body", {"json": {"text": 1}}),
    ("no JSON", {"content": b"{", "headers": {"content-type": "application/json"}}),
    ("a query", {"json": {"text": "x"}, "params": {"times": 3}}),
    ("a query out of range", {"json": {"text": "x"}, "params": {"times": 0}}),
    ("another content type", {"content": b'{"text": "x"}', "headers": {"content-type": "text/plain"}}),
]


def routers(endpoint: Callable[..., Any], **options: Any) -> list[APIRouter]:
    """The endpoint at /quick and, by FastAPI's own route, at /own."""
    made = []
    for path, route_class in (("/quick", QuickRoute), ("/own", APIRoute)):
        router = APIRouter(route_class=route_class)
        router.post(path, response_model=Note, **options)(endpoint)
        made.append(router)
    return made


def asked(client: httpx.Client, path: str, given: dict[str, Any]) -> tuple[int, bytes]:
    response = client.post(path, **given)
    return response.status_code, response.content


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.__name__)
def test_the_quick_route_responds_like_fastapis_own(endpoint: Callable[..., Any]) -> None:
    app = create_app(Settings(_env_file=None), service="notes", title="Notes", routers=routers(endpoint))
    with serve(app) as client:
        for what, given in REQUESTS:
            assert asked(client, "/quick", given) == asked(client, "/own", given), what


def test_the_quick_route_runs_the_dependencies_of_the_route() -> None:
    made = routers(with_only_a_body, dependencies=[Depends(keyed)])
    with serve(create_app(Settings(_env_file=None), service="notes", title="Notes", routers=made)) as client:
        assert asked(client, "/quick", {"json": {"text": "x"}})[0] == 401
