"""Finds what a health response says about a service: in JSON at the usual places, in its components, and in text.

Free text is never searched for words: only a value that is a word or phrase as a whole counts, or one that begins with
it, as in `unavailable: no route to the database`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from toombos_cli.manifest.tables.health_words import normalized


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_WORD_KEYS = _names(
    """
    status state health healthstatus healthstate overall overallstatus aggregatedstatus systemstatus servicestatus
    appstatus applicationstatus condition
    """
)
_BOOLEAN_KEYS = _names(
    """
    ok healthy success successful ready alive live up reachable operational serving connected working
    """
)
_CODE_KEYS = frozenset({"statuscode", "code", "httpstatus"})
_LEVEL_KEYS = frozenset({"level", "indicator", "value", ""})
"""Keys that count within the value of a word key, as in Kibana's `status.overall.level`."""
_CONTAINERS = _names(
    """
    components checks services dependencies subsystems probes healthchecks entries results indicators modules
    """
)
"""Keys whose members are named components, so that a plain word or boolean in them counts."""
_NOT_REQUIRED = _names("required critical fatal essential mandatory")
_OPTIONAL = _names("optional noncritical informational ignored")
_PAST = re.compile(r"(last|previous|prior|recent|history|past)")
_ASIDE = _names(
    """
    events jobs tasks build config configuration settings metadata meta env environment
    """
)
"""Members that describe something else than the present health of the service, like the ones named as past."""
_NO_WORDS = re.compile(r"(log|mode|severity|level|type|env|version|name)")
_NOTHING = _names("none no null nil false")
_MOST_LEVELS, _MOST_PARTS = 40, 5000
_MOST_TEXT, _MOST_PHRASE = 4096, 200
_LINE = re.compile(r"\s*([A-Za-z][\w .-]{0,40}?)\s*[:=]\s*(\S.*?)\s*", re.ASCII)
_PREFIX = re.compile(r"(.{1,40}?)(?::\s+| - )(\D.*)", re.S)
_RANK = {"well": 0, "degraded": 1, "starting": 2, "down": 3}


class State(msgspec.Struct, frozen=True):
    """What was found: the state, the words for it, and the first word that is not known."""

    state: str = "well"
    where: str = ""
    unknown: str = ""
    weighed: bool = False
    """Whether the object itself says that it is restricted or starting: it has weighed its parts."""


_WELL = State()


def judge_document(document: Any, words: Mapping[str, str]) -> State:
    """Return what a decoded document says; bounded in depth and number."""
    return _Judge(words).any(document, "", 0, names_count=False)


def judge_text(text: str, words: Mapping[str, str]) -> State:
    """Return what a plain text says: as a whole, or in lines such as `status: down`."""
    if len(text) > _MOST_TEXT:
        return _WELL
    stripped = text.strip()
    if not stripped:
        return _WELL
    known = _word(stripped, words)
    if known is not None:
        return State(known, f"{stripped!r}")
    found = [_LINE.fullmatch(line) for line in stripped.splitlines()]
    members = {match[1]: match[2] for match in found if match}
    usual = {key: value for key, value in members.items() if _key(key) in _WORD_KEYS | _BOOLEAN_KEYS}
    if usual:
        return _Judge(words).any(usual, "", 0, names_count=False)
    return State(unknown=stripped if len(stripped) <= _MOST_PHRASE else "")


