"""Live mode starts only with all its settings, and names those that are missing or weak."""

from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer

from tests.services.conftest import StartService, run_module, service_environment
from tests.support.ports import free_port

GOOD = {
    "DRY_RUN_MODE": "false",
    "API_KEY": "q7Rw2LmZ9tXb4KvN8sYd",
    "API_KEY_ENCRYPTION_KEY": "V5u9pQ2xTz8Lr4Wm7Kd3Nb6Yh1Gs0JcEaFo",
    "CRM_BASE_URL": "http://127.0.0.1:9",
    "CRM_API_KEY": "crm-real-key-93k2",
    "PLATFORM_BASE_URL": "http://127.0.0.1:10",
    "PLATFORM_API_KEY": "platform-real-key-18x7",
}


def refused(tmp_path: Path, **env: str) -> tuple[int, str]:
    """Return (exit code, output) of a generator that should refuse its settings."""
    log = tmp_path / "log"
    process = run_module(
        "services.generator",
        project=tmp_path,
        log_path=log,
        env=service_environment(PORT=str(free_port()), **env),
    )
    try:
        return process.wait(20), log.read_text()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


@pytest.mark.parametrize("mode", [{"DRY_RUN_MODE": "false"}, {}], ids=["explicit", "by default"])
def test_live_mode_without_settings_lists_every_missing_name(tmp_path: Path, mode: dict[str, str]) -> None:
    code, printed = refused(tmp_path, **mode)
    assert code == 3
    for name in GOOD.keys() - {"DRY_RUN_MODE"}:
        assert f"{name}: is required in live mode" in printed
    assert "Traceback" not in printed
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"API_KEY": ""}, "API_KEY: is required in live mode"),
        ({"API_KEY": "short1"}, "API_KEY: is shorter than 16 characters"),
        ({"API_KEY": "aaaaaaaaaaaaaaaaaaaa"}, "API_KEY: is weak"),
        ({"API_KEY": "changeme-changeme-changeme"}, "API_KEY: is a placeholder"),
        ({"READ_ONLY_API_KEY": "guest"}, "READ_ONLY_API_KEY: is shorter than 16 characters"),
        ({"CRM_API_KEY": "your-crm-key"}, "CRM_API_KEY: is a placeholder"),
        ({"API_KEY_ENCRYPTION_KEY": "V5u9pQ2xTz8Lr4Wm"}, "API_KEY_ENCRYPTION_KEY: is shorter than 32 characters"),
        ({"API_KEY_ENCRYPTION_KEY": "a" * 40}, "API_KEY_ENCRYPTION_KEY: is weak"),
        ({"CRM_BASE_URL": "https://crm.example.com"}, "CRM_BASE_URL: is a placeholder"),
        ({"PLATFORM_BASE_URL": "http://localhost:8002"}, "PLATFORM_BASE_URL: is the address of a mock"),
        ({"CRM_BASE_URL": "crm.internal"}, "CRM_BASE_URL: "),
        ({"LIVING_DOC_TYPE": "url"}, "LIVING_DOC_URL: is required by LIVING_DOC_TYPE=url"),
        ({"LIVING_DOC_TYPE": "google_docs", "LIVING_DOC_ID": "d"}, "GOOGLE_CREDENTIALS_JSON: is required"),
        (
            {
                "LIVING_DOC_TYPE": "google_docs",
                "LIVING_DOC_ID": "d",
                "GOOGLE_CREDENTIALS_JSON": '{"private_key": "k3y"}',
            },
            "GOOGLE_CREDENTIALS_JSON: lacks client_email, private_key",
        ),
        ({"LIVING_DOC_TYPE": "notion"}, "NOTION_API_KEY: is required"),
        ({"DATABASE_URL": "mysql://u:s3cret-pw@h/d"}, "DATABASE_URL: must start with sqlite:"),
    ],
)
def test_a_weak_or_invalid_setting_is_refused_by_name(tmp_path: Path, change: dict[str, str], problem: str) -> None:
    code, printed = refused(tmp_path, **GOOD | change)
    assert (code, problem.removesuffix(", private_key") in printed) == (3, True), printed
    for secret in [*(value for name, value in (GOOD | change).items() if name.endswith("KEY") and value), "s3cret-pw"]:
        assert secret not in printed


def test_live_mode_with_all_settings_publishes_to_the_real_targets_and_requires_its_key(
    start_service: StartService,
) -> None:
    crm, platform = start_service("crm"), start_service("platform")
    targets = {"CRM_BASE_URL": crm.url, "PLATFORM_BASE_URL": platform.url}
    service = start_service("generator", **GOOD | targets)
    with service.client() as client:
        assert client.get("/health").json()["dry_run"] is False
        assert client.post("/api/v2/generate-content", json={}).status_code == 401
        headers = {"X-API-Key": GOOD["API_KEY"]}
        assert client.post("/api/v2/generate-content", json={}, headers=headers).json()["status"] == "success"
    assert service.stop() == 0
    assert not any(GOOD[name] in service.log() for name in GOOD if name.endswith("KEY"))


def test_mocks_never_receive_the_keys_of_the_real_services(start_service: StartService, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/health").respond_with_json({})
    httpserver.expect_request("/api/v1/email/send").respond_with_json({"message_id": "m"})
    keys = {name: value for name, value in GOOD.items() if name != "DRY_RUN_MODE"}
    mocks = {"MOCK_CRM_BASE_URL": httpserver.url_for(""), "MOCK_PLATFORM_BASE_URL": httpserver.url_for("")}
    service = start_service("generator", DRY_RUN_MODE="true", **keys, **mocks)
    with service.client() as client:
        client.post("/api/v2/generate-content", json={}, headers={"X-API-Key": GOOD["API_KEY"]})
    sent = [request for request, _ in httpserver.log if request.method == "POST"]
    assert sent
    assert all("Authorization" not in request.headers for request in sent)
