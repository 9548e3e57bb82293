"""Failures on request: a word in the text (`error`, `timeout`, ...), the header X-Simulate, or a share of all requests.

`SimulatedRoute` applies the header, the latency and the error rate to a route, and handles Idempotency-Key.
"""

import asyncio
import inspect
import logging
import random
import re
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect

from services.common.answers import InvalidAnswer, errors
from services.common.mock.idempotency import KEY_MAX_CHARS, Answers, KeyReusedError
from services.common.mock.settings import MockSettings
from services.common.quick_route import QuickRoute

logger = logging.getLogger("services.simulation")

SLOW = "slow"
_SIMULATE, _IDEMPOTENCY = "X-Simulate", "Idempotency-Key"
_KEY_PARAMETER = {
    "name": _IDEMPOTENCY,
    "in": "header",
    "required": False,
    "description": "A repeated request with the same key gets the first response; another request with it gets 409",
    "schema": {"type": "string", "minLength": 1, "maxLength": KEY_MAX_CHARS},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedFailure:
    """The response of a simulated failure."""

    status: int
    detail: str


class Behaviour:
    """The simulations of one mock and its kept responses. `failures` maps names for X-Simulate and texts to failures.

    `others` are names that a route handles itself (`draft`).
    """

    def __init__(
        self,
        settings: MockSettings,
        *,
        label: str,
        failures: Mapping[str, SimulatedFailure],
        others: tuple[str, ...] = (),
    ) -> None:
        self.answers = Answers()
        self.names = (*failures, SLOW, *others)
        self._failures = failures
        self._label = label
        self._latency_s = settings.mock_latency_ms / 1000
        self._slow_s = settings.mock_slow_s
        self._error_rate = settings.mock_error_rate
        self.disturbs_all = bool(self._latency_s or self._error_rate)
        self._random = random.Random(settings.mock_seed)  # noqa: S311  (repeatable on purpose)
        words = "|".join(map(re.escape, self.names))
        self._words = re.compile(rf"(?<![a-z])(?:{words})(?![a-z])", re.IGNORECASE)

    def named_in(self, text: str) -> str | None:
        """Return the simulation that the text names as a whole word; the first in the order of `names` if several."""
        found = {word.lower() for word in self._words.findall(text)}
        return next((name for name in self.names if name in found), None) if found else None

    @property
    def description(self) -> str:
        """Return the sentence about simulations for the OpenAPI document."""
        return f"Simulations on request, by the header X-Simulate or a word in the text: {', '.join(self.names)}."

    async def simulate(self, name: str | None) -> None:
        """Fail or be slow, depending on the name. Raise HTTPException for a failure."""
        if name is None:
            return
        failure = self._failures.get(name)
        if failure is not None:
            logger.warning("%s", failure.detail, extra={"simulation": name, "status": failure.status})
            raise HTTPException(failure.status, failure.detail)
        if name == SLOW:
            await asyncio.sleep(self._slow_s)

    async def disturb(self, requested: str | None) -> None:
        """Apply, before a route runs, the latency, a random failure, and the simulation named by the header."""
        if self._latency_s:
            await asyncio.sleep(self._latency_s)
        if self._error_rate and self._random.random() < self._error_rate:
            detail = f"Simulated {self._label} error: MOCK_ERROR_RATE"
            logger.warning("%s", detail, extra={"simulation": "error rate", "status": 503})
            raise HTTPException(503, detail)
        if requested is not None:
            if requested not in self.names:
                raise _invalid_header(_SIMULATE, f"Input should be one of: {', '.join(self.names)}")
            await self.simulate(requested)


class SimulatedRoute(QuickRoute):
    """A route that obeys `app.state.behaviour`. OpenAPI shows `Idempotency-Key` for POST.

    `X-Simulate` is only described in words: it asks for responses that break the promises of an OpenAPI document.
    The headers are read here instead of being parameters of each endpoint, which would take a fifth of the request's
    time.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        if "POST" in (options.get("methods") or ()):
            options["openapi_extra"] = {"parameters": [_KEY_PARAMETER]}
            options["responses"] = {**(options.get("responses") or {}), **errors(409)}
        super().__init__(path, endpoint, **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()
        once_per_key = "POST" in (self.methods or ())
        models = (parameter.annotation for parameter in inspect.signature(self.endpoint).parameters.values())
        validators = [m.__pydantic_validator__ for m in models if isinstance(m, type) and issubclass(m, BaseModel)]

        def is_valid(body: bytes) -> bool:
            try:
                for validator in validators:
                    validator.validate_json(body)
            except ValidationError:
                return False
            return True

        async def simulated(request: Request) -> Response:
            behaviour: Behaviour = request.app.state.behaviour
            simulate = key = None
            for name, value in request.scope["headers"]:  # one pass; `request.headers` would make two, and copy
                if name == b"x-simulate":
                    simulate = value.decode("latin-1")
                elif once_per_key and name == b"idempotency-key":
                    key = value.decode("latin-1")
            if simulate is not None or behaviour.disturbs_all:
                await behaviour.disturb(simulate)
            if key is None:
                return await handler(request)
            if not 0 < len(key) <= KEY_MAX_CHARS:
                raise _invalid_header(_IDEMPOTENCY, f"String should have 1 to {KEY_MAX_CHARS} characters")
            try:
                digest = await _digest(request)
                return await behaviour.answers.once((self.path, key), digest, lambda: handler(request))
            except ClientDisconnect:
                return await handler(request)
            except KeyReusedError:
                if is_valid(await request.body()):
                    raise HTTPException(409, f"The {_IDEMPOTENCY} was used for another request") from None
                return await handler(request)  # refuses the body

        return simulated


async def _digest(request: Request) -> bytes:
    """Return a digest of all that decides about the response: content type, query and body."""
    digest = blake2b(digest_size=16)
    for part in (request.headers.get("content-type", "").encode("latin-1"), request.scope["query_string"]):
        digest.update(len(part).to_bytes(8) + part)
    digest.update(await request.body())
    return digest.digest()


def simulated_router(**options: Any) -> APIRouter:
    """Return a router whose routes support the simulations of `app.state.behaviour`."""
    responses = {422: {"model": InvalidAnswer, "description": "Invalid request"}, **options.pop("responses", {})}
    return APIRouter(route_class=SimulatedRoute, responses=responses, **options)


def _invalid_header(name: str, reason: str) -> RequestValidationError:
    return RequestValidationError([{"type": "value_error", "loc": ("header", name), "msg": reason}])
