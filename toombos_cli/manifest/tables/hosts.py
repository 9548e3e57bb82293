"""The manifest's `[hosts.NAME]` tables: the machines on which toombos runs the system, and how SSH reaches them."""

import re

from toombos_cli.manifest.tables.table import Table

ADDRESS_PATTERN = r"[A-Za-z0-9_:][A-Za-z0-9_.:%-]*"
"""What the address of a host looks like, as a regular expression: never an option of ssh."""
USER_PATTERN = r"(?:[A-Za-z0-9_][A-Za-z0-9_.@-]*)?"
"""What the name of a user looks like, as a regular expression."""


class HostTable(Table, frozen=True):
    """A machine with the project and toombos on it, reached by the system's `ssh`."""

    address: str
    """A name, an IP address, or a `Host` of your ssh configuration."""
    user: str = ""
    port: int = 0
    """The port of its SSH server; 0 means what your ssh configuration says, or 22."""
    identity_file: str = ""
    known_hosts: str = ""
    """The file with its host key; without it, those that ssh knows."""
    directory: str = "."
    """The project's directory there: absolute, or relative to the user's home."""
    command: tuple[str, ...] = ("toombos",)
    """How toombos is run there."""
    connect_timeout_s: float = 10.0
    timeout_s: float = 60.0
    """The time that a look may take; a backup may take any time."""

    def __post_init__(self) -> None:
        if not re.fullmatch(ADDRESS_PATTERN, self.address):
            raise ValueError(f"address must be a name or an address, not {self.address!r}")
        if not re.fullmatch(USER_PATTERN, self.user):
            raise ValueError(f"user must be the name of a user, not {self.user!r}")
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port must be 1 to 65535, not {self.port}")
        if not self.command or not all(self.command):
            raise ValueError("command must name a program")
        if self.directory.startswith("~"):
            raise ValueError("directory must be absolute, or relative to the home directory there, without ~")
        for field in ("identity_file", "known_hosts", "directory"):
            if not getattr(self, field).isprintable():
                raise ValueError(f"{field} must contain printable characters alone")
        if not self.directory:
            raise ValueError("directory must name a directory")
        if not all(word.isprintable() for word in self.command):
            raise ValueError("command must contain printable characters alone")
        if self.connect_timeout_s < 1 or self.timeout_s <= 0:
            raise ValueError("connect_timeout_s must be at least 1 second, timeout_s above 0")
