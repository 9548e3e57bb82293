"""Parse a living document's Markdown.

# Title of the document          (optional; front matter and text before the first section are not published)
## [Category] Section title
### Item heading
- **Date:** 2026-01-24           (or January 24, 2026, or 24 January 2026)
- **Title:** Headline
- **Content:** Markdown, which may continue
  over many lines, up to the next heading of these three levels.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from textwrap import dedent

from services.generator.documents.model import Document, Item, MalformedDocumentError, Section

DEFAULT_TITLE = "Updates"
_FIELDS = ("Date", "Title", "Content")
_DATE_FORMATS = ("%Y-%m-%d", "%B %d, %Y", "%d %B %Y", "%b %d, %Y", "%d %b %Y")

# No two adjacent parts of a pattern may both match blanks: a long line of blanks would block the service for hours.
_HEADING = re.compile(r"(#{1,3})(?:[ \t](.*))?")
_CLOSING_MARKS = re.compile(r"(?:^|(?<=[ \t]))#+$")
_SECTION = re.compile(r"\[([^\[\]]*)\](.*)")
_FIELD = re.compile(r"[-*+][ \t]+\*\*([^*:]+)(?::\*\*|\*\*[ \t]*:)(.*)")
_FENCE = re.compile(r" {0,9}(`{3,}(?!.*`)|~{3,})")
_RULE = re.compile(r"[ \t]*([-*_])(?:[ \t]*\1){2,}[ \t]*")
_YAML_KEY = re.compile(r"[A-Za-z_][\w-]*:(?:[ \t]|$)")
_COMMENT = re.compile(r"<!--.*?(-->|\Z)", re.DOTALL)


def parse_document(text: str) -> Document:
    """Parse a document with at least one item. Raise MalformedDocumentError with the line."""
    reader = _Reader()
    for line in _lines(text):
        reader.read(line)
    sections = reader.finish()
    if not any(section.items for section in sections):
        raise MalformedDocumentError("the document has no items (### Title under a ## [Category] section)", line=1)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return Document(title=reader.title or DEFAULT_TITLE, sections=sections, digest=digest)


@dataclass(slots=True)
class _Line:
    number: int
    text: str
    level: int
    """Level of the heading, 1 to 3; 0 for any other line, also in fenced code."""
    heading: str = ""


def _lines(text: str) -> Iterator[_Line]:
    unified = _COMMENT.sub(_line_ends, re.sub(r"\r\n?", "\n", text.removeprefix("\ufeff")))
    lines = unified.split("\n")
    before = _front_matter_lines(lines)
    fence: str | None = None
    for number, raw in enumerate(lines[before:], start=before + 1):
        begun = _FIELD.fullmatch(raw) if fence is None else None
        mark = _FENCE.match(begun[2] if begun else raw)  # code may start right after **Content:**
        if fence is not None:
            if mark and mark[1].startswith(fence) and not raw.strip(f" {fence[0]}"):
                fence = None
        elif mark:
            fence = mark[1]
        heading = None if fence or mark else _HEADING.fullmatch(raw)
        if heading is None:
            yield _Line(number, raw, 0)
        else:
            yield _Line(number, raw, len(heading[1]), _CLOSING_MARKS.sub("", (heading[2] or "").strip()).strip())


def _front_matter_lines(lines: list[str]) -> int:
    """Return the number of lines of YAML front matter, as in Jekyll and Hugo: its comments are not headings."""
    if lines[0].rstrip() != "---":
        return 0
    for number, line in enumerate(lines[1:], start=1):
        if line.rstrip() in ("---", "..."):
            values = [inner for inner in lines[1:number] if inner.strip() and not inner.startswith("#")]
            return number + 1 if values and _YAML_KEY.match(values[0]) else 0
        if line.startswith("## ["):
            break
    return 0


def _line_ends(comment: re.Match[str]) -> str:
    """Return a comment's line ends, so that later lines keep their numbers.

    Raise MalformedDocumentError for a comment without an end, which would hide all items after it.
    """
    if not comment[1]:
        line = comment.string.count("\n", 0, comment.start()) + 1
        raise MalformedDocumentError("the comment that starts here (<!--) has no end (-->)", line=line)
    return "\n" * comment[0].count("\n")


@dataclass(slots=True)
class _OpenItem:
    heading: str
    line: int
    fields: dict[str, tuple[int, list[str]]] = field(default_factory=dict)
    """Name -> (line, text by lines)."""


@dataclass(slots=True)
class _OpenSection:
    category: str
    title: str
    line: int
    items: list[Item] = field(default_factory=list)


class _Reader:
    """The state of the parser: at most one section and one item are open."""

    def __init__(self) -> None:
        self.title = ""
        self._sections: list[_OpenSection] = []
        self._item: _OpenItem | None = None

    def read(self, line: _Line) -> None:
        if line.level == 1 and self._item is None:
            self.title = self.title or line.heading
        elif line.level == 2:
            self._open_section(line)
        elif line.level == 3:
            self._open_item(line)
        elif self._item is not None:
            self._read_item_line(self._item, line)

    def finish(self) -> tuple[Section, ...]:
        self._close_item()
        return tuple(
            Section(category=s.category, title=s.title, items=tuple(s.items), line=s.line) for s in self._sections
        )

    def _open_section(self, line: _Line) -> None:
        self._close_item()
        match = _SECTION.fullmatch(line.heading)
        category, title = (match[1].strip(), match[2].strip()) if match else ("", "")
        if not category:
            raise MalformedDocumentError(
                f"section heading {_quoted(line.heading)} has no category: write ## [Category] Title",
                line=line.number,
            )
        self._sections.append(_OpenSection(category, title or category, line.number))

    def _open_item(self, line: _Line) -> None:
        self._close_item()
        if not self._sections:
            raise MalformedDocumentError(
                f"item {_quoted(line.heading)} is before the first ## [Category] section", line=line.number
            )
        if not line.heading:
            raise MalformedDocumentError("an item heading (###) has no text", line=line.number)
        self._item = _OpenItem(line.heading, line.number)

    def _read_item_line(self, item: _OpenItem, line: _Line) -> None:
        match = _FIELD.fullmatch(line.text.rstrip())
        name = match[1].strip().capitalize() if match else ""
        if match and name in _FIELDS:
            if name in item.fields:
                first = item.fields[name][0]
                raise MalformedDocumentError(
                    f"**{name}:** appears twice in one item (first in line {first})", line=line.number
                )
            item.fields[name] = (line.number, [match[2].lstrip(" \t")])
        elif "Content" in item.fields:
            item.fields["Content"][1].append(line.text)  # everything after Content that is not a field is content
        elif line.text.strip():
            self._read_continuation(item, line, name)

    def _read_continuation(self, item: _OpenItem, line: _Line, unknown_field: str) -> None:
        if unknown_field:
            raise MalformedDocumentError(
                f"unknown field {_quoted(unknown_field)}: an item has Date, Title and Content", line=line.number
            )
        if "Title" in item.fields and line.text[:1].isspace():
            item.fields["Title"][1].append(line.text.strip())
            return
        raise MalformedDocumentError(
            f"unexpected text {_quoted(line.text.strip())}: an item starts with **Date:**, **Title:** and **Content:**",
            line=line.number,
        )

    def _close_item(self) -> None:
        item, self._item = self._item, None
        if item is None:
            return
        missing = [name for name in _FIELDS if not any(text.strip() for text in item.fields.get(name, (0, []))[1])]
        if missing:
            names = ", ".join(f"**{name}:**" for name in missing)
            raise MalformedDocumentError(f"item {_quoted(item.heading)} has no {names}", line=item.line)
        date_line, date_text = item.fields["Date"]
        self._sections[-1].items.append(
            Item(
                heading=item.heading,
                title=" ".join(" ".join(item.fields["Title"][1]).split()),
                date=_parse_date(" ".join(date_text).strip(), line=date_line),
                content=_join_content(item.fields["Content"][1]),
                line=item.line,
            )
        )


def _parse_date(text: str, *, line: int) -> date:
    for pattern in _DATE_FORMATS:
        try:
            return datetime.strptime(text, pattern).date()  # noqa: DTZ007  (a calendar day has no time zone)
        except ValueError:
            continue
    raise MalformedDocumentError(f"{_quoted(text)} is not a date: write it as 2026-01-24", line=line)


def _join_content(lines: list[str]) -> str:
    """Join the field's lines, removing the common indentation after the first one, and a closing rule (---)."""
    rest = dedent("\n".join(line.expandtabs(4) for line in lines[1:])).split("\n")
    joined = [lines[0], *rest]
    while joined and (not joined[-1].strip() or _RULE.fullmatch(joined[-1])):
        joined.pop()
    return "\n".join(joined).strip("\n")


def _quoted(text: str, limit: int = 60) -> str:
    return f"'{text if len(text) <= limit else text[: limit - 1] + '…'}'"
