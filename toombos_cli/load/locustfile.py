"""The locustfile: toombos writes it out with a plan in place of `PLAN` and never imports it.

Each worker records its latencies itself, in microseconds and HDR buckets, because Locust rounds its own to two
digits. The master adds them up and writes one JSON document at the end.
"""

# mypy: disable-error-code="untyped-decorator,no-untyped-call"
# (Locust's hooks and shapes have no types.)

import base64
import errno
import json
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import gevent
import locust.runners
from geventhttpclient.response import HTTPConnectionClosed, HTTPParseError
from locust import FastHttpUser, LoadTestShape, constant_throughput, events, task
from locust.runners import MasterRunner

PLAN: dict[str, Any] = {}

_requests = [dict(one, body=base64.b64decode(one["body"])) for one in PLAN["requests"]]
_weights = [one["weight"] for one in _requests]
# Key: (endpoint, status or 0, error class or "", epoch second, bucket in microseconds)
_counted: Counter[tuple[str, int, str, int, int]] = Counter()
_issued = 0
_span = [float("inf"), 0.0, 0.0]  # epoch seconds of the first write, the last end of a request and the last response
_cpu = {"at": 0.0, "workers_s": 0.0}  # CPU seconds: at the last report, and of all workers so far
_master: dict[str, Any] = {"counted_at": time.monotonic()}
_WORKERS_REPORT_EVERY_S = 1.0
_LATE_REPORT_S = 15.0  # a worker on a busy machine may report this much later than its requests end

locust.runners.WORKER_REPORT_INTERVAL = _WORKERS_REPORT_EVERY_S


class PlannedUser(FastHttpUser):
    """A user that sends the plan's requests one after the other, or at its share of the rate."""

    host = PLAN["host"]
    connection_timeout = network_timeout = PLAN["timeout_s"]
    insecure = not PLAN["verify_tls"]
    max_retries = 0
    if PLAN["rps_per_user"]:
        wait_time = constant_throughput(PLAN["rps_per_user"])

    @task
    def send(self) -> None:
        """Send one request of the mix, unless this worker has used up its share of a fixed number of requests."""
        global _issued
        if PLAN["requests_in_all"] is not None:
            index, workers = self.environment.runner.worker_index, PLAN["workers"]
            share = PLAN["requests_in_all"] // workers + (index < PLAN["requests_in_all"] % workers)
            if _issued >= share:
                gevent.sleep(0.1)
                return
        _issued += 1
        one = random.choices(_requests, _weights)[0]  # noqa: S311  (the order of requests is not a secret)
        self.client.request(
            one["method"],
            one["path"],
            name=one["name"],
            data=one["body"],
            headers=one["headers"],
            allow_redirects=False,
        )


if PLAN["stages"]:

    class PlannedShape(LoadTestShape):
        """One user for each request per second, each sending one per second."""

        def tick(self) -> tuple[int, float] | None:
            """Return (users, users started per second) for now, or None at the end."""
            passed = self.get_run_time()
            for duration_s, start_rps, end_rps in PLAN["stages"]:
                if passed < duration_s:
                    rps = start_rps + (end_rps - start_rps) * passed / duration_s
                    return max(1, round(rps)), max(1.0, rps)
                passed -= duration_s
            return None


@events.request.add_listener
def _record(
    name: str, response_time: float, response: Any, exception: BaseException | None, start_time: float, **_: Any
) -> None:
    status = getattr(response, "status_code", 0) or 0
    error = "" if status else _class_of(exception)
    low = max(0, int(response_time * 1000))
    shift = max(0, low.bit_length() - 11)
    _counted[(name, status, error, int(time.time()), low >> shift << shift)] += 1
    now = time.time()
    _widen(start_time, now, now if status else 0.0)


def _widen(first: float, last: float, responded: float) -> None:
    _span[:] = min(_span[0], first), max(_span[1], last), max(_span[2], responded)


_CLASSES: tuple[tuple[type[BaseException], str], ...] = (
    (HTTPConnectionClosed, "eof"),
    (HTTPParseError, "malformed"),
    (ConnectionRefusedError, "refused"),
    (ConnectionError, "reset"),
    (TimeoutError, "timeout"),
)
_CLASS_OF_ERRNO = {
    errno.EADDRNOTAVAIL: "local_ports",
    errno.EMFILE: "open_files",
    errno.ENFILE: "open_files",
    errno.ENETUNREACH: "unreachable",
    errno.EHOSTUNREACH: "unreachable",
}


def _class_of(exception: BaseException | None) -> str:
    """Return the error class that toombos uses for it."""
    for kind, name in _CLASSES:
        if isinstance(exception, kind):
            return name
    return _CLASS_OF_ERRNO.get(getattr(exception, "errno", None) or 0, "system")


@events.test_start.add_listener
def _start(**_: Any) -> None:
    _cpu["at"] = time.process_time()


@events.report_to_master.add_listener
def _report(client_id: str, data: dict[str, Any]) -> None:
    now = time.process_time()
    cpu_s, _cpu["at"] = now - _cpu["at"], now
    rows = [[*key, count] for key, count in _counted.items()]
    data["toombos"] = {"rows": rows, "span": _span, "cpu_s": cpu_s}
    _counted.clear()


@events.worker_report.add_listener
def _gather(client_id: str, data: dict[str, Any]) -> None:
    """Add up the workers' counts; end the run when the requested number of requests is done."""
    for *key, count in data["toombos"]["rows"]:
        _counted[tuple(key)] += count
        _master["counted_at"] = time.monotonic()
    _widen(*data["toombos"]["span"])
    _cpu["workers_s"] += data["toombos"]["cpu_s"]
    wanted = PLAN["requests_in_all"]
    if wanted is not None and sum(_counted.values()) >= wanted and not _master.get("ending"):
        _master["ending"] = True
        gevent.spawn(_master["environment"].runner.quit)


@events.test_start.add_listener
def _watch_workers(environment: Any, **_: Any) -> None:
    """End a run of a fixed number of requests whose workers report none any more, for example because one was lost."""
    if isinstance(environment.runner, MasterRunner) and PLAN["requests_in_all"] is not None:
        _master["counted_at"] = time.monotonic()
        gevent.spawn(_end_when_silent, environment.runner)


def _end_when_silent(runner: MasterRunner) -> None:
    patience_s = PLAN["timeout_s"] + _LATE_REPORT_S
    while time.monotonic() - _master["counted_at"] < patience_s:
        gevent.sleep(1)
    connected = f"{runner.worker_count} of {PLAN['workers']} workers are connected"
    _master["gave_up"] = f"no worker has reported a request for {patience_s:.0f} s; {connected}"
    runner.quit()


@events.init.add_listener
def _remember(environment: Any, **_: Any) -> None:
    _master["environment"] = environment


@events.quitting.add_listener
def _write(environment: Any, **_: Any) -> None:
    if isinstance(environment.runner, MasterRunner):
        rows = [[*key, count] for key, count in _counted.items()]
        result = {"rows": rows, "span": _span, "cpu_s": _cpu["workers_s"], "gave_up": _master.get("gave_up")}
        Path(PLAN["result"]).write_text(json.dumps(result))
