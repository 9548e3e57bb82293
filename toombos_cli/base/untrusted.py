"""Decodes what others wrote: responses, log lines, webhooks, archives, and files that may be damaged or hostile.

Size, depth, numbers and encoding are bounded, and whatever is wrong is one exception, so that one odd text never costs
more than the judgement of that text. No other module decodes JSON or TOML (a contract test holds it).
"""

import re
from collections.abc import Callable
from typing import Annotated, Any, TypeVar, overload

import msgspec

from toombos_cli.base.exact_numbers import ExactNumber
from toombos_cli.base.plain_files import MOST_BYTES

T = TypeVar("T")

_MOST_LEVELS = 100
"""Deeper values would end the recursive functions that compare, redact and encode them."""
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_EXACTLY = msgspec.json.Decoder(float_hook=ExactNumber)
_LINE = re.compile(r" \(at (?:line (\d+)|end of document).*\)$")

EpochSeconds = Annotated[float, msgspec.Meta(ge=0, le=32_503_680_000)]
"""Seconds since the epoch, up to the year 3000: later ones cannot be shown as a date."""
ProcessNumber = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
"""A pid, or 0: the kernel refuses larger numbers with another error than `no such process`."""


class UntrustedError(ValueError):
    """A text of others cannot be used. The message says why, but not where the text is; `line` is where in TOML."""

    def __init__(self, message: str, *, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


@overload
def decode_untrusted(
    content: bytes | str, *, most_bytes: int = ..., as_python: bool = ..., exact: bool = ...
) -> Any: ...
@overload
def decode_untrusted(
    content: bytes | str,
    kind: type[T],
    *,
    most_bytes: int = ...,
    dec_hook: Callable[[type, Any], Any] | None = ...,
) -> T: ...
def decode_untrusted(
    content: bytes | str,
    kind: Any = Any,
    *,
    most_bytes: int = MOST_BYTES,
    dec_hook: Callable[[type, Any], Any] | None = None,
    as_python: bool = False,
    exact: bool = False,
) -> Any:
    """Return the JSON value, of this type. Raise UntrustedError.

    A value without a type may be nested in 100 levels. `as_python` also accepts what Python's own encoder writes,
    although JSON forbids it: NaN, Infinity and unpaired surrogates. With `exact`, a number that is no integer is an
    ExactNumber, which keeps its digits.
    """
    if len(content) > most_bytes:
        raise UntrustedError(f"it is longer than {most_bytes} bytes")
    if isinstance(content, bytes):
        content = content.removeprefix(_BYTE_ORDER_MARK)
    try:
        value = _EXACTLY.decode(content) if exact else msgspec.json.decode(content, type=kind, dec_hook=dec_hook)
    except RecursionError:
        raise UntrustedError("it is nested too deeply") from None
    except ValueError as error:
        if not as_python:
            raise UntrustedError(_reason(error)) from None
        value = _decode_as_python(content)
    if kind is Any or kind == dict[str, Any]:
        if isinstance(content, bytes):
            _check_levels(value, content.count(b"[") + content.count(b"{"))
        else:
            _check_levels(value, content.count("[") + content.count("{"))
    return value


def decode_untrusted_toml(content: bytes | str, *, most_bytes: int = MOST_BYTES) -> dict[str, Any]:
    """Return the tables of a TOML text. Raise UntrustedError, with the line if it is known."""
    import tomllib

    if len(content) > most_bytes:
        raise UntrustedError(f"it is longer than {most_bytes} bytes")
    try:
        text = content.decode() if isinstance(content, bytes) else content
        tree = tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise UntrustedError(_reason(error), line=error.object[: error.start].count(b"\n") + 1) from None
    except tomllib.TOMLDecodeError as error:
        message, at = str(error), _LINE.search(str(error))
        line = int(at[1]) if at and at[1] else len(text.splitlines())
        raise UntrustedError(_LINE.sub("", message), line=line) from None
    except RecursionError:
        raise UntrustedError("it is nested too deeply") from None
    except ValueError:
        raise UntrustedError("a number is too long") from None
    _check_levels(tree, sum(map(text.count, "[{.")))
    return tree


class YamlDocument(msgspec.Struct, frozen=True):
    """The value of a YAML text, whose scalars are texts or None, and the line of each key of its upper levels."""

    value: Any
    lines: dict[tuple[str | int, ...], int]


def decode_untrusted_yaml(content: str) -> YamlDocument:
    """Return the one document of a YAML text. Raise UntrustedError, with the line if it is known.

    Scalars stay as they are written (`22:22`, `no`, `3.10`), except that `null` and `~` become None. Aliases and merge
    keys are resolved, as long as the whole stays below 100,000 values; a repeated key is an error.
    """
    import yaml

    from toombos_cli.base.yaml_nodes import UnusableYamlError, compose_bounded, plain_value, upper_lines

    try:
        node = compose_bounded(content, most_levels=_MOST_LEVELS)
        return YamlDocument(plain_value(node), upper_lines(node))
    except UnusableYamlError as error:
        raise UntrustedError(str(error), line=error.line) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise UntrustedError(error.problem or "it is not YAML", line=mark.line + 1 if mark else None) from None
    except yaml.reader.ReaderError as error:
        line = content.count("\n", 0, error.position) + 1
        raise UntrustedError("a control character is not allowed", line=line) from None
    except UnicodeEncodeError as error:
        raise UntrustedError(f"it has no UTF-8 at character {error.start}") from None
    except yaml.YAMLError as error:
        raise UntrustedError(str(error).partition("\n")[0]) from None


def decode_packed(content: bytes, kind: type[T]) -> T:
    """Return the MessagePack value, of this type. Raise UntrustedError."""
    try:
        return msgspec.msgpack.decode(content, type=kind)
    except RecursionError:
        raise UntrustedError("it is nested too deeply") from None
    except ValueError as error:
        raise UntrustedError(_reason(error)) from None


def _decode_as_python(content: bytes | str) -> Any:
    import json

    try:
        return json.loads(content)
    except RecursionError:
        raise UntrustedError("it is nested too deeply") from None
    except ValueError as error:
        raise UntrustedError(_reason(error)) from None


def _reason(error: ValueError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"it is not UTF-8 at byte {error.start}"
    return str(error)


def _check_levels(value: Any, at_most: int) -> None:
    """Raise UntrustedError if a value with at most so many levels is nested too deeply."""
    if at_most <= _MOST_LEVELS:  # true for most texts
        return
    branches = [value] if isinstance(value, dict | list) else []
    for _ in range(_MOST_LEVELS):
        items = (item for part in branches for item in (part.values() if isinstance(part, dict) else part))
        branches = [item for item in items if isinstance(item, dict | list)]
    if branches:
        raise UntrustedError("it is nested too deeply")
