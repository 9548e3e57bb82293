"""The system's `ssh`: its command line for a host, the shared connection, and one bounded run."""

import hashlib
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import IO

import msgspec

from toombos_cli.base.directories import make_private_directory
from toombos_cli.base.errors import OperationError
from toombos_cli.manifest.tables.hosts import HostTable

FAILED = 255
"""The exit code with which ssh says that it failed itself."""
MOST_OUTPUT_BYTES = 64 * 1024 * 1024
_MOST_COMPLAINT_BYTES = 64 * 1024
_CHUNK = 64 * 1024
_LONGEST_DIRECTORY = 60
"""A socket's path has 108 bytes, and ssh adds to it."""
_SHARED_FOR_S = 60
_OPTIONS = (
    *("BatchMode=yes", "StrictHostKeyChecking=yes", "UpdateHostKeys=no", "RequestTTY=no", "RemoteCommand=none"),
    *("ForwardAgent=no", "ForwardX11=no", "ClearAllForwardings=yes", "PermitLocalCommand=no", "LogLevel=ERROR"),
    *("ServerAliveInterval=3", "ServerAliveCountMax=3", "ControlMaster=auto", f"ControlPersist={_SHARED_FOR_S}"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SshRun:
    """How one run of ssh ended: `exit_code` is None if it took too long, or was stopped because it said too much."""

    exit_code: int | None
    stdout: bytes
    stderr: bytes
    said_too_much: bool = False


@dataclass(frozen=True, slots=True)
class SshConnection:
    """How ssh reaches one host of a project. Its files are relative to the project."""

    name: str
    host: HostTable
    project: Path
    sockets: Path
    _running: "list[subprocess.Popen[bytes]]" = field(default_factory=list, repr=False)

    def argv(self, *command: str, options: Sequence[str] = ()) -> list[str]:
        """Return the command line of ssh."""
        host = self.host
        given = [*_OPTIONS, f"ConnectTimeout={host.connect_timeout_s:.0f}", f"ControlPath={self._socket}"]
        if host.identity_file:
            given += [f"IdentityFile={_escaped(self.project / host.identity_file)}", "IdentitiesOnly=yes"]
        if host.known_hosts:
            known = _escaped(self.project / host.known_hosts)
            given += [f"UserKnownHostsFile={known}", "GlobalKnownHostsFile=/dev/null"]
        words = [word for option in given for word in ("-o", option)]
        words += ["-p", str(host.port)] if host.port else []
        words += ["-l", host.user] if host.user else []
        return [ssh_program(), *options, *words, "--", host.address, *command]

    @property
    def login(self) -> tuple[str, ...]:
        """The words with which a person runs a command there; the command itself follows."""
        host = self.host
        words = ["ssh", *(("-p", str(host.port)) if host.port else ())]
        words += ["-i", str(self.project / host.identity_file)] if host.identity_file else []
        if host.known_hosts:
            words += ["-o", f"UserKnownHostsFile={_escaped(self.project / host.known_hosts)}"]
        return (*words, f"{host.user}@{host.address}" if host.user else host.address)

    @property
    def _socket(self) -> str:
        """The socket of the shared connection; any other way to the host has another one."""
        identity = msgspec.json.encode([str(self.project), self.name, self.host])
        return _escaped(self.sockets / hashlib.sha256(identity).hexdigest()[:24])

    def run(self, command: str, *, limit_s: float | None) -> SshRun:
        """Run a line of a shell on the host and return how it ended. `limit_s` is None for any time."""
        argv = self.argv(command, options=("-n", "-T"))
        with subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            self._running.append(process)
            out = _BoundedReader(process, process.stdout, MOST_OUTPUT_BYTES)
            complaint = _BoundedReader(process, process.stderr, _MOST_COMPLAINT_BYTES)
            try:
                code: int | None = process.wait(limit_s)
            except subprocess.TimeoutExpired:
                code = None
            finally:
                process.kill()
            out.join(1.0)
            complaint.join(1.0)
            too_much = out.is_over or complaint.is_over
            return SshRun(
                exit_code=None if too_much else code,
                stdout=bytes(out.content),
                stderr=bytes(complaint.content),
                said_too_much=too_much,
            )

    def stop(self) -> None:
        """End a run that has not ended: the thread that waits for it goes on."""
        for process in self._running:
            process.kill()

    def resolved(self) -> dict[str, str]:
        """Return the settings with which ssh would connect, by name in lower case; {} if it does not say."""
        try:
            done = subprocess.run(
                self.argv(options=("-G",)), stdin=subprocess.DEVNULL, capture_output=True, timeout=5, check=False
            )
        except subprocess.TimeoutExpired:
            return {}
        lines = done.stdout.decode(errors="replace").splitlines()
        return {name: value for name, _, value in (line.partition(" ") for line in lines)}


class _BoundedReader(Thread):
    """Reads what a process writes, and kills the process if it is too much."""

    def __init__(self, process: "subprocess.Popen[bytes]", stream: IO[bytes] | None, most_bytes: int) -> None:
        super().__init__(daemon=True)
        self.content = bytearray()
        self.is_over = False
        self._process, self._stream, self._most_bytes = process, stream, most_bytes
        self.start()

    def run(self) -> None:
        while self._stream is not None and (chunk := os.read(self._stream.fileno(), _CHUNK)):
            self.content += chunk
            if len(self.content) > self._most_bytes:
                self.is_over = True
                self._process.kill()
                return


def ssh_program() -> str:
    """Return the path of ssh. Raise OperationError if it is not installed."""
    found = shutil.which("ssh")
    if found is None:
        raise OperationError("ssh is not installed here", hint="apt install openssh-client")
    return found


def socket_directory() -> Path:
    """Return the private directory of the shared connections, after creating it. Raise OperationError."""
    name = f"toombos-ssh-{os.geteuid()}"
    directory = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()) / name
    if len(os.fsencode(directory)) > _LONGEST_DIRECTORY:
        directory = Path("/tmp") / name  # noqa: S108  (its owner and mode are checked)
    try:
        make_private_directory(directory)
        found = directory.lstat()
    except OSError as error:
        raise OperationError(f"cannot be created: {error.strerror}", where=str(directory)) from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        hint = "remove it, or set XDG_RUNTIME_DIR to a directory of yours"
        raise OperationError("is not a private directory of this user", where=str(directory), hint=hint)
    return directory


def _escaped(path: Path) -> str:
    """Return a path as the value of an option of ssh: quoted, and without placeholders."""
    return '"' + str(path).replace("%", "%%").replace('"', '\\"') + '"'
