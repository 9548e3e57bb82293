"""The Compose file that is exported, and what `config init --from` makes of it."""

import shutil

import pytest
import yaml

from toombos_cli.base.results import Verdict
from toombos_cli.config.imports.run import run_import
from toombos_cli.export.model import ExportEngine
from toombos_cli.export.operations import run_export
from toombos_cli.manifest.reading.loader import load_manifest
from toombos_cli.manifest.tables.service import DEFAULTS


@pytest.fixture(scope="module")
def services(exported):
    return yaml.safe_load((exported[ExportEngine.COMPOSE].output / "compose.yaml").read_text())["services"]


def test_dependencies_keep_their_conditions(services):
    assert services["web"]["depends_on"] == {
        "migrate": {"condition": "service_completed_successfully"},
        "cache": {"condition": "service_healthy"},
        "db": {"condition": "service_healthy", "restart": True},
    }


def test_another_service_is_reached_by_its_name_and_a_service_listens_everywhere(services):
    assert services["web"]["environment"]["CACHE_URL"] == "redis://cache:6379/0"
    assert services["web"]["command"] == ["python3", "web.py", "--bind", "0.0.0.0:8100"]


def test_a_secret_is_a_reference_that_must_be_set(services):
    assert services["web"]["environment"]["SECRET_KEY"] == "${SECRET_KEY:?put SECRET_KEY into .env}"


def test_a_dollar_is_no_variable(services):
    assert services["web"]["environment"]["PRICE"] == "5$$ or 100%"


def test_the_env_file_overrides_a_default(services):
    assert services["web"]["environment"]["WORKERS"] == "${WORKERS:-2}"


def test_the_check_judges_the_status_and_sends_the_header(services):
    kind, line = services["web"]["healthcheck"]["test"]
    assert kind == "CMD-SHELL"
    assert "204)" in line
    assert '"$${PROBE_KEY}"' in line


def test_a_plain_path_is_asked_for_by_curl(services):
    assert services["front"]["healthcheck"]["test"][:3] == ["CMD", "curl", "-fsS"]


def test_ports_are_published_on_this_machine_alone(services):
    assert services["web"]["ports"] == ["127.0.0.1:8100:8100"]


def test_an_optional_service_has_a_profile_and_the_others_none(services):
    assert services["front"]["profiles"] == ["optional"]
    assert not any("profiles" in service for name, service in services.items() if name != "front")


def test_a_well_known_server_runs_in_its_own_image_with_its_data(services):
    assert services["db"]["image"] == "postgres:15"
    assert services["db"]["environment"]["PGDATA"] == "/app/data/pg"
    assert "../../data:/app/data" in services["db"]["volumes"]


def test_the_mode_is_a_file_of_its_own(exported):
    text = (exported[ExportEngine.COMPOSE].output / "compose.test.yaml").read_text()
    assert yaml.safe_load(text)["services"]["web"]["environment"] == {"SHOP_MODE": "test"}


def test_the_image_gets_no_secret_and_no_data(exported):
    text = (exported[ExportEngine.COMPOSE].output / "python.Dockerfile").read_text()
    copied = [line for line in text.splitlines() if line.startswith("COPY")]
    assert 'COPY ["web.py", "./"]' in copied
    assert 'COPY ["shop", "./shop/"]' in copied
    assert not any(
        word in line for line in copied for word in (".env", "server.key", "data", "logs", "toombos.toml", '"out"')
    )


def test_the_packaged_system_has_its_monitoring_in_a_profile(tmp_path):
    run_export(load_manifest(tmp_path), ExportEngine.COMPOSE, output=tmp_path / "out", check=False)
    services = yaml.safe_load((tmp_path / "out" / "compose.yaml").read_text())["services"]
    assert services["prometheus"]["image"].startswith("prom/prometheus")
    assert services["prometheus"]["profiles"] == ["monitoring"]


def test_an_image_is_built_by_one_service(tmp_path):
    run_export(load_manifest(tmp_path), ExportEngine.COMPOSE, output=tmp_path / "out", check=False)
    services = yaml.safe_load((tmp_path / "out" / "compose.yaml").read_text())["services"]
    building = [name for name, service in services.items() if "build" in service]
    assert building == ["crm"]
    assert services["generator"]["image"] == services["crm"]["image"]


