"""Command lines: a list of words where that is enough, a shell where its syntax is used."""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field

_SYNTAX = re.compile(r"[|&;<>()$`*?\[\n]|(?<!\S)[~#]|(?<!\S)[{}!](?!\S)")
_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)
_INTO = re.compile(r"cd\s+(?P<directory>[A-Za-z0-9_./-]+)\s*&&\s*(?P<rest>\S.*)", re.DOTALL)
_EXEC = re.compile(r"exec\s+(?=\S)")
_OF_THE_SHELL = frozenset(
    {
        *("cd", ".", "source", "eval", "exec", "export", "set", "unset", "ulimit", "umask", "trap", "wait", "if"),
        *("for", "while", "until", "case", "command", "alias"),
    }
)
_REFERENCE = re.compile(r"\x03(\w+)\x04")
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)(?::?-([^{}$`\"'\\ ]*))?\})")


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandLine:
    """A command as a manifest has it: its words, the directory it changes to, and the variables it begins with."""

    words: tuple[str, ...]
    directory: str = ""
    env: dict[str, str] = field(default_factory=dict)


def braced(text: str) -> str:
    """Return a text as a manifest has it, where single braces are placeholders."""
    return text.replace("{", "{{").replace("}", "}}")


def command_line(text: str, placeholders: dict[str, str] | None = None) -> CommandLine:
    """Return what a shell would do with a line. Raise ValueError if a quote is not closed.

    `placeholders` are the placeholders to write for variables such as `$PORT`.
    """
    text = text.strip()
    if into := _INTO.fullmatch(text):
        rest = command_line(into["rest"], placeholders)
        return CommandLine(words=rest.words, directory=_joined(into["directory"], rest.directory), env=rest.env)
    text = _EXEC.sub("", text, count=1) if _EXEC.match(text) else text
    marked, marks = _marked(text, placeholders or {})
    env: dict[str, str] = {}
    words = None if _has_syntax(marked) else shlex.split(marked)
    while words and (assigned := _ASSIGNMENT.fullmatch(words[0])):
        env[assigned[1]] = _unmarked(assigned[2], marks)
        words = words[1:]
    if not words or words[0] in _OF_THE_SHELL:
        shlex.split(_without_syntax(text))
        return CommandLine(words=("sh", "-c", braced(text)))
    return CommandLine(words=tuple(_unmarked(word, marks) for word in words), env=env)


def words_of(text: str) -> tuple[str, ...]:
    """Return the words of a line that no shell reads, unless it is plainly meant for one. Raise ValueError as above."""
    words = shlex.split(text)
    if {"&&", "||", "|", ";"} & set(words):
        return ("sh", "-c", braced(text.strip()))
    return tuple(map(braced, words))


def reference(name: str) -> str:
    """Return what stands in a word for the value of a variable until `with_references` makes a shell line of it."""
    return f"\x03{name}\x04"


def as_shell_sees(word: str) -> str:
    """Return a word of a manifest's command with single braces, and with `$NAME` for each reference."""
    return _REFERENCE.sub(r"$\1", word).replace("{{", "{").replace("}}", "}")


def with_references(words: tuple[str, ...], prefix: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Return a command in which a shell puts the variables of `reference` in; the same if there are none.

    `prefix` are variables that the shell sets for the command.
    """
    if not prefix and not any("\x03" in word for word in words):
        return words
    if not prefix and len(words) == 3 and words[0].rpartition("/")[2] in ("sh", "bash", "dash") and words[1] == "-c":
        return (*words[:2], _in_shell_text(words[2]))
    assigned = [f"{name}={_shell_word(braced(value))}" for name, value in (prefix or {}).items()]
    return ("sh", "-c", " ".join((*assigned, "exec", *map(_shell_word, words))))


def _in_shell_text(text: str) -> str:
    def value(match: re.Match[str]) -> str:
        before = re.sub(r"""\\.|"(?:\\.|[^"\\])*\"""", "", text[: match.start()], flags=re.DOTALL)
        return f"'\"${match[1]}\"'" if before.count("'") % 2 else f"${{{{{match[1]}}}}}"

    return _REFERENCE.sub(value, text)


def _shell_word(word: str) -> str:
    pieces = _REFERENCE.split(word)
    parts = (f'"${piece}"' if index % 2 else _quoted(piece) for index, piece in enumerate(pieces))
    return "".join(parts) or "''"


def _quoted(text: str) -> str:
    return text if re.fullmatch(r"(?:[A-Za-z0-9@%+=:,./_-]|\{(?:port|host)\})*", text) else shlex.quote(text)


def _joined(first: str, then: str) -> str:
    return f"{first.rstrip('/')}/{then}" if then else first


def _has_syntax(text: str) -> bool:
    return bool(_SYNTAX.search(_without_quoted(text)))


def _without_quoted(text: str) -> str:
    """Return what the shell reads as syntax: without what stands in quotes, except expansions in double quotes."""

    def kept(match: re.Match[str]) -> str:
        quoted = match[0]
        return "".join(re.findall(r"[$`]", re.sub(r"\\.", "", quoted))) if quoted.startswith('"') else ""

    return re.sub(r"""\\.|'[^']*'|"(?:\\.|[^"\\])*\"""", kept, text, flags=re.DOTALL)


def _without_syntax(text: str) -> str:
    """Return the text without comments and here-documents, for a look at its quotes alone."""
    return text if "<<" not in text else ""


def _marked(text: str, placeholders: dict[str, str]) -> tuple[str, dict[str, str]]:
    """Return the text with a mark in the place of each variable for which there is a placeholder."""
    marks: dict[str, str] = {}

    def mark(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name not in placeholders or text[: match.start()].count("'") % 2:
            return match[0]
        marks[f"\x01{name}\x02"] = placeholders[name]
        return f"\x01{name}\x02"

    return _VARIABLE.sub(mark, text), marks


def _unmarked(word: str, marks: dict[str, str]) -> str:
    word = braced(word)
    for mark, placeholder in marks.items():
        word = word.replace(mark, placeholder)
    return word
