"""A base backup of a running PostgreSQL server: its whole data directory, as of one moment.

pg_basebackup runs as the user of the server, who may connect through its socket and whose the files stay.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from toombos_cli.backup.living.owners_programs import OwnersPrograms
from toombos_cli.backup.postgres import Postgres, postgres_program
from toombos_cli.base.errors import OperationError

_LOOK_S = 0.1
_MANIFEST = "backup_manifest"  # as large as the list of files, and every archive has its own checksums


@dataclass(frozen=True, slots=True, kw_only=True)
class Postmaster:
    """Where a running server listens, by its postmaster.pid, and whether it has yet to become ready."""

    port: int
    hosts: tuple[str, ...]
    is_starting: bool

    @classmethod
    def of(cls, directory: bytes) -> "Postmaster | None":
        """Return what the file in a data directory says, or None if there is none."""
        try:
            lines = Path(os.fsdecode(directory), "postmaster.pid").read_text().splitlines()
            port, socket, address = int(lines[3]), lines[4].strip(), lines[5].strip()
        except (OSError, ValueError, IndexError):
            return None
        address = "localhost" if address == "*" else address
        status = lines[7].strip() if len(lines) > 7 else ""
        return cls(port=port, hosts=tuple(host for host in (socket, address) if host), is_starting=status == "starting")


def wait_while_starting(directory: bytes, timeout_s: float) -> None:
    """Wait until the server in a data directory takes connections: after a crash it first repeats its log.

    Raise OperationError if it takes longer than `timeout_s`; return at once if there is no server.
    """
    end = time.monotonic() + timeout_s
    while (server := Postmaster.of(directory)) is not None and server.is_starting:
        if time.monotonic() > end:
            raise OperationError(f"its server has been starting up for {timeout_s:g} s", where=os.fsdecode(directory))
        time.sleep(_LOOK_S)


def tablespaces(directory: bytes) -> dict[bytes, bytes]:
    """Return the links of a data directory to its tablespaces, by their names, with what they say."""
    top = os.path.join(directory, b"pg_tblspc")
    try:
        links = sorted(name for name in os.listdir(top) if os.path.islink(os.path.join(top, name)))
    except OSError:
        return {}
    return {name: os.readlink(os.path.join(top, name)) for name in links}


def tablespace_copy(base: Path, name: bytes) -> Path:
    """Return where a base backup has the files of a tablespace."""
    return base.with_name(f"{base.name}.{os.fsdecode(name)}")


def base_backup(directory: bytes, pid: int, scratch: Path, postgres: Postgres | None, timeout_s: float) -> Path:
    """Write the files of the server with this pid that runs in `directory` below `scratch` and return where they are.

    Those of tablespaces are beside them (see `tablespace_copy`).

    The owner of the directory, `postgres` and the role of the settings' database are tried one after another. Raise
    OperationError with what the server said to the last one.
    """
    wait_while_starting(directory, timeout_s)
    postmaster = Postmaster.of(directory)
    if postmaster is None or not postmaster.hosts:
        raise OperationError("its server says nowhere where it listens")
    spaces, reason = tablespaces(directory), ""
    with OwnersPrograms(directory, scratch) as owners:
        program = _program_of(pid, trusted=owners.is_trusted)
        for number, (host, role) in enumerate(_logins(postmaster, postgres, owners.owner.st_uid)):
            argv = [program, "-D", owners.reach(str(number)), "-X", "stream", "-c", "fast", "--no-password"]
            for name, place in spaces.items():
                old = os.fsdecode(place).replace("=", "\\=")
                argv += ["-T", f"{old}={owners.reach(f'{number}.{os.fsdecode(name)}')}"]
            known = postgres if postgres is not None and role == postgres.role else None
            argv += ["-h", host, "-p", str(postmaster.port), "-U", role]
            done, complaint = owners.run(argv, _environment(known), timeout_s)
            if done:
                base = scratch / str(number)
                if _system_of(os.fsencode(base)) != _system_of(directory):
                    raise OperationError(f"at {host} port {postmaster.port}, another server answers")
                (base / _MANIFEST).unlink(missing_ok=True)
                for name, place in spaces.items():
                    _point(os.path.join(os.fsencode(base), b"pg_tblspc", name), place, owners.owner)
                return base
            said = [line for line in complaint.splitlines() if line.startswith("pg_basebackup:")]
            reason = said[-1] if said else "pg_basebackup failed without a message"
    raise OperationError(reason)


def _point(link: bytes, target: bytes, owner: os.stat_result) -> None:
    """Let a link of the copy lead to the tablespace's own place again."""
    os.unlink(link)
    os.symlink(target, link)
    os.lchown(link, owner.st_uid, owner.st_gid)


def _system_of(directory: bytes) -> bytes:
    """Return the identifier of the database system that a directory belongs to, which initdb makes."""
    with open(os.path.join(directory, b"global/pg_control"), "rb") as file:
        return file.read(8)


def _program_of(pid: int, *, trusted: bool) -> str:
    """Return the program of the server's own version, which is beside it, or any: root runs nothing of a stranger's."""
    import psutil

    if not trusted:
        return postgres_program("pg_basebackup")

    try:
        beside = os.path.join(os.path.dirname(psutil.Process(pid).exe()), "pg_basebackup")
    except psutil.Error:
        beside = ""
    return beside if os.access(beside, os.X_OK) else postgres_program("pg_basebackup")


def _logins(postmaster: Postmaster, postgres: Postgres | None, uid: int) -> Iterator[tuple[str, str]]:
    import pwd

    roles = []
    with contextlib.suppress(KeyError):  # a container's user has no name here
        roles.append(pwd.getpwuid(uid).pw_name)
    roles += ["postgres", *((postgres.role,) if postgres and postgres.role else ())]
    for role in dict.fromkeys(roles):
        for host in postmaster.hosts:
            yield host, role


def _environment(postgres: Postgres | None) -> dict[str, str]:
    password = {"PGPASSWORD": postgres.password} if postgres and postgres.password else {}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return kept | {"PGCONNECT_TIMEOUT": "10", "LC_ALL": "C"} | password
