"""Shows a report again and again, until Ctrl-C or until nobody reads it any more."""

import time
from collections.abc import Callable, Iterator
from typing import NoReturn

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
    """Prints the report every `every_s` seconds: on a terminal in place, elsewhere one after the other."""
    chosen = format or invocation.format

    def print_once(report: Report) -> None:
        render(report, invocation, format=chosen, exit_code=report.exit_code(strict=strict))
        invocation.stdout.file.flush()

    if not (invocation.stdout.is_terminal and chosen == "text"):
        for report in _rounds(make, invocation, every_s):
            print_once(report)
    from toombos_cli.render.live import LiveScreen

    with LiveScreen(invocation.stdout) as screen:
        for report in _rounds(make, invocation, every_s):
            footer = f"{time.strftime('%H:%M:%S')}, every {every_s:g} s; Ctrl-C ends"
            screen.draw(lambda report=report: print_once(report), footer=footer)  # type: ignore[misc]  # bound at once
    raise AssertionError("rounds do not end")


def _rounds(make: Callable[[], Report], invocation: Invocation, every_s: float) -> Iterator[Report]:
    """A report every `every_s` seconds, however long one takes to make; one that takes longer delays the next."""
    due = time.monotonic()
    while True:
        yield make()
        due = max(due + every_s, time.monotonic())
        sleep_while_read(invocation.stdout.file, max(0.0, due - time.monotonic()))
