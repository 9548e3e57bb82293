"""The tables inside a step of the smoke test, and the checks that they share with the step."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import msgspec

from toombos_cli.manifest.tables.conditions import Condition, read_condition, value_at
from toombos_cli.manifest.tables.table import Table

Method = Literal["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"]
VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_.-]*)\}")
"""A use of a variable, such as `${order_id}` or `${env.API_KEY}`."""


class Counter(Table, frozen=True):
    """A number that a step must raise by exactly `rises_by`: at a JSON path of a response, or a Prometheus metric."""

    service: str
    path: str
    rises_by: int | float | str
    """A number, or a variable that holds one."""
    json: str | None = None
    metric: str | None = None
    """`name` or `name{label="value"}`; matching samples are added up."""

    def __post_init__(self) -> None:
        if (self.json is None) == (self.metric is None):
            raise ValueError("a counter needs either `json` or `metric`")
        check_path("counters", self.path)
        if isinstance(self.rises_by, str) and not VARIABLE.fullmatch(self.rises_by):
            raise ValueError(f"rises_by must be a number or a variable, not {self.rises_by!r}")
        if self.json is not None:
            check_json_path("counters", self.json)


class Untouched(Table, frozen=True):
    """A condition that must hold before the first step for a cleanup to be allowed."""

    path: str
    json: dict[str, Any]

    def __post_init__(self) -> None:
        check_path("if_at_start", self.path)
        check_conditions("if_at_start", self.json)
        for path in self.json:
            check_json_path("if_at_start", path)


class Cleanup(Table, frozen=True):
    """A request to the step's service that undoes the step; it is sent at the end, even if the step failed."""

    path: str
    method: Method = "DELETE"
    status: tuple[int, ...] = (200, 202, 204, 404)
    if_at_start: Untouched | None = None
    """For a request that removes more than the step created: send it only if there was nothing else to remove."""

    def __post_init__(self) -> None:
        check_path("cleanup", self.path)


class Upload(Table, frozen=True):
    """A file in a form: the content of a file of the project, or a text."""

    path: str | None = None
    content: str | None = None
    name: str = ""
    """The file name that the service sees; by default that of `path`, or the field's."""
    type: str = ""
    """The media type; by default that of the name."""

    def __post_init__(self) -> None:
        if (self.path is None) == (self.content is None):
            raise ValueError("an upload needs either `path` or `content`")


class Capture(Table, frozen=True):
    """Where a value for later steps is found in a response."""

    json: str | None = None
    header: str | None = None
    cookie: str | None = None
    text: str | None = None
    """A regular expression with one group, searched for in the body or in what a TCP service sent."""

    def __post_init__(self) -> None:
        if sum(value is not None for value in (self.json, self.header, self.cookie, self.text)) != 1:
            raise ValueError("a capture needs exactly one of `json`, `header`, `cookie` and `text`")
        if self.json is not None:
            check_json_path("capture", self.json)
        if self.text is not None and check_regex("capture", self.text).groups != 1:
            raise ValueError(f"capture: text {self.text!r} must have one group: (...)")


class Until(Table, frozen=True):
    """How long a step's request is sent again, until all of its conditions hold."""

    timeout_s: float = 30.0
    every_s: float = 0.5

    def __post_init__(self) -> None:
        if not (self.timeout_s > 0 and self.every_s > 0):
            raise ValueError("until: timeout_s and every_s must be above 0 seconds")


def check_path(where: str, path: str) -> None:
    """Raise ValueError for a path that cannot be requested; a variable that stands alone is a link."""
    if VARIABLE.fullmatch(path):
        return
    if not path.startswith("/"):
        raise ValueError(f"{where}: path must begin with /, not {path!r}")
    if "#" in path:
        raise ValueError(f"{where}: the fragment of {path!r} is not sent to a server: leave out the part from # on")


def check_json_path(where: str, path: str) -> None:
    """Raise ValueError for a JSON path that is not valid, whatever its variables are."""
    try:
        value_at(msgspec.UNSET, VARIABLE.sub("x", path))
    except ValueError:  # unless it is right with an index in the place of a variable
        _check(where, lambda: value_at(msgspec.UNSET, VARIABLE.sub("0", path)))


def check_conditions(where: str, demands: dict[str, Any]) -> None:
    """Raise ValueError for a condition that is not valid, as far as its variables let that be known."""
    for key, demand in demands.items():
        _check(f"{where}: {key}", partial(read_condition, _with_known_operands(demand)))


def _with_known_operands(demand: Any) -> Any:
    """Return the condition without the operands that are a variable: their type is not known yet."""
    if not isinstance(demand, dict):
        return demand
    return {
        name: operand
        for name, operand in demand.items()
        if not (isinstance(operand, str) and VARIABLE.fullmatch(operand) and name in Condition.__struct_fields__)
    }


def check_regex(where: str, expression: str) -> re.Pattern[str]:
    """Return the regular expression with a digit for each variable. Raise ValueError if it is not valid."""
    try:
        return re.compile(VARIABLE.sub("0", expression))
    except re.error as error:
        raise ValueError(f"{where}: {expression!r} is not a regular expression: {error}") from None


def check_hex(where: str, digits: str) -> None:
    """Raise ValueError for what is not hexadecimal."""
    _check(where, lambda: bytes.fromhex(digits))


def _check(where: str, read: Callable[[], Any]) -> None:
    try:
        read()
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
