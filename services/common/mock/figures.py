"""Invented but repeatable figures, derived from an id alone."""

import struct
from hashlib import blake2b

_DRAWS = struct.Struct(">8I")


def draws(key: str) -> tuple[float, ...]:
    """Return eight numbers in [0, 1) derived from the key."""
    return tuple(number / 2**32 for number in _DRAWS.unpack(blake2b(key.encode(), digest_size=32).digest()))


def between(draw: float, low: float, high: float) -> float:
    """Scale a number in [0, 1) to [low, high)."""
    return low + draw * (high - low)
