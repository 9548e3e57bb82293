"""Decides whose files are believed: those of this user, of root, and under sudo of the user who called it.

`toombos.toml` names programs to run, `.env` their variables, and `run/` the processes to end. So these files and their
directories must belong to a believed user and must not be writable for everybody; a shared group is fine. A directory
that the user has noted with `toombos config trust` is believed as it is. See docs/decisions/0029.
"""

import contextlib
import os
import stat
from pathlib import Path

from toombos_cli.base.errors import RefusedError
from toombos_cli.base.fixes import here
from toombos_cli.base.plain_files import read_plain, strange_kind
from toombos_cli.base.quoting import joined, quoted
from toombos_cli.base.text import printable

NOTED_BY_ENVIRONMENT = "TOOMBOS_TRUST"
"""The variable with further noted directories, separated by colons, for containers without a home directory."""

_STATE_NAMES = frozenset({"state.json", "state.json.bak", "restore.json", "supervisor.log", "supervisor.sock"})
_STATE_ENDINGS = (".lock", ".rotation", ".rotation-lock", ".partial")
_STATE_DIRECTORIES = ("services", "alerts", "schedule", "monitoring", "profiles")
_SCANNED = frozenset({"run", "services", "alerts", "schedule"})


class NotTrustedError(RefusedError):
    """A file, directory or process of another user would have to be believed."""


def believed_users() -> frozenset[int]:
    """Return the ids of the users whose files are believed: this one, root, and under sudo the caller."""
    user = os.geteuid()
    caller = os.environ.get("SUDO_UID", "") if user == 0 else ""
    return frozenset({user, 0, *([int(caller)] if caller.isascii() and caller.isdigit() else [])})


def check_project(project: Path) -> None:
    """Raise NotTrustedError unless the project, the directories above it and its `run/` are to be believed.

    A directory above it counts because its owner could put another project in this one's place at any moment.
    """
    _check(project, os.lstat(project), project)
    _check_above(project, project)
    _check_run(project)


def check_file(path: Path, project: Path) -> None:
    """Raise NotTrustedError unless a file of the project is to be believed, and OSError if there is none.

    A link is believed if it, its target and the directories above the target are.
    """
    found = os.lstat(path)
    _check(path, found, project)
    if stat.S_ISLNK(found.st_mode):
        target = path.resolve()
        _check(target, target.stat(), project)
        _check_above(target, project)


def read_trusted(path: Path, project: Path | None = None) -> bytes:
    """Return the content of a file of the project, which may be in another directory; by default that of the file.

    Raise NotTrustedError as `check_file`, also for a directory between the project and the file, and as `read_plain`.
    """
    project = path.parent if project is None else project
    if path.parent != project and path.parent.exists():
        directory = path.parent.resolve()
        _check(directory, directory.stat(), project)
        _check_above(directory, project)
    check_file(path, project)
    # What was opened may not be what was looked at.
    return read_plain(path, follows_link=True, check=lambda found: _check(path, found, project))


def check_private_directory(directory: Path) -> None:
    """Raise NotTrustedError if a directory outside the project exists and is not this user's own and private."""
    try:
        found = os.lstat(directory)
    except FileNotFoundError:
        return
    if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077:
        return
    kind = "another one" if stat.S_ISDIR(found.st_mode) else "none"
    raise NotTrustedError(
        f"the control socket needs a private directory of this user here, and this is {kind} ({_described(found)})",
        where=printable(str(directory)),
        hint="remove it, as its owner or as root, or move the project to a shorter path",
    )


def noted_file() -> Path | None:
    """Return the path of the list of noted directories, or None for a user without a home directory."""
    base = os.environ.get("XDG_CONFIG_HOME", "")
    if os.path.isabs(base):  # noqa: PTH117  (a relative one is to be ignored, says its specification)
        return Path(base, "toombos", "trusted")
    try:
        return Path.home() / ".config" / "toombos" / "trusted"
    except RuntimeError:
        return None


