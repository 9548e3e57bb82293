"""What a task needs beyond a service: whether it has to run, and how it ended."""

import asyncio
import time
from dataclasses import dataclass

from toombos_cli import processes
from toombos_cli.base.text import seconds
from toombos_cli.project.state import FailureKind, RunDirectory, ServiceState
from toombos_cli.project.task_runs import (
    ENDED_UNSEEN,
    TaskRun,
    add_run,
    digest_of_inputs,
    read_record,
    why_not_again,
)
from toombos_cli.supervisor.protocol import ServiceFailure, ServicePlan
from toombos_cli.supervisor.readiness import in_thread
from toombos_cli.supervisor.service_process import Running

_LEFTOVER_ENDS_S = 1.0
_LOOK_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """Why a task need not run, or None if it has to; when it succeeded, and the digest of its inputs."""

    why_not: str | None = None
    succeeded_at: float = 0.0
    inputs: str = ""


async def need_of(plan: ServicePlan, run: RunDirectory) -> Need:
    """Return whether a task has to run. Its inputs may be large, so they are read in a thread."""
    service = plan.service
    inputs = await in_thread(lambda: digest_of_inputs(service)) if service.inputs else ""
    known = read_record(run, service.name)
    at = known.success.started_at if known and known.success else 0.0
    return Need(why_not=why_not_again(service, known, plan.fingerprint, inputs), succeeded_at=at, inputs=inputs)


async def why_it_failed(running: Running, name: str, timeout_s: float) -> ServiceFailure | None:
    """Wait for the end of a task; return why it has not succeeded, or None. A limit of 0 means none.

    What it leaves in the background gets a moment to end; a task that goes on there is not completed.
    """
    age_s = processes.age_s(running.tree.leader.start_ticks)
    await asyncio.wait({running.ended}, timeout=max(timeout_s - age_s, 0.0) if timeout_s else None)
    if not running.ended.done():
        message = f"not completed within {seconds(timeout_s)}"
        return ServiceFailure(service=name, kind=FailureKind.TIMEOUT, message=message, command=("logs", name))
    if running.exit_code is None:
        return ServiceFailure(service=name, kind=FailureKind.EXITED, message=ENDED_UNSEEN, command=("run", name))
    deadline = time.monotonic() + _LEFTOVER_ENDS_S
    while running.exit_code == 0 and running.tree.members(look_for_tag=True):
        if time.monotonic() > deadline:
            return running.why_it_ended()
        await asyncio.sleep(_LOOK_S)
    return None if running.exit_code == 0 else running.why_it_ended()


def record(
    run: RunDirectory, state: ServiceState, exit_code: int | None, *, took_s: float, succeeded: bool, inputs: str
) -> str:
    """Record a run that has ended; return why that failed, or "": then it runs again at the next start."""
    ended = TaskRun(
        started_at=state.started_at,
        took_s=took_s,
        exit_code=exit_code,
        succeeded=succeeded,
        fingerprint=state.fingerprint,
        inputs=inputs,
    )
    name = state.service.name
    try:
        add_run(run, name, ended)
    except OSError as error:
        return f"{run.task_record(name)} cannot be written: {error.strerror}"
    return ""
