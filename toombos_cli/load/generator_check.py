"""Whether the load generator kept up, or measured itself."""

from collections import Counter

from toombos_cli.load.engine import histogram
from toombos_cli.load.engine.failures import FAULT_OF, Fault
from toombos_cli.load.engine.recorder import EngineResult
from toombos_cli.load.plan import LoadPlan
from toombos_cli.load.report import Generator

# Above these limits the generator's own delays are no longer small compared with what it measures.
_BUSY_PERCENT = 90.0
_LAG_P99_US = 50_000
_LAG_MAX_US = 400_000
_LEAST_ACHIEVED = 0.98
_LONG_ENOUGH_FOR_CPU_S = 0.5


_EXPLAINED = {
    "local_ports": "had no free local port (net.ipv4.ip_local_port_range; --keepalive and fewer connections need less)",
    "open_files": "had no open file left (ulimit -n)",
    "memory": "had no memory for a socket",
    "forbidden": "forbids the connection (its packet filter)",
    "scenario": "cannot fill in the variables of the scenario",
    "system": "reported an error that says nothing about the server",
}


def judge_generator(plan: LoadPlan, outcome: EngineResult) -> Generator:
    """Report how busy and how late the generator was, and whether that distorts the figures."""
    p99, top = histogram.percentiles(outcome.lag, (99, 100)) if outcome.lag else (None, None)
    cpu_percent = outcome.cpu_percent
    scheduled = outcome.scheduled
    achieved = outcome.sent_in_time / scheduled if plan.mode == "open" and scheduled else 1.0
    reasons = []
    if (
        cpu_percent is not None
        and cpu_percent >= _BUSY_PERCENT * plan.processes
        and min(outcome.sending_s, outcome.duration_s) >= _LONG_ENOUGH_FOR_CPU_S
    ):
        reasons.append(
            f"the generator used {cpu_percent:.0f} % CPU in {plan.processes} process(es) and could not send faster"
        )
    if p99 is not None and p99 > _LAG_P99_US:
        reasons.append(f"1 % of its work was at least {p99 / 1000:.0f} ms late")
    if top is not None and top > _LAG_MAX_US:
        reasons.append(f"the generator was held up for {top / 1000:.0f} ms")
    if achieved < _LEAST_ACHIEVED:
        reasons.append(f"only {achieved:.1%} of the requests were sent on time because all connections were busy")
    reasons += _own_failures(outcome)
    return Generator(
        cpu_percent=None if cpu_percent is None else round(cpu_percent, 1),
        cpu_us_per_request=round(outcome.cpu_s * 1e6 / scheduled, 2) if scheduled else None,
        lag_p99_us=p99,
        lag_max_us=top,
        achieved_ratio=round(achieved, 4),
        connections=outcome.connections,
        valid=not reasons,
        reasons=tuple(reasons),
    )


def _own_failures(outcome: EngineResult) -> list[str]:
    """Return a reason for each way in which this machine, not the server, failed requests."""
    found: Counter[str] = Counter()
    for result in outcome.endpoints:
        for failure, lost in result.failures.items():
            if FAULT_OF[failure.error_class] is Fault.MACHINE:
                found[failure.error_class] += lost.count
    return [
        f"{count} request{'s' * (count != 1)} could not be sent: this machine {_EXPLAINED[error_class]}"
        for error_class, count in found.items()
    ]
