"""Durations and sizes as other tools write them: `1m30s`, `500ms`, `512M`, `1G`."""

import re

from toombos_cli.config.imports.node import Node

_PART = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s|m|h|d)")
_UNITS_S = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", re.IGNORECASE)
_UNITS_MB = {"": 1 / 2**20, "k": 1 / 2**10, "m": 1, "g": 2**10, "t": 2**20}


def seconds(node: Node, text: str) -> float:
    """Return a duration such as `1m30s` or `30` in seconds. Raise ConfigurationError for another text."""
    plain = text.strip()
    if re.fullmatch(r"\d{1,9}(?:\.\d+)?", plain):
        return float(plain)
    parts = _PART.findall(plain)
    if not parts or "".join(map("".join, parts)) != plain or len(plain) > 20:
        raise node.problem(f"{text!r} is not a duration", hint="write it like 1m30s")
    return float(sum(float(number) * _UNITS_S[unit] for number, unit in parts))


def megabytes(node: Node, text: str) -> int:
    """Return a size such as `512M` in megabytes, at least 1. Raise ConfigurationError for another text."""
    found = _SIZE.fullmatch(text.strip())
    if found is None or len(text) > 12:
        raise node.problem(f"{text!r} is not a size", hint="write it like 512M")
    return max(1, round(float(found[1]) * _UNITS_MB[found[2].lower()]))
