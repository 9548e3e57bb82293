"""Only base/untrusted.py decodes JSON, TOML and YAML, so that no odd text raises anything but UntrustedError."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[2] / "toombos_cli"
OWNER = "base/untrusted.py"
DECODERS = {
    "json": {"load", "loads", "JSONDecoder"},
    "tomllib": {"load", "loads"},
    "yaml": {"load", "safe_load", "load_all", "safe_load_all", "full_load", "unsafe_load"},
    "msgspec.json": {"decode", "Decoder"},
    "msgspec.toml": {"decode"},
    "msgspec.yaml": {"decode"},
    "msgspec.msgpack": {"decode", "Decoder"},
    "pickle": {"load", "loads", "Unpickler"},
    "marshal": {"load", "loads"},
}
ALLOWED = {
    "load/share.py: pickle.loads": "a Locust worker runs the code of its master anyway, and a share has functions"
}
"""Each decoder elsewhere, with the reason."""


def decoders_in(tree: ast.AST) -> Iterator[str]:
    """Yield the decoders that are used or imported by name, and each `.json()` of a response."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in DECODERS.get(ast.unparse(node.value), ()):
            yield ast.unparse(node)
        elif isinstance(node, ast.ImportFrom) and node.module in DECODERS:
            yield from (f"{node.module}.{n.name}" for n in node.names if n.name in DECODERS[node.module])
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "json":
            yield f"{ast.unparse(node.func.value)}.json()"


def test_no_other_module_decodes():
    found = {
        f"{path.relative_to(SOURCES)}: {decoder}"
        for path in SOURCES.rglob("*.py")
        if str(path.relative_to(SOURCES)) != OWNER
        for decoder in decoders_in(ast.parse(path.read_text()))
    }
    assert found == ALLOWED.keys()


@pytest.mark.parametrize(
    "source",
    ["json.loads(x)", "from json import loads", "msgspec.json.decode(x)", "msgspec.json.Decoder(T)", "r.json()"],
)
def test_the_search_finds(source: str):
    assert list(decoders_in(ast.parse(source)))
