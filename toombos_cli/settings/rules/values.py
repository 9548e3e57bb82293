"""Rules about values: their types, their origins, and whether the running services have them."""

from collections import Counter
from collections.abc import Iterator

from toombos_cli.base.findings import Evidence, Finding, fail, ok, skip, warn
from toombos_cli.base.fixes import advice, toombos
from toombos_cli.manifest.tables.environment import Variable
from toombos_cli.settings.display import shown_name
from toombos_cli.settings.facts import SettingsFacts
from toombos_cli.settings.rules.env_edits import at_line, in_table, set_to, unset_in_shell, where_given, where_set
from toombos_cli.settings.types import type_error
from toombos_cli.settings.values import Origin, is_true


def types(facts: SettingsFacts) -> Iterator[Finding]:
    """Values that the services refuse to load."""
    for name, value in facts.clear.items():
        variable = facts.variables[name]
        error = type_error(variable, value) if value else None
        if error and not (variable.environment_only and facts.values[name].origin is Origin.ENV_FILE):
            yield fail(
                f"{name} {error}",
                where_set(facts, name),
                cause="a service that reads it refuses it, or takes its default",
                fix=(
                    set_to(facts, name, variable.default, safe=_is_plain(variable))
                    if _can_default(facts, name)
                    else None
                )
                or advice(f"give {name} another value: {variable.description}"),
            )
    for service, own, clear in facts.own_values():
        text = clear.values.get(own.name)
        error = type_error(facts.variables[own.name], text) if text else None
        if error:
            yield fail(
                f"{own.name} {error}",
                in_table(facts, own, service.name),
                cause=f"{service.name} refuses to start with it",
                fix=advice(f"give {own.name} another value: {facts.variables[own.name].description}"),
            )


def _is_plain(variable: Variable) -> bool:
    """Report whether nothing but a number or a switch can be lost with a value of this type."""
    return variable.type in ("bool", "int", "float")


def _can_default(facts: SettingsFacts, name: str) -> bool:
    """Report whether the default is a safe fix: it must not switch a mode, and the shell must not set the value."""
    variable = facts.variables[name]
    return bool(variable.default) and not variable.role and facts.values[name].line is not None


def provenance(facts: SettingsFacts) -> Iterator[Finding]:
    """The number of settings from each origin; `config show` lists the settings one by one."""
    counted = Counter(facts.values[name].origin for name in facts.variables if name in facts.values)
    total = len(facts.variables)
    if not total:
        yield skip("the manifest documents no variables ([environment.NAME])")
        return
    parts = [f"{n} from {origin.value}" for origin in Origin if (n := counted.get(origin, 0))]
    unset = f"{total - sum(counted.values())} unset"
    yield ok(f"{total} documented settings: {', '.join((*parts, unset))}")


def shadow(facts: SettingsFacts) -> Iterator[Finding]:
    """Values of `.env` that the process environment overrides, or another file that the environment names."""
    for name in facts.with_role("env_file"):
        other = facts.environ.get(name)
        if other and facts.manifest.project / other != facts.env_file.path:
            yield warn(
                f"{name} in the environment names a different file than {facts.env_file.path}",
                Evidence(source="environment", text=f"{name}={other}"),
                cause="the services read from it what .env does not set",
                fix=unset_in_shell(name),
            )
    for name, written in _written(facts).items():
        exported = facts.environ.get(name)
        if not exported or exported == written:
            continue
        variable = facts.variables.get(name)
        switch = variable is not None and variable.role in ("dry_run", "use_mocks")
        both = ""
        if variable is not None and variable.type == "bool":
            if is_true(exported) == is_true(written):
                continue
            both = f": {str(is_true(exported)).lower()} instead of {str(is_true(written)).lower()}"
        place = next(facts.at(file.path) for file in reversed(facts.env_files.shared) if name in file.values)
        answer = fail if switch and not is_true(exported) else warn
        yield answer(
            f"{shown_name(name, facts.variables)} in the environment overrides {place.env_file.label}{both}",
            Evidence(source="environment", text=shown_name(name, facts.variables)),
            at_line(place, place.env_file.lines[name]),
            cause="a variable that this shell exports takes precedence over the file",
            fix=unset_in_shell(name) if shown_name(name, facts.variables) == name else advice("unset it in the shell"),
        )


def _written(facts: SettingsFacts) -> dict[str, str]:
    """Return what the env files that all services share set together."""
    return {name: value for file in facts.env_files.shared for name, value in file.values.items()}


def stale(facts: SettingsFacts) -> Iterator[Finding]:
    """Services that were started with different env files from the current ones."""
    if facts.running is None:
        yield skip("nothing is running")
    elif facts.running.env_sha256 != facts.env_sha256:
        labels = [file.label for file in facts.env_files]
        changed = labels[0] if len(labels) == 1 else f"one of {', '.join(labels)}"
        yield warn(
            f"{changed} has changed since {', '.join(facts.running.services)} started",
            *(Evidence(source=str(file.path), text="changed since the start") for file in facts.env_files),
            cause="a process keeps the settings it was started with",
            fix=toombos(facts.manifest.project, "restart"),
        )


def database(facts: SettingsFacts) -> Iterator[Finding]:
    """Each database of a service must have a URL of a known form and a usable directory."""
    for found in facts.databases:
        variable = facts.variables.get(found.name)
        at = where_given(facts, found)
        if found.undecryptable or (variable and type_error(variable, found.url)):
            continue  # reported by the rules `load` and `types`
        if found.path and found.path in facts.unusable_databases:
            yield fail(
                f"the directory of {found.name} cannot be used: {facts.unusable_databases[found.path]}",
                at,
                fix=advice(f"set {found.name} to a file in a directory that this user can write to"),
            )
        else:
            yield ok(at.text)
