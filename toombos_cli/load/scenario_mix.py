"""Turns the requests and users of a scenario into the endpoints of a plan, with scripts where they need them."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import msgspec

from toombos_cli.base.errors import ConfigurationError
from toombos_cli.base.spelling import did_you_mean
from toombos_cli.load.data import BUILT_IN, DataSource, read_data
from toombos_cli.load.engine.request_bytes import Headers, build_endpoint, layered, parse_headers
from toombos_cli.load.plan import LoadRequest, LoadTarget
from toombos_cli.load.scenario import Scenario, ScenarioRequest
from toombos_cli.load.script import BodyKind, Script, Users, UserScript, fixed, split_request
from toombos_cli.load.target_check import split_url
from toombos_cli.manifest.tables.conditions import read_condition
from toombos_cli.manifest.tables.expectations import Statuses
from toombos_cli.manifest.tables.load import header_pairs
from toombos_cli.manifest.tables.smoke import SmokeStep
from toombos_cli.manifest.tables.smoke_parts import VARIABLE
from toombos_cli.probes.steps.variables import ENVIRONMENT, used_by

_CONDITIONS = ("json", "response_headers", "response_cookies")
Mix = tuple[tuple[LoadRequest, ...], Users | None]


def scenario_mix(
    scenario: Scenario,
    file: Path,
    target: LoadTarget,
    headers: Headers,
    *,
    keepalive: bool,
    environment: Mapping[str, str],
) -> Mix:
    """Return the endpoints of a scenario, and its users if it needs any. Raise ConfigurationError and UsageError.

    `environment` has the variables that may be sent to the target, as `${env.NAME}`.
    """
    build = partial(_endpoint, target=target, headers=headers, directory=file.parent, keepalive=keepalive)
    plain = tuple(build(request, environment=environment) for request in scenario.all_requests())
    if scenario.is_plain and not any(VARIABLE.search(value) for _, value in headers):
        return plain, None
    endpoints = tuple(
        replace(endpoint, script=_script(request, endpoint))
        for request, endpoint in zip(scenario.all_requests(), plain, strict=True)
    )
    used = [_used(request, endpoint) for request, endpoint in zip(scenario.all_requests(), endpoints, strict=True)]
    kinds = _kinds(scenario, used)
    _check_names(scenario, kinds, used, file)
    names = frozenset(name for each in used for name in each)
    constants = {name: environment.get(name.removeprefix(ENVIRONMENT), "") for name in names if _is_env(name)}
    users = Users(kinds=kinds, sources=_sources(scenario, names, file), constants=constants)
    return endpoints, users


def scripted(endpoint: LoadRequest, *, status: Statuses | None, follow_redirects: bool, cookies: bool) -> Mix:
    """Return a request of the command line with a script, whose bytes are sent as they are."""
    script = Script(
        method=endpoint.method,
        head=fixed(endpoint.request),
        status=status,
        follow_redirects=follow_redirects,
        cookies=cookies,
    )
    only = UserScript(weight=1.0, steps=(0,), has_rounds=False)
    return (replace(endpoint, script=script),), Users(kinds=(only,))


def environment_of(scenario: Scenario) -> frozenset[str]:
    """Return the names of the environment's variables that the scenario uses."""
    found: set[str] = set()
    for request in scenario.all_requests():
        body = msgspec.json.encode((request.headers, request.json, request.form)).decode()
        found.update(VARIABLE.findall(" ".join((request.path, request.body or "", body))))
        found.update(used_by(request.step()))
    return frozenset(name.removeprefix(ENVIRONMENT) for name in found if _is_env(name))


def _endpoint(
    request: ScenarioRequest,
    *,
    target: LoadTarget,
    headers: Headers,
    directory: Path,
    keepalive: bool,
    environment: Mapping[str, str],
) -> LoadRequest:
    body, content_type = request.payload(directory)
    own = parse_headers(header_pairs(request.headers))
    return build_endpoint(
        target,
        name=request.name or request.path,
        method=request.verb,
        path=_path(target, request.path),
        headers=layered(headers, tuple(pair for pair in own if not _is_unset(pair[1], environment))),
        body=body,
        content_type=content_type,
        keepalive=keepalive,
        weight=request.weight,
    )


