"""`toombos events`."""

from typing import Annotated, NoReturn

import typer

from toombos_cli.cli import options
from toombos_cli.cli.invocation import Invocation, command
from toombos_cli.cli.moments import WindowOptions

_EVENTS = 50
_POLL_S = 0.2


@command
def events(
    invocation: Invocation,
    window: WindowOptions,
    services: options.Services = None,
    count: Annotated[
        int | None,
        typer.Option(
            "-n",
            "--lines",
            min=0,
            metavar="N",
            help="Number of events: 50 by default, all with --since; 0 shows only new ones.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Show who started, stopped and restarted what, when and why: the history of the services.

    It includes what the supervisor did by itself, and how the processes ended. Exit 0 even if there is no event.
    """
    from toombos_cli.supervisor.events import run_events

    begin, end = window.moments()
    invocation.say_which_project()
    names = _names(invocation, services)
    shown = count if count is not None or begin else _EVENTS
    if window.follow:
        _follow(invocation, names, shown)
    invocation.finish(run_events(invocation.project, names, since=begin, until=end, count=shown))


def _names(invocation: Invocation, services: list[str] | None) -> tuple[str, ...]:
    """Return the given names: of services that the manifest or the history knows. Raises UsageError for others."""
    from toombos_cli.cli.known_services import known_services
    from toombos_cli.project.history import read_history

    past = {event.service for event in read_history(invocation.project).events} - {""} if services else set()
    unknown = [name for name in services or () if name not in past]
    if unknown:
        known_services(invocation, unknown)
    return tuple(dict.fromkeys(services or ()))


def _follow(invocation: Invocation, names: tuple[str, ...], count: int | None) -> NoReturn:
    """Print the last events, then each new one as it is recorded; with `--json`, one object per line."""
    import msgspec

    from toombos_cli.cli.stdout_reader import sleep_while_read
    from toombos_cli.project.history import HistoryFollower
    from toombos_cli.render.presentable import presentable
    from toombos_cli.render.text.events import one_line_of
    from toombos_cli.supervisor.events import EventRow, chosen, run_events

    follower = HistoryFollower(invocation.project)
    new = list(run_events(invocation.project, names, count=count).events)
    output = invocation.stdout.file
    while True:
        for row in invocation.redactor.value(new):
            line = msgspec.json.encode(row).decode() if invocation.format == "json" else one_line_of(presentable(row))
            output.write(f"{line}\n")
        output.flush()
        sleep_while_read(output, _POLL_S)
        new = [EventRow.of(event) for event in chosen(follower.poll(), names)]
