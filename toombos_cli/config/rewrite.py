"""Changes values of `.env` in place; comments, order and everything else stay the same, byte for byte."""

import codecs
import os
import re
from collections.abc import Mapping
from pathlib import Path

from toombos_cli.base.errors import OperationError
from toombos_cli.base.files import replace_file
from toombos_cli.settings.env_file import Binding, EnvFile, parse_env_text

# The grammar of python-dotenv's parser: name, `=`, then a quoted value or the rest of the line up to a comment.
_BEFORE = re.compile(r"\s*(?:export[^\S\r\n]+)?(?:'[^']+'|[^=#\s]+)[^\S\r\n]*=[^\S\r\n]*")
_QUOTED = re.compile(r"""'(?:\\'|[^'])*'|"(?:\\"|[^"])*\"""")
_BARE = re.compile(r"[^\r\n]*?(?=\s+#|\s*$|\s*[\r\n])")


def with_values(env_file: EnvFile, values: Mapping[Binding, str]) -> str:
    """Return the file's text with new values for some assignments; a value is bare ASCII without spaces or quotes.

    Parse the result again and raise OperationError if it differs by more than the requested changes.
    """
    text = "".join(_replaced(b, values[b]) if b in values else b.original for b in env_file.bindings)
    expected = [(b.name, values.get(b, b.value), b.error) for b in env_file.bindings]
    if [(b.name, b.value, b.error) for b in parse_env_text(text, env_file.path).bindings] != expected:
        raise OperationError("a line could not be rewritten; nothing was changed", where=str(env_file.path))
    return text


def rewrite(path: Path, text: str, *, old: str) -> None:
    """Replace the whole file in one step, with mode 0600 and its present owner.

    Raise OperationError if it no longer contains `old`, or cannot be written.
    """
    path = path.resolve()
    try:
        if path.read_bytes().removeprefix(codecs.BOM_UTF8) != old.encode():
            raise OperationError("the file changed in the meantime; nothing done", where=str(path), hint="try again")
        replace_file(path, text.encode(), durable=True, owner=_owner(path))
    except OSError as error:
        raise OperationError(f"cannot be rewritten: {error.strerror}", where=str(path)) from None


def copy_beside(path: Path, name: str, content: str) -> Path:
    """Write a private copy (0600) of the old content beside the file and return its path. Raise OperationError."""
    copy = path.resolve().with_name(name)
    try:
        replace_file(copy, content.encode(), durable=True, owner=_owner(path))
    except OSError as error:
        raise OperationError(f"the copy cannot be written: {error.strerror}", where=str(copy)) from None
    return copy


def _owner(path: Path) -> tuple[int, int] | None:
    """Return the user and group to keep, or None unless run as root, which alone can change a file's owner."""
    status = path.stat()
    return (status.st_uid, status.st_gid) if os.geteuid() == 0 else None


def _replaced(binding: Binding, value: str) -> str:
    before = _BEFORE.match(binding.original)
    if before is None:
        return binding.original  # with_values notices
    rest = binding.original[before.end() :]
    old = _QUOTED.match(rest) or _BARE.match(rest)
    return before[0] + value + rest[old.end() if old else 0 :]
