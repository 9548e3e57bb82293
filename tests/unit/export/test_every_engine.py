"""What holds for the files of all engines: no secrets, the same each time, nothing left out in silence."""

from pathlib import Path

import msgspec
import pytest

from tests.support.exported_shop import CANARIES, write_shop
from toombos_cli.base.errors import ConfigurationError, RefusedError
from toombos_cli.base.results import Verdict
from toombos_cli.export.fates import SERVICE, Left
from toombos_cli.export.model import MARK, ExportEngine
from toombos_cli.export.operations import run_diff, run_export
from toombos_cli.export.reports import FileState
from toombos_cli.manifest.reading.loader import load_manifest
from toombos_cli.manifest.tables.service import DEFAULTS, Limits, RestartTable

each_engine = pytest.mark.parametrize("engine", ExportEngine)


def texts_in(directory: Path) -> dict[str, str]:
    return {str(p.relative_to(directory)): p.read_text() for p in sorted(directory.rglob("*")) if p.is_file()}


@each_engine
@pytest.mark.parametrize("canary", CANARIES)
def test_no_file_holds_a_secret_or_a_value_of_the_env_file(shop, exported, engine, canary):
    assert [name for name, text in texts_in(exported[engine].output).items() if canary in text] == []


@each_engine
def test_a_secret_of_the_manifest_is_a_variable_to_put_into_the_env_file(exported, engine):
    named = {item.what for item in exported[engine].left_out}
    assert {"CACHE_SECRET", "DATABASE_URL", "SECRET_KEY"} <= named


@each_engine
def test_the_same_project_gives_the_same_files(shop, exported, engine):
    again = run_export(load_manifest(shop), engine, output=exported[engine].output, check=False)
    assert {row.state for row in again.files} == {FileState.UNCHANGED}


@each_engine
def test_every_file_says_what_wrote_it(exported, engine):
    assert [name for name, text in texts_in(exported[engine].output).items() if MARK not in text] == []


def set_keys(service):
    """Return the keys of a service that differ from their defaults."""
    for key, default in DEFAULTS.items():
        value = getattr(service, key)
        if isinstance(value, RestartTable | Limits):
            inner = msgspec.structs.fields(type(value))
            yield from (f"{key}.{f.name}" for f in inner if getattr(value, f.name) != f.default)
        elif value != default:
            yield key


@each_engine
def test_every_key_that_is_not_carried_over_is_listed(shop, exported, engine):
    expected = {
        f"services.{name}.{key}"
        for name, service in load_manifest(shop).services.items()
        for key in set_keys(service)
        if isinstance(SERVICE[key].of(engine), Left)
    }
    assert expected
    assert expected - {item.what for item in exported[engine].left_out} == set()


@each_engine
def test_a_job_of_our_own_supervisor_is_left_out(shop, exported, engine):
    assert any(item.what in ("schedule", "schedule.revival") for item in exported[engine].left_out)
    assert not any("revival" in name for name in texts_in(exported[engine].output))


@pytest.fixture
def own(tmp_path):
    return write_shop(tmp_path / "shop")


@each_engine
@pytest.mark.parametrize("content", [b"mine\n", b"\xff\xfe\0", b""], ids=["a text", "no text", "empty"])
def test_a_file_of_somebody_else_is_not_overwritten(own, engine, content):
    report = run_export(load_manifest(own), engine, output=own / "out", check=False)
    foreign = own / "out" / report.files[0].path
    foreign.write_bytes(content)
    with pytest.raises(RefusedError):
        run_export(load_manifest(own), engine, output=own / "out", check=False)
    assert foreign.read_bytes() == content


