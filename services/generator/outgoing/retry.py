"""Sends a request, again and again while that may help: backoff with full jitter, Retry-After, circuit breaker."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from services.generator.outgoing.circuit_breaker import CircuitBreaker

logger = logging.getLogger("generator.outgoing")

_RETRIED = frozenset({408, 425, 429})
"""Besides every 5xx."""

Send = Callable[[], Awaitable[httpx.Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Attempt n+1 comes a random time after attempt n: between half and all of `base_delay_s` * 2^n, at most max."""

    attempts: int = 4
    base_delay_s: float = 0.2
    max_delay_s: float = 5.0
    """Also the longest Retry-After that is waited for: a target that asks for more is given up for now."""


class AttemptsFailedError(Exception):
    """No attempt succeeded. The message has the last reason and the number of attempts."""


async def send_with_retry(
    send: Send,
    *,
    target: str,
    breaker: CircuitBreaker | None = None,
    policy: RetryPolicy = RetryPolicy(),
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> httpx.Response:
    """The first answer that is not 408, 425, 429 or 5xx, so also other refusals; the caller judges those.

    `send` must be safe to repeat. Raises AttemptsFailedError, CircuitOpenError, and what `send` raises that is neither
    an httpx.TransportError nor an httpx.DecodingError, such as EgressRefusedError.
    """
    for attempt in range(1, policy.attempts + 1):
        if breaker is not None:
            breaker.admit()
        reason, retry_after_s, response = await _attempt(send, breaker)
        if response is not None:
            return response
        delay_s = _backoff_s(policy, attempt)
        if retry_after_s is not None:
            delay_s = max(delay_s, retry_after_s)
        if attempt == policy.attempts or delay_s > policy.max_delay_s:
            break
        logger.warning("%s: %s; attempt %d follows in %.2f s", target, reason, attempt + 1, delay_s)
        await sleep(delay_s)
    raise AttemptsFailedError(f"{target}: {reason} ({attempt} attempt{'s' if attempt > 1 else ''})")


async def _attempt(send: Send, breaker: CircuitBreaker | None) -> tuple[str, float | None, httpx.Response | None]:
    """(reason, Retry-After in seconds, None) of a failure worth another attempt, or ("", None, answer)."""
    try:
        response = await send()
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
    """`: ` and the answer's own reason (`detail`, `message`, `error`), in at most 200 characters, or nothing.

    An `error` may be an object with a `message`, as Google's are.
    """
    try:
        body = response.json()
    except (ValueError, RecursionError, httpx.ResponseNotRead):
        return ""
    if not isinstance(body, dict):
        return ""
    reason = body.get("detail") or body.get("message") or body.get("error_description") or body.get("error")
    if isinstance(reason, dict):
        reason = reason.get("message") or reason
    return f": {str(reason)[:200]}" if reason else ""


def _reason(error: httpx.RequestError) -> str:
    if isinstance(error, httpx.TimeoutException):
        return f"no answer in time ({type(error).__name__})"
    return str(error) or type(error).__name__


def _backoff_s(policy: RetryPolicy, attempt: int) -> float:
    longest = min(policy.max_delay_s, policy.base_delay_s * 2 ** (attempt - 1))
    return float(longest * random.uniform(0.5, 1.0))  # noqa: S311  (spreads load; guards nothing)


def _retry_after_s(response: httpx.Response) -> float | None:
    """Retry-After as seconds from now: it holds seconds or an HTTP date (RFC 9110, 10.2.3)."""
    value = response.headers.get("Retry-After", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        return max((parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds(), 0.0)
    except (ValueError, TypeError, OverflowError):  # no date, one without a time zone, a year beyond all calendars
        return None