def test_dry_run_mode_lets_the_generator_reach_the_mocks_by_name(tmp_path):
    run_export(load_manifest(tmp_path), ExportEngine.COMPOSE, output=tmp_path / "out", check=False)
    services = yaml.safe_load((tmp_path / "out" / "compose.yaml").read_text())["services"]
    assert services["generator"]["environment"]["EGRESS_ALLOWED_HOSTS"] == "${EGRESS_ALLOWED_HOSTS:-crm,platform}"
    assert services["crm"]["environment"]["ALLOWED_HOSTS"] == "${ALLOWED_HOSTS:-crm}"


def test_the_alert_receiver_listens_where_alertmanager_sends(tmp_path):
    run_export(load_manifest(tmp_path), ExportEngine.COMPOSE, output=tmp_path / "out", check=False)
    services = yaml.safe_load((tmp_path / "out" / "compose.yaml").read_text())["services"]
    assert services["alerts"]["network_mode"] == "host"
    assert "ports" not in services["alerts"]


@pytest.fixture(scope="module")
def there_and_back(shop, exported, tmp_path_factory):
    """The services of the shop, and those of the manifest that was made from its Compose file."""
    project = tmp_path_factory.mktemp("back") / "shop"
    shutil.copytree(shop, project)
    (project / "toombos.toml").unlink()
    run_import(project / "out" / "compose" / "compose.yaml", project, force=False)
    return load_manifest(shop), load_manifest(project)


LOST = {
    "limits": {"web"},  # Compose has no limit of the CPU that restarts
    "env": {"migrate", "web", "db"},  # secrets are in .env now, and the image of PostgreSQL needs PGDATA
    "command": {"cache", "db"},  # the password is a variable now; the server is looked for on PATH
    "groups": {"front"},  # its profile needed a name
}
"""The keys that are not the same after the round trip, and of which services."""


@pytest.mark.parametrize("key", DEFAULTS)
def test_a_round_trip_keeps(there_and_back, key):
    there, back = there_and_back
    assert there.services.keys() == back.services.keys()
    before = {name: str(getattr(s, key)).replace(str(there.project), "P") for name, s in there.services.items()}
    after = {name: str(getattr(s, key)).replace(str(back.project), "P") for name, s in back.services.items()}
    assert {name for name in before if before[name] != after[name]} <= LOST.get(key, set())


def test_a_round_trip_keeps_commands_addresses_and_limits(there_and_back):
    there, back = there_and_back
    assert back.services["web"].command == there.services["web"].command
    assert back.services["web"].env == {k: v for k, v in there.services["web"].env.items() if k != "SECRET_KEY"}
    assert back.services["web"].limits.memory_restart_mb == 512
    assert back.services["cache"].command[-1].endswith('"$CACHE_SECRET"')
    assert {"SECRET_KEY", "DATABASE_URL", "CACHE_SECRET"} <= back.environment.keys()


@pytest.mark.parametrize("key", [key for key in DEFAULTS if key != "default_env"])
@pytest.mark.parametrize("name", ["crm", "platform", "generator"])
def test_a_round_trip_keeps_the_packaged_system(packaged_there_and_back, name, key):
    there, back = packaged_there_and_back
    before, after = getattr(there.services[name], key), getattr(back.services[name], key)
    assert str(after).replace(str(back.project), "P") == str(before).replace(str(there.project), "P")


def test_a_round_trip_leads_to_the_mocks_on_this_machine_again(packaged_there_and_back):
    there, back = packaged_there_and_back
    addresses = ("MOCK_CRM_BASE_URL", "MOCK_PLATFORM_BASE_URL")
    assert [back.services["generator"].default_env[name] for name in addresses] == [
        there.services["generator"].default_env[name] for name in addresses
    ]


@pytest.fixture(scope="module")
def packaged_there_and_back(tmp_path_factory):
    project = tmp_path_factory.mktemp("packaged")
    there = load_manifest(project)
    run_export(there, ExportEngine.COMPOSE, output=project / "out", check=False)
    run_import(project / "out" / "compose.yaml", project, force=False)
    return there, load_manifest(project)


@pytest.mark.skipif(shutil.which("podman-compose") is None, reason="podman-compose is not installed")
@pytest.mark.parametrize("name", ["the packaged system", "the shop"])
def test_podman_compose_accepts_the_files(shop, tmp_path, name):
    report = run_export(
        load_manifest(shop if name == "the shop" else tmp_path), ExportEngine.COMPOSE, output=None, check=True
    )
    assert [(check.verdict, check.detail) for check in report.checks] == [(Verdict.PASS, "")]
