"""The text of a manifest made from a foreign file: one table a service, comments where a person goes on."""

import re
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

from toombos_cli.base.redaction import Redactor, is_secret_name
from toombos_cli.config.imports.draft import ServiceDraft, SystemDraft
from toombos_cli.config.imports.secrets import Secrets
from toombos_cli.config.imports.shell import braced
from toombos_cli.config.template import SCHEMA_LINE

_WIDTH = 110
_LONG_COMMENT = 40
_WHOLE_WORDS: Any = {"break_long_words": False, "break_on_hyphens": False}
_ORDER = (
    *(
        "title",
        "role",
        "kind",
        "run",
        "command",
        "enabled",
        "optional",
        "cwd",
        "user",
        "port",
        "host",
        "scheme",
        "health",
        "ready",
    ),
    *("live", "metrics", "openapi"),
    *("health_answer", "depends_on", "env", "default_env", "env_files", "groups", "watch", "log", "startup_timeout_s"),
    *("latency_warn_ms", "exit_codes_of_invalid_configuration", "restart_when_unhealthy", "inputs", "timeout_s"),
    *("probe_interval_s", "probe_timeout_s", "unhealthy_after", "stop_signal", "stop_command", "grace_period_s"),
    *("restart", "limits"),
)
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def render(system: SystemDraft, secrets: Secrets, *, source: str) -> str:
    """Return the text of `toombos.toml`. It depends on the drafts alone."""
    parts = [_head(system, source)]
    said: set[str] = set()
    parts += [_service(draft, system, said) for draft in system.services.values()]
    parts += [_secret(name, used_by, source) for name, used_by in secrets.used_by.items()]
    parts += [_unset(name, *said) for name, said in system.unset.items() if name not in secrets.used_by]
    parts.append(
        _comment(
            "Next: requests to test ([[smoke]]), a target for load tests ([load]) and what a backup saves ([backup])."
        )
    )
    return "\n".join(parts)


def _head(system: SystemDraft, source: str) -> str:
    lines = [
        SCHEMA_LINE,
        _comment(
            f"Made from {source}. `toombos start --preview` shows what would start; docs/manifest.md lists all keys. "
            "Lines with `todo` need a person."
        ),
        _comment(
            "Editors check this file by its schema, which this writes: `toombos config schema > toombos.schema.json`"
        ),
    ]
    if any("{{" in word for draft in system.services.values() for word in draft.keys.get("command", ())):
        lines.append(_comment("{{ and }} are single braces; {port}, {host} and {project} are filled in by toombos."))
    lines += [_comment(note) for note in system.notes]
    if system.name:
        lines.append(f"name = {_value(system.name)}\n")
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)


def _service(draft: ServiceDraft, system: SystemDraft, said: set[str]) -> str:
    """Return the table of a service; `said` are the long comments of the tables above, which are not repeated."""
    keys = dict(draft.keys)
    if draft.title:
        keys["title"] = draft.title
    if env := {name: draft.placeholders.get(name) or braced(value) for name, value in draft.env.items()}:
        keys["env"] = env
    if draft.default_env:
        keys["default_env"] = {
            name: draft.placeholders.get(name) or braced(value) for name, value in draft.default_env.items()
        }
    if depends_on := _depends_on(draft, system):
        keys["depends_on"] = depends_on
    lines = [f"[services.{_key(draft.name)}]\n"]
    lines += [_comment(note) for note in draft.notes]
    lines += [_comment(f"todo: {text}") for text in draft.todo]
    below = ""
    for key in sorted(keys, key=_ORDER.index):
        beside = draft.beside.get(key, "")
        line = _assignment(key, keys[key], "" if beside in said else beside)
        said |= {beside} if len(beside) > _LONG_COMMENT else set()
        if key in ("env", "default_env") and len(line) > _WIDTH:
            below += f"\n[services.{_key(draft.name)}.{key}]\n" + "".join(
                _assignment(n, v) for n, v in keys[key].items()
            )
        else:
            lines.append(line)
    lines += [_offer(_assignment(key, value, why)) for key, value, why in draft.offers]
    return "".join(lines) + below


