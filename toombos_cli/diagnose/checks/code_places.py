"""The line of a file of the project that an error names: in its message, or in the traceback or stack around it."""

import re
from pathlib import PurePath

from toombos_cli.diagnose.checks.log_evidence import DATED, LoggedProblem
from toombos_cli.diagnose.facts.logs import LOGS, LogEntry
from toombos_cli.diagnose.facts.source import Facts

_NEAR = 15
_PLACE = re.compile(
    r"""(?P<path>[\w./@+-]*/[\w.@+-]+):(?P<line>\d+)|(?P<named>[\w./@+-]+)["']?,? (?:on |at )?line (?P<at>\d+)"""
)
"""A line of a file, as compilers, parsers and tracebacks name it: `FILE:N`, `"FILE", line N`, `FILE on line N`."""
_FRAME = re.compile(r"""\s*(?:File "|at |-->|(?:file://)?/\S+:\d+)""")
"""A line that names a place in a traceback or stack, or the place above the source that Node quotes."""


def place_of(facts: Facts, one: LoggedProblem) -> tuple[str, LogEntry] | None:
    """Return `FILE line N` with the line of the log that names it, or None.

    The message itself comes first, then the frame before it (Python, syntax errors of Node), then those after it: the
    first of a stack, but the last of a traceback of Python, which ends with the innermost call.
    """
    entries = _around(facts, one)
    at = entries.index(one.entry)
    before = [entry for entry in entries[:at][::-1] if _FRAME.match(entry.text)]
    after = [entry for entry in entries[at + 1 :] if _FRAME.match(entry.text)]
    if after and 'File "' in after[0].text:
        after.reverse()
    named = ((_named(facts, one, entry.text), entry) for entry in (one.entry, *before, *after))
    return next(((place, entry) for place, entry in named if place), None)


def _around(facts: Facts, one: LoggedProblem) -> list[LogEntry]:
    """Return the line with those near it, as far as they are among the last ones and no dated line lies between."""
    last = facts.get(LOGS)[one.logged_by].last
    at = next((i for i, entry in enumerate(last) if entry.offset == one.entry.offset), None)
    if at is None:
        return [one.entry]
    near = range(max(0, at - _NEAR), min(len(last), at + _NEAR))
    begin = next((i + 1 for i in reversed(near) if i < at and DATED.match(last[i].text)), near.start)
    end = next((i for i in near if i > at and DATED.match(last[i].text)), near.stop)
    return [*last[begin:at], one.entry, *last[at + 1 : end]]


def _named(facts: Facts, one: LoggedProblem, text: str) -> str:
    service = facts.manifest.services[one.logged_by]
    for found in _PLACE.finditer(text):
        path = PurePath(service.cwd, found["path"] or found["named"])
        is_own = any(path.is_relative_to(place) for place in (facts.manifest.project, service.cwd))
        if is_own and path.suffix and not {"site-packages", "node_modules"} & set(path.parts):
            return f"{path} line {found['line'] or found['at']}"
    return ""
