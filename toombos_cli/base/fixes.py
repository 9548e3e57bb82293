"""What a person can do about a fault. A `Fix` becomes text only when it is shown, and is never parsed back."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toombos_cli.base.quoting import joined

# The toombos commands that repair something and lose nothing.
_HARMLESS = (("start",), ("restart",), ("config", "init"), ("monitoring", "restart"), ("monitoring", "reload"))

_named_project: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """A change of a settings file; `line` is None for one that appends a line, or changes all of them alike."""

    path: str
    line: int | None
    shell: str
    """The shell command that makes the change and shows no value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fix:
    """A way to repair a fault: a program to run, an edit of a settings file, a line for the user's shell, or advice.

    Exactly one of the four is set; `command`, `edit`, `shell` and `advice` of this module create them. A `safe` fix
    does no harm here; an edit that is not safe replaces something that may be meant, so a person is asked for each.
    `undo` is the command that reverts it, None if there is none.
    """

    argv: tuple[str, ...] = ()
    edit: Edit | None = None
    line: str = ""
    advice: str = ""
    safe: bool = False
    undo: str | None = None

    @property
    def command(self) -> str:
        """The line to paste, "" for advice."""
        if self.edit is not None:
            return self.edit.shell
        return joined(self.argv) if self.argv else self.line

    def __str__(self) -> str:
        return self.command or self.advice

    def document(self) -> dict[str, Any]:
        """Return the fix as in the JSON output: `command` or `advice`, `safe`, `undo`."""
        what = {"command": self.command} if self.command else {"advice": self.advice}
        return {**what, "safe": self.safe, "undo": self.undo}


def command(*argv: str, safe: bool = False, undo: str | None = None) -> Fix:
    """Return a fix that runs a program."""
    return Fix(argv=argv, safe=safe, undo=undo)


def edit(path: Path, line: int | None, shell: str, *, undo: str | None = None, safe: bool = True) -> Fix:
    """Return a fix that changes one line of a settings file, or adds one; `diagnose --fix` copies the file first."""
    return Fix(edit=Edit(path=str(path), line=line, shell=shell), safe=safe, undo=undo)


def shell(line: str, *, undo: str | None = None) -> Fix:
    """Return a line that only the user's own shell can run, or that needs more than one program."""
    return Fix(line=line, undo=undo)


def advice(text: str) -> Fix:
    """Return advice for a fault that no single command repairs."""
    return Fix(advice=text)


def here(*words: str) -> str:
    """Return a toombos command for the project of this process, to be pasted in the user's current directory."""
    named = () if _named_project is None else ("--project", str(_named_project))
    return joined(("toombos", *named, *words))


def name_project(project: Path | None) -> None:
    """Set the project that `here` names: the one of `--project`, None if the current directory belongs to it."""
    global _named_project
    _named_project = project


def toombos(project: Path, *words: str) -> Fix:
    """Return a toombos command for this project that works in any directory."""
    is_harmless = any(words[: len(harmless)] == harmless for harmless in _HARMLESS)
    return command("toombos", "--project", str(project), *words, safe=is_harmless)
