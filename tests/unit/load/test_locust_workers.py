"""The workers of a Locust run: who may take part, when the load begins, and what ends it."""

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from tests.support.loading import at_rate, plan_for
from toombos_cli import __version__
from toombos_cli.base.errors import OperationError, UsageError
from toombos_cli.load.engine.recorder import Answer, EndpointResult, EngineResult, Latencies
from toombos_cli.load.engine.timeline import Timeline
from toombos_cli.load.frames import Frame, FrameBuffer, packed
from toombos_cli.load.locust import LocustFleet, check_locust
from toombos_cli.load.locust_workers import Workers
from toombos_cli.load.observer import LoadObserver, Snapshot
from toombos_cli.load.plan import LoadPlan
from toombos_cli.probes.endpoint import Endpoint

PLAN = plan_for(1, requests=5, connections=3, processes=2)
RESULT = EngineResult(
    endpoints=[EndpointResult("GET /", by_status={Answer(200, True): Latencies({100: 2}, {100: 2}, {100: 2})})],
    connect={},
    lag={},
    timeline=Timeline(),
    scheduled=2,
    dropped=0,
    sent_in_time=2,
    started_ns=77_000_000_000,
    sending_ended_ns=78_000_000_000,
    ended_ns=79_000_000_000,
    cpu_s=0.1,
    cpu_sending_s=0.1,
    connections=2,
)
SNAPSHOT = Snapshot(
    elapsed_s=1.0,
    warming_up=False,
    sent=5,
    ok=4,
    failed=1,
    inflight=0,
    rate_rps=5.0,
    recent={100: 5},
    responses={100: 5},
    failures={"500": 1},
)


class Run:
    """Workers without Locust: `sent` has what they got."""

    def __init__(self, plan: LoadPlan = PLAN, observer: LoadObserver | None = None) -> None:
        self.sent: list[tuple[str, str, bytes]] = []
        self.workers = Workers(plan, observer or LoadObserver(), lambda *frame: self.sent.append(frame))

    def hello(self, name: str, version: str = __version__) -> None:
        data = msgspec.msgpack.encode({"version": version, "host": f"host-{name}", "pid": 7})
        self.workers.receive(Frame(name, "hello", data))

    def say(self, name: str, kind: str, data: bytes = b"") -> None:
        self.workers.receive(Frame(name, kind, data))

    def begin(self) -> None:
        for name in "ab":
            self.hello(name)
            self.say(name, "ready")

    def kinds(self, name: str) -> list[str]:
        return [kind for to, kind, _ in self.sent if to == name]


def result(**changes: object) -> bytes:
    return msgspec.msgpack.encode(replace(RESULT, **changes))


@pytest.mark.parametrize("size", [1, 7, 1000], ids=["bytes", "pieces", "all at once"])
def test_frames_arrive_in_any_pieces(size: int):
    sent = [Frame("a", "ready", b""), Frame("b", "result", b"x" * 50), Frame("", "stop", b"")]
    data = b"".join(packed(kind, content, worker) for worker, kind, content in sent)
    buffer = FrameBuffer()
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    assert [frame for piece in pieces for frame in buffer.feed(piece)] == sent


def test_the_load_begins_once_every_worker_is_ready():
    run = Run()
    for name in "aab":  # a worker introduces itself until it gets an answer
        run.hello(name)
    run.say("a", "ready")
    assert (run.kinds("a"), run.kinds("b")) == (["share"], ["share"])
    run.say("b", "ready")
    assert (run.kinds("a"), run.kinds("b")) == (["share", "begin"], ["share", "begin"])


def test_the_shares_make_up_the_plan():
    run = Run()
    run.begin()
    shares = [pickle.loads(data)[0] for _, kind, data in run.sent if kind == "share"]  # noqa: S301
    assert [(share.requests, share.connections, share.part) for share in shares] == [(3, 2, (0, 2)), (2, 1, (1, 2))]


def test_one_worker_more_than_asked_for_gets_nothing():
    run = Run()
    run.begin()
    run.hello("c")
    run.say("c", "lost")
    assert run.kinds("c") == []


def test_the_result_is_the_sum_on_the_clock_of_this_machine():
    run = Run()
    run.begin()
    run.say("a", "result", result())
    assert not run.workers.is_complete
    run.say("b", "result", result(started_ns=0, sending_ended_ns=1_500_000_000, ended_ns=2_000_000_000))
    for name in "ab":
        run.say(name, "ended", b"0")
    assert run.workers.is_complete
    merged = run.workers.merged()
    assert (merged.scheduled, merged.duration_s, merged.sending_s) == (4, 2.0, 1.5)
    assert run.workers.hosts == ("host-a", "host-b")