def _path(target: LoadTarget, path: str) -> str:
    """Return a path as it is sent, with its variables as they are written."""
    mark = "v"
    while mark in path:
        mark += "v"
    names = VARIABLE.findall(path)
    marked = VARIABLE.sub(mark + "x", path)
    _, _, _, quoted = split_url(f"{target.scheme}://localhost{marked}")
    found = iter(names)
    return re.sub(f"{mark}x", lambda _: f"${{{next(found)}}}", quoted)


def _is_unset(value: str, environment: Mapping[str, str]) -> bool:
    """Report whether a header uses a variable of the environment that is not set: it is not sent then."""
    return any(
        _is_env(name) and not environment.get(name.removeprefix(ENVIRONMENT)) for name in VARIABLE.findall(value)
    )


def _is_env(name: str) -> bool:
    return name.startswith(ENVIRONMENT)


def _script(request: ScenarioRequest, endpoint: LoadRequest) -> Script:
    kind: BodyKind = "json" if request.json is not None else "form" if request.form else "text"
    head, body = split_request(endpoint.request, kind)
    step = request.step()
    vary = bool(used_by(step))
    demands = any(getattr(step, name) for name in (*_CONDITIONS, "capture")) or step.text or step.latency_limit_ms
    return Script(
        method=endpoint.method,
        head=head,
        body=body,
        body_kind=kind,
        status=request.expect.status,
        step=(step if vary else _with_read_conditions(step)) if demands else None,
        conditions_vary=vary,
        follow_redirects=request.follow_redirects,
        cookies=request.cookies,
        pause=request.pause,
        events=request.events,
        listen_s=request.listen_s,
    )


def _with_read_conditions(step: SmokeStep) -> SmokeStep:
    """Return the step with conditions that need not be read again for each response."""
    read = {name: {k: read_condition(v) for k, v in getattr(step, name).items()} for name in _CONDITIONS}
    return msgspec.structs.replace(step, **read)


def _used(request: ScenarioRequest, endpoint: LoadRequest) -> tuple[str, ...]:
    script = endpoint.script
    assert script is not None  # noqa: S101  (the caller has just set it)
    body = script.body.names if script.body else ()
    return tuple(dict.fromkeys((*script.head.names, *body, *used_by(request.step()))))


def _kinds(scenario: Scenario, used: list[tuple[str, ...]]) -> tuple[UserScript, ...]:
    """Return the kinds of users; `used` has the variables of each request."""
    counts = [(request.weight, 1, False) for request in scenario.requests]
    counts += [(user.weight, len(user.step), True) for user in scenario.users]
    found = []
    first = 0
    for weight, count, has_rounds in counts:
        steps = tuple(range(first, first + count))
        names = frozenset(name for index in steps for name in used[index])
        found.append(UserScript(weight=weight, steps=steps, has_rounds=has_rounds, used=names))
        first += count
    return tuple(found)


def _check_names(scenario: Scenario, kinds: Iterable[UserScript], used: list[tuple[str, ...]], file: Path) -> None:
    """Raise ConfigurationError for a variable that has no value where it is used."""
    requests = tuple(scenario.all_requests())
    for kind in kinds:
        captured: set[str] = set()
        for index in kind.steps:
            for name in used[index]:
                if not (_is_env(name) or name in BUILT_IN or name in captured or _is_data(name, scenario)):
                    known = (*BUILT_IN, *sorted(captured), *(f"{table}.COLUMN" for table in scenario.data))
                    raise ConfigurationError(
                        f"{requests[index].name}: ${{{name}}} has no value here",
                        where=str(file),
                        hint=did_you_mean(name, known, f"known here: {', '.join(known)}, env.NAME"),
                    )
            captured.update(requests[index].capture)


def _is_data(name: str, scenario: Scenario) -> bool:
    table, dot, column = name.partition(".")
    known = scenario.data.get(table)
    return known is not None and (bool(dot and column) if known.between is None else not dot)


def _sources(scenario: Scenario, names: frozenset[str], file: Path) -> tuple[DataSource, ...]:
    found = []
    for name, table in scenario.data.items():
        used = tuple(sorted(one for one in names if one == name or one.startswith(f"{name}.")))
        if used:
            found.append(read_data(name, table, used, file.parent))
    return tuple(found)
