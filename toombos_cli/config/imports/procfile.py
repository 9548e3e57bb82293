"""Procfiles, as foreman, honcho and Heroku read them: one line a process, `name: command`."""

import posixpath
import re

from toombos_cli.config.imports.commands import run_by_shell
from toombos_cli.config.imports.draft import ServiceDraft, SystemDraft
from toombos_cli.config.imports.node import Foreign
from toombos_cli.config.imports.ports import is_port, named_port
from toombos_cli.settings.env_file import EnvFile

_LINE = re.compile(r"(?P<name>[A-Za-z0-9_-]+):\s*(?P<command>\S.*?)\s*")
_IN_USE = re.compile(r"\$(?:PORT\b|\{PORT\b)")
_FIRST_PORT, _LAST_FIRST, _STEP = 5000, 60_000, 100
_BEFORE_ALL = "release"
"""Heroku runs the process of this name to its end before it starts the others."""
_LISTENS = "web"
"""The process that has to listen on $PORT."""


def is_procfile(text: str) -> bool:
    """Report whether every line of a text is one of a Procfile."""
    lines = _lines(text)
    return bool(lines) and all(_LINE.fullmatch(line) for _, line in lines)


def read_procfile(foreign: Foreign, env_file: EnvFile, base: str) -> SystemDraft:
    """Return the processes of a Procfile; `base` is its directory as seen from the project.

    Raise ConfigurationError for a line that is none.
    """
    system = SystemDraft()
    given = env_file.values.get("PORT", "")
    first = int(given) if is_port(given) and int(given) <= _LAST_FIRST else _FIRST_PORT
    for index, (number, line) in enumerate(_lines(foreign.text)):
        found = _LINE.fullmatch(line)
        if found is None:
            raise foreign.problem("is not `name: command`", line=number, hint="web: gunicorn app:app --bind :$PORT")
        if found["name"] in system.services:
            raise foreign.problem(f"the process {found['name']} is there twice", line=number)
        _process(system, foreign, number, found["name"], found["command"], first + index * _STEP)
        _below(system.services[found["name"]], base)
    for draft in system.services.values():
        if draft.name != _BEFORE_ALL and _BEFORE_ALL in system.services:
            draft.depends_on[_BEFORE_ALL] = "completed"
    return system


def _process(system: SystemDraft, foreign: Foreign, number: int, name: str, command: str, port: int) -> None:
    draft = system.add(name)
    run_by_shell(draft, foreign, command, line=number, placeholders={"PORT": "{port}"})
    if name == _BEFORE_ALL:
        draft.set("scheme", "none")
        system.make_task(draft)
        return
    fixed = named_port(draft)
    if _IN_USE.search(command) or (name == _LISTENS and fixed is None):
        draft.listen(port, beside="as foreman counts: 5000, 5100, ...")
        draft.env["PORT"], draft.placeholders["PORT"] = str(port), "{port}"
        return
    draft.reach_unknown(fixed)


def _below(draft: ServiceDraft, base: str) -> None:
    directory = posixpath.normpath(posixpath.join(base, str(draft.keys.get("cwd", "."))))
    if directory != ".":
        draft.set("cwd", directory)


def _lines(text: str) -> list[tuple[int, str]]:
    lines = enumerate(text.split("\n"), start=1)
    return [(number, line.strip()) for number, line in lines if line.strip() and not line.lstrip().startswith("#")]
