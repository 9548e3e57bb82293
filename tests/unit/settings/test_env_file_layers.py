"""Several env files: which one wins for which service, what is missing, and that every rule judges each of them."""

from pathlib import Path

import pytest

from toombos_cli.backup.scope import Stores, make_scope
from toombos_cli.base.errors import ConfigurationError
from toombos_cli.base.trust import NotTrustedError
from toombos_cli.manifest.reading.loader import load_manifest
from toombos_cli.project.configuration import gather_facts
from toombos_cli.project.mode import mode_now
from toombos_cli.settings.check import check_configuration
from toombos_cli.settings.env_files import digest, read_env_files
from toombos_cli.settings.known_secrets import known_secrets
from toombos_cli.settings.values import Origin, effective_values, shared_values

SERVICES = """
[services.web]
command = ["web"]
port = 7001
env_files = ["web.env", "web.local.env?"]
env = { FIXED = "service" }
default_env = { SUGGESTED = "manifest" }

[services.worker]
command = ["worker"]
scheme = "none"

[modes.dry_run]
env = {}

[environment.LOG_LEVEL]
description = "how much is logged"
default = "info"

[environment.WORKERS]
description = "processes"
type = "int"

[environment.VAULT_KEY]
description = "opens the vault"
secret = true
"""


def write(project: Path, listed: str = '["common.env", "prod.env"]', **files: str) -> Path:
    """Write a manifest with these env files, and files whose names are keywords with `_` for a dot."""
    (project / "toombos.toml").write_text(f"env_files = {listed}\n{SERVICES}")
    for name in ("common_env", "prod_env", "web_env"):
        files.setdefault(name, "")
    for name, text in files.items():
        path = project / name.replace("_", ".")
        path.write_text(text)
        path.chmod(0o600)
    return project


# files, service, name -> value, the file and line that it comes from
LAYERS = {
    "a file beats .env": ({"_env": "A=1\n", "common_env": "\nA=2\n"}, "worker", "A", "2", "common.env:2"),
    "the last file wins": ({"common_env": "A=2\n", "prod_env": "A=3\n"}, "worker", "A", "3", "prod.env:1"),
    ".env is read although it is not named": ({"_env": "A=1\n"}, "worker", "A", "1", ".env:1"),
    "the service's own file beats the system's": (
        {"prod_env": "A=3\n", "web_env": "A=4\n"},
        "web",
        "A",
        "4",
        "web.env:1",
    ),
    "another service does not get it": ({"prod_env": "A=3\n", "web_env": "A=4\n"}, "worker", "A", "3", "prod.env:1"),
    "the last of its own files wins": (
        {"web_env": "A=4\n", "web_local_env": "#\nA=5\n"},
        "web",
        "A",
        "5",
        "web.local.env:2",
    ),
    "its env table beats its own file": ({"web_env": "FIXED=4\n"}, "web", "FIXED", "service", "service"),
    "its own file beats its default_env": ({"web_env": "SUGGESTED=4\n"}, "web", "SUGGESTED", "4", "web.env:1"),
    "an empty value of a documented name leaves it to the file before": (
        {"common_env": "LOG_LEVEL=debug\n", "prod_env": "LOG_LEVEL=\n"},
        "worker",
        "LOG_LEVEL",
        "debug",
        "common.env:1",
    ),
    "a reference means a name of a file before": (
        {"_env": "HOST=db\n", "prod_env": "URL=pg://${HOST}/x\n"},
        "worker",
        "URL",
        "pg://db/x",
        "prod.env:1",
    ),
    "a reference means a name of the system's files in the service's own": (
        {"prod_env": "HOST=db\n", "web_env": "URL=pg://${HOST}/x\n"},
        "web",
        "URL",
        "pg://db/x",
        "web.env:1",
    ),
}


@pytest.mark.parametrize(("files", "service", "name", "value", "place"), LAYERS.values(), ids=LAYERS.keys())
def test_the_strongest_file_wins_and_is_named(tmp_path, files, service, name, value, place):
    manifest = load_manifest(write(tmp_path, **files))
    env_files = read_env_files(manifest)

    found = effective_values(manifest, manifest.services[service], env_files, environ={})[name]

    shown = found.source(env_files)
    assert (found.value, shown if found.line is None else f"{shown}:{found.line}") == (value, place)


