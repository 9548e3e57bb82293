"""`toombos ui`."""

import os
import sys
from typing import Annotated

import typer

from toombos_cli.base.errors import OperationError, UsageError
from toombos_cli.base.fixes import here
from toombos_cli.cli.invocation import Invocation, command
from toombos_cli.cli.known_services import known_services


@command
def ui(
    invocation: Invocation,
    light: Annotated[
        bool | None,
        typer.Option("--light/--dark", help="Colours; default: what the terminal says.", show_default=False),
    ] = None,
) -> None:
    """Show the services, their logs and details on one screen, with a key for each command.

    `?` lists the keys; whatever changes something is confirmed first. Exit 0 after `q`.
    """
    if invocation.format == "json":
        raise UsageError("a screen is not JSON", hint=here("status", "--json"))
    if not ("TEXTUAL_DRIVER" in os.environ or (sys.stdin.isatty() and sys.stderr.isatty())):
        raise UsageError("the screen needs a terminal", hint=here("status"))
    try:
        from toombos_cli.ui.app import OperationsRoom
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "textual":
            raise
        raise OperationError("the screen needs Textual", hint="pip install 'toombos[ui]'") from None
    from toombos_cli.ui.readers import Watched

    services, _, manifest = known_services(invocation, None)
    if invocation.options.no_color:
        os.environ["NO_COLOR"] = "1"
    watched = Watched(invocation=invocation, services=services, manifest=manifest)
    room = OperationsRoom(watched, light=_is_light() if light is None else light)
    code = room.run()
    if room.command_run is not None:
        room.command_run.see_off()
    raise typer.Exit(code or room.return_code or 0)


def _is_light() -> bool:
    """Report whether the terminal says that its background is light, as `15` or `7` in COLORFGBG."""
    return os.environ.get("COLORFGBG", "").rpartition(";")[2] in ("7", "15")
