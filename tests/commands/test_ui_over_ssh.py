"""`toombos ui` over SSH, on the terminals that people have there."""

import getpass
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.ports import free_port
from tests.support.programs import needs
from tests.support.runner import TOOMBOS
from tests.support.terminal import Session
from tests.support.waiting import wait_for

FULL = pytest.mark.full
TERMS = ["xterm-256color", "linux", *(pytest.param(term, marks=FULL) for term in ("tmux-256color", "vt100", "dumb"))]


@pytest.fixture(scope="module")
def ssh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, ...]]:
    """The start of a command line that runs a command over SSH, on a terminal of this user on this machine."""
    place, port = tmp_path_factory.mktemp("ssh"), free_port()
    server = needs("sshd", search=("usr/sbin",))
    Path("/run/sshd").mkdir(exist_ok=True)
    for name in ("host", "user"):
        subprocess.run([needs("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", place / name], check=True)
    settings = ("ListenAddress=127.0.0.1", f"HostKey={place}/host", f"AuthorizedKeysFile={place}/user.pub")
    settings += ("StrictModes=no", "UsePAM=no", "PidFile=none", "PermitRootLogin=prohibit-password")
    options = [word for setting in settings for word in ("-o", setting)]
    argv = [server, "-D", "-e", "-f", "/dev/null", "-p", str(port), *options]
    client = (needs("ssh"), "-tt", "-F", "none", "-p", str(port), "-i", f"{place}/user", "-o", "LogLevel=ERROR")
    client += ("-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={place}/known")
    client += (f"{getpass.getuser()}@127.0.0.1",)
    with subprocess.Popen(argv, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(lambda: subprocess.run([*client, "true"], capture_output=True).returncode == 0, what="sshd")
            yield client
        finally:
            process.terminate()


@pytest.mark.parametrize("term", TERMS)
def test_keys_work_and_the_terminal_is_restored(term: str, ssh: tuple[str, ...], tmp_path: Path):
    (tmp_path / "toombos.toml").write_text('[services.a]\ncommand = ["sleep", "60"]\nscheme = "none"\n')
    command = shlex.join([*TOOMBOS, "--project", str(tmp_path), "ui"])
    with Session(command, cwd=tmp_path, width=80, program=ssh, term=term) as session:
        session.wait_for("stopped")
        session.press("?")
        session.wait_for("Newest line")
        session.time_until("Logs (l)", after="z")
        session.press("q")
        assert session.wait() == 0
        assert session.echoes
