"""Run one load test from start to end: the entry point of the feature."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from toombos_cli.base.errors import ToombosError
from toombos_cli.load.baseline import compare, measured_figures, read_baseline, save_run
from toombos_cli.load.build_report import build_report, count_requests, server_uses
from toombos_cli.load.engine.file_limit import raise_file_limit
from toombos_cli.load.engine.fleet import run_plan
from toombos_cli.load.engine.recorder import EngineResult
from toombos_cli.load.locust import LocustFleet, check_locust, run_locust
from toombos_cli.load.locust_workers import host_note
from toombos_cli.load.observer import LoadObserver, Snapshot
from toombos_cli.load.plan import LoadPlan
from toombos_cli.load.report import LoadReport
from toombos_cli.load.server_use import ServerWatch, Watched
from toombos_cli.load.slo import LoadCriteria, check_objectives, is_lost, judge_all

_HTTP2 = (
    "HTTP/2: each connection carries one request at a time, and a request takes many times the CPU of one in HTTP/1.1"
)
_NOT_HTTP2 = "the server did not choose HTTP/2, which `http2 = true` offers: requests were sent in HTTP/1.1"


def run_load(
    plan: LoadPlan,
    *,
    criteria: LoadCriteria,
    watched: tuple[Watched, ...] = (),
    argv: tuple[str, ...] = (),
    on_snapshot: Callable[[Snapshot], None] | None = None,
    locust: LocustFleet | None = None,
) -> LoadReport:
    """Run the plan and return its report. Raise ToombosError if it cannot start; nothing was sent then."""
    if locust is not None:
        check_locust(plan, locust)
        plan = replace(plan, processes=locust.workers)
    else:
        raise_file_limit(plan)
    baseline = read_baseline(criteria.baseline, plan) if criteria.baseline else None
    if criteria.save_baseline and criteria.save_baseline.exists():
        read_baseline(criteria.save_baseline, plan)
    objectives = criteria.objectives
    check_objectives(
        objectives,
        requests=(endpoint.name for endpoint in plan.endpoints),
        servers=(server.name for server in watched),
        checked=plan.checked,
    )
    observer = LoadObserver(
        on_snapshot=on_snapshot,
        is_lost=partial(is_lost, objectives, checked=plan.checked) if criteria.abort_on_fail else None,
    )
    with ServerWatch(watched) as watch:
        outcome, hosts = (run_plan(plan, observer), ()) if locust is None else run_locust(plan, locust, observer)
    figures, servers = measured_figures(outcome), server_uses(plan, watch.observed, outcome)
    compared = None
    if baseline is not None and criteria.baseline is not None:
        compared = compare(baseline, figures, path=criteria.baseline, judge_throughput=plan.mode == "closed")
    report = build_report(
        plan,
        outcome,
        argv=argv,
        servers=servers,
        slo=judge_all(objectives, outcome, servers, checked=plan.checked),
        baseline=compared,
        notes=(*([host_note(locust.workers, hosts)] if locust else []), *_notes(plan, outcome)),
    )
    ended_early = outcome.interrupted_by or outcome.aborted or outcome.target_lost
    if criteria.save_baseline and report.counts.ok and not ended_early:
        try:
            save_run(criteria.save_baseline, plan, figures)
        except ToombosError as error:
            return replace(report, problems=error.problems)
    return report


def _notes(plan: LoadPlan, outcome: EngineResult) -> tuple[str, ...]:
    """Return what a reader should know about how this was measured."""
    notes = []
    if outcome.aborted:
        notes.append("stopped early: an objective was missed; figures cover the run up to that point")
    if plan.target.endpoint.http2:
        notes.append(_HTTP2 if "2" in outcome.http_versions else _NOT_HTTP2)
    if note := _note_on_stale_connections(plan, outcome):
        notes.append(note)
    if plan.mode == "closed":
        notes.append("closed loop: slow responses reduce the load; --rate shows what users would experience")
    unfollowed = {e.name for e in plan.endpoints if e.script is None or not e.script.follow_redirects}
    seen = [(answer.status, result.name) for result in outcome.endpoints for answer in result.by_status]
    statuses = {status for status, name in seen if name in unfollowed}
    if any(300 <= status < 400 and status != 304 for status in statuses):
        notes.append("redirects (3xx) count as responses and are not followed: --follow-redirects does")
    if any(failure.error_class == "certificate" for endpoint in outcome.endpoints for failure in endpoint.failures):
        notes.append("this machine does not trust the certificate: --insecure accepts any certificate")
    return tuple(notes)


def _note_on_stale_connections(plan: LoadPlan, outcome: EngineResult) -> str | None:
    """Return what to know about requests that met a connection which the server had closed, or None."""
    counts = count_requests(outcome.endpoints)
    failures = [item for endpoint in outcome.endpoints for item in endpoint.failures.items()]
    failed = sum(lost.count for failure, lost in failures if failure.error_class == "stale_reuse")
    if not counts.retried and not failed:
        return None
    parts = [f"{counts.retried} were sent again"] if counts.retried else []
    if failed:
        why = "a repetition might act twice" if plan.retry_stale else "as --no-retry-stale asks"
        parts.append(f"{failed} were not ({why}) and count as failed, but not against the server")
    return (
        f"the server closed kept-alive connections as requests were sent: {', '.join(parts)}; "
        "--no-keepalive uses a connection for each request"
    )
