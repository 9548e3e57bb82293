"""A target to publish to: its address and key, circuit breaker and idempotent requests."""

import asyncio
from typing import Any

import httpx

from services.generator.outgoing.circuit_breaker import CircuitBreaker, CircuitOpenError
from services.generator.outgoing.client import json_body
from services.generator.outgoing.egress import EgressRefusedError
from services.generator.outgoing.retry import AttemptsFailedError, RetryPolicy, describe, send_with_retry


class PublishError(Exception):
    """The target did not accept the publication. The message names the target and the reason."""


class PublishTarget:
    """A target to publish to. `slots` limits the concurrent requests of all targets that share it."""

    def __init__(
        self,
        name: str,
        *,
        base_url: str,
        api_key: str | None,
        client: httpx.AsyncClient,
        slots: asyncio.Semaphore,
        breaker: CircuitBreaker | None = None,
        policy: RetryPolicy | None = None,
    ) -> None:
        self.name = name
        self.breaker = breaker or CircuitBreaker(name)
        self._base_url = base_url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._client = client
        self._slots = slots
        self._policy = policy or RetryPolicy()

    async def publish(self, path: str, body: dict[str, Any], *, idempotency_key: str) -> dict[str, Any]:
        """Publish and return the target's JSON response. Raise PublishError.

        All attempts have the same key, so the target publishes once.
        """
        headers = self._headers | {"Idempotency-Key": idempotency_key}

        async def send() -> httpx.Response:
            async with self._slots:
                return await self._client.post(f"{self._base_url}{path}", json=body, headers=headers)

        try:
            response = await send_with_retry(send, target=self.name, breaker=self.breaker, policy=self._policy)
        except (AttemptsFailedError, CircuitOpenError, EgressRefusedError) as error:
            raise PublishError(str(error)) from error
        if not response.is_success:
            raise PublishError(f"{self.name}: HTTP {response.status_code}{describe(response)}")
        try:
            answer = json_body(response)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise PublishError(
                f"{self.name}: HTTP {response.status_code} without a JSON object: unknown whether published"
            )
        return answer

    async def problem(self, *, timeout_s: float) -> str | None:
        """Return why the target is not reachable, or None. Send one request to its /health, without retries."""
        try:
            response = await self._client.get(f"{self._base_url}/health", timeout=timeout_s)
        except (httpx.HTTPError, httpx.InvalidURL, EgressRefusedError) as error:
            return str(error) or type(error).__name__
        return None if response.is_success else f"HTTP {response.status_code}"
