"""Changes values of `.env` in place: comments, order and everything else stay byte for byte."""

import codecs
import contextlib
import fcntl
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from toombos_cli.base.errors import OperationError
from toombos_cli.settings.env_file import Binding, EnvFile, parse_env_text

# The grammar of python-dotenv's parser: name, `=`, then a quoted value, or the rest of the line up to a comment.
_BEFORE = re.compile(r"\s*(?:export[^\S\r\n]+)?(?:'[^']+'|[^=#\s]+)[^\S\r\n]*=[^\S\r\n]*")
_QUOTED = re.compile(r"""'(?:\\'|[^'])*'|"(?:\\"|[^"])*\"""")
_BARE = re.compile(r"[^\r\n]*?(?=\s+#|\s*$|\s*[\r\n])")


@contextlib.contextmanager
def exclusive(directory: Path) -> Iterator[None]:
    """Waits until no other toombos changes a file of this directory. Raises OSError."""
    fd = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def with_values(env_file: EnvFile, values: Mapping[Binding, str]) -> str:
    """The file's text with new values for some of its assignments; a value is bare ASCII without blanks or quotes.

    The result is parsed again, and anything but the asked changes raises OperationError.
    """
    text = "".join(_replaced(b, values[b]) if b in values else b.original for b in env_file.bindings)
    expected = [(b.name, values.get(b, b.value), b.error) for b in env_file.bindings]
    if [(b.name, b.value, b.error) for b in parse_env_text(text, env_file.path).bindings] != expected:
        raise OperationError("a line could not be rewritten: nothing was changed", where=str(env_file.path))
    return text


def replace_file(path: Path, text: str, *, old: str) -> None:
    """Writes the file whole (0600, same owner) or not at all.

    Raises OperationError when it no longer holds `old`, or cannot be written.
    """
    path = path.resolve()
    try:
        if path.read_bytes().removeprefix(codecs.BOM_UTF8) != old.encode():
            raise OperationError("was changed meanwhile: nothing was done", where=str(path), hint="run it again")
        _write(path, text, path.stat())
    except OSError as error:
        raise OperationError(f"cannot be rewritten: {error.strerror}", where=str(path)) from None


def copy_beside(path: Path, name: str, content: str) -> Path:
    """A private copy (0600) of the old content beside the file; replaces an earlier copy. Raises OperationError."""
    copy = path.resolve().with_name(name)
    try:
        _write(copy, content, path.stat())
    except OSError as error:
        raise OperationError(f"the copy cannot be written: {error.strerror}", where=str(copy)) from None
    return copy


def _write(path: Path, text: str, owner: os.stat_result) -> None:
    fd, partial = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)  # created with mode 0600
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(text.encode())
            file.flush()
            if os.geteuid() == 0:
                os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
            os.fsync(file.fileno())
        Path(partial).replace(path)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _replaced(binding: Binding, value: str) -> str:
    before = _BEFORE.match(binding.original)
    if before is None:
        return binding.original  # with_values notices
    rest = binding.original[before.end() :]
    old = _QUOTED.match(rest) or _BARE.match(rest)
    return before[0] + value + rest[old.end() if old else 0 :]
