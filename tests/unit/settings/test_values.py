"""Which of mode, service, environment, `.env`, manifest and default wins, and on which line."""

import pytest

from toombos_cli.manifest.reading.loader import load_manifest
from toombos_cli.settings.encryption import encrypt
from toombos_cli.settings.env_files import read_env_files
from toombos_cli.settings.values import Origin, clear_values, effective_values

MANIFEST = """
[services.a]
command = ["a"]
port = 7001
env = { FIXED = "service" }
default_env = { SUGGESTED = "manifest" }

[modes.dry_run]
env = { SWITCH = "mode" }

[environment]
FIXED = { description = "" }
SUGGESTED = { description = "" }
SWITCH = { description = "" }
NAME = { description = "", default = "default" }
"""

# name, .env, environment, mode -> value, origin, line
ROWS = {
    "default alone": ("NAME", "", {}, None, "default", Origin.DEFAULT, None),
    "file over default": ("NAME", "\nNAME=file\n", {}, None, "file", Origin.ENV_FILE, 2),
    "environment over file": ("NAME", "NAME=file\n", {"NAME": "env"}, None, "env", Origin.ENVIRONMENT, None),
    "empty in the environment": ("NAME", "NAME=file\n", {"NAME": ""}, None, "file", Origin.ENV_FILE, 1),
    "empty in the file": ("NAME", "NAME=\n", {}, None, "default", Origin.DEFAULT, None),
    "suggestion of the manifest": ("SUGGESTED", "", {}, None, "manifest", Origin.MANIFEST, None),
    "file over suggestion": ("SUGGESTED", "SUGGESTED=file\n", {}, None, "file", Origin.ENV_FILE, 1),
    "service over environment": ("FIXED", "FIXED=file\n", {"FIXED": "env"}, None, "service", Origin.SERVICE, None),
    "mode over environment": ("SWITCH", "", {"SWITCH": "env"}, "dry_run", "mode", Origin.MODE, None),
    "the last of two lines": ("NAME", "NAME=1\nNAME=2\n", {}, None, "2", Origin.ENV_FILE, 2),
    "undocumented name, empty in the environment": (
        "OTHER",
        "OTHER=1\n",
        {"OTHER": ""},
        None,
        "",
        Origin.ENVIRONMENT,
        None,
    ),
}


@pytest.mark.parametrize(("name", "text", "environ", "mode", "value", "origin", "line"), ROWS.values(), ids=ROWS.keys())
def test_the_strongest_layer_wins(tmp_path, name, text, environ, mode, value, origin, line):
    (tmp_path / "toombos.toml").write_text(MANIFEST)
    (tmp_path / ".env").write_text(text)
    manifest = load_manifest(tmp_path)

    values = effective_values(manifest, manifest.services["a"], read_env_files(manifest), mode=mode, environ=environ)

    assert (values[name].value, values[name].origin, values[name].line) == (value, origin, line)


def test_the_representation_of_a_value_does_not_show_it(tmp_path):
    (tmp_path / ".env").write_text("API_KEY=hunter22\n")

    values = effective_values(load_manifest(tmp_path), None, read_env_files(load_manifest(tmp_path)), environ={})

    assert "hunter22" not in repr(values["API_KEY"])


KEY = "Hq3vX7_kT2mW9zR4cB8nL5sD1fG6jP0y"
OWN_KEY = '[environment.VAULT]\ndescription = ""\nrole = "encryption_key"\n'

# manifest, .env (SECRET stands for the ciphertext), environment -> the decrypted value, or why there is none
CLEAR = {
    "not encrypted": (MANIFEST, "X=word\n", {}, "word"),
    "key with the packaged name": (MANIFEST, f"X=SECRET\nAPI_KEY_ENCRYPTION_KEY={KEY}\n", {}, "word"),
    "key with the role": (MANIFEST + OWN_KEY, f"X=SECRET\nVAULT={KEY}\n", {}, "word"),
    "key with the packaged name, but another has the role": (
        MANIFEST + OWN_KEY,
        f"X=SECRET\nAPI_KEY_ENCRYPTION_KEY={KEY}\n",
        {},
        "no key is set",
    ),
    "key in the environment": (MANIFEST + OWN_KEY, "X=SECRET\n", {"VAULT": KEY}, "word"),
    "short key": (MANIFEST + OWN_KEY, "X=SECRET\nVAULT=k\n", {}, "the encryption key is shorter than 32"),
    "wrong key": (MANIFEST + OWN_KEY, f"X=SECRET\nVAULT={KEY[::-1]}\n", {}, "it is damaged, or"),
    "no key": (MANIFEST, "X=SECRET\n", {}, "no key is set"),
    "environment over the encrypted value": (MANIFEST, "X=SECRET\n", {"X": "other"}, "other"),
}


@pytest.mark.parametrize("case", CLEAR)
def test_a_value_is_decrypted_or_the_reason_is_given(case, tmp_path):
    manifest, text, environ, expected = CLEAR[case]
    (tmp_path / "toombos.toml").write_text(manifest)
    (tmp_path / ".env").write_text(text.replace("SECRET", encrypt("word", KEY)))
    loaded = load_manifest(tmp_path)

    clear = clear_values(loaded, loaded.services["a"], read_env_files(load_manifest(tmp_path)), environ=environ)

    assert clear.values["X"] == expected if "X" in clear.values else clear.undecryptable["X"].startswith(expected)
    assert ("X" in clear.values) == (expected in ("word", "other"))
