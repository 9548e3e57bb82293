"""Suggests the name that a user probably meant."""

from collections.abc import Iterable


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the most similar known name, ignoring case, or None if none is close."""
    from difflib import get_close_matches

    by_lower = {name.lower(): name for name in known}
    found = get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[found[0]] if found else None


def did_you_mean(word: str, known: Iterable[str], otherwise: str | None = None) -> str | None:
    """Return the hint `did you mean 'x'?`, or `otherwise` if no known name is close."""
    guess = nearest(word, known)
    return f"did you mean {guess!r}?" if guess else otherwise
