"""LIVING_DOC_TYPE=google_docs: a Google document, read by a service account through the Docs API.

Document format: https://developers.google.com/workspace/docs/api/reference/rest/v1/documents
Token exchange: RFC 7523, as in https://developers.google.com/identity/protocols/oauth2/service-account
"""

import asyncio
import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from time import time
from typing import Any
from urllib.parse import quote

import httpx

from services.generator.documents.inline import styled
from services.generator.documents.model import DocumentUnavailableError
from services.generator.documents.source import MAX_JSON_BYTES, ask, decode, foreign_shape, json_object
from services.generator.outgoing.client import body_limit

_SCOPE = "https://www.googleapis.com/auth/documents.readonly"
_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_TOKEN_LIFE_S = 3600
_RENEW_BEFORE_S = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceAccount:
    """The fields of a service account's key file that a token request needs."""

    client_email: str
    private_key: str = field(repr=False)
    private_key_id: str
    token_uri: str

    @classmethod
    def from_json(cls, text: str) -> "ServiceAccount":
        """Parse a key file. Raise ValueError, which names the missing fields and never contains the key."""
        try:
            data = json.loads(text)
        except ValueError:
            raise ValueError("is not JSON") from None
        if not isinstance(data, dict):
            raise ValueError("is not a JSON object")  # noqa: TRY004  (a wrong value of a setting)
        names = ("client_email", "private_key", "token_uri")
        missing = [name for name in names if not (isinstance(data.get(name), str) and data[name])]
        if missing:
            raise ValueError(f"lacks {', '.join(missing)}: use a service account's key file")
        return cls(**{name: data[name] for name in names}, private_key_id=str(data.get("private_key_id", "")))

    def assertion(self, *, now_s: int) -> str:
        """Return a signed JWT (RS256) that requests read access. Raise ValueError if the private key is unusable."""
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import padding, rsa

        try:
            key = serialization.load_pem_private_key(self.private_key.encode(), password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise ValueError("private_key is not a readable PEM key") from None
        if not isinstance(key, rsa.RSAPrivateKey):
            raise ValueError("private_key is not an RSA key")  # noqa: TRY004  (a wrong value of a setting)
        header = {"alg": "RS256", "typ": "JWT", "kid": self.private_key_id}
        claims = {
            "iss": self.client_email,
            "scope": _SCOPE,
            "aud": self.token_uri,
            "iat": now_s,
            "exp": now_s + _TOKEN_LIFE_S,
        }
        signed = f"{_base64url(json.dumps(header).encode())}.{_base64url(json.dumps(claims).encode())}"
        return f"{signed}.{_base64url(key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


class GoogleDocsSource:
    kind = "google_docs"

    def __init__(self, document_id: str, account: ServiceAccount, client: httpx.AsyncClient, *, base_url: str) -> None:
        self._url = f"{base_url.rstrip('/')}/v1/documents/{quote(document_id, safe='')}"
        self._account = account
        self._client = client
        self._token = ""
        self._token_expires_s = 0.0

    async def read(self, *, refresh: bool) -> str:
        headers = {"Authorization": f"Bearer {await self._valid_token()}"}
        what = "Google Docs"
        try:
            response = await ask(
                lambda: self._client.get(self._url, headers=headers, extensions=body_limit(MAX_JSON_BYTES)), what=what
            )
        except DocumentUnavailableError:
            self._token_expires_s = (
                0.0  # it may be the token: taken back, or kept too long since the clock was put back
            )
            raise
        document = json_object(response, what=what)
        with foreign_shape(what=what):
            markdown = await asyncio.to_thread(to_markdown, document)
            return decode(markdown.encode(), what=what)

    async def _valid_token(self) -> str:
        now_s = time()
        if now_s < self._token_expires_s - _RENEW_BEFORE_S:
            return self._token
        what = "Google token exchange"
        try:
            form = {"grant_type": _GRANT, "assertion": self._account.assertion(now_s=int(now_s))}
        except ValueError as error:
            raise DocumentUnavailableError(f"GOOGLE_CREDENTIALS_JSON: {error}") from error
        response = await ask(lambda: self._client.post(self._account.token_uri, data=form), what=what)
        answer = json_object(response, what=what)
        token, life_s = answer.get("access_token"), answer.get("expires_in", _TOKEN_LIFE_S)
        if not isinstance(token, str) or not isinstance(life_s, int | float):
            raise DocumentUnavailableError(f"{what}: the response contains no access_token")
        self._token, self._token_expires_s = token, now_s + life_s
        return token


def to_markdown(document: Mapping[str, Any]) -> str:
    """Convert the document's body: headings by named style, nested lists, tables row by row."""
    body = document.get("body")
    content = body.get("content", []) if isinstance(body, dict) else []
    lists = document.get("lists") or {}
    return "\n".join(line for element in content for line in _element_lines(element, lists)) + "\n"


def _element_lines(element: Mapping[str, Any], lists: Mapping[str, Any]) -> Iterable[str]:
    if "paragraph" in element:
        yield from _paragraph_lines(element["paragraph"], lists)
    elif "table" in element:
        rows = [[_cell_text(cell, lists) for cell in row["tableCells"]] for row in element["table"]["tableRows"]]
        yield ""
        for index, row in enumerate(rows):
            yield f"| {' | '.join(row)} |"
            if index == 0:
                yield f"|{'---|' * len(row)}"
        yield ""


def _paragraph_lines(paragraph: Mapping[str, Any], lists: Mapping[str, Any]) -> Iterable[str]:
    style = paragraph.get("paragraphStyle", {}).get("namedStyleType", "")
    level = {"TITLE": 1}.get(style) or (int(style[-1]) if style.startswith("HEADING_") else 0)
    text = "".join(_run_text(element, plain=bool(level)) for element in paragraph.get("elements", []))
    text = text.replace("\v", "\n").rstrip("\n")  # a vertical tab is a line break within the paragraph
    if level and text.strip():
        yield from ("", f"{'#' * level} {' '.join(text.split())}", "")
    elif "bullet" in paragraph:
        bullet = paragraph["bullet"]
        depth = bullet.get("nestingLevel", 0)
        indent = "    " * depth
        first, *rest = text.split("\n")
        yield f"{indent}{'1.' if _is_numbered(bullet, depth, lists) else '-'} {first}"
        yield from (f"{indent}  {line}" for line in rest)
    else:
        yield from text.split("\n")
        yield ""


def _run_text(element: Mapping[str, Any], *, plain: bool) -> str:
    """Convert one run of text, without marks in headings, which are emphasized anyway."""
    run = element.get("textRun")
    if run is None:
        return ""
    text, style = run.get("content", ""), run.get("textStyle", {})
    if plain:
        return str(text)
    return styled(
        text,
        bold=style.get("bold", False),
        italic=style.get("italic", False),
        strikethrough=style.get("strikethrough", False),
        href=style.get("link", {}).get("url"),
    )


def _is_numbered(bullet: Mapping[str, Any], depth: int, lists: Mapping[str, Any]) -> bool:
    levels = lists.get(bullet.get("listId", ""), {}).get("listProperties", {}).get("nestingLevels", [])
    glyph = levels[depth].get("glyphType", "") if depth < len(levels) else ""
    return glyph not in ("", "GLYPH_TYPE_UNSPECIFIED", "NONE")


def _cell_text(cell: Mapping[str, Any], lists: Mapping[str, Any]) -> str:
    lines = (line for element in cell.get("content", []) for line in _element_lines(element, lists))
    return " ".join(line.strip() for line in lines if line.strip()).replace("|", "\\|")


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
