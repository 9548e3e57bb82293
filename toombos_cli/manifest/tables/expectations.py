"""What the manifest expects of a service: one language for `health`, `ready` and `live`."""

import re
from typing import Any, Literal

import msgspec

from toombos_cli.manifest.tables.health_words import HealthWords
from toombos_cli.manifest.tables.table import Table

Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
Statuses = int | str | tuple[int, ...]

_BODY_MAX = 1024 * 1024
_CLASS = re.compile(r"[1-5]xx")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # a token of RFC 9110
_VARIABLE = re.compile(r"\$\{([^{}]*)\}")
_PREFIX = "env."


class ProbeSetting(msgspec.Struct, frozen=True, kw_only=True):
    """What a probe needs beside the manifest's table: the service's variables in clear, for headers and commands.

    `may_leave`: they may be sent to the service's host even if it is another machine.
    """

    values: dict[str, str] = {}
    may_leave: bool = False


class Expectation(Table, frozen=True):
    """What is asked of a service, and what response means that it is well; or a command that exits with 0 if it is.

    If `status`, `json` or `text` is set, these alone decide; otherwise the judge of health responses does.
    """

    path: str = ""
    method: Method = "GET"
    headers: dict[str, str] = {}
    status: Statuses | None = None
    """One status, several, or a class such as `2xx`."""
    json: dict[str, Any] = {}
    """Maps a JSON path to a condition on the value there, as in a smoke step."""
    text: str | None = None
    """A regular expression that the body must match, or what the command prints on its standard output."""
    body_max: int = _BODY_MAX
    """The number of bytes of the body that are read."""
    words: HealthWords = HealthWords()
    timeout_s: float | None = None
    command: tuple[str, ...] = ()
    """For what speaks no HTTP: a program with its arguments, run without a shell."""

    def __post_init__(self) -> None:
        if self.command:
            alone = {"command", "text", "timeout_s"}
            beside = [f for f in self.__struct_fields__ if f not in alone and getattr(self, f) != _default_of(f)]
            if beside:
                raise ValueError(
                    f"{beside[0]} is for HTTP, but command is set: it stands with text and timeout_s alone"
                )
            if any("\0" in part for part in self.command):
                raise ValueError("command must not contain the character NUL")
        check_path("path", self.path)
        check_headers(self.headers)
        check_status(self.status)
        if self.body_max < 1:
            raise ValueError("body_max must be at least 1 byte")
        if self.timeout_s is not None and not 0 < self.timeout_s < float("inf"):
            raise ValueError("timeout_s must be above 0 seconds")
        if self.text is not None:
            try:
                re.compile(self.text)
            except re.error as error:
                raise ValueError(f"text is not a regular expression: {error}") from None
        if self.json:
            _check_conditions(self.json)

    @property
    def decides(self) -> bool:
        """Whether conditions are written: they alone decide then."""
        return self.status is not None or bool(self.json) or self.text is not None


def check_path(key: str, path: str) -> None:
    """Raise ValueError for a path that is not one."""
    if path and not path.startswith("/"):
        raise ValueError(f"{key} must be a path that begins with /, not {path!r}")


def check_status(status: Statuses | None) -> None:
    """Raise ValueError for a status that no response can have."""
    if isinstance(status, str) and not _CLASS.fullmatch(status):
        raise ValueError(f"status {status!r} is not valid: write 200, [200, 204] or '2xx'")
    numbers = (status,) if isinstance(status, int) else status if isinstance(status, tuple) else ()
    if status == () or any(not 100 <= number <= 599 for number in numbers):
        raise ValueError(f"status {status!r} is not valid: a status is 100 to 599")


def status_fits(demand: Statuses, status: int) -> bool:
    """Report whether a status is the expected one, one of several, or in a class such as `4xx`."""
    if isinstance(demand, str):
        return str(status)[0] == demand[0]
    return status == demand if isinstance(demand, int) else status in demand


def check_headers(headers: dict[str, str]) -> None:
    """Raise ValueError for a header that cannot be sent, or that uses anything but `${env.NAME}`."""
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            raise ValueError(f"headers: {name!r} is not the name of a header")
        if not value.replace("\t", " ").isprintable():
            raise ValueError(f"headers: the value of {name} has a character that cannot be sent")
        for variable in _VARIABLE.findall(value):
            if not variable.removeprefix(_PREFIX) or not variable.startswith(_PREFIX):
                raise ValueError(f"headers: ${{{variable}}} in {name} is no variable: write ${{env.NAME}}")


def header_variables(headers: dict[str, str]) -> tuple[str, ...]:
    """Return the names of the variables that the headers use, each once."""
    found = (name.removeprefix(_PREFIX) for value in headers.values() for name in _VARIABLE.findall(value))
    return tuple(dict.fromkeys(found))


def filled_headers(headers: dict[str, str], values: dict[str, str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the headers with the values of their variables, and the variables that are not set.

    A header that uses one that is not set is left out.
    """
    filled: dict[str, str] = {}
    unset: dict[str, None] = {}
    for name, value in headers.items():
        missing = [used for used in header_variables({name: value}) if not values.get(used)]
        unset |= dict.fromkeys(missing)
        if not missing:
            filled[name] = _VARIABLE.sub(lambda match: values[match[1].removeprefix(_PREFIX)], value)
    return filled, tuple(unset)


def _default_of(field: str) -> Any:
    return _DEFAULTS[field]


def _check_conditions(demands: dict[str, Any]) -> None:
    from toombos_cli.manifest.tables.conditions import read_condition, value_at  # few manifests have conditions

    for path, demand in demands.items():
        try:
            read_condition(demand)
            value_at(None, path)
        except ValueError as error:
            raise ValueError(f"json: {path}: {error}") from None


_DEFAULTS = {
    field.name: field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    for field in msgspec.structs.fields(Expectation)
}
