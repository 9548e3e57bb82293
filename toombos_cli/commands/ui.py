"""`toombos ui`."""

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, NoReturn

import typer

from toombos_cli.base.errors import OperationError, UsageError
from toombos_cli.base.fixes import here
from toombos_cli.cli.invocation import Invocation, command
from toombos_cli.cli.known_services import known_services

_COLLECTED_AT_ONCE = 2_000
_TURN_OF_A_THREAD_S = 0.0005


@command
def ui(
    invocation: Invocation,
    light: Annotated[
        bool | None,
        typer.Option("--light/--dark", help="Colours; default: what the terminal says.", show_default=False),
    ] = None,
    web: Annotated[
        bool, typer.Option("--web", help="Show it in a browser of this machine: print an address that opens it once.")
    ] = False,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, metavar="N", help="The port of --web; default: a free one.")
    ] = 0,
) -> None:
    """Show the services, their logs and details on one screen, with a key for each command.

    `?` lists the keys; commands that change something are confirmed first. Exit 0 after `q`.
    """
    if invocation.format == "json":
        raise UsageError("a screen is not JSON", hint=here("status", "--json"))
    if web:
        _serve(invocation, port, light=light)
    in_browser = "TEXTUAL_DRIVER" in os.environ  # textual-serve sets it
    if not (in_browser or (sys.stdin.isatty() and sys.stderr.isatty())):
        raise UsageError("the screen needs a terminal", hint=here("status"))
    with _extra():
        from toombos_cli.ui.app import OperationsRoom
        from toombos_cli.ui.browser_driver import BrowserDriver
        from toombos_cli.ui.readers import WatchedSystem

    services, _, manifest = known_services(invocation, None)
    if invocation.options.no_color:
        os.environ["NO_COLOR"] = "1"
    watched = WatchedSystem(invocation=invocation, services=services, manifest=manifest)
    driver = BrowserDriver if in_browser else None
    room = OperationsRoom(watched, light=_is_light() if light is None else light, driver_class=driver)
    with _short_pauses():
        code = room.run()
    if room.command_run is not None:
        room.command_run.see_off()
    if room.bug is not None:
        raise room.bug
    raise typer.Exit(code or room.return_code or 0)


def _serve(invocation: Invocation, port: int, *, light: bool | None) -> NoReturn:
    """Serve the screen until Ctrl-C. Each connection of the browser has a screen of its own."""
    with _extra():
        from toombos_cli.ui.web import GuardedServer
    from toombos_cli.project.commands import own_argv

    known_services(invocation, None)  # what is wrong with the project is said here, not in the browser
    words = ("ui", "--light") if light else ("ui",)
    try:
        server = GuardedServer(own_argv(invocation.project, *words), port=port)
    except OSError as error:
        raise OperationError(f"port {port} cannot be used: {error.strerror}", hint=here("ui", "--web")) from None
    server.serve()
    raise typer.Exit(0)


@contextmanager
def _extra() -> Iterator[None]:
    """Raise OperationError for an import in the block that needs the extra."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("textual", "textual_serve", "aiohttp"):
            raise
        raise OperationError(f"the screen needs {error.name}", hint="pip install 'toombos[ui]'") from None


@contextmanager
def _short_pauses() -> Iterator[None]:
    """Collect few objects at a time, and let the thread that paints wait briefly for those that read."""
    gc.freeze()
    gc.set_threshold(_COLLECTED_AT_ONCE)
    sys.setswitchinterval(_TURN_OF_A_THREAD_S)
    yield


def _is_light() -> bool:
    """Report whether the terminal says that its background is light, as `15` or `7` in COLORFGBG."""
    return os.environ.get("COLORFGBG", "").rpartition(";")[2] in ("7", "15")