def noted_directories() -> tuple[str, ...]:
    """Return the directories in the user's list, in its order. Raise NotTrustedError if another user could write it."""
    path = noted_file()
    if path is None:
        return ()
    try:
        with path.open("rb") as file:
            found, place = os.fstat(file.fileno()), path.parent.stat()
            content = file.read()
    except OSError:
        return ()
    for where, status in ((path, found), (path.parent, place)):
        flaw = _flaw(status, believed_users(), sticky_is_enough=False)
        if flaw:
            raise NotTrustedError(
                f"the list of trusted directories {flaw}",
                where=printable(str(where)),
                hint=joined(("ls", "-ld", str(where))),
            )
    return tuple(os.fsdecode(line) for line in content.splitlines() if line)


def is_noted(project: Path) -> bool:
    """Report whether the user trusts this directory, regardless of its owner."""
    given = filter(None, os.environ.get(NOTED_BY_ENVIRONMENT, "").split(":"))
    return str(project) in map(os.path.realpath, given) or str(project) in noted_directories()


def _check_above(path: Path, project: Path) -> None:
    for parent in path.parents:
        _check(parent, os.lstat(parent), project, above=True)


def _check(path: Path, found: os.stat_result, project: Path, *, above: bool = False) -> None:
    users = believed_users()
    if above:
        if found.st_uid not in users and _is_shared_with_us(found):
            return
        users |= {os.lstat("/").st_uid}  # in a user namespace, root's directories may seem to be nobody's
    flaw = _flaw(found, users, sticky_is_enough=above)
    if flaw is None or is_noted(project):
        return
    raise NotTrustedError(f"{flaw}: not used", where=printable(str(path)), hint=_way_on(path, found, project))


def _flaw(found: os.stat_result, users: frozenset[int], *, sticky_is_enough: bool) -> str | None:
    """Return why a file is not to be believed, or None."""
    if found.st_uid not in users:
        return f"belongs to another user ({_described(found)})"
    if stat.S_ISLNK(found.st_mode) or not found.st_mode & stat.S_IWOTH:
        return None
    if sticky_is_enough and found.st_mode & stat.S_ISVTX:
        return None
    return f"is writable for everybody ({_described(found)})"


def _is_shared_with_us(found: os.stat_result) -> bool:
    """Report whether a group of this user may write the directory: the members of a shared group trust each other."""
    writable = found.st_mode & stat.S_IWGRP and not found.st_mode & stat.S_IWOTH
    return bool(writable) and found.st_gid in {os.getegid(), *os.getgroups()}


def _check_run(project: Path) -> None:
    """Check `run/` and what toombos keeps there: believed directories, and in them never a link, FIFO or device."""
    run = project / "run"
    for directory in (run, *(run / name for name in _STATE_DIRECTORIES)):
        with contextlib.suppress(OSError):  # it does not exist, or the next step reports why it cannot be used
            check_file(directory, project)
            for path in directory.iterdir() if directory.name in _SCANNED else ():
                if directory != run or path.name in _STATE_NAMES or path.name.endswith(_STATE_ENDINGS):
                    _check_state_file(path, project)


def _check_state_file(path: Path, project: Path) -> None:
    try:
        found = os.lstat(path)
    except FileNotFoundError:  # removed meanwhile, as files under way are
        return
    _check(path, found, project)
    if flaw := strange_kind(found):
        place = printable(str(path))
        raise NotTrustedError(f"{flaw} ({_described(found)}): not used", where=place, hint=joined(("rm", place)))


def _way_on(path: Path, found: os.stat_result, project: Path) -> str:
    trust = here("config", "trust", printable(str(project)))
    if found.st_uid not in believed_users() or os.geteuid() not in (0, found.st_uid):
        return trust
    if found.st_mode & stat.S_ISVTX:
        return f"give a directory of your own with --project, or: {trust}"
    return f"chmod o-w {quoted(path)}, or: {trust}"


def _described(found: os.stat_result) -> str:
    return f"owner {user_name(found.st_uid)}, uid {found.st_uid}, mode {stat.S_IMODE(found.st_mode):04o}"


def user_name(user: int) -> str:
    """Return the name of a user, for a message."""
    import pwd

    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return "a user without a name"
