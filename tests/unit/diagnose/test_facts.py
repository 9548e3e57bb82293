"""Facts are gathered once and in parallel, each within its time limit and all within an overall one."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from toombos_cli.base.findings import Check, Finding
from toombos_cli.base.redaction import Redactor
from toombos_cli.base.results import Verdict
from toombos_cli.diagnose.facts.source import Fact, FactUnavailableError, LiveFacts, SavedFacts
from toombos_cli.diagnose.run import judge
from toombos_cli.manifest.model import Manifest
from toombos_cli.manifest.reading.loader import load_manifest


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    (tmp_path / "toombos.toml").write_text('name = "x"\n[services.a]\ncommand = ["a"]\nport = 8888\n')
    return load_manifest(tmp_path)


def fact(name: str, gather: Callable[..., Any], limit_s: float = 3.0) -> Fact[Any]:
    return Fact(name, int, gather, limit_s)


def hang(facts: Any) -> int:
    threading.Event().wait()
    return 0


def test_a_fact_is_gathered_once_for_all_callers(manifest: Manifest):
    gathered: list[int] = []
    one = fact("one", lambda facts: gathered.append(1) or 7)
    facts = LiveFacts(manifest)
    callers = [threading.Thread(target=facts.get, args=(one,)) for _ in range(20)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert (facts.get(one), gathered) == (7, [1])


def test_facts_are_gathered_in_parallel(manifest: Manifest):
    barrier = threading.Barrier(4)
    together = [fact(str(n), lambda facts: barrier.wait(10)) for n in range(4)]
    facts = LiveFacts(manifest)
    facts.start(together)
    assert sorted(facts.get(each) for each in together) == [0, 1, 2, 3]


def test_a_fact_that_hangs_is_given_up_after_its_time_limit(manifest: Manifest):
    with pytest.raises(FactUnavailableError, match=r"stuck: no result within \d"):
        LiveFacts(manifest).get(fact("stuck", hang, limit_s=0.1))


def test_facts_that_hang_share_the_overall_time_limit(manifest: Manifest):
    facts = LiveFacts(manifest, limit_s=0.3)
    started = time.monotonic()
    for number in range(20):
        with pytest.raises(FactUnavailableError):
            facts.get(fact(str(number), hang))
    assert time.monotonic() - started < 3, "in sequence, they would take a minute"


def test_a_fact_that_needs_a_hanging_fact_is_given_up_too(manifest: Manifest):
    stuck = fact("stuck", hang, limit_s=0.1)
    with pytest.raises(FactUnavailableError, match="stuck: no result"):
        LiveFacts(manifest).get(fact("upper", lambda facts: facts.get(stuck)))


def test_an_exception_is_reported_by_type_and_place_but_never_by_its_text(manifest: Manifest):
    def crash(facts: Any) -> int:
        raise ValueError("password=sesame")

    with pytest.raises(FactUnavailableError, match=r"broken could not be determined: ValueError at .*test_facts\.py"):
        LiveFacts(manifest).get(fact("broken", crash))


def test_a_saved_fact_is_read_back_unchanged(manifest: Manifest):
    pair = Fact("pair", tuple[int, str], lambda facts: (1, "a"))
    saved = msgspec.json.decode(msgspec.json.encode(LiveFacts(manifest).values([pair])))
    assert SavedFacts(manifest, saved).get(pair) == (1, "a")


@pytest.mark.parametrize(
    ("saved", "message"),
    [
        ({}, "pair is not in the bundle"),
        ({"pair": {"unavailable": "no result within 3.0 s"}}, "no result within 3.0 s"),
        ({"pair": ["a", 1]}, "saved by another version"),
    ],
    ids=["absent from the bundle", "unavailable when it was saved", "saved with another type"],
)
def test_an_unavailable_saved_fact_says_why(manifest: Manifest, saved: dict[str, Any], message: str):
    pair = Fact("pair", tuple[int, str], lambda facts: (1, "a"))
    with pytest.raises(FactUnavailableError, match=message):
        SavedFacts(manifest, saved).get(pair)


def test_a_check_that_crashes_or_lacks_a_fact_is_an_error_and_the_other_checks_run(manifest: Manifest):
    def crash(facts: Any) -> list[Finding]:
        raise KeyError("secret")

    def needs(facts: Any) -> list[Finding]:
        facts.get(fact("absent", lambda facts: 1))
        return []

    rows = {"crash": crash, "needs": needs, "passing": lambda facts: []}
    checks = tuple(Check(id=name, title=name, group="g", run=run) for name, run in rows.items())
    report = judge(SavedFacts(manifest, {}), checks, checks, Redactor())
    assert [f.verdict for f in report.findings] == [Verdict.ERROR, Verdict.ERROR, Verdict.PASS]
    assert "secret" not in str(report.findings)
    assert report.verdict == "error"


def test_a_fact_that_was_given_up_stays_unavailable_even_if_it_arrives_later(manifest: Manifest):
    arrived = threading.Event()
    late = fact("late", lambda facts: arrived.wait(30) and 7, limit_s=0.1)
    facts = LiveFacts(manifest)
    with pytest.raises(FactUnavailableError):
        facts.get(late)
    arrived.set()
    assert facts.values([late])["late"]["unavailable"].startswith("late: no result within ")


def test_a_busy_machine_gives_facts_more_time(manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toombos_cli.diagnose.facts.source._slowness", lambda: 1000.0)
    late = fact("late", lambda facts: threading.Event().wait(0.3) or 7, limit_s=0.2)
    assert LiveFacts(manifest).get(late) == 7
