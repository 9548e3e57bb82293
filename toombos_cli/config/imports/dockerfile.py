"""What a Dockerfile says of the command of its image: CMD, ENTRYPOINT, WORKDIR, EXPOSE, and what is copied where."""

import posixpath
import re
from dataclasses import dataclass, field
from pathlib import Path

from toombos_cli.base.plain_files import read_plain
from toombos_cli.base.untrusted import UntrustedError, decode_untrusted
from toombos_cli.config.imports.ports import is_port

_MOST_BYTES = 256 * 1024
_FROM = re.compile(r"(?:--\S+\s+)*(?P<image>\S+)(?:\s+as\s+(?P<name>\S+))?", re.IGNORECASE)


@dataclass(kw_only=True)
class Dockerfile:
    """The last stage of a Dockerfile, or the stage that was asked for."""

    entrypoint: list[str] | str | None = None
    """Words, or the line of a shell."""
    command: list[str] | str | None = None
    directory: str = "/"
    ports: list[int] = field(default_factory=list)
    variables: list[str] = field(default_factory=list)
    copied: list[tuple[str, str]] = field(default_factory=list)
    """Pairs of a path in the image and the path in the context that it is copied from."""


def read_dockerfile(path: Path, target: str = "") -> Dockerfile | None:
    """Return what the file says, or None if it cannot be read."""
    try:
        text = read_plain(path, _MOST_BYTES, follows_link=True).decode()
    except (OSError, UnicodeDecodeError):
        return None
    stages: dict[str, Dockerfile] = {}
    stage = Dockerfile()
    for word, rest in _instructions(text):
        if word == "FROM":
            found = _FROM.match(rest)
            if target and target in stages:
                break
            base = stages.get(found["image"] if found else "")
            stage = _copy(base) if base else Dockerfile()
            stages[found["name"] or str(len(stages)) if found else ""] = stage
        else:
            _take(stage, word, rest)
    return stages.get(target, stage)


def _copy(base: Dockerfile) -> Dockerfile:
    return Dockerfile(
        entrypoint=base.entrypoint,
        command=base.command,
        directory=base.directory,
        ports=list(base.ports),
        variables=list(base.variables),
        copied=list(base.copied),
    )


def _instructions(text: str) -> list[tuple[str, str]]:
    lines = [line for line in text.replace("\r\n", "\n").split("\n") if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\[ \t]*\n", " ", "\n".join(lines))
    pairs = (line.strip().partition(" ") for line in joined.split("\n") if line.strip())
    return [(word.upper(), rest.strip()) for word, _, rest in pairs]


def _take(stage: Dockerfile, word: str, rest: str) -> None:
    if word == "CMD":
        stage.command = _words_or_line(rest)
    elif word == "ENTRYPOINT":
        stage.entrypoint, stage.command = _words_or_line(rest), None
    elif word == "WORKDIR":
        stage.directory = posixpath.normpath(posixpath.join(stage.directory, rest.strip("\"'")))
    elif word == "EXPOSE":
        numbers = (part.partition("/")[0] for part in rest.split() if not part.endswith("/udp"))
        stage.ports += [int(number) for number in numbers if is_port(number)]
    elif word == "ENV":
        names = re.findall(r"([A-Za-z_]\w*)=", rest) or rest.split()[:1]
        stage.variables += names
    elif word in ("COPY", "ADD") and "--from=" not in rest and not rest.startswith("["):
        *sources, to = [part for part in rest.split() if not part.startswith("--")] or [""]
        for source in sources:
            inside = posixpath.normpath(posixpath.join(stage.directory, to))
            is_file = (to.endswith("/") or len(sources) > 1) and "." in posixpath.basename(source.rstrip("/"))[1:]
            inside = posixpath.join(inside, posixpath.basename(source)) if is_file else inside
            stage.copied.append((inside, posixpath.normpath(source.lstrip("/") or ".")))


def _words_or_line(rest: str) -> list[str] | str:
    if rest.startswith("["):
        try:
            return list(map(str, decode_untrusted(rest, list[str])))
        except UntrustedError:
            pass
    return rest
