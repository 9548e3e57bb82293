"""A copy of a running MariaDB's data directory as of one moment, by its own mariadb-backup."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from toombos_cli import processes
from toombos_cli.backup.living.finding import unix_sockets
from toombos_cli.backup.living.owners_programs import OwnersPrograms
from toombos_cli.base.errors import OperationError
from toombos_cli.base.programs import find_program

PROGRAM = "mariadbd"
"""The server's name; that of MySQL, which mariadb-backup does not understand, is mysqld."""
_NOT_DATA = ("backup-my.cnf", "xtrabackup_", "mariadb_backup_")


def mariadb_copy(directory: bytes, pid: int, scratch: Path, timeout_s: float) -> Path:
    """Write the files of the MariaDB with this pid that runs in `directory` below `scratch`; return where they are.

    The owner of the directory and `root` are tried as users of the database, without a password. Raise OperationError
    with the last reason.
    """
    program = find_program("mariadb-backup")
    if program is None:
        raise OperationError("mariadb-backup is not installed")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MYSQL", "MARIADB"))}
    reason = "its server listens on no socket of this machine"
    with OwnersPrograms(directory, scratch) as owners:
        for number, (place, user) in enumerate(_logins(pid, owners.owner.st_uid)):
            target = f"--target-dir={owners.reach(str(number))}"
            backup = [program, "--no-defaults", "--backup", target, f"--datadir={os.fsdecode(directory)}"]
            done, said = owners.run([*backup, f"--user={user}", *place], kept, timeout_s)
            if done:
                done, said = owners.run([program, "--no-defaults", "--prepare", target], kept, timeout_s)
            if done:
                return _without_notes(scratch / str(number))
            reason = _reason(said)
    raise OperationError(f"mariadb-backup: {reason}")


def _logins(pid: int, uid: int) -> Iterator[tuple[tuple[str, ...], str]]:
    import pwd

    users = []
    with contextlib.suppress(KeyError):  # a container's user has no name here
        users.append(pwd.getpwuid(uid).pw_name)
    at = processes.working_directory(pid) or "/"
    places = [(f"--socket={os.path.join(at, path)}",) for path in unix_sockets(pid) if not path.startswith("\0")]
    for user in dict.fromkeys((*users, "root")):
        for place in places:
            yield place, user


def _without_notes(copy: Path) -> Path:
    """Remove what mariadb-backup notes for itself, which is none of the server's files."""
    for path in copy.iterdir():
        if path.name.startswith(_NOT_DATA):
            path.unlink()
    return copy


def _reason(said: str) -> str:
    """Return the last line of a program that says something other than its progress."""
    lines = [line for line in said.splitlines() if line.strip() and "[Note]" not in line]
    return lines[-1] if lines else "failed without a message"
