"""`toombos logs`."""

import re
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from toombos_cli.base.errors import UsageError
from toombos_cli.base.fixes import here
from toombos_cli.cli import options
from toombos_cli.cli.invocation import Invocation, command
from toombos_cli.cli.known_services import known_services
from toombos_cli.cli.moments import WindowOptions
from toombos_cli.cli.stdout_reader import sleep_while_read

if TYPE_CHECKING:
    from toombos_cli.logs.reading import LogLine
    from toombos_cli.logs.rotation import LogFile
    from toombos_cli.logs.selection import EntryFilter, LineFilter, Selection

_LINES = 50
_POLL_S = 0.1
_ON_HOSTS = ("services", "lines", "errors", "startup", "grep", "exclude", "no_smoke", "no_events", "since", "until")
"""The options that go to the hosts of --hosts."""


@command
def logs(
    invocation: Invocation,
    context: typer.Context,
    window: WindowOptions,
    services: options.Services = None,
    lines: Annotated[
        int | None,
        typer.Option(
            "-n",
            "--lines",
            min=0,
            metavar="N",
            help="Lines per service: 50 by default, all with --since; 0 shows only new ones.",
            show_default=False,
        ),
    ] = None,
    errors: Annotated[
        bool, typer.Option("--errors", help="Show only errors and exceptions, each with the lines that continue it.")
    ] = False,
    startup: Annotated[bool, typer.Option("--startup", help="Show only lines about starting and stopping.")] = False,
    grep: Annotated[
        str | None,
        typer.Option(
            "--grep",
            metavar="REGEX",
            help="Show only lines that match, with the error that they belong to.",
            show_default=False,
        ),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            "--exclude", metavar="REGEX", help="Leave out lines that match; may be repeated.", show_default=False
        ),
    ] = None,
    no_smoke: Annotated[
        bool, typer.Option("--no-smoke", help="Leave out the lines of toombos's own requests, by their request id.")
    ] = False,
    no_events: Annotated[
        bool, typer.Option("--no-events", help="Leave out what the history says, such as restarts.")
    ] = False,
    hosts: options.Hosts = None,
) -> None:
    """Show the last log lines of the services, merged by time; rotated archives are included.

    Lines that begin with `--` are events of the history, such as a restart; they are left out if lines are chosen.
    """
    if hosts is not None:
        from toombos_cli.cli.on_hosts import finish_on_hosts

        finish_on_hosts(invocation, context, hosts, passed_on=_ON_HOSTS)
    from pathlib import Path

    from toombos_cli.logs.reading import run_logs
    from toombos_cli.logs.selection import Selection
    from toombos_cli.project.history import read_history
    from toombos_cli.project.service_logs import service_logs
    from toombos_cli.project.state import RunDirectory, read_state
    from toombos_cli.supervisor.events import events_among_logs

    known, names, _ = known_services(invocation, services)
    shown = names or tuple(
        name for name, service in known.items() if not service.optional or Path(service.log).exists()
    )
    begin, end = window.moments()
    selection = Selection(
        wanted=_wanted(errors=errors, startup=startup, grep=grep),
        unwanted=_unwanted(invocation, exclude or [], no_smoke=no_smoke),
        since=begin,
        until=end,
    )
    state = read_state(invocation.project)
    files, strays = service_logs(RunDirectory(invocation.project), {name: known[name] for name in shown}, state)
    notes = tuple(f"{stray}; {here('restart', stray.service)} mends it" for stray in strays)
    count = lines if lines is not None or selection.since else _LINES
    with_events = not (no_events or selection.chooses)
    if window.follow:
        for note in notes:
            invocation.stderr.print(f"note: {note}", style="yellow", soft_wrap=True)
        follow_files(invocation, files, selection, count=count, with_events=with_events)
    events = events_among_logs(read_history(invocation.project).events if with_events else (), files)
    invocation.finish(run_logs(files, count=count, selection=selection, notes=notes, events=events))


def follow_files(
    invocation: Invocation,
    files: "dict[str, LogFile]",
    selection: "Selection | None" = None,
    *,
    count: int | None,
    with_events: bool = False,
) -> NoReturn:
    """Print the existing lines, then each new line as it is written; with `--json`, one object per line."""
    from toombos_cli.logs.follower import Follower
    from toombos_cli.logs.lines import text_of, timestamp_of
    from toombos_cli.logs.reading import run_logs
    from toombos_cli.logs.selection import Following, Selection
    from toombos_cli.project.history import HistoryFollower, read_history
    from toombos_cli.render.line_printer import LinePrinter
    from toombos_cli.supervisor.events import events_among_logs

    selection = selection or Selection()
    followers = {name: Follower(log) for name, log in files.items()}
    following = {name: Following(selection) for name in files}
    redacted = invocation.redactor.text
    printer = LinePrinter(invocation, tuple(files), as_json=invocation.format == "json")
    places = {name: follower.place for name, follower in followers.items()}
    history = HistoryFollower(invocation.project) if with_events else None
    past = events_among_logs(read_history(invocation.project).events if with_events else (), files)

    def show(line: "LogLine") -> None:
        printer.show(line.service, redacted(line.line), line.timestamp, invocation.redactor.value(line.event))

    for line in run_logs(files, count=count, selection=selection, places=places, events=past).lines:
        show(line)
    while True:
        for name, follower in followers.items():
            for text in following[name].add([text_of(line) for line in follower.poll()]):
                printer.show(name, redacted(text), timestamp_of(text, files[name].zone))
        for lines in events_among_logs(history.poll() if history else (), files).values():
            for line in lines:
                show(line)
        printer.flush()
        sleep_while_read(invocation.stdout.file, _POLL_S)


def _wanted(*, errors: bool, startup: bool, grep: str | None) -> "tuple[EntryFilter, ...]":
    from toombos_cli.logs import selection

    chosen: list[EntryFilter] = []
    if errors:
        chosen.append(selection.errors)
    if startup:
        chosen.append(selection.startup)
    if grep is not None:
        chosen.append(selection.matching(_pattern(grep, "--grep")))
    return tuple(chosen)


def _unwanted(invocation: Invocation, exclude: list[str], *, no_smoke: bool) -> "tuple[LineFilter, ...]":
    from toombos_cli.logs import selection

    chosen: list[LineFilter] = [selection.containing(_pattern(pattern, "--exclude")) for pattern in exclude]
    if no_smoke:
        from toombos_cli.project.own_requests import OwnRequests

        chosen.append(OwnRequests.known(invocation.project).appear_in)
    return tuple(chosen)


def _pattern(text: str, option: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise UsageError(f"{option} {text!r} is not a regular expression: {error}") from None
