"""Invented figures that repeat: drawn from an id, never from chance or time."""

import struct
from hashlib import blake2b

_DRAWS = struct.Struct(">8I")


def draws(key: str) -> tuple[float, ...]:
    """Eight numbers in [0, 1) that belong to the key."""
    return tuple(number / 2**32 for number in _DRAWS.unpack(blake2b(key.encode(), digest_size=32).digest()))


def between(draw: float, low: float, high: float) -> float:
    """A draw in [0, 1) spread over [low, high)."""
    return low + draw * (high - low)
