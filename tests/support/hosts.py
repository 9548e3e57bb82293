"""Hosts that are network namespaces on one bridge. They vanish with the block, or with the process that made them."""

import contextlib
import ctypes
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.programs import needs
from tests.support.waiting import wait_for

_NEW_NETWORK = 0x40000000  # CLONE_NEWNET


@dataclass
class Host:
    """A host: its address on the bridge, and the process that holds its namespace."""

    address: str
    pid: int

    @property
    def through(self) -> tuple[str, ...]:
        """The start of a command that runs on the host."""
        return (needs("nsenter"), "--target", str(self.pid), "--net")

    def run(self, *command: str) -> None:
        """Run a command on the host."""
        subprocess.run([*self.through, *command], check=True, timeout=10)

    def enter(self) -> None:
        """Move the calling thread to the host."""
        with Path(f"/proc/{self.pid}/ns/net").open() as namespace:
            if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), _NEW_NETWORK) != 0:
                raise OSError(ctypes.get_errno(), "setns")


@contextlib.contextmanager
def hosts(count: int) -> Iterator[list[Host]]:
    """Yield so many hosts that reach each other. Skip the test without the right to make network namespaces."""
    with contextlib.ExitStack() as stack:
        switch = _holder(stack, "")
        switch.run("ip", "link", "add", "switch", "type", "bridge")
        switch.run("ip", "link", "set", "switch", "up")
        found = []
        for number in range(1, count + 1):
            host = _holder(stack, f"10.77.0.{number}")
            port = f"port{number}"
            switch.run("ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", str(host.pid))
            switch.run("ip", "link", "set", port, "master", "switch", "up")
            host.run("ip", "address", "add", f"{host.address}/24", "dev", "eth0")
            host.run("ip", "link", "set", "eth0", "up")
            host.run("ip", "link", "set", "lo", "up")
            found.append(host)
        yield found


def _holder(stack: contextlib.ExitStack, address: str) -> Host:
    ours = Path("/proc/self/ns/net").stat().st_ino
    process = stack.enter_context(
        subprocess.Popen([needs("unshare"), "--net", "cat"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    )
    stack.callback(process.kill)  # and `cat` ends with its standard input if this process is killed

    def is_apart() -> bool:
        if process.poll() is not None:
            pytest.skip("needs the right to make a network namespace")
        return Path(f"/proc/{process.pid}/ns/net").stat().st_ino != ours

    wait_for(is_apart, what="a network namespace")
    return Host(address, process.pid)
