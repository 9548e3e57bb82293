"""`toombos config` as users run it: exit codes, text, JSON, and its changes to `.env`."""

import json
import os
import stat
import subprocess
from pathlib import Path

import pytest

from toombos_cli.config import template
from toombos_cli.manifest.reading.loader import load_manifest
from toombos_cli.settings.env_file import read_env_file

SECRET = "s3cr3t-K9x_w2Vb7Lm4Qp8Zt6Rd1Ny5Hc0Jf"
KEY = "k3y-A8s_d7Fg6Hj5Kl4Qw3Er2Ty1Ui0Op9Zx"
SAFE = "DRY_RUN_MODE=true\nUSE_MOCK_SERVICES=true\n"


def write(project: Path, text: str) -> Path:
    path = project / ".env"
    path.write_text(text)
    path.chmod(0o600)
    return path


class TestCheck:
    def test_a_valid_configuration_prints_one_line_and_exits_0(self, toombos, project):
        path = write(project, SAFE)

        done = toombos("config", "check")

        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.count("\n") == 1
        assert done.stdout.startswith(f"{path}: ")

    def test_an_invalid_line_exits_1_with_its_number_the_reason_and_the_fix_on_its_own_line(self, toombos, project):
        path = write(project, f"DRY_RUN_MODE: true\nUSE_MOCK_SERVICES=true\nAPI_KEY={SECRET}\n")

        done = toombos("config", "check")

        assert done.returncode == 1
        lines = done.stdout.splitlines()
        assert lines[0].startswith("FAIL  parse: DRY_RUN_MODE on line 1 is silently dropped")
        assert lines[0].endswith("dry-run is OFF")
        assert lines[1].strip() == f"{path}:1  DRY_RUN_MODE: true"
        subprocess.run(["bash", "-c", lines[3]], check=True)
        assert toombos("config", "check").returncode == 0

    @pytest.mark.parametrize(
        ("keys", "message"),
        [
            pytest.param('path = "/x/${id}"', "no earlier step captures ${id}", id="in a path"),
            pytest.param('path = "/x"\njson = { a = "${id}" }', "no earlier step captures ${id}", id="in a condition"),
            pytest.param(
                'path = "/x"\ncleanup = { path = "/x/${id}" }', "no earlier step captures ${id}", id="in a cleanup"
            ),
            pytest.param('send = "x"', "are for services with scheme = 'tcp'", id="of another kind of service"),
        ],
    )
    def test_a_smoke_step_that_cannot_work_exits_3_with_its_line(self, toombos, project, keys, message):
        write(project, SAFE)
        manifest = project / "toombos.toml"
        before = manifest.read_text()
        manifest.write_text(f'{before}[[smoke]]\nname = "a"\nservice = "crm"\n{keys}\n')

        for command in (("config", "check"), ("smoke",)):
            done = toombos(*command)

            assert done.returncode == 3, done.stdout + done.stderr
            assert message in done.stderr
            assert f"{manifest}:{before.count(chr(10)) + 1}" in done.stderr

    def test_warnings_exit_0_and_with_strict_1(self, toombos, project):
        write(project, SAFE + "LOG_LEVEL = INFO\n")

        assert toombos("config", "check").returncode == 0
        assert toombos("config", "check", "--strict").returncode == 1

    def test_json_has_the_findings_and_the_same_exit_code(self, toombos, project):
        write(project, SAFE + f"API_KEY: {SECRET}\n")

        done = toombos("config", "check", "--json")
        document = json.loads(done.stdout)

        assert (done.returncode, document["exit_code"], document["verdict"]) == (1, 1, "fail")
        (finding,) = (f for f in document["data"]["findings"] if f["verdict"] == "fail")
        assert (finding["id"], finding["evidence"][0]["line"]) == ("parse", 3)
        assert SECRET not in done.stdout

    def test_junit_has_one_case_per_finding(self, toombos, project):
        write(project, SAFE + "REQUEST_TIMEOUT=abc\n")

        done = toombos("config", "check", "--format", "junit")

        assert done.returncode == 1
        assert 'failures="1"' in done.stdout

    def test_dry_run_checks_the_settings_that_start_dry_run_would_use(self, toombos, project):
        write(project, "")

        assert toombos("config", "check").returncode == 1
        assert toombos("config", "check", "--dry-run").returncode == 0

    def test_quiet_prints_nothing_if_everything_passes(self, toombos, project):
        write(project, SAFE)

        assert toombos("config", "check", "--quiet").stdout == ""

    def test_verbose_prints_every_rule(self, toombos, project):
        from toombos_cli.settings.check import RULES

        write(project, SAFE)

        lines = toombos("config", "check", "--verbose").stdout.splitlines()

        assert {rule.id for rule in RULES} <= {line.split()[1].rstrip(":") for line in lines if len(line.split()) > 1}

    def test_an_exported_variable_shadows_the_file(self, toombos, project):
        write(project, SAFE)

        done = toombos("config", "check", env={"DRY_RUN_MODE": "false"})

        assert done.returncode == 1
        assert "unset DRY_RUN_MODE" in done.stdout

    def test_the_searched_paths_are_listed_when_run_from_the_root_directory(self, toombos):
        done = toombos("config", "check", cwd=Path("/"))

        assert done.returncode == 1
        assert "not_found: no project here" in done.stdout
        assert "--project DIR" in done.stdout

    def test_an_invalid_manifest_exits_3(self, toombos, project):
        (project / "toombos.toml").write_text("nonsense = 1\n")

        assert toombos("config", "check").returncode == 3

    def test_output_into_a_closed_pipe_is_not_a_failure(self, toombos, project):
        write(project, "X: 1\n" * 200)

        done = subprocess.run(
            ["bash", "-c", "set -o pipefail; python3 -P -m toombos_cli config check | head -1"],
            cwd=project,
            env=os.environ | {"PATH": f"{Path(os.sys.executable).parent}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            timeout=60,
        )

        assert done.stdout.count("\n") == 1
        assert "Traceback" not in done.stderr


class TestShow:
    def test_show_masks_secrets_and_names_sources_and_lines(self, toombos, project):
        write(project, SAFE + f"API_KEY={SECRET}\nDATABASE_URL=postgresql://u:{SECRET}@db/x\nOTHER_THING={SECRET}\n")

        done = toombos("config", "show", env={"LOG_LEVEL": "DEBUG"})
        rows = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()}

        assert done.returncode == 0
        assert rows["DRY_RUN_MODE"] == ["true", ".env:1"]
        assert rows["LOG_LEVEL"] == ["DEBUG", "environment"]
        assert rows["ENVIRONMENT"] == ["development", "default"]
        assert rows["API_KEY"] == ["********", ".env:3"]
        assert rows["DATABASE_URL"] == ["postgresql://u:********@db/x", ".env:4"]
        assert rows["OTHER_THING"] == ["********", ".env:5"]
        assert rows["CRM_API_KEY"] == ["-", "unset"]
        assert SECRET not in done.stdout + done.stderr

    def test_show_marks_a_value_that_overrides_a_line(self, toombos, project):
        write(project, SAFE)

        out = toombos("config", "show", env={"DRY_RUN_MODE": "false"}).stdout

        assert out.splitlines()[1].split(maxsplit=2)[1:] == ["false", "environment (over .env:1)"]

    def test_a_service_gets_its_own_values(self, toombos, project):
        write(project, SAFE)

        values = json.loads(toombos("config", "show", "crm", "--json").stdout)["data"]["values"]
        by_name = {value["name"]: value for value in values}

        assert by_name["PORT"]["source"] == "service"
        assert by_name["PORT"]["value"].isdigit()
        assert "API_KEY" not in by_name

    def test_the_mode_overrides_the_file(self, toombos, project):
        write(project, "DRY_RUN_MODE=false\n")

        values = json.loads(toombos("config", "show", "--dry-run", "--json").stdout)["data"]["values"]

        assert {"value": "true", "source": "mode"}.items() <= values[0].items()

    def test_an_unknown_service_is_a_usage_error(self, toombos):
        done = toombos("config", "show", "crmm")

        assert done.returncode == 2
        assert "did you mean 'crm'?" in done.stderr

    def test_an_unreadable_file_exits_3(self, toombos, project):
        (project / ".env").write_bytes(b"A=\xff\n")

        done = toombos("config", "show")

        assert (done.returncode, done.stdout) == (3, "")
        assert f"{project / '.env'}:1: not UTF-8" in done.stderr


