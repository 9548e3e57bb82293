"""`@GROUP` stands for the services of a group, in every command that takes services."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.runner import data_of, run_toombos
from toombos_cli.base.errors import UsageError
from toombos_cli.cli.completion import names_of
from toombos_cli.cli.service_names import named_services, one_service
from toombos_cli.manifest.reading.loader import load_manifest

MANIFEST = """
[services.db]
command = ["sleep", "600"]
scheme = "none"

[services.app]
command = ["sleep", "600"]
scheme = "none"
groups = ["web", "all"]

[services.proxy]
command = ["sleep", "600"]
scheme = "none"
groups = ["web", "all"]
optional = true

[services.mail]
command = ["sleep", "600"]
scheme = "none"
groups = ["extra"]
"""


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project with groups, in which `app` and `proxy` run because `@web` was started."""
    project = tmp_path_factory.mktemp("groups")
    (project / "toombos.toml").write_text(MANIFEST)
    started = run_toombos("start", "@web", cwd=project)
    assert started.returncode == 0, started.stderr
    yield project
    run_toombos("stop", cwd=project)


NAMED = {
    "a group": (["@web"], ("app", "proxy")),
    "two groups that overlap": (["@web", "@all"], ("app", "proxy")),
    "a group and a service": (["@web", "db"], ("app", "proxy", "db")),
    "a service of the group too": (["proxy", "@web"], ("proxy", "app")),
}


@pytest.mark.parametrize(("asked", "found"), NAMED.values(), ids=NAMED.keys())
def test_names_and_groups_stand_for_services(tmp_path, asked, found):
    (tmp_path / "toombos.toml").write_text(MANIFEST)

    assert named_services(asked, load_manifest(tmp_path).services) == found


UNKNOWN = {
    "a misspelt group": ("@wbe", "no group is named '@wbe'", "did you mean '@web'?"),
    "a group without @": ("web", "no service is named 'web'", "did you mean '@web'?"),
    "a service with @": ("@mail", "no group is named '@mail'", "did you mean 'mail'?"),
    "nothing after @": ("@", "no group is named '@'", "groups: @web, @all, @extra"),
    "something else": ("zzz", "no service is named 'zzz'", "services: db, app, proxy, mail; groups: @web"),
}


@pytest.mark.parametrize(("name", "message", "hint"), UNKNOWN.values(), ids=UNKNOWN.keys())
def test_an_unknown_name_has_the_nearest_one_as_its_hint(tmp_path, name, message, hint):
    (tmp_path / "toombos.toml").write_text(MANIFEST)

    with pytest.raises(UsageError, match=message) as raised:
        named_services([name], load_manifest(tmp_path).services)

    assert hint in str(raised.value.problems[0].hint)


def test_where_one_service_is_needed_a_group_of_one_will_do(tmp_path):
    (tmp_path / "toombos.toml").write_text(MANIFEST)
    services = load_manifest(tmp_path).services

    assert one_service("@extra", services) == "mail"
    with pytest.raises(UsageError, match="@web is a group of 2 services"):
        one_service("@web", services)


def test_completion_offers_services_and_groups(tmp_path, monkeypatch):
    (tmp_path / "toombos.toml").write_text(MANIFEST)
    monkeypatch.setenv("TOOMBOS_PROJECT", str(tmp_path))

    assert names_of("service", None, "@") == ["@web", "@all", "@extra"]
    assert names_of("service", None, "p") == ["proxy"]


def _names(rows: list[dict[str, Any]]) -> list[str]:
    return [row["name"] for row in rows]


# the command, and the services that its JSON is about
ABOUT = {
    "status": ("status @web", lambda data: _names(data["services"])),
    "health": ("health @web", lambda data: _names(data["services"])),
    "a preview of a start": ("start --preview @web", lambda data: _names(data["services"])),
    "logs": ("logs @web", lambda data: list(data["services"])),
    "restart": ("restart @web", lambda data: [row["name"] for row in data["services"]]),
}


@pytest.mark.parametrize(("line", "about"), ABOUT.values(), ids=ABOUT.keys())
def test_a_command_is_about_the_services_of_the_group(system, line, about):
    done = run_toombos(*line.split(), "--json", cwd=system)

    assert done.returncode == 0, done.stderr
    assert sorted(about(data_of(done))) == ["app", "proxy"]


@pytest.mark.parametrize("line", ["status @wbe", "stop @wbe", "logs @wbe", "health @wbe", "diagnose --service @wbe"])
def test_an_unknown_group_is_wrong_usage(system, line):
    done = run_toombos(*line.split(), cwd=system)

    assert (done.returncode, "did you mean '@web'?" in done.stderr) == (2, True), done.stderr


def test_one_service_of_a_group_of_several_is_wrong_usage(system):
    done = run_toombos("config", "show", "@web", cwd=system)

    assert (done.returncode, "name one of app, proxy" in done.stderr) == (2, True), done.stderr


def test_stop_ends_the_group_alone_even_if_the_manifest_is_broken(system):
    assert run_toombos("start", "db", cwd=system).returncode == 0
    (system / "toombos.toml").write_text(MANIFEST + "nonsense")
    try:
        stopped = run_toombos("stop", "@web", cwd=system)
    finally:
        (system / "toombos.toml").write_text(MANIFEST)

    assert stopped.returncode == 0, stopped.stderr
    rows = data_of(run_toombos("status", "--json", cwd=system))["services"]
    assert {row["name"] for row in rows if row["phase"] == "ready"} == {"db"}
