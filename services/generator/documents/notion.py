"""LIVING_DOC_TYPE=notion: a Notion database (one page per item), or one page with the whole document.

API and block format: https://developers.notion.com/reference/block
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx

from services.generator.documents.inline import styled
from services.generator.documents.model import DocumentUnavailableError
from services.generator.documents.source import (
    MAX_DOCUMENT_BYTES,
    MAX_JSON_BYTES,
    ask,
    decode,
    foreign_shape,
    json_object,
)
from services.generator.outgoing.client import body_limit

_VERSION = "2022-06-28"
_PAGE_SIZE = 100
_MAX_PAGES = 100
_MAX_DEPTH = 5
_MAX_REQUESTS = 2000
_PREFIX = {
    "heading_1": "# ",
    "heading_2": "## ",
    "heading_3": "### ",
    "bulleted_list_item": "- ",
    "numbered_list_item": "1. ",
    "quote": "> ",
    "callout": "> ",
    "to_do": "- ",
    "toggle": "- ",
}
_LIST_ITEMS = frozenset({"bulleted_list_item", "numbered_list_item", "to_do", "toggle"})

Object = Mapping[str, Any]


@dataclass(slots=True)
class _Reading:
    """What one reading of the document has taken so far: pages within pages could otherwise go on for ever."""

    requests: int = 0
    chars: int = 0

    def count_request(self) -> None:
        self.requests += 1
        if self.requests > _MAX_REQUESTS:
            raise DocumentUnavailableError(f"Notion: the document takes more than {_MAX_REQUESTS} requests")

    def count_lines(self, lines: Iterable[str]) -> None:
        self.chars += sum(len(line) + 1 for line in lines)
        if self.chars > MAX_DOCUMENT_BYTES:
            raise DocumentUnavailableError(f"Notion: larger than {MAX_DOCUMENT_BYTES} bytes")


class NotionSource:
    """A Notion database or page. `database_id` takes precedence over `page_id`; one of them is given."""

    kind = "notion"

    def __init__(
        self, client: httpx.AsyncClient, *, api_key: str, base_url: str, database_id: str | None, page_id: str | None
    ) -> None:
        self._client = client
        self._base_url = base_url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {api_key}", "Notion-Version": _VERSION}
        self._database_id = database_id
        self._page_id = page_id

    async def read(self, *, refresh: bool) -> str:
        reading = _Reading()
        with foreign_shape(what="Notion"):
            if self._database_id:
                markdown = await self._read_database(self._database_id, reading)
            else:
                assert self._page_id  # noqa: S101  (the settings require one of the two)
                markdown = "\n".join(await self._block_lines(self._page_id, reading)) + "\n"
            return decode(markdown.encode(), what="Notion")

    async def _read_database(self, database_id: str, reading: _Reading) -> str:
        """Convert each page to an item: properties Category, Date, Title, and Content or else the page's own blocks."""
        items: dict[str, list[str]] = {}
        async for page in self._pages("POST", f"/v1/databases/{quote(database_id, safe='')}/query", reading):
            properties = {name.lower(): value for name, value in page.get("properties", {}).items()}
            title = _title_of(properties)
            content = _plain(properties.get("content"))
            category = _plain(properties.get("category")).strip()
            reading.count_lines((title, content, category))
            body = content.split("\n") if content.strip() else await self._block_lines(page["id"], reading)
            if not category:
                raise DocumentUnavailableError(f"Notion: page '{title[:60]}' has no Category property")
            fields = [f"### {title}", f"- **Date:** {_plain(properties.get('date'))}", f"- **Title:** {title}"]
            fields += [f"- **Content:** {body[0] if body else ''}", *(f"  {line}" for line in body[1:]), ""]
            items.setdefault(category, []).extend(fields)
        sections = (line for category, lines in items.items() for line in (f"## [{category}] {category}", "", *lines))
        return "\n".join(sections) + "\n"

    async def _block_lines(self, block_id: str, reading: _Reading, depth: int = 0) -> list[str]:
        lines: list[str] = []
        async for block in self._pages("GET", f"/v1/blocks/{quote(block_id, safe='')}/children", reading):
            kind = block.get("type", "")
            new = await asyncio.to_thread(_own_lines, block)
            reading.count_lines(new)
            if block.get("has_children") and kind not in ("child_page", "child_database"):
                if depth >= _MAX_DEPTH:
                    raise DocumentUnavailableError(f"Notion: blocks are nested deeper than {_MAX_DEPTH} levels")
                children = await self._block_lines(block["id"], reading, depth + 1)
                indent = "> " if kind in ("quote", "callout") else "  "
                new += _table(children) if kind == "table" else [f"{indent}{line}".rstrip() for line in children]
            if kind not in _LIST_ITEMS and kind != "table_row":
                new = [*new, ""]
            lines += new
        return lines

    async def _pages(self, method: str, path: str, reading: _Reading) -> AsyncIterator[Object]:
        """Yield every result of a paginated list."""
        cursor: str | None = None
        for _ in range(_MAX_PAGES):
            position: dict[str, Any] = {"page_size": _PAGE_SIZE} | ({"start_cursor": cursor} if cursor else {})
            reading.count_request()
            answer = await self._ask(method, path, position)
            results = answer.get("results")
            if not isinstance(results, list):
                raise DocumentUnavailableError("Notion: the response contains no results")
            for result in results:
                yield result
            cursor = str(answer.get("next_cursor") or "")
            if not answer.get("has_more") or not cursor:
                return
        raise DocumentUnavailableError(f"Notion: more than {_MAX_PAGES * _PAGE_SIZE} entries in {path}")

    async def _ask(self, method: str, path: str, position: dict[str, Any]) -> dict[str, Any]:
        async def send() -> httpx.Response:
            return await self._client.request(
                method,
                f"{self._base_url}{path}",
                headers=self._headers,
                json=position if method == "POST" else None,
                params=None if method == "POST" else position,
                extensions=body_limit(MAX_JSON_BYTES),
            )

        return json_object(await ask(send, what="Notion"), what="Notion")


