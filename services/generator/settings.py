"""The generator's settings, and the requirements of live mode."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, StringConstraints

from services.common.loopback import is_loopback
from services.common.secrets import KEY_MIN_CHARS
from services.common.settings import ServiceSettings, SettingProblem, SettingsError
from services.generator.documents.google_docs import ServiceAccount

HttpUrl = Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^https?://[^\s/?#]+\S*$")]

_PLACEHOLDERS = ("changeme", "change-me", "change_me", "placeholder", "your-", "your_", "example", "xxxx", "todo", "<")
_KEY_MIN_CHARS = 16
_KEY_MIN_DISTINCT = 8


class GeneratorSettings(ServiceSettings):
    port: int = Field(default=8000, ge=0, le=65535)
    max_body_bytes: int = Field(default=64 * 1024, ge=1024)

    api_key: SecretStr | None = None
    read_only_api_key: SecretStr | None = None
    rate_limit_per_minute: int = Field(default=0, ge=0)

    crm_base_url: HttpUrl | None = None
    crm_api_key: SecretStr | None = None
    platform_base_url: HttpUrl | None = None
    platform_api_key: SecretStr | None = None
    mock_crm_base_url: HttpUrl = "http://127.0.0.1:8001"
    mock_platform_base_url: HttpUrl = "http://127.0.0.1:8002"
    egress_allowed_hosts: str = ""

    living_doc_type: Literal["file", "url", "google_docs", "notion"] = "file"
    living_doc_id: str | None = None
    living_doc_url: HttpUrl | None = None
    google_credentials_json: SecretStr | None = None
    google_docs_base_url: HttpUrl = "https://docs.googleapis.com"
    notion_api_key: SecretStr | None = None
    notion_database_id: str | None = None
    notion_base_url: HttpUrl = "https://api.notion.com"

    database_url: SecretStr = SecretStr("sqlite:///data/generator.db")
    """Secret because it may contain a password."""
    database_pool_size: int = Field(default=5, ge=1, le=50)
    preview_retention_days: int = Field(default=30, ge=0, le=36_500)
    request_timeout: float = Field(default=30.0, gt=0, le=600)
    max_concurrent_requests: int = Field(default=10, ge=1, le=1000)

    @property
    def publishes_to_mocks(self) -> bool:
        return self.dry_run_mode or self.use_mock_services

    @property
    def needs_key(self) -> bool:
        return self.api_key is not None

    def service_account(self) -> ServiceAccount:
        """Parse GOOGLE_CREDENTIALS_JSON: the key file's text, or the path of the file. Raise ValueError."""
        text = self.google_credentials_json.get_secret_value().strip() if self.google_credentials_json else ""
        if not text.startswith("{"):
            try:
                text = Path(text).read_text("utf-8")
            except (OSError, UnicodeDecodeError):
                raise ValueError("is neither a JSON object nor the path of a readable file") from None
        return ServiceAccount.from_json(text)

    @classmethod
    def load(cls) -> Self:
        settings = super().load()
        problems = (*_document_problems(settings), *_database_problems(settings))
        if not settings.dry_run_mode:
            problems += tuple(_live_problems(settings))
        if problems:
            raise SettingsError(problems)
        return settings


def _document_problems(settings: GeneratorSettings) -> Iterator[SettingProblem]:
    kind = settings.living_doc_type
    reason = f"is required by LIVING_DOC_TYPE={kind}"
    if kind == "url" and settings.living_doc_url is None:
        yield SettingProblem(name="LIVING_DOC_URL", reason=reason)
    if kind == "google_docs":
        if settings.living_doc_id is None:
            yield SettingProblem(name="LIVING_DOC_ID", reason=reason)
        if settings.google_credentials_json is None:
            yield SettingProblem(name="GOOGLE_CREDENTIALS_JSON", reason=reason)
        else:
            try:
                settings.service_account()
            except ValueError as error:
                yield SettingProblem(name="GOOGLE_CREDENTIALS_JSON", reason=str(error))
    if kind == "notion":
        if settings.notion_api_key is None:
            yield SettingProblem(name="NOTION_API_KEY", reason=reason)
        if settings.notion_database_id is None and settings.living_doc_id is None:
            yield SettingProblem(name="NOTION_DATABASE_ID", reason=f"{reason} (or LIVING_DOC_ID, for a single page)")


def _database_problems(settings: GeneratorSettings) -> Iterator[SettingProblem]:
    scheme = settings.database_url.get_secret_value().partition(":")[0]
    if scheme.partition("+")[0] not in ("sqlite", "postgresql", "postgres"):
        yield SettingProblem(name="DATABASE_URL", reason="must start with sqlite: or postgresql:")


def _live_problems(settings: GeneratorSettings) -> Iterator[SettingProblem]:
    """Yield everything that prevents live mode: each name with its reason, never a value."""
    for name in ("api_key", "crm_api_key", "platform_api_key"):
        yield from _secret_problem(name.upper(), getattr(settings, name), _KEY_MIN_CHARS if name == "api_key" else 1)
    if settings.read_only_api_key is not None:
        yield from _secret_problem("READ_ONLY_API_KEY", settings.read_only_api_key, _KEY_MIN_CHARS)
    yield from _secret_problem("API_KEY_ENCRYPTION_KEY", settings.api_key_encryption_key, KEY_MIN_CHARS)
    mocks = {_place(settings.mock_crm_base_url), _place(settings.mock_platform_base_url)}
    for name in ("crm_base_url", "platform_base_url"):
        url = getattr(settings, name)
        if url is None:
            yield SettingProblem(name=name.upper(), reason="is required in live mode")
        elif _looks_like_placeholder(url):
            yield SettingProblem(name=name.upper(), reason="is a placeholder")
        elif _place(url) in mocks:
            yield SettingProblem(name=name.upper(), reason="is the address of a mock")


def _secret_problem(name: str, secret: SecretStr | None, min_chars: int) -> Iterator[SettingProblem]:
    value = secret.get_secret_value().strip() if secret else ""
    if not value:
        yield SettingProblem(name=name, reason="is required in live mode")
    elif _looks_like_placeholder(value):
        yield SettingProblem(name=name, reason="is a placeholder")
    elif len(value) < min_chars:
        yield SettingProblem(name=name, reason=f"is shorter than {min_chars} characters")
    elif min_chars > 1 and len(set(value)) < _KEY_MIN_DISTINCT:
        yield SettingProblem(name=name, reason=f"is weak: it has fewer than {_KEY_MIN_DISTINCT} different characters")


def _looks_like_placeholder(value: str) -> bool:
    return any(word in value.lower() for word in _PLACEHOLDERS)


def _place(url: str) -> tuple[str, int]:
    """Return host and port, with the same host for all loopback names."""
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    return "loopback" if is_loopback(host) else host, parts.port or (443 if parts.scheme == "https" else 80)
