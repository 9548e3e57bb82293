"""Machines of a test: network namespaces that a bridge joins, with an SSH server and a project in each."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.manifests import toml
from tests.support.programs import REQUIRE_ALL, needs
from tests.support.runner import run_toombos
from tests.support.waiting import wait_for

SERVER = (
    "import http.server, sys\n"
    "class H(http.server.BaseHTTPRequestHandler):\n"
    "    def do_GET(self):\n"
    "        self.send_response(200); self.end_headers(); self.wfile.write(b'ok')\n"
    "    def log_message(self, *a): print('asked', self.path, flush=True)\n"
    "http.server.HTTPServer((sys.argv[1], int(sys.argv[2])), H).serve_forever()\n"
)
_SSHD = """
ListenAddress {address}
HostKey {directory}/host_key
AuthorizedKeysFile {keys}
PidFile none
StrictModes no
UsePAM no
PermitRootLogin prohibit-password
PasswordAuthentication no
PrintMotd no
MaxStartups 100
"""


@dataclass(slots=True)
class Machine:
    """One machine: its address and its project."""

    name: str
    namespace: str
    address: str
    project: Path

    def toombos(self, *args: object) -> "subprocess.CompletedProcess[str]":
        """Run toombos on the machine, in its project."""
        return run_toombos(*args, cwd=self.project, through=("ip", "netns", "exec", self.namespace))


@dataclass(slots=True)
class Machines:
    """The machines by name; commands run in a namespace of their own, on the same network."""

    directory: Path
    namespace: str
    all: dict[str, Machine] = field(default_factory=dict)

    def toombos(self, *args: object, **popen: object) -> "subprocess.CompletedProcess[str]":
        """Run toombos beside the machines, in the project that describes them."""
        through = ("ip", "netns", "exec", self.namespace)
        env = {"XDG_RUNTIME_DIR": str(self.directory / "s")}
        return run_toombos(*args, cwd=self.directory / "here", env=env, through=through, **popen)  # type: ignore[arg-type]

    def link(self, machine: str, *, up: bool) -> None:
        """Plug the cable of a machine in, or out."""
        _run("ip", "-n", self.namespace, "link", "set", f"to-{machine}", "up" if up else "down")

    def host_table(self, name: str, machine: str, **keys: object) -> str:
        """Return the text of a host's table that reaches this machine."""
        found = self.all[machine]
        values: dict[str, object] = {
            "address": found.address,
            "user": "root",
            "identity_file": str(self.directory / "key"),
            "known_hosts": str(self.directory / "known_hosts"),
            "directory": str(found.project),
            "command": [sys.executable, "-P", "-m", "toombos_cli"],
        }
        lines = [f"{key} = {toml(value)}" for key, value in (values | keys).items()]
        return "\n".join([f"[hosts.{name}]", *lines, ""])

    def describe(self, *tables: str) -> None:
        """Write the manifest of the project from which the machines are asked."""
        text = '[services.web]\ncommand = ["true"]\nport = 8080\n' + "".join(tables)
        (self.directory / "here" / "toombos.toml").write_text(text)


@contextmanager
def three_machines() -> Iterator[Machines]:
    """Yield the machines a, b and c; skip the test if this user may not make network namespaces."""
    needs("ip"), needs("ssh")
    sshd = needs("sshd", search=("usr/sbin",))
    directory = Path(tempfile.mkdtemp(prefix="tm", dir="/tmp"))
    made = Machines(directory=directory, namespace=f"tm{os.getpid()}")
    names = [made.namespace, *(f"{made.namespace}{name}" for name in "abc")]
    try:
        _may_make_namespaces(made.namespace)
        (directory / "s").mkdir(mode=0o700)
        (directory / "here").mkdir()
        _ssh_keygen(directory / "key")
        (directory / "authorized_keys").write_text((directory / "key.pub").read_text())
        _bridge(made.namespace)
        for number, name in enumerate("abc", 1):
            made.all[name] = _machine(made, name, f"10.77.0.{number}")
        Path("/run/sshd").mkdir(exist_ok=True)
        for machine in made.all.values():
            _begin_sshd(made, machine, sshd)
        yield made
    finally:
        for machine in made.all.values():
            if (machine.project / "run").exists():
                run_toombos("stop", cwd=machine.project)
        for name in names:
            _end_what_runs_in(name)
            subprocess.run(("ip", "netns", "del", name), capture_output=True, check=False)
        shutil.rmtree(directory, ignore_errors=True)


