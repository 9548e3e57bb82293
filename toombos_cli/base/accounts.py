"""The users of this machine: who they are, and how a program is started as one of them."""

import os
from dataclasses import dataclass
from typing import TypedDict


class UnknownAccountError(Exception):
    """This machine has no such user or group; `hint` is what to do."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class ChildIdentity(TypedDict, total=False):
    """The arguments of subprocess.Popen that make a child another user's."""

    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A user with the group that its programs get."""

    name: str
    uid: int
    gid: int
    home: str
    shell: str

    @property
    def is_this_user(self) -> bool:
        """Whether programs of this process are that user's anyway."""
        return (self.uid, self.gid) == (os.geteuid(), os.getegid())

    @property
    def environment(self) -> dict[str, str]:
        """The variables that su sets for the user."""
        return {"HOME": self.home, "SHELL": self.shell or "/bin/sh", "USER": self.name, "LOGNAME": self.name}

    def as_child(self) -> ChildIdentity:
        """Return how a program is started as this user, with all groups of it; nothing to do for this user."""
        if self.is_this_user:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": os.getgrouplist(self.name, self.gid)}


def find_account(user: str, group: str = "") -> Account:
    """Return the user with a name or number, and with a group other than its own if one is given.

    Raises UnknownAccountError.
    """
    import pwd

    try:
        found = pwd.getpwuid(int(user)) if user.isdecimal() else pwd.getpwnam(user)
    except (KeyError, OverflowError):
        raise UnknownAccountError(f"no user is named {user!r}", "getent passwd") from None
    gid = _group(group) if group else found.pw_gid
    return Account(name=found.pw_name, uid=found.pw_uid, gid=gid, home=found.pw_dir, shell=found.pw_shell)


def child_identity(user: str, group: str = "") -> ChildIdentity:
    """Return how root starts a program as a user, "" for itself; nobody else can, and starts it as itself."""
    return find_account(user, group).as_child() if user and os.geteuid() == 0 else {}


def _group(name: str) -> int:
    import grp

    try:
        return (grp.getgrgid(int(name)) if name.isdecimal() else grp.getgrnam(name)).gr_gid
    except (KeyError, OverflowError):
        raise UnknownAccountError(f"no group is named {name!r}", "getent group") from None
