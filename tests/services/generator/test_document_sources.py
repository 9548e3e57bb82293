"""Document sources against real HTTP servers: caching, limits, failures, Google Docs and Notion."""

import asyncio
import base64
import json
import os
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qs

import httpx
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from services.generator.documents.file import FileSource
from services.generator.documents.google_docs import GoogleDocsSource, ServiceAccount
from services.generator.documents.model import DocumentUnavailableError
from services.generator.documents.notion import NotionSource
from services.generator.documents.parser import parse_document
from services.generator.documents.reader import DocumentReader
from services.generator.documents.source import MAX_DOCUMENT_BYTES
from services.generator.documents.url import UrlSource
from services.generator.metrics import GeneratorMetrics
from services.generator.outgoing.client import build_client

T = TypeVar("T")
TEXT = "# N\n## [A] B\n### H\n- **Date:** 2026-01-24\n- **Title:** T\n- **Content:** C\n"


def with_client(use: Callable[[httpx.AsyncClient], Awaitable[T]], *, timeout_s: float = 5) -> T:
    """Return the result of `use` with the generator's own client, guarded as in dry-run mode."""

    async def run() -> T:
        async with build_client(
            guarded=True,
            allowed_hosts=frozenset(),
            max_connections=4,
            timeout_s=timeout_s,
            count_refusal=lambda: None,
        ) as client:
            return await use(client)

    return asyncio.run(run())


def read_url(server: HTTPServer, path: str = "/doc.md", *, times: int = 1, refresh: bool = False) -> list[str]:
    async def use(client: httpx.AsyncClient) -> list[str]:
        source = UrlSource(server.url_for(path), client)
        return [await source.read(refresh=refresh) for _ in range(times)]

    return with_client(use)


def test_a_file_is_read_again_only_if_it_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "doc.md"
    path.write_text("one")

    async def use() -> tuple[str, bool, str]:
        source = FileSource(path)
        first = await source.read(refresh=False)
        same = await source.read(refresh=False) is first
        path.write_text("other")
        return first, same, await source.read(refresh=False)

    assert asyncio.run(use()) == ("one", True, "other")


def test_a_changed_document_is_parsed_once_for_all_waiting_requests(tmp_path: Path) -> None:
    path = tmp_path / "doc.md"
    path.write_text(TEXT)
    metrics = GeneratorMetrics(service="generator", version="0", dry_run=True)

    async def use() -> set[str]:
        reader = DocumentReader(FileSource(path), metrics)
        return {document.digest for document in await asyncio.gather(*(reader.read() for _ in range(20)))}

    assert len(asyncio.run(use())) == 1
    assert 'toombos_document_fetch_total{outcome="read",source="file"} 1.0' in metrics.render().decode()


def test_a_change_that_keeps_size_and_modification_time_is_detected(tmp_path: Path) -> None:
    path = tmp_path / "doc.md"

    def write(text: str) -> None:
        path.write_text(text)
        os.utime(path, (1, 1))

    async def use() -> tuple[str, str]:
        source = FileSource(path)
        write("one")
        first = await source.read(refresh=False)
        changed_at = path.stat().st_ctime_ns
        while path.stat().st_ctime_ns == changed_at:  # the clock of some file systems ticks only every few milliseconds
            write("two")
        return first, await source.read(refresh=False)

    assert asyncio.run(use()) == ("one", "two")


def test_a_pipe_as_a_document_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "doc.md")
    with pytest.raises(DocumentUnavailableError, match="not a regular file"):
        asyncio.run(asyncio.wait_for(FileSource(tmp_path / "doc.md").read(refresh=False), 10))


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "No such file"), (b"\xff\xfe", "not UTF-8"), (b"x" * (MAX_DOCUMENT_BYTES + 1), "larger than")],
    ids=["absent", "not text", "too large"],
)
def test_a_file_that_cannot_be_used_is_refused(tmp_path: Path, content: bytes | None, reason: str) -> None:
    path = tmp_path / "doc.md"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DocumentUnavailableError, match=reason):
        asyncio.run(FileSource(path).read(refresh=False))


