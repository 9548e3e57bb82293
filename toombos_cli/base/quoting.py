"""Words as a shell reads them: every command that a person may paste is quoted here."""

import os
import shlex
from collections.abc import Iterable


def quoted(word: str | os.PathLike[str]) -> str:
    """Return a word for a shell, on one printable line: as `$'a\\nb'` if it contains what is not printable.

    A file name that is not UTF-8 is such a word: its bytes are escaped.
    """
    word = os.fspath(word)
    if word.isprintable():
        return shlex.quote(word)
    escaped = "".join(c if c.isprintable() and c not in "\\'" else _escaped(c) for c in word)
    return f"$'{escaped}'"


def joined(words: Iterable[str]) -> str:
    """Return a command line of these words."""
    return " ".join(map(quoted, words))


def for_any_shell(words: Iterable[str]) -> str:
    """Return a command line for the shell of another machine, which may not know `$'...'`; words keep their lines."""
    return shlex.join(words)


def _escaped(character: str) -> str:
    try:
        encoded = os.fsencode(character)
    except UnicodeEncodeError:  # half of a pair of surrogates, which is in no file name
        encoded = character.encode("utf-8", "surrogatepass")
    return "".join(f"\\x{byte:02x}" for byte in encoded)
