"""Imports a command's module only when the command is called, and applies the settings that all commands share."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, ClassVar

import typer
from typer.main import get_group

from toombos_cli.cli import plain_help
from toombos_cli.cli.groups import CommandGroup


class CommandsOnDemand(CommandGroup):
    """A group that knows its commands from two tables and loads one only when it is called."""

    targets: ClassVar[Mapping[str, str]]
    """By name: `module` or `module:name` of a function in it, below `toombos_cli.commands`."""
    sections: ClassVar[Mapping[str, Mapping[str, str]]]
    """By title of a section of the help: each command's name and summary."""
    guide: ClassVar[tuple[str, tuple[tuple[str, str], ...]]]
    """The page and the examples of the program itself."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return all names, in the order of the help."""
        return [*dict.fromkeys([*self.targets, *self.commands])]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command, or None if there is none of that name."""
        if cmd_name in self.targets and cmd_name not in self.commands:
            self.commands[cmd_name] = load_command(cmd_name, self.targets[cmd_name])
        return self.commands.get(cmd_name)

    def subcommands(self) -> dict[str, list[str]]:
        """Return the names of the commands of each group; this loads every command."""
        groups = {name: load_command(name, target) for name, target in self.targets.items()}
        return {
            name: [sub for sub, command in group.commands.items() if not command.hidden]
            for name, group in groups.items()
            if hasattr(group, "commands")
        }

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the global options and the summary of each command."""
        plain_help.write_options(self, ctx, formatter)
        for title, summaries in self.sections.items():
            plain_help.write_commands(summaries.items(), formatter, title=title)
        plain_help.write_guide(*self.guide, formatter)


def load_command(name: str, target: str) -> Any:
    """Return the command of a target (see `CommandsOnDemand`), with all its subcommands."""
    module_name, _, attribute = target.partition(":")
    found = getattr(import_module(f"toombos_cli.commands.{module_name}"), attribute or "app")
    holder = typer.Typer(add_completion=False, rich_markup_mode=None)
    if isinstance(found, typer.Typer):
        holder.add_typer(found, name=name)
    else:
        holder.command(name=name)(found)
    command = get_group(holder).commands[name]
    plain_help.make_plain(command)
    _leave_files_to_features(command)
    return command


def _leave_files_to_features(command: Any) -> None:
    """Disable Typer's readability check: it reports a usage error, while the code that opens the file can say why."""
    for parameter in command.params:
        if hasattr(parameter.type, "readable"):
            parameter.type.readable = False
    for subcommand in getattr(command, "commands", {}).values():
        _leave_files_to_features(subcommand)
