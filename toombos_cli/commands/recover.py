"""`toombos recover`."""

from typing import Annotated

import typer

from toombos_cli.base.fixes import here
from toombos_cli.cli.invocation import Invocation, command


@command
def recover(
    invocation: Invocation,
    no_monitoring: Annotated[bool, typer.Option("--no-monitoring", help="Skip monitoring and its dashboards.")] = False,
) -> None:
    """Recover from a complete failure, in dry-run mode if there is one: one line per step, up to the first failure.

    The steps: stop, resources, archive, start, health, smoke, monitoring, dashboards. If a step fails, its cause and
    the command that fixes it are shown. Missing monitoring is only a warning. With a broken toombos.toml, an
    unreadable .env or a full disk, nothing is stopped: it could not be started again.
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
        invocation.stderr.print(f"hint: {here('recover')}  # interrupted: services may be stopped", style="cyan")
        raise
    invocation.finish(report)
