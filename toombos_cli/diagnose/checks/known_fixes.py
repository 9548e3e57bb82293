"""The cause of a known line and its fix, with the values of this line and this service filled in.

A value of a log line gets into a command only if it is harmless: a word, or a path of this service.
"""

import re
from pathlib import PurePath
from string import Formatter

from toombos_cli.base.fixes import Fix, advice, command, shell, toombos
from toombos_cli.base.redaction import is_secret_name
from toombos_cli.diagnose.checks.code_places import place_of
from toombos_cli.diagnose.checks.log_evidence import LoggedProblem
from toombos_cli.diagnose.checks.port_holders import port_holder
from toombos_cli.diagnose.facts.configuration import SETTINGS
from toombos_cli.diagnose.facts.interpreters import is_interpreter
from toombos_cli.diagnose.facts.source import Facts, FactUnavailableError
from toombos_cli.manifest.tables.known import LineKind
from toombos_cli.manifest.tables.service import Service
from toombos_cli.project.commands import logs
from toombos_cli.settings.values import Origin, effective_values

_QUOTED = re.compile(r"""'([^']+)'|"([^"]+)"|`([^`]+)`""")
_SHORTEST_VALUE = 3
_WORD = re.compile(r"[\w@%+=:,./][\w@%+=:,./-]*")


def cause_of(facts: Facts, one: LoggedProblem) -> str:
    """Return the cause as text."""
    if one.known is None:
        return "the service reported an error that toombos does not know"
    if one.kind is LineKind.PORT and (holder := port_holder(facts, one)):
        return holder.cause
    return _filled(one.known.cause, _values(facts, one))


def fix_of(facts: Facts, one: LoggedProblem, *, begin: Fix | None) -> Fix:
    """Return the fix; `begin` is the command that starts the service again afterwards, None for one that runs."""
    then = f"; then: {begin}" if begin else ""
    show = logs(facts.manifest, one.logged_by, "--errors")
    if one.known is None:
        place, names = place_of(facts, one), _variables_with_the_value(facts, one)
        if names:
            return advice(f"correct {names}, which has this value{then}")
        what = f"correct {place[0]}, as it says" if place else "mend what it says"
        return advice(f"{what} (all of it: {show}){then}") if begin else show
    if one.kind is LineKind.PORT and (holder := port_holder(facts, one)):
        return advice(f"{holder.advice_for(one.logged_by)}{then}")
    if names := _variables_with_the_value(facts, one):
        is_missing = one.kind is LineKind.MISSING_MODULE
        otherwise = "" if is_missing else f", or {_filled(one.known.advice, _values(facts, one))}"
        return advice(f"correct {names}, which has this value{otherwise}{then}")
    argv = _argv(facts, one)
    if argv:
        fix = toombos(facts.manifest.project, *argv[1:]) if argv[0] == "toombos" else command(*argv)
        return shell(f"{fix} && {begin}") if begin and argv[:2] != ("toombos", "restart") else fix
    text = _filled(one.known.advice, _values(facts, one))
    return advice(f"{text}{then}") if text else advice(f"look at it: {show}{then}")


def _argv(facts: Facts, one: LoggedProblem) -> tuple[str, ...]:
    """Return the command, () if there is none, or if a value in it is unknown or cannot be trusted."""
    template = one.known.fix if one.known else ()
    values, service = _values(facts, one), facts.manifest.services[one.service]
    for name in {name for word in template for _, name, _, _ in Formatter().parse(word) if name}:
        value = values.get(name, "")
        if not value or (name in dict(one.values) and not _is_harmless(value, service, facts.manifest.project)):
            return ()
    return tuple(_filled(word, values) for word in template)


def _is_harmless(value: str, service: Service, project: PurePath) -> bool:
    """Return whether a value of a log line can stand in a command: a word, or a path that is the service's own."""
    if not _WORD.fullmatch(value) or ".." in PurePath(value).parts:
        return False
    if "/" not in value:
        return True
    own = (project, service.cwd)
    return any(PurePath(value).is_relative_to(place) for place in own) or any(
        word == value or word.endswith(f"={value}") for word in service.command
    )


def _values(facts: Facts, one: LoggedProblem) -> dict[str, str]:
    service = facts.manifest.services[one.service]
    place = place_of(facts, one)
    return {
        "place": place[0] if place else "the line that the log names",
        "service": one.service,
        "python": _interpreter(service),
        "cwd": str(service.cwd),
        "host": service.host,
        "port": str(service.port or "PORT"),
        "project": str(facts.manifest.project),
        "culprit": one.culprit,
        **{name: _absolute(name, value, service) for name, value in one.values},
    }


def _absolute(name: str, value: str, service: Service) -> str:
    """Return a path of a log line as it is for a shell anywhere: the service names it from its directory."""
    return str(PurePath(service.cwd, value)) if name == "path" and value[:1] not in ("", "-") else value


def _variables_with_the_value(facts: Facts, one: LoggedProblem) -> str:
    """Return the variables of the service, not secret, whose value the line quotes, joined by "or"; "" for none."""
    try:
        settings = facts.get(SETTINGS)
    except FactUnavailableError:
        return ""
    quoted = {text for found in _QUOTED.findall(one.entry.text) for text in found if len(text) >= _SHORTEST_VALUE}
    service = facts.manifest.services[one.logged_by]
    values = effective_values(facts.manifest, service, settings.env_files, mode=settings.mode, environ=settings.environ)
    documented = facts.manifest.environment
    own = (Origin.SERVICE, Origin.MANIFEST, Origin.ENV_FILE)
    return " or ".join(
        name
        for name, value in values.items()
        if value.origin in own
        and value.value in quoted
        and not is_secret_name(name)
        and not (name in documented and documented[name].secret)
    )


def _interpreter(service: Service) -> str:
    """Return the Python interpreter of a service, or the one beside the script that it runs; "" if it has no path."""
    if is_interpreter(service.command):
        return service.command[0]
    program = PurePath(service.command[0]) if service.command else PurePath()
    return str(program.with_name("python3")) if len(program.parts) > 1 else ""


def _filled(text: str, values: dict[str, str]) -> str:
    return text.format_map(values)
