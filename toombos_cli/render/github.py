"""GitHub Actions: an annotation for each case that is wrong, and a table for the job's summary."""

from toombos_cli.base.results import WORST_FIRST, Case, Report, Verdict
from toombos_cli.render.verdicts import WORDS

_LEVELS = {Verdict.FAIL: "error", Verdict.ERROR: "error", Verdict.WARN: "warning"}


def annotations(report: Report, *, title: str) -> str:
    """Workflow commands, one a line; "" when nothing is wrong."""
    return "".join(
        f"::{_LEVELS[case.verdict]} title={_property(f'{title}: {case.name}')}::{_message(case.detail or case.name)}\n"
        for case in _cases(report)
        if case.verdict in _LEVELS
    )


def summary(report: Report, *, title: str) -> str:
    """Markdown for the file that GITHUB_STEP_SUMMARY names."""
    rows = "".join(
        f"| {WORDS[case.verdict]} | {_cell(case.name)} | {case.duration_s * 1000:.0f} ms | {_cell(case.detail)} |\n"
        for case in _cases(report)
    )
    return f"### {title}: {WORDS[report.verdict]}\n\n| | step | time | |\n|---|---|---|---|\n{rows}\n"


def _cases(report: Report) -> list[Case]:
    """Return the judged items, the worst first."""
    return sorted(report.cases() or (), key=lambda case: WORST_FIRST.index(case.verdict))


def _message(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")


def _cell(text: str) -> str:
    return (
        text.replace("|", "\\|").replace("\n", "<br>").replace("<br>", "\0").replace("<", "&lt;").replace("\0", "<br>")
    )
