"""Rules about the env files themselves: whether they exist, can be read, and who else can read them."""

from collections.abc import Iterator
from dataclasses import replace

from toombos_cli.base.findings import Evidence, Finding, fail, ok, skip, warn
from toombos_cli.base.fixes import advice, command, here, toombos
from toombos_cli.base.quoting import joined, quoted
from toombos_cli.settings.facts import SettingsFacts
from toombos_cli.settings.rules.env_edits import in_table, where_set
from toombos_cli.settings.values import key_names


def not_found(facts: SettingsFacts) -> Iterator[Finding]:
    """Without a `.env` every setting has its default, which nobody chose."""
    path = facts.env_file.path
    if facts.env_file.exists:
        yield ok(f"{path}")
    elif facts.is_project and (facts.mode is not None or not facts.variables):
        yield ok("there is no .env, and none is needed")
    elif facts.is_project:
        yield warn(
            "there is no .env: every setting comes from the environment or has its default",
            Evidence(source=str(path), text="does not exist"),
            fix=replace(toombos(facts.manifest.project, "config", "init"), undo=joined(("rm", str(path)))),
        )
    else:
        yield fail(
            "no project here: no toombos.toml, .env or .env.example in this directory or any above it",
            *(Evidence(source=str(directory), text="searched") for directory in facts.searched),
            cause="toombos was run outside the project directory, so every setting has its default",
            fix=advice("run it in the project directory, or name the directory: toombos --project DIR config check"),
        )


def load(facts: SettingsFacts) -> Iterator[Finding]:
    """The services must be able to load every env file and decrypt its values."""
    for view in facts.each_file():
        if view.unreadable is not None:
            yield fail(
                f"{view.env_file.label} cannot be loaded: {view.unreadable.message}",
                Evidence(source=str(view.env_file.path), line=view.unreadable.line),
                cause="the services refuse to start, or run with their defaults",
                fix=view.unreadable.fix,
            )
    key = key_names(facts.manifest)[0]
    for name, reason in facts.undecryptable.items():
        yield _undecryptable(name, reason, where_set(facts, name), key)
    for service, own, clear in facts.own_values():
        if own.name in clear.undecryptable:
            yield _undecryptable(own.name, clear.undecryptable[own.name], in_table(facts, own, service.name), key)


def _undecryptable(name: str, reason: str, at: Evidence, key: str) -> Finding:
    return fail(
        f"{name} is encrypted and cannot be decrypted: {reason}",
        at,
        cause="a service that reads it refuses to start",
        fix=advice(
            f"set {key} to the key that encrypted it, or set {name} again in plain text and run: "
            f"{here('config', 'encrypt')}"
        ),
    )


def mode(facts: SettingsFacts) -> Iterator[Finding]:
    """The owner, and nobody else, must be able to read the file."""
    name = facts.env_file.label
    if facts.status is None:
        yield skip(f"there is no {name}")
        return
    bits, at = facts.status.mode, Evidence(source=str(facts.env_file.path), text=f"mode {facts.status.mode:04o}")
    path = str(facts.env_file.path)
    fix = command("chmod", "600", path, safe=True, undo=joined(("chmod", f"{bits:o}", path)))
    if not bits & 0o400:
        yield fail(f"{name} is not readable by its owner", at, cause="the services cannot load it", fix=fix)
    elif bits & 0o022:
        yield fail(f"other users can write {name}", at, cause="they can switch dry-run mode off", fix=fix)
    elif bits & 0o044:
        yield warn(f"other users can read {name}", at, cause="it contains secrets", fix=fix)
    else:
        yield ok(f"mode {bits:04o}")


def owner(facts: SettingsFacts) -> Iterator[Finding]:
    """Another user can change the file, or make it unreadable, if that user owns it."""
    if facts.status is None:
        yield skip(f"there is no {facts.env_file.label}")
    elif facts.status.owner not in (facts.user, 0):
        yield warn(
            f"{facts.env_file.label} belongs to user {facts.status.owner}, but toombos runs as user {facts.user}",
            Evidence(source=str(facts.env_file.path), text=f"uid {facts.status.owner}"),
            fix=advice(f"run toombos as that user, or: sudo chown {facts.user} {quoted(facts.env_file.path)}"),
        )


def writers(facts: SettingsFacts) -> Iterator[Finding]:
    """The members of a group that may write the project decide what this user runs."""
    for directory in facts.shared:
        yield warn(
            f"the members of group {directory.group} can write {directory.path}",
            Evidence(source=str(directory.path), text=f"mode {directory.mode:04o}"),
            cause="they decide what toombos runs here as this user: fine if you all trust each other",
            fix=command("chmod", "g-w", str(directory.path), undo=joined(("chmod", "g+w", str(directory.path)))),
        )
    if facts.noted:
        yield ok(f"the project is trusted regardless of its owner: {here('config', 'trust')}")
