"""Rules about names: misspelled, missing, or inconsistent with `.env.example` or pydantic 2."""

import re
from collections.abc import Iterator

from toombos_cli.base.findings import Evidence, Finding, fail, ok, skip, warn
from toombos_cli.base.fixes import advice, toombos
from toombos_cli.base.spelling import is_misspelling, nearest
from toombos_cli.settings.display import shown_name
from toombos_cli.settings.facts import EXAMPLE, SettingsFacts
from toombos_cli.settings.rules.env_edits import (
    at_line,
    in_manifest,
    rename,
    set_to,
    unset_in_shell,
    where_set,
)
from toombos_cli.settings.values import Origin


def extra(facts: SettingsFacts) -> Iterator[Finding]:
    """Misspelt names of described variables; a name that no table describes is passed on, and is no fault."""
    if not facts.variables:
        yield skip("the manifest documents no variables ([environment.NAME])")
        return
    yield from _spellings(facts)
    for view in facts.each_file():
        yield from _unknown(view)


def _unknown(facts: SettingsFacts) -> Iterator[Finding]:
    for binding in facts.env_file.bindings:
        name = binding.name
        if name is None or binding.sets_nothing:
            continue
        if name in facts.variables:
            if facts.variables[name].environment_only:
                yield warn(
                    f"{name} has no effect in {facts.env_file.label}: it is read only from the process environment",
                    at_line(facts, binding.line),
                    fix=advice(f"export {shown_name(name, facts.variables)} in the shell instead"),
                )
            continue
        guess = _meant(facts, name)
        shown = shown_name(name, facts.variables)
        if any(other.name == name and other.path == facts.env_file.path for other in facts.other_spellings):
            continue
        if guess is not None:
            yield fail(
                f"unknown name {shown}: did you mean {guess}?",
                at_line(facts, binding.line),
                cause=f"no [environment] table describes it, and {guess} does not get this value",
                fix=rename(facts, binding, guess) or advice(f"write {guess} on line {binding.line}"),
            )
        elif name not in _used_elsewhere(facts):
            yield ok(
                f"{shown} is described by no [environment] table: services get it as it is",
                at_line(facts, binding.line),
            )


def _meant(facts: SettingsFacts, name: str) -> str | None:
    """Return the described variable that a name misspells, or None: the file lacks it, and it differs by one letter.

    For a switch of the dry-run mode, any similar name counts: whoever wrote it believes that the mode is on.
    """
    unset = {n for n in facts.variables if not facts.env_file.bindings_of(n)}
    switch = nearest(name, unset & facts.with_role("dry_run", "use_mocks").keys())
    return switch or next((other for other in sorted(unset) if is_misspelling(name, other)), None)


def _spellings(facts: SettingsFacts) -> Iterator[Finding]:
    """Names that differ from a documented one only in case, wherever they are set."""
    for other in facts.other_spellings:
        reason = f"{other.name} differs from {other.documented} only in case"
        cause = f"a service that ignores case reads it as {other.documented}; toombos and its own services do not"
        if other.origin is Origin.ENV_FILE:
            there = facts.at(other.path)
            binding = there.env_file.bindings_of(other.name)[-1]
            yield fail(
                reason,
                at_line(there, binding.line),
                cause=cause,
                fix=rename(there, binding, other.documented)
                or advice(f"write {other.documented} on line {binding.line}"),
            )
        elif other.origin is Origin.ENVIRONMENT:
            switches = facts.with_role("dry_run", "use_mocks")
            yield (fail if other.documented in switches else warn)(
                f"{reason}, in the environment",
                Evidence(source=other.origin.value, text=other.name),
                cause=cause,
                fix=unset_in_shell(other.name),
            )
        else:
            yield fail(
                f"{reason}, in {other.place}",
                in_manifest(facts, f"[services.{other.service}]"),
                cause=cause,
                fix=advice(f"write {other.documented} in {other.place}, or remove it"),
            )


