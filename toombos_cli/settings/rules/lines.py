"""Rules about single lines of an env file: silently dropped, set twice, or read differently by other programs."""

import re
from collections.abc import Iterator

from toombos_cli.base.findings import Finding, fail, ok, warn
from toombos_cli.base.fixes import Fix, advice
from toombos_cli.base.quoting import quoted
from toombos_cli.settings.display import shown_name
from toombos_cli.settings.env_file import Binding
from toombos_cli.settings.facts import SettingsFacts
from toombos_cli.settings.rules.env_edits import at_line, comment_out, edit, edit_all, may_be_written
from toombos_cli.settings.types import type_error
from toombos_cli.settings.values import is_true

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_ASSIGNMENT = re.compile(r"^\s*(?:export\s+)?([A-Za-z_]\w*)\s*([:=]?)\s*([\"']?)(.*)$")


def parse(facts: SettingsFacts) -> Iterator[Finding]:
    """Lines that python-dotenv drops, the most dangerous ones: the setting falls back to its default."""
    for binding in facts.env_file.unparsed:
        yield _dropped(facts, binding)
    for binding in facts.env_file.bindings:
        if not binding.sets_nothing and binding.value and _CONTROL.search(binding.value):
            yield fail(
                f"the value of {shown_name(str(binding.name), facts.variables)} contains a control character",
                at_line(facts, binding.line),
                fix=advice(f"retype line {binding.line}"),
            )
        yield from _swallowed(facts, binding)


def _dropped(facts: SettingsFacts, binding: Binding) -> Finding:
    lines = binding.text.splitlines()
    names = [m[1] for line in lines if (m := _ASSIGNMENT.match(line)) and m[1] in facts.variables]
    span = f"line {binding.line}" if len(lines) == 1 else f"lines {binding.line} to {binding.last_line}"
    shown = f"{', '.join(dict.fromkeys(names))} on {span}" if names else span
    first = _ASSIGNMENT.match(lines[0])
    why = _why_dropped(lines, first)
    return fail(
        f"{shown} {'is' if len(lines) == 1 else 'are'} silently dropped: {why}{_consequence(facts, names)}",
        at_line(facts, binding.line, _shown_line(facts, lines[0])),
        cause="python-dotenv skips lines it cannot parse, so the setting falls back to its default",
        fix=_correction(facts, binding, lines, first)
        or advice(f"write NAME=value on {span}, or start it with # to make it a comment"),
    )


def _why_dropped(lines: list[str], first: re.Match[str] | None) -> str:
    if first is None:
        return "it is not NAME=value"
    if first[2] == ":":
        return 'it has ":" instead of "="'
    if first[2] == "" and not first[3] and not first[4]:
        return 'a name without "=" sets nothing'
    if first[2] == "=" and first[3]:
        return "a quote is not closed" if len(lines) == 1 else "a quote is closed on a later line and followed by text"
    return "it is not NAME=value"


def _consequence(facts: SettingsFacts, names: list[str]) -> str:
    """Return what the loss of a dry-run switch means, "" for other settings."""
    for name in names:
        if name in facts.with_role("dry_run"):
            if not is_true(facts.clear.get(name)):
                return "; dry-run is OFF"
            return f"; dry-run is on only by {facts.values[name].origin.value}"
    return ""


