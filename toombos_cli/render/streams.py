"""The stream below a console or a document, without rich: a command that prints JSON does not wait for its import."""

import os
import re
from typing import IO, Any, cast

_STEP_COMMAND = re.compile(r"^([^\S\n]*):(?=:[A-Za-z][\w-]*.*::)|()#(?=#(?:vso)?\[)", re.MULTILINE)
"""What GitHub Actions takes for a command in the output of a step: `::error::text`, `##[error]text`."""


def output_stream(stream: IO[str]) -> IO[str]:
    """Return `stream` with encoding errors escaped, so that a name that the locale cannot show never ends a command.

    In a step of GitHub Actions, what is written to it does not become a command either.
    """
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="backslashreplace")
    return cast("IO[str]", Step(stream)) if os.environ.get("GITHUB_ACTIONS") else stream


class Step:
    """The output of a step of GitHub Actions: what others wrote does not become a command in it."""

    def __init__(self, stream: IO[str]) -> None:
        self.stream = stream
        self._at_line_start = True

    def write(self, text: str) -> int:
        """Write the text with an escape in place of the first character of each command."""
        begun = "" if self._at_line_start else "."
        changed = _STEP_COMMAND.sub(lambda found: f"{found[1] or ''}\\x{ord(found[0][-1]):02x}", begun + text)
        self.stream.write(changed.removeprefix(begun))
        self._at_line_start = text.endswith("\n") if text else self._at_line_start
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)
