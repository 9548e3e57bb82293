"""Every command uses the value that the service gets, wherever a variable is set and however it is stored."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer

from tests.conftest import Toombos, free_port
from tests.faults.backup.test_postgres import cluster as postgres  # noqa: F401  (a fixture: it starts a real server)
from tests.support.settings_places import KEY, PLACES, Setter
from tests.unit.alerts.conftest import Webhook, alerting, webhook  # noqa: F401  (fixtures)
from toombos_cli.backup.postgres import Postgres

SECRET = "q7Rw2LmZ9tXb4KvN8sYd"
DUMP = ".toombos/postgresql.dump"


def data(done: Any) -> Any:
    return json.loads(done.stdout)["data"]


@pytest.fixture(params=PLACES.values(), ids=PLACES.keys())
def put(request: pytest.FixtureRequest) -> Setter:
    setter: Setter = request.param
    return setter


def test_every_command_reports_a_database_server_that_is_down(put: Setter, project: Path, toombos: Toombos):
    port = free_port()
    env = put(project, "DATABASE_URL", f"postgresql://app:geheim17@127.0.0.1:{port}/shop")

    backup = toombos("backup", "--json", env=env)
    assert backup.returncode == 4, backup.stdout
    assert [one["path"] for one in data(backup)["unreadable"]] == [DUMP]

    diagnosed = toombos("diagnose", "--only", "db.service", "--json", env=env)
    (finding,) = data(diagnosed)["findings"]
    assert re.search(rf"does not answer: .*:{port} refused", finding["reason"])

    checked = toombos("config", "check", "--json", env=env)
    (finding,) = (f for f in data(checked)["findings"] if f["id"] == "dsn")
    assert f"@127.0.0.1:{port}/shop" in finding["reason"]

    shown = toombos("config", "show", "--json", env=env)
    (row,) = (row for row in data(shown)["values"] if row["name"] == "DATABASE_URL" and row["source"] != "default")
    assert row["value"] in (f"postgresql://app:********@127.0.0.1:{port}/shop", "enc:********")
    assert "geheim17" not in "".join(done.stdout + done.stderr for done in (backup, diagnosed, checked, shown))


def test_a_database_is_restored_with_its_rows(
    put: Setter,
    project: Path,
    toombos: Toombos,
    postgres: str,  # noqa: F811  (the fixture)
):
    server = Postgres.from_url(postgres)
    assert server is not None
    server._psql(["-c", "DROP TABLE IF EXISTS one CASCADE; CREATE TABLE one AS SELECT 1 AS n"], 30)
    env = put(project, "DATABASE_URL", postgres)
    backup = toombos("backup", "--json", env=env)
    assert backup.returncode == 0, backup.stdout
    assert DUMP in [one["path"] for one in data(backup)["databases"]]
    server._psql(["-c", "INSERT INTO one VALUES (2)"], 30)
    restored = toombos("restore", "--latest-good", "--yes", "--no-start", env=env)
    assert restored.returncode == 0, restored.stderr
    assert server._psql(["-c", "SELECT count(*) FROM one"], 30).strip() == "1"


LOST_KEYS = {
    "the key is gone": lambda text: re.sub(r"(?m)^API_KEY_ENCRYPTION_KEY=.*\n", "", text),
    "the key is a different one": lambda text: text.replace(KEY, KEY[::-1]),
    "the value is damaged": lambda text: text.replace("DATABASE_URL=enc:gAAAA", "DATABASE_URL=enc:gBBBB"),
}


@pytest.mark.parametrize("lose", LOST_KEYS.values(), ids=LOST_KEYS.keys())
def test_a_database_whose_url_cannot_be_decrypted_is_never_skipped_silently(lose: Any, project: Path, toombos: Toombos):
    PLACES["encrypted in .env"](project, "DATABASE_URL", f"postgresql://app@127.0.0.1:{free_port()}/shop")
    (project / ".env").write_text(lose((project / ".env").read_text()))

    backup = toombos("backup", "--json")
    assert backup.returncode == 4, backup.stdout
    (missing,) = data(backup)["unreadable"]
    assert missing["path"] == "DATABASE_URL (generator)"
    assert missing["reason"].startswith("is encrypted and cannot be decrypted: ")
    assert not list((project / "backups").glob("latest-good"))

    (finding,) = data(toombos("diagnose", "--only", "db.service", "--json"))["findings"]
    assert "DATABASE_URL is encrypted and cannot be decrypted" in finding["reason"]
    checked = data(toombos("config", "check", "--json"))["findings"]
    assert any(f["id"] == "load" and "DATABASE_URL is encrypted" in f["reason"] for f in checked)


def test_the_different_databases_of_several_services_are_all_checked_and_reported(project: Path, toombos: Toombos):
    ports = [free_port(), free_port()]
    text = (project / "toombos.toml").read_text()
    for name, port in zip(("generator", "crm"), ports, strict=True):
        line = f'env.DATABASE_URL = "postgresql://app@127.0.0.1:{port}/shop"'
        text = text.replace(f"[services.{name}]\n", f"[services.{name}]\n{line}\n")
    (project / "toombos.toml").write_text(text)

    backup = toombos("backup", "--json")
    assert backup.returncode == 4
    assert [one["path"] for one in data(backup)["unreadable"]] == [DUMP, "DATABASE_URL (generator)"]
    found = data(toombos("diagnose", "--only", "db.service", "--json"))["findings"]
    assert sorted(f["service"] for f in found if f["verdict"] == "fail") == ["crm", "generator"]


def test_a_dump_is_not_restored_if_there_are_several_databases(
    project: Path,
    toombos: Toombos,
    postgres: str,  # noqa: F811  (the fixture)
):
    PLACES["plain in .env"](project, "DATABASE_URL", postgres)
    archive = data(toombos("backup", "--json"))["archive"]
    PLACES["in the service's own env"](project, "DATABASE_URL", f"postgresql://app@127.0.0.1:{free_port()}/shop")
    text = (project / "toombos.toml").read_text()
    line = f'env.DATABASE_URL = "{postgres}"'
    (project / "toombos.toml").write_text(text.replace("[services.crm]\n", f"[services.crm]\n{line}\n"))
    refused = toombos("restore", archive, "--yes")
    assert refused.returncode == 5
    assert "the one of" in refused.stderr


UNSAVED = {
    "a database type that toombos cannot back up": ("mysql://u:p@127.0.0.1/x", "cannot back up mysql databases"),
    "a SQLite file outside the project": ("sqlite:///{outside}/app.db", "is outside the project"),
    "a text that is not a URL": ("host=db dbname=shop", "is not a database URL"),
}


@pytest.mark.parametrize("case", UNSAVED)
def test_a_database_that_cannot_be_backed_up_makes_the_backup_incomplete(
    case: str, project: Path, toombos: Toombos, tmp_path_factory: pytest.TempPathFactory
):
    outside = tmp_path_factory.mktemp("outside")
    (outside / "app.db").write_bytes(b"")
    url, reason = UNSAVED[case]
    PLACES["plain in .env"](project, "DATABASE_URL", url.format(outside=outside))
    backup = toombos("backup", "--json")
    assert backup.returncode == 4, backup.stdout
    (missing,) = data(backup)["unreadable"]
    assert missing["path"] == "DATABASE_URL (generator)"
    assert reason in missing["reason"]


def test_an_emergency_backup_is_made_even_if_the_env_file_cannot_be_read(project: Path, toombos: Toombos):
    (project / ".env").write_bytes(b"DATABASE_URL=\xff\n")
    (project / "toombos.toml").write_text("not = = TOML")
    backup = toombos("backup", "--emergency", "--json")
    assert backup.returncode == 4, backup.stderr
    assert "not UTF-8" in data(backup)["unreadable"][0]["reason"]
    assert Path(data(backup)["archive"]).exists()


@pytest.fixture
def keeper(project: Path, httpserver: HTTPServer) -> HTTPServer:
    """A service that requires a key, which a smoke step and the headers of the load target send."""
    httpserver.expect_request("/health").respond_with_json({"status": "healthy"})
    httpserver.expect_request("/", headers={"X-Key": SECRET}).respond_with_json({"ok": True})
    (project / "toombos.toml").write_text(
        f"""\
