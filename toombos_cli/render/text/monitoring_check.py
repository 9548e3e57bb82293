"""What `toombos monitoring check` found: the remedy below what is not well."""

from collections import Counter
from typing import TYPE_CHECKING

from toombos_cli.render.formats import Output

if TYPE_CHECKING:
    from toombos_cli.monitoring.reports import MonitoringCheckReport

_WORDS = {
    "pass": ("OK", "green"),
    "warn": ("WARN", "yellow"),
    "fail": ("FAIL", "red"),
    "error": ("ERROR", "red"),
    "skip": ("SKIP", "dim"),
}


def show(report: "MonitoringCheckReport", output: Output) -> None:
    """How many items of each group are well, then what is not, then how many are of which verdict."""
    console = output.stdout
    counts = Counter(_WORDS[item.verdict.value][0] for item in report.items)
    for group, count in Counter(item.group for item in report.items if item.verdict.value == "pass").items():
        console.print(f"{'OK':<5} ", style="green", end="")
        console.print(f"{group}: {count}")
    unwell = [item for item in report.items if item.verdict.value != "pass"]
    for item, after in zip(unwell, [*unwell[1:], None], strict=True):
        word, style = _WORDS[item.verdict.value]
        console.print(f"{word:<5} ", style=style, end="")
        console.print(f"{item.group}: {item.name}" + (f": {item.detail}" if item.detail else ""), soft_wrap=True)
        if item.hint and (after is None or after.hint != item.hint):  # once below all that it mends
            console.print(f"      hint: {item.hint}", style="cyan", soft_wrap=True)
    console.print(", ".join(f"{count} {word}" for word, count in counts.items()))
