"""The settings as a table: name, masked value, where it came from."""

from typing import TYPE_CHECKING

from toombos_cli.base.text import printable
from toombos_cli.render.formats import Output

if TYPE_CHECKING:
    from toombos_cli.config.reports import ShownValue, ShowReport


def show(report: "ShowReport", output: Output) -> None:
    """Prints one line a setting; with --quiet without those that nothing sets."""
    if not report.values:
        output.stdout.print("the manifest describes no variables")
        output.stderr.print("hint: add [environment.NAME] tables to toombos.toml", style="cyan", soft_wrap=True)
        return
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    grid.add_column("NAME", no_wrap=True)
    grid.add_column("VALUE", overflow="fold")
    grid.add_column("SOURCE", overflow="fold")
    for value in report.values:
        if value.value is not None or not output.quiet:
            set_by_hand = value.source not in ("default", "unset")
            style = "" if set_by_hand else "dim"
            shown = "-" if value.value is None else printable(value.value)
            grid.add_row(value.name, Text(shown, style=style), Text(_source(value), style=style))
    output.stdout.print(grid)


def _source(value: "ShownValue") -> str:
    source = f"{value.source} {value.service}".rstrip() if value.line is None else f"{value.source}:{value.line}"
    return source if value.overrides_line is None else f"{source} (over .env:{value.overrides_line})"
