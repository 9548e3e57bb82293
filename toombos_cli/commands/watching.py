"""Shows a report again and again until Ctrl-C."""

import time
from collections.abc import Callable
from typing import NoReturn

from toombos_cli.commands.invocation import Invocation, exit_code
from toombos_cli.render.formats import render
from toombos_cli.results import Report


def watch_report(invocation: Invocation, make: Callable[[], Report], *, every_s: float) -> NoReturn:
    """Prints the report every `every_s` seconds: on a terminal in place, elsewhere one after the other."""
    console = invocation.stdout
    in_place = console.is_terminal and invocation.format == "text"
    while True:
        report = make()
        if in_place:
            console.clear()
        render(report, invocation, format=invocation.format, exit_code=exit_code(report))
        if in_place:
            console.print(f"\n{time.strftime('%H:%M:%S')}, every {every_s:g} s; Ctrl-C ends", style="dim")
        time.sleep(every_s)
