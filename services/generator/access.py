"""Access control: API keys, and a rate limit for each key or client."""

import hmac
import ipaddress
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from hashlib import sha256
from math import ceil
from time import monotonic
from typing import Annotated, Any

from fastapi import Depends, HTTPException, Request, Response
from starlette.datastructures import Headers

from services.common.loopback import is_loopback
from services.common.quick_route import Handler, QuickRoute

logger = logging.getLogger("generator.auth")

SECURITY_SCHEMES = {
    "Bearer": {"type": "http", "scheme": "bearer", "description": "API_KEY as a bearer token"},
    "ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "API_KEY"},
}
"""The two ways to send the key, for OpenAPI."""
_ROLE = "toombos.role"
_MAX_CLIENTS = 10_000


class Role(Enum):
    READER = "reader"
    EDITOR = "editor"


class ApiKeys:
    """The API keys. API_KEY allows everything, READ_ONLY_API_KEY reading and previews.

    Without API_KEY, requests without a key are allowed everything.
    """

    def __init__(self, api_key: str | None, read_only_key: str | None) -> None:
        keys = ((Role.EDITOR, (api_key or "").strip()), (Role.READER, (read_only_key or "").strip()))
        self._digests = tuple((role, sha256(key.encode()).digest()) for role, key in keys if key)
        self.required = api_key is not None

    def role_of(self, key: str | None) -> Role | None:
        """Return the role of `key`, or None if the key is wrong, or missing although required.

        `key` is a header's value as Starlette reads it: each byte one character.
        Digests of equal length are compared in constant time, and always all of them.
        """
        if key is None:
            return None if self.required else Role.EDITOR
        digest = sha256(key.encode("latin-1")).digest()
        found = None
        for role, known in self._digests:
            if hmac.compare_digest(digest, known):
                found = found or role
        return found


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled_at_s: float


class RateLimiter:
    """A token bucket for each client: `per_minute` requests at once, refilled evenly. 0 means no limit."""

    def __init__(self, per_minute: int, *, clock: Callable[[], float] = monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, client: str) -> float:
        """Return the seconds until the next request of `client` is served, or 0 if this one is."""
        if not self._per_minute:
            return 0.0
        now_s = self._clock()
        bucket = self._buckets.setdefault(client, _Bucket(self._per_minute, now_s))
        self._buckets.move_to_end(client)
        if len(self._buckets) > _MAX_CLIENTS:
            self._buckets.popitem(last=False)  # the client idle for the longest time: its bucket is the fullest
        refill = (now_s - bucket.filled_at_s) * self._per_minute / 60
        bucket.tokens = min(float(self._per_minute), bucket.tokens + refill)
        bucket.filled_at_s = now_s
        if bucket.tokens >= 1:
            bucket.tokens -= 1
            return 0.0
        return (1 - bucket.tokens) * 60 / self._per_minute


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """The access checks for each request; the app keeps them as `app.state.gate`."""

    keys: ApiKeys
    limiter: RateLimiter


async def authenticate(request: Request) -> Role:
    """Return the caller's role. Raise 401 for a missing or wrong key, 429 for too many requests."""
    gate: Gate = request.app.state.gate
    key = _presented_key(request.headers)
    role = gate.keys.role_of(key)
    wait_s = gate.limiter.take(_client(request, key if role else None))
    if wait_s:
        retry_after = {"Retry-After": str(ceil(wait_s))}
        raise HTTPException(429, "Too many requests: RATE_LIMIT_PER_MINUTE is exceeded", headers=retry_after)
    if role is None:
        detail = "API key required: Authorization: Bearer, or X-API-Key" if key is None else "Invalid API key"
        logger.warning("%s", detail)
        raise HTTPException(401, detail, headers={"WWW-Authenticate": "Bearer"})
    return role


class KeyedRoute(QuickRoute):
    """A route that checks the key before it reads anything else of the request. OpenAPI shows both ways to send it."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        security: list[dict[str, list[str]]] = [{name: []} for name in SECURITY_SCHEMES]
        super().__init__(path, endpoint, **options | {"openapi_extra": {"security": security}})

    def get_route_handler(self) -> Handler:
        handler = super().get_route_handler()

        async def keyed(request: Request) -> Response:
            request.scope[_ROLE] = await authenticate(request)
            return await handler(request)

        return keyed


async def _role(request: Request) -> Role:
    role: Role = request.scope[_ROLE]
    return role


Caller = Annotated[Role, Depends(_role)]
"""The role of the caller of a KeyedRoute."""


def _presented_key(headers: Headers) -> str | None:
    """Return the key from either header; any scheme other than Bearer counts as a wrong key, not a missing one."""
    authorization = headers.get("authorization")
    if authorization is None:
        return headers.get("x-api-key")
    scheme, _, credentials = authorization.partition(" ")
    return credentials.strip() if scheme.lower() == "bearer" else ""


def require_editor(role: Role) -> None:
    """Raise 403 for a key that only allows reading and previews."""
    if role is not Role.EDITOR:
        raise HTTPException(403, "This key may read and preview, not publish")


def _client(request: Request, valid_key: str | None) -> str:
    """Return the client's name: its valid key, else its address, so that guessed keys share one bucket."""
    if valid_key:
        return f"key:{sha256(valid_key.encode()).hexdigest()}"
    return f"address:{network_of(request.client.host) if request.client else ''}"


@lru_cache(maxsize=1024)
def network_of(address: str) -> str:
    """Return what stands for one client: an IPv4 address, a /64 of IPv6, or all of loopback.

    A client chooses freely among the addresses of its /64, and among those of loopback.
    """
    if is_loopback(address):
        return "loopback"
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return address
    return str(parsed.ipv4_mapped or ipaddress.ip_network((parsed, 64), strict=False))
