"""Whether a run met its objectives, judged at its end or while it lasts."""

from toombos_cli.base.results import Verdict
from toombos_cli.load.engine import histogram
from toombos_cli.load.engine.recorder import Outcome
from toombos_cli.load.slo import Objective, ObjectiveResult
from toombos_cli.load.summary import Counts, Distribution, count_requests, distributions_of

_ENOUGH_TO_GIVE_UP = 100


def judge(
    objective: Objective, distributions: dict[str, Distribution], counts: Counts, throughput_rps: float
) -> ObjectiveResult:
    """Whether the objective is met; ERROR where requests without an answer leave it open."""
    measured: float | None
    unknown = False
    if objective.kind == "error_rate":
        measured = counts.error_rate if counts.scheduled else None
        shown = f"{measured:.3%}" if measured is not None else ""
    elif objective.kind == "rps":
        measured = throughput_rps
        shown = f"{measured:.1f} rps"
    else:
        found = distributions[objective.distribution]
        samples = histogram.count(found.all)
        if objective.percent is None:
            measured, unknown = histogram.mean(found.all), bool(found.censored)
        else:
            measured, unknown = found.at(objective.percent), found.reaches_censored(objective.percent)
        measured = measured if samples else None
        shown = f"{measured / 1000:.3f} ms" if measured is not None else ""
    verdict, detail = _verdict(objective, measured, shown, unknown)
    return ObjectiveResult(
        objective=objective.text,
        kind=objective.kind,
        verdict=verdict,
        measured=measured,
        limit=objective.limit,
        detail=detail,
    )


def _verdict(objective: Objective, measured: float | None, shown: str, unknown: bool) -> tuple[Verdict, str]:
    """`unknown`: `measured` is a lower bound. It can break an upper limit or meet a lower one, but not the reverse."""
    if measured is None:
        return Verdict.ERROR, "nothing was measured"
    holds = objective.holds(measured)
    if unknown and holds == objective.is_upper_bound:
        return Verdict.ERROR, f"at least {shown}: requests that were never answered leave it open"
    return (Verdict.PASS if holds else Verdict.FAIL), (f"at least {shown}" if unknown else shown)


def is_lost(objectives: tuple[Objective, ...], outcome: Outcome) -> bool:
    """Whether an objective on latency or errors is missed already; too little to judge is not lost."""
    counts = count_requests(outcome.endpoints)  # what is under way has not failed
    if counts.scheduled < _ENOUGH_TO_GIVE_UP:
        return False
    distributions = distributions_of(outcome)
    early = [o for o in objectives if o.kind != "rps" and o.is_upper_bound]
    return any(judge(o, distributions, counts, 0.0).verdict is Verdict.FAIL for o in early)
