"""Variables in a step: `${name}` for captured values, `${env.NAME}` and `${run.id}`.

A value means the same wherever it stands: a text is itself, anything else is spelled as JSON. Where a step holds
values, and not texts, a variable that stands alone keeps its type.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum, auto
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec

from toombos_cli.base.exact_numbers import as_text
from toombos_cli.manifest.tables.smoke import SmokeStep
from toombos_cli.manifest.tables.smoke_parts import VARIABLE, Capture, Cleanup, Counter, Untouched, Upload
from toombos_cli.manifest.tables.table import Table

T = TypeVar("T")
ENVIRONMENT, RUN_ID = "env.", "run.id"


class _Use(Enum):
    """What a variable becomes in a field."""

    TEXT = auto()
    VALUE = auto()
    CONDITIONS = auto()
    PATTERN = auto()
    """A literal part of a regular expression."""
    PATH = auto()
    """Percent-encoded, so that a value cannot lead to another path. A variable that stands alone is a link."""


NOT_FILLED: dict[type[Table], frozenset[str]] = {
    SmokeStep: frozenset(
        {"name", "service", "method", "cookies", "follow_redirects", "status", "json_schema", "until", "writes"}
        | {"proves_dry_run", "loopback_only", "silent_for_ms", "if_set", "if_unset", "timeout_s", "latency_limit_ms"}
        | {"optional", "send_hex"}
    ),
    Counter: frozenset({"service"}),
    Cleanup: frozenset({"method", "status"}),
    Untouched: frozenset(),
    Upload: frozenset(),
    Capture: frozenset(),
}
"""The fields of a step, and of the tables in it, that hold no variables; all others do."""

_Field = tuple[type[Table], str]
_USES: dict[_Field, _Use] = {
    **dict.fromkeys(((kind, "path") for kind in (SmokeStep, Counter, Cleanup, Untouched)), _Use.PATH),
    **dict.fromkeys(((SmokeStep, "body"), (Counter, "rises_by")), _Use.VALUE),
    **dict.fromkeys(((SmokeStep, "text"), (SmokeStep, "expect"), (Capture, "text")), _Use.PATTERN),
    **dict.fromkeys(((SmokeStep, "json"), (SmokeStep, "metrics"), (Untouched, "json")), _Use.CONDITIONS),
    **dict.fromkeys(((SmokeStep, "response_headers"), (SmokeStep, "response_cookies")), _Use.CONDITIONS),
}
_COMPARED: frozenset[_Field] = frozenset(
    {(SmokeStep, name) for name in ("json", "metrics", "response_headers", "response_cookies", "text", "expect")}
    | {(SmokeStep, "capture"), (Untouched, "json"), (Counter, "json"), (Counter, "metric"), (Counter, "rises_by")}
)
"""The fields with variables that are not sent anywhere."""


class MissingVariableError(Exception):
    """A step needs a value that no earlier step has captured."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def used_by(step: SmokeStep) -> tuple[str, ...]:
    """Return the names that a step uses, each once, in order of appearance."""
    return tuple(_names(step))


def used_before(step: SmokeStep) -> tuple[str, ...]:
    """Return the names that must be known before the step is sent: all but those of the cleanup's own request."""
    return tuple(dict.fromkeys((*_names(_without(step, "cleanup")), *used_at_start(step))))


def used_at_start(step: SmokeStep) -> tuple[str, ...]:
    """Return the names in the condition that allows the step's cleanup."""
    return tuple(_names(step.cleanup and step.cleanup.if_at_start))


def is_fixed(name: str) -> bool:
    """Report whether a variable has its value before the first step."""
    return name == RUN_ID or name.startswith(ENVIRONMENT)


def sent_by(step: SmokeStep) -> dict[str, tuple[str, ...]]:
    """Return the names of the environment's variables that a step sends, by the service that they are sent to."""
    sent: dict[str, tuple[str, ...]] = {step.service: tuple(_names(_without(step, "counters"), _COMPARED))}
    for counter in step.counters:
        sent[counter.service] = (*sent.get(counter.service, ()), *_names(counter, _COMPARED))
    return {
        service: tuple(dict.fromkeys(n.removeprefix(ENVIRONMENT) for n in names if n.startswith(ENVIRONMENT)))
        for service, names in sent.items()
    }


