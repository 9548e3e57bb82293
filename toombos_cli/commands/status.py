"""`toombos status`."""

from typing import Annotated

import typer

from toombos_cli.base.errors import UsageError
from toombos_cli.cli import options
from toombos_cli.cli.invocation import Invocation, command
from toombos_cli.cli.known_services import known_services


@command
def status(
    invocation: Invocation,
    context: typer.Context,
    services: options.Services = None,
    watch: Annotated[bool, typer.Option("--watch", help="Repeat it, with the last log line of each service.")] = False,
    every: Annotated[float, typer.Option("--every", min=0.1, metavar="SECONDS", help="Interval of --watch.")] = 1.0,
    short: Annotated[
        bool, typer.Option("--short", help="One line, for shell prompts; alone it takes half the time.")
    ] = False,
    hosts: options.Hosts = None,
    strict: options.Strict = False,
) -> None:
    """Show the phase, pid, port, uptime, restarts, CPU and memory of each service.

    Exit 0 if every service is ready, else 1, also while one is starting.
    """
    if hosts is not None:
        from toombos_cli.cli.on_hosts import finish_on_hosts

        finish_on_hosts(invocation, context, hosts, passed_on=("services", "strict"), strict=strict)
    if watch and short:
        raise UsageError("--watch and --short exclude each other", hint="leave one of them out")
    from toombos_cli.supervisor.operations import run_status

    known, names, manifest = known_services(invocation, services)
    knows_dry_run = manifest is None or "dry_run" in manifest.modes
    if not watch:
        report = run_status(invocation.project, known, names, knows_dry_run=knows_dry_run)
        if short and invocation.format == "text":
            from toombos_cli.cli.short_status import print_line

            print_line(report)
            raise typer.Exit(report.exit_code(strict=strict))
        invocation.finish(report, strict=strict)
    from toombos_cli.cli.watch import watch_report

    watch_report(
        invocation,
        lambda: run_status(invocation.project, known, names, knows_dry_run=knows_dry_run),
        every_s=every,
        strict=strict,
    )
