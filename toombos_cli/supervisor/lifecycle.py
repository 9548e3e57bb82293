"""The life of a supervisor, detached or in the foreground, and its periodic work."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

from toombos_cli.manifest.tables.logs import Logs
from toombos_cli.supervisor.control import serve
from toombos_cli.supervisor.core import Supervisor
from toombos_cli.supervisor.log_keeper import LogKeeper
from toombos_cli.supervisor.unit import ServiceUnit

_FIRST_SAMPLE_S = 1.0
_IMPORTS_AFTER_S = 1.0


async def supervise(
    supervisor: Supervisor,
    handed_over: socket.socket | None,
    *,
    on_signal: Callable[[signal.Signals], None] | None = None,
    alongside: Coroutine[Any, Any, None] | None = None,
) -> None:
    """Run a supervisor until it has nothing left to do or gets SIGTERM or SIGINT; then stop every service in order.

    `on_signal`, if given, is called with the signal, and SIGHUP, sent when a terminal closes, then ends it too.
    `alongside` runs from the adoption of survivors until everything has stopped.
    """
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        if on_signal is not None:
            loop.add_signal_handler(number, on_signal, number)
        else:
            loop.add_signal_handler(number, supervisor.leave_by, number)
    if on_signal is not None and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup ignores it
        loop.add_signal_handler(signal.SIGHUP, on_signal, signal.SIGHUP)
    _take_signals()
    await supervisor.begin()
    works = [_sample_forever(supervisor), _import_late(), *([alongside] if alongside else [])]
    tasks = [asyncio.create_task(work) for work in works]
    keeper = _log_keeper(supervisor)
    keeper.begin()
    try:
        await serve(supervisor, handed_over)
    finally:
        await supervisor.end()
        keeper.end()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # An alert's sender may end while the loop closes, which by then has closed what its handler writes to.
        loop.remove_signal_handler(signal.SIGCHLD)


def _take_signals() -> None:
    """Accept the signals that the parent has blocked, and go on ignoring those that it ignores, but not the services.

    A program inherits what is ignored, but not a handler. Python resets SIGPIPE and SIGXFSZ for each child itself.
    """
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ}:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


async def _sample_forever(supervisor: Supervisor) -> None:
    """Keep the figures up to date, and retry a failed write of the state."""
    pause_s = _FIRST_SAMPLE_S
    while True:
        await asyncio.sleep(pause_s)
        supervisor.figures.take(supervisor.units)
        pause_s = supervisor.figures.pause_s(supervisor.units)
        supervisor.write_again()


async def _import_late() -> None:
    """Import what is used if something goes wrong.

    Not before the services are spawned, which wait for our imports; but before an upgrade replaces our files.
    """
    await asyncio.sleep(_IMPORTS_AFTER_S)
    from toombos_cli.base import redaction  # noqa: F401
    from toombos_cli.logs import cutting, lines, rotation  # noqa: F401
    from toombos_cli.probes import command, web_page, xml_document  # noqa: F401
    from toombos_cli.settings import env_file  # noqa: F401


def _log_keeper(supervisor: Supervisor) -> LogKeeper:
    """Return the keeper of the logs of all units; what it reports is carried out in the event loop."""
    loop = asyncio.get_running_loop()

    def in_loop(work: Callable[..., None], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(work, *arguments)

    def units_with(log: Path) -> list[ServiceUnit]:
        return [unit for unit in supervisor.units.values() if unit.log == log]

    def logs() -> list[str]:
        if supervisor.is_homeless:
            return []
        project, units = supervisor.run.project, tuple(supervisor.units.values())
        return [unit.service.log if unit.place is project else str(unit.log) for unit in units]

    def warn(log: Path, warning: str | None) -> None:
        supervisor.note(f"rotation of {log}", warning)

    def note_content(log: Path, cut: int | None) -> None:
        for unit in units_with(log):
            unit.note_log(cut)

    return LogKeeper(
        paths=logs,
        settings=lambda: supervisor.plan.logs if supervisor.plan else Logs(),
        record_of=lambda log: supervisor.run.rotation(log),  # the project may be moved
        on_warning=partial(in_loop, warn),
        on_new_content=partial(in_loop, note_content),
    )
