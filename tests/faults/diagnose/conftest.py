"""The real dry-run system, started once per module and healed after each test."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.ports import free_port
from tests.support.runner import clean_environment, run_toombos
from tests.support.waiting import wait_for
from toombos_cli.manifest.model import Manifest

Values = dict[str, Any]
NAMES = ("crm", "platform", "generator")


class DryRun:
    """A project with the three services. The supervisor restarts none of them, so that a fault stays."""

    def __init__(self, project: Path) -> None:
        self.project = project
        self.ports = {name: free_port() for name in NAMES}
        tables = "".join(
            f'[services.{n}]\nport = {p}\nrestart = {{ policy = "never" }}\n' for n, p in self.ports.items()
        )
        self.manifest = f'extends = "toombos"\n{tables}'
        (project / "toombos.toml").write_text(self.manifest)
        assert self.run("config", "init").returncode == 0
        self.env_file = project / ".env"
        self.env_text = self.env_file.read_text() + "LOG_LEVEL=INFO\n"
        self.env_file.write_text(self.env_text)

    @property
    def api_key(self) -> str:
        return next(line.partition("=")[2] for line in self.env_text.splitlines() if line.startswith("API_KEY="))

    def run(self, *args: str, cwd: Path | None = None, **given: Any) -> subprocess.CompletedProcess[str]:
        """Run `toombos ARGS` in the project."""
        return run_toombos(*args, cwd=cwd or self.project, **given)

    def diagnose(self, *args: str, **given: Any) -> "Found":
        """Return the `data` of `toombos diagnose --json`.

        Retry a few times if a fact has no result within its 3 s: the machine may be busy with other tests.
        """
        for _ in range(5):
            done = self.run("diagnose", "--json", *args, **given)
            assert done.stdout, done.stderr
            found = Found(json.loads(done.stdout), done.returncode)
            if not any("no result within" in f["reason"] for f in found.wrong):
                break
        return found

    def paste(self, fix: str) -> None:
        """Run a printed fix unchanged from another directory; the processes that it starts belong to the project."""
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-c", fix],
            cwd="/",
            env=clean_environment() | {"PATH": path},
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, f"{fix}\n{done.stdout}{done.stderr}"

    def state(self, name: str) -> dict[str, Any]:
        state: dict[str, Any] = json.loads((self.project / "run" / "state.json").read_bytes())["services"][name]
        return state

    def pid(self, name: str) -> int:
        return int(self.state(name)["pid"])

    def wait_until_well(self) -> None:
        wait_for(lambda: not self.diagnose().wrong, within_s=20, what="a healthy diagnosis")

    def heal(self) -> None:
        """Restore the initial state of the system."""
        changed = self.env_file.is_dir() or self.env_file.read_text() != self.env_text
        if "prometheus" in (self.project / "toombos.toml").read_text():
            self.run("stop", "prometheus")
        if changed or (self.project / "toombos.toml").read_text() != self.manifest:
            (self.project / "toombos.toml").write_text(self.manifest)
            self.env_file.write_text(self.env_text)
            self.run("stop")
        self.env_file.chmod(0o600)
        assert self.run("start").returncode == 0


class Found:
    """One diagnosis."""

    def __init__(self, document: dict[str, Any], exit_code: int) -> None:
        self.exit_code = exit_code
        self.findings: list[dict[str, Any]] = document["data"]["findings"]
        self.roots: list[str] = document["data"]["roots"]

    @property
    def wrong(self) -> list[dict[str, Any]]:
        return [f for f in self.findings if f["verdict"] in ("fail", "warn", "error")]

    def only_root(self, name: str, service: str = "") -> dict[str, Any]:
        """Return the only root; it must explain everything else that is wrong."""
        others = [(f["id"], f["service"], f["reason"]) for f in self.wrong if not f["explained_by"]]
        assert self.roots == [name], others
        assert not [f for f in self.wrong if f["verdict"] == "error"]
        (root,) = (f for f in self.wrong if not f["explained_by"])
        assert root["service"] == service
        assert root["evidence"], "a root must have evidence"
        return root

    def finding(self, name: str, service: str = "") -> dict[str, Any]:
        return next(f for f in self.findings if f["id"] == name and (not service or f["service"] == service))


@pytest.fixture(scope="module")
def shared_system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DryRun]:
    system = DryRun(tmp_path_factory.mktemp("diagnose"))
    assert system.run("start").returncode == 0
    yield system
    system.run("stop")


@pytest.fixture
def system(shared_system: DryRun) -> Iterator[DryRun]:
    """The running system, healed after the test."""
    yield shared_system
    shared_system.heal()


@pytest.fixture(scope="module")
def healthy(shared_system: DryRun, tmp_path_factory: pytest.TempPathFactory) -> tuple[Manifest, Values, float]:
    """The manifest, the facts and their time from a bundle of the running system."""
    bundle = tmp_path_factory.mktemp("healthy") / "b.tar.zst"
    assert shared_system.run("diagnose", "--bundle", str(bundle)).returncode == 0
    subprocess.run(["tar", "--zstd", "-xf", bundle, "-C", bundle.parent], check=True)
    read = {name: (bundle.parent / f"{name}.json").read_bytes() for name in ("manifest", "facts", "bundle")}
    manifest = msgspec.json.decode(read["manifest"], type=Manifest, dec_hook=lambda kind, value: kind(value))
    return manifest, json.loads(read["facts"]), json.loads(read["bundle"])["now"]
