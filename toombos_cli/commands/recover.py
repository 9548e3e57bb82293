"""`toombos recover`."""

from typing import Annotated

import typer

from toombos_cli.commands.invocation import Invocation, command


@command
def recover(
    invocation: Invocation,
    no_monitoring: Annotated[
        bool, typer.Option("--no-monitoring", help="Leave monitoring and its dashboards alone.")
    ] = False,
) -> None:
    """Recover from a complete failure, in dry-run mode: one line a step, up to the first that fails.

    Stop all, look at the resources, archive the state, start, health, smoke, monitoring, dashboards. Where a step
    fails its cause and the command that mends it are shown. Monitoring that cannot be had is a warning.
    """
    from toombos_cli.errors import ConfigurationError
    from toombos_cli.manifest.monitoring import Thresholds
    from toombos_cli.recovery.run import run_recovery

    try:
        thresholds = invocation.manifest.monitoring.thresholds
    except ConfigurationError:  # the steps that need the manifest will say what is wrong; stopping does not need it
        thresholds = Thresholds()
    on_step = None
    if invocation.format == "text":
        from functools import partial

        from toombos_cli.render.text.recover import show_step

        on_step = partial(show_step, output=invocation)
    invocation.finish(run_recovery(invocation.project, thresholds, skip_monitoring=no_monitoring, on_step=on_step))