@each_engine
def test_a_difference_is_shown_and_nothing_is_written(own, engine):
    manifest = load_manifest(own)
    report = run_export(manifest, engine, output=own / "out", check=False)
    assert run_diff(manifest, engine, own / "out").verdict is Verdict.WARN  # something is left out, nothing differs
    changed = own / "out" / report.files[0].path
    changed.write_text(changed.read_text() + "# by hand\n")
    before = texts_in(own / "out")
    compared = run_diff(manifest, engine, own / "out")
    assert compared.verdict is Verdict.FAIL
    assert "-# by hand" in compared.differences[report.files[0].path]
    assert texts_in(own / "out") == before


@each_engine
def test_a_check_alone_writes_nothing(own, engine):
    report = run_export(load_manifest(own), engine, output=None, check=True)
    assert report.checks
    assert not (own / "export").exists()


def test_a_file_of_a_removed_service_is_reported_and_kept(own):
    run_export(load_manifest(own), ExportEngine.SYSTEMD, output=own / "out", check=False)
    text = (own / "toombos.toml").read_text()
    (own / "toombos.toml").write_text(text.replace("[services.front]", "[services.facade]"))
    report = run_export(load_manifest(own), ExportEngine.SYSTEMD, output=own / "out", check=False)
    assert [row.path for row in report.files if row.state is FileState.OBSOLETE] == ["shop-front.service"]
    assert (own / "out" / "shop-front.service").exists()


def test_two_services_that_containers_cannot_tell_apart_are_an_error(own):
    text = (own / "toombos.toml").read_text()
    (own / "toombos.toml").write_text(f'{text}\n[services."Web"]\ncommand = ["sleep", "9"]\nscheme = "none"\n')
    with pytest.raises(ConfigurationError, match="would both be web"):
        run_export(load_manifest(own), ExportEngine.COMPOSE, output=own / "out", check=False)


@pytest.mark.parametrize(
    ("engine", "path"),
    [(ExportEngine.SYSTEMD, "secrets.env"), (ExportEngine.KUBERNETES, "base/secrets.yaml")],
    ids=["systemd", "kubernetes"],
)
def test_secrets_are_written_on_request_into_a_private_file_alone(own, engine, path):
    run_export(load_manifest(own), engine, output=own / "out", check=False, with_secrets=True)
    texts = texts_in(own / "out")
    assert "Canary-Dot-11aB" in texts[path]
    assert "Canary-Cmd-77xQ" in texts[path]
    assert (own / "out" / path).stat().st_mode & 0o777 == 0o600
    assert [name for name, text in texts.items() if "Canary" in text] == [path]


@each_engine
@pytest.mark.parametrize("value", ["redis-server", "value", "shop1"], ids=["a program", "a word of ours", "a name"])
def test_a_weak_secret_neither_breaks_a_command_nor_prevents_the_export(own, engine, value):
    (own / ".env").write_text(f"CACHE_PASSWORD={value}\n")
    report = run_export(load_manifest(own), engine, output=own / "out", check=False)
    texts = "".join(texts_in(report.output).values())
    assert "redis-server" in texts


SYSTEMD, COMPOSE, KUBERNETES = ExportEngine
READ_OTHERWISE = {
    "a plain value": ("plain", set()),
    "a value in quotes": ("'a b'", {KUBERNETES}),
    "a value with a comment behind": ("one # two", {SYSTEMD, KUBERNETES}),
    "a value that refers to another": ("${OTHER}/x", {SYSTEMD, KUBERNETES}),
    "an encrypted value": ("enc:abc", {SYSTEMD, COMPOSE, KUBERNETES}),
    "an address on this machine": ("http://127.0.0.1:1/", {COMPOSE, KUBERNETES}),
}


@each_engine
@pytest.mark.parametrize(("written", "engines"), READ_OTHERWISE.values(), ids=READ_OTHERWISE.keys())
def test_a_line_of_the_env_file_that_the_engine_reads_otherwise_is_listed(own, engine, written, engines):
    (own / ".env").write_text(f"SETTING={written}\n")
    report = run_export(load_manifest(own), engine, output=own / "out", check=False)
    assert (".env: SETTING" in {item.what for item in report.left_out}) is (engine in engines)
