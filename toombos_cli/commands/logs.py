"""`toombos logs`."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from toombos_cli.base.errors import UsageError
from toombos_cli.cli import options
from toombos_cli.cli.invocation import Invocation, command
from toombos_cli.cli.known_services import known_services
from toombos_cli.cli.stdout_reader import sleep_while_read

if TYPE_CHECKING:
    from toombos_cli.logs.reading import LineFilter
    from toombos_cli.logs.rotation import LogFile

_LINES = 50
_POLL_S = 0.1


@command
def logs(
    invocation: Invocation,
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
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep showing new lines until Ctrl-C.")] = False,
    errors: Annotated[bool, typer.Option("--errors", help="Show only errors and exceptions.")] = False,
    startup: Annotated[bool, typer.Option("--startup", help="Show only lines about starting and stopping.")] = False,
    grep: Annotated[
        str | None, typer.Option("--grep", metavar="REGEX", help="Show only lines that match.", show_default=False)
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--since", metavar="TIME", help="Show only lines since then: 90s, 10m, 2h, an ISO time.", show_default=False
        ),
    ] = None,
) -> None:
    """Show the last log lines of the services, merged by time; rotated archives are included."""
    from toombos_cli.logs.reading import run_logs
    from toombos_cli.logs.rotation import LogFile
    from toombos_cli.project.state import RunDirectory

    known, names, _ = known_services(invocation, services)
    run = RunDirectory(invocation.project)
    shown = names or tuple(
        name for name, service in known.items() if not service.optional or Path(service.log).exists()
    )
    files = {name: LogFile(Path(known[name].log), run.rotation(name)) for name in shown}
    filters = _filters(errors=errors, startup=startup, grep=grep)
    begin = _moment(since) if since else None
    count = lines if lines is not None or begin else _LINES
    if follow:
        follow_files(invocation, files, filters, count=count, since=begin)
    invocation.finish(run_logs(files, count=count, filters=filters, since=begin))


def follow_files(
    invocation: Invocation,
    files: "dict[str, LogFile]",
    filters: "tuple[LineFilter, ...]" = (),
    *,
    count: int | None,
    since: datetime | None = None,
) -> NoReturn:
    """Print the existing lines, then each new line as it is written; with `--json`, one object per line."""
    from toombos_cli.logs.follower import Follower
    from toombos_cli.logs.reading import run_logs
    from toombos_cli.render.line_printer import LinePrinter

    followers = {name: Follower(log) for name, log in files.items()}
    redacted = invocation.redactor.text
    printer = LinePrinter(invocation, tuple(files), as_json=invocation.format == "json")
    until = {name: follower.place for name, follower in followers.items()}
    for line in run_logs(files, count=count, filters=filters, since=since, until=until).lines:
        printer.show(line.service, redacted(line.line))
    while True:
        for name, follower in followers.items():
            for raw in follower.poll():
                text = raw.decode("utf-8", "replace")
                if all(passes(text) for passes in filters):
                    printer.show(name, redacted(text))
        printer.flush()
        sleep_while_read(invocation.stdout.file, _POLL_S)


def _filters(*, errors: bool, startup: bool, grep: str | None) -> "tuple[LineFilter, ...]":
    from toombos_cli.logs.reading import is_error, is_startup, matches

    chosen: list[LineFilter] = []
    if errors:
        chosen.append(is_error)
    if startup:
        chosen.append(is_startup)
    if grep is not None:
        try:
            chosen.append(matches(re.compile(grep)))
        except re.error as error:
            raise UsageError(f"--grep {grep!r} is not a regular expression: {error}") from None
    return tuple(chosen)


def _moment(since: str) -> datetime:
    """Return the time that --since means, in UTC. Raises UsageError."""
    from toombos_cli.base.text import parse_duration

    try:
        return datetime.fromisoformat(since).astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    try:
        return datetime.now(UTC) - timedelta(seconds=parse_duration(since, where="--since"))
    except (UsageError, OverflowError):  # the latter before the year 1
        raise UsageError(
            f"--since {since!r} is not a time", hint="for example 10m, 2h or 2026-01-31T12:00:00"
        ) from None