def _own_lines(block: Object) -> list[str]:
    """Return the lines of a block without its children; none for kinds without text."""
    kind = block.get("type", "")
    value = block.get(kind) or {}
    if kind == "divider":
        return ["---"]
    if kind == "code":
        return [f"```{value.get('language', '')}", *_rich_text(value, styled_runs=False).split("\n"), "```"]
    if kind == "image":
        source = value.get(value.get("type", ""), {}).get("url", "")
        return [f"![{_rich_text({'rich_text': value.get('caption', [])}, styled_runs=False)}]({source})"]
    if kind in ("bookmark", "embed", "link_preview"):
        return [f"<{value.get('url', '')}>"]
    if kind == "table_row":
        return [f"| {' | '.join(_join_runs(cell).replace('|', chr(92) + '|') for cell in value.get('cells', []))} |"]
    if "rich_text" not in value:
        return []
    prefix = _PREFIX.get(kind, "")
    text = _rich_text(value, styled_runs=not kind.startswith("heading_"))
    continuation = "> " if prefix == "> " else " " * len(prefix)
    first, *rest = text.split("\n")
    return [f"{prefix}{first}", *(f"{continuation}{line}" for line in rest)]


def _rich_text(value: Object, *, styled_runs: bool) -> str:
    runs = value.get("rich_text", [])
    return _join_runs(runs) if styled_runs else "".join(run.get("plain_text", "") for run in runs)


def _join_runs(runs: Iterable[Object]) -> str:
    return "".join(_run(run) for run in runs)


def _run(run: Object) -> str:
    marks = run.get("annotations", {})
    return styled(
        run.get("plain_text", ""),
        bold=marks.get("bold", False),
        italic=marks.get("italic", False),
        strikethrough=marks.get("strikethrough", False),
        code=marks.get("code", False),
        href=run.get("href"),
    )


def _table(rows: list[str]) -> list[str]:
    """Add the rule that Markdown tables need under their first row."""
    if not rows:
        return []
    columns = rows[0].replace("\\|", "").count("|") - 1
    return [rows[0], f"|{'---|' * columns}", *rows[1:]]


def _plain(prop: Object | None) -> str:
    """Return a property's value as text: title, rich text, select, multi-select (the first) or date (its start)."""
    if not prop:
        return ""
    value = prop.get(prop.get("type", ""))
    if prop.get("type") in ("title", "rich_text"):
        return _join_runs(value or ())
    if prop.get("type") == "multi_select":
        return str(value[0]["name"]) if value else ""
    if isinstance(value, dict):
        return str(value.get("start") or value.get("name") or "")[: 10 if "start" in value else None]
    return str(value or "")


def _title_of(properties: Mapping[str, Object]) -> str:
    """Return the value of the property of type title, which every Notion page has under some name."""
    for prop in properties.values():
        if prop.get("type") == "title":
            return " ".join("".join(run.get("plain_text", "") for run in prop.get("title", [])).split())
    return ""
