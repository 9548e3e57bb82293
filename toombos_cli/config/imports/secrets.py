"""Keeps the secrets of a foreign file out of the manifest: they go to a private `.env`, or are named."""

import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toombos_cli.base.redaction import Redactor, is_secret_name
from toombos_cli.config.imports.draft import ServiceDraft, SystemDraft
from toombos_cli.config.imports.shell import as_shell_sees, braced, reference, with_references
from toombos_cli.settings.env_file import EnvFile, parse_env_text

_SWITCHES = frozenset({"", "true", "false", "yes", "no"})
_OTHER_COMMANDS = frozenset({"health", "stop_command"})
_SHORTEST = 4
"""A shorter value of `.env` occurs in a command line by chance."""


def is_secret(name: str, value: str) -> bool:
    """Report whether a variable's value must not stand in a manifest, by its name or by its form."""
    if value.lower() in _SWITCHES:
        return False
    line = f"{name}={value}"
    return is_secret_name(name) or Redactor().text(line) != line


@dataclass(kw_only=True)
class Secrets:
    """The secrets that were found: values for a new `.env`, or names that a person must add to a present one."""

    env_file: EnvFile
    used_by: dict[str, list[str]] = field(default_factory=dict)
    new: dict[str, str] = field(default_factory=dict, repr=False)
    """The assignments of a new `.env`, in order."""
    to_add: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The text of the new `.env`; "" if there is nothing to write."""
        return "".join(f"{name}={_quoted(value)}\n" for name, value in self.new.items())

    def is_open(self) -> bool:
        """Report whether a present `.env` can be read by others than its owner."""
        return self.env_file.exists and bool(stat.S_IMODE(Path(self.env_file.path).stat().st_mode) & 0o077)

    def take(self, system: SystemDraft) -> None:
        """Move every secret of the services out of their tables."""
        for draft in system.services.values():
            for name, value in list(draft.env.items()):
                if name not in draft.placeholders and (name in draft.secret_names or is_secret(name, value)):
                    del draft.env[name]
                    self._keep(name, value, draft)
            self._take_from_commands(draft)

    def _keep(self, name: str, value: str, draft: ServiceDraft) -> None:
        self.used_by.setdefault(name, []).append(draft.name)
        present = self.env_file.values.get(name, self.new.get(name))
        if present == value:
            return
        if present is not None:
            draft.todo.append(f"{name} has another value for this service than .env has: give it a name of its own")
        elif not self.env_file.exists and _can_be_written(name, value):
            self.new[name] = value
        else:
            draft.todo.append(f"add {name} to .env, with the value in the other file")
            self.to_add.append(name)

    def _take_from_commands(self, draft: ServiceDraft) -> None:
        if "command" in draft.keys:
            words = self._without_secrets(draft.keys["command"], draft)
            draft.keys["command"] = list(with_references(words, draft.prefix))
        for key in _OTHER_COMMANDS & draft.keys.keys():
            draft.keys[key] = self._hidden(draft.keys[key], draft)
        draft.offers = [
            (key, self._hidden(value, draft) if key in _OTHER_COMMANDS else value, why)
            for key, value, why in draft.offers
        ]

    def _hidden(self, value: Any, draft: ServiceDraft) -> Any:
        """Return a command, or a table with one, without secrets."""
        if isinstance(value, dict):
            return value | {"command": self._hidden(value["command"], draft)} if "command" in value else value
        return value if isinstance(value, str) else list(with_references(self._without_secrets(value, draft)))

    def _without_secrets(self, command: Sequence[str], draft: ServiceDraft) -> tuple[str, ...]:
        """Return the words of a command with references in the place of secrets."""
        words = tuple(command)
        redactor = Redactor()
        seen = [as_shell_sees(word) for word in words]
        redactor.argv(seen)
        redactor.text(" ".join(seen))  # some options are secrets only after their program
        known = {
            v: n for n, v in {**self.env_file.values, **self.new}.items() if is_secret(n, v) and len(v) >= _SHORTEST
        }
        for value in dict.fromkeys((*known, *redactor.found)):
            written = braced(value)
            if any(written in word for word in words):
                name = known.get(value) or self._name_for(draft)
                if value not in known:
                    self._keep(name, value, draft)
                words = tuple(word.replace(written, reference(name)) for word in words)
        return words

    def _name_for(self, draft: ServiceDraft) -> str:
        base = "".join(c if c.isalnum() and c.isascii() else "_" for c in draft.name).upper() + "_SECRET"
        base = f"_{base}" if base[0].isdigit() else base
        taken = self.env_file.values.keys() | self.new.keys() | set(self.to_add)
        return next(name for name in (base, *(f"{base}_{n}" for n in range(2, 1000))) if name not in taken)


def _quoted(value: str) -> str:
    if value.isalnum():
        return value
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _can_be_written(name: str, value: str) -> bool:
    """Report whether `.env` can hold the value: it is read back as it was."""
    return dict(parse_env_text(f"{name}={_quoted(value)}\n", Path(".env")).values) == {name: value}
