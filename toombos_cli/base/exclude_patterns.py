"""The `exclude` patterns of the `[backup]` table: those of a `.gitignore` in the project's directory.

pathspec is imported only for a project that has patterns: it takes 40 ms.
"""

import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

_MOST_LOOKED_AT = 100_000


class ExcludePatterns:
    """Decides which names are excluded, and remembers which patterns have matched."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._patterns = tuple(patterns)
        self._spec = _parsed(self._patterns) if self._patterns else None
        self._waiting: dict[str, tuple[Any, ...]] = {text: tuple(_parsed((text,)).patterns) for text in self._patterns}

    def matches(self, name: str, *, is_directory: bool) -> bool:
        """Report whether a name relative to the project is excluded; what is in an excluded directory is too."""
        if self._spec is None:
            return False
        path = f"{name}/" if is_directory else name
        for text, patterns in tuple(self._waiting.items()):
            if any(pattern.match_file(path) for pattern in patterns):
                del self._waiting[text]
        return self._spec.match_file(path)

    @property
    def unmatched(self) -> tuple[str, ...]:
        """The patterns that have matched nothing so far, also those that cannot be read as patterns."""
        return tuple(self._waiting)


def unmatched_patterns(project: Path, patterns: Iterable[str], roots: Iterable[str]) -> tuple[str, ...]:
    """Return the patterns that match nothing in the roots; () if the roots have too many files to look at."""
    excluded = ExcludePatterns(patterns)
    for number, _ in enumerate(_walk(project, tuple(roots), excluded)):
        if number > _MOST_LOOKED_AT or not excluded.unmatched:
            return ()
    return excluded.unmatched


def _walk(project: Path, roots: tuple[str, ...], excluded: ExcludePatterns) -> Iterator[str]:
    """Yield each name in the roots, without what is in excluded directories."""
    ahead = list(roots)
    while ahead:
        name = ahead.pop()
        path = project / name
        try:
            is_directory = stat.S_ISDIR((path.stat() if name in roots else path.lstat()).st_mode)
            excludes = excluded.matches(name, is_directory=is_directory)
            if is_directory and not excludes:
                ahead += (f"{name}/{child.name}" for child in path.iterdir())
        except OSError:
            continue
        yield name


def _parsed(patterns: Iterable[str]) -> "GitIgnoreSpec":
    """Return the patterns as git reads them; those that it cannot read match nothing."""
    from pathspec import GitIgnoreSpec

    lines = []
    for pattern in patterns:
        try:
            GitIgnoreSpec.from_lines((pattern,), backend="simple")
        except ValueError:
            continue
        lines.append(pattern)
    return GitIgnoreSpec.from_lines(lines, backend="simple")
