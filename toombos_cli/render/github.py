"""GitHub Actions: an annotation for each failing case, and a table for the job summary."""

from toombos_cli.base.results import WORST_FIRST, Case, Report, Verdict
from toombos_cli.render.diagnose_markdown import escaped
from toombos_cli.render.presentable import presentable
from toombos_cli.render.verdicts import WORDS

_LEVELS = {Verdict.FAIL: "error", Verdict.ERROR: "error", Verdict.WARN: "warning"}


def annotations(report: Report, *, title: str) -> str:
    """Return the workflow commands, one per line; "" if every case passes."""
    return "".join(
        f"::{_LEVELS[case.verdict]} title={_property(f'{title}: {case.name}')}::{_message(case.detail or case.name)}\n"
        for case in _cases(report)
        if case.verdict in _LEVELS
    )


def summary(report: Report, *, title: str) -> str:
    """Return the Markdown for the file named by GITHUB_STEP_SUMMARY."""
    rows = "".join(
        f"| {WORDS[case.verdict]} | {_cell(case.name)} | {case.duration_s * 1000:.0f} ms | {_cell(case.detail)} |\n"
        for case in _cases(report)
    )
    return f"### {title}: {WORDS[report.verdict]}\n\n| | step | time | |\n|---|---|---|---|\n{rows}\n"


def _cases(report: Report) -> list[Case]:
    """Return the judged items, the worst first."""
    return sorted(presentable(report).cases() or (), key=lambda case: WORST_FIRST.index(case.verdict))


def _message(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")


def _cell(text: str) -> str:
    return "<br>".join(map(escaped, text.split("\n")))
