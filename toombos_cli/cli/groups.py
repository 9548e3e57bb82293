"""Commands with subcommands: they take the global options and suggest the closest name for an unknown one."""

from typing import Any

import typer
from typer.core import TyperGroup

from toombos_cli.cli import options
from toombos_cli.cli.invocation import GlobalOptions


class CommandGroup(TyperGroup):
    """A group that prints its help if no command is given, and suggests the closest name for an unknown one."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Return the arguments that are left for the command. Without any, print the help and exit with 2."""
        if not args and self.no_args_is_help and not ctx.resilient_parsing:
            typer.echo(ctx.get_help())
            ctx.exit(2)
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that `args` starts with."""
        name = args[0]
        if ctx.resilient_parsing or name.startswith("-") or self.get_command(ctx, name) is not None:
            return super().resolve_command(ctx, args)
        from toombos_cli.cli.meant_names import meant_commands

        hidden = {known for known, command in self.commands.items() if command.hidden}
        known = [known for known in self.list_commands(ctx) if known not in hidden]
        meant = meant_commands(ctx.command_path.partition(" ")[2], name, known, self.subcommands)
        asked = f" Did you mean {' or '.join(map(repr, meant))}?" if meant else ""
        return ctx.fail(f"No such command {name!r}.{asked}")

    def subcommands(self) -> dict[str, list[str]]:
        """Return the names of the commands of each group in this one; a group of commands has none."""
        return {}


def command_group(help: str, *, cls: type[CommandGroup] = CommandGroup) -> typer.Typer:  # noqa: A002 (Typer's name)
    """Return a command with subcommands; the global options may also precede a subcommand's name."""
    app = typer.Typer(cls=cls, help=help, no_args_is_help=True)
    app.callback()(take_global_options)
    return app


def take_global_options(
    context: typer.Context,
    project: options.Project = None,
    json: options.Json = False,
    no_color: options.NoColor = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> None:
    """Keep the global options that precede a command's name for that command; the closest ones win."""
    given = GlobalOptions(project=project, json=json, no_color=no_color, verbose=verbose, quiet=quiet)
    context.obj = given.over(context.find_object(GlobalOptions) or GlobalOptions())