[services.generator]
command = ["unused"]
port = {httpserver.port}
host = "{httpserver.host}"

[load]
service = "generator"
path = "/"
headers = {{ X-Key = "${{SHOP_TOKEN}}" }}

[[smoke]]
name = "read"
service = "generator"
path = "/"
headers = {{ X-Key = "${{env.SHOP_TOKEN}}" }}
json = {{ ok = true }}

[environment.SHOP_TOKEN]
description = "What callers show"
secret = true
"""
    )
    return httpserver


def test_load_and_smoke_send_the_key_that_the_service_gets(
    put: Setter, project: Path, toombos: Toombos, keeper: HTTPServer
):
    env = put(project, "SHOP_TOKEN", SECRET)
    for command in (["load", "-n", "5", "-c", "1"], ["smoke", "--allow-live"]):
        done = toombos(*command, env=env)
        assert done.returncode == 0, done.stdout + done.stderr
        assert SECRET not in done.stdout + done.stderr


def test_load_and_smoke_send_the_key_of_the_running_mode(project: Path, toombos: Toombos):
    with (project / "toombos.toml").open("a") as file:
        file.write(f'[modes.dry_run.env]\nAPI_KEY = "{SECRET}"\n')
    (project / ".env").write_text("API_KEY=another-key-of-live-mode-1a2b3c\n")
    assert toombos("start", "--dry-run").returncode == 0
    for command in (["load", "-n", "5", "-c", "1"], ["smoke"]):
        done = toombos(*command)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("command", [["load", "-n", "1", "-c", "1"], ["smoke"]], ids=["load", "smoke"])
def test_load_and_smoke_send_nothing_if_the_key_cannot_be_decrypted(
    command: list[str], project: Path, toombos: Toombos, keeper: HTTPServer
):
    PLACES["encrypted in .env"](project, "SHOP_TOKEN", SECRET)
    (project / ".env").write_text((project / ".env").read_text().replace(KEY, KEY[::-1]))
    done = toombos(*command)
    assert done.returncode == 3
    assert "the encrypted value of SHOP_TOKEN cannot be read: it is damaged" in done.stderr
    assert keeper.log == []


@pytest.mark.parametrize(
    "put",
    [PLACES[p] for p in PLACES if "service's" not in p],
    ids=[p for p in PLACES if "service's" not in p],
)
def test_an_alert_channel_uses_the_decrypted_url(
    put: Setter,
    alerting: Path,  # noqa: F811  (the fixture)
    toombos: Toombos,
    webhook: Webhook,  # noqa: F811  (the fixture)
):
    (alerting / ".env").unlink()
    env = put(alerting, "HOOK_URL", webhook.url)
    done = toombos("alert", "test", env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(webhook.received) == 1
