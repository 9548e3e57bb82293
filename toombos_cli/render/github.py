"""GitHub Actions: an annotation for each failing case, and a table for the job summary."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from toombos_cli.base.errors import Problem
from toombos_cli.base.results import WORST_FIRST, Case, Report, Verdict
from toombos_cli.render.diagnose_markdown import escaped
from toombos_cli.render.presentable import presentable
from toombos_cli.render.verdicts import WORDS

_LEVELS = {Verdict.FAIL: "error", Verdict.ERROR: "error", Verdict.WARN: "warning"}


Place = tuple[str, int]
"""A file and a 1-based line."""


def annotations(report: Report, *, title: str, places: Mapping[str, Place] | None = None) -> str:
    """Return the workflow commands, one per line; "" if every case passes. `places` are those of cases by name."""
    lines = []
    for case in _cases(report):
        if case.verdict in _LEVELS:
            place = (case.file, case.line) if case.file and case.line else (places or {}).get(case.name)
            where = _where(*place) if place else ""
            named = f"title={_property(f'{title}: {case.name}')}"
            lines.append(f"::{_LEVELS[case.verdict]} {where}{named}::{_message(case.detail or case.name)}\n")
    return "".join(lines)


def errors(problems: Iterable[Problem]) -> str:
    """Return the workflow commands for the errors of a command that failed, one per line."""
    lines = []
    for problem in presentable(tuple(problems)):
        file, _, line = (problem.where or "").rpartition(":")
        where = _where(file, int(line)) if line.isdigit() and Path(file).is_file() else ""
        said = problem.message if where or not problem.where else f"{problem.where}: {problem.message}"
        hint = f"\nhint: {problem.hint}" if problem.hint else ""
        lines.append(f"::error {where}title=toombos::{_message(said + hint)}\n")
    return "".join(lines)


def _where(file: str, line: int) -> str:
    """Return the properties of a place; GitHub knows files below its workspace."""
    path = os.path.relpath(file, os.environ.get("GITHUB_WORKSPACE") or None)
    return f"file={_property(file if path.startswith('..') else path)},line={line},"


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
