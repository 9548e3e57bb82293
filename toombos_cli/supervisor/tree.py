"""The processes of one service, including those that have detached themselves, and how all of them are ended."""

import asyncio
import os
import signal
from collections.abc import Iterable
from pathlib import Path

from toombos_cli import processes
from toombos_cli.processes import ProcessIdentity, ProcessRow, ProcessTable

_UNKILLABLE_AFTER_S = 5.0
_FIRST_LOOK_S, _LAST_LOOK_S = 0.005, 0.1


class StubbornError(Exception):
    """Processes that SIGKILL did not end: they are stuck in the kernel, for example on a dead network disk, or are
    another user's (`sudo`, set-user-id programs), which we may not signal."""

    def __init__(self, pids: Iterable[int]) -> None:
        named = ", ".join(f"pid {pid} ({processes.command_line(pid) or 'gone'})" for pid in sorted(pids))
        super().__init__(f"could not be ended, stuck in the kernel or another user's: {named}")


class Tree:
    """A leader and all its descendants.

    Members are found by parent, by the leader's session, by having been seen before (so that a process that cleared
    its environment and detached is still known) and, on demand, by the tag in the environment and by the service's
    lock, which an orphan that overwrote its environment (nginx as a daemon) still holds.
    Each member is verified by pid and start ticks against the same read of the process table.
    """

    def __init__(self, leader: ProcessIdentity, run_id: str, lock: Path | None = None) -> None:
        self.leader = leader
        self.run_id = run_id
        self._lock = lock
        self._seen: dict[int, int] = {leader.pid: leader.start_ticks}

    def members(self, table: ProcessTable | None = None, *, look_for_tag: bool = False) -> dict[int, ProcessRow]:
        """Return the living members (no zombies) by pid."""
        table = processes.process_table() if table is None else table
        own = os.getpid()
        roots = {pid for pid, ticks in self._seen.items() if pid in table and table[pid].start_ticks == ticks}
        # An orphan is reparented to this process, its subreaper; the session still shows whose it was.
        children = table.children.get(own, ())
        roots |= {pid for pid in children if table[pid].session == self.leader.pid}
        if look_for_tag:
            roots |= processes.find_tagged(self.run_id, table).keys()
            if self._lock is not None:  # only children: to search all processes takes too long
                roots |= set(processes.lock_holders(self._lock, children))
        roots.discard(own)
        found = {pid: table[pid] for pid in processes.descendants(roots, table) if pid != own}
        living = {pid: row for pid, row in found.items() if not row.zombie}
        self._seen = {pid: row.start_ticks for pid, row in living.items()}
        if self.leader.pid in found:  # a zombie leader keeps its pid from being reused until it is reaped
            self._seen[self.leader.pid] = self.leader.start_ticks
        return living

    async def end(self, grace_s: float) -> bool:
        """End every member; return whether some had to be killed. Raises StubbornError.

        SIGTERM goes to the leader, which knows its workers best, and to the others when it is gone; SIGCONT lets a
        stopped process handle it. What is left after the grace period is killed. It ends when another search for the
        tag finds nothing.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + grace_s
        asked: set[int] = set()
        killed = False
        pause_s = _FIRST_LOOK_S
        while members := self.members() or self.members(look_for_tag=True):
            now = loop.time()
            if now >= deadline + _UNKILLABLE_AFTER_S:
                raise StubbornError(members)
            if now >= deadline:
                if not self._signal(members, signal.SIGKILL) and members.keys() == self.members().keys():
                    raise StubbornError(members)  # none of them may be signalled: waiting is useless
                killed = True
            else:
                targets = {self.leader.pid} if self.leader.pid in members else set(members)
                self._signal({pid: members[pid] for pid in targets - asked}, signal.SIGTERM, signal.SIGCONT)
                asked |= targets
            await asyncio.sleep(min(pause_s, max(deadline - now, _FIRST_LOOK_S)))
            pause_s = min(pause_s * 1.5, _LAST_LOOK_S)
        return killed

    def _signal(self, members: dict[int, ProcessRow], *numbers: int) -> bool:
        """Signal the members; report whether at least one was reached."""
        reached = False
        for pid, row in members.items():
            identity = ProcessIdentity(
                boot_id=self.leader.boot_id,
                pid_namespace=self.leader.pid_namespace,
                pid=pid,
                start_ticks=row.start_ticks,
            )
            for number in numbers:
                reached |= processes.send_signal(identity, number)
        return reached
