"""The layers of a manifest: the project's own `toombos.toml`, and the packaged manifest that it extends."""

from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from toombos_cli.base.errors import ConfigurationError
from toombos_cli.base.trust import read_trusted
from toombos_cli.base.untrusted import UntrustedError, decode_untrusted_toml
from toombos_cli.manifest import FILE_NAME

PACKAGED = "toombos"
EXTENDABLE = (PACKAGED, "monitoring")
"""The packaged manifests that `extends` can name."""
KeyPath = tuple[str | int, ...]


def read_layers(path: Path) -> "tuple[Layer, ...]":
    """Return the file and the packaged manifest that it extends; only the packaged manifest if there is no file.

    Raises ConfigurationError if the file cannot be read, is not TOML, or extends an unknown manifest, NotTrustedError
    if another user could have written it.
    """
    if not path.is_file():
        return packaged_layers()
    return layers_of(Layer.parse(_read(path), str(path)))


def layers_of(own: "Layer") -> "tuple[Layer, ...]":
    """Return a manifest and the packaged one that it extends. Raises ConfigurationError if there is no such one."""
    extended = _extended(own)
    return (own, _packaged(extended)) if extended else (own,)


def packaged_layers() -> "tuple[Layer, ...]":
    """Return the packaged manifest alone."""
    return (_packaged(PACKAGED),)


def packaged_tree(name: str) -> dict[str, Any]:
    """Return the tables of a packaged manifest that `extends` can name."""
    return _packaged(name).tree


def merged(layers: "tuple[Layer, ...]") -> dict[str, Any]:
    """Return one tree of all layers: tables are merged, other values are replaced by the layer above."""
    tree: dict[str, Any] = {}
    for layer in reversed(layers):
        tree = _merge(tree, layer.tree)
    tree.pop("extends", None)
    return tree


@dataclass(frozen=True)
class Layer:
    """One TOML text: its name for messages, and its parsed tree."""

    label: str
    tree: dict[str, Any]
    text: str

    @cached_property
    def lines(self) -> dict[KeyPath, int]:
        """The line of each key; computed only to report problems."""
        from toombos_cli.manifest.reading.positions import key_lines

        return key_lines(self.text)

    @classmethod
    def parse(cls, text: str, label: str) -> "Layer":
        """Parse a TOML text. Raises ConfigurationError with the line that is wrong."""
        try:
            return cls(label, decode_untrusted_toml(text), text)
        except UntrustedError as error:
            from toombos_cli.manifest.reading.toml_remedies import corrected_line

            where = label if error.line is None else f"{label}:{error.line}"
            hint = corrected_line(text.split("\n")[error.line - 1]) if error.line else None
            raise ConfigurationError(f"not valid TOML: {error}", where=where, hint=hint) from None


@cache
def _packaged(name: str) -> Layer:
    text = (Path(__file__).parents[1] / FILE_NAME).read_text("utf-8")
    layer = Layer.parse(text, f"{FILE_NAME} (packaged)")
    if name == PACKAGED:
        return layer
    services = {name: table for name, table in layer.tree["services"].items() if table.get("role") == "monitoring"}
    tree = {"services": services} | {key: layer.tree[key] for key in ("alerts", "schedule")}
    return replace(layer, tree=tree)


def _read(path: Path) -> str:
    try:
        return read_trusted(path).decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"not UTF-8 at byte {error.start}", where=str(path)) from None
    except UntrustedError as error:
        raise ConfigurationError(f"cannot be read: {error}", where=str(path)) from None
    except OSError as error:
        raise ConfigurationError(f"cannot be read: {error.strerror}", where=str(path)) from None


def _extended(own: Layer) -> str | None:
    """Return the name of the packaged manifest that this one extends, or None. Raises ConfigurationError."""
    extended = own.tree.get("extends")
    if extended is None or extended in EXTENDABLE:
        return extended
    where = f"{own.label}:{own.lines.get(('extends',), 1)}"
    raise ConfigurationError(
        f"extends = {own.tree['extends']!r} is not a packaged manifest", where=where, hint=f'extends = "{PACKAGED}"'
    )


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged
