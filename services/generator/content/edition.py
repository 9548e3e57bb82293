"""The facts about a document that all channels use: its lead item, order, counts, period and topics."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from services.generator.content.effort import MAX_STEPS, Effort, TooComplexError
from services.generator.content.markdown import Body
from services.generator.content.wording import counted, enumerate_words, period
from services.generator.documents.model import Document, Item, MalformedDocumentError

_KEYWORD_MIN_CHARS = 5
_ADDRESS_OR_WORD = re.compile(r"https?://\S+|([^\W\d_]+(?:[-'\u2019][^\W\d_]+)*)")
_COMMON_WORDS = frozenset(Path(__file__).with_name("common_words.txt").read_text("utf-8").split())


@dataclass(frozen=True, slots=True, kw_only=True)
class Edition:
    """A document and the facts about it. `newest` has every item, the latest first; ties in document order."""

    document: Document
    newest: tuple[Item, ...]
    facts: dict[str, str]
    """Values for the placeholders in a tone's sentences: see tones.py."""
    bodies: Mapping[Item, Body]
    """Each item's content, parsed."""

    @property
    def lead(self) -> Item:
        return self.newest[0]


def make_edition(document: Document) -> Edition:
    """Return the edition of a document with at least one item. Raise MalformedDocumentError if it is too complex."""
    newest = tuple(sorted(document.items, key=lambda item: item.date, reverse=True))
    topics = tuple(dict.fromkeys(section.category for section in document.sections if section.items))
    facts = {
        "brand": document.title,
        "lead": newest[0].title,
        "count": counted(len(newest), "update"),
        "period": period([item.date for item in newest]),
        "topics": enumerate_words(topics if len(topics) <= 5 else (*topics[:4], "more")),
    }
    return Edition(document=document, newest=newest, facts=facts, bodies=_parse_bodies(newest))


def _parse_bodies(items: Sequence[Item]) -> dict[Item, Body]:
    effort = Effort()
    bodies: dict[Item, Body] = {}
    costs: dict[Item, int] = {}
    for item in items:
        before = effort.steps
        try:
            bodies[item] = Body(item.content, effort)
        except TooComplexError:
            costs[item] = effort.steps - before
            line = max(costs, key=lambda known: costs[known]).line
            raise MalformedDocumentError(
                f"the document takes more than {MAX_STEPS} steps to parse, most of them for this item:"
                " remove rows of brackets or marks, very large tables and unclosed HTML",
                line=line,
            ) from None
        costs[item] = effort.steps - before
    return bodies


def keywords(edition: Edition, limit: int) -> tuple[str, ...]:
    """Return the most frequent words of the items, titles counting three times; equal counts in order of first use.

    If a singular and its plural both occur, only the more frequent one is returned.
    """
    counts: Counter[str] = Counter()
    for item in edition.newest:
        for word in _words(item.title):
            counts[word] += 3
        counts.update(_words(edition.bodies[item].text))
    chosen: dict[str, None] = {}
    for word, count in counts.most_common():
        if count > 1 and f"{word}s" not in chosen and word.removesuffix("s") not in chosen:
            chosen[word] = None
    return tuple(chosen)[:limit]


def _words(text: str) -> Iterator[str]:
    """Yield the words that may be keywords. Unlike `findall`, the search lets other threads run between them."""
    for match in _ADDRESS_OR_WORD.finditer(text):
        word = (match[1] or "").lower()
        if len(word) >= _KEYWORD_MIN_CHARS and word not in _COMMON_WORDS:
            yield word
