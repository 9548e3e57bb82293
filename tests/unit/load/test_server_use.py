"""What a loaded server used is measured to the microsecond, also in a run that is over before the next tick."""

import multiprocessing
import sys
import time

import pytest

from tests.support.ports import free_port
from toombos_cli.load.server_use import ServerWatch, Watched


def burn(port: int, pipe) -> None:
    """Listens, and for each message uses so many seconds of CPU."""
    import socket

    with socket.create_server(("127.0.0.1", port)):
        pipe.send("ready")
        while True:
            end = time.process_time() + pipe.recv()
            while time.process_time() < end:
                pass
            pipe.send("done")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere CPU time is counted in ticks")
def test_cpu_time_is_told_of_less_than_a_tick():
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
