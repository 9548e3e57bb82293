"""Profiles: parsing the stacks, and showing busy threads in full and waiting threads in one line."""

import io
from pathlib import Path
from types import SimpleNamespace

from toombos_cli.diagnose.profile import ProfileReport, ThreadStack, taken_apart
from toombos_cli.render.console import make_console
from toombos_cli.render.text.profile import show

DUMP = """Process 7: python -m shop
Python v3.11.7 (/usr/bin/python3.11)

Thread 7 (active+gil): "MainThread"
    spin (shop.py:4)
    <module> (shop.py:9)
Thread 8 (idle): "pool"
    wait (threading.py:331)
    _bootstrap (threading.py:1002)
Thread 0x7F00AA (idle)
    read (socket.py:7)
"""


def shown(*, idle: bool, verbose: bool = False) -> list[str]:
    file = io.StringIO()
    console = make_console(file, color=False)
    report = ProfileReport(
        service="shop",
        pid=7,
        stack=DUMP,
        threads=tuple(taken_apart(DUMP)),
        idle=idle,
        flame_graph=Path("/x.svg"),
        duration_s=2.0,
    )
    show(report, SimpleNamespace(stdout=console, quiet=False, verbose=verbose))
    return file.getvalue().splitlines()


def test_a_dump_is_parsed_into_names_states_and_frames():
    assert tuple(taken_apart(DUMP)) == (
        ThreadStack(name="MainThread", active=True, frames=("spin (shop.py:4)", "<module> (shop.py:9)")),
        ThreadStack(name="pool", active=False, frames=("wait (threading.py:331)", "_bootstrap (threading.py:1002)")),
        ThreadStack(name="thread 0x7F00AA", active=False, frames=("read (socket.py:7)",)),
    )


def test_text_that_is_not_a_dump_has_no_threads():
    assert tuple(taken_apart("")) == tuple(taken_apart("Error: no such process\n")) == ()


def test_waiting_threads_take_one_line_each_unless_verbose():
    assert shown(idle=False) == [
        "MainThread runs",
        "    spin (shop.py:4)",
        "    <module> (shop.py:9)",
        "pool waits in wait (threading.py:331)",
        "thread 0x7F00AA waits in read (socket.py:7)",
        "shop (pid 7) for 2 s: /x.svg",
    ]
    assert "    _bootstrap (threading.py:1002)" in shown(idle=False, verbose=True)


def test_an_idle_service_is_reported_as_idle():
    assert shown(idle=True)[-1] == "shop (pid 7) was idle for 2 s; where it waited: /x.svg"
