"""`toombos restart`."""

from typing import Annotated

import typer

from toombos_cli.cli import options
from toombos_cli.cli.invocation import Invocation, command
from toombos_cli.cli.wait_progress import Waiting


@command
def restart(
    invocation: Invocation,
    services: options.Services = None,
    mode: options.Mode = None,
    dry_run: options.DryRun = False,
    changed: Annotated[
        bool, typer.Option("--changed", help="Restart only services whose configuration has changed.")
    ] = False,
    timeout: options.StartTimeout = None,
) -> None:
    """Stop the services and start them again with the current manifest and `.env`; the mode stays the same.

    A restart that has begun goes on in the supervisor, also if this command is interrupted or one of the services
    runs it.
    """
    from toombos_cli.project.mode import chosen_mode
    from toombos_cli.supervisor.operations import run_restart

    names = invocation.service_names(services)
    chosen = chosen_mode(invocation.manifest, mode, dry_run=dry_run)
    with Waiting(invocation, goes_on="restart") as waiting:
        report = run_restart(
            invocation.manifest,
            names,
            mode=chosen,
            only_changed=changed,
            timeout_s=timeout,
            on_progress=waiting.note,
        )
    invocation.finish(report)
