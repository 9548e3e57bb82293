"""Send a request and retry it while that may help: backoff with jitter, Retry-After, circuit breaker."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from services.generator.outgoing.circuit_breaker import CircuitBreaker
from services.generator.outgoing.client import UnusableResponseError, json_body

logger = logging.getLogger("generator.outgoing")

_RETRIED = frozenset({408, 425, 429})
"""In addition to every 5xx."""

Send = Callable[[], Awaitable[httpx.Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """When to retry. The delay after attempt n is random, 50 to 100 % of `base_delay_s` * 2^(n-1), capped at max."""

    attempts: int = 4
    base_delay_s: float = 0.2
    max_delay_s: float = 5.0
    """Also the longest accepted Retry-After: if a target asks for more, the request fails."""


class AttemptsFailedError(Exception):
    """No attempt succeeded. The message contains the last reason and the number of attempts."""


async def send_with_retry(
    send: Send,
    *,
    target: str,
    breaker: CircuitBreaker | None = None,
    policy: RetryPolicy = RetryPolicy(),
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> httpx.Response:
    """Return the first response other than 408, 425, 429 or 5xx; the caller must check for other errors.

    `send` must be safe to repeat. Raise AttemptsFailedError, CircuitOpenError, and exceptions of `send` other than
    httpx.TransportError, httpx.DecodingError and UnusableResponseError, such as EgressRefusedError.
    """
    for attempt in range(1, policy.attempts + 1):
        if breaker is not None:
            breaker.admit()
        try:
            reason, retry_after_s, response = await _attempt(send, breaker)
        except UnusableResponseError as error:
            raise AttemptsFailedError(f"{target}: {error}") from error
        if response is not None:
            return response
        delay_s = _backoff_s(policy, attempt)
        if retry_after_s is not None:
            delay_s = max(delay_s, retry_after_s)
        if attempt == policy.attempts or delay_s > policy.max_delay_s:
            break
        logger.warning("%s: %s; attempt %d in %.2f s", target, reason, attempt + 1, delay_s)
        await sleep(delay_s)
    raise AttemptsFailedError(f"{target}: {reason} ({attempt} attempt{'s' if attempt > 1 else ''})")


async def _attempt(send: Send, breaker: CircuitBreaker | None) -> tuple[str, float | None, httpx.Response | None]:
    """Return (reason, Retry-After in seconds, None) for a failure worth another attempt, or ("", None, response)."""
    try:
        response = await send()
    except UnusableResponseError:
        if breaker is not None:
            breaker.fail()
        raise
    except (httpx.TransportError, httpx.DecodingError) as error:
        if breaker is not None:
            breaker.fail()
        return _reason(error), None, None
    except BaseException:
        if breaker is not None:
            breaker.release()
        raise
    if response.status_code not in _RETRIED and response.status_code < 500:
        if breaker is not None:
            breaker.succeed()
        return "", None, response
    if breaker is not None:
        breaker.fail()
    return f"HTTP {response.status_code}{describe(response)}", _retry_after_s(response), None


def describe(response: httpx.Response) -> str:
    """Return `: ` and the response's own reason (`detail`, `message`, `error`) up to 200 characters, or "".

    `error` may be an object with a `message`, as in Google's APIs.
    """
    try:
        body = json_body(response)
    except ValueError:
        return ""
    if not isinstance(body, dict):
        return ""
    reason = body.get("detail") or body.get("message") or body.get("error_description") or body.get("error")
    if isinstance(reason, dict):
        reason = reason.get("message") or reason
    return f": {str(reason)[:200]}" if reason else ""


def _reason(error: httpx.RequestError) -> str:
    if isinstance(error, httpx.TimeoutException):
        return f"no response in time ({type(error).__name__})"
    return str(error) or type(error).__name__


def _backoff_s(policy: RetryPolicy, attempt: int) -> float:
    longest = min(policy.max_delay_s, policy.base_delay_s * 2 ** (attempt - 1))
    return float(longest * random.uniform(0.5, 1.0))  # noqa: S311  (spreads load; guards nothing)


def _retry_after_s(response: httpx.Response) -> float | None:
    """Return Retry-After in seconds from now: its value is seconds or an HTTP date (RFC 9110, 10.2.3)."""
    value = response.headers.get("Retry-After", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        return max((parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds(), 0.0)
    except (ValueError, TypeError, OverflowError):  # not a date, no time zone, or a year out of range
        return None
