"""Process trees: everything that a service started, however detached."""

from collections.abc import Iterable, Mapping

from toombos_cli.processes.rows import ProcessRow


def descendants(roots: Iterable[int], table: Mapping[int, ProcessRow]) -> set[int]:
    """Return all descendants of the roots, including the roots and the members of their sessions and groups.

    The roots must have been verified against this same table: a reused pid would include a stranger's children.
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
    """Return the value of `name` in a NUL-separated environment block, or None if it is not set."""
    start = f"{name}=".encode()
    for entry in environment.split(b"\0"):
        if entry.startswith(start):
            return entry[len(start) :].decode("utf-8", "replace")
    return None
