"""The issue template with what is known; the rest is marked to fill in."""

from typing import TYPE_CHECKING

from toombos_cli.render.formats import Output

if TYPE_CHECKING:
    from toombos_cli.diagnose.issue import IssueReport

_FILL_IN = "[fill in]"


def show(report: "IssueReport", output: Output) -> None:
    """Prints the text, without markup of the terminal."""
    output.stdout.file.write("\n".join(_lines(report)) + "\n")


def _lines(report: "IssueReport") -> list[str]:
    lines = ["**Environment:**", f"- Version: {report.version}", f"- Deployment: {report.deployment or _FILL_IN}"]
    lines += [f"- OS: {report.system or _FILL_IN}", "", "**Issue Description:**", report.description or _FILL_IN]
    lines += ["", "**Steps to Reproduce:**", *(f"{number}. {_FILL_IN}" for number in (1, 2, 3))]
    lines += ["", "**Expected Result:**", _FILL_IN, "", "**Actual Result:**"]
    for root in report.causes:
        lines.append(f"- {root.verdict.value.upper()} {root.id}: {root.reason or root.title}")
        lines += [f"  - {e.place}: {e.text}" if e.text else f"  - {e.place}" for e in root.evidence]
        lines += [f"  - cause: {root.cause}"] if root.cause else []
    lines += [_FILL_IN] if not report.causes else []
    lines += ["", "**Logs/Screenshots:**", "```", *(report.logs or ("no error in the logs",)), "```"]
    lines += ["", "**Additional Context:**", *(f"- {text}" for text in report.context)]
    lines += ["- attach the bundle of `toombos diagnose --bundle FILE`: it holds no secrets"]
    return lines + ([f"- send to: {', '.join(report.support)}"] if report.support else [])
