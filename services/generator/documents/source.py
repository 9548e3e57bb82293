"""The interface of document sources, and their HTTP requests."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import httpx

from services.generator.documents.model import DocumentUnavailableError
from services.generator.outgoing.circuit_breaker import CircuitOpenError
from services.generator.outgoing.client import json_body
from services.generator.outgoing.egress import EgressRefusedError
from services.generator.outgoing.retry import AttemptsFailedError, RetryPolicy, Send, describe, send_with_retry

MAX_DOCUMENT_BYTES = 2 * 1024 * 1024
MAX_JSON_BYTES = 4 * MAX_DOCUMENT_BYTES
"""For the JSON that describes a document, mostly its styles."""

_POLICY = RetryPolicy(attempts=3, max_delay_s=2.0)


class DocumentSource(Protocol):
    """A source of the document's Markdown. `kind` is its name in LIVING_DOC_TYPE."""

    kind: str

    async def read(self, *, refresh: bool) -> str:
        """Return the current Markdown text; with `refresh`, ignore cached copies.

        Raise DocumentUnavailableError.
        """
        ...


async def ask(send: Send, *, what: str) -> httpx.Response:
    """Return the 2xx or 304 response, with a few attempts. Raise DocumentUnavailableError with the server's reason."""
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
    """Return the response's JSON object. Raise DocumentUnavailableError for anything else."""
    try:
        body = json_body(response)
    except ValueError as error:
        raise DocumentUnavailableError(f"{what}: the response is not JSON") from error
    if not isinstance(body, dict):
        raise DocumentUnavailableError(f"{what}: the response is not a JSON object")
    return body


@contextmanager
def foreign_shape(*, what: str) -> Iterator[None]:
    """Turn every failure to read another service's JSON as documented into DocumentUnavailableError."""
    try:
        yield
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
        reason = f"{type(error).__name__}: {error}"[:200]
        raise DocumentUnavailableError(f"{what}: the response does not have the documented form ({reason})") from error


def decode(raw: bytes, *, what: str) -> str:
    """Decode UTF-8. Raise DocumentUnavailableError if it is not UTF-8 or is too large."""
    if len(raw) > MAX_DOCUMENT_BYTES:
        raise DocumentUnavailableError(f"{what}: larger than {MAX_DOCUMENT_BYTES} bytes")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise DocumentUnavailableError(f"{what}: not UTF-8 text (byte {error.start})") from error
