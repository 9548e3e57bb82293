"""The text of manifests."""

import json
from typing import Any


def toml(value: Any) -> str:
    """Return the value in TOML; JSON is TOML for everything but tables."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)
