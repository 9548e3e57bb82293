"""Where a setting is set, and the fixes that edit `.env`.

No command shows a value, and none changes a line that has changed since it was checked. None removes a line, so the
line numbers of the others stay right.
"""

import re
from pathlib import Path

from toombos_cli.base import fixes
from toombos_cli.base.findings import Evidence
from toombos_cli.base.fixes import Fix
from toombos_cli.base.quoting import joined, quoted
from toombos_cli.base.redaction import MASK
from toombos_cli.settings.databases import Database
from toombos_cli.settings.display import masked_url, shown_name, shown_value
from toombos_cli.settings.env_file import Binding
from toombos_cli.settings.facts import SettingsFacts
from toombos_cli.settings.strength import RANDOM_TEXT
from toombos_cli.settings.values import Origin, Value


def at_line(facts: SettingsFacts, line: int, text: str = "") -> Evidence:
    """Return a line of `.env` as evidence."""
    return Evidence(source=str(facts.env_file.path), line=line, text=text)


def in_manifest(facts: SettingsFacts, key: str) -> Evidence:
    """Return a key of the manifest as evidence."""
    return Evidence(source=str(facts.manifest.source.path or "toombos.toml (packaged)"), text=key)


def where_set(facts: SettingsFacts, name: str, text: str = "") -> Evidence:
    """Return the place that sets the effective value of a variable, with the value if it may be shown."""
    value = facts.values.get(name)
    if value is None:
        return Evidence(source=str(facts.env_file.path), text=text or f"{name} is not set")
    text = text or f"{name}={shown_value(name, value.value, facts.variables.get(name))}"
    return _in_file(facts, value, text) or Evidence(source=value.origin.value, text=text)


def place_of(facts: SettingsFacts, value: Value) -> Evidence:
    """Return the place that sets a value, with the variable's name alone."""
    return _in_file(facts, value, value.name) or Evidence(source=value.origin.value, text=value.name)


def _in_file(facts: SettingsFacts, value: Value, text: str) -> Evidence | None:
    return at_line(facts.at(value.path), value.line, text) if value.line is not None else None


def where_given(facts: SettingsFacts, database: Database) -> Evidence:
    """Return the place that sets a database's URL, with the URL without its password."""
    variable, value = facts.variables.get(database.name), database.value
    shown = masked_url(database.url) if "://" in database.url else MASK
    if variable is not None:
        shown = shown_value(database.name, database.url, variable)
    text = f"{database.name}={shown}"
    if (in_file := _in_file(facts, value, text)) is not None:
        return in_file
    if value.origin in (Origin.SERVICE, Origin.MANIFEST):
        return in_table(facts, value, *database.services, text=text)
    return Evidence(source=value.origin.value, text=text)


def in_table(facts: SettingsFacts, value: Value, *services: str, text: str = "") -> Evidence:
    """Return the tables of services that set a value, or the line of their own env file."""
    if (in_file := _in_file(facts, value, text or value.name)) is not None:
        return in_file
    table = "env" if value.origin is Origin.SERVICE else "default_env"
    keys = ", ".join(f"[services.{name}] {table}" for name in services)
    return in_manifest(facts, f"{keys}: {text or value.name}")


def edit(facts: SettingsFacts, line: int, script: str, *, undo: str | None = None, safe: bool = True) -> Fix:
    """Return a sed command on one line; `script` is an extended-regex sed command such as `s/a/b/`."""
    return fixes.edit(facts.env_file.path, line, _sed(facts, line, script), undo=undo, safe=safe)


def edit_all(facts: SettingsFacts, script: str, *, undo: str | None = None) -> Fix:
    """Return a sed command on every line of the file that changes no value."""
    path = facts.env_file.path
    return fixes.edit(path, None, f"{_sed_of(path)} {quoted(script)} {quoted(path)}", undo=undo)


def comment_out(facts: SettingsFacts, binding: Binding, *, safe: bool = False) -> Fix | None:
    """Return the edit that turns a one-line assignment into a comment, or None if it spans several lines.

    It is safe only if the name keeps its value by another line.
    """
    if binding.name is None or binding.line != binding.last_line or not may_be_written(facts, binding.name):
        return None
    assignment = rf"\s*(export\s+)?{binding.name}\s*="
    back = _sed(facts, binding.line, rf"s/^# ({assignment})/\1/")
    return edit(facts, binding.line, rf"s/^({assignment})/# \1/", undo=back, safe=safe)


