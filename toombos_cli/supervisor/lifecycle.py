"""The life of a supervisor, detached or in the foreground, and its periodic work."""

import asyncio
import signal
import socket
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toombos_cli.manifest.tables.logs import Logs
from toombos_cli.supervisor.control import serve
from toombos_cli.supervisor.core import Supervisor

if TYPE_CHECKING:
    from toombos_cli.logs.rotation import LogFile

_FIRST_SAMPLE_S, _SAMPLE_EVERY_S = 1.0, 5.0
_LOGS_EVERY_S = 1.0


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
            loop.add_signal_handler(number, supervisor.finished.set)
    if on_signal is not None and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup ignores it
        loop.add_signal_handler(signal.SIGHUP, on_signal, signal.SIGHUP)
    await supervisor.begin()
    works = [_sample_forever(supervisor), _rotate_forever(supervisor), *([alongside] if alongside else [])]
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await serve(supervisor, handed_over)
    finally:
        await supervisor.end()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # An alert's sender may end while the loop closes, which by then has closed what its handler writes to.
        loop.remove_signal_handler(signal.SIGCHLD)


async def _sample_forever(supervisor: Supervisor) -> None:
    """Keep the figures up to date, and retry a failed write of the state."""
    pause_s = _FIRST_SAMPLE_S
    while True:
        await asyncio.sleep(pause_s)
        pause_s = _SAMPLE_EVERY_S
        supervisor.figures.take(supervisor.units)
        supervisor.write_again()


async def _rotate_forever(supervisor: Supervisor) -> None:
    """Rotate each log that is due, one after the other, in a thread: a disk may be slow."""
    await asyncio.sleep(_LOGS_EVERY_S)
    # Not before the services are spawned, which wait for our imports; but before an upgrade replaces our files.
    from toombos_cli.base import redaction  # noqa: F401  (used if something goes wrong)
    from toombos_cli.logs import lines  # noqa: F401  (used if something goes wrong)
    from toombos_cli.logs.rotation import LogFile
    from toombos_cli.probes import command, web_page, xml_document  # noqa: F401  (used when a service responds)
    from toombos_cli.settings import env_file  # noqa: F401  (used if something goes wrong)

    while True:
        await asyncio.sleep(_LOGS_EVERY_S)
        settings = supervisor.plan.logs if supervisor.plan else Logs()
        for unit in tuple(supervisor.units.values()):
            log = LogFile(Path(unit.service.log), supervisor.run.rotation(unit.name))
            removed = f"{log.path} was removed: the output of {unit.name} is lost until it is restarted"
            supervisor.note(f"log of {unit.name}", removed if unit.state.pid and not log.path.exists() else None)
            log.note_beginning(time.time())
            if log.is_due(settings, time.time()):
                supervisor.note(f"rotation of {unit.name}", await asyncio.to_thread(_rotate, log, settings))


def _rotate(log: "LogFile", settings: Logs) -> str | None:
    """Rotate the log and return a warning, if any."""
    try:
        log.rotate(settings, time.time())
    except OSError as error:
        return f"{log.path} was not rotated: {error.strerror or error}"
    if log.record().lossless:
        return None
    return f"{log.path}: its file system cannot cut a file, so a rotation may lose lines"
