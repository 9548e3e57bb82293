"""The command line of toombos itself, for what runs as a process of its own."""

import sys
from pathlib import Path


def own_argv(project: Path, *arguments: str) -> tuple[str, ...]:
    """The program and its arguments, absolute: it finds itself without PATH, from any directory."""
    return (sys.executable, "-P", "-m", "toombos_cli", "--project", str(project), *arguments)
