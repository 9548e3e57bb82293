"""Shows a report repeatedly, until `q`, Ctrl-C or until its reader has gone."""

import time
from collections.abc import Callable, Iterator
from typing import NoReturn

import typer

from toombos_cli.base.results import Report
from toombos_cli.cli.invocation import Invocation
from toombos_cli.cli.stdout_reader import sleep_while_read
from toombos_cli.render.formats import render


def watch_report(
    invocation: Invocation,
    make: Callable[[], Report],
    *,
    every_s: float,
    format: str | None = None,  # noqa: A002 (the option's name)
    strict: bool = False,
) -> NoReturn:
    """Print the report every `every_s` seconds: in place on a terminal, one after the other elsewhere.

    `q` ends the command with the exit code of the last report, Ctrl-C with 130.
    """
    chosen = format or invocation.format

    def print_once(report: Report) -> None:
        render(invocation.redacted(report), invocation, format=chosen, exit_code=report.exit_code(strict=strict))
        invocation.stdout.file.flush()

    if not (invocation.stdout.is_terminal and chosen == "text"):
        for report in _rounds(make, invocation, every_s):
            print_once(report)
    from toombos_cli.cli.keys import PressedKeys
    from toombos_cli.render.live import LiveScreen

    code = 0
    with PressedKeys() as keys:
        try:
            with LiveScreen(invocation.stdout) as screen:
                for report in _rounds(make, invocation, every_s):
                    code = report.exit_code(strict=strict)
                    footer = f"{time.strftime('%H:%M:%S')}, every {every_s:g} s; q to stop"
                    screen.draw(lambda report=report: print_once(report), footer=footer)  # type: ignore[misc]  # bound at once
        except KeyboardInterrupt:
            if not keys.ended:
                raise
    raise typer.Exit(code)


def _rounds(make: Callable[[], Report], invocation: Invocation, every_s: float) -> Iterator[Report]:
    """Yield a report every `every_s` seconds; one that takes longer than that delays the next."""
    due = time.monotonic()
    while True:
        yield make()
        due = max(due + every_s, time.monotonic())
        sleep_while_read(invocation.stdout.file, max(0.0, due - time.monotonic()))
