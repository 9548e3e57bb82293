"""Text helpers shared by all channels: cutting, counting, joining, slugs, dates."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from datetime import date

_ELLIPSIS = "…"
_NAME_CHARS = 1_000
"""Slugs and hashtags are made of this much of a text: sorting a row of combining marks takes quadratic time."""
_SENTENCE_END = re.compile(r"(?<=\w{3}[.!?])\s+(?=[^\sa-z])|(?<=[\u3002\uff01\uff1f])")
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)


def shorten(text: str, limit: int) -> str:
    """Return `text` on one line with at most `limit` characters, cut between words with an ellipsis if too long."""
    text = " ".join(text.split(None, limit))  # more words are longer anyway, and a text may have a million
    if len(text) <= limit:
        return text
    cut = text[: limit - 1]
    if not text[limit - 1].isspace() and " " in cut[limit // 2 :]:
        cut = cut[: cut.rindex(" ")]
    return cut.rstrip(" ,;:.-\u2013\u2014") + _ELLIPSIS


def sentence_ends(text: str) -> Iterator[int]:
    """Yield the positions after sentences, the end of `text` last; possible abbreviations do not end a sentence."""
    yield from (end.start() for end in _SENTENCE_END.finditer(text))
    yield len(text)


def long_date(day: date) -> str:
    """Return a date such as `January 24, 2026`, whatever the locale."""
    return f"{_MONTHS[day.month - 1]} {day.day}, {day.year}"


def period(days: Sequence[date]) -> str:
    """Return the period that the days (at least one) cover: a date, or two joined by `to`."""
    first, last = min(days), max(days)
    return long_date(last) if first == last else f"{long_date(first)} to {long_date(last)}"


def counted(count: int, singular: str) -> str:
    """Return for example `1 update` or `3 updates`."""
    return f"{count} {singular}" if count == 1 else f"{count} {singular}s"


def enumerate_words(words: Sequence[str]) -> str:
    """Return `a`, `a and b`, or `a, b and c`."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def slugify(text: str, limit: int) -> str:
    """Return lower-case ASCII words joined by hyphens, cut between words; "" if the text has no Latin letters."""
    text = text[:_NAME_CHARS].replace("ł", "l").replace("Ł", "L").replace("ß", "ss")
    ascii_text = unicodedata.normalize("NFKD", text)
    slug = re.sub(r"[^a-z0-9]+", "-", ascii_text.encode("ascii", "ignore").decode().lower()).strip("-")
    if len(slug) <= limit:
        return slug
    cut = slug[: limit + 1]
    return cut[: cut.rindex("-")] if "-" in cut[1:] else slug[:limit]


def hashtag(text: str) -> str:
    """Return the words as `#CamelCase`, or "" if there is no letter (platforms do not link pure numbers)."""
    words = re.findall(r"\w+", text[:_NAME_CHARS].replace("'", "").replace("\u2019", ""))
    joined = "".join(word[:1].upper() + word[1:] for word in words)
    return f"#{joined}" if any(character.isalpha() for character in joined) else ""
