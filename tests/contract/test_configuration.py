"""The manifest, `.env.example` and the services' settings name the same variables and encrypt alike."""

import re
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, TypeAdapter, ValidationError

from services.common import secrets as services_secrets
from services.crm.settings import CrmSettings
from services.generator.settings import GeneratorSettings
from services.platform.settings import PlatformSettings
from toombos_cli.config.template import render_example
from toombos_cli.manifest.reading.loader import load_manifest
from toombos_cli.manifest.tables.environment import Variable
from toombos_cli.settings import encryption
from toombos_cli.settings.check import RULES
from toombos_cli.settings.env_file import parse_env_text
from toombos_cli.settings.types import type_error

ROOT = Path(__file__).parents[2]
SETTINGS = {"generator": GeneratorSettings, "crm": CrmSettings, "platform": PlatformSettings}
VARIABLES = load_manifest(Path("/nonexistent")).environment
FIELDS = [(service, name) for service, model in SETTINGS.items() for name in model.model_fields]


def variable_of(field: str) -> Variable:
    return VARIABLES[field.upper()]


@pytest.mark.parametrize("service", SETTINGS)
def test_a_service_reads_the_variables_listed_in_the_manifest(service):
    documented = {n for n, v in VARIABLES.items() if service in v.used_by and n != "TOOMBOS_ENV_FILE"}

    assert {name.upper() for name in SETTINGS[service].model_fields} == documented


@pytest.mark.parametrize(("service", "field"), FIELDS)
def test_manifest_and_service_agree_on_the_type(service, field):
    kind = _annotation(service, field)
    expected = {
        "bool": {bool},
        "int": {int},
        "float": {float},
        "choice": {"literal"},
        "json": {SecretStr},
        "dsn": {SecretStr},
        "str": {str, SecretStr},
        "url": {str},
    }
    assert kind in expected[variable_of(field).type]


@pytest.mark.parametrize(("service", "field"), FIELDS)
def test_manifest_and_service_agree_on_what_is_secret(service, field):
    variable = variable_of(field)

    assert (_annotation(service, field) is SecretStr) == (variable.secret or variable.type == "dsn")


@pytest.mark.parametrize(("service", "field"), FIELDS)
def test_manifest_and_service_agree_on_the_default(service, field):
    default = SETTINGS[service].model_fields[field].default
    variable = variable_of(field)
    if len({repr(SETTINGS[s].model_fields[field].default) for s in variable.used_by if s in SETTINGS}) > 1:
        assert variable.default == ""  # it differs between services: the description explains how
        return
    if not variable.default:
        assert default in (None, "")
        return
    shown = default.get_secret_value() if isinstance(default, SecretStr) else default
    assert TypeAdapter(type(shown)).validate_python(variable.default) == shown


BOUNDED = [(s, f) for s, f in FIELDS if variable_of(f).type in ("int", "float", "bool", "choice")]
SAMPLES = ["true", "off", "0", "1", "2", "-1", "0.5", "1e9", "70000", "65535", "601", "61", "info", "file", "x", "nan"]


@pytest.mark.parametrize(("service", "field"), BOUNDED)
def test_the_service_accepts_every_value_that_the_manifest_accepts(service, field):
    variable = variable_of(field)
    bounds = [f"{b:g}" for b in (variable.minimum, variable.maximum) if b is not None]
    for text in (*SAMPLES, *bounds, *variable.choices):
        if type_error(variable, text) is None:
            assert _takes(service, field, text), text


@pytest.mark.parametrize(("service", "field"), BOUNDED)
def test_the_manifest_accepts_every_value_that_the_service_accepts(service, field):
    variable = variable_of(field)
    for text in SAMPLES:
        if _takes(service, field, text) and text != "nan":
            assert type_error(variable, text) is None, text


def test_the_example_is_generated_from_the_manifest():
    assert (ROOT / ".env.example").read_text() == render_example(load_manifest(ROOT))


