"""Rates secrets without revealing them."""

import math
import re
from collections import Counter

_PLACEHOLDER = r"""(?ix) ^ (?:
        (?: [a-z]+ [-_. ] )* (?: change[-_ ]?(?:me|this|it) | replace[-_ ]?(?:me|this) ) (?: [-_. ] [a-z]+ )* \d{0,4}
        | (?: [a-z]+ [-_. ] )* (?: placeholder | example | dummy | sample ) (?: [-_. ] [a-z]+ )* \d{0,4}
        | (?: your | my | insert | enter | add | put ) (?: [-_. ] [a-z]+ )+
        | <.*> | \[.*\] | \{\{.*\}\} | \$\{?\w+\}?
        | (?: x+ | \*+ | \.+ | -+ | 0+ | todo | tbd | fixme | none | null | nil | undefined | empty )
        | (?: secret | password | passwd | test | testing | key | token | api[-_]?key | admin | default | demo )
          [-_ ]? (?: key | token | value | secret | password | \d{0,4} )
    ) $"""
# The generator refuses these anywhere in a key or live address (services/generator/settings.py).
_WORDS = ("changeme", "change-me", "change_me", "placeholder", "your-", "your_", "example", "xxxx", "todo", "<")
RANDOM_TEXT = "$(python3 -c 'import secrets; print(secrets.token_urlsafe(32))')"
"""A shell expression for a new random secret, so that a command can write one without showing it."""

_WEAK_BITS = 48.0
_FEWEST_DISTINCT = 8


def is_placeholder(value: str) -> bool:
    """Report whether a text is a placeholder for a secret, such as `changeme`, `<your key>` or `xxxx`."""
    return bool(re.match(_PLACEHOLDER, value.strip())) or any(word in value.lower() for word in _WORDS)


def estimated_bits(value: str) -> float:
    """Return an upper bound of a text's entropy in bits: the Shannon entropy of its own characters."""
    counts = Counter(value)
    return -sum(n * math.log2(n / len(value)) for n in counts.values()) if value else 0.0


def looks_random(value: str) -> bool:
    """Report whether a text looks like a key or token: one long word of letters and digits, not a path or URL."""
    mixed = re.search(r"[0-9]", value) and re.search(r"[A-Za-z]", value)
    return bool(len(value) >= 16 and mixed and re.fullmatch(r"[\w+=.~-]+", value) and estimated_bits(value) >= 48)


def weakness(value: str, *, minimum_length: int) -> str | None:
    """Return why a secret is weak, as "is ...", or None if it is not."""
    if is_placeholder(value):
        return "is a placeholder"
    if value != value.strip():
        return "starts or ends with a space"
    if len(value) < max(minimum_length, 8):
        return f"is shorter than {max(minimum_length, 8)} characters"
    if len(set(value)) < _FEWEST_DISTINCT or estimated_bits(value) < min(_WEAK_BITS, 2.5 * max(minimum_length, 8)):
        return "repeats too few characters to be random"
    return None
