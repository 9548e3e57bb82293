"""diagnose run by another user or in another container says what it cannot see and reports no strangers."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.ports import free_port
from tests.support.programs import needs
from tests.support.runner import clean_environment, data_of, run_toombos

_UNWELL = """
import http.server, sys
class Unwell(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_error(503 if self.path == "/health" else 200)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Unwell).serve_forever()
"""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can ask as another user")


# Only root may be able to read the interpreter's files, so a first diagnosis, of another project, imports everything.
_AS_NOBODY = """
import contextlib, importlib, io, os, pkgutil, sys
import toombos_cli.probes
from toombos_cli.main import main
for module in pkgutil.iter_modules(toombos_cli.probes.__path__):
    importlib.import_module(f"toombos_cli.probes.{module.name}")
with contextlib.redirect_stdout(io.StringIO()):
    main(["--project", sys.argv[1], "diagnose", "--json"])
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
sys.exit(main(["--project", sys.argv[2], "diagnose", "--json"]))
"""


def toombos(project: Path, *args: str, **given: Any) -> subprocess.CompletedProcess[str]:
    return run_toombos("--project", project, *args, cwd=Path("/"), timeout_s=120, **given)


@pytest.fixture
def shop() -> Iterator[Path]:
    """A project that everyone may read, with an unhealthy service and one that was never started."""
    with tempfile.TemporaryDirectory(prefix="toombos-shop-") as name:
        project = Path(name)
        project.chmod(0o755)
        (project / "unwell.py").write_text(_UNWELL)
        (project / "toombos.toml").write_text(
            "".join(
                f'[services.{service}]\ncommand = ["{{python}}", "unwell.py", "{{port}}"]\nport = {free_port()}\n'
                'ready = "/"\n'
                for service in ("web", "idle")
            )
        )
        started = toombos(project, "start", "web")
        assert started.returncode == 0, started.stderr
        yield project
        toombos(project, "stop")


@pytest.mark.usefixtures("nobody")
def test_a_service_of_another_user_is_not_reported_as_a_stranger(shop: Path, tmp_path: Path):
    argv = [sys.executable, "-P", "-c", _AS_NOBODY, str(tmp_path), str(shop)]
    env = clean_environment()
    found = data_of(subprocess.run(argv, env=env, capture_output=True, text=True, timeout=120, check=False, cwd="/"))
    roots = {f["id"]: f for f in found["findings"] if f["verdict"] in ("fail", "warn") and not f["explained_by"]}
    assert list(found["roots"]) == ["proc.seen", "proc.missing", "http.status"]
    assert "belong to root" in roots["proc.seen"]["reason"]
    assert roots["proc.seen"]["fix"]["command"] == f"sudo -u root toombos --project {shop} diagnose"
    assert roots["proc.missing"]["service"] == "idle"
    assert "may not read" in roots["proc.missing"]["cause"]
    assert roots["proc.missing"]["fix"]["command"] == f"sudo -u root toombos --project {shop} start idle"
    assert roots["http.status"]["service"] == "web"


def elsewhere(project: Path, *args: str) -> dict[str, Any]:
    return data_of(toombos(project, *args, through=(needs("unshare"), "--pid", "--fork", "--mount-proc")))


def test_a_service_in_another_container_is_not_reported_as_a_stranger(shop: Path):
    services = {s["name"]: s for s in elsewhere(shop, "health", "--json")["services"]}
    assert (services["web"]["reason"], services["idle"]["reason"]) == ("status", "refused")
    found = elsewhere(shop, "diagnose", "--json")
    assert list(found["roots"]) == ["proc.missing", "http.status", "proc.seen"]
    seen = next(f for f in found["findings"] if f["id"] == "proc.seen")
    assert "another container" in seen["reason"]


def test_the_user_who_runs_the_services_gets_no_such_finding(shop: Path):
    found = data_of(toombos(shop, "diagnose", "--json"))
    assert list(found["roots"]) == ["proc.missing", "http.status"]
