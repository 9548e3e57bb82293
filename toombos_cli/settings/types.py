"""Checks values against the types of documented variables, with pydantic for the types that services parse with it."""

from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from toombos_cli.base.untrusted import UntrustedError, decode_untrusted
from toombos_cli.manifest.tables.environment import Variable

if TYPE_CHECKING:
    from pydantic import TypeAdapter

_PYTHON_TYPES = {"bool": bool, "int": int, "float": float}
_KINDS = {"bool": "true or false", "int": "a whole number", "float": "a number"}


def type_error(variable: Variable, value: str) -> str | None:
    """Return what is wrong with a non-empty value, as "is not ...", or None. The value is never quoted."""
    if variable.type in _PYTHON_TYPES:
        return _number_error(variable, value)
    if variable.type == "choice":
        return _choice_error(variable, value)
    if variable.type == "url":
        return url_error(value, schemes=("http", "https"))
    if variable.type == "dsn":
        return _dsn_error(variable, value)
    if variable.type == "json" and value.lstrip().startswith("{"):
        try:
            decode_untrusted(value)
        except UntrustedError:
            return "is not JSON"
    return None


def url_error(value: str, *, schemes: tuple[str, ...]) -> str | None:
    """Return why a text is not an absolute URL of one of the schemes, or None if it is."""
    try:
        parts = urlsplit(value)
        port, host = parts.port, parts.hostname
    except ValueError:
        return "is not a URL: host or port cannot be read"
    if not value.startswith(tuple(f"{scheme}://" for scheme in schemes)):
        return f"is not a URL that begins with {' or '.join(f'{s}://' for s in schemes)}"
    if not host:
        return "is a URL without a host"
    if any(c.isspace() for c in value):
        return "is not a URL: it contains spaces"
    return "is a URL with port 0" if port == 0 else None


def _dsn_error(variable: Variable, value: str) -> str | None:
    scheme, separator, _ = value.partition("://")
    kind = scheme.partition("+")[0]
    if not separator or not kind or (variable.choices and kind not in variable.choices):
        return f"is not a database URL that begins with {' or '.join(f'{c}://' for c in variable.choices or ('NAME',))}"
    if kind == "sqlite":
        return None
    from toombos_cli.settings.databases import Server  # most values are no databases

    server = Server.parse(value)
    if server is None:
        return "is not a URL: host or port cannot be read"
    if not server.named_host:
        return "is a URL without a host"
    if any(c.isspace() for c in value):
        return "is not a URL: it contains spaces"
    return "is a URL with port 0" if server.port == 0 else None


def _number_error(variable: Variable, value: str) -> str | None:
    from pydantic import ValidationError

    try:
        number = _adapter(_PYTHON_TYPES[variable.type]).validate_python(value)
    except ValidationError:
        return f"is not {_KINDS[variable.type]}"
    if variable.type == "bool":
        return None
    if number != number or number in (float("inf"), float("-inf")):
        return "is not a finite number"
    if variable.minimum is not None and number < variable.minimum:
        return f"is below {variable.minimum:g}"
    if variable.maximum is not None and number > variable.maximum:
        return f"is above {variable.maximum:g}"
    return None


def _choice_error(variable: Variable, value: str) -> str | None:
    from toombos_cli.base.spelling import nearest

    if value in variable.choices or (variable.any_case and value.upper() in map(str.upper, variable.choices)):
        return None
    guess = nearest(value, variable.choices)
    return f"is not one of {', '.join(variable.choices)}" + (f"; did you mean {guess}?" if guess else "")


@cache
def _adapter(kind: type) -> "TypeAdapter[float]":
    from pydantic import TypeAdapter

    return TypeAdapter(kind)