def test_the_progress_of_all_workers_is_shown_together():
    seen: list[Snapshot] = []
    run = Run(observer=LoadObserver(on_snapshot=seen.append))
    run.begin()
    run.say("a", "snapshot", msgspec.msgpack.encode(SNAPSHOT))
    assert seen == []
    run.say("b", "snapshot", msgspec.msgpack.encode(SNAPSHOT))
    assert [(one.sent, one.rate_rps) for one in seen] == [(10, 10.0)]


def test_a_worker_that_gives_up_stops_the_others():
    run = Run()
    run.begin()
    run.say("a", "result", result(aborted=True))
    assert run.kinds("b")[-1] == "stop"
    assert "stop" not in run.kinds("a")


def refuse_the_share(run: Run) -> None:
    run.hello("a")
    run.say("a", "failed", b"the limit is 64")


def lose_before_the_start(run: Run) -> None:
    run.hello("a")
    run.say("a", "lost")


def lose_during_the_run(run: Run) -> None:
    run.begin()
    run.say("b", "snapshot", msgspec.msgpack.encode(SNAPSHOT))
    run.say("a", "lost")


def lose_the_process_of_a_share(run: Run) -> None:
    run.begin()
    run.say("a", "ended", b"-9")


ENDS: dict[str, tuple[Callable[[Run], None], str]] = {
    "a worker without toombos": (lambda run: run.hello("a", ""), r"worker on host-a \(pid 7\) has no toombos"),
    "a worker of another version": (lambda run: run.hello("a", "0.1"), rf"has toombos 0\.1, and this is {__version__}"),
    "a worker that cannot open enough files": (
        refuse_the_share,
        "the limit is 64",
    ),
    "a worker that ends before the start": (lose_before_the_start, r"host-a \(pid 7\) ended before the run began"),
    "a worker that is lost": (lose_during_the_run, r"host-a .* was lost 0 s after the start; 5 requests had been"),
    "a result that nobody understands": (
        lambda run: (run.begin(), run.say("a", "result", b"\xc1\xc1"))[1],
        "a worker has sent a result that cannot be read",
    ),
    "a process that is killed": (lose_the_process_of_a_share, "was lost 0 s after the start; 0 requests"),
}


@pytest.mark.parametrize(("end", "message"), ENDS.values(), ids=ENDS)
def test_a_run_has_no_result_with(end: Callable[[Run], None], message: str):
    with pytest.raises(OperationError, match=message):
        end(Run())


REMOTE = LocustFleet(workers=2, master_host="10.0.0.1")
UNIX = replace(PLAN.target, address="unix:/run/s", endpoint=Endpoint(unix=Path("/run/s")))
FAR = replace(PLAN.target, address="10.0.0.9")
REFUSED = {
    "no workers": (PLAN, LocustFleet(workers=0), "must be above 0, not 0"),
    "more workers than connections": (PLAN, LocustFleet(workers=5), "5 workers cannot share 3 connections"),
    "more workers than connections in an open loop": (
        replace(PLAN, requests=None, **at_rate(9, 1), max_connections=1),
        LocustFleet(workers=2),
        "2 workers cannot share 1 connection",
    ),
    "several processes of each worker": (PLAN, LocustFleet(workers=2), "each Locust worker is one process"),
    "the loopback of other machines": (PLAN, REMOTE, "workers on other machines would each load their own"),
    "a socket of other machines": (
        replace(PLAN, target=UNIX),
        REMOTE,
        "workers on other machines would each load their own",
    ),
    "certificate files on other machines": (
        replace(PLAN, target=replace(FAR, endpoint=Endpoint(ca_file=Path("ca.pem")))),
        REMOTE,
        "workers on other machines do not have the certificate files",
    ),
}


@pytest.mark.parametrize(("plan", "fleet", "message"), REFUSED.values(), ids=REFUSED)
def test_workers_cannot_have(plan: LoadPlan, fleet: LocustFleet, message: str):
    processes = 2 if "one process" in message else 1
    with pytest.raises(UsageError, match=message):
        check_locust(replace(plan, processes=processes), fleet)


@pytest.mark.parametrize(
    ("plan", "fleet"),
    [(PLAN, LocustFleet(workers=2)), (replace(PLAN, target=UNIX), LocustFleet(workers=2, master_host="127.0.0.2"))],
    ids=["a target of this machine", "a socket, by a master on the loopback"],
)
def test_workers_on_this_machine_can_have(plan: LoadPlan, fleet: LocustFleet):
    check_locust(replace(plan, processes=1), fleet)


def test_a_run_says_how_the_workers_that_it_waits_for_are_started():
    assert REMOTE.awaited == "waiting for 2 workers, on each machine: locust -f - --worker --master-host 10.0.0.1"


def test_a_warm_up_is_before_the_start():
    run = Run(replace(PLAN, requests=None, **at_rate(10, 1), warmup_s=5.0))
    run.begin()
    for name in "ab":
        run.say(name, "result", result())
    merged = run.workers.merged()
    assert merged.started_ns - run.workers._began_ns == 5_000_000_000
    assert merged.ended_ns - merged.started_ns == 2_000_000_000
