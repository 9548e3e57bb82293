"""What `toombos schedule install` would write."""

from typing import TYPE_CHECKING

from toombos_cli.render.formats import Output

if TYPE_CHECKING:
    from toombos_cli.schedule.reports import PrintedSchedule


def show(report: "PrintedSchedule", output: Output) -> None:
    """The crontab block as it is; the units each below a comment with its name."""
    for name, text in report.files.items():
        if len(report.files) > 1:
            output.stdout.file.write(f"# {name}\n")
        output.stdout.file.write(text + ("\n" if len(report.files) > 1 else ""))