class _Judge:
    """One document's judgement; `parts` counts what was looked at."""

    def __init__(self, words: Mapping[str, str]) -> None:
        self._words = words
        self._parts = 0

    def any(self, value: Any, path: str, depth: int, *, names_count: bool) -> State:
        """Return what a value says; `names_count`: a plain word or boolean is one component's."""
        self._parts += 1
        if depth > _MOST_LEVELS or self._parts > _MOST_PARTS:
            return _WELL
        if isinstance(value, dict):
            return self._object(value, path, depth, is_verdict=False, names_count=names_count)
        if isinstance(value, list):
            items = (self.any(v, f"{path}[{i}]", depth + 1, names_count=True) for i, v in enumerate(value))
            return _worst(items)
        if depth == 0 or names_count:
            return self._leaf(value, path)
        return _WELL

    def _object(self, value: dict[Any, Any], path: str, depth: int, *, is_verdict: bool, names_count: bool) -> State:
        members = {str(key): item for key, item in value.items()}
        if depth and is_not_required(members):
            return _WELL
        own = _worst(self._own(members, path, depth, is_verdict=is_verdict))
        if own.state == "down" or own.weighed:
            return own if depth else self._with_its_part(own, members)
        if own.state == "degraded" and depth and not is_verdict:
            own = _WELL  # a component that does not know says nothing against the whole
        return _worst((own, *self._members(members, path, depth, is_verdict=is_verdict, names_count=names_count)))

    def _with_its_part(self, own: State, members: Mapping[str, Any]) -> State:
        """Return the state of the whole document with the words of the worst part, which names what is wrong."""
        part = _worst(self._members(members, "", 0, is_verdict=False, names_count=False))
        return replace(own, where=f"{own.where}, {part.where}") if part.where else own

    def _members(
        self, members: Mapping[str, Any], path: str, depth: int, *, is_verdict: bool, names_count: bool
    ) -> Iterator[State]:
        """Yield what the members of one object say that are not about the object itself."""
        has_own = any(self._is_own(key, is_verdict=is_verdict) for key in members)
        by_name = names_count or (is_verdict and not has_own) or (not has_own and self._is_map_of_words(members))
        for key, item in members.items():
            name = _key(key)
            if self._is_own(key, is_verdict=is_verdict) or _PAST.match(name) or name in _ASIDE:
                continue
            at = f"{path}.{key}" if path else key
            counts = name in _CONTAINERS or (by_name and not _NO_WORDS.match(name) and not _denies(name, self._words))
            if is_verdict and isinstance(item, dict):
                yield self._object(item, at, depth + 1, is_verdict=True, names_count=False)
            elif isinstance(item, dict | list):
                yield self.any(item, at, depth + 1, names_count=name in _CONTAINERS)
            elif counts and not (not names_count and not is_verdict and isinstance(item, bool)):
                yield _as_part(self._leaf(item, at))

    def _own(self, members: Mapping[str, Any], path: str, depth: int, *, is_verdict: bool) -> Iterator[State]:
        """Yield what the usual keys of one object say; a word of beginning outweighs `ready: false` beside it."""
        said: list[State] = []
        for key, item in members.items():
            name, at = _key(key), f"{path}.{key}" if path else key
            if name in _WORD_KEYS or (is_verdict and name in _LEVEL_KEYS):
                said.append(self._verdict(item, at, depth))
        starting = [state for state in said if state.state == "starting"]
        yield from said
        if starting:
            return
        for key, item in members.items():
            name, at = _key(key), f"{path}.{key}" if path else key
            if (name in _BOOLEAN_KEYS and _is_denied(item, name, self._words)) or (
                name in _CODE_KEYS and _is_error_code(item)
            ):
                yield State("down", f"{at} {_said(item)}")

    def _verdict(self, value: Any, path: str, depth: int) -> State:
        """Return what the value of a usual key says, which may be a word, a code, or an object of words."""
        self._parts += 1
        if self._parts > _MOST_PARTS or depth > _MOST_LEVELS:
            return _WELL
        if isinstance(value, dict):
            return self._object(value, path, depth + 1, is_verdict=True, names_count=False)
        if isinstance(value, list):
            return _worst(self.any(item, path, depth + 1, names_count=True) for item in value)
        if _is_error_code(value):
            return State("down", f"{path} {_said(value)}")
        state = self._leaf(value, path)
        known = normalized(value) if isinstance(value, str) else ""
        return State(
            state.state,
            state.where,
            state.unknown,
            weighed=state.state in ("degraded", "starting") and "unknown" not in known,
        )

    def _leaf(self, value: Any, path: str) -> State:
        if isinstance(value, bool):
            return _WELL if value else State("down", f"{path} false".strip())
        if not isinstance(value, str) or not value.strip():
            return _WELL
        state = _word(value, self._words)
        if state is None:
            return State(unknown=value)
        shown = value.lower() if normalized(value) in self._words else value
        return State(state, f"{path} {shown!r}".strip()) if state != "well" else _WELL

    def _is_own(self, key: str, *, is_verdict: bool) -> bool:
        name = _key(key)
        return name in _WORD_KEYS or name in _BOOLEAN_KEYS or (is_verdict and name in _LEVEL_KEYS)

    def _is_map_of_words(self, members: Mapping[str, Any]) -> bool:
        """Report whether an object maps names to words of health, as `{"db": "ok", "redis": "down"}` does."""
        texts = [value for value in members.values() if isinstance(value, str)]
        return bool(texts) and all(_word(text, self._words) is not None for text in texts)


def _as_part(state: State) -> State:
    """Return what a plain word of one component says about the whole: one that is not known says nothing."""
    return State(state.state, state.where)


def _key(name: str) -> str:
    """Return a key without case and separators, and without `is` before an adjective: `isHealthy` is `healthy`."""
    plain = re.sub(r"[\s_-]", "", name).casefold()
    return plain.removeprefix("is") if plain.removeprefix("is") in _BOOLEAN_KEYS | _NOT_REQUIRED | _OPTIONAL else plain


def _word(text: str, words: Mapping[str, str]) -> str | None:
    """Return the class of a word or phrase, or of the one that a value begins with; None if it is not known."""
    if len(text) > _MOST_TEXT:
        return None
    whole = words.get(normalized(text))
    if whole is not None or "\n" in text.strip():
        return whole
    begins = _PREFIX.fullmatch(text.strip())
    if begins is None or normalized(begins[2]) in _NOTHING:
        return None
    return words.get(normalized(begins[1]))


def _worst(states: Iterable[State]) -> State:
    worst, unknown = _WELL, ""
    for state in states:
        unknown = unknown or state.unknown
        if _RANK[state.state] > _RANK[worst.state]:
            worst = state
    return State(worst.state, worst.where, unknown, worst.weighed)


def _is_denied(value: Any, name: str, words: Mapping[str, str]) -> bool:
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return _denies(value, words)
    return name == "ok" and isinstance(value, int | float) and value == 0


def _denies(text: str, words: Mapping[str, str]) -> bool:
    return _word(text, words) == "down"


def _is_error_code(value: Any) -> bool:
    """Report whether a value is an HTTP status of failure, as a number or as text."""
    if isinstance(value, str):
        return re.fullmatch(r"[45]\d\d( .*)?", value.strip()) is not None
    return isinstance(value, int) and not isinstance(value, bool) and 400 <= value <= 599


def is_not_required(members: Mapping[str, Any]) -> bool:
    """Report whether an object marks itself as a part that the whole can do without."""
    marks = {_key(key): value for key, value in members.items() if not isinstance(value, dict | list)}
    values = {key: str(value).casefold() for key, value in marks.items()}
    return any(values.get(key) == "false" for key in _NOT_REQUIRED) or any(
        values.get(key) == "true" for key in _OPTIONAL
    )


def _said(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)
