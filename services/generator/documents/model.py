"""A parsed living document, and the two ways that reading it can fail."""

from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One news item. `content` is Markdown as its author wrote it; `line` is the 1-based line of its heading."""

    heading: str
    title: str
    date: date
    content: str
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """The items of one category, in document order. It may have none."""

    category: str
    title: str
    items: tuple[Item, ...]
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A parsed document. `digest` is the SHA-256 of its text, in hex: equal digests mean equal documents."""

    title: str
    sections: tuple[Section, ...]
    digest: str

    @property
    def items(self) -> tuple[Item, ...]:
        return tuple(item for section in self.sections for item in section.items)


class DocumentUnavailableError(Exception):
    """The document could not be fetched. The message names the source and the reason, never a secret."""


class MalformedDocumentError(Exception):
    """The document was fetched but cannot be used for publishing. `line` is 1-based."""

    def __init__(self, reason: str, *, line: int) -> None:
        super().__init__(f"line {line}: {reason}")
        self.reason = reason
        self.line = line
