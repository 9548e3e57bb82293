"""`config init --from FILE`, the files that `config init --manifest` names, and `config schema`."""

import json
import shlex
import stat

import pytest

from toombos_cli.manifest.reading.loader import load_manifest

PROCFILE = "web: python3 -m http.server $PORT\nworker: python3 -c 'import time; time.sleep(99)'\n"


@pytest.fixture
def directory(tmp_path):
    """A directory without a manifest, below the project of the other fixtures."""
    directory = tmp_path / "a new one"
    directory.mkdir()
    return directory


def test_a_file_becomes_a_manifest_that_start_understands(toombos, directory):
    (directory / "Procfile").write_text(PROCFILE)
    done = toombos("config", "init", "--from", "Procfile", cwd=directory)
    assert done.returncode == 0
    assert done.stdout == f"wrote {directory / 'toombos.toml'} from Procfile, with web, worker\n"
    assert done.stderr == "hint: toombos start --preview\n"
    assert "web on 127.0.0.1:5000" in toombos("start", "--preview", cwd=directory).stdout


def test_a_manifest_is_replaced_only_with_force_and_kept_as_a_copy(toombos, directory):
    (directory / "Procfile").write_text(PROCFILE)
    (directory / "toombos.toml").write_text("# mine\n")
    done = toombos("config", "init", "--from", "Procfile", cwd=directory)
    assert (done.returncode, (directory / "toombos.toml").read_text()) == (5, "# mine\n")
    hint = done.stderr.rpartition("hint: toombos ")[2]
    assert toombos(*shlex.split(hint), cwd=directory).returncode == 0
    assert (directory / "toombos.toml.bak").read_text() == "# mine\n"
    assert list(load_manifest(directory).services) == ["web", "worker"]


def test_a_link_in_the_place_of_the_manifest_is_not_written_through(toombos, directory):
    (directory / "Procfile").write_text(PROCFILE)
    (directory / "toombos.toml").symlink_to(directory / "elsewhere")
    assert toombos("config", "init", "--from", "Procfile", cwd=directory).returncode == 5
    assert not (directory / "elsewhere").exists()


@pytest.mark.parametrize(
    "options",
    [
        ["--force"],
        ["--manifest", "--force"],
        ["--example", "--from", "Procfile"],
        ["--from", "nowhere"],
        ["--from", "."],
    ],
    ids=" ".join,
)
def test_what_makes_no_sense_is_a_usage_error(toombos, directory, options):
    (directory / "Procfile").write_text(PROCFILE)
    assert toombos("config", "init", *options, cwd=directory).returncode == 2
    assert [path.name for path in directory.iterdir()] == ["Procfile"]


def test_a_wrong_line_is_reported_with_its_place(toombos, directory):
    (directory / "compose.yaml").write_text("services:\n  a: {}\n")
    done = toombos("config", "init", "--from", "compose.yaml", cwd=directory)
    assert (done.returncode, done.stdout) == (3, "")
    assert "compose.yaml:2: services.a: has neither image nor build" in done.stderr


def test_an_unknown_file_lists_what_can_be_read(toombos, directory):
    (directory / "x.txt").write_text("hello\n")
    done = toombos("config", "init", "--from", "x.txt", cwd=directory)
    assert done.returncode == 3
    for name in ("Procfile", "Compose", "process-compose", "supervisord", "ecosystem.json", "package.json"):
        assert name in done.stderr


def test_what_is_left_to_do_is_listed_and_is_a_warning(toombos, directory):
    (directory / "compose.yaml").write_text(
        "services:\n  a: {image: 'x/y:1'}\n"
        "  b: {image: 'python:3', command: no-such-program, environment: {API_KEY: abc77}}\n"
    )
    done = toombos("config", "init", "--from", "compose.yaml", cwd=directory)
    assert (done.returncode, f"wrote {directory / '.env'} (mode 0600): API_KEY\n" in done.stdout) == (0, True)
    assert "  a: left out of the start until its comment is followed\n" in done.stderr
    assert " docker inspect -f '{{.Config.Entrypoint}} {{.Config.Cmd}}' x/y:1\n" in done.stderr
    assert "  b: the program no-such-program is not on this machine\n" in done.stderr
    assert "abc77" not in done.stdout + done.stderr


def test_in_json_the_report_is_complete_and_holds_no_secret(toombos, directory):
    (directory / "ecosystem.json").write_text('{"apps": [{"script": "a.js", "env": {"API_KEY": "abc77777"}}]}')
    done = toombos("config", "init", "--from", "ecosystem.json", "--json", cwd=directory)
    document = json.loads(done.stdout)
    assert (document["command"], document["data"]["services"]) == ("config init", ["a"])
    assert document["data"]["secrets"] == ["API_KEY"]
    assert "abc77777" not in done.stdout


def test_the_manifest_is_as_public_as_other_files_and_the_secrets_are_not(toombos, directory):
    (directory / "Procfile").write_text("a: API_KEY=abc77777 x\n")
    toombos("config", "init", "--from", "Procfile", cwd=directory)
    modes = [stat.S_IMODE((directory / name).stat().st_mode) for name in ("toombos.toml", ".env")]
    assert modes == [0o644, 0o600]


def test_another_directory_is_that_of_project(toombos, directory):
    (directory / "there").mkdir()
    (directory / "Procfile").write_text("a: sleep 9\n")
    done = toombos("--project", "there", "config", "init", "--from", "Procfile", cwd=directory)
    assert done.returncode == 0
    assert load_manifest(directory / "there").services["a"].cwd == str(directory / "there" / "..")


def test_the_first_manifest_names_the_files_that_could_be_taken_over_with_the_command(toombos, directory):
    (directory / "Procfile").write_text(PROCFILE)
    (directory / "compose.yaml").write_text("services: {a: {image: 'redis:7'}}\n")
    (directory / "package.json").write_text('{"scripts": {"test": "x"}}')  # nothing to run
    (directory / "supervisord.conf").write_text("broken\n")
    done = toombos("config", "init", "--manifest", cwd=directory)
    named = [line.rpartition(": toombos ")[2] for line in done.stderr.splitlines() if "take its services over" in line]
    assert named == ["config init --from compose.yaml --force", "config init --from Procfile --force"]
    assert toombos(*named[1].split(), cwd=directory).returncode == 0
    assert list(load_manifest(directory).services) == ["web", "worker"]


def test_without_such_files_nothing_is_named(toombos, directory):
    assert "take its services over" not in toombos("config", "init", "--manifest", cwd=directory).stderr


def test_the_schema_is_printed_as_it_is_to_be_saved(toombos, directory):
    done = toombos("config", "schema", cwd=directory)
    schema = json.loads(done.stdout)
    assert (done.returncode, schema["$schema"]) == (0, "https://json-schema.org/draft/2020-12/schema")
    assert json.loads(toombos("--json", "config", "schema", cwd=directory).stdout)["data"]["schema"] == schema


@pytest.mark.parametrize("options", [["--manifest"], ["--from", "Procfile"]], ids=" ".join)
def test_a_written_manifest_names_its_schema_in_its_first_line(toombos, directory, options):
    (directory / "Procfile").write_text(PROCFILE)
    toombos("config", "init", *options, cwd=directory)
    assert (directory / "toombos.toml").read_text().startswith("#:schema toombos.schema.json\n")
