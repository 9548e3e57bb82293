"""Run a plan with Locust: a master and workers as subprocesses, for load from several machines.

Locust is never imported: its import patches half of the standard library. Its master and workers do not authenticate
each other, so the master listens on loopback unless given an address of a private network.
"""

import base64
import contextlib
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from math import ceil
from pathlib import Path
from typing import Any

from toombos_cli.base.addresses import host_port
from toombos_cli.base.errors import OperationError, UsageError
from toombos_cli.base.plain_files import read_plain
from toombos_cli.base.untrusted import decode_untrusted
from toombos_cli.load.engine import histogram
from toombos_cli.load.engine.recorder import (
    Answer,
    EndpointResult,
    EngineResult,
    FailureCount,
    Latencies,
    RequestFailure,
)
from toombos_cli.load.engine.timeline import Timeline
from toombos_cli.load.options import LoadOptions
from toombos_cli.load.plan import LoadPlan, LoadRequest
from toombos_cli.manifest.tables.expectations import Statuses, status_fits

LIMITS = (
    "measured by Locust: no open model, no correction for coordinated omission (response time is service time), "
    "no figures for connect and first byte, no phase for errors"
)
_START_S = 30.0
_REMOTE_START_S = 600.0  # people start remote workers by hand
_RESULT_BYTES = 1 << 30
_STOP_S = 15.0
_SECRETS = ("http_proxy", "https_proxy", "all_proxy", "LOCUST_")


@dataclass(frozen=True, slots=True, kw_only=True)
class LocustFleet:
    """The workers that send: started on other machines if `master_host` is given, else started here."""

    workers: int
    master_host: str | None = None
    master_port: int = 5557


def locust_fleet_of(options: LoadOptions) -> LocustFleet | None:
    """Return the Locust workers that send, or None if toombos sends the requests itself. Raise UsageError."""
    if options.locust_workers is not None:
        return LocustFleet(workers=options.locust_workers, master_host=options.locust_master)
    if options.locust_master is not None:
        raise UsageError(
            "needs --locust-workers", where="--locust-master", hint="give the number of workers to wait for"
        )
    return None


def check_locust(plan: LoadPlan, fleet: LocustFleet) -> None:
    """Raise UsageError or OperationError if Locust cannot run this plan."""
    if importlib.util.find_spec("locust") is None:
        raise OperationError(
            "Locust is not installed", where="--locust-workers", hint="install it: pip install 'toombos[locust]'"
        )
    if fleet.workers < 1:
        raise UsageError(f"must be above 0, not {fleet.workers}", where="--locust-workers")
    if plan.arrival == "poisson":
        raise UsageError("Locust has no Poisson arrivals", where="--arrival", hint="leave out --locust-workers")
    if plan.warmup_s:
        raise UsageError("a Locust run has no warm-up", where="--warmup")
    if missing := _unsupported(plan):
        raise UsageError(
            f"Locust cannot send this plan: it has no {', no '.join(missing)}",
            where="--locust-workers",
            hint="leave out --locust-workers; --processes N uses more cores of this machine",
        )
    if plan.mode == "closed" and plan.connections < fleet.workers:
        raise UsageError(f"{fleet.workers} workers cannot share {plan.connections} users", where="-c")


def _unsupported(plan: LoadPlan) -> list[str]:
    """Return what the plan needs and the locustfile does not do."""
    scripts = [endpoint.script for endpoint in plan.endpoints if endpoint.script is not None]
    endpoint = plan.target.endpoint
    needs = {
        "users with several steps": plan.users is not None and any(kind.has_rounds for kind in plan.users.kinds),
        "variables": plan.users is not None and any(kind.used for kind in plan.users.kinds),
        "conditions on responses beside their status": any(script.step is not None for script in scripts),
        "redirects": any(script.follow_redirects for script in scripts),
        "cookies": any(script.cookies for script in scripts),
        "think time": any(script.pause[1] for script in scripts),
        "streams": any(script.is_stream for script in scripts),
        "Unix sockets": endpoint.unix is not None,
        "client certificates": endpoint.client_cert is not None,
        "certificate authorities of its own": endpoint.ca_file is not None,
    }
    return [what for what, is_needed in needs.items() if is_needed]


