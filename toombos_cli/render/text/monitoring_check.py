"""What `toombos monitoring check` found: the remedy below what is not well."""

from collections import Counter
from typing import TYPE_CHECKING

from toombos_cli.base.results import Verdict
from toombos_cli.render.formats import Output
from toombos_cli.render.verdicts import STYLES, WORDS

if TYPE_CHECKING:
    from toombos_cli.monitoring.reports import CheckItem, MonitoringCheckReport


def show(report: "MonitoringCheckReport", output: Output) -> None:
    """How many items of each group are well, then what is not, then how many are of which verdict."""
    console = output.stdout
    counts = Counter(WORDS[item.verdict] for item in report.items)
    for group, count in Counter(item.group for item in report.items if item.verdict is Verdict.PASS).items():
        console.print(f"{'OK':<5} ", style="green", end="")
        console.print(f"{group}: {count}")
    unwell = [item for item in report.items if item.verdict is not Verdict.PASS]
    shown = unwell if output.verbose else [item for item in unwell if item.explained_by is None]
    lines = [[item] for item in shown] if output.verbose else _alike(shown)
    for line, after in zip(lines, [*lines[1:], None], strict=True):
        item = line[0]
        word, style = WORDS[item.verdict], STYLES[item.verdict]
        more = f", and {len(line) - 1} more" if len(line) > 1 else ""
        console.print(f"{word:<5} ", style=style, end="")
        console.print(f"{item.group}: {item.name}{more}" + (f": {item.detail}" if item.detail else ""), soft_wrap=True)
        if item.hint and (after is None or after[0].hint != item.hint):  # once below all that it mends
            console.print(f"      hint: {item.hint}", style="cyan", soft_wrap=True)
    if len(shown) < len(unwell):
        console.print(f"{len(unwell) - len(shown)} more follow from that (--verbose lists them)")
    console.print(", ".join(f"{count} {word}" for word, count in counts.items()))


def _alike(items: "list[CheckItem]") -> "list[list[CheckItem]]":
    """The items that say the same of several things, together, where the first of them stands."""
    lines: dict[tuple[object, ...], list[CheckItem]] = {}
    for item in items:
        lines.setdefault((item.group, item.verdict, item.detail, item.hint), []).append(item)
    return list(lines.values())
