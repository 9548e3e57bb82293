"""Composes YAML within bounds: levels, aliases, merge keys and repeated keys are judged before a value is made."""

from typing import Any

import yaml

_MOST_VALUES = 100_000
_MERGE = "tag:yaml.org,2002:merge"
_TAGS = frozenset(
    {
        *(f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map", "null", "bool", "int", "float", "timestamp")),
        *("!override", "!reset"),  # the compose specification: how a file goes with others, which is not asked here
    }
)


class UnusableYamlError(ValueError):
    """A YAML text is well formed but beyond the bounds; `line` is where."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # the C one where it was built
    """Resolves nothing but null and the merge key, so that a scalar keeps its spelling."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  (PyYAML's way: one table per class)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:null", yaml.SafeLoader.yaml_implicit_resolvers["~"][0][1], [*"~nN", ""]
)
_Loader.add_implicit_resolver(_MERGE, yaml.SafeLoader.yaml_implicit_resolvers["<"][0][1], ["<"])


def compose_bounded(text: str, *, most_levels: int) -> yaml.Node | None:
    """Return the node of the only document, None if it is empty. Raise UnusableYamlError and yaml.YAMLError."""
    levels = 0
    for event in yaml.parse(text, _Loader):  # its recursion is in composing, which a deep text must not reach
        levels += isinstance(event, yaml.CollectionStartEvent)
        levels -= isinstance(event, yaml.CollectionEndEvent)
        if levels > most_levels:
            raise UnusableYamlError("it is nested too deeply", _line(event))
    node = yaml.compose(text, _Loader)
    if node is not None and _values(node, {}, most_levels) > _MOST_VALUES:
        raise UnusableYamlError(f"its aliases stand for more than {_MOST_VALUES} values", _line(node))
    return node


def plain_value(node: yaml.Node | None) -> Any:
    """Return the value of a bounded node. Raise UnusableYamlError for a repeated key, a key that is no text, a tag."""
    if node is None:
        return None
    if node.tag not in _TAGS:
        raise UnusableYamlError(f"the tag {node.tag} has no meaning here", _line(node))
    if isinstance(node, yaml.SequenceNode):
        return [plain_value(item) for item in node.value]
    if isinstance(node, yaml.MappingNode):
        return _mapping(node)
    return None if node.tag == "tag:yaml.org,2002:null" else str(node.value)


def upper_lines(node: yaml.Node | None, levels: int = 4) -> dict[tuple[str | int, ...], int]:
    """Return the 1-based line of each key and item of the first levels, by path."""
    found: dict[tuple[str | int, ...], int] = {}
    if levels and isinstance(node, yaml.MappingNode):
        pairs: list[tuple[str | int, yaml.Node, yaml.Node]] = [
            (str(key.value), key, value) for key, value in node.value
        ]
    elif levels and isinstance(node, yaml.SequenceNode):
        pairs = [(index, item, item) for index, item in enumerate(node.value)]
    else:
        return found
    for name, at, value in pairs:
        found[(name,)] = _line(at)
        found |= {(name, *path): line for path, line in upper_lines(value, levels - 1).items()}
    return found


def _mapping(node: yaml.MappingNode) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    own: dict[str, Any] = {}
    for key, value in node.value:
        if key.tag == _MERGE:
            parts = value.value if isinstance(value, yaml.SequenceNode) else [value]
            for part in parts:
                if not isinstance(part, yaml.MappingNode):
                    raise UnusableYamlError("<< merges what is no mapping", _line(key))
                merged = _mapping(part) | merged  # the earlier one of a list wins
        elif not isinstance(key, yaml.ScalarNode):
            raise UnusableYamlError("a key is no text", _line(key))
        elif key.value in own:
            raise UnusableYamlError(f"the key {key.value!r} is there twice", _line(key))
        else:
            own[key.value] = plain_value(value)
    return merged | own


def _values(node: yaml.Node, known: dict[int, int], levels: int) -> int:
    """Return how many values a node stands for, with each alias counted as what it names."""
    if id(node) in known:
        if not known[id(node)]:
            raise UnusableYamlError("an anchor contains itself", _line(node))
        return known[id(node)]
    if not levels:
        raise UnusableYamlError("it is nested too deeply", _line(node))
    known[id(node)] = 0  # under way
    parts: list[yaml.Node] = []
    if isinstance(node, yaml.SequenceNode):
        parts = node.value
    elif isinstance(node, yaml.MappingNode):
        parts = [part for pair in node.value for part in pair]
    known[id(node)] = 1 + sum(_values(part, known, levels - 1) for part in parts)
    return known[id(node)]


def _line(at: Any) -> int:
    return int(at.start_mark.line) + 1
