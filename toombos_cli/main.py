"""The `toombos` program: runs the command that the command line names and turns every outcome into an exit code."""

from typing import Annotated, ClassVar

import typer

from toombos_cli import __version__
from toombos_cli.base.errors import ToombosError
from toombos_cli.base.fixes import name_project
from toombos_cli.cli import options
from toombos_cli.cli.failure import bug, fail, fault_of_the_machine, wrong_usage
from toombos_cli.cli.groups import take_global_options
from toombos_cli.cli.lazy_commands import CommandsOnDemand
from toombos_cli.cli.standard_streams import discard_stdout, fault_of_stdout, refuse_stdout

# In the order of the help: name, `module` or `module:name` of a function in it, and the first sentence of its help,
# repeated here so that `toombos --help` loads none of them.
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
        "Stop the services and start them again with the current manifest and `.env`; the mode stays the same.",
    ),
    ("run", "run:run", "Run one task to its end, in the foreground, also while the system runs."),
    (
        "status",
        "status:status",
        "Show the phase, pid, port, uptime, restarts, CPU and memory of each service.",
    ),
    (
        "logs",
        "logs:logs",
        "Show the last log lines of the services, merged by time; rotated archives are included.",
    ),
    (
        "events",
        "events:events",
        "Show who started, stopped and restarted what, when and why: the history of the services.",
    ),
    (
        "exec",
        "exec:run_as_service",
        "Run a command with the environment, the directory and the user of a service.",
    ),
    ("ui", "ui:ui", "Show the services, their logs and details on one screen, with a key for each command."),
    ("health", "health:health", "Check every service at once and give the reason for each one that is not healthy."),
    ("smoke", "smoke:smoke", "Use the running system as a client would and verify what it did."),
    ("load", "load:load", "Send load to a service and measure what its users would experience."),
    ("diagnose", "diagnose:diagnose", "Find problems, their causes, and the commands that fix them."),
    ("backup", "backup", "Back up the system while it runs (`create`, the default) and manage the archives."),
    ("restore", "restore:restore", "Restore an archive, completely or not at all."),
    (
        "recover",
        "recover:recover",
        "Recover from a complete failure, in dry-run mode if there is one: one line per step, up to the first failure.",
    ),
    ("config", "config", "Check, show and encrypt the settings in .env; create a first .env or toombos.toml."),
    (
        "monitoring",
        "monitoring",
        "Run Prometheus, Alertmanager and Grafana for the services, configured from the manifest.",
    ),
    ("alert", "alert", "Notify people of problems through the manifest's channels."),
    ("schedule", "schedule", "Schedule the periodic jobs: health, backup, retention, restore drill."),
    ("export", "export", "Write the system as files for systemd, Compose or Kubernetes."),
    ("help", "help:help_", "Show the help of a command, or a page of the documentation."),
)
_SECTIONS = {
    "Run": ("start", "stop", "restart", "run", "status", "logs", "events", "exec", "ui"),
    "Check": ("health", "smoke", "load", "diagnose"),
    "Back up and restore": ("backup", "restore", "recover"),
    "Set up and watch": ("config", "monitoring", "alert", "schedule", "export", "help"),
}


class Toombos(CommandsOnDemand):
    """The commands above."""

    targets: ClassVar = {name: target for name, target, _ in COMMANDS}
    sections: ClassVar = {
        title: {name: summary for name, _, summary in COMMANDS if name in names} for title, names in _SECTIONS.items()
    }
    guide: ClassVar = (
        "dry-run-guide",
        (
            ("toombos start", "Start the services and wait until they are ready."),
            ("toombos health", "See which services have a problem, and the command that helps."),
            ("toombos help", "List the pages of the documentation."),
        ),
    )


app = typer.Typer(
    name="toombos",
    cls=Toombos,
    help="Start, watch, test, load, diagnose, back up and restore the dry-run system or your own services.",
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
        bool, typer.Option("--version", "-V", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    take_global_options(context, project, json, no_color, verbose, quiet)


def main(argv: list[str]) -> int:
    """Run one command line (without the program's name) and return its exit code. Raises only for its own bugs."""
    try:
        return int(app(argv, prog_name="toombos", standalone_mode=False) or 0)
    except typer.TyperException as error:
        return fail(argv, Toombos.targets, 2, wrong_usage(error))
    except ToombosError as error:
        return fail(argv, Toombos.targets, error.exit_code, *error.problems)
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except BrokenPipeError:
        return discard_stdout()
    except SystemExit as error:
        if isinstance(error.__context__, BrokenPipeError):  # rich turns a closed pipe into exit 1
            return discard_stdout()
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.filename is None and (fault := fault_of_stdout()) is not None:
            return refuse_stdout(fault)
        if (refusal := fault_of_the_machine(error)) is not None:
            return fail(argv, Toombos.targets, 4, refusal)
        return fail(argv, Toombos.targets, 70, bug(error))
    finally:
        name_project(None)
