"""`toombos stop`."""

from typing import Annotated

import typer

from toombos_cli.base.errors import UsageError
from toombos_cli.cli import options
from toombos_cli.cli.invocation import Invocation, command
from toombos_cli.cli.known_services import known_services
from toombos_cli.cli.wait_progress import Waiting


@command
def stop(
    invocation: Invocation,
    services: options.Services = None,
    everything: Annotated[bool, typer.Option("--all", help="Stop all services (the default).")] = False,
) -> None:
    """Stop the services, dependents first, and wait until their processes are gone and their ports are free.

    Exit 0 even if nothing was running.
    """
    from toombos_cli.project.interruption import forget_stopped
    from toombos_cli.supervisor.operations import run_stop

    if everything and services:
        raise UsageError("--all and service names exclude each other")
    known, names, manifest = known_services(invocation, services)
    with Waiting(invocation, goes_on="stop") as waiting:
        report = run_stop(invocation.project, known, names, manifest=manifest, on_progress=waiting.note)
    forget_stopped(invocation.project, names)
    invocation.finish(report)
