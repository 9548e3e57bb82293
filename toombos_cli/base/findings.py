"""What a check answers: one finding shape for `config check` and `diagnose` (docs: CONTRACT of the JSON `findings`)."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from enum import StrEnum

from toombos_cli.base.results import Case, Verdict, worst


class Status(StrEnum):
    """The answer of one check. ERROR means that the check itself crashed or ran out of time."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"
    ERROR = "error"

    @property
    def verdict(self) -> Verdict:
        """The same answer in the words of a report."""
        return Verdict.PASS if self is Status.OK else Verdict(self.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Where it can be seen: a file, process or URL, the 1-based line in a file, and what stands there (no secret)."""

    source: str
    line: int | None = None
    text: str = ""

    @property
    def place(self) -> str:
        """`source:line`, as editors and terminals understand it."""
        return self.source if self.line is None else f"{self.source}:{self.line}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a check's function says; `run_check` makes a Finding of it. The fields are those of Finding."""

    status: Status
    reason: str
    evidence: tuple[Evidence, ...] = ()
    cause: str = ""
    fix: str = ""
    pasteable: bool = False
    service: str = ""
    explained_by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One answer of one check.

    `id` names the check: several findings may share it, and their evidence tells them apart. `reason` says what is
    wrong in one sentence, `cause` why it matters or how it came about. `fix` is a command to paste when `pasteable`,
    else advice. `explained_by` is the id of the finding that this one follows from, "" for a root.
    """

    id: str
    title: str
    status: Status
    service: str = ""
    reason: str = ""
    evidence: tuple[Evidence, ...] = ()
    cause: str = ""
    fix: str = ""
    pasteable: bool = False
    explained_by: str = ""
    duration_ms: float = 0.0

    def case(self) -> Case:
        """The finding as JUnit and other judged lists show it."""
        where = ", ".join(e.place for e in self.evidence)
        parts = (
            f"{where}: {self.reason}" if where else self.reason,
            self.cause,
            f"fix: {self.fix}" if self.fix else "",
        )
        return Case(
            name=f"{self.id} ({self.service})" if self.service else self.id,
            verdict=self.status.verdict,
            duration_s=self.duration_ms / 1000,
            detail="\n".join(part for part in parts if part),
        )


def run_check(id: str, title: str, check: Callable[[], Iterable[Answer]]) -> tuple[Finding, ...]:  # noqa: A002 (the field's name)
    """The findings of one check, at least one: a check that says nothing is OK, one that crashes is an ERROR."""
    begun = time.perf_counter()
    try:
        answers = tuple(check()) or (Answer(status=Status.OK, reason=""),)
    except Exception as error:
        answers = (Answer(status=Status.ERROR, reason=f"the check itself failed: {described(error)}"),)
    duration_ms = round((time.perf_counter() - begun) * 1000, 3)
    return tuple(
        Finding(id=id, title=title, duration_ms=duration_ms, **{f.name: getattr(a, f.name) for f in fields(Answer)})
        for a in answers
    )


def described(error: Exception) -> str:
    """Type and place; the message is left out, for it may quote a secret."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return type(error).__name__ + (f" at {frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}" if frame else "")


def overall(findings: Iterable[Finding]) -> Verdict:
    """The verdict of all findings together."""
    return worst(finding.status.verdict for finding in findings)
