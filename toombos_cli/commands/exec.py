"""`toombos exec`."""

from typing import Annotated

import typer

from toombos_cli.base.errors import UsageError
from toombos_cli.base.fixes import here
from toombos_cli.cli import options
from toombos_cli.cli.invocation import Invocation, command


@command
def run_as_service(
    invocation: Invocation,
    service: Annotated[
        str,
        typer.Argument(
            metavar="SERVICE", show_default=False, autocompletion=options.complete("service"), help="The service."
        ),
    ],
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="-- COMMAND...", show_default=False, help="The program and its arguments."),
    ] = None,
    mode: options.Mode = None,
    dry_run: options.DryRun = False,
) -> None:
    """Run a command with the environment, the directory and the user of a service.

    The service need not run. The mode is that of the running system. Encrypted variables are in clear text for the
    command, and nothing is printed beside its output. It has the terminal, and its exit code is that of toombos.
    Example: `toombos exec shop -- sh -c 'psql "$DATABASE_URL"'`.
    """
    from toombos_cli.project.mode import chosen_mode, mode_now
    from toombos_cli.supervisor.exec_command import become, prepare

    name = invocation.service_name(service)
    if not words:
        raise UsageError("no command is given", hint=here("exec", name, "--", "env"))
    chosen = chosen_mode(invocation.manifest, mode, dry_run=dry_run) or mode_now(invocation.manifest)
    become(prepare(invocation.manifest, name, tuple(words), mode=chosen))
