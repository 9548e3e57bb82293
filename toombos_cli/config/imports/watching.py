"""The files whose changes restarted a service, as another tool's file names them."""

import posixpath
from collections.abc import Iterable

from toombos_cli.config.imports.draft import ServiceDraft
from toombos_cli.config.imports.expressible import Ability


def watch(
    draft: ServiceDraft, paths: Iterable[str], ignored: Iterable[str], *, directory: str, debounce_s: float = 0.0
) -> None:
    """Set what is watched; the paths are seen from `directory`, itself seen from the project."""
    found = [posixpath.normpath(posixpath.join(directory, path)) for path in paths]
    if not found:
        return
    table = {"paths": found}
    more = {"ignore": [_pattern(path, directory) for path in ignored], "debounce_s": debounce_s}
    kept = {key: value for key, value in more.items() if value}
    draft.say(Ability.WATCH, "watch", table | kept if kept else found)


def _pattern(path: str, directory: str) -> str:
    """Return the pattern of an ignored path; a bare name matches in every directory."""
    plain = path.strip("/").removeprefix("./")
    return posixpath.normpath(posixpath.join(directory, plain)) if "/" in plain or path.startswith("./") else plain
