"""`toombos diagnose`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from toombos_cli.commands import options
from toombos_cli.commands.invocation import Invocation, command


@command
def diagnose(
    invocation: Invocation,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="GROUP|ID", help="Only these checks; may be repeated.", show_default=False),
    ] = None,
    service: Annotated[
        list[str] | None,
        typer.Option(
            "--service", metavar="SERVICE", help="Only what concerns it; may be repeated.", show_default=False
        ),
    ] = None,
    format: Annotated[  # noqa: A002 (the option's name)
        Literal["text", "json", "junit"] | None,
        typer.Option("--format", help="How to print it; off a terminal, text is Markdown.", show_default="text"),
    ] = None,
    strict: options.Strict = False,
) -> None:
    """Find out what is wrong, why, and what to type.

    What follows from another fault is folded under it, so that one cause reads as one. No secret is printed.
    Ends with 0 when all is well or there are warnings alone, with 1 when something is wrong.
    """
    from toombos_cli.diagnose.run import Selection, run_diagnose

    selection = Selection(only=tuple(only or ()), services=invocation.service_names(service))
    found = run_diagnose(invocation.manifest, searched_from=_searched_from(invocation), selection=selection)
    invocation.finish(found.report, format=format, strict=strict)


def _searched_from(invocation: Invocation) -> Path:
    return Path.cwd() if invocation.options.project is None else invocation.project
