"""What every document source is, and how a source asks an HTTP server."""

from typing import Protocol

import httpx

from services.generator.documents.model import DocumentUnavailableError
from services.generator.outgoing.circuit_breaker import CircuitOpenError
from services.generator.outgoing.egress import EgressRefusedError
from services.generator.outgoing.retry import AttemptsFailedError, RetryPolicy, Send, describe, send_with_retry

MAX_DOCUMENT_BYTES = 2 * 1024 * 1024

_POLICY = RetryPolicy(attempts=3, max_delay_s=2.0)


class DocumentSource(Protocol):
    """Where the document's Markdown comes from. `kind` is LIVING_DOC_TYPE's name for it."""

    kind: str

    async def read(self, *, refresh: bool) -> str:
        """The whole Markdown text as it is now; with `refresh`, without trusting a cached copy.

        Raises DocumentUnavailableError.
        """
        ...


async def ask(send: Send, *, what: str) -> httpx.Response:
    """The 2xx or 304 answer, after a few attempts. Raises DocumentUnavailableError with the server's own reason."""
    try:
        response = await send_with_retry(send, target=what, policy=_POLICY)
    except (AttemptsFailedError, CircuitOpenError, EgressRefusedError) as error:
        raise DocumentUnavailableError(str(error)) from error
    except httpx.InvalidURL as error:
        raise DocumentUnavailableError(f"{what}: {error}") from error
    if response.is_success or response.status_code == 304:
        return response
    raise DocumentUnavailableError(f"{what}: HTTP {response.status_code}{describe(response)}")


def json_object(response: httpx.Response, *, what: str) -> dict[str, object]:
    """The answer's JSON object. Raises DocumentUnavailableError for anything else."""
    try:
        body = response.json()
    except (ValueError, RecursionError) as error:
        raise DocumentUnavailableError(f"{what}: the answer is not JSON") from error
    if not isinstance(body, dict):
        raise DocumentUnavailableError(f"{what}: the answer is not a JSON object")
    return body


def decode(raw: bytes, *, what: str) -> str:
    """UTF-8 text. Raises DocumentUnavailableError when it is none, or is too large."""
    if len(raw) > MAX_DOCUMENT_BYTES:
        raise DocumentUnavailableError(f"{what}: larger than {MAX_DOCUMENT_BYTES} bytes")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise DocumentUnavailableError(f"{what}: not UTF-8 text (byte {error.start})") from error
