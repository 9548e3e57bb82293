"""What a loaded server used is told only where the system's clock of CPU time (steps of 10 ms) can tell it."""

import pytest

from tests.loading import plan_for
from tests.servers import answer, serve
from toombos_cli.load.assemble import assemble
from toombos_cli.load.engine import run_engine
from toombos_cli.load.server_use import Observed, Sample


def sample(at_ns: int, cpu_s: float) -> Sample:
    return Sample(at_ns=at_ns, cpu_s=cpu_s, rss_bytes=50_000_000, open_files=10, processes=1)


@pytest.mark.parametrize(("span_ms", "told"), [(20, None), (99, None), (100, 2.5), (5000, 2.5)])
def test_cpu_a_request_is_not_told_of_an_instant(span_ms, told):
    with serve(answer(b"ok")) as port:
        plan = plan_for(port, requests=4, connections=1, keepalive=False)
        outcome = run_engine(plan)
    began = outcome.started_ns
    observed = Observed("web", 4711, [sample(began, 1.0), sample(began + span_ms * 1_000_000, 1.01)])
    (server,) = assemble(plan, outcome, argv=(), servers=[observed]).server
    assert server.cpu_ms_per_request == told