@contextmanager
def dripping_server() -> Iterator[int]:
    """The port of a server that announces a document and sends one byte of it every 50 ms."""

    def serve(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:  # closed at the end of the test
                return
            with connection, suppress(OSError):
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
                while True:
                    connection.sendall(b"x")
                    time.sleep(0.05)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


def test_a_server_that_sends_too_slowly_is_abandoned() -> None:
    async def use(client: httpx.AsyncClient) -> None:
        for source in (
            UrlSource(f"http://127.0.0.1:{port}/doc.md", client),
            NotionSource(client, api_key="k", base_url=f"http://127.0.0.1:{port}", database_id="d", page_id=None),
        ):
            with pytest.raises(DocumentUnavailableError, match=r"no response in time .*\(3 attempts\)"):
                await asyncio.wait_for(source.read(refresh=False), 30)

    with dripping_server() as port:
        with_client(use, timeout_s=0.2)


@pytest.mark.parametrize(
    ("name", "value", "condition"),
    [
        ("ETag", '"v1"', "If-None-Match"),
        ("Last-Modified", "Wed, 21 Oct 2026 07:28:00 GMT", "If-Modified-Since"),
    ],
)
def test_an_unchanged_document_is_not_downloaded_again(
    httpserver: HTTPServer, name: str, value: str, condition: str
) -> None:
    def answer(request: Request) -> Response:
        if request.headers.get(condition) == value:
            return Response(status=304)
        return Response(TEXT, headers={name: value})

    httpserver.expect_request("/doc.md").respond_with_handler(answer)
    assert read_url(httpserver, times=3) == [TEXT] * 3
    assert [response.status_code for _, response in httpserver.log] == [200, 304, 304]


def test_a_refresh_requests_the_whole_document(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/doc.md").respond_with_data(TEXT, headers={"ETag": '"v1"'})
    assert read_url(httpserver, times=2, refresh=True) == [TEXT] * 2
    assert all("If-None-Match" not in request.headers for request, _ in httpserver.log)


def test_a_changed_document_replaces_the_cached_copy(httpserver: HTTPServer) -> None:
    httpserver.expect_ordered_request("/doc.md").respond_with_data("one", headers={"ETag": '"1"'})
    httpserver.expect_ordered_request("/doc.md").respond_with_data("two", headers={"ETag": '"2"'})
    assert read_url(httpserver, times=2) == ["one", "two"]


def test_a_redirect_on_this_machine_is_followed(httpserver: HTTPServer) -> None:
    moved = {"Location": httpserver.url_for("/doc.md")}
    httpserver.expect_request("/old.md").respond_with_data(status=302, headers=moved)
    httpserver.expect_request("/doc.md").respond_with_data(TEXT)
    assert read_url(httpserver, "/old.md") == [TEXT]


@pytest.mark.parametrize("location", ["http://192.0.2.1/doc.md", "https://docs.example.com/doc.md"])
def test_a_redirect_away_from_this_machine_is_refused(httpserver: HTTPServer, location: str) -> None:
    httpserver.expect_request("/doc.md").respond_with_data(status=302, headers={"Location": location})
    with pytest.raises(DocumentUnavailableError, match="dry-run mode refuses"):
        read_url(httpserver)


def test_a_redirect_loop_is_abandoned(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/doc.md").respond_with_data(status=302, headers={"Location": "/doc.md"})
    with pytest.raises(DocumentUnavailableError, match="more than 5 redirects"):
        read_url(httpserver)


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (404, b"", "HTTP 404"),
        (403, b'{"detail": "not yours"}', "HTTP 403: not yours"),
        (503, b"", r"HTTP 503 \(3 attempts\)"),
        (304, b"", "without a conditional request"),
        (200, b"\xff", "not UTF-8"),
        (200, b"x" * (MAX_DOCUMENT_BYTES + 1), "larger than"),
    ],
)
def test_a_response_that_is_not_a_document_is_refused(
    httpserver: HTTPServer, status: int, body: bytes, reason: str
) -> None:
    httpserver.expect_request("/doc.md").respond_with_data(body, status=status)
    with pytest.raises(DocumentUnavailableError, match=reason):
        read_url(httpserver)


def test_a_request_is_repeated_after_one_failure(httpserver: HTTPServer) -> None:
    httpserver.expect_ordered_request("/doc.md").respond_with_data(status=503, headers={"Retry-After": "0"})
    httpserver.expect_ordered_request("/doc.md").respond_with_data(TEXT)
    assert read_url(httpserver) == [TEXT]


def test_an_unreachable_server_is_reported_with_its_address_but_without_the_password() -> None:
    async def use(client: httpx.AsyncClient) -> str:
        return await UrlSource("http://user:hunter2@127.0.0.1:9/doc.md?token=hunter2", client).read(refresh=False)

    with pytest.raises(DocumentUnavailableError, match=r"127\.0\.0\.1:9/doc\.md") as refused:
        with_client(use)
    assert "hunter2" not in str(refused.value)


@pytest.fixture(scope="session")
def service_account_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def account_of(key: rsa.RSAPrivateKey, server: HTTPServer) -> ServiceAccount:
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    return ServiceAccount.from_json(
        json.dumps(
            {
                "type": "service_account",
                "client_email": "reader@project.example",
                "private_key": pem,
                "private_key_id": "key-1",
                "token_uri": server.url_for("/token"),
            }
        )
    )


def paragraph(*runs: str | tuple[str, dict[str, Any]], style: str = "NORMAL_TEXT", **more: Any) -> dict[str, Any]:
    parts = [run if isinstance(run, tuple) else (run, {}) for run in runs]
    elements = [{"textRun": {"content": text, "textStyle": styles}} for text, styles in parts]
    elements[-1]["textRun"]["content"] += "\n"
    return {"paragraph": {"elements": elements, "paragraphStyle": {"namedStyleType": style}, **more}}


BOLD: dict[str, Any] = {"bold": True}
GOOGLE_DOCUMENT = {
    "body": {
        "content": [
            {"sectionBreak": {}},
            paragraph("Studio News", style="TITLE"),
            paragraph("[Tips] Practice", style="HEADING_2"),
            paragraph("Exhale", style="HEADING_3"),
            paragraph(("Date: ", BOLD), "January 24, 2026", bullet={"listId": "l"}),
            paragraph(("Title:", BOLD), " Longer exhales", bullet={"listId": "l"}),
            paragraph(("Content:", BOLD), " Breathe ", ("in", {"italic": True}), ".", bullet={"listId": "l"}),
            paragraph("Then read ", ("this", {"link": {"url": "https://a.example/x"}}), "."),
            paragraph("one", bullet={"listId": "n", "nestingLevel": 0}),
        ]
    },
    "lists": {"n": {"listProperties": {"nestingLevels": [{"glyphType": "DECIMAL"}]}}},
}


def verified_claims(form: dict[str, list[str]], key: rsa.RSAPrivateKey) -> dict[str, Any]:
    """Return the claims of the JWT after verifying its signature with the public key."""
    signed, _, signature = form["assertion"][0].rpartition(".")
    decode = lambda text: base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))  # noqa: E731
    key.public_key().verify(decode(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    claims: dict[str, Any] = json.loads(decode(signed.split(".")[1]))
    return claims


def test_a_google_document_is_read_with_a_signed_token(
    httpserver: HTTPServer, service_account_key: rsa.RSAPrivateKey
) -> None:
    httpserver.expect_request("/token", method="POST").respond_with_json({"access_token": "t-1", "expires_in": 3600})
    httpserver.expect_request("/v1/documents/doc-1", headers={"Authorization": "Bearer t-1"}).respond_with_json(
        GOOGLE_DOCUMENT
    )

    async def use(client: httpx.AsyncClient) -> tuple[str, str]:
        account = account_of(service_account_key, httpserver)
        source = GoogleDocsSource("doc-1", account, client, base_url=httpserver.url_for(""))
        return await source.read(refresh=False), await source.read(refresh=True)

    markdown, again = with_client(use)
    assert markdown == again
    token_requests = [request for request, _ in httpserver.log if request.path == "/token"]
    assert len(token_requests) == 1
    form = parse_qs(token_requests[0].get_data(as_text=True))
    assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
    claims = verified_claims(form, service_account_key)
    assert claims["iss"] == "reader@project.example"
    assert claims["aud"] == httpserver.url_for("/token")
    assert claims["exp"] - claims["iat"] == 3600
    document = parse_document(markdown)
    (item,) = document.items
    assert (document.title, document.sections[0].category, item.title) == ("Studio News", "Tips", "Longer exhales")
    assert item.content.split() == ["Breathe", "*in*.", "Then", "read", "[this](https://a.example/x).", "1.", "one"]


def test_a_revoked_google_token_is_replaced(httpserver: HTTPServer, service_account_key: rsa.RSAPrivateKey) -> None:
    document = "/v1/documents/doc-1"
    for token in ("t-1", "t-2"):
        httpserver.expect_ordered_request("/token").respond_with_json({"access_token": token, "expires_in": 3600})
        good = httpserver.expect_ordered_request(document, headers={"Authorization": f"Bearer {token}"})
        good.respond_with_json(GOOGLE_DOCUMENT)
        if token == "t-1":
            httpserver.expect_ordered_request(document).respond_with_json({"error": "no such token"}, status=401)

    async def use(client: httpx.AsyncClient) -> tuple[str, str]:
        account = account_of(service_account_key, httpserver)
        source = GoogleDocsSource("doc-1", account, client, base_url=httpserver.url_for(""))
        first = await source.read(refresh=False)
        with pytest.raises(DocumentUnavailableError, match="HTTP 401: no such token"):
            await source.read(refresh=False)
        return first, await source.read(refresh=False)

    first, last = with_client(use)
    assert first == last


@pytest.mark.parametrize(
    ("token", "document", "reason"),
    [
        ((401, {"error_description": "Invalid JWT Signature."}), (200, {}), "token exchange: HTTP 401: Invalid JWT"),
        ((200, {"no": "token"}), (200, {}), "no access_token"),
        ((200, {"access_token": "t"}), (404, {"error": {"message": "not found"}}), "Google Docs: HTTP 404: not found"),
        ((200, {"access_token": "t"}), (200, []), "not a JSON object"),
    ],
)
def test_a_refusal_by_google_is_reported(
    httpserver: HTTPServer,
    service_account_key: rsa.RSAPrivateKey,
    token: tuple[int, Any],
    document: tuple[int, Any],
    reason: str,
) -> None:
    httpserver.expect_request("/token").respond_with_json(token[1], status=token[0])
    httpserver.expect_request("/v1/documents/d").respond_with_json(document[1], status=document[0])

    async def use(client: httpx.AsyncClient) -> str:
        account = account_of(service_account_key, httpserver)
        return await GoogleDocsSource("d", account, client, base_url=httpserver.url_for("")).read(refresh=False)

    with pytest.raises(DocumentUnavailableError, match=reason):
        with_client(use)


@pytest.mark.parametrize(
    ("text", "reason"),
    [("{", "not JSON"), ("[]", "not a JSON object"), ('{"client_email": "a"}', "lacks private_key, token_uri")],
)
def test_invalid_google_credentials_are_reported(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        ServiceAccount.from_json(text)


def rich(*runs: str | tuple[str, dict[str, Any]]) -> list[dict[str, Any]]:
    parts = [run if isinstance(run, tuple) else (run, {}) for run in runs]
    return [{"plain_text": text, "annotations": marks, "href": marks.get("href")} for text, marks in parts]


def block(kind: str, *runs: Any, **more: Any) -> dict[str, Any]:
    return {"id": more.pop("id", "b"), "type": kind, kind: {"rich_text": rich(*runs), **more}, **_children(more)}


def _children(more: dict[str, Any]) -> dict[str, Any]:
    return {"has_children": bool(more.pop("children", False))}


def notion(server: HTTPServer, **place: str) -> str:
    async def use(client: httpx.AsyncClient) -> str:
        source = NotionSource(
            client,
            api_key="secret-1",
            base_url=server.url_for(""),
            database_id=place.get("database_id"),
            page_id=place.get("page_id"),
        )
        return await source.read(refresh=False)

    return with_client(use)


def notion_page(number: int, category: str) -> dict[str, Any]:
    return {
        "id": f"page-{number}",
        "properties": {
            "Name": {"type": "title", "title": rich(f"Item {number}")},
            "Category": {"type": "select", "select": {"name": category}},
            "Date": {"type": "date", "date": {"start": "2026-01-24T09:00:00.000+00:00"}},
            "Content": {
                "type": "rich_text",
                "rich_text": rich("Short ", ("text", {"bold": True})) if number == 1 else [],
            },
        },
    }


def test_a_notion_database_is_read_page_by_page(httpserver: HTTPServer) -> None:
    def query(request: Request) -> Response:
        assert request.headers["Authorization"] == "Bearer secret-1"
        assert request.headers["Notion-Version"]
        if request.json.get("start_cursor") == "next":
            answer = {"results": [notion_page(3, "Tips")], "has_more": False, "next_cursor": None}
        else:
            pages = [notion_page(1, "Tips"), notion_page(2, "Vision")]
            answer = {"results": pages, "has_more": True, "next_cursor": "next"}
        return Response(json.dumps(answer), content_type="application/json")

    httpserver.expect_request("/v1/databases/db/query", method="POST").respond_with_handler(query)
    blocks = {"results": [block("paragraph", "From blocks."), block("bulleted_list_item", "a")], "has_more": False}
    for number in (2, 3):
        httpserver.expect_request(f"/v1/blocks/page-{number}/children").respond_with_json(blocks)
    document = parse_document(notion(httpserver, database_id="db"))
    assert [(s.category, [i.title for i in s.items]) for s in document.sections] == [
        ("Tips", ["Item 1", "Item 3"]),
        ("Vision", ["Item 2"]),
    ]
    assert document.items[0].content == "Short **text**"
    assert document.items[1].content.split() == ["From", "blocks.", "-", "a"]


def test_a_notion_page_becomes_markdown(httpserver: HTTPServer) -> None:
    page = [
        block("heading_2", "[Tips] Practice"),
        block("heading_3", "Exhale"),
        block("bulleted_list_item", ("Date:", {"bold": True}), " 2026-01-24"),
        block("bulleted_list_item", ("Title:", {"bold": True}), " Longer exhales"),
        block("bulleted_list_item", ("Content:", {"bold": True}), " Breathe.", id="content", children=True),
        block("quote", "Calm", id="q"),
        block("code", "x = 1", language="python"),
        {"id": "t", "type": "table", "table": {}, "has_children": True},
        {"id": "d", "type": "divider", "divider": {}},
    ]
    httpserver.expect_request("/v1/blocks/p/children").respond_with_json({"results": page, "has_more": False})
    nested = [block("numbered_list_item", "in"), block("paragraph", ("Link", {"href": "https://a.example/"}))]
    httpserver.expect_request("/v1/blocks/content/children").respond_with_json({"results": nested, "has_more": False})
    rows = [{"type": "table_row", "table_row": {"cells": [rich(a), rich(b)]}} for a, b in (("h|", "i"), ("1", "2"))]
    httpserver.expect_request("/v1/blocks/t/children").respond_with_json({"results": rows, "has_more": False})
    (item,) = parse_document(notion(httpserver, page_id="p")).items
    assert (item.title, item.date.isoformat()) == ("Longer exhales", "2026-01-24")
    for piece in ("1. in", "[Link](https://a.example/)", "> Calm", "```python\nx = 1\n```", "| h\\| | i |\n|---|---|"):
        assert piece in item.content


def test_a_refusal_by_notion_is_reported(httpserver: HTTPServer) -> None:
    refusal = {"message": "API token is invalid."}
    httpserver.expect_request("/v1/blocks/p/children").respond_with_json(refusal, status=401)
    with pytest.raises(DocumentUnavailableError, match=r"Notion: HTTP 401: API token is invalid\."):
        notion(httpserver, page_id="p")


ODD_JSON = {
    "a text among the results": {"results": ["x"]},
    "a number among the results": {"results": [1]},
    "a result without an id": {"results": [{"type": "paragraph", "has_children": True}]},
    "a block that is a list": {"results": [{"type": "paragraph", "paragraph": [1]}]},
    "runs that are no objects": {"results": [{"type": "paragraph", "paragraph": {"rich_text": [1]}}]},
    "half of a character": {"results": [block("paragraph", "\ud800")]},
    "very many parts": {"results": [[]] * 600_000},
    "properties that are a list": {"results": [{"id": "p", "properties": [1]}]},
    "a title that is a number": {"results": [{"id": "p", "properties": {"Name": {"type": "title", "title": 1}}}]},
}


@pytest.mark.parametrize("place", ["database_id", "page_id"])
@pytest.mark.parametrize("case", ODD_JSON)
def test_json_of_another_form_than_notions_has_one_kind_of_error(httpserver: HTTPServer, case: str, place: str) -> None:
    httpserver.expect_request("/v1/databases/d/query").respond_with_json(ODD_JSON[case])
    httpserver.expect_request("/v1/blocks/d/children").respond_with_json(ODD_JSON[case])
    with suppress(DocumentUnavailableError):  # what a place does not use may have any form
        notion(httpserver, **{place: "d"})


ENDLESS_PAGES = {
    "blocks that contain themselves": {"results": [block("paragraph", "x", id="d", children=True)] * 100},
    "pages without blocks": {"results": [notion_page(2, "Tips")] * 100, "has_more": True, "next_cursor": "n"},
    "pages of long categories": {
        "results": [notion_page(1, "Tips" * 20_000)] * 50,
    },
}


@pytest.mark.parametrize("case", ENDLESS_PAGES)
def test_a_notion_document_without_end_is_refused(httpserver: HTTPServer, case: str) -> None:
    httpserver.expect_request("/v1/databases/d/query").respond_with_json(ENDLESS_PAGES[case])
    httpserver.expect_request("/v1/blocks/d/children").respond_with_json(ENDLESS_PAGES[case])
    httpserver.expect_request("/v1/blocks/page-2/children").respond_with_json({"results": []})
    with pytest.raises(DocumentUnavailableError, match=r"Notion: (.*more than|blocks are nested deeper|larger)"):
        notion(httpserver, **({"page_id": "d"} if "blocks that" in case else {"database_id": "d"}))


@pytest.mark.parametrize(
    "document",
    [
        pytest.param({"body": {"content": [1]}}, id="a number as an element"),
        pytest.param({"body": {"content": [{"paragraph": 1}]}}, id="a number as a paragraph"),
        pytest.param({"body": {"content": [{"table": {"tableRows": [{}]}}]}}, id="a row without cells"),
        pytest.param({"body": {"content": 1}}, id="a number as the content"),
    ],
)
def test_json_of_another_form_than_googles_is_reported(
    httpserver: HTTPServer, service_account_key: rsa.RSAPrivateKey, document: dict[str, Any]
) -> None:
    httpserver.expect_request("/token").respond_with_json({"access_token": "t", "expires_in": 3600})
    httpserver.expect_request("/v1/documents/d").respond_with_json(document)

    async def use(client: httpx.AsyncClient) -> str:
        account = account_of(service_account_key, httpserver)
        return await GoogleDocsSource("d", account, client, base_url=httpserver.url_for("")).read(refresh=False)

    with pytest.raises(DocumentUnavailableError, match="Google Docs: the response does not have the documented form"):
        with_client(use)


def test_requests_that_wait_for_a_download_share_the_next_one() -> None:
    class Source:
        kind = "url"
        reads = 0

        async def read(self, *, refresh: bool) -> str:
            self.reads += 1
            await asyncio.sleep(0.05)
            return TEXT

    async def use() -> int:
        source = Source()
        reader = DocumentReader(source, GeneratorMetrics(service="generator", version="0", dry_run=True))
        await asyncio.gather(*(reader.read() for _ in range(20)))
        return source.reads

    assert asyncio.run(use()) == 2
