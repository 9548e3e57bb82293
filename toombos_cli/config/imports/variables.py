"""Variables in the texts of a Compose file: `$NAME`, `${NAME:-default}` and the others of its specification."""

import re

from toombos_cli.config.imports.draft import SystemDraft
from toombos_cli.config.imports.node import Node
from toombos_cli.config.imports.secrets import is_secret
from toombos_cli.config.imports.shell import reference
from toombos_cli.settings.env_file import EnvFile

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_PATTERN = re.compile(
    rf"\$(?:(?P<escaped>\$)|(?P<bare>{_NAME})|\{{(?P<name>{_NAME})(?:(?P<operator>:?[-?+])(?P<rest>(?:[^{{}}]|\{{[^{{}}]*\}})*))?\}})"
)


class Variables:
    """The values that `.env` gives. The environment of the moment is left out, so that an import can be repeated."""

    def __init__(self, env_file: EnvFile, system: SystemDraft) -> None:
        self.env_file = env_file
        self.system = system
        self.met_secret = False
        """Whether the last text that was filled in contained a secret of `.env`."""

    def filled(self, node: Node) -> str:
        """Return the text of a node with its variables filled in."""
        self.met_secret = False
        return self._filled(node.scalar(), node, in_command=False)

    def filled_word(self, node: Node) -> str:
        """Return a word of a command; a secret and a variable without a value stay references for a shell."""
        return self._filled(node.scalar(), node, in_command=True)

    def alone(self, node: Node) -> tuple[str, str | None] | None:
        """Return name and default if the text is one variable and nothing else, else None."""
        found = _PATTERN.fullmatch(node.scalar())
        if found is None or found["escaped"] or found["operator"] in ("+", ":+"):
            return None
        default = found["rest"] if found["operator"] in ("-", ":-") else None
        if found["operator"] in ("?", ":?"):
            self._note_unset(found["name"], node, required=found["rest"] or "")
        return found["bare"] or found["name"], default

    def _filled(self, text: str, node: Node, *, in_command: bool) -> str:
        def value(match: re.Match[str]) -> str:
            if match["escaped"]:
                return "$"
            name, operator, rest = match["bare"] or match["name"], match["operator"] or "", match["rest"] or ""
            present = self.env_file.values.get(name)
            is_there = present is not None and (present != "" or ":" not in operator)
            if operator.endswith("+"):
                return self._filled(rest, node, in_command=in_command) if is_there else ""
            if not is_there and operator.endswith("-"):
                return self._filled(rest, node, in_command=in_command)
            if is_there and present is not None:
                secret = is_secret(name, present)
                self.met_secret |= secret
                return reference(name) if secret and in_command else present
            self._note_unset(name, node, required=rest if operator.endswith("?") else None)
            return reference(name) if in_command else ""

        return _PATTERN.sub(value, text)

    def _note_unset(self, name: str, node: Node, *, required: str | None) -> None:
        if name in self.env_file.values:
            return
        said = required or f"Used in {node.source.path.name}, where nothing sets it"
        if name not in self.system.unset or required is not None:
            self.system.unset[name] = (said, required is not None)
