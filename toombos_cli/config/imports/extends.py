"""`extends` of a Compose service: the service that it builds on, in the same file or in another one."""

from pathlib import Path
from typing import Any

from toombos_cli.config.imports.node import Node
from toombos_cli.config.imports.reading import read_yaml

_MOST = 10
_NOT_INHERITED = frozenset({"depends_on", "links", "extends"})

_REPLACED = frozenset({"command", "entrypoint"})


def with_extensions(node: Node, services: dict[str, Node], depth: int = 0) -> Node:
    """Return the service with what it extends below it. Raise ConfigurationError if that is not there, or a circle."""
    extended = node["extends"]
    if not extended:
        return node
    if depth >= _MOST:
        raise extended.problem("services extend each other in a circle")
    name = extended["service"].scalar() if isinstance(extended.value, dict) else extended.scalar()
    file = extended["file"].scalar() if isinstance(extended.value, dict) else ""
    others = _services_of(extended, node.source.path.parent / file) if file else services
    if name not in others:
        raise extended.problem(f"no service is named {name!r}" + (f" in {file}" if file else ""))
    base = with_extensions(others[name], others, depth + 1)
    base.entries()
    below = {key: value for key, value in base.value.items() if key not in _NOT_INHERITED} if base else {}
    merged = _merged(below, node.value)
    merged |= {key: node.value[key] for key in _REPLACED & node.value.keys()}
    return Node(merged, node.source, node.path)


def _services_of(at: Node, path: Path) -> dict[str, Node]:
    foreign, root = read_yaml(path)
    if not root["services"]:
        raise at.problem(f"{foreign.path.name} has no services")
    return root["services"].entries()


def _merged(below: Any, above: Any) -> Any:
    if isinstance(below, dict) and isinstance(above, dict):
        return below | {key: _merged(below.get(key), value) for key, value in above.items()}
    if isinstance(below, list) and isinstance(above, list):
        return [*below, *(item for item in above if item not in below)]
    return below if above is None else above
