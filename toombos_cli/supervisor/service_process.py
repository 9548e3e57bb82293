"""One process of a service, from its spawn or adoption to its end: its tree, its exit code, and why it ended."""

import asyncio
import os
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any, TypeVar

from toombos_cli import processes
from toombos_cli.base.text import how_it_ended
from toombos_cli.logs.tail import last_lines
from toombos_cli.manifest.tables.service import Service
from toombos_cli.project.state import FailureKind
from toombos_cli.supervisor.protocol import ServiceFailure
from toombos_cli.supervisor.tree import Tree

_POLL_ADOPTED_S = 0.05
_SUSPENDED_S = 0.2
_LAST_LINES = 20
_T = TypeVar("_T")


class Running:
    """A service's process and its tree.

    `ended` gets the exit code, or None if it is unknown; `unwanted` gets the cause of a requested restart.
    `log_offset` is where its output starts in the log.
    """

    def __init__(
        self, service: Service, leader: processes.ProcessIdentity, run_id: str, lock: Path, *, log_offset: int = 0
    ) -> None:
        loop = asyncio.get_running_loop()
        self.tree = Tree(leader, run_id, lock)
        self.ended: asyncio.Future[int | None] = loop.create_future()
        self.unwanted: asyncio.Future[ServiceFailure] = loop.create_future()
        self.is_suspended = False
        """Whether its main process is suspended by a signal or a debugger, so that it does nothing."""
        self.suspension: asyncio.Future[None] = loop.create_future()
        """Is done as soon as `is_suspended` changes, and replaced."""
        self._service = service
        self.log_offset = log_offset

    def note_end(self, exit_code: int | None) -> None:
        """Record that the process has ended."""
        if not self.ended.done():
            self.ended.set_result(exit_code)

    def watch(self) -> None:
        """Watch for the end of a process that is not our child; its exit code stays unknown."""
        loop = asyncio.get_running_loop()
        leader = self.tree.leader
        fd = processes.open_pidfd(leader.pid)

        def ended() -> None:
            if fd is not None:
                loop.remove_reader(fd)
                os.close(fd)
            self.note_end(None)

        def look() -> None:
            if processes.is_alive(leader):
                loop.call_later(_POLL_ADOPTED_S, look)
            else:
                self.note_end(None)

        if fd is not None:
            loop.add_reader(fd, ended)
        else:  # it has already ended, or this system has no pidfds
            look()

    def note_suspension(self, suspended: bool) -> None:
        """Record what a look at the processes has shown; a profiler's suspension, which lasts a moment, is none."""
        if suspended and not self.is_suspended:
            asyncio.get_running_loop().call_later(_SUSPENDED_S, self._look_at_suspension)
        elif not suspended:
            self._set_suspended(suspended=False)

    def _look_at_suspension(self) -> None:
        row = processes.read_row(self.tree.leader.pid)
        self._set_suspended(suspended=row is not None and row.stopped and not self.ended.done())

    def _set_suspended(self, *, suspended: bool) -> None:
        if suspended != self.is_suspended:
            self.is_suspended = suspended
            changed, self.suspension = self.suspension, asyncio.get_running_loop().create_future()
            changed.set_result(None)

    @property
    def exit_code(self) -> int | None:
        """The exit code; None while it runs, or if it is unknown."""
        return self.ended.result() if self.ended.done() else None

    async def unless_ended(self, work: Coroutine[Any, Any, _T]) -> _T | None:
        """Return the result of `work`, or None as soon as the process has ended."""
        task = asyncio.ensure_future(work)
        try:
            either: set[asyncio.Future[Any]] = {task, self.ended}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            return None if self.ended.done() else task.result()
        finally:
            task.cancel()

    def why_it_ended(self) -> ServiceFailure:
        """Return the cause of its end, for a person."""
        name, code = self._service.name, self.exit_code
        if code is None:
            return ServiceFailure(
                service=name, kind=FailureKind.EXITED, message="its process ended (exit code unknown)"
            )
        if code in self._service.exit_codes_of_invalid_configuration:
            message = f"it refused its configuration (exit code {code})"
            return ServiceFailure(
                service=name, kind=FailureKind.CONFIGURATION, message=message, command=("config", "check")
            )
        left = self.tree.members(look_for_tag=True) if code == 0 else {}
        if left:
            message = f"its process ended and left {processes.named(min(left))} in the background"
            hint = "run the program in the foreground (no --daemon): the supervisor puts it in the background"
            return ServiceFailure(service=name, kind=FailureKind.BACKGROUND, message=message, hint=hint)
        message = f"its process {how_it_ended(code)}"
        task = self._service.task_hint(code)
        command = () if task else ("logs", name)
        return ServiceFailure(service=name, kind=FailureKind.EXITED, message=message, hint=task, command=command)

    def last_lines(self, log: Path, environment: Mapping[str, str]) -> tuple[str, ...]:
        """Return the last lines that it printed to its log, without the secrets of its environment."""
        return last_lines(str(log), self.log_offset, _LAST_LINES, environment)
