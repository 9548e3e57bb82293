"""Process trees: everything that one service started, however far it ran away."""

from collections.abc import Iterable, Mapping

from toombos_cli.processes.rows import ProcessRow


def descendants(roots: Iterable[int], table: Mapping[int, ProcessRow]) -> set[int]:
    """The roots that live and all that descend from them, joined with the members of the roots' sessions."""
    children: dict[int, list[int]] = {}
    for row in table.values():
        children.setdefault(row.parent, []).append(row.pid)
    wanted = set(roots)
    pending = [row.pid for row in table.values() if row.pid in wanted or row.session in wanted or row.group in wanted]
    found: set[int] = set()
    while pending:
        pid = pending.pop()
        if pid not in found:
            found.add(pid)
            pending.extend(children.get(pid, ()))
    return found


def carries_tag(environment: bytes, name: str, prefix: str) -> bool:
    """Whether an environment block sets `name` to a value that begins with `prefix`."""
    entry = f"{name}={prefix}".encode()
    return environment.startswith(entry) or b"\0" + entry in environment
