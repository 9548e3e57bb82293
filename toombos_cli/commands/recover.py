"""`toombos recover`."""

from typing import Annotated

import typer

from toombos_cli.cli.invocation import Invocation, command


@command
def recover(
    invocation: Invocation,
    no_monitoring: Annotated[
        bool, typer.Option("--no-monitoring", help="Leave monitoring and its dashboards alone.")
    ] = False,
) -> None:
    """Recover from a complete failure, in dry-run mode where there is one: one line a step, up to the first that fails.

    Stop all, look at the resources, archive the state, start, health, smoke, monitoring, dashboards. Where a step
    fails its cause and the command that mends it are shown. Monitoring that cannot be had is a warning. With a broken
    toombos.toml, an unreadable .env or a full disk nothing is stopped: what runs could not be started again.
    """
    from toombos_cli.recovery.run import run_recovery

    on_step = None
    if invocation.format == "text":
        from functools import partial

        from toombos_cli.render.text.recover import show_step

        on_step = partial(show_step, output=invocation)
    try:
        report = run_recovery(invocation.manifest, skip_monitoring=no_monitoring, on_step=on_step)
    except KeyboardInterrupt:
        invocation.stderr.print("hint: toombos recover  # interrupted: services may be stopped", style="cyan")
        raise
    invocation.finish(report)