def _offer(text: str) -> str:
    """Return the lines of an assignment as comments."""
    return "".join(line if line.startswith("#") else f"#{line}" for line in text.splitlines(keepends=True))


def _depends_on(draft: ServiceDraft, system: SystemDraft) -> dict[str, Any] | list[str]:
    known = {name: when for name, when in draft.depends_on.items() if name in system.services}
    if set(known.values()) == {"ready"} and not draft.restarts_with:
        return [system.services[name].name for name in known]
    return {
        system.services[name].name: {"when": when, "restart": True} if name in draft.restarts_with else when
        for name, when in known.items()
    }


def _secret(name: str, used_by: Iterable[str], source: str) -> str:
    table = {"description": f"From {source}", "secret": True, "required": True, "used_by": list(dict.fromkeys(used_by))}
    return f"[environment.{_key(name)}]\n" + "".join(_assignment(key, value) for key, value in table.items())


def _unset(name: str, description: str, required: bool) -> str:
    table: dict[str, Any] = {"description": _shown(description)} | ({"required": True} if required else {})
    table |= {"secret": True} if is_secret_name(name) else {}
    return f"[environment.{_key(name)}]\n" + "".join(_assignment(key, value) for key, value in table.items())


def _assignment(key: str, value: Any, beside: str = "") -> str:
    line = f"{_key(key)} = {_value(value)}"
    if isinstance(value, list | tuple) and len(line) > _WIDTH:
        line = f"{_key(key)} = [\n{_filled(value)}\n]"
    if not beside:
        return f"{line}\n"
    if len(line.rpartition("\n")[2]) + len(beside) + 4 > _WIDTH + 10:
        return f"{_comment(beside)}{line}\n"
    return f"{line}  # {_shown(beside)}\n"


def _filled(words: Iterable[str]) -> str:
    lines = [" "]
    for word in words:
        item = f" {_value(word)},"
        if len(lines[-1]) > 1 and len(lines[-1]) + len(item) > _WIDTH:
            lines.append(" ")
        lines[-1] += item
    return "\n".join(lines)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"{value:g}" if isinstance(value, float) else str(value)
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(key)} = {_value(item)}" for key, item in value.items()) + " }"
    return "[" + ", ".join(map(_value, value)) + "]"


def _text(text: str) -> str:
    """Return a TOML string: a literal one where that is easier to read."""
    plain = all(c.isprintable() or c == "\n" for c in text)
    if "\n" in text and plain and "'''" not in text and not text.endswith("'"):
        return f"'''\n{text}'''"
    if ('"' in text or "\\" in text) and "'" not in text and plain and "\n" not in text:
        return f"'{text}'"
    return _basic(text)


def _basic(text: str) -> str:
    escapes = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}
    return '"' + "".join(escapes.get(c) or (c if c.isprintable() else _escaped(c)) for c in text) + '"'


def _escaped(character: str) -> str:
    return f"\\u{ord(character):04x}" if ord(character) < 0x10000 else f"\\U{ord(character):08x}"


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _basic(key)


def _comment(text: str) -> str:
    """Return a text as comments, wrapped; a line that is indented stays whole, so that it can be pasted."""
    lines: list[str] = []
    for line in text.split("\n"):
        shown = _shown(line)
        lines += [f"  {shown}"] if line.startswith("  ") else textwrap.wrap(shown, _WIDTH, **_WHOLE_WORDS)
    return "".join(f"# {line}\n" for line in lines)


def _shown(text: str) -> str:
    """Return a comment on one line and without secrets: it may quote the other file."""
    return Redactor().text(" ".join("".join(c if c.isprintable() else " " for c in text).split()))
