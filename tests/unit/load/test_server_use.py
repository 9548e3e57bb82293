"""CPU time of the loaded server, measured to the microsecond even if the run is shorter than a clock tick."""

import multiprocessing
import sys
import time

import pytest

from tests.support.ports import free_port
from toombos_cli.load.server_use import ServerWatch, Watched


def burn(port: int, pipe) -> None:
    """Listen on the port, and use as many seconds of CPU as each message asks for."""
    import socket

    with socket.create_server(("127.0.0.1", port)):
        pipe.send("ready")
        while True:
            end = time.process_time() + pipe.recv()
            while time.process_time() < end:
                pass
            pipe.send("done")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts CPU time more finely than in clock ticks")
def test_cpu_time_below_a_clock_tick_is_measured():
    port = free_port()
    mine, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=burn, args=(port, theirs), daemon=True)
    server.start()
    try:
        assert mine.recv() == "ready"
        with ServerWatch((Watched(name="web", host="127.0.0.1", port=port),)) as watch:
            mine.send(0.004)
            assert mine.recv() == "done"
        (observed,) = watch.observed
    finally:
        server.kill()
    used_s = observed.samples[-1].cpu_s - observed.samples[0].cpu_s
    assert 0.004 <= used_s < 0.009
