"""Real programs that end with an error: diagnose names the line that says why, and its fix mends it as printed."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.databases import postgres_cluster, redis_server
from tests.support.foreign import ForeignSystem
from tests.support.manifests import toml
from tests.support.programs import needs
from tests.support.runner import clean_environment

WORKER = {"scheme": "none", "restart": {"policy": "never"}}


class Broken(ForeignSystem):
    """A system whose services all end with an error of their own; each is started alone."""

    def roots(self) -> dict[str, Any]:
        """Return the roots of a diagnosis by service."""
        return {f["service"]: f for f in self.wrong() if f["verdict"] == "fail" and not f["explained_by"]}


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Broken, dict[str, Any]]]:
    system = Broken(tmp_path_factory.mktemp("broken"))
    project = system.project
    with postgres_cluster() as postgres:
        data = Path(postgres[postgres.index("-D") + 1])
        data.chmod(0o755)
        system.add("db", postgres, scheme="tcp", restart={"policy": "never"})
        (project / "cache").mkdir()
        (project / "cache" / "dump.rdb").write_bytes(b"this is no snapshot of Redis")
        system.add("cache", redis_server("--dir", str(project / "cache")), scheme="tcp", restart={"policy": "never"})
        (project / "main.js").write_text("require('lodash')\n")
        system.add("web", [needs("node"), "main.js"], **WORKER)
        system.add("pay", [sys.executable, "-c", "import stripe"], **WORKER)
        (project / "shop").write_text("#!/bin/sh\necho 'flux a7 is low'\nexit 1\n")
        (project / "shop").chmod(0o755)
        system.add("shop", ["./shop"], **WORKER)
        system.add("old", ["./shop2"], **WORKER)
        (project / "shop2").write_text("#!/bin/sh\necho starting up\necho 'ERROR: the core is cold'\nexit 1\n")
        (project / "shop2").chmod(0o755)
        known = {"id": "shop.flux", "pattern": r"flux (?P<unit>\w+) is low", "cause": "unit {unit} has no supply"}
        known["advice"] = "turn unit {unit} off and on again"
        lines = "".join(f"{key} = {toml(value)}\n" for key, value in known.items())
        manifest = project / "toombos.toml"
        manifest.write_text(f"{manifest.read_text()}\n[[diagnose.known]]\n{lines}")
        for name in system.services:
            system("start", name)
        yield system, system.roots()
        system.stop()


ROOTS: dict[str, tuple[str, str, str, str]] = {
    "the data directory of PostgreSQL may be read by others": (
        "db", "log.known", "has invalid permissions", "chmod 0700 "
    ),
    "the snapshot of Redis is damaged": ("cache", "log.db", "Wrong signature", "restore it from a backup"),
    "a package of Node is missing": (
        "web", "log.missing_module", "Cannot find module 'lodash'", "npm install --prefix "
    ),
    "a package of Python is missing": ("pay", "log.missing_module", "'stripe'", "-m pip install stripe"),
    "a line that the manifest describes": ("shop", "log.known", "flux a7 is low", "turn unit a7 off"),
    "a line that nobody knows": ("old", "log.errors", "the core is cold", "mend what it says"),
}  # fmt: skip


@pytest.mark.parametrize("row", ROOTS)
def test_the_last_words_of_a_program_are_the_root(row: str, broken: tuple[Broken, dict[str, Any]]) -> None:
    name, check, words, fix = ROOTS[row]
    root = broken[1][name]
    assert root["id"] == check, root
    assert words in root["reason"]
    assert f"{name} is not running" in root["reason"]
    text = root["fix"].get("command") or root["fix"]["advice"]
    assert fix in text
    assert " start" in text, "the service must be started afterwards"
    assert not root["fix"]["safe"], "what a log line says is never run by --fix"


def test_the_fix_of_a_known_line_works_as_printed(broken: tuple[Broken, dict[str, Any]]) -> None:
    system, roots = broken
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", roots["db"]["fix"]["command"]],
        cwd="/",
        env=clean_environment() | {"PATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "db" not in system.roots()