def test_the_environment_beats_every_file(tmp_path):
    manifest = load_manifest(write(tmp_path, prod_env="A=3\n", web_env="A=4\n"))

    found = effective_values(manifest, manifest.services["web"], read_env_files(manifest), environ={"A": "0"})["A"]

    assert (found.value, found.origin) == ("0", Origin.ENVIRONMENT)


def test_env_has_the_place_that_the_list_gives_it(tmp_path):
    manifest = load_manifest(write(tmp_path, '["common.env", ".env"]', _env="A=1\n", common_env="A=2\n"))

    assert shared_values(manifest, read_env_files(manifest), environ={})["A"].value == "1"


def test_a_file_may_be_in_another_directory(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / "app" / "config").mkdir(parents=True)
    elsewhere.mkdir()
    (elsewhere / "all.env").write_text("A=1\n")
    (tmp_path / "app" / "config" / "prod.env").write_text("B=2\n")
    manifest = load_manifest(
        write(tmp_path / "app", f'["config/prod.env", "{elsewhere}/all.env", "../elsewhere/all.env"]')
    )

    values = shared_values(manifest, read_env_files(manifest), environ={})

    assert (values["A"].value, values["B"].value) == ("1", "2")


MISSING = {
    "a file of the system": ("prod.env", '"prod.env?"'),
    "a file of a service": ("web.env", '"web.env?"'),
}


@pytest.mark.parametrize(("name", "hint"), MISSING.values(), ids=MISSING.keys())
def test_a_missing_file_is_an_error_with_the_way_to_make_it_optional(tmp_path, name, hint):
    write(tmp_path, _env="A=1\n").joinpath(name).unlink()

    with pytest.raises(ConfigurationError, match="does not exist, but env_files names it") as raised:
        read_env_files(load_manifest(tmp_path))

    assert raised.value.problems[0].where == str(tmp_path / name)
    assert hint in str(raised.value.problems[0].hint)


def test_the_hint_for_a_misspelt_file_is_the_one_beside_it(tmp_path):
    write(tmp_path, '["production.emv"]').joinpath("production.env").write_text("A=1\n")

    with pytest.raises(ConfigurationError) as raised:
        read_env_files(load_manifest(tmp_path))

    assert str(tmp_path / "production.env") in str(raised.value.problems[0].hint)


INVALID = {
    "an empty name": '[""]',
    "only a question mark": '["?"]',
    "no list": '"prod.env"',
    "a number": "[1]",
}


@pytest.mark.parametrize("listed", INVALID.values(), ids=INVALID.keys())
@pytest.mark.parametrize("whose", ["the system's", "a service's"])
def test_what_cannot_be_a_list_of_files_is_refused_with_its_line(tmp_path, listed, whose):
    write(tmp_path, listed if whose == "the system's" else "[]")
    if whose == "a service's":
        path = tmp_path / "toombos.toml"
        path.write_text(path.read_text().replace('["web.env", "web.local.env?"]', listed))

    with pytest.raises(ConfigurationError) as raised:
        load_manifest(tmp_path)

    assert "env_files" in raised.value.problems[0].message
    line = 1 if whose == "the system's" else 6
    assert raised.value.problems[0].where == f"{tmp_path / 'toombos.toml'}:{line}"


def _world_writable_file(project: Path) -> None:
    (project / "prod.env").chmod(0o666)


def _world_writable_directory(project: Path) -> None:
    (project / "etc").chmod(0o777)


@pytest.mark.parametrize("spoil", [_world_writable_file, _world_writable_directory])
def test_a_file_that_others_could_have_written_is_not_believed(tmp_path, spoil):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "deep.env").write_text("A=1\n")
    write(tmp_path, '["prod.env", "etc/deep.env"]', prod_env="A=1\n")
    spoil(tmp_path)

    with pytest.raises(NotTrustedError):
        read_env_files(load_manifest(tmp_path))


