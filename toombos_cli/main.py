"""The `toombos` program: finds the command that is called, and turns every outcome into an exit code."""

import gc
import os
import signal
import sys
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_group

from toombos_cli import __version__
from toombos_cli.commands import options, plain_help
from toombos_cli.commands.invocation import GlobalOptions, Invocation
from toombos_cli.errors import Problem, ToombosError

# In the order of the help: name, `module` or `module:name` of a function in it, and the first sentence of its help,
# which stands here too so that `toombos --help` loads none of them.
COMMANDS: tuple[tuple[str, str, str], ...] = (
    ("start", "start:start", "Start the services and wait until each is ready."),
    (
        "stop",
        "stop:stop",
        "Stop the services, dependents first, and wait until their processes are gone and their ports are free.",
    ),
    (
        "restart",
        "restart:restart",
        "Stop the services and start them again with the present manifest and `.env`; the mode stays as it was.",
    ),
    (
        "status",
        "status:status",
        "Show what runs where: phase, pid, port, uptime, restarts, CPU and memory of each service.",
    ),
    (
        "logs",
        "logs:logs",
        "Show the services' last log lines, rotated archives included, those of several services merged by time.",
    ),
    ("health", "health:health", "Ask every service at once how it is, and name the reason where one is not well."),
    ("smoke", "smoke:smoke", "Use the running system as a client would, and prove what it did."),
    ("load", "load:load", "Put load on a service and measure what its users would feel."),
    ("diagnose", "diagnose:diagnose", "Find out what is wrong, why, and what to type."),
    ("backup", "backup", "Back up the system while it runs (`create`, the default), and look after the archives."),
    ("restore", "restore:restore", "Put back what an archive holds, whole or not at all."),
    (
        "recover",
        "recover:recover",
        "Recover from a complete failure, in dry-run mode where there is one: one line a step, up to the first that "
        "fails.",
    ),
    ("config", "config", "Judge, show and encrypt the settings in .env; begin a .env or a toombos.toml."),
    (
        "monitoring",
        "monitoring",
        "Prometheus, Alertmanager and Grafana for the services, configured from the manifest.",
    ),
    ("alert", "alert", "Tell people what is wrong, through the manifest's channels."),
    ("schedule", "schedule", "The periodic work: health, backup, retention, restore drill."),
)
_SECTIONS = {
    "Run": ("start", "stop", "restart", "status", "logs"),
    "Check": ("health", "smoke", "load", "diagnose"),
    "Save and bring back": ("backup", "restore", "recover"),
    "Set up and watch": ("config", "monitoring", "alert", "schedule"),
}
_TARGETS = {name: target for name, target, _ in COMMANDS}


