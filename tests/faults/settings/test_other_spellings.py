"""Variable names in another case than documented: our services ignore them, and toombos warns about them."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from pytest_httpserver import HTTPServer

from tests.conftest import Toombos
from tests.support.settings_places import PLACES
from toombos_cli.manifest.reading.loader import load_manifest

SPELT = ("plain in .env", "in the environment", "in the service's own env", "in the service's default_env")
PLACE_SHOWN = {
    "plain in .env": ".env:",
    "in the environment": "the environment",
    "in the service's own env": "env of [services.generator]",
    "in the service's default_env": "default_env of [services.generator]",
}


@pytest.mark.parametrize("place", SPELT)
def test_a_dry_run_stays_dry_and_publishes_nothing(
    place: str, project: Path, toombos: Toombos, httpserver: HTTPServer
) -> None:
    sink = httpserver.url_for("")
    httpserver.expect_request("/").respond_with_json({})
    (project / ".env").write_text(
        "CRM_API_KEY=live-crm-9f8e7d6c5b4a3f2e1d0c\nPLATFORM_API_KEY=live-plat-1a2b3c4d5e6f7a8b9c0d\n"
        f"CRM_BASE_URL={sink}\nPLATFORM_BASE_URL={sink}\n"
    )
    env = PLACES[place](project, "dry_run_mode", "false") | PLACES[place](project, "use_mock_services", "false")

    previewed = toombos("start", "--dry-run", "--preview", env=env)
    started = toombos("start", "--dry-run", env=env)
    for done in (previewed, started):
        assert done.returncode == 0, done.stderr
        assert f"dry_run_mode in {PLACE_SHOWN[place]}" in done.stderr
        assert "differs from DRY_RUN_MODE only in case" in done.stderr
    url = load_manifest(project).services["generator"].url
    assert httpx.get(f"{url}/health").json()["dry_run"] is True
    made = httpx.post(f"{url}/api/v2/generate-content", json={}, timeout=30)
    assert made.json()["status"] == "success", made.text
    assert httpserver.log == []

    notes = json.loads(toombos("start", "--dry-run", "--json", env=env).stdout)["data"]["notes"]
    assert any("DRY_RUN_MODE" in note for note in notes)


@pytest.mark.parametrize("place", SPELT)
@pytest.mark.parametrize("name", ["dry_run_mode", "Api_Key", "log_level"])
def test_config_check_reports_the_spelling_with_its_place(
    place: str, name: str, project: Path, toombos: Toombos
) -> None:
    (project / ".env").write_text("DRY_RUN_MODE=true\n")
    env = PLACES[place](project, name, "false")
    found: list[dict[str, Any]] = json.loads(toombos("config", "check", "--json", env=env).stdout)["data"]["findings"]
    (finding,) = (f for f in found if f["id"] == "extra" and "in case" in f["reason"])
    assert finding["verdict"] == ("warn" if place == "in the environment" and name != "dry_run_mode" else "fail")
    assert f"{name} differs from {name.upper()} only in case" in finding["reason"]
    evidence = {
        "plain in .env": f"{project}/.env:2",
        "in the environment": "environment",
        "in the service's own env": str(project / "toombos.toml"),
        "in the service's default_env": str(project / "toombos.toml"),
    }
    (at,) = finding["evidence"]
    assert f"{at['source']}:{at['line']}".removesuffix(":None") == evidence[place]
    assert finding["fix"]


@pytest.mark.parametrize("options", [[], ["--foreground"]], ids=["in the background", "in the foreground"])
def test_start_warns_a_team_whose_service_may_ignore_case(options: list[str], tmp_path: Path, toombos: Toombos) -> None:
    (tmp_path / "toombos.toml").write_text(
        f"""\
[services.shop]
command = ["{{python}}", "-c", "import time; time.sleep({1 if options else 600})"]
scheme = "none"
restart = {{ policy = "never" }}
[environment.SHOP_MODE]
description = "How the shop runs"
"""
    )
    started = toombos("start", *options, env={"shop_mode": "live"})
    assert "shop_mode in the environment differs from SHOP_MODE only in case" in started.stderr
