"""The secrets that a project is known to have: in env files, environment, manifest, and files that they name."""

import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from toombos_cli.base.redaction import Redactor, is_secret_name, secrets_inside
from toombos_cli.base.spelling import nearest
from toombos_cli.manifest.model import Manifest
from toombos_cli.manifest.tables.environment import Variable
from toombos_cli.manifest.tables.service import QUESTIONS, Service
from toombos_cli.settings.display import shown_name
from toombos_cli.settings.encryption import is_encrypted
from toombos_cli.settings.env_file import Binding
from toombos_cli.settings.env_files import EnvFiles
from toombos_cli.settings.strength import is_placeholder, looks_random
from toombos_cli.settings.values import clear_values

_LONGEST_WORD = 12
_SHORTEST_LINE = 8
_LARGEST_KEY_FILE_BYTES = 65_536
_NAMES_A_THING = r"(?i)[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{40}|[a-z0-9-]+(\.[a-z0-9-]+)*\.[a-z]{2,}"
"""A UUID, a commit, a host."""
_PLACE = re.compile(r"(\w[\w+.-]*)://(?:([^:@/?#]*)(?::.*)?@)?([^:@/?#]*)(?::\d*)?(?:/([^/?#]*))?(?:\?.*)?")
"""A URL with its scheme, user, host and database."""
_FILE_SUFFIX = re.compile(r"(?i)[_-](?:file|path)$")
Pair = tuple[str, str]


def project_redactor(
    manifest: Manifest, env_files: EnvFiles, *, mode: str | None, environ: Mapping[str, str]
) -> Redactor:
    """Return the redactor for all output about a project."""
    known = known_secrets(manifest, env_files, mode=mode, environ=environ)
    return Redactor((shown_name(name, manifest.environment), value) for name, value in known)


def known_secrets(
    manifest: Manifest, env_files: EnvFiles, *, mode: str | None, environ: Mapping[str, str]
) -> Iterator[Pair]:
    """Yield name and plain value of every secret in the configuration, including those on dropped lines.

    A value that is also the name of a service, database, user or host is left out: it would hide these everywhere.
    """
    found = dict.fromkeys(_settings(manifest, env_files, mode, environ))
    ours = {name for name, _ in found} | set(manifest.environment)
    found |= dict.fromkeys(environ.items())
    public = _public_words(manifest, found)
    for name, value in found:
        if value in public:
            continue
        content = _key_file(name, value, manifest.project)
        if content is not None:
            yield from _parts(name, content)
        elif is_secret_name(name) or (name in ours and _is_secret(manifest.environment, name, value)):
            if len(value) > _LONGEST_WORD or not is_placeholder(value):
                yield from _parts(name, value)
        else:
            yield from ((name, part) for part in secrets_inside(value) if part not in public)
    yield from (pair for pair in _in_manifest(manifest) if pair[1] not in public)


def _settings(manifest: Manifest, env_files: EnvFiles, mode: str | None, environ: Mapping[str, str]) -> Iterator[Pair]:
    """Yield every variable that a service may get, as written and in plain text."""
    for file in env_files:
        yield from ((b.name, b.value) for b in file.bindings if b.name and b.value)
        yield from file.values.items()
    services: tuple[Service | None, ...] = (None, *manifest.services.values())
    for service in services:
        if service is not None:
            yield from (*service.env.items(), *service.default_env.items())
        clear = clear_values(manifest, service, env_files, mode=mode, environ=environ).values
        yield from ((name, clear[name]) for name in manifest.environment if name in clear)
        written = {name: value for file in env_files.of(service) for name, value in file.values.items()}
        yield from ((name, value) for name, value in clear.items() if is_encrypted(written.get(name, "")))
    yield from (pair for file in env_files for binding in file.unparsed for pair in _dropped_values(binding))


def _in_manifest(manifest: Manifest) -> Iterator[Pair]:
    """Yield the secrets in command lines, URLs and headers of the manifest."""
    finder = Redactor()
    for service in manifest.services.values():
        finder.argv(service.command)
        asked = [service.expectation(question) for question in QUESTIONS]
        finder.value((*(expectation.path for expectation in asked), service.metrics or ""))
        for expectation in asked:
            finder.argv(expectation.command)
            finder.value(expectation.headers)
    for headers in (*({k: v} for k, v in manifest.load.header_pairs()), *(step.headers for step in manifest.smoke)):
        finder.value(headers)
    finder.value((manifest.load.path, *(step.path for step in manifest.smoke)))
    finder.value(tuple(channel.url for channel in manifest.alerts.channels.values()))
    yield from (("toombos.toml", value) for value in finder.found if "${" not in value)


def _parts(name: str, value: str) -> Iterator[Pair]:
    """Yield a secret, each of its lines, and the secrets that it contains: the password in a URL, a field of JSON."""
    yield name, value
    yield from ((name, line.strip()) for line in value.splitlines() if len(line.strip()) >= _SHORTEST_LINE)
    yield from ((name, part) for part in secrets_inside(value))


def _key_file(name: str, value: str, directory: Path) -> str | None:
    """Return the content of the file that a setting such as `DB_PASSWORD_FILE` names, or None if it names none."""
    names_a_file = is_secret_name(_FILE_SUFFIX.sub("", name)) and _FILE_SUFFIX.search(name)
    if "\n" in value or not (names_a_file or (is_secret_name(name) and "/" in value)):
        return None
    try:
        fd = os.open(directory / value, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return None
    with os.fdopen(fd, "rb") as file:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_size > _LARGEST_KEY_FILE_BYTES:
            return None
        return file.read(_LARGEST_KEY_FILE_BYTES).decode("utf-8", "replace").strip()


def _is_secret(variables: Mapping[str, Variable], name: str, value: str) -> bool:
    variable = variables.get(name) or variables.get(nearest(name, variables) or "")
    return (variable is not None and variable.secret) or (
        looks_random(value) and not re.fullmatch(_NAMES_A_THING, value)
    )


def _public_words(manifest: Manifest, found: Iterable[Pair]) -> frozenset[str]:
    """Return the words that name parts of the system, which no reader could do without."""
    words = {manifest.name, *manifest.services, *manifest.modes, *manifest.environment}
    words |= {service.host for service in manifest.services.values()}
    for _, value in found:
        if place := _PLACE.fullmatch(value):
            words.update(filter(None, place.groups()))
    return frozenset(words)


def _dropped_values(binding: Binding) -> Iterator[Pair]:
    """Yield what each dropped line might have set; a line that is not an assignment may itself be a secret."""
    for line in binding.text.splitlines():
        match = re.match(r"(?:export\s+)?([^\s:=]*)[\s:=\"']*(.*?)[\s\"']*$", line)
        if match:
            yield match[1], match[2]
            yield "dropped", match[1]