class TestInit:
    def test_init_writes_a_private_valid_file_that_starts_in_dry_run_mode(self, toombos, project):
        done = toombos("config", "init")

        values = read_env_file(project).values
        assert done.returncode == 0
        assert stat.S_IMODE((project / ".env").stat().st_mode) == 0o600
        assert (values["DRY_RUN_MODE"], values["USE_MOCK_SERVICES"]) == ("true", "true")
        assert values["API_KEY"] != values["API_KEY_ENCRYPTION_KEY"]
        assert not [v for v in values.values() if len(v) > 20 and v in done.stdout + done.stderr]
        assert toombos("config", "check", "--strict").returncode == 0
        assert list(project.glob(".env*")) == [project / ".env"]

    def test_init_generates_new_secrets_each_time(self, toombos, project):
        toombos("config", "init")
        first = read_env_file(project).values["API_KEY"]
        (project / ".env").unlink()
        toombos("config", "init")

        assert read_env_file(project).values["API_KEY"] != first

    def test_an_existing_file_is_never_overwritten(self, toombos, project):
        path = write(project, "A=1\n")

        done = toombos("config", "init")

        assert (done.returncode, path.read_text()) == (5, "A=1\n")
        assert list(project.glob(".env*")) == [path]

    def test_the_first_manifest_is_valid_and_never_overwrites_another(self, toombos, tmp_path):
        directory = tmp_path / "below" / "a project"
        directory.mkdir(parents=True)

        done = toombos("config", "init", "--manifest", cwd=directory)

        page, hint = done.stderr.splitlines()
        assert (done.returncode, hint) == (0, "hint: toombos start --preview")
        assert Path(page.removeprefix("every key: ")).is_file()
        assert "app on 127.0.0.1:8080" in toombos("start", "--preview", cwd=directory).stdout
        text = (directory / "toombos.toml").read_text()
        again = toombos("config", "init", "--manifest", cwd=directory)
        assert (again.returncode, (directory / "toombos.toml").read_text()) == (5, text)

    def test_the_commented_settings_of_the_first_manifest_are_valid_too(self, tmp_path):
        starter = (Path(template.__file__).with_name("starter.toml")).read_text()
        offered = "".join(
            line[1:] if line.startswith("#") and not line.startswith(("# ", "#:")) else line
            for line in starter.splitlines(keepends=True)
        )
        (tmp_path / "toombos.toml").write_text(offered)

        manifest = load_manifest(tmp_path)

        assert {"app", "worker", "prometheus"} <= manifest.services.keys()
        assert manifest.smoke
        assert manifest.environment["API_KEY"].generate

    def test_the_example_is_printed_and_nothing_is_written(self, toombos, project):
        done = toombos("config", "init", "--example")

        assert done.returncode == 0
        assert "\nDRY_RUN_MODE=true\n" in done.stdout
        assert "\n#API_KEY=\n" in done.stdout
        assert not (project / ".env").exists()


