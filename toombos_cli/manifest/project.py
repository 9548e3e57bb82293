"""Where the project is. Apart from the loader, so that a command can begin its work before the manifest is read."""

from pathlib import Path

FILE_NAME = "toombos.toml"
_MARKERS = (FILE_NAME, ".env", ".env.example", "run/state.json")


def find_project(start: Path) -> Path:
    """The nearest directory from `start` upward that holds a toombos project, else `start` itself; absolute."""
    start = start.resolve()
    for directory in (start, *start.parents):
        if any((directory / marker).is_file() for marker in _MARKERS):
            return directory
    return start
