"""nginx, configured in many ways: health, smoke and start agree on each, and name what is wrong."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.foreign import nginx_tls, nginx_web
from tests.support.foreign import UP, ForeignSystem, well
from tests.support.nginx import Group, Server, add_nginx
from tests.support.runner import data_of
from tests.support.servers import black_hole

WELL = nginx_web.WELL | nginx_tls.WELL
UNWELL = nginx_web.UNWELL | nginx_tls.UNWELL


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with what the servers serve and are known by."""
    made = tmp_path_factory.mktemp("files")
    nginx_web.write_pages(made)
    nginx_tls.write_certificates(made)
    return made


def with_hanging_application(row: Server, port: int) -> Server:
    """Return the row with this port in place of HANGS."""
    return replace(row, server=row.server.replace("HANGS", str(port)))


@pytest.fixture(scope="module")
def healthy(shared: ForeignSystem, files: Path) -> Group:
    """All the healthy servers, started by one `toombos start`."""
    shutil.copytree(files, shared.project, dirs_exist_ok=True)
    return Group(shared, WELL).start()


@pytest.mark.parametrize("sentence", WELL)
def test_a_healthy_nginx_is_well(healthy: Group, sentence: str) -> None:
    name = healthy.names[sentence]
    assert well(healthy.rows[name]) == UP, healthy.rows[name]
    assert healthy.steps[f"health-{name}"]["verdict"] == "pass"


def test_healthy_servers_raise_no_alarm(healthy: Group) -> None:
    shown = data_of(healthy.system("status", "--json", exit_code=0))["services"]
    assert {row["phase"] for row in shown} == {"ready"}
    healthy.system("smoke", "--wait", "5", exit_code=0)
    assert healthy.system.alarms() == []


@pytest.fixture(scope="module")
def unhealthy(tmp_path_factory: pytest.TempPathFactory, files: Path) -> Iterator[Group]:
    """All the unhealthy servers, started as programs that only have to listen."""
    system = ForeignSystem(tmp_path_factory.mktemp("unhealthy"))
    shutil.copytree(files, system.project, dirs_exist_ok=True)
    with black_hole() as port:
        rows = {sentence: with_hanging_application(row, port) for sentence, row in UNWELL.items()}
        yield Group(system, rows).start_unjudged()
        system.stop()


@pytest.mark.parametrize("sentence", UNWELL)
def test_an_unhealthy_nginx_is_named_rightly(unhealthy: Group, sentence: str) -> None:
    name, row = unhealthy.names[sentence], UNWELL[sentence]
    found = unhealthy.rows[name]
    assert well(found) == row.expects, found
    assert row.says in found["detail"]
    assert unhealthy.steps[f"health-{name}"]["verdict"] == "fail"


@pytest.mark.parametrize("sentence", UNWELL)
def test_start_does_not_call_it_ready(system: ForeignSystem, files: Path, sentence: str) -> None:
    """What health calls down, start must not call ready."""
    shutil.copytree(files, system.project, dirs_exist_ok=True)
    with black_hole() as port:
        row = with_hanging_application(UNWELL[sentence], port)
        add_nginx(system, "web", row, startup_timeout_s=0.4)
        done = system("start")
    assert done.returncode == 4, done.stdout + done.stderr
    assert "web: not ready after 0.4 s" in done.stderr
    assert row.says in done.stderr


def test_a_server_that_refuses_the_second_request_of_a_minute_is_down_from_then_on(system: ForeignSystem) -> None:
    limited = Server(
        server="limit_req zone=few; location / { try_files /none @empty; } location @empty { return 204; }",
        http="limit_req_zone $binary_remote_addr zone=few:32k rate=1r/m;",
    )
    add_nginx(system, "web", limited, probe_interval_s=60)
    system.start()
    row = system.health()["web"]
    assert (*well(row), row["http_status"]) == ("down", "status", 503)
