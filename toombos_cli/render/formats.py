"""The output formats: one line here and one module each. A module's `show(report, invocation)` prints to stdout."""

from importlib import import_module
from typing import TYPE_CHECKING, Protocol

from toombos_cli.errors import UsageError
from toombos_cli.results import Report

if TYPE_CHECKING:
    from rich.console import Console


class Output(Protocol):
    """What a format needs to know of the run: its command's name, its consoles and how much to say."""

    @property
    def command(self) -> str: ...
    @property
    def stdout(self) -> "Console": ...
    @property
    def stderr(self) -> "Console": ...


FORMATS: dict[str, str] = {
    "text": "toombos_cli.render.text",
    "json": "toombos_cli.render.envelope",
    "junit": "toombos_cli.render.junit",
}


def render(report: Report, output: Output, *, format: str, exit_code: int) -> None:  # noqa: A002 (the option's name)
    """Prints `report`. Raises UsageError for a format that does not exist or does not suit this report."""
    if format not in FORMATS:
        raise UsageError(f"no format is named {format!r}", hint=f"formats: {', '.join(FORMATS)}")
    import_module(FORMATS[format]).show(report, output, exit_code)