class CommandsOnDemand(TyperGroup):
    """Imports a command's module when that command is called, and only then."""

    def list_commands(self, ctx: Any) -> list[str]:
        """All names, in the order of the help."""
        return [*dict.fromkeys([*_TARGETS, *self.commands])]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command, or None when there is none of that name."""
        if cmd_name in _TARGETS and cmd_name not in self.commands:
            self.commands[cmd_name] = _load(cmd_name, _TARGETS[cmd_name])
        return self.commands.get(cmd_name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that `args` begins with; for an unknown one the nearest of all names is told."""
        name = args[0]
        if name.startswith("-") or self.get_command(ctx, name) is not None:
            return super().resolve_command(ctx, args)
        from difflib import get_close_matches

        meant = ", ".join(map(repr, get_close_matches(name, self.list_commands(ctx))))
        return ctx.fail(f"No such command {name!r}." + (f" Did you mean {meant}?" if meant else ""))

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Writes the global options, and what each command does."""
        plain_help.write_options(self, ctx, formatter)
        summaries = {name: summary for name, _, summary in COMMANDS}
        for title, names in _SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name, summaries[name]) for name in names])


def _load(name: str, target: str) -> Any:
    module_name, _, attribute = target.partition(":")
    found = getattr(import_module(f"toombos_cli.commands.{module_name}"), attribute or "app")
    holder = typer.Typer(add_completion=False, rich_markup_mode=None)
    if isinstance(found, typer.Typer):
        holder.add_typer(found, name=name)
    else:
        holder.command(name=name)(found)
    command = get_group(holder).commands[name]
    plain_help.make_plain(command)
    return command


app = typer.Typer(
    name="toombos",
    cls=CommandsOnDemand,
    help="Start, watch, test, load, diagnose, back up and restore the dry-run system, or services of your own.",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,  # a traceback may hold secrets: main() reports bugs itself
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"toombos {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    project: options.Project = None,
    json: options.Json = False,
    no_color: options.NoColor = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    context.obj = GlobalOptions(project=project, json=json, no_color=no_color, verbose=verbose, quiet=quiet)


def main(argv: list[str]) -> int:
    """Runs one command line (without the program's name) and returns its exit code; never raises but for bugs in it."""
    try:
        return int(app(argv, prog_name="toombos", standalone_mode=False) or 0)
    except typer.TyperException as error:
        return _usage(argv, error)
    except ToombosError as error:
        return _fail(argv, error.problems, error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except BrokenPipeError:
        return _closed_pipe()
    except SystemExit as error:
        if isinstance(error.__context__, BrokenPipeError):  # rich turns a closed pipe into exit 1
            return _closed_pipe()
        raise
    except Exception as error:
        return _bug(argv, error)


def run() -> None:
    """Runs the process's command line and ends the process with its exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    code = main(sys.argv[1:])
    gc.freeze()  # all of it goes with the process: looking for garbage first would take it a sixth of its time
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = _closed_pipe()
    if code == 130:
        # An interrupt that struck inside exec(), which dataclasses use while modules load, makes CPython end by the
        # signal afterwards although it was handled: the exit code would be another one now and then.
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _closed_pipe() -> int:
    """Whoever read the output has enough; nothing may be flushed to the closed pipe at exit either."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 141


def _usage(argv: list[str], error: typer.TyperException) -> int:
    message = str(getattr(error, "format_message", lambda: error)())
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "toombos"
    if message.startswith("Usage: "):  # a command group without a command: this is its help
        print(message)  # noqa: T201
        return 2
    return _fail(argv, (Problem(message=message, hint=f"{path} --help"),), 2)


def _bug(argv: list[str], error: Exception) -> int:
    """Names the place and the type; the message is left out, for it may quote a secret."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    where = f"{frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}" if frame else None
    if os.environ.get("TOOMBOS_DEBUG"):
        import traceback

        traceback.print_exception(error)
    problem = Problem(
        message=f"a bug in toombos: {type(error).__name__}",
        where=where,
        hint="repeat it with TOOMBOS_DEBUG=1 for the traceback, and report it",
    )
    return _fail(argv, (problem,), 70)


def _command_of(argv: list[str]) -> str:
    """The command that was called, with its subcommand; "" when there is none of that name."""
    words = iter(argv)
    command = next((word for word in words if word in _TARGETS), "")
    subcommands = getattr(_load(command, _TARGETS[command]), "commands", {}) if command else {}
    subcommand = next((word for word in words if word in subcommands), "")
    return f"{command} {subcommand}".rstrip()


def _fail(argv: list[str], problems: tuple[Problem, ...], code: int) -> int:
    """Prints the problems on stderr, or as the JSON envelope on stdout where JSON was asked for."""
    wants_json = "--json" in argv or bool(os.environ.get("TOOMBOS_JSON"))
    asked = GlobalOptions(json=wants_json, no_color="--no-color" in argv)
    invocation = Invocation(command=_command_of(argv) if wants_json else "", options=asked)
    if wants_json:
        from toombos_cli.render.envelope import print_envelope

        print_envelope(invocation, verdict="error", exit_code=code, data={}, errors=problems)
    else:
        from toombos_cli.render.problems import print_problems

        print_problems(problems, invocation.stderr)
    return code
