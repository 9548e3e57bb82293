"""The process at the other end of the control socket, and whether it is one that this user believes."""

import socket
import struct
from pathlib import Path

from toombos_cli.base.text import printable
from toombos_cli.base.trust import UntrustedError, believed_users, is_noted, user_name


def peer_of(connection: socket.socket) -> tuple[int, int] | None:
    """Return the pid and the user id of the peer, or None if the system cannot tell (no SO_PEERCRED)."""
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, user, _ = struct.unpack("3i", credentials)
    return pid, user


def check_server(connection: socket.socket, path: Path, project: Path) -> None:
    """Raise UntrustedError if another user's process serves the project's control socket at `path`.

    In a project that this user trusts although another one owns it, the owner's supervisor is believed too.
    """
    peer = peer_of(connection)
    if peer is None or peer[1] in believed_users():
        return
    pid, user = peer
    if user == project.stat().st_uid and is_noted(project):
        return
    raise UntrustedError(
        f"the control socket is served by another user's process, pid {pid} of {user_name(user)} (uid {user}); "
        "nothing was sent to it",
        where=printable(str(path)),
        hint=f"ps -fp {pid}",
    )