def _correction(facts: SettingsFacts, binding: Binding, lines: list[str], first: re.Match[str] | None) -> Fix | None:
    """Return the edit that turns the line into what was meant, or None if that is not certain."""
    if first is None or len(lines) > 1:
        return None
    name, sign, quote, rest = first.groups()
    variable = facts.variables.get(name)
    if not may_be_written(facts, name):
        return None
    if sign == ":":
        return edit(facts, binding.line, rf"s/^(\s*(export\s+)?{name})\s*:\s*/\1=/")
    if sign == "=" and quote and not {"#", quote} & set(rest.rstrip().rstrip(quote)):
        value = rest.strip().strip("\"'")
        if variable is not None and variable.type in ("bool", "int", "float") and not type_error(variable, value):
            return edit(facts, binding.line, rf"s/^(\s*(export\s+)?{name}\s*)=.*/\1={re.escape(value)}/")
        return edit(facts, binding.line, rf"s/^(\s*(export\s+)?{name}\s*=.*\S)\s*$/\1{quote}/".replace("'", r"\x27"))
    if not sign and not rest and variable is not None and variable.role in ("dry_run", "use_mocks"):
        return edit(facts, binding.line, rf"s/^(\s*(export\s+)?{name})\s*$/\1=true/")
    return None


def _shown_line(facts: SettingsFacts, line: str) -> str:
    """Return the line as it may be shown: with its value only if that is a boolean or a number."""
    match = _ASSIGNMENT.match(line)
    if match is None or match[1] not in facts.variables:
        return ""
    variable = facts.variables[match[1]]
    value = match[4].strip().strip("\"'")
    if not value or (variable.type in ("bool", "int", "float") and not type_error(variable, value)):
        return line.strip()
    return f"{line[: match.start(4)].strip()}..."


def _swallowed(facts: SettingsFacts, binding: Binding) -> Iterator[Finding]:
    """Settings inside the quotes of another one."""
    if binding.sets_nothing or binding.line == binding.last_line:
        return
    for number, line in enumerate(binding.text.splitlines()[1:], start=binding.line + 1):
        match = _ASSIGNMENT.match(line)
        if match and match[2] and match[1] in facts.variables:
            yield fail(
                f"{match[1]} on line {number} is part of the quoted value that starts on line {binding.line}"
                + _consequence(facts, [match[1]]),
                at_line(facts, number, _shown_line(facts, line)),
                cause="the quote opened there is not closed before this line",
                fix=advice(f"close the quote on line {binding.line}"),
            )


def spaces(facts: SettingsFacts) -> Iterator[Finding]:
    """Spaces around `=`: python-dotenv allows them, `source .env` and Docker do not."""
    for binding in facts.env_file.bindings:
        if binding.sets_nothing or binding.name is None:
            continue
        match = re.match(r"(?:export[^\S\r\n]+)?[^=]*?([^\S\r\n]*)=([^\S\r\n]*)(\S?)", binding.text)
        if match and (match[1] or (match[2] and match[3])):
            name = shown_name(binding.name, facts.variables)
            yield warn(
                f"{name} has spaces around =",
                at_line(facts, binding.line, f"{name}{match[1]}={match[2]}..."),
                cause=f"the services load it, but `source {facts.env_file.label}` and Docker reject the line",
                fix=_without_spaces(facts, binding),
            )


def _without_spaces(facts: SettingsFacts, binding: Binding) -> Fix:
    if not may_be_written(facts, str(binding.name)):
        return advice(f"remove the spaces around = on line {binding.line}")
    return edit(facts, binding.line, rf"s/^(\s*(export\s+)?{binding.name})[[:blank:]]*=[[:blank:]]*/\1=/")


def duplicates(facts: SettingsFacts) -> Iterator[Finding]:
    """A name set twice: the last line wins."""
    for name in dict.fromkeys(b.name for b in facts.env_file.bindings if b.name and not b.sets_nothing):
        bindings = facts.env_file.bindings_of(name)
        if len(bindings) < 2:
            continue
        *earlier, last = bindings
        differ = len({b.value for b in bindings}) > 1
        evidence = tuple(at_line(facts, b.line) for b in bindings)
        answer = fail if differ else warn
        yield answer(
            f"{shown_name(name, facts.variables)} is set {len(bindings)} times"
            + (f", to different values: line {last.line} wins" if differ else ", always to the same value"),
            *evidence,
            fix=(comment_out(facts, earlier[0], safe=not _is_referred_to(facts, name)) if len(earlier) == 1 else None)
            or advice(f"keep line {last.line} and remove {', '.join(str(b.line) for b in earlier)}"),
        )


