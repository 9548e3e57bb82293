"""Rules about the file `.env` itself: is it there, can it be read, who else can."""

import shlex
from collections.abc import Iterator

from toombos_cli.base.findings import Answer, Evidence
from toombos_cli.settings.facts import Facts
from toombos_cli.settings.rules.answers import command, fail, in_table, ok, skip, warn, where_set
from toombos_cli.settings.values import key_names


def not_found(facts: Facts) -> Iterator[Answer]:
    """No `.env`: every setting is its default, which nobody chose."""
    path = facts.env_file.path
    if facts.env_file.exists:
        yield ok(f"{path}")
    elif facts.is_project and (facts.mode is not None or not facts.variables):
        yield ok("there is no .env, and none is needed")
    elif facts.is_project:
        yield warn(
            "there is no .env: every setting comes from the environment or is its default",
            Evidence(source=str(path), text="does not exist"),
            command=command(facts, "config init"),
        )
    else:
        yield fail(
            "no project here: no toombos.toml, .env or .env.example in this directory or any above it",
            *(Evidence(source=str(directory), text="searched") for directory in facts.searched),
            cause="toombos was run from another directory than the project's, so every setting is its default",
            advice="run it in the project's directory, or name that: toombos --project DIR config check",
        )


def load(facts: Facts) -> Iterator[Answer]:
    """`.env` that the services cannot load at all."""
    if facts.unreadable is not None:
        source, _, line = (facts.unreadable.where or str(facts.env_file.path)).rpartition(":")
        at = Evidence(source=source, line=int(line)) if line.isdigit() else Evidence(source=str(facts.env_file.path))
        hint = facts.unreadable.hint or "make it a readable text file"
        shell = hint.startswith(("rmdir ", "chmod "))
        yield fail(
            f".env cannot be loaded: {facts.unreadable.message}",
            at,
            cause="the services either refuse to start or run with their defaults",
            command=hint if shell else "",
            advice=hint,
        )
    key = key_names(facts.manifest)[0]
    for name, reason in facts.undecryptable.items():
        yield _undecryptable(name, reason, where_set(facts, name), key)
    for service, own, clear in facts.own_values():
        if own.name in clear.undecryptable:
            yield _undecryptable(own.name, clear.undecryptable[own.name], in_table(facts, own, service.name), key)


def _undecryptable(name: str, reason: str, at: Evidence, key: str) -> Answer:
    return fail(
        f"{name} is encrypted and cannot be decrypted: {reason}",
        at,
        cause="a service that reads it refuses to start",
        advice=f"set {key} to the key it was encrypted with, or write {name} anew and run: toombos config encrypt",
    )


def mode(facts: Facts) -> Iterator[Answer]:
    """Permissions: the owner must be able to read it, and nobody else."""
    if facts.status is None:
        yield skip("there is no .env")
        return
    bits, at = facts.status.mode, Evidence(source=str(facts.env_file.path), text=f"mode {facts.status.mode:04o}")
    fix = f"chmod 600 {shlex.quote(str(facts.env_file.path))}"
    if not bits & 0o400:
        yield fail(".env is not readable for its owner", at, cause="the services cannot load it", command=fix)
    elif bits & 0o022:
        yield fail(
            "other users can write .env", at, cause="whoever can write it can switch dry-run mode off", command=fix
        )
    elif bits & 0o044:
        yield warn("other users can read .env", at, cause="it holds secrets", command=fix)
    else:
        yield ok(f"mode {bits:04o}")


def owner(facts: Facts) -> Iterator[Answer]:
    """A file of another user may change, or become unreadable, without this user's doing."""
    if facts.status is None:
        yield skip("there is no .env")
    elif facts.status.owner not in (facts.user, 0):
        yield warn(
            f".env belongs to user {facts.status.owner}, toombos runs as user {facts.user}",
            Evidence(source=str(facts.env_file.path), text=f"uid {facts.status.owner}"),
            advice=f"run toombos as that user, or: sudo chown {facts.user} {shlex.quote(str(facts.env_file.path))}",
        )
