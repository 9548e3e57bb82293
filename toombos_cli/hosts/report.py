"""The report of a command that ran on several hosts."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar

from toombos_cli.base.fixes import Fix
from toombos_cli.base.results import Case, Report, Verdict, worst
from toombos_cli.hosts.answers import Answer


class HostState(StrEnum):
    """Whether a host has said how it is."""

    ANSWERED = "answered"
    UNREACHABLE = "unreachable"
    """Nothing accepts a connection at its address."""
    NOT_JUDGED = "not-judged"
    """It is there, but ssh or toombos there failed, or the answer cannot be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostAnswer:
    """One host. `verdict` and `exit_code` are those of the command there; without an answer, `exit_code` is None.

    `data` is that of the document there, {} without one. `bundle` is the file that holds its evidence, if one was
    asked for.
    """

    host: str
    address: str
    state: HostState
    verdict: Verdict
    exit_code: int | None = None
    detail: str = ""
    fix: Fix | None = None
    took_s: float = 0.0
    data: dict[str, Any]
    bundle: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostsReport(Report):
    """What every host said, in the order of the manifest. `asked` is the command that ran there."""

    kind: ClassVar[str] = "hosts"
    hidden: ClassVar[frozenset[str]] = frozenset({"said"})
    asked_for: ClassVar[bool] = True

    asked: str
    hosts: tuple[HostAnswer, ...]
    said: dict[str, Answer]
    """What is read of the data of each host that answered, by its name."""

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of all hosts: FAIL for one that is unreachable, ERROR for one that was not judged."""
        return worst(host.verdict for host in self.hosts)

    def cases(self) -> tuple[Case, ...]:
        """Return one case per host."""
        return tuple(Case(name=h.host, verdict=h.verdict, duration_s=h.took_s, detail=h.detail) for h in self.hosts)