def fill(value: T, values: Mapping[str, Any]) -> T:
    """Return a step, or a part of one, with its variables replaced, except a link that is a whole path.

    An environment variable that is not set becomes "". Raises MissingVariableError for any other missing value, and
    ValueError if a value does not fit where it stands.
    """

    def put(text: str, use: _Use) -> Any:
        whole = VARIABLE.fullmatch(text)
        if whole and use is _Use.PATH:
            return text
        if whole and use is _Use.VALUE:
            return _value(whole[1], values)
        return VARIABLE.sub(lambda match: _ENCODED[use](as_text(_value(match[1], values))), text)

    return _changed(value, _Use.TEXT, put)  # type: ignore[no-any-return]  # the structure is kept, which types cannot say


def fill_step(step: SmokeStep, values: Mapping[str, Any]) -> SmokeStep:
    """Return the step filled as by `fill`, except its cleanup, which may use what the step captures itself."""
    filled = fill(_without(step, "cleanup"), values)
    return msgspec.structs.replace(filled, cleanup=step.cleanup)


def value_of(text: str, values: Mapping[str, Any]) -> tuple[str, Any] | None:
    """Return the name and the value of the variable that a text consists of; None for any other text."""
    whole = VARIABLE.fullmatch(text)
    return (whole[1], _value(whole[1], values)) if whole else None


def credentials(steps: Iterable[SmokeStep], service: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of a service's steps that consist of one variable which is set: its keys, not their values."""
    return {
        name: value
        for step in steps
        if step.service == service
        for name, value in step.headers.items()
        if (match := VARIABLE.fullmatch(value))
        and match[1].startswith(ENVIRONMENT)
        and environment.get(match[1].removeprefix(ENVIRONMENT))
    }


def _plain(text: str) -> str:
    return text


def _percent(text: str) -> str:
    return quote(text, safe="")


_ENCODED: dict[_Use, Callable[[str], str]] = {
    **dict.fromkeys((_Use.TEXT, _Use.VALUE), _plain),
    _Use.PATTERN: re.escape,
    _Use.PATH: _percent,
}


def _names(value: Any, left_out: frozenset[_Field] = frozenset()) -> Iterator[str]:
    found: dict[str, None] = {}

    def note(text: str, use: _Use) -> str:
        found.update(dict.fromkeys(VARIABLE.findall(text)))
        return text

    _changed(value, _Use.TEXT, note, left_out)
    return iter(found)


def _without(step: SmokeStep, field: str) -> SmokeStep:
    empty = next(f.default for f in msgspec.structs.fields(SmokeStep) if f.name == field)
    return msgspec.structs.replace(step, **{field: empty})


def _changed(
    value: Any,
    use: _Use,
    change: Callable[[str, _Use], Any],
    left_out: frozenset[_Field] = frozenset(),
) -> Any:
    """Return the value with every text in it changed. It is the only walk through the fields of a step."""
    if isinstance(value, str):
        return change(value, use)
    if isinstance(value, Table):
        kind = type(value)
        fields = {
            name: _changed(getattr(value, name), _USES.get((kind, name), _Use.TEXT), change, left_out)
            for name in kind.__struct_fields__
            if name not in NOT_FILLED[kind] and (kind, name) not in left_out
        }
        return msgspec.structs.replace(value, **fields)
    if isinstance(value, Mapping):
        if use is _Use.CONDITIONS:
            return {change(key, _Use.TEXT): _demand(item, change) for key, item in value.items()}
        return {change(key, _Use.TEXT): _changed(item, use, change, left_out) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_changed(item, use, change, left_out) for item in value)
    return value


def _demand(demand: Any, change: Callable[[str, _Use], Any]) -> Any:
    """Return the condition with every text in it changed; that of `matches` is a regular expression."""
    if not isinstance(demand, Mapping):
        value = _changed(demand, _Use.VALUE, change)
        return {"equals": value} if isinstance(value, Mapping) else value
    return {
        name: _changed(operand, _Use.PATTERN if name == "matches" else _Use.VALUE, change)
        for name, operand in demand.items()
    }


def _value(name: str, values: Mapping[str, Any]) -> Any:
    if name in values:
        return values[name]
    if name.startswith(ENVIRONMENT):
        return ""
    raise MissingVariableError(name)
