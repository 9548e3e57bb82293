"""Sources of a service's settings, their precedence, encrypted values, and the report of invalid ones."""

import base64
import hashlib
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr, ValidationError

from services.common.settings import ServiceSettings, SettingsError

KEY = "k" * 32


class Settings(ServiceSettings):
    port: int = 8000
    api_key: SecretStr | None = None


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("TOOMBOS_ENV_FILE", *(field.upper() for field in Settings.model_fields)):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def encrypted(value: str, key: str = KEY) -> str:
    """Encrypt by the documented formula, not with our code."""
    fernet_key = base64.urlsafe_b64encode(hashlib.sha256(key.encode()).digest())
    return "enc:" + Fernet(fernet_key).encrypt(value.encode()).decode()


def problems() -> dict[str, str]:
    with pytest.raises(SettingsError) as caught:
        Settings.load()
    return {problem.name: problem.reason for problem in caught.value.problems}


def test_a_service_listens_only_on_loopback_and_is_not_in_dry_run_mode_by_default() -> None:
    settings = Settings.load()
    assert (settings.host, settings.dry_run_mode, settings.use_mock_services) == ("127.0.0.1", False, False)


def test_the_environment_overrides_the_env_file_which_overrides_the_default(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Settings.load().port == 8000
    (project / ".env").write_text("PORT=8100\nENVIRONMENT=from-file\n")
    assert Settings.load().port == 8100
    monkeypatch.setenv("PORT", "8200")
    assert (Settings.load().port, Settings.load().environment) == (8200, "from-file")


def test_an_empty_value_counts_as_unset(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / ".env").write_text("PORT=8100\nAPI_KEY=\n")
    monkeypatch.setenv("PORT", "")
    assert (Settings.load().port, Settings.load().api_key) == (8100, None)


def test_the_env_file_may_be_elsewhere(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / ".env").write_text("PORT=1\n")
    (project / "other.env").write_text("PORT=2\n")
    monkeypatch.setenv("TOOMBOS_ENV_FILE", str(project / "other.env"))
    assert Settings.load().port == 2


def test_other_programs_variables_in_the_env_file_are_ignored(project: Path) -> None:
    (project / ".env").write_text("CRM_API_KEY=x\nexport SOMETHING='a b'\n# comment\n\nPORT=8100\n")
    assert Settings.load().port == 8100


@pytest.mark.parametrize("level", ["debug", "DEBUG", "Debug"])
def test_the_log_level_may_be_written_in_any_case(level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_LEVEL", level)
    assert Settings.load().log_level == "DEBUG"


@pytest.mark.parametrize("name", ["dry_run_mode", "Dry_Run_Mode", "DRY_RUN_MODe"])
@pytest.mark.parametrize("place", ["environment", ".env"])
def test_another_spelling_of_a_name_has_no_effect(
    name: str, place: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRY_RUN_MODE", "true")
    if place == "environment":
        monkeypatch.setenv(name, "false")
    else:
        (project / ".env").write_text(f"{name}=false\nhost=0.0.0.0\napi_key=x\n")
    settings = Settings.load()
    assert (settings.dry_run_mode, settings.host, settings.api_key) == (True, "127.0.0.1", None)


def test_a_byte_order_mark_is_not_part_of_the_first_name(project: Path) -> None:
    (project / ".env").write_text("\ufeffPORT=8100\n", "utf-8")
    assert Settings.load().port == 8100


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Settings.load().port = 1  # type: ignore[misc]  # the test


def test_an_encrypted_value_is_decrypted_from_every_source(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / ".env").write_text(f"API_KEY={encrypted('swordfish')}\nPORT={encrypted('8100')}\n")
    monkeypatch.setenv("API_KEY_ENCRYPTION_KEY", KEY)
    settings = Settings.load()
    assert settings.api_key is not None
    assert settings.api_key.get_secret_value() == "swordfish"
    assert settings.port == 8100
    assert set(settings.secret_values()) == {"swordfish", KEY}
    assert "swordfish" not in repr(settings)


ENCRYPTED = {
    "no key": (None, encrypted("x"), "API_KEY_ENCRYPTION_KEY is missing or invalid"),
    "another key": ("o" * 40, encrypted("x"), "cannot be decrypted"),
    "a short key": ("short", encrypted("x"), "shorter than 32 characters"),
    "not a token": (KEY, "enc:swordfish", "cannot be decrypted"),
    "empty": (KEY, "enc:", "cannot be decrypted"),
    "not ASCII": (KEY, "enc:schwertfisch-ä", "cannot be decrypted"),
}


@pytest.mark.parametrize("case", ENCRYPTED)
def test_an_undecryptable_value_is_reported_without_its_text(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    key, value, reason = ENCRYPTED[case]
    monkeypatch.setenv("API_KEY", value)
    if key:
        monkeypatch.setenv("API_KEY_ENCRYPTION_KEY", key)
    found = problems()
    assert found.keys() == {"API_KEY"}
    assert reason in found["API_KEY"]
    assert value not in found["API_KEY"]


def test_the_encryption_key_cannot_itself_be_encrypted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEY_ENCRYPTION_KEY", encrypted("x"))
    assert problems() == {"API_KEY_ENCRYPTION_KEY": "the key cannot itself be encrypted"}


ENV_FILES = {
    "not a NAME=value line": (b"PORT=8100\nAPI KEY=x\n", ".env:2", "is not a NAME=value line"),
    "after blank lines": (b"PORT=8100\n\n  \n\nAPI KEY=x\n", ".env:5", "is not a NAME=value line"),
    "after leading blank lines": (b"\r\n\r\nAPI KEY=x\r\n", ".env:3", "is not a NAME=value line"),
    "not UTF-8": (b"PORT=\xff\n", ".env", "is not UTF-8 text"),
}


@pytest.mark.parametrize("case", ENV_FILES)
def test_an_invalid_env_file_is_refused_with_its_location(project: Path, case: str) -> None:
    content, place, reason = ENV_FILES[case]
    (project / ".env").write_bytes(content)
    assert problems() == {place: reason}


def test_an_env_file_that_is_a_directory_is_refused(project: Path) -> None:
    (project / ".env").mkdir()
    assert problems() == {".env": "Is a directory"}
