"""Paths in a container as paths on this machine: below what was mounted or copied there."""

import posixpath
from dataclasses import dataclass, field

from toombos_cli.config.imports.shell import braced


@dataclass(kw_only=True)
class Places:
    """The directories of a container that have a counterpart below the project, as relative paths."""

    pairs: dict[str, str] = field(default_factory=dict)

    def add(self, inside: str, outside: str) -> None:
        """Note that a path of the container is this path here; the first word counts."""
        if inside.startswith("/") and posixpath.normpath(inside) != "/":
            self.pairs.setdefault(posixpath.normpath(inside), braced(outside))

    def outside(self, inside: str) -> str | None:
        """Return the counterpart of a path in the container, or None."""
        path = posixpath.normpath(inside)
        for known in sorted(self.pairs, key=len, reverse=True):
            if path == known or path.startswith(f"{known}/"):
                return posixpath.normpath(posixpath.join(self.pairs[known], path[len(known) :].lstrip("/") or "."))
        return None

    def word(self, word: str, directory: str) -> str:
        """Return a word of a command, seen from a directory here, with the container's paths replaced."""
        option, equals, value = word.partition("=") if word.startswith("-") else ("", "", word)
        if not value.startswith("/"):
            return word
        outside = self.outside(value)
        if outside is None:
            return word
        relative = posixpath.relpath(outside, directory or ".")
        if not option and posixpath.dirname(relative) == "" and word.rpartition("/")[2] == relative:
            relative = f"./{relative}" if posixpath.splitext(relative)[1] == ".sh" else relative
        return f"{option}{equals}{relative}"