class TestEncrypt:
    TEXT = (
        f"# the keys\n{SAFE}API_KEY_ENCRYPTION_KEY={KEY}\n\nexport API_KEY='{SECRET}'  # of the callers\n"
        "CRM_API_KEY=\nLOG_LEVEL=INFO\n"
    )

    def test_secrets_are_encrypted_in_place_and_the_services_read_them(self, toombos, project):
        from services.common.secrets import decrypt

        path = write(project, self.TEXT)

        done = toombos("config", "encrypt")

        text = path.read_text()
        values = read_env_file(project).values
        assert done.returncode == 0
        assert decrypt(values["API_KEY"], key=KEY) == SECRET
        assert SECRET not in text + done.stdout + done.stderr
        assert text.replace(values["API_KEY"], f"'{SECRET}'") == self.TEXT
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert list(project.glob(".env*")) == [path]
        assert toombos("config", "check", "--strict").returncode == 0

    def test_encrypting_twice_changes_nothing(self, toombos, project):
        path = write(project, self.TEXT)
        toombos("config", "encrypt")
        text = path.read_text()

        done = toombos("config", "encrypt", "--json")

        assert (done.returncode, json.loads(done.stdout)["data"]["names"]) == (0, [])
        assert path.read_text() == text

    def test_only_the_named_variable_is_encrypted(self, toombos, project):
        write(project, self.TEXT + f"NOTION_API_KEY={SECRET}\n")

        done = toombos("config", "encrypt", "NOTION_API_KEY", "--json")

        assert json.loads(done.stdout)["data"]["names"] == ["NOTION_API_KEY"]
        assert read_env_file(project).values["API_KEY"] == SECRET

    def test_every_duplicate_is_encrypted(self, toombos, project):
        path = write(project, self.TEXT + f"API_KEY={SECRET}x\n")

        toombos("config", "encrypt")

        assert SECRET not in path.read_text()

    @pytest.mark.parametrize(
        ("text", "names", "code", "words"),
        [
            (SAFE + f"API_KEY={SECRET}\n", (), 3, "API_KEY_ENCRYPTION_KEY is not set"),
            (SAFE + "API_KEY_ENCRYPTION_KEY=short\n", (), 3, "shorter than 32"),
            (TEXT, ("API_KYE",), 2, "did you mean API_KEY?"),
            (TEXT, ("API_KEY_ENCRYPTION_KEY",), 2, "is the encryption key itself"),
        ],
        ids=["no key", "short key", "unknown name", "the key"],
    )
    def test_an_impossible_encryption_is_reported_and_changes_nothing(self, toombos, project, text, names, code, words):
        path = write(project, text)

        done = toombos("config", "encrypt", *names)

        assert done.returncode == code
        assert words in done.stderr
        assert path.read_text() == text

    def test_the_hint_for_a_missing_key_also_works_if_the_file_has_no_final_newline(self, toombos, project):
        path = write(project, SAFE + f"API_KEY={SECRET}")
        hint = toombos("config", "encrypt").stderr.partition("hint: ")[2]
        subprocess.run(["bash", "-c", hint], check=True)
        assert read_env_file(project).values["API_KEY"] == SECRET
        assert toombos("config", "encrypt").returncode == 0
        assert SECRET not in path.read_text()

    def test_the_hint_is_init_if_there_is_no_file(self, toombos):
        done = toombos("config", "encrypt")

        assert done.returncode == 3
        assert "hint: toombos config init" in done.stderr