def _is_referred_to(facts: SettingsFacts, name: str) -> bool:
    """Return whether a line of the file takes the value of this name, perhaps that of its earlier line."""
    return any(f"${{{name}" in binding.original for binding in facts.env_file.bindings)


def portability(facts: SettingsFacts) -> Iterator[Finding]:
    """Lines that a shell reads differently from the services; differences of Docker's --env-file are noted."""
    if facts.env_file.byte_order_mark:
        yield warn(
            "the file starts with a byte order mark",
            at_line(facts, 1),
            cause="a shell, and some readers of .env, take it as part of the first name",
            fix=edit(facts, 1, r"s/^\xEF\xBB\xBF//"),
        )
    assignments = [b for b in facts.env_file.bindings if b.name is not None and not b.sets_nothing]
    yield from _line_ends(facts, assignments)
    literal = []
    for binding in assignments:
        raw = binding.text.partition("=")[2].strip(" \t")
        difference = _in_a_shell(binding, raw)
        if difference:
            yield warn(
                f"a shell reads {shown_name(str(binding.name), facts.variables)} differently: {difference[0]}",
                at_line(facts, binding.line),
                cause=f"`source {facts.env_file.label}` sets another value than the services get, or runs part of it",
                fix=advice(difference[1]),
            )
        if raw[:1] in ("'", '"') or re.search(r"\s#", raw) or binding.text.startswith("export "):
            literal.append(str(binding.line))
    if literal:
        yield ok(f"docker run --env-file takes quotes, comments and export literally: lines {', '.join(literal)}")


def _line_ends(facts: SettingsFacts, assignments: list[Binding]) -> Iterator[Finding]:
    """Line ends of Windows, in one finding with one fix for the whole file."""
    ends = [binding for binding in assignments if "\r\n" in binding.original]
    if ends:
        path = facts.env_file.path
        yield warn(
            f"{len(ends)} lines end in CR LF, and a shell keeps the CR",
            at_line(facts, ends[0].line),
            cause=f"`source {facts.env_file.label}` and Docker make the CR a part of each value",
            fix=edit_all(facts, r"s/\r$//", undo=rf"sed -i 's/$/\r/' {quoted(path)}"),
        )


def _in_a_shell(binding: Binding, raw: str) -> tuple[str, str] | None:
    """Return how a shell reads the line differently, and what to do about it, or None."""
    quote = "put single quotes around the value"
    if not re.fullmatch(r"[A-Za-z_]\w*", str(binding.name), re.ASCII):
        return "it is not a valid name there", "write a name of letters, digits and _, or let nothing source the file"
    if "\r" in binding.text.replace("\r\n", "\n"):
        return "the value contains a CR", f"retype line {binding.line}"
    if raw.startswith("'"):
        if "${" in raw:
            return "the services replace ${...} even in single quotes", "write the value without ${...}"
        if re.search(r"\\[\\']", raw[1:-1]):
            return r"it knows no \\ and no \' in single quotes", 'put double quotes around the value: "it\'s"'
        return None
    if raw.startswith('"'):
        inner = raw[1:]
        if re.search(r"`|\$\(|\$\w", inner):
            return "it replaces $NAME, $(...) and `...`", quote
        if re.search(r"\\[abfnrtv]", inner):
            return "it leaves escapes such as \\n unchanged", "write the value without escapes"
        return None
    bare = re.sub(r"\s+#.*$", "", raw)
    if "'" in bare:
        quote = "put double quotes around the value"
    if re.search(r"\s", bare):
        return "an unquoted space ends the value", quote
    if re.search(r"[`;&|<>()\\\"']|\$(?!\{)|^~", bare):
        return "the value contains characters that are special to a shell", quote
    return None
