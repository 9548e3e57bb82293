"""The `toombos` program: finds the command that is called, and turns every outcome into an exit code."""

import gc
import os
import signal
import sys
from typing import Annotated, ClassVar

import typer

from toombos_cli import __version__
from toombos_cli.base.errors import ToombosError
from toombos_cli.cli import options
from toombos_cli.cli.failure import bug, fail, fault_of_the_machine, wrong_usage
from toombos_cli.cli.groups import take_global_options
from toombos_cli.cli.lazy_commands import CommandsOnDemand

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
    ("load", "load:load", "Put load on a service and measure what its users would experience."),
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


class Toombos(CommandsOnDemand):
    """The commands above."""

    targets: ClassVar = {name: target for name, target, _ in COMMANDS}
    sections: ClassVar = {
        title: {name: summary for name, _, summary in COMMANDS if name in names} for title, names in _SECTIONS.items()
    }


app = typer.Typer(
    name="toombos",
    cls=Toombos,
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
    take_global_options(context, project, json, no_color, verbose, quiet)


def main(argv: list[str]) -> int:
    """Runs one command line (without the program's name) and returns its exit code; never raises but for bugs in it."""
    try:
        return int(app(argv, prog_name="toombos", standalone_mode=False) or 0)
    except typer.TyperException as error:
        return fail(argv, Toombos.targets, 2, wrong_usage(error))
    except ToombosError as error:
        return fail(argv, Toombos.targets, error.exit_code, *error.problems)
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except BrokenPipeError:
        return _closed_pipe()
    except SystemExit as error:
        if isinstance(error.__context__, BrokenPipeError):  # rich turns a closed pipe into exit 1
            return _closed_pipe()
        raise
    except Exception as error:
        if (refusal := fault_of_the_machine(error)) is not None:
            return fail(argv, Toombos.targets, 4, refusal)
        return fail(argv, Toombos.targets, 70, bug(error))


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
