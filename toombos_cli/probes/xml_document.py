"""XML as the objects that JSON would have: attributes and elements are members, text is a value."""

from typing import Any
from xml.parsers import expat

_MOST_LEVELS = 100


def read_xml(text: str) -> dict[str, Any]:
    """Return the document as `{root: ...}`. Raise ValueError if it is not XML, or declares entities of its own."""
    reader = _XmlReader()
    parser = expat.ParserCreate(encoding="utf-8", namespace_separator=" ")
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    parser.EntityDeclHandler = reader.entity
    try:
        parser.Parse(text.encode("utf-8", "replace"), True)
    except expat.ExpatError as error:
        raise ValueError(f"the body is not XML: {error}") from None
    return reader.root


class _XmlReader:
    def __init__(self) -> None:
        self.root: dict[str, Any] = {}
        self._open: list[tuple[str, dict[str, Any], list[str]]] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if len(self._open) >= _MOST_LEVELS:
            raise ValueError("the body is not XML: it is nested too deeply")
        members: dict[str, Any] = {_local(key): value for key, value in attributes.items()}
        self._open.append((_local(name), members, []))

    def text(self, data: str) -> None:
        self._open[-1][2].append(data)

    def end(self, name: str) -> None:
        tag, members, texts = self._open.pop()
        text = "".join(texts).strip()
        value: Any = members | ({"": text} if text else {}) if members else text
        parent = self._open[-1][1] if self._open else self.root
        if tag in parent:
            others = parent[tag] if isinstance(parent[tag], list) else [parent[tag]]
            parent[tag] = [*others, value]
        else:
            parent[tag] = value

    def entity(self, *_: Any) -> None:
        raise ValueError("the body is not XML that can be read safely: it declares entities")


def _local(name: str) -> str:
    return name.rpartition(" ")[2]