def _begin_sshd(made: Machines, machine: Machine, sshd: str) -> None:
    """Start the SSH server of a machine and wait until it accepts connections."""
    place = made.directory / machine.name
    text = _SSHD.format(address=machine.address, directory=place, keys=made.directory / "authorized_keys")
    (place / "sshd_config").write_text(text)
    _run(
        "ip", "netns", "exec", machine.namespace, sshd, "-E", str(place / "sshd.log"), "-f", str(place / "sshd_config")
    )
    accepts = ("ip", "netns", "exec", made.namespace, sys.executable, "-c", _CONNECT, machine.address)
    wait_for(lambda: subprocess.run(accepts, check=False, capture_output=True).returncode == 0, what="sshd")


_CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], 22), 1)"


def _may_make_namespaces(name: str) -> None:
    done = subprocess.run(("ip", "netns", "add", name), capture_output=True, text=True, check=False)
    if done.returncode:
        why = f"this user may not make network namespaces: {done.stderr.strip()}"
        if REQUIRE_ALL and os.geteuid() == 0 and "not permitted" not in why.lower():
            pytest.fail(why)
        pytest.skip(why)


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True, capture_output=True)


def _bridge(namespace: str) -> None:
    inside = ("ip", "-n", namespace)
    _run(*inside, "link", "set", "lo", "up")
    _run(*inside, "link", "add", "name", "bridge0", "type", "bridge")
    _run(*inside, "addr", "add", "10.77.0.254/24", "dev", "bridge0")
    _run(*inside, "link", "set", "bridge0", "up")


def _machine(made: Machines, name: str, address: str) -> Machine:
    namespace = f"{made.namespace}{name}"
    _run("ip", "netns", "add", namespace)
    _run(
        "ip",
        "-n",
        made.namespace,
        "link",
        "add",
        "name",
        f"to-{name}",
        "type",
        "veth",
        "peer",
        "name",
        "eth0",
        "netns",
        namespace,
    )
    _run("ip", "-n", made.namespace, "link", "set", f"to-{name}", "master", "bridge0", "up")
    _run("ip", "-n", namespace, "addr", "add", f"{address}/24", "dev", "eth0")
    _run("ip", "-n", namespace, "link", "set", "eth0", "up")
    _run("ip", "-n", namespace, "link", "set", "lo", "up")
    place = made.directory / name
    place.mkdir()
    _ssh_keygen(place / "host_key")
    project = place / "shop of all"
    (project / "data").mkdir(parents=True)
    (project / "data" / "orders.txt").write_text(f"orders of {name}\n")
    (project / "server.py").write_text(SERVER)
    (project / "toombos.toml").write_text(
        f'name = "{name}"\n[backup]\nroots = ["data"]\n'
        '[services.web]\ncommand = ["{python}", "server.py", "{host}", "{port}"]\nhealth = "/"\nport = 8080\n'
    )
    public = (place / "host_key.pub").read_text().split()
    with (made.directory / "known_hosts").open("a") as known:
        known.write(f"{address} {public[0]} {public[1]}\n")
    return Machine(name=name, namespace=namespace, address=address, project=project)


def _end_what_runs_in(namespace: str) -> None:
    """End the SSH servers, their sessions and the shared connections: nothing else is in the namespace."""
    found = subprocess.run(("ip", "netns", "pids", namespace), capture_output=True, text=True, check=False)
    for pid in found.stdout.split():
        with suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)


def _ssh_keygen(path: Path) -> None:
    with suppress(FileNotFoundError):
        path.unlink()
    _run(needs("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", str(path))
