"""What a diagnostic check is."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from toombos_cli.base.findings import Answer
from toombos_cli.diagnose.facts.source import Facts


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check: a pure function of facts that yields what is wrong, or nothing when all is well.

    `group` is what `--only` takes besides ids. `follows` are the ids of checks whose failure explains this one's.
    """

    id: str
    title: str
    group: str
    run: Callable[[Facts], Iterable[Answer]]
    follows: tuple[str, ...] = ()
