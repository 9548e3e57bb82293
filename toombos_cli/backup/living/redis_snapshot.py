"""What a running Redis holds, saved by Redis itself: BGSAVE writes one moment of it to its own file."""

import os
import socket
import time
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from itertools import chain

from toombos_cli import processes
from toombos_cli.backup.living.finding import unix_sockets
from toombos_cli.base.errors import OperationError

_REPLY_S = 10.0
_LOOK_S = 0.05
_KNOWN = ("dbfilename", "appenddirname", "appendfilename", "dir", "save")


class RedisError(OperationError):
    """Redis refused a command or cannot be reached."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisFiles:
    """The names of what a Redis keeps in its directory; `aof` is whether it starts from its append-only files."""

    snapshot: str
    aof_directory: str
    aof_name: str
    aof: bool
    persistent: bool
    """Whether it writes to the disk by itself: one that does not is a cache."""

    @property
    def names(self) -> tuple[bytes, ...]:
        """The entries of its directory."""
        return tuple(os.fsencode(name) for name in (self.snapshot, self.aof_directory, self.aof_name) if name)


class Redis:
    """A connection to the Redis with this pid, in the protocol RESP2."""

    def __init__(self, pid: int, passwords: Iterable[str] = ()) -> None:
        self._socket = _connected(pid)
        self._file = self._socket.makefile("rb")
        for password in chain(("",), passwords):  # none is looked up for a server that asks for none
            if password:
                self._tried("AUTH", password)
            if self._tried("PING"):
                return
        self.close()
        raise RedisError("it asks for a password that is not known here")

    def close(self) -> None:
        """Close the connection."""
        self._file.close()
        self._socket.close()

    def files(self) -> RedisFiles:
        """Return what it keeps where. A server without CONFIG has the usual names."""
        known = dict.fromkeys(_KNOWN, "")
        if self._tried("CONFIG", "GET", "save"):
            for key in _KNOWN:
                reply = self.ask("CONFIG", "GET", key)
                known[key] = reply[1] if isinstance(reply, list) and len(reply) > 1 else ""
        aof = self._persistence().get("aof_enabled") == "1"
        return RedisFiles(
            snapshot=known["dbfilename"] or "dump.rdb",
            aof_directory=known["appenddirname"],
            aof_name=known["appendfilename"] or "appendonly.aof",
            aof=aof,
            persistent=aof or bool(known["save"]),
        )

    def save(self, timeout_s: float) -> None:
        """Write the snapshot file and wait until it is complete. Raise RedisError if it is not."""
        end = time.monotonic() + timeout_s
        self._wait_for_children(end)
        self.ask("BGSAVE")
        self._wait_for_children(end)
        if self._persistence().get("rdb_last_bgsave_status") != "ok":
            raise RedisError("BGSAVE failed; its log says why")

    def _wait_for_children(self, end: float) -> None:
        running = ("rdb_bgsave_in_progress", "aof_rewrite_in_progress", "loading")
        while any(self._persistence().get(name, "0") != "0" for name in running):
            if time.monotonic() > end:
                raise RedisError("BGSAVE was not complete in time")
            time.sleep(_LOOK_S)

    def _persistence(self) -> dict[str, str]:
        text = self.ask("INFO", "persistence")
        pairs = (line.partition(":") for line in str(text).splitlines())
        return {name: value for name, _, value in pairs}

    def _tried(self, *words: str) -> bool:
        try:
            self.ask(*words)
        except RedisError:
            return False
        return True

    def ask(self, *words: str) -> str | list[str]:
        """Send a command and return its reply. Raise RedisError for an error."""
        encoded = [word.encode("utf-8", "surrogateescape") for word in words]
        parts = [b"*%d\r\n" % len(encoded), *(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded)]
        try:
            self._socket.sendall(b"".join(parts))
            return self._reply()
        except OSError as error:
            raise RedisError(f"does not answer: {error}") from None

    def _reply(self) -> str | list[str]:
        line = self._file.readline()
        kind, rest = line[:1], line[1:].strip().decode("utf-8", "surrogateescape")
        if kind == b"-":
            raise RedisError(rest)
        if kind == b"$":
            size = int(rest)
            return self._file.read(size + 2)[:size].decode("utf-8", "surrogateescape") if size >= 0 else ""
        if kind == b"*":
            return [str(self._reply()) for _ in range(int(rest))]
        if kind in (b"+", b":"):
            return rest
        raise RedisError("closed the connection" if not line else "speaks no Redis protocol")


def _connected(pid: int) -> socket.socket:
    """Return a connection to where the process listens. Raise RedisError."""
    reason = "it listens on no port"
    for listener in processes.listeners(pids=(pid,)):
        if listener.pid != pid:
            continue
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(listener.host, listener.host)  # noqa: S104  (compared with)
        try:
            return socket.create_connection((host, listener.port), timeout=_REPLY_S)
        except OSError as error:
            reason = f"port {listener.port}: {error.strerror or error}"
    for path in unix_sockets(pid):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(_REPLY_S)
        try:
            connection.connect(path)
        except OSError as error:
            connection.close()
            reason = f"{path}: {error.strerror or error}"
        else:
            return connection
    raise RedisError(f"cannot be asked: {reason}")


def files_of(pid: int, passwords: Iterable[str]) -> RedisFiles:
    """Return what the Redis keeps where. Raise RedisError."""
    with closing(Redis(pid, passwords)) as redis:
        return redis.files()


def snapshot_files(pid: int, passwords: Iterable[str], timeout_s: float) -> RedisFiles:
    """Let the Redis write its snapshot and return its files. Raise RedisError."""
    with closing(Redis(pid, passwords)) as redis:
        redis.save(timeout_s)
        return redis.files()
