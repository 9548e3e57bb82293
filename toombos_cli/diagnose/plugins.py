"""What other packages register for `diagnose`: checks, and lines that are known."""

import sys
from functools import lru_cache
from importlib.metadata import EntryPoint, distributions


def registered(group: str) -> list[EntryPoint]:
    """Return the entry points of a group."""
    return [entry for entry in _all(tuple(sys.path)) if entry.group == group]


@lru_cache(maxsize=1)
def _all(path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    """Return what the packages on this path register for diagnose: each look reads the metadata of every package."""
    del path
    found = (distribution.entry_points for distribution in distributions())
    return tuple(dict.fromkeys(e for entries in found for e in entries if e.group.startswith("toombos.")))
