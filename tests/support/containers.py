"""Containers without an engine's service or an image registry: Debian's podman and buildah with a store of their own.

The one image is a Debian root from debootstrap, with the wheels of toombos in it. Making it takes minutes:
`TOOMBOS_TEST_DEBIAN_ROOT` names a directory to keep the root in, and `TOOMBOS_TEST_DEBIAN_MIRROR` a mirror.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.programs import needs

REPOSITORY = Path(__file__).parents[2]
PROGRAMS = ("podman", "buildah", "runc", "catatonit", "debootstrap")
PYTHON_IMAGE = f"docker.io/library/python:3.{sys.version_info[1]}-slim"
"""The name by which exported Dockerfiles know the image."""
_PACKAGES = "ca-certificates,curl,dbus,netcat-openbsd,procps,python3,python3-pip,systemd,systemd-sysv"
_CONFIGURATION = """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1000:1000"]
netns = "host"
base_hosts_file = "{directory}/hosts"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
tmp_dir = "{directory}/tmp"
[network]
network_config_dir = "{directory}/networks"
"""
_STORE = """
[storage]
driver = "vfs"
graphroot = "{directory}/images"
runroot = "{directory}/run"
"""


@dataclass(frozen=True)
class Containers:
    """An engine whose images, containers and networks are below one directory. All containers share this network."""

    directory: Path

    @property
    def environment(self) -> dict[str, str]:
        """The variables that make podman, buildah and podman-compose use the directory."""
        ours = {
            "CONTAINERS_CONF": str(self.directory / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(self.directory / "storage.conf"),
            "BUILDAH_ISOLATION": "chroot",
            "DISABLE_HC_SYSTEMD": "true",  # the timers of health checks would be this machine's
        }
        return {**os.environ, **ours}

    def run(self, *argv: object, timeout_s: float = 600, check: bool = True) -> str:
        """Run a program with the engine's variables and return its stdout. Fail the test if its exit code is not 0."""
        words = list(map(str, argv))
        done = subprocess.run(
            words, env=self.environment, capture_output=True, text=True, timeout=timeout_s, check=False
        )
        if check and done.returncode != 0:
            pytest.fail(f"{' '.join(words)}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def name_hosts(self, names: Iterable[str]) -> None:
        """Let the containers find each other by these names: on this machine, in place of an engine's network."""
        (self.directory / "hosts").write_text("".join(f"127.0.0.1 {name}\n" for name in ("localhost", *names)))

    def main_pid(self, container: str) -> int:
        """Return the process of a container on this machine, 0 if it does not run."""
        return int(self.run("podman", "inspect", "--format", "{{.State.Pid}}", container))

    def clear(self) -> None:
        """Remove every pod and container."""
        self.run("podman", "pod", "rm", "--all", "--force", "--time", "2", check=False)
        self.run("podman", "rm", "--all", "--force", "--time", "2", check=False)


def make_containers(directory: Path) -> Containers:
    """Return an engine with the image of Python in its store. Skip the test if a program or a right is missing."""
    for program in PROGRAMS:
        needs(program)
    if os.geteuid() != 0:
        pytest.skip("an engine without a service needs root")
    for name in ("tmp", "networks"):
        (directory / name).mkdir(parents=True)
    (directory / "containers.conf").write_text(_CONFIGURATION.format(directory=directory))
    (directory / "storage.conf").write_text(_STORE.format(directory=directory))
    engine = Containers(directory)
    engine.name_hosts(())
    root = _debian(directory)
    archive = directory / "root.tar"
    engine.run("tar", "-C", root, "-cf", archive, ".")
    engine.run("podman", "import", archive, PYTHON_IMAGE)
    archive.unlink()
    return engine


def _debian(directory: Path) -> Path:
    """Return a Debian root in which `pip install toombos` finds this checkout and needs no network."""
    kept = os.environ.get("TOOMBOS_TEST_DEBIAN_ROOT")
    root = Path(kept) if kept else directory / "root"
    if not (root / "etc" / "debian_version").exists():
        mirror = os.environ.get("TOOMBOS_TEST_DEBIAN_MIRROR", "http://deb.debian.org/debian")
        subprocess.run(
            ["debootstrap", "--variant=minbase", f"--include={_PACKAGES}", "bookworm", str(root), mirror],
            check=True,
            stdout=subprocess.DEVNULL,
        )
    for marker in root.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):
        marker.unlink()  # as in the published image
    wheels = root / "wheels"
    shutil.rmtree(wheels, ignore_errors=True)
    source = directory / "source"
    skipped = shutil.ignore_patterns(".git", "build", "*.egg-info", "__pycache__", "tests", ".*_cache", ".venv")
    shutil.copytree(REPOSITORY, source, ignore=skipped)
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--wheel-dir", str(wheels), f"{source}[locust]"], check=True
    )
    shutil.rmtree(source)
    (root / "etc" / "pip.conf").write_text("[global]\nno-index = true\nfind-links = /wheels\n")
    return root
