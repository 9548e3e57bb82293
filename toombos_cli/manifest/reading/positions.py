"""The line numbers of TOML keys, which the standard parser does not report."""

import re

Path = tuple[str | int, ...]

_KEY_PART = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*')"""
_KEY = re.compile(rf"\s*({_KEY_PART}(?:\s*\.\s*{_KEY_PART})*)\s*=")
_HEADER = re.compile(rf"\s*(\[\[?)\s*({_KEY_PART}(?:\s*\.\s*{_KEY_PART})*)\s*\]\]?")
_OPENERS = re.compile(r"\"\"\"|'''|\"(?:[^\"\\]|\\.)*\"|'[^']*'|#.*|[\[\]{}]")


def key_lines(text: str) -> dict[Path, int]:
    """Return the 1-based line of every table and key of a valid TOML text, by path; array tables are indexed.

    Keys inside inline tables share the line of the key that holds the table, so they are not listed.
    """
    lines: dict[Path, int] = {}
    array_lengths: dict[Path, int] = {}
    table: Path = ()
    closer: str | None = None
    depth = 0
    for number, line in enumerate(text.splitlines(), start=1):
        rest = line
        if closer is None and depth == 0:
            if header := _HEADER.match(line):
                table = _resolve(_split(header[2]), array_lengths, appends=header[1] == "[[")
                lines.setdefault(table, number)
                continue
            if key := _KEY.match(line):
                lines.setdefault(table + _split(key[1]), number)
                rest = line[key.end() :]
        closer, depth = _after(rest, closer, depth)
    return lines


def nearest_line(lines: dict[Path, int], path: Path) -> int | None:
    """Return the line of `path`, else of the closest table above it in this text, else of the first key below it."""
    for length in range(len(path), 0, -1):
        if path[:length] in lines:
            return lines[path[:length]]
    return min((line for key, line in lines.items() if path and key[: len(path)] == path), default=None)


def _split(dotted: str) -> Path:
    return tuple(part.strip().strip("\"'") for part in re.findall(_KEY_PART, dotted))


def _resolve(names: Path, array_lengths: dict[Path, int], *, appends: bool) -> Path:
    """Return the path of a table header, with the index of the newest element after the name of each array table."""
    path: Path = ()
    for position, name in enumerate(names):
        path += (name,)
        if appends and position == len(names) - 1:
            array_lengths[path] = array_lengths.get(path, 0) + 1
        if path in array_lengths:
            path += (array_lengths[path] - 1,)
    return path


def _after(text: str, closer: str | None, depth: int) -> tuple[str | None, int]:
    """Return (closing quotes of an open multi-line string or None, depth of open brackets) at the end of this line."""
    position = 0
    while position < len(text):
        if closer is not None:
            end = text.find(closer, position)
            if end < 0:
                return closer, depth
            position, closer = end + 3, None
            continue
        token = _OPENERS.search(text, position)
        if token is None:
            break
        position = token.end()
        if token[0] in ('"""', "'''"):
            closer = token[0]
        elif token[0] in "[{":
            depth += 1
        elif token[0] in "]}":
            depth -= 1
    return closer, depth
