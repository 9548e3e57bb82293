"""The output formats: one line here and one module each.

The module's `show(report, output, exit_code)` prints to stdout. It returns None, or the exit code that consumers of
the format expect instead of the usual one.
"""

from importlib import import_module
from typing import IO, TYPE_CHECKING, Protocol

from toombos_cli.base.errors import UsageError
from toombos_cli.base.results import Report

if TYPE_CHECKING:
    from rich.console import Console


class Output(Protocol):
    """The part of a run that a format needs: the name of its command, its consoles and how much to print."""

    @property
    def command(self) -> str: ...
    @property
    def stdout(self) -> "Console": ...
    @property
    def document(self) -> IO[str]: ...
    @property
    def stderr(self) -> "Console": ...
    @property
    def quiet(self) -> bool: ...
    @property
    def verbose(self) -> bool: ...


FORMATS: dict[str, str] = {
    "text": "toombos_cli.render.text",
    "json": "toombos_cli.render.envelope",
    "junit": "toombos_cli.render.junit",
    "markdown": "toombos_cli.render.diagnose_markdown",
    "nagios": "toombos_cli.render.nagios",
    "prometheus": "toombos_cli.render.prometheus",
}


def render(report: Report, output: Output, *, format: str, exit_code: int) -> int:  # noqa: A002 (the option's name)
    """Print `report` and return the exit code: the given one, unless the format defines its own.

    Raise UsageError for a format that does not exist or does not suit this report.
    """
    if format not in FORMATS:
        raise UsageError(f"no format is named {format!r}", hint=f"formats: {', '.join(FORMATS)}")
    if format != "json":
        from toombos_cli.render.presentable import presentable

        report = presentable(report)
    own: int | None = import_module(FORMATS[format]).show(report, output, exit_code)
    return exit_code if own is None else own
