"""A supervisor from its first moment to its last, detached or in the foreground."""

import asyncio
import signal
import socket
from collections.abc import Callable, Coroutine
from typing import Any

from toombos_cli.supervisor.background_tasks import rotate_forever, sample_forever
from toombos_cli.supervisor.control import serve
from toombos_cli.supervisor.core import Supervisor


async def supervise(
    supervisor: Supervisor,
    handed_over: socket.socket | None,
    *,
    on_signal: Callable[[signal.Signals], None] | None = None,
    alongside: Coroutine[Any, Any, None] | None = None,
) -> None:
    """Runs a supervisor until it has nothing left to do, or SIGTERM or SIGINT comes; stops every service in order then.

    With `on_signal` that is told of the signal; SIGHUP, which comes when a terminal closes, then ends it too.
    `alongside` runs from when survivors have been taken over until everything has stopped.
    """
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        if on_signal is not None:
            loop.add_signal_handler(number, on_signal, number)
        else:
            loop.add_signal_handler(number, supervisor.finished.set)
    if on_signal is not None and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # below nohup it is ignored
        loop.add_signal_handler(signal.SIGHUP, on_signal, signal.SIGHUP)
    await supervisor.begin()
    works = [sample_forever(supervisor), rotate_forever(supervisor), *([alongside] if alongside else [])]
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await serve(supervisor, handed_over)
    finally:
        await supervisor.end()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
