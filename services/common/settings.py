"""Settings of a service: the environment overrides the `.env` file, which overrides the default.

An empty value counts as unset. The `.env` file is the one named by TOOMBOS_ENV_FILE, else `.env` in the working
directory; it need not exist.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from dotenv.parser import Original, parse_stream
from pydantic import BeforeValidator, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from services.common.secrets import ENCRYPTED_PREFIX, decrypt

_NEWLINE = re.compile(r"\r\n|\n|\r")
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingProblem:
    """One unusable setting: the variable's name (or the location in the file) and the reason, never its value."""

    name: str
    reason: str


class SettingsError(Exception):
    """The settings are invalid: nothing was started."""

    def __init__(self, problems: tuple[SettingProblem, ...]) -> None:
        super().__init__("; ".join(f"{problem.name}: {problem.reason}" for problem in problems))
        self.problems = problems


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


class ServiceSettings(BaseSettings):
    """The settings of every service. Field `dry_run_mode` is the variable DRY_RUN_MODE, in exactly this case.

    The encryption key comes first because later fields are decrypted with it.
    """

    model_config = SettingsConfigDict(
        frozen=True,
        extra="ignore",
        case_sensitive=True,
        env_ignore_empty=True,
        hide_input_in_errors=True,
        env_file_encoding="utf-8-sig",
    )

    api_key_encryption_key: SecretStr | None = None
    host: str = "127.0.0.1"
    allowed_hosts: str = Field(default="", description="further names of this service, separated by commas")
    port: int = Field(ge=0, le=65535, description="0 takes any free port; the log names it")
    environment: str = "development"
    log_level: Annotated[LogLevel, BeforeValidator(_upper)] = "INFO"
    dry_run_mode: bool = False
    use_mock_services: bool = False
    shutdown_grace_s: float = Field(default=5.0, ge=0.1, le=60, description="for running requests, after SIGTERM")
    max_body_bytes: int = Field(default=1024 * 1024, ge=1024)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read field `dry_run_mode` from DRY_RUN_MODE and no other spelling."""
        for source in (env_settings, dotenv_settings):
            if isinstance(source, EnvSettingsSource):
                named = {field: source.env_vars.get(field.upper()) for field in settings_cls.model_fields}
                source.env_vars = {field: value for field, value in named.items() if value}
        return init_settings, env_settings, dotenv_settings

    @field_validator("*", mode="before")
    @classmethod
    def _decrypt(cls, value: object, info: ValidationInfo) -> object:
        if not (isinstance(value, str) and value.startswith(ENCRYPTED_PREFIX)):
            return value
        if info.field_name == "api_key_encryption_key":
            raise ValueError("the key cannot itself be encrypted")
        key: SecretStr | None = info.data.get("api_key_encryption_key")
        if key is None:
            raise ValueError("is encrypted (enc:), and API_KEY_ENCRYPTION_KEY is missing or invalid")
        return decrypt(value, key=key.get_secret_value())

    @property
    def needs_key(self) -> bool:
        """Whether callers must send a key, so that pages of other sites can do nothing with this service."""
        return False

    def secret_values(self) -> tuple[str, ...]:
        """Return every secret in clear, for the log to mask."""
        values = (getattr(self, name) for name in type(self).model_fields)
        return tuple(value.get_secret_value() for value in values if isinstance(value, SecretStr))

    @classmethod
    def load(cls) -> Self:
        """Return the settings of this process. Raise SettingsError with all problems, not only the first."""
        return _load(cls)


def listed(names: str) -> frozenset[str]:
    """Return the hosts of a setting that separates them by commas, in lower case."""
    hosts = (host.strip().rstrip(".").lower() for host in names.split(","))
    return frozenset(host for host in hosts if host)


SettingsT = TypeVar("SettingsT", bound=ServiceSettings)


def env_file() -> Path:
    """Where the `.env` file is looked for."""
    return Path(os.environ.get("TOOMBOS_ENV_FILE") or ".env")


def _load(cls: type[SettingsT]) -> SettingsT:
    path = env_file()
    problems = _env_file_problems(path)
    if problems:
        raise SettingsError(problems)
    arguments: dict[str, Any] = {"_env_file": path}
    try:
        return cls(**arguments)
    except ValidationError as error:
        raise SettingsError(tuple(_problem(detail) for detail in error.errors(include_input=False))) from None


def _problem(detail: Any) -> SettingProblem:
    name = "_".join(str(part) for part in detail["loc"]).upper() or "settings"
    reason: str = detail["msg"].removeprefix("Value error, ")
    return SettingProblem(name=name, reason="is required" if detail["type"] == "missing" else reason)


def _env_file_problems(path: Path) -> tuple[SettingProblem, ...]:
    """Return the lines that python-dotenv would skip with a warning, and the files that it could not read."""
    try:
        with path.open(encoding="utf-8-sig") as stream:
            lines = tuple(parse_stream(stream))
    except FileNotFoundError:
        return ()
    except UnicodeDecodeError:
        return (SettingProblem(name=str(path), reason="is not UTF-8 text"),)
    except OSError as error:
        return (SettingProblem(name=str(path), reason=error.strerror or type(error).__name__),)
    return tuple(
        SettingProblem(name=f"{path}:{_first_line(line.original)}", reason="is not a NAME=value line")
        for line in lines
        if line.error
    )


def _first_line(original: Original) -> int:
    """Return the 1-based line of the text: python-dotenv counts the blank lines before it as part of it."""
    text = original.string
    blank = text[: len(text) - len(text.lstrip())]
    return original.line + len(_NEWLINE.findall(blank))
