"""The places where a variable of a service can be set, each as a function that sets it in a project."""

from collections.abc import Callable
from pathlib import Path

from toombos_cli.settings.encryption import encrypt

KEY = "Hq3vX7_kT2mW9zR4cB8nL5sD1fG6jP0y"
Environment = dict[str, str]
Setter = Callable[[Path, str, str], Environment]
"""Sets a variable for the generator of the project; returns what has to be in the process environment."""


def _in_env_file(project: Path, name: str, value: str) -> Environment:
    with (project / ".env").open("a") as file:
        file.write(f"{name}={value}\n")
    (project / ".env").chmod(0o600)
    return {}


def _encrypted(project: Path, name: str, value: str) -> Environment:
    _in_env_file(project, "API_KEY_ENCRYPTION_KEY", KEY)
    return _in_env_file(project, name, encrypt(value, KEY))


def _encrypted_under_an_own_key(project: Path, name: str, value: str) -> Environment:
    with (project / "toombos.toml").open("a") as file:
        file.write('[environment.VAULT_KEY]\ndescription = "Decrypts .env"\nsecret = true\nrole = "encryption_key"\n')
    _in_env_file(project, "VAULT_KEY", KEY)
    return _in_env_file(project, name, encrypt(value, KEY))


def _in_environment(project: Path, name: str, value: str) -> Environment:
    return {name: value}


def _in_table(table: str) -> Setter:
    def put(project: Path, name: str, value: str) -> Environment:
        text = (project / "toombos.toml").read_text()
        assert "[services.generator]\n" in text
        line = f'{table}.{name} = "{value}"\n'
        (project / "toombos.toml").write_text(text.replace("[services.generator]\n", f"[services.generator]\n{line}"))
        return {}

    return put


def _encrypted_in_own_env(project: Path, name: str, value: str) -> Environment:
    _in_env_file(project, "API_KEY_ENCRYPTION_KEY", KEY)
    return _in_table("env")(project, name, encrypt(value, KEY))


PLACES: dict[str, Setter] = {
    "plain in .env": _in_env_file,
    "encrypted in .env": _encrypted,
    "encrypted in .env under a key of another name": _encrypted_under_an_own_key,
    "in the environment": _in_environment,
    "in the service's own env": _in_table("env"),
    "encrypted in the service's own env": _encrypted_in_own_env,
    "in the service's default_env": _in_table("default_env"),
}
