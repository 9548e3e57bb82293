"""Parsed Markdown as plain text, for readers who see no HTML."""

from collections.abc import Iterable, Sequence

from markdown_it.token import Token


def text_of(tokens: Iterable[Token]) -> str:
    """Return plain text: blank lines between paragraphs, list marks, links as `text (address)`, no HTML."""
    lines: list[str] = []
    writer = _TextWriter(lines)
    for token in tokens:
        writer.write(token)
    return "\n".join(lines).strip("\n")


class _TextWriter:
    """A writer of block tokens as lines. Each list level and quotation has prefixes for its first and other lines."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        self._counters: list[int | None] = []
        """For each open list, the next number, or None for bullets."""
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
    """Return inline tokens as text, without raw HTML.

    `addresses` adds the addresses of links after their texts.
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
