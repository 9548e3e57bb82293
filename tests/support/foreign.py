"""A project whose toombos.toml describes programs that nobody here wrote."""

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.support.manifests import toml
from tests.support.ports import free_port
from tests.support.runner import data_of, run_toombos

Keys = dict[str, Any]


class ForeignSystem:
    """A project directory with its manifest, and `toombos` run in it."""

    def __init__(self, project: Path) -> None:
        self.project = project
        self.services: dict[str, Keys] = {}
        self.steps: list[Keys] = []
        self.tables: dict[str, Keys] = {}

    def add(self, name: str, command: list[str], **keys: Any) -> int:
        """Describe a service, on a free port unless its keys say where it listens; return its port."""
        if keys.get("scheme") != "none" and "unix" not in keys:
            keys.setdefault("port", free_port())
        self.services[name] = {"command": command, "startup_timeout_s": 20} | keys
        self.write()
        return int(keys.get("port", 0))

    def change(self, name: str, **keys: Any) -> None:
        """Give the service other keys; a key that is None is removed."""
        changed = self.services[name] | keys
        self.services[name] = {key: value for key, value in changed.items() if value is not None}
        self.write()

    def smoke(self, *steps: Keys) -> None:
        """Add steps to the smoke test."""
        self.steps += steps
        self.write()

    def write(self) -> None:
        """Write the manifest."""
        tables = {f"services.{name}": keys for name, keys in self.services.items()} | self.tables
        parts = [f"[{name}]\n{_lines(keys)}" for name, keys in tables.items()]
        parts += [f"[[smoke]]\n{_lines(step)}" for step in self.steps]
        (self.project / "toombos.toml").write_text("\n".join(parts))

    def __call__(self, *args: object, exit_code: int | None = None, **given: Any) -> subprocess.CompletedProcess[str]:
        """Run `toombos ARGS` to its end; check its exit code if one is given."""
        done = run_toombos(*args, cwd=self.project, **given)
        if exit_code is not None:
            assert done.returncode == exit_code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def start(self, *names: str) -> None:
        """Start the services; they must all become ready."""
        self("start", *names, exit_code=0)

    def health(self, *names: str) -> dict[str, Keys]:
        """Return the rows of `toombos health --json` by service."""
        return {row["name"]: row for row in data_of(self("health", *names, "--json"))["services"]}

    def smoke_steps(self, *args: str) -> dict[str, Keys]:
        """Return the steps of `toombos smoke --json` by name."""
        return {step["name"]: step for step in data_of(self("smoke", *args, "--json"))["steps"]}

    def wrong(self) -> list[Keys]:
        """Return what `toombos diagnose` calls wrong; if the machine was too busy to judge, diagnose again.

        How busy the machine is says nothing about the system.
        """
        for _ in range(5):
            findings = data_of(self("diagnose", "--json"))["findings"]
            wrong = [f for f in findings if f["verdict"] in ("fail", "warn", "error") and f["id"] != "res.load"]
            if not any("no result within" in f["reason"] for f in wrong):
                break
        return wrong

    def alarms(self) -> list[str]:
        """Return what is wrong, one line a finding."""
        wrong = self.wrong()
        return [f"{f['verdict']} {f['id']} {f['service']}: {f['reason']}" for f in wrong]

    def pid(self, name: str) -> int:
        """Return the pid of the service's process."""
        return int(json.loads((self.project / "run" / "state.json").read_bytes())["services"][name]["pid"])

    def stop(self) -> None:
        """Stop whatever runs."""
        if (self.project / "run").is_dir():  # without this directory nothing was ever started
            self("stop")


def well(row: Keys) -> tuple[str, str]:
    """Return the status and the reason of a row of health, both of which are fixed if the service is well."""
    return row["status"], row["reason"]


UP = ("up", "ok")
"""`well` of a healthy service."""


def _lines(keys: Keys) -> str:
    return "".join(f"{json.dumps(key)} = {toml(value)}\n" for key, value in keys.items())
