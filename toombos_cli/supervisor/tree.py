"""The processes of one service, including those that have detached themselves, and how all of them are ended."""

import asyncio
import os
import signal
from collections.abc import Iterable
from pathlib import Path

from toombos_cli import processes
from toombos_cli.processes import ProcessIdentity, ProcessRow
from toombos_cli.supervisor.asking import Asking
from toombos_cli.supervisor.process_look import ProcessLook, SharedLooks
from toombos_cli.supervisor.protocol import KilledProcess

_UNKILLABLE_AFTER_S = 5.0
_FIRST_LOOK_S, _LAST_LOOK_S = 0.005, 0.1


class StubbornError(Exception):
    """Processes that SIGKILL did not end: they are stuck in the kernel, for example on a dead network disk, or are
    another user's (`sudo`, set-user-id programs), which we may not signal."""

    def __init__(self, pids: Iterable[int]) -> None:
        named = ", ".join(map(processes.named, sorted(pids)))
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

    def members(self, look: ProcessLook | None = None, *, look_for_tag: bool = False) -> dict[int, ProcessRow]:
        """Return the living members (no zombies) by pid."""
        look = look or ProcessLook.take({self.leader.pid})
        own, table = os.getpid(), look.table
        roots = {pid for pid, ticks in self._seen.items() if pid in table and table[pid].start_ticks == ticks}
        # An orphan is reparented to this process, its subreaper; the session still shows whose it was.
        roots.update(look.in_session(self.leader.pid, own))
        if look_for_tag:
            roots.update(look.tagged(self.run_id))
            if self._lock is not None:  # only orphans: to search all processes takes too long
                roots.update(processes.lock_holders(self._lock, look.orphans))
        roots.discard(own)
        found = {pid: table[pid] for pid in processes.descendants(roots, table) if pid != own}
        living = {pid: row for pid, row in found.items() if not row.zombie}
        self._seen = {pid: row.start_ticks for pid, row in living.items()}
        if self.leader.pid in found:  # a zombie leader keeps its pid from being reused until it is reaped
            self._seen[self.leader.pid] = self.leader.start_ticks
        return living

    async def is_running(self, looks: SharedLooks) -> bool:
        """Report whether a member lives, also by its tag or lock."""
        return bool(self.members(await looks.take(), look_for_tag=True))

    async def end(self, asking: Asking, looks: SharedLooks) -> tuple[KilledProcess, ...]:
        """End every member; return those that had to be killed. Raises StubbornError.

        Members are asked first. SIGCONT lets a stopped process handle the signal. It ends when another search for the
        tag finds nothing.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        killed: dict[int, KilledProcess] = {}
        pause_s = _FIRST_LOOK_S
        while members := self._all_members(await looks.take()):
            elapsed_s = loop.time() - began
            left_s = asking.grace_s - elapsed_s
            if left_s <= -_UNKILLABLE_AFTER_S:
                raise StubbornError(members)
            if left_s <= 0:
                new = self._kill(members)
                if not new and members.keys() == self._all_members(await looks.take()).keys():
                    raise StubbornError(members)  # none of them may be signalled: waiting is useless
                killed |= new
            else:
                for pid, number in asking.due(members.keys(), elapsed_s):
                    self._signal(members[pid], number)
                    self._signal(members[pid], signal.SIGCONT)
            await asyncio.sleep(min(pause_s, max(left_s, _FIRST_LOOK_S)))
            pause_s = min(pause_s * 1.5, _LAST_LOOK_S)
        return tuple(killed.values())

    def _all_members(self, look: ProcessLook) -> dict[int, ProcessRow]:
        """Return the members, by their tag or lock if there are no others."""
        return self.members(look) or self.members(look, look_for_tag=True)

    def _kill(self, members: dict[int, ProcessRow]) -> dict[int, KilledProcess]:
        """Kill the members, the leader first, which could start others; return those that were reached."""
        pids = sorted(members, key=lambda pid: (pid != self.leader.pid, pid))
        named = {pid: KilledProcess(pid=pid, command=processes.command_line(pid) or "") for pid in pids}
        return {pid: named[pid] for pid in pids if self._signal(members[pid], signal.SIGKILL)}

    def _signal(self, row: ProcessRow, number: int) -> bool:
        """Signal a member; report whether it was reached."""
        identity = ProcessIdentity(
            boot_id=self.leader.boot_id,
            pid_namespace=self.leader.pid_namespace,
            pid=row.pid,
            start_ticks=row.start_ticks,
        )
        return processes.send_signal(identity, number)
