"""Process trees: everything that a service started, however detached."""

from collections import defaultdict
from collections.abc import Iterable
from functools import cached_property

from toombos_cli.processes.rows import ProcessRow


class ProcessTable(dict[int, ProcessRow]):
    """The rows of one read of the process table by pid. It must not be changed."""

    @cached_property
    def children(self) -> dict[int, list[int]]:
        """The pids of each process's children."""
        found = defaultdict(list)
        for row in self.values():
            found[row.parent].append(row.pid)
        return found

    @cached_property
    def members(self) -> dict[int, list[int]]:
        """The pids in each session and group."""
        found = defaultdict(list)
        for row in self.values():
            for leader in {row.session, row.group}:
                found[leader].append(row.pid)
        return found


def descendants(roots: Iterable[int], table: ProcessTable) -> set[int]:
    """Return all descendants of the roots, including the roots and the members of their sessions and groups.

    The roots must have been verified against this same table: a reused pid would include a stranger's children.
    """
    found: set[int] = set()
    pending = [pid for root in roots for pid in (root, *table.members.get(root, ())) if pid in table]
    while pending:
        pid = pending.pop()
        if pid not in found:
            found.add(pid)
            pending.extend(table.children.get(pid, ()))
    return found


def tag_in(environment: bytes, name: str) -> str | None:
    """Return the value of `name` in a NUL-separated environment block, or None if it is not set."""
    start = f"{name}=".encode()
    for entry in environment.split(b"\0"):
        if entry.startswith(start):
            return entry[len(start) :].decode("utf-8", "replace")
    return None