def rename(facts: SettingsFacts, binding: Binding, new: str) -> Fix | None:
    """Return the edit that corrects the name of an assignment, or None if the old name cannot be matched safely."""
    if binding.name is None or not may_be_written(facts, binding.name):
        return None
    back = _sed(facts, binding.line, _renaming(new, binding.name))
    return edit(facts, binding.line, _renaming(binding.name, new), undo=back, safe=False)


def set_to(facts: SettingsFacts, name: str, value: str, *, safe: bool = True) -> Fix | None:
    """Return the edit that sets `name=value`, or None if a value or assignment spans several lines.

    It changes the last assignment of the name in the env file that counts, or appends one to `.env`.
    """
    if len(value.splitlines()) > 1:
        return None
    facts = _where_to_set(facts, name)
    bindings = facts.env_file.bindings_of(name)
    if not bindings:
        return _append(facts, quoted(f"{name}={value}"))
    last = bindings[-1]
    if last.line != last.last_line:
        return None
    replacement = re.sub(r"([\\/&])", r"\\\1", value)
    return edit(facts, last.line, rf"s/^(\s*(export\s+)?){name}\s*=.*/\1{name}={replacement}/", safe=safe)


def unset(facts: SettingsFacts, name: str) -> Fix | None:
    """Return the fix that takes a value back where it is set: in the shell, or in an env file as a comment."""
    value = facts.values.get(name)
    if value is None or value.line is None:
        return unset_in_shell(name)
    facts = facts.at(value.path)
    return comment_out(facts, facts.env_file.bindings_of(name)[-1])


def unset_in_shell(name: str) -> Fix:
    """Return the line that unsets a variable in the user's own shell."""
    return fixes.shell(f"unset {name}")


def fresh_secret(facts: SettingsFacts, name: str) -> Fix | None:
    """Return the edit that sets a random secret in an env file without showing it, or None if the shell sets it."""
    value = facts.values.get(name)
    facts = _where_to_set(facts, name)
    bindings = facts.env_file.bindings_of(name)
    if not bindings:
        return _append(facts, f'"{name}={RANDOM_TEXT}"')
    if value is not None and value.line == bindings[-1].last_line:
        script = f'"{value.line}s/^(\\s*(export\\s+)?){name}\\s*=.*/\\1{name}={RANDOM_TEXT}/"'
        path = facts.env_file.path
        return fixes.edit(path, value.line, f"{_sed_of(path)} {script} {quoted(path)}", safe=False)
    return None


def _where_to_set(facts: SettingsFacts, name: str) -> SettingsFacts:
    """Return the facts with the file to edit: the one that sets the value, else the last one with the name."""
    value = facts.values.get(name)
    if value is not None and value.path is not None:
        return facts.at(value.path)
    return next((facts.at(file.path) for file in reversed(facts.env_files.shared) if file.bindings_of(name)), facts)


def switch_on(facts: SettingsFacts, name: str) -> Fix | None:
    """Return the fix that sets a switch to true: in an env file, or in the shell if that overrides it."""
    value = facts.values.get(name)
    if value is not None and value.origin is Origin.ENVIRONMENT:
        return fixes.shell(f"export {name}=true")
    return set_to(facts, name, "true")


def may_be_written(facts: SettingsFacts, name: str) -> bool:
    """Report whether a name may appear in a command: valid in a shell, and not a piece of a broken secret."""
    return re.fullmatch(r"[A-Za-z_]\w*", name) is not None and shown_name(name, facts.variables) == name


def _append(facts: SettingsFacts, binding: str) -> Fix:
    """Return the edit that appends one line to the file."""
    bindings = facts.env_file.bindings
    newline = "" if not bindings or bindings[-1].original.endswith(("\n", "\r")) else "\\n"
    path = facts.env_file.path
    undo = f"sed -i '$d' {quoted(path)}" if facts.env_file.exists else joined(("rm", str(path)))
    return fixes.edit(path, None, f"printf '{newline}%s\\n' {binding} >> {quoted(path)}", undo=undo)


def _renaming(old: str, new: str) -> str:
    return rf"s/^(\s*(export\s+)?){old}(\s*=)/\1{new}\3/"


def _sed(facts: SettingsFacts, line: int, script: str) -> str:
    mark = r"1s/^\xEF\xBB\xBF//;" if line == 1 and facts.env_file.byte_order_mark else ""
    return f"{_sed_of(facts.env_file.path)} {quoted(f'{mark}{line}{script}')} {quoted(facts.env_file.path)}"


def _sed_of(path: Path) -> str:
    """Return the beginning of an edit in place, of the file itself and not of a link to it."""
    return "sed -i --follow-symlinks -E" if path.is_symlink() else "sed -i -E"
