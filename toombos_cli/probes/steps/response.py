"""What a response holds, as the conditions and captures of a step name it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import msgspec

from toombos_cli.base.text import one_line
from toombos_cli.base.untrusted import UntrustedError, decode_untrusted
from toombos_cli.manifest.tables.conditions import Matches, value_at
from toombos_cli.manifest.tables.smoke_parts import Capture
from toombos_cli.probes import ProbeResult

_SHOWN_CHARS = 300


@dataclass(frozen=True, kw_only=True)
class StepResponse:
    """A response, with the cookies that it and the redirects before it have set."""

    result: ProbeResult
    new_cookies: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def text(self) -> str:
        """The body as text."""
        return self.result.text

    @cached_property
    def _decoded(self) -> tuple[Any, str]:
        if self.result.truncated:
            return msgspec.UNSET, f"the body is longer than {len(self.result.body)} bytes"
        content = self.result.json_bytes
        if not content.strip():
            return msgspec.UNSET, "the body is empty"
        try:
            return decode_untrusted(content, most_bytes=len(content), exact=True), ""
        except UntrustedError as error:
            return msgspec.UNSET, one_line(f"the body is not JSON: {error}")

    @property
    def json(self) -> Any:
        """The body as JSON with exact numbers, or UNSET."""
        return self._decoded[0]

    @property
    def not_json(self) -> str:
        """Why the body is not JSON, or ""."""
        return self._decoded[1]

    @cached_property
    def cookies(self) -> Mapping[str, str]:
        """The cookies that were set, by name."""
        pairs = (value.partition(";")[0].partition("=") for name, value in self.result.headers if name == "set-cookie")
        return {**self.new_cookies, **{name.strip(): value.strip() for name, _, value in pairs}}

    def header(self, name: str) -> Any:
        """Return the header, its repetitions joined by commas, or UNSET."""
        found = [value for key, value in self.result.headers if key == name.lower()]
        return ", ".join(found) if found else msgspec.UNSET

    def cookie(self, name: str) -> Any:
        """Return the value of the cookie, or UNSET."""
        return self.cookies.get(name, msgspec.UNSET)

    def find(self, place: Capture) -> Any:
        """Return the value at the place of a capture, or UNSET."""
        if place.json is not None:
            found = value_at(self.json, place.json)
            return msgspec.UNSET if isinstance(found, Matches) and not found else found
        if place.header is not None:
            return self.header(place.header)
        if place.cookie is not None:
            return self.cookie(place.cookie)
        return found_in(self.text, place.text or "")

    @property
    def shown(self) -> str:
        """The beginning of the body, in one line."""
        return one_line(self.text[: 4 * _SHOWN_CHARS], limit=_SHOWN_CHARS)


def found_in(text: str, expression: str) -> Any:
    """Return what the group of a regular expression matches, or UNSET."""
    found = re.search(expression, text)
    return msgspec.UNSET if found is None or found[1] is None else found[1]
