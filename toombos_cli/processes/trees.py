"""Process trees: everything that one service started, however far it ran away."""

from collections.abc import Iterable, Mapping

from toombos_cli.processes.rows import ProcessRow


def descendants(roots: Iterable[int], table: Mapping[int, ProcessRow]) -> set[int]:
    """All that descends from the roots, the roots and the members of their sessions and groups included.

    The roots must have been verified against this very table: a reused pid would bring a stranger's family.
    """
    children: dict[int, list[int]] = {}
    for row in table.values():
        children.setdefault(row.parent, []).append(row.pid)
    wanted = set(roots)
    pending = [row.pid for row in table.values() if wanted & {row.pid, row.session, row.group}]
    found: set[int] = set()
    while pending:
        pid = pending.pop()
        if pid not in found:
            found.add(pid)
            pending.extend(children.get(pid, ()))
    return found


def tag_in(environment: bytes, name: str) -> str | None:
    """The value of `name` in a NUL-separated environment block; None when it is not set."""
    start = f"{name}=".encode()
    for entry in environment.split(b"\0"):
        if entry.startswith(start):
            return entry[len(start) :].decode("utf-8", "replace")
    return None