class TestRotateKey:
    def test_rotation_leaves_every_value_readable_only_with_the_new_key(self, toombos, project):
        from services.common.secrets import decrypt

        path = write(project, TestEncrypt.TEXT + f"# end\nNOTION_API_KEY={SECRET}n\n")
        toombos("config", "encrypt")
        before = path.read_text()

        done = toombos("config", "rotate-key")

        values = read_env_file(project).values
        new_key = values["API_KEY_ENCRYPTION_KEY"]
        assert done.returncode == 0
        assert new_key != KEY
        assert new_key not in done.stdout + done.stderr
        assert decrypt(values["API_KEY"], key=new_key) == SECRET
        assert decrypt(values["NOTION_API_KEY"], key=new_key) == f"{SECRET}n"
        with pytest.raises(ValueError, match="cannot be decrypted"):
            decrypt(values["API_KEY"], key=KEY)
        backup = project / ".env.bak"
        assert (backup.read_text(), stat.S_IMODE(backup.stat().st_mode)) == (before, 0o600)
        assert [line.split("=")[0] for line in path.read_text().splitlines()] == [
            line.split("=")[0] for line in before.splitlines()
        ]
        assert toombos("config", "check", "--strict").returncode == 0

    @pytest.mark.parametrize("key", ["", "API_KEY_ENCRYPTION_KEY=" + KEY[::-1] + "\n"], ids=["lost", "changed"])
    def test_a_lost_or_changed_key_never_suggests_generating_a_new_one(self, toombos, project, key):
        path = write(project, TestEncrypt.TEXT)
        toombos("config", "encrypt")
        kept = [line for line in path.read_text().splitlines(keepends=True) if "ENCRYPTION_KEY" not in line]
        path.write_text("".join(kept) + key)
        done = toombos("config", "rotate-key")
        assert done.returncode == 3
        assert "hint: set API_KEY_ENCRYPTION_KEY to the key that they were encrypted with" in done.stderr

    def test_a_value_encrypted_with_another_key_stops_the_rotation_without_changes(self, toombos, project):
        path = write(project, TestEncrypt.TEXT + "NOTION_API_KEY=enc:gAAAAAB\n")
        text = path.read_text()

        done = toombos("config", "rotate-key")

        assert done.returncode == 3
        assert f"{path}:9: NOTION_API_KEY cannot be decrypted" in done.stderr
        assert (path.read_text(), (project / ".env.bak").exists()) == (text, False)

    def test_a_key_from_the_environment_is_not_replaced(self, toombos, project):
        path = write(project, SAFE + f"API_KEY={SECRET}\n")
        toombos("config", "encrypt", env={"API_KEY_ENCRYPTION_KEY": KEY})

        refused = toombos("config", "rotate-key", env={"API_KEY_ENCRYPTION_KEY": KEY})
        given = {"API_KEY_ENCRYPTION_KEY": KEY, "NEW_KEY": KEY[::-1]}
        done = toombos("config", "rotate-key", "--new-key-from", "NEW_KEY", env=given)

        from services.common.secrets import decrypt

        assert (refused.returncode, done.returncode) == (3, 0)
        assert decrypt(read_env_file(project).values["API_KEY"], key=KEY[::-1]) == SECRET
        assert KEY[::-1] not in path.read_text() + done.stdout + done.stderr


def test_init_encrypt_and_an_edited_file_lead_to_a_running_system(toombos, project):
    for command in (["config", "init"], ["config", "encrypt"], ["start"]):
        done = toombos(*command)
        assert done.returncode == 0, done.stdout + done.stderr
    assert toombos("config", "check", "--strict").returncode == 0

    with (project / ".env").open("a") as file:
        file.write("LOG_LEVEL=WARNING\n")
    done = toombos("config", "check", "--json")
    (stale,) = (f for f in json.loads(done.stdout)["data"]["findings"] if f["verdict"] != "pass" and f["id"] == "stale")

    assert stale["reason"] == ".env has changed since crm, platform, generator started"
    assert toombos(*stale["fix"]["command"].split()[1:]).returncode == 0
    assert toombos("config", "check", "--strict").returncode == 0