def run_locust(plan: LoadPlan, fleet: LocustFleet) -> EngineResult:
    """Return what Locust measured as an EngineResult. Raise OperationError with its last log lines if it fails."""
    with tempfile.TemporaryDirectory(prefix="toombos-locust-") as name:
        directory = Path(name)
        result = directory / "result.json"
        file = directory / "locustfile.py"
        file.write_text(_locustfile(plan, fleet, result))
        interrupted_by = _drive(plan, fleet, file, directory)
        if not result.exists():
            raise OperationError(f"Locust ended without a result: {_last_words(directory / 'master.log')}")
        measured = decode_untrusted(read_plain(result, _RESULT_BYTES), most_bytes=_RESULT_BYTES, as_python=True)
    if measured["gave_up"]:
        counted = sum(row[5] for row in measured["rows"])
        raise OperationError(f"Locust counted {counted} of {plan.requests} requests: {measured['gave_up']}")
    return _outcome(plan, measured, interrupted_by)


def _drive(plan: LoadPlan, fleet: LocustFleet, file: Path, directory: Path) -> int:
    """Start master and workers and wait for the master; return the signal that ended it early, or 0."""
    host = fleet.master_host or "127.0.0.1"
    port = fleet.master_port if fleet.master_host else _free_port()
    master = ["--master", "--headless", "--expect-workers", str(fleet.workers), "--only-summary"]
    start_s = _REMOTE_START_S if fleet.master_host else _START_S
    master += ["--expect-workers-max-wait", str(ceil(start_s))]
    master += ["--master-bind-host", host, "--master-bind-port", str(port), "--exit-code-on-error", "0"]
    master += ["--stop-timeout", str(ceil(min(plan.drain_s, plan.timeout_s)))]
    if not plan.stages:
        master += ["-u", str(plan.connections), "-r", str(plan.connections)]
    if plan.planned_s is not None:
        master += ["-t", f"{ceil(plan.planned_s)}s"]
    worker = ["--worker", "--master-host", host, "--master-port", str(port)]
    with contextlib.ExitStack() as stack:
        leader = stack.enter_context(_locust(file, master, directory / "master.log"))
        if fleet.master_host is None:
            for index in range(fleet.workers):
                stack.enter_context(_locust(file, worker, directory / f"worker-{index}.log"))
        deadline = time.monotonic() + start_s + (plan.planned_s or float("inf")) + plan.timeout_s + _STOP_S
        try:
            leader.wait(timeout=None if deadline == float("inf") else deadline - time.monotonic())
        except subprocess.TimeoutExpired:
            raise OperationError(f"Locust did not finish in time: {_last_words(directory / 'master.log')}") from None
        except KeyboardInterrupt:
            leader.send_signal(signal.SIGINT)
            leader.wait(timeout=_STOP_S)
            return int(signal.SIGINT)
    return 0