def test_the_example_names_every_variable_once_and_sets_only_the_safe_mode():
    text = (ROOT / ".env.example").read_text()

    assert re.findall(r"(?m)^#?([A-Z_]+)=", text) == list(VARIABLES)
    assert parse_env_text(text, ROOT).values == {"DRY_RUN_MODE": "true", "USE_MOCK_SERVICES": "true"}


@given(st.text(), st.text(min_size=32, max_size=60))
def test_the_services_decrypt_what_the_command_line_encrypts(clear, key):
    assert services_secrets.decrypt(encryption.encrypt(clear, key), key=key) == clear


def test_both_sides_refuse_a_short_key_and_a_wrong_key():
    assert encryption.KEY_MIN_CHARS == services_secrets.KEY_MIN_CHARS
    assert encryption.ENCRYPTED_PREFIX == services_secrets.ENCRYPTED_PREFIX
    token = encryption.encrypt("x", "k" * 32)
    for decrypt in (
        lambda key: encryption.decrypt(token, key),
        lambda key: services_secrets.decrypt(token, key=key),
    ):
        for key in ("k" * 31, "other" * 10):
            with pytest.raises(ValueError):  # noqa: PT011  (each side words it for its own users)
                decrypt(key)


def test_the_port_in_the_manifest_is_the_default_of_the_service():
    services = load_manifest(Path("/nonexistent")).services

    for name, model in SETTINGS.items():
        assert model.model_fields["port"].default == services[name].port


def test_the_documentation_lists_every_rule_once():
    table = (ROOT / "docs" / "configuration.md").read_text().partition("| id | reports |")[2].partition("\n\n")[0]
    listed = [name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])]

    assert sorted(listed) == sorted(rule.id for rule in RULES)


FINDING_KEYS = {"id", "group", "title", "service", "verdict", "reason", "evidence", "cause", "fix"} | {
    "explained_by",
    "duration_ms",
}
FIX_KEYS = ({"command", "safe", "undo"}, {"advice", "safe", "undo"})
CHANGE_KEYS = {"action", "path", "further", "names", "backup", "restart_needed", "to_take_over"}
DATA_KEYS = {
    ("check",): {"env_file", "findings", "mode"},
    ("show",): {"env_file", "service", "mode", "values"},
    ("init",): CHANGE_KEYS,
    ("encrypt",): CHANGE_KEYS,
    ("rotate-key",): CHANGE_KEYS,
    ("trust",): {"path", "directories", "directory", "removed", "changed"},
}


@pytest.mark.parametrize("command", DATA_KEYS, ids=" ".join)
def test_a_command_prints_the_documented_json_keys(toombos, project, command):
    import json

    if command != ("init",):
        toombos("config", "init")

    document: dict[str, Any] = json.loads(toombos("config", *command, "--json").stdout)

    assert set(document) == {"schema_version", "command", "verdict", "exit_code", "data", "errors"}
    assert document["command"] == f"config {command[0]}"
    assert set(document["data"]) == DATA_KEYS[command]
    for finding in document["data"].get("findings", ()):
        assert set(finding) == FINDING_KEYS
        assert finding["verdict"] in ("pass", "warn", "fail", "skip", "error")
        assert finding["fix"] is None or set(finding["fix"]) in FIX_KEYS
        assert all(set(evidence) == {"source", "line", "text"} for evidence in finding["evidence"])
    for value in document["data"].get("values", ()):
        assert {"name", "value", "source", "line"} <= set(value)


def _annotation(service: str, field: str) -> object:
    annotation: Any = SETTINGS[service].model_fields[field].annotation
    kinds = [kind for kind in get_args(annotation) if kind is not type(None)] or [annotation]
    kind = get_args(kinds[0])[0] if get_origin(kinds[0]) is Annotated else kinds[0]
    return kind if isinstance(kind, type) else "literal"


def _takes(service: str, field: str, text: str) -> bool:
    info = SETTINGS[service].model_fields[field]
    try:
        TypeAdapter(Annotated[info.annotation, *(info.metadata or [None])]).validate_python(text)
    except ValidationError:
        return False
    return True