def findings(project: Path) -> list[tuple[str, str, str]]:
    """Return the rule, verdict and place of each finding that is not a pass."""
    found = check_configuration(gather_facts(load_manifest(project), environ={}))
    return [
        (f.id, str(f.verdict), f"{Path(e.source).name}:{e.line}" if e.line else Path(e.source).name)
        for f in found
        if f.verdict in ("warn", "fail")
        for e in f.evidence[:1]
    ]


RULES = {
    "a dropped line": ("parse", "LOG_LEVEL: debug\n", 1),
    "spaces around =": ("spaces", "\nLOG_LEVEL = debug\n", 2),
    "a name set twice": ("duplicates", "LOG_LEVEL=a\nLOG_LEVEL=b\n", 1),
    "a value that a shell reads differently": ("portability", "LOG_LEVEL=a b\n", 1),
    "a misspelt name": ("extra", "LOG_LEVELL=debug\n", 1),
    "another spelling of a name": ("extra", "log_level=debug\n", 1),
    "a value of the wrong type": ("types", "WORKERS=many\n", 1),
}


@pytest.mark.parametrize("file", ["common_env", "web_env"])
@pytest.mark.parametrize(("rule", "text", "line"), RULES.values(), ids=RULES.keys())
def test_the_rules_judge_every_file(tmp_path, rule, text, line, file):
    write(tmp_path, _env="LOG_LEVEL=info\n", **{file: text})

    assert (rule, f"{file.replace('_', '.')}:{line}") in [(id_, place) for id_, _, place in findings(tmp_path)]


@pytest.mark.parametrize("file", ["prod.env", "web.env"])
def test_a_file_that_others_can_read_is_a_warning(tmp_path, file):
    write(tmp_path, _env="LOG_LEVEL=info\n").joinpath(file).chmod(0o644)

    assert ("mode", "warn", file) in findings(tmp_path)


@pytest.mark.parametrize("file", ["prod.env", "web.env"])
def test_a_missing_file_is_a_finding(tmp_path, file):
    write(tmp_path, _env="LOG_LEVEL=info\n").joinpath(file).unlink()

    assert ("load", "fail", file) in findings(tmp_path)


def test_a_fix_edits_the_file_that_sets_the_value(tmp_path):
    write(tmp_path, _env="WORKERS=2\n", prod_env="#\nworkers=3\n")
    facts = gather_facts(load_manifest(tmp_path), environ={})

    (finding,) = (f for f in check_configuration(facts) if f.id == "extra" and f.verdict == "fail")

    assert "2s/" in str(finding.fix)
    assert str(tmp_path / "prod.env") in str(finding.fix)


@pytest.mark.parametrize("file", ["_env", "prod_env", "web_env"])
def test_a_secret_of_any_file_is_known(tmp_path, file):
    manifest = load_manifest(write(tmp_path, **{file: "VAULT_KEY=xK9-unguessable-77\n"}))

    known = known_secrets(manifest, read_env_files(manifest), mode=None, environ={})

    assert "xK9-unguessable-77" in {value for _, value in known}


@pytest.mark.parametrize("file", [".env", "prod.env", "web.env", "web.local.env"])
def test_a_change_of_any_file_shows(tmp_path, file):
    manifest = load_manifest(write(tmp_path, _env="A=1\n"))
    before = digest(read_env_files(manifest))

    (tmp_path / file).write_text("A=7\n")

    assert digest(read_env_files(manifest)) != before


def test_without_env_the_mode_is_not_dry_run_if_another_file_could_ask_for_another(tmp_path):
    manifest = load_manifest(write(tmp_path))
    assert mode_now(manifest) is None

    for name in ("common.env", "prod.env", "web.env"):
        (tmp_path / name).unlink()
    assert mode_now(manifest) == "dry_run"


def test_a_backup_that_saves_env_saves_the_others_in_the_project(tmp_path):
    manifest = load_manifest(write(tmp_path, '["prod.env", "/etc/hostname?"]', web_local_env="A=1\n"))

    roots = {root.path for root in make_scope(manifest, Stores()).roots}

    assert {".env", "prod.env", "web.env", "web.local.env"} <= roots
    assert not any("hostname" in root for root in roots)
