"""Suggests the name that a user probably meant."""

from collections.abc import Iterable

_SHORTEST = 5
"""Shorter names are too often similar by chance."""


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the most similar known name, ignoring case, or None if none is close."""
    from difflib import get_close_matches

    by_lower = {name.lower(): name for name in known}
    found = get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[found[0]] if found else None


def is_misspelling(word: str, known: str) -> bool:
    """Report whether one letter was left out, added, replaced or swapped with the next; a digit makes another name."""
    if word == known or abs(len(word) - len(known)) > 1 or len(known) < _SHORTEST:
        return False
    at = next((i for i, (a, b) in enumerate(zip(word, known, strict=False)) if a != b), min(len(word), len(known)))
    rest, other = word[at:], known[at:]
    if any(letter.isdigit() for letter in rest[:1] + other[:1]):
        return False
    swapped = rest[:2] == other[1::-1] and rest[2:] == other[2:]
    return swapped or rest[1:] == other or rest == other[1:] or rest[1:] == other[1:]


def did_you_mean(word: str, known: Iterable[str], otherwise: str | None = None) -> str | None:
    """Return the hint `did you mean 'x'?`, or `otherwise` if no known name is close."""
    guess = nearest(word, known)
    return f"did you mean {guess!r}?" if guess else otherwise
