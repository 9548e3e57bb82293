"""Reads foreign files within bounds: they may be damaged, huge, hostile, or not what their name says."""

import errno
import re
from pathlib import Path

from toombos_cli.base.errors import ConfigurationError, RefusedError, UsageError
from toombos_cli.base.plain_files import read_plain
from toombos_cli.base.untrusted import UntrustedError, decode_untrusted, decode_untrusted_yaml
from toombos_cli.config.imports.node import Foreign, Node

MOST_BYTES = 512 * 1024
"""Longer files are none that a person has written; a YAML text of this size is read in about a second."""
_COMMENT = re.compile(r'("(?:\\.|[^"\\])*")|//[^\n]*|/\*.*?\*/', re.DOTALL)
_LAST_COMMA = re.compile(r'("(?:\\.|[^"\\])*")|,(?=\s*[}\]])', re.DOTALL)
_AT_BYTE = re.compile(r" \(byte (\d+)\)")


def read_foreign(path: Path) -> Foreign:
    """Return a text with plain line ends. Raise UsageError if there is none, ConfigurationError if it is not text."""
    try:
        content = read_plain(path, MOST_BYTES, follows_link=True)
    except FileNotFoundError:
        raise UsageError("there is no such file", where=str(path), hint=f"ls {path.parent}") from None
    except IsADirectoryError:
        raise UsageError("is a directory: name the file in it", where=str(path), hint=f"ls {path}") from None
    except PermissionError:
        raise ConfigurationError("not readable by this user", where=str(path), hint=f"ls -l {path}") from None
    except RefusedError:
        raise
    except OSError as error:
        why = (
            f"is longer than {MOST_BYTES} bytes" if error.errno == errno.EFBIG else f"cannot be read: {error.strerror}"
        )
        raise ConfigurationError(why, where=str(path), hint=f"ls -l {path}") from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise Foreign(path, "").problem("is not text in UTF-8", line=line, hint="save it as UTF-8") from None
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise Foreign(path, "").problem("contains the character NUL: it is no text", line=line, hint=f"file {path}")
    return Foreign(path, text)


def read_yaml(path: Path) -> tuple[Foreign, Node]:
    """Return a YAML file and its tree. Raise UsageError and ConfigurationError with the line."""
    return as_yaml(read_foreign(path))


def as_yaml(foreign: Foreign) -> tuple[Foreign, Node]:
    """Return the file with the lines of its keys, and its tree. Raise ConfigurationError with the line."""
    try:
        document = decode_untrusted_yaml(foreign.text)
    except UntrustedError as error:
        line = foreign.text.split("\n")[error.line - 1 : error.line] if error.line else []
        tab = bool(line) and "\t" in line[0][: len(line[0]) - len(line[0].lstrip())]
        hint = "indent with blanks: YAML does not take tabs" if tab else "correct that line"
        raise foreign.problem(f"not valid YAML: {error}", line=error.line, hint=hint) from None
    foreign = Foreign(foreign.path, foreign.text, document.lines)
    return foreign, Node(document.value, foreign)


def as_json(foreign: Foreign) -> tuple[Foreign, Node]:
    """Return the file and its tree, without comments and last commas. Raise ConfigurationError with the line."""
    text = _COMMENT.sub(lambda m: m[1] or "\n" * m[0].count("\n"), foreign.text)
    text = _LAST_COMMA.sub(lambda m: m[1] or "", text)
    try:
        value = decode_untrusted(text)
    except UntrustedError as error:
        at = _AT_BYTE.search(str(error))
        line = text.encode()[: int(at[1])].count(b"\n") + 1 if at else None
        message = _AT_BYTE.sub("", str(error))
        raise foreign.problem(f"not valid JSON: {message}", line=line, hint="correct that line") from None
    return foreign, Node(value, foreign)
