"""LIVING_DOC_TYPE=url: a Markdown file on a web server, requested each time but transferred only if it has changed."""

from dataclasses import dataclass

import httpx

from services.generator.documents.model import DocumentUnavailableError
from services.generator.documents.source import MAX_DOCUMENT_BYTES, ask, decode
from services.generator.outgoing.client import body_limit, whole_exchange

MAX_REDIRECTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class _Copy:
    text: str
    validators: dict[str, str]
    """Conditional request headers (RFC 9110, 13.1): the server responds 304 while the copy is current."""


class UrlSource:
    """A URL. Each hop of a redirect passes through the client's transport, and so through the egress guard."""

    kind = "url"

    def __init__(self, url: str, client: httpx.AsyncClient) -> None:
        self._url = httpx.URL(url)
        self._client = client
        self._copy: _Copy | None = None
        shown = self._url.copy_with(userinfo=b"", query=None, fragment=None)
        self._shown = str(shown)

    async def read(self, *, refresh: bool) -> str:
        copy = None if refresh else self._copy
        headers = {"Accept": "text/markdown, text/plain;q=0.9, */*;q=0.1"}
        if copy is not None:
            headers |= copy.validators
        elif refresh:
            headers["Cache-Control"] = "no-cache"

        async def send() -> httpx.Response:
            async with whole_exchange(self._client):
                return await self._send(headers)

        response = await ask(send, what=self._shown)
        if response.status_code == 304:
            if copy is None:
                raise DocumentUnavailableError(f"{self._shown}: HTTP 304 without a conditional request")
            return copy.text
        text = decode(response.content, what=self._shown)
        self._copy = _Copy(text=text, validators=_validators(response))
        return text

    async def _send(self, headers: dict[str, str]) -> httpx.Response:
        """Return the final response, limited to the maximum size of a document."""
        request = self._client.build_request(
            "GET", self._url, headers=headers, extensions=body_limit(MAX_DOCUMENT_BYTES)
        )
        for _ in range(MAX_REDIRECTS + 1):
            response = await self._client.send(request)
            if response.next_request is None:
                return response
            request = response.next_request  # httpx has removed credentials if the origin changes
        raise DocumentUnavailableError(f"{self._shown}: more than {MAX_REDIRECTS} redirects")


def _validators(response: httpx.Response) -> dict[str, str]:
    pairs = (("If-None-Match", "ETag"), ("If-Modified-Since", "Last-Modified"))
    return {condition: response.headers[name] for condition, name in pairs if name in response.headers}
