"""One share of a load test, in a process that a Locust worker starts: `python -m toombos_cli.load.share`.

It gets the share and the word to begin on its standard input, and writes its progress and its result to its standard
output, in the frames of `load/frames.py`.
"""

import contextlib
import os
import pickle
import signal
import sys
from collections.abc import Callable
from typing import BinaryIO

import msgspec

from toombos_cli.base.errors import ToombosError
from toombos_cli.load.engine.file_limit import raise_file_limit
from toombos_cli.load.engine.fleet import run_engine
from toombos_cli.load.engine.recorder import EngineResult
from toombos_cli.load.frames import read_frame, write_frame
from toombos_cli.load.observer import LoadObserver, Snapshot
from toombos_cli.load.plan import LoadPlan

IsLost = Callable[[EngineResult], bool]


def main() -> None:
    """Run the share that standard input describes. It ends early on SIGTERM and if the worker is gone."""
    output = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints is no frame
    first = read_frame(sys.stdin.buffer)
    if first is None:
        return
    share: tuple[LoadPlan, IsLost | None] = pickle.loads(first.data)  # noqa: S301  (the worker runs the master's code)
    try:
        raise_file_limit(share[0])
    except ToombosError as error:
        write_frame(output, "failed", str(error).encode())
        return
    write_frame(output, "ready")
    if read_frame(sys.stdin.buffer) is not None:
        _run(*share, output)


def _run(plan: LoadPlan, is_lost: IsLost | None, output: BinaryIO) -> None:
    parent = os.getppid()

    def report(snapshot: Snapshot) -> None:
        with contextlib.suppress(OSError):  # the worker is gone, which ends the run
            write_frame(output, "snapshot", msgspec.msgpack.encode(snapshot))

    def ends(outcome: EngineResult) -> bool:
        return os.getppid() != parent or (is_lost is not None and is_lost(outcome))

    observer = LoadObserver(on_snapshot=report, is_lost=ends)
    outcome = run_engine(plan, observer=observer, stop_signals=(signal.SIGTERM,))
    write_frame(output, "result", msgspec.msgpack.encode(outcome))


if __name__ == "__main__":
    main()
