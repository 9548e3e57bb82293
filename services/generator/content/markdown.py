"""Authors' Markdown to safe HTML and to plain text.

Authors may write raw HTML: it passes through the same allow-list as what Markdown becomes, and nothing else survives.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise

import nh3
from markdown_it import MarkdownIt
from markdown_it.token import Token

_TAGS = frozenset(
    [
        "a",
        "abbr",
        "b",
        "blockquote",
        "br",
        "code",
        "del",
        "em",
        "figcaption",
        "figure",
        "h3",
        "h4",
        "h5",
        "h6",
        "hr",
        "i",
        "img",
        "kbd",
        "li",
        "mark",
        "ol",
        "p",
        "pre",
        "s",
        "small",
        "strong",
        "sub",
        "sup",
        "table",
        "tbody",
        "td",
        "th",
        "thead",
        "tr",
        "u",
        "ul",
    ]
)
_ATTRIBUTES = {
    "*": {"dir"},
    "a": {"href", "title"},
    "abbr": {"title"},
    "img": {"src", "alt", "title", "width", "height"},
    "td": {"align"},
    "th": {"align"},
    "ol": {"start"},
}
_SCHEMES = frozenset({"http", "https", "mailto"})
_DROPPED_WITH_CONTENT = frozenset({"script", "style", "iframe", "object", "embed", "noscript", "template", "title"})


@lru_cache(maxsize=1)
def _parser() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


def to_html(markdown: str, *, styles: Mapping[str, str] | None = None) -> str:
    """Sanitised HTML. `styles` gives elements an inline style by tag name, for mail clients that know no other."""
    parser = _parser()
    tokens = parser.parse(markdown)
    for token in tokens:
        if token.type in ("heading_open", "heading_close") and token.tag in ("h1", "h2"):
            token.tag = "h3"  # the page's own headings are h1 and h2
        if token.nesting == 1 and token.level == 0:
            token.attrSet("dir", "auto")  # from right to left where the block's text is
        _align_by_attribute(token)
    return sanitise(parser.renderer.render(tokens, parser.options, {}), styles=styles)


def sanitise(html: str, *, styles: Mapping[str, str] | None = None) -> str:
    """Only allow-listed elements, attributes and URL schemes are left; scripts go with their content."""
    return nh3.clean(
        html,
        tags=set(_TAGS),
        clean_content_tags=set(_DROPPED_WITH_CONTENT),
        attributes=_ATTRIBUTES,
        url_schemes=set(_SCHEMES),
        link_rel="noopener noreferrer",
        set_tag_attribute_values={tag: {"style": style} for tag, style in (styles or {}).items()},
    ).strip()


def to_text(markdown: str) -> str:
    """Plain text: paragraphs apart by blank lines, list marks, links as `text (address)`; no HTML."""
    lines: list[str] = []
    writer = _TextWriter(lines)
    for token in _parser().parse(markdown):
        writer.write(token)
    return "\n".join(lines).strip("\n")


def opening(markdown: str) -> str:
    """The first paragraph that stands in no list, table or quotation, as one line of text without link addresses.

    Empty when there is none.
    """
    tokens = _parser().parse(markdown)
    for before, token in pairwise(tokens):
        if before.type == "paragraph_open" and before.level == 0:
            text = " ".join(inline_text(token.children or (), addresses=False).split())
            if text:
                return text
    return ""


def links(markdown: str) -> tuple[str, ...]:
    """Web addresses that the text links to, in its order, each once."""
    return _addresses(markdown, "link_open", "href")


def images(markdown: str) -> tuple[str, ...]:
    """Web addresses of the images, in the text's order, each once."""
    return _addresses(markdown, "image", "src")


def _addresses(markdown: str, kind: str, attribute: str) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for block in _parser().parse(markdown):
        for token in block.children or ():
            address = str(token.attrGet(attribute) or "") if token.type == kind else ""
            if address.startswith(("https://", "http://")):
                found[address] = None
    return tuple(found)


def _align_by_attribute(token: Token) -> None:
    """A column's alignment as an attribute: authors' style attributes do not survive sanitising."""
    if token.type in ("td_open", "th_open"):
        style = str(token.attrs.pop("style", ""))
        if style:
            token.attrSet("align", style.removeprefix("text-align:"))
        elif token.type == "th_open":
            token.attrSet("align", "left")  # else it would be centred above its column


class _TextWriter:
    """Writes block tokens as lines. Each list level and quotation has a prefix for its first and its other lines."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        self._counters: list[int | None] = []
        """One a list: the next number, or None for bullets."""
        self._mark = ""
        self._quotes = 0
        self._cells: list[str] | None = None

    def write(self, token: Token) -> None:
        match token.type:
            case "bullet_list_open":
                self._counters.append(None)
            case "ordered_list_open":
                self._counters.append(int(token.attrGet("start") or 1))
            case "bullet_list_close" | "ordered_list_close":
                self._counters.pop()
                self._gap()
            case "list_item_open":
                self._mark = self._next_mark()
            case "blockquote_open":
                self._quotes += 1
            case "blockquote_close":
                self._quotes -= 1
            case "tr_open":
                self._cells = []
            case "tr_close":
                self._emit(" | ".join(self._cells or ()))
                self._cells = None
            case "table_close":
                self._gap()
            case "inline":
                self._write_inline(token)
            case "paragraph_close" | "heading_close":
                if not token.hidden:
                    self._gap()
            case "fence" | "code_block":
                for line in token.content.rstrip("\n").split("\n"):
                    self._emit(f"    {line}")
                self._gap()
            case "hr":
                self._emit("---")
                self._gap()

    def _write_inline(self, token: Token) -> None:
        text = inline_text(token.children or ())
        if self._cells is not None:
            self._cells.append(text)
            return
        for line in text.split("\n"):
            self._emit(line)

    def _next_mark(self) -> str:
        number = self._counters[-1]
        if number is None:
            return "- "
        self._counters[-1] = number + 1
        return f"{number}. "

    def _emit(self, text: str) -> None:
        depth = len(self._counters)
        indent = "  " * (depth - 1 if self._mark else depth)
        self._lines.append(f"{'> ' * self._quotes}{indent}{self._mark}{text}".rstrip())
        self._mark = ""

    def _gap(self) -> None:
        if self._lines and self._lines[-1] and not self._counters:
            self._lines.append("")


def inline_text(tokens: Sequence[Token], *, addresses: bool = True) -> str:
    """Inline tokens as text. Raw HTML leaves nothing: in plain text its tags would only be noise.

    `addresses` puts those of links after their texts.
    """
    parts: list[str] = []
    open_links: list[tuple[str, int]] = []
    for token in tokens:
        match token.type:
            case "text" | "code_inline":
                parts.append(token.content)
            case "softbreak":
                parts.append(" ")
            case "hardbreak":
                parts.append("\n")
            case "image":
                parts.append(inline_text(token.children or ()))
            case "link_open":
                open_links.append((str(token.attrGet("href") or ""), len(parts)))
            case "link_close":
                address, start = open_links.pop()
                shown = "".join(parts[start:])
                if addresses and address.startswith(("https://", "http://")) and shown != address:
                    parts.append(f" ({address})")
    return "".join(parts)