def _used_elsewhere(facts: SettingsFacts) -> set[str]:
    """Return the names that values of env files or the manifest refer to as `${NAME}`, or that the manifest sets."""
    texts = [b.value for file in facts.env_files for b in file.bindings if b.value]
    texts += [channel.url for channel in facts.manifest.alerts.channels.values()]
    for service in facts.manifest.services.values():
        texts += [*service.env.values(), *service.default_env.values(), *service.command]
    names = {name for text in texts for name in re.findall(r"\$\{(\w+)", text)}
    for service in facts.manifest.services.values():
        names |= service.env.keys() | service.default_env.keys()
    return names


def missing(facts: SettingsFacts) -> Iterator[Finding]:
    """Required settings that are not set."""
    for name, variable in facts.variables.items():
        if facts.clear.get(name) or name in facts.undecryptable:
            continue
        chosen = variable.required_when
        if facts.clear.get(variable.required_unless):
            continue
        if variable.required:
            reason = f"{name} is required but not set"
        elif chosen and all(facts.clear.get(other) == value for other, value in chosen.items()):
            reason = f"{name} is required with {', '.join(f'{k}={v}' for k, v in chosen.items())} but not set"
        else:
            continue
        places = tuple(where_set(facts, other) for other in chosen)
        yield fail(
            reason,
            *(places or (Evidence(source=str(facts.env_file.path), text=f"{name} is not set"),)),
            cause=variable.description,
            fix=advice(f"add {name}=... to {facts.env_file.path}"),
            explained_by=facts.lost.get(name, ""),
        )


def example_diff(facts: SettingsFacts) -> Iterator[Finding]:
    """`.env.example`, which people copy, must list the same names and contain no secret."""
    if facts.example is None:
        yield skip("there is no .env.example")
        return
    path = str(facts.example.path)
    text = "".join(binding.original for binding in facts.example.bindings)
    mentioned = set(re.findall(r"(?m)^#?\s*(?:export\s+)?(\w+)=", text))
    absent = [name for name in facts.variables if name not in mentioned]
    if absent:
        yield warn(
            f".env.example does not list {', '.join(absent)}",
            Evidence(source=path),
            fix=advice(f"print a complete one: {toombos(facts.manifest.project, 'config', 'init', '--example')}"),
        )
    others = sorted(mentioned - facts.variables.keys())
    if others:
        yield ok(
            f".env.example also lists {', '.join(shown_name(n, facts.variables) for n in others)}",
            Evidence(source=path, line=facts.example.lines.get(others[0])),
        )
    for name, value in facts.example.values.items():
        variable = facts.variables.get(name)
        if variable and variable.secret and value and any(value == file.values.get(name) for file in facts.env_files):
            yield fail(
                f"{name} in .env.example is the secret that .env uses",
                Evidence(source=path, line=facts.example.lines.get(name)),
                cause="the example file is published with the source",
                fix=advice(f"remove the value from {EXAMPLE} and replace the secret in .env"),
            )
    chosen = [n for n in facts.example.values if n in facts.variables and facts.example.values[n]]
    unset = [n for n in chosen if n not in facts.values or facts.values[n].origin is Origin.DEFAULT]
    for name in unset if facts.env_file.exists else ():
        yield warn(
            f"{name} is set in .env.example but not in .env",
            Evidence(source=path, line=facts.example.lines.get(name)),
            fix=(None if facts.variables[name].secret else set_to(facts, name, facts.example.values[name]))
            or advice(f"add {name}=... to .env"),
        )


def pydantic_v1(facts: SettingsFacts) -> Iterator[Finding]:
    """Settings classes in the project's own sources that are still written for pydantic 1."""
    for found in facts.old_spellings:
        yield warn(
            "pydantic 1 syntax, which pydantic 2 rejects or ignores",
            Evidence(source=str(found.path), line=found.line),
            cause="the settings of this class are not read as intended",
            fix=advice(f"write {found.now}"),
        )
    if not facts.old_spellings:
        yield ok("no settings class in the project is written for pydantic 1")
