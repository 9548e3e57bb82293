"""The answers of rules, and commands that mend `.env`.

No command shows a value, and each leaves a line alone that is no longer what it was.
"""

import re
import shlex
from dataclasses import replace
from pathlib import Path

from toombos_cli.base.findings import Answer, Evidence, Status
from toombos_cli.base.redaction import MASK
from toombos_cli.settings.databases import Database
from toombos_cli.settings.display import masked_url, shown_name, shown_value
from toombos_cli.settings.env_file import Binding
from toombos_cli.settings.facts import Facts
from toombos_cli.settings.strength import RANDOM_TEXT
from toombos_cli.settings.values import Origin, Value


def fail(
    reason: str, *evidence: Evidence, cause: str = "", command: str = "", advice: str = "", explained_by: str = ""
) -> Answer:
    """A FAIL with a fix: a command to paste, else advice."""
    answer = _answer(Status.FAIL, reason, evidence, cause, command, advice)
    return replace(answer, explained_by=explained_by)


def warn(
    reason: str, *evidence: Evidence, cause: str = "", command: str = "", advice: str = "", explained_by: str = ""
) -> Answer:
    """A WARN with a fix."""
    answer = _answer(Status.WARN, reason, evidence, cause, command, advice)
    return replace(answer, explained_by=explained_by)


def ok(reason: str) -> Answer:
    """An OK that says what was found."""
    return Answer(status=Status.OK, reason=reason)


def skip(reason: str) -> Answer:
    """A rule that has nothing to judge here."""
    return Answer(status=Status.SKIP, reason=reason)


def at_line(facts: Facts, line: int, text: str = "") -> Evidence:
    """A line of `.env`."""
    return Evidence(source=str(facts.env_file.path), line=line, text=text)


def in_manifest(facts: Facts, key: str) -> Evidence:
    """A key of the manifest."""
    return Evidence(source=str(facts.manifest.source.path or "toombos.toml (packaged)"), text=key)


def where_set(facts: Facts, name: str, text: str = "") -> Evidence:
    """The place that the effective value of a variable came from, with the value where that may be shown."""
    value = facts.values.get(name)
    if value is None:
        return Evidence(source=str(facts.env_file.path), text=text or f"{name} is not set")
    text = text or f"{name}={shown_value(name, value.value, facts.variables.get(name))}"
    return (
        at_line(facts, value.line, text) if value.line is not None else Evidence(source=value.origin.value, text=text)
    )


def where_given(facts: Facts, database: Database) -> Evidence:
    """Return the place that sets a database's URL, with the URL without its password."""
    variable, value = facts.variables.get(database.name), database.value
    shown = masked_url(database.url) if "://" in database.url else MASK
    if variable is not None:
        shown = shown_value(database.name, database.url, variable)
    text = f"{database.name}={shown}"
    if value.line is not None:
        return at_line(facts, value.line, text)
    if value.origin in (Origin.SERVICE, Origin.MANIFEST):
        return in_table(facts, value, *database.services, text=text)
    return Evidence(source=value.origin.value, text=text)


def in_table(facts: Facts, value: Value, *services: str, text: str = "") -> Evidence:
    """Return the tables of services that set a value."""
    table = "env" if value.origin is Origin.SERVICE else "default_env"
    keys = ", ".join(f"[services.{name}] {table}" for name in services)
    return in_manifest(facts, f"{keys}: {text or value.name}")


def edit(facts: Facts, line: int, script: str) -> str:
    """A sed command on one line; `script` is an extended-regex sed command such as `s/a/b/`."""
    return f"sed -i -E {shlex.quote(f'{line}{script}')} {_quoted(facts.env_file.path)}"


def remove_line(facts: Facts, binding: Binding) -> str:
    """The command that removes a one-line assignment; "" for one of several lines."""
    if binding.name is None or binding.line != binding.last_line or not may_be_written(facts, binding.name):
        return ""
    return edit(facts, binding.line, rf"{{/^\s*(export\s+)?{binding.name}\s*=/d}}")


def rename(facts: Facts, binding: Binding, new: str) -> str:
    """The command that gives an assignment its right name; "" where the old one cannot be matched safely."""
    if binding.name is None or not may_be_written(facts, binding.name):
        return ""
    return edit(facts, binding.line, rf"s/^(\s*(export\s+)?){binding.name}(\s*=)/\1{new}\3/")


def set_to(facts: Facts, name: str, value: str) -> str:
    """The command that makes `.env` say `name=value`: edits its last assignment or appends one; "" when neither can."""
    bindings = facts.env_file.bindings_of(name)
    if bindings:
        last = bindings[-1]
        if last.line != last.last_line:
            return ""
        replacement = re.sub(r"([\\/&])", r"\\\1", value)
        return edit(facts, last.line, rf"s/^(\s*(export\s+)?){name}\s*=.*/\1{name}={replacement}/")
    newline = "" if _ends_with_newline(facts) else "\\n"
    return f"printf '{newline}%s\\n' {shlex.quote(f'{name}={value}')} >> {_quoted(facts.env_file.path)}"


def unset(facts: Facts, name: str) -> str:
    """The command that takes a value away where it was set: in the shell, or in `.env`."""
    value = facts.values.get(name)
    if value is None or value.line is None:
        return f"unset {name}"
    return remove_line(facts, facts.env_file.bindings_of(name)[-1])


def fresh_secret(facts: Facts, name: str) -> str:
    """The command that gives a variable of `.env` a random secret and shows it nowhere; "" when the shell sets it."""
    value = facts.values.get(name)
    bindings = facts.env_file.bindings_of(name)
    path = _quoted(facts.env_file.path)
    if not bindings:
        newline = "" if _ends_with_newline(facts) else "\\n"
        return f"printf '{newline}%s\\n' \"{name}={RANDOM_TEXT}\" >> {path}"
    if value is not None and value.line == bindings[-1].last_line:
        return f'sed -i -E "{value.line}s/^(\\s*(export\\s+)?){name}\\s*=.*/\\1{name}={RANDOM_TEXT}/" {path}'
    return ""


def switch_on(facts: Facts, name: str) -> str:
    """The command that makes a switch true: in `.env`, unless the shell overrides that."""
    value = facts.values.get(name)
    if value is not None and value.origin is Origin.ENVIRONMENT:
        return f"export {name}=true"
    return set_to(facts, name, "true")


def command(facts: Facts, words: str) -> str:
    """A toombos command for this project, wherever it is pasted."""
    return f"toombos --project {_quoted(facts.manifest.project)} {words}"


def _answer(
    status: Status, reason: str, evidence: tuple[Evidence, ...], cause: str, command: str, advice: str
) -> Answer:
    fix = command or advice
    return Answer(status=status, reason=reason, evidence=evidence, cause=cause, fix=fix, pasteable=bool(command))


def _ends_with_newline(facts: Facts) -> bool:
    bindings = facts.env_file.bindings
    return not bindings or bindings[-1].original.endswith(("\n", "\r"))


def may_be_written(facts: Facts, name: str) -> bool:
    """Whether a name can stand in a command: it is one for a shell too, and no broken-off piece of a secret."""
    return re.fullmatch(r"[A-Za-z_]\w*", name) is not None and shown_name(name, facts.variables) == name


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
