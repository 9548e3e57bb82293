"""An issue to file: the guide's template, filled from the facts."""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from toombos_cli.base.findings import WRONG, Finding
from toombos_cli.base.results import Report, Verdict
from toombos_cli.base.text import size
from toombos_cli.diagnose.facts.configuration import SETTINGS
from toombos_cli.diagnose.facts.logs import LOGS
from toombos_cli.diagnose.facts.machine import MACHINE
from toombos_cli.diagnose.facts.source import Facts, FactUnavailableError
from toombos_cli.diagnose.facts.system import SYSTEM
from toombos_cli.diagnose.report import DiagnoseReport
from toombos_cli.diagnose.run import Diagnosis

_LOG_LINES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class IssueReport(Report):
    """The fields of the issue template that the machine can fill in."""

    kind: ClassVar[str] = "issue"
    asked_for: ClassVar[bool] = True

    version: str
    deployment: str
    system: str
    description: str
    causes: tuple[Finding, ...]
    logs: tuple[str, ...]
    context: tuple[str, ...]
    support: tuple[str, ...]

    @property
    def verdict(self) -> Verdict:
        """Always PASS: it is a text to send."""
        return Verdict.PASS


def make_issue(diagnosis: Diagnosis) -> IssueReport:
    """Return the issue; what only a person knows is left to fill in."""
    facts, report = diagnosis.facts, diagnosis.report
    roots = report.root_findings
    return diagnosis.redactor.value(
        IssueReport(
            version=_version(facts),
            deployment=_deployment(facts),
            system=_machine(facts),
            description="; ".join(root.reason or root.title for root in roots),
            causes=roots,
            logs=tuple(_log_lines(facts, report)),
            context=tuple(f"{f.id}: {f.reason}" for f in report.findings if f.id in ("proc.running", "res.memory")),
            support=facts.manifest.alerts.support,
        )
    )


def _version(facts: Facts) -> str:
    from toombos_cli import __version__

    commit = _commit_of(facts.manifest.project)
    return f"toombos {__version__}" + (f", commit {commit}" if commit else "")


def _commit_of(project: Path) -> str:
    """Return the short hash of the commit that is checked out, or "".

    It is read from git's files: git itself runs programs that the configuration of a repository names.
    """
    top = next((place / ".git" for place in (project, *project.parents) if (place / ".git").exists()), None)
    if top is None:
        return ""
    try:
        if top.is_file():  # a linked worktree
            top = top.parent / top.read_text("utf-8").removeprefix("gitdir:").strip()
        head = (top / "HEAD").read_text("utf-8").strip()
        common = top / "commondir"
        shared = top / common.read_text("utf-8").strip() if common.is_file() else top
        name = head.removeprefix("ref: ")
        if name != head:
            loose, packed = shared / name, shared / "packed-refs"
            lines = [loose.read_text("utf-8")] if loose.is_file() else packed.read_text("utf-8").splitlines()
            head = next((line.split()[0] for line in lines if loose.is_file() or line.endswith(f" {name}")), "")
    except (OSError, ValueError, IndexError):
        return ""
    return head[:7] if re.fullmatch(r"[0-9a-f]{40,64}", head.strip()) else ""


def _deployment(facts: Facts) -> str:
    try:
        settings = facts.get(SETTINGS)
        stage = next((settings.clear[n] for n in settings.with_role("stage") if settings.clear.get(n)), "")
    except FactUnavailableError:
        stage = ""
    mode = ""
    with contextlib.suppress(FactUnavailableError):
        mode = facts.get(SYSTEM).mode_text
    return ", ".join(part for part in (stage, mode) if part)


def _machine(facts: Facts) -> str:
    try:
        machine = facts.get(MACHINE)
    except FactUnavailableError:
        return ""
    return f"{machine.system}, Python {machine.python}, {machine.cores} cores, {size(machine.memory_total_bytes)}"


def _log_lines(facts: Facts, report: DiagnoseReport) -> Iterator[str]:
    """Yield the latest errors of the affected services, or of all services if none is affected."""
    try:
        logs = facts.get(LOGS)
    except FactUnavailableError:
        return
    concerned = {f.service for f in report.findings if f.verdict in WRONG} & logs.keys()
    found = [entry for name in concerned or logs for entry in logs[name].entries if entry.error]
    for entry in sorted(found, key=lambda e: e.at or 0.0)[-_LOG_LINES:]:
        yield f"{entry.path}{f':{entry.line}' if entry.line else ''}: {entry.text}"