@contextlib.contextmanager
def _locust(file: Path, args: list[str], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a Locust process in its own session; terminate it at the end of the block."""
    environment = {k: v for k, v in os.environ.items() if not k.lower().startswith(tuple(s.lower() for s in _SECRETS))}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "locust", "-f", str(file), *args],
            cwd=file.parent,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is passed on by this process, so that the result is written first
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout=_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _locustfile(plan: LoadPlan, fleet: LocustFleet, result: Path) -> str:
    """Return the file that master and workers run: our locustfile with the plan filled in."""
    target = plan.target
    host = target.host if target.scheme == "https" else target.address  # the certificate is issued for the name
    settings: dict[str, Any] = {
        "host": f"{target.scheme}://{host_port(host, target.port)}",
        "requests": [_request(endpoint) for endpoint in plan.endpoints],
        "timeout_s": plan.timeout_s,
        "verify_tls": target.verify_tls,
        "requests_in_all": plan.requests if plan.mode == "closed" else None,
        "workers": fleet.workers,
        "rps_per_user": 1.0 if plan.stages else 0.0,
        "stages": [[s.duration_s, s.start_rps, s.end_rps] for s in plan.stages],
        "result": str(result),
    }
    source = resources.files("toombos_cli.load").joinpath("locustfile.py").read_text("utf-8")
    placeholder = "PLAN: dict[str, Any] = {}"
    return source.replace(placeholder, f"PLAN: dict[str, Any] = json.loads({json.dumps(settings)!r})", 1)


def _request(endpoint: LoadRequest) -> dict[str, Any]:
    """Return the request in parts: Locust writes host and length itself."""
    head, _, body = endpoint.request.partition(b"\r\n\r\n")
    headers: dict[str, list[str]] = {}
    for line in head.decode("latin-1").split("\r\n")[1:]:  # as its client encodes them
        name, _, value = line.partition(": ")
        known = next((one for one in headers if one.lower() == name.lower()), name)
        headers.setdefault(known, []).append(value)
    return {
        "name": endpoint.name,
        "method": endpoint.method,
        "path": endpoint.path,
        "weight": endpoint.weight,
        "headers": {
            name: values if len(values) > 1 else values[0]
            for name, values in headers.items()
            if name.lower() != "content-length"
        },
        "body": base64.b64encode(body).decode("ascii"),
    }


def _outcome(plan: LoadPlan, measured: dict[str, Any], interrupted_by: int) -> EngineResult:
    first_s, last_s, responded_s = measured["span"] if measured["rows"] else (0.0, 0.0, 0.0)
    sent_until_s = responded_s or last_s if plan.planned_s is None else min(first_s + plan.planned_s, last_s)
    results = {endpoint.name: EndpointResult(endpoint.name) for endpoint in plan.endpoints}
    expected = {endpoint.name: endpoint.script.status if endpoint.script else None for endpoint in plan.endpoints}
    timeline = Timeline()
    for name, status, error, second, bucket, count in measured["rows"]:
        result = results[name]
        interval = timeline.at(max(0, round((second + 0.5 - first_s) * 1e9)))
        interval.sent += count
        if error:
            failure = RequestFailure(error, "", "")
            known = result.failures.get(failure)
            result.failures[failure] = FailureCount(
                count + (known.count if known else 0), max(0, round((second - first_s) * 1e9)), "as Locust counted it"
            )
            if error == "timeout":
                histogram.add(result.censored.response, {bucket: count})
                histogram.add(result.censored.service, {bucket: count})
        else:
            answer = Answer(status, _is_expected(expected[name], status))
            latencies = result.by_status.setdefault(answer, Latencies())
            histogram.add(latencies.service, {bucket: count})
            histogram.add(latencies.response, {bucket: count})
            if second + 0.5 < sent_until_s or plan.planned_s is None:  # the rows are by whole seconds
                result.in_time[answer] = result.in_time.get(answer, 0) + count
        is_ok = not error and _is_expected(expected[name], status)
        interval.ok += count if is_ok else 0
        interval.err += 0 if is_ok else count
        histogram.add(interval.response, {histogram.coarse_bucket_of(bucket): count})
    sent = sum(row[5] for row in measured["rows"])
    return EngineResult(
        endpoints=list(results.values()),
        connect={},
        lag={},
        timeline=_by_second(timeline),
        scheduled=sent,
        dropped=0,
        sent_in_time=sent,
        started_ns=0,
        sending_ended_ns=round((sent_until_s - first_s) * 1e9),
        ended_ns=round((last_s - first_s) * 1e9),
        cpu_s=measured["cpu_s"],
        cpu_sending_s=measured["cpu_s"],
        connections=plan.connections,
        interrupted_by=interrupted_by,
    )


def _is_expected(expected: Statuses | None, status: int) -> bool:
    return status < 400 if expected is None else status_fits(expected, status)


def _by_second(timeline: Timeline) -> Timeline:
    """Widen the intervals to at least 0.8 s: the times of Locust's rows are whole seconds."""
    while timeline.interval_ns < 800_000_000:
        timeline.coarsen()
    return timeline


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _last_words(log: Path) -> str:
    """Return the last lines of a log file, for a message."""
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    return " | ".join(lines[-4:]) or "its log is empty"
