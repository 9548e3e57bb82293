"""One look at all processes of the machine, shared by everything that needs one at that moment.

A stop of many services looks again and again until each is gone; with a look for each of them its cost would grow with
the square of their number.
"""

import asyncio
import os
import time
from collections.abc import Callable, Collection
from functools import cached_property

from toombos_cli import processes
from toombos_cli.processes import ProcessTable

_READ_ALL_EVERY_S = 60.0


class ProcessLook:
    """The processes at one moment, and whose they are. `leaders` are the main processes of services."""

    def __init__(self, table: ProcessTable, leaders: Collection[int] = ()) -> None:
        self.table = table
        self._leaders = leaders

    @classmethod
    def take(cls, leaders: Collection[int] = ()) -> "ProcessLook":
        """Return a look at the processes that run now."""
        return cls(processes.process_table(), leaders)

    def in_session(self, session: int, parent: int) -> list[int]:
        """Return the children of a process in a session."""
        rows = map(self.table.__getitem__, self.table.members.get(session, ()))
        return [row.pid for row in rows if row.session == session and row.parent == parent]

    def tagged(self, run_id: str) -> list[int]:
        """Return the processes whose environment has this tag."""
        return self._by_tag.get(run_id, [])

    @cached_property
    def _by_tag(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for pid, tag in processes.find_tagged("", self.table).items():
            found.setdefault(tag, []).append(pid)
        return found

    @cached_property
    def orphans(self) -> tuple[int, ...]:
        """The children of this process that are in no service's session: what daemons have left to it."""
        children = self.table.children.get(os.getpid(), ())
        return tuple(pid for pid in children if self.table[pid].session not in self._leaders)


class FamiliarLooks:
    """Looks that are taken again and again to find the same services' processes, and do not read known strangers anew.

    Only new processes, and children of this one, can become a service's. All are read once a minute, because a pid may
    be used again between two looks, and as soon as there is another leader.
    """

    def __init__(self) -> None:
        self._strangers: set[int] = set()
        self._leaders: frozenset[int] = frozenset()
        self._read_all_at = 0.0

    def take(self, leaders: Collection[int]) -> ProcessLook:
        """Return a look at the processes that run now, without strangers."""
        now = time.monotonic()
        if now >= self._read_all_at or not self._leaders.issuperset(leaders):
            self._strangers = set()
            self._read_all_at = now + _READ_ALL_EVERY_S
        self._leaders = frozenset(leaders)
        pids = set(processes.all_pids())
        self._strangers &= pids
        return ProcessLook(processes.process_table(pids - self._strangers), self._leaders)

    def forget_strangers(self, look: ProcessLook, ours: Collection[int]) -> None:
        """Leave out of the next looks what this one has and is not ours."""
        own = os.getpid()
        self._strangers |= {pid for pid, row in look.table.items() if pid not in ours and row.parent != own}


class SharedLooks:
    """Looks for many callers at once: who asks at about the same time gets the same one.

    Looking takes at most half of the time, however many ask.
    """

    def __init__(self, leaders: Callable[[], Collection[int]]) -> None:
        self._leaders = leaders
        self._next: asyncio.Task[ProcessLook] | None = None
        self._not_before = 0.0

    async def take(self) -> ProcessLook:
        """Return a look that was begun after this call."""
        if self._next is None:
            self._next = asyncio.create_task(self._look(), name="look at the processes")
        return await asyncio.shield(self._next)

    async def _look(self) -> ProcessLook:
        await asyncio.sleep(max(0.0, self._not_before - time.monotonic()))
        self._next = None
        began = time.monotonic()
        look = ProcessLook.take(frozenset(self._leaders()))
        ended = time.monotonic()
        self._not_before = ended + (ended - began)
        return look
