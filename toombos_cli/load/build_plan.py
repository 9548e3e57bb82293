"""Build the plan of a load test from the options and the manifest's `[load]` table; send nothing."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

from toombos_cli.base.errors import ConfigurationError, RefusedError, UsageError
from toombos_cli.base.fixes import here
from toombos_cli.base.text import parse_duration
from toombos_cli.load.engine.pacer import RampStage
from toombos_cli.load.engine.request_bytes import Headers, build_endpoint, layered, parse_header
from toombos_cli.load.options import LoadOptions
from toombos_cli.load.plan import LoadPlan, LoadTarget
from toombos_cli.load.scenario import Scenario
from toombos_cli.load.scenario_mix import Mix, environment_of, scenario_mix, scripted
from toombos_cli.load.target_check import choose_target, connect_once, full_url, split_url
from toombos_cli.load.target_endpoint import UnixPlace, check_certificates, unix_place, unix_target, with_endpoint
from toombos_cli.manifest.model import Manifest
from toombos_cli.manifest.tables.expectations import Statuses, check_status, filled_headers
from toombos_cli.probes.endpoint import DIRECT, endpoint_of
from toombos_cli.project.commands import start_as_before
from toombos_cli.project.port_owner import refused_listeners

_MOST_RPS = 1_000_000  # more than a client can send; computing the schedule alone would take longer than the run
_DEFAULT_DURATION_S = 10.0
_DEFAULT_MAX_CONNECTIONS = 1000
_VARIABLE = re.compile(r"\$\{(\w+)\}")


def build_plan(
    options: LoadOptions, manifest: Manifest, variables: Mapping[str, str], scenario: Scenario | None
) -> LoadPlan:
    """Return the plan; its target accepts connections. `scenario` is that of the options.

    `variables` fill `${NAME}` in the manifest's headers; a header with an unset variable is left out.
    Raise UsageError, ConfigurationError, RefusedError and OperationError.
    """
    if options.url is not None:
        options = replace(options, url=full_url(options.url, manifest.services))
    _refuse_contradictions(options)
    _refuse_load_at_a_place(manifest)
    defaults = manifest.load
    timeout_s = parse_duration(options.timeout, where="--timeout") if options.timeout else defaults.timeout_s
    drain_s = parse_duration(options.drain, where="--drain") if options.drain else timeout_s
    warmup_s = parse_duration(options.warmup, where="--warmup") if options.warmup else 0.0
    duration_s = parse_duration(options.duration, where="--duration") if options.duration else None
    stages: tuple[RampStage, ...] = ()
    if options.stages is not None:
        stages = parse_stages(options.stages)
    elif options.rate is not None:
        length = duration_s or _DEFAULT_DURATION_S
        stages = (RampStage(duration_s=length, start_rps=options.rate, end_rps=options.rate),)
    requests = options.requests
    if requests is None and duration_s is None and not stages:
        requests = max(defaults.requests, options.connections or 0)
    url, is_default = _url(options, manifest, variables, scenario)
    allowed = (*(options.allow_target or ()), *defaults.allowed_targets)
    hint = f"{start_as_before(manifest)}, or give the URL of a running server"
    if manifest.place is not None:
        allowed += tuple(service.host for service in manifest.services.values() if service.listens)
        hint = here("health", "--at", manifest.source.place)
    target = _target(options, manifest, url, allowed=allowed, timeout_s=timeout_s, hint=hint)
    endpoints, users = request_mix(options, manifest, variables, target, is_default=is_default, scenario=scenario)
    connections = options.connections or min(defaults.connections, requests or defaults.connections)
    max_connections = options.max_connections or _DEFAULT_MAX_CONNECTIONS
    parts = max_connections if stages else connections
    if parts < options.processes:
        of_them = "connections" if parts > 1 else "connection"
        raise UsageError(f"{options.processes} processes cannot share {parts} {of_them}", where="--processes")
    return LoadPlan(
        target=target,
        endpoints=endpoints,
        requests=requests,
        duration_s=None if stages else duration_s,
        connections=connections,
        stages=stages,
        arrival=options.arrival,
        warmup_s=warmup_s,
        timeout_s=timeout_s,
        drain_s=drain_s,
        keepalive=options.keepalive,
        retry_stale=options.retry_stale,
        max_connections=max_connections,
        processes=options.processes,
        users=users,
    )


def _target(
    options: LoadOptions, manifest: Manifest, url: str, *, allowed: tuple[str, ...], timeout_s: float, hint: str
) -> LoadTarget:
    """Return the target, which accepts connections. Raise UsageError, RefusedError and OperationError."""
    place = unix_place(options.url or "")
    own = manifest.services.get(manifest.load.service or "")
    if place is None and own is not None and own.unix and (options.url is None or options.url.startswith("/")):
        place = UnixPlace("https" if own.scheme == "https" else "http", Path(own.unix), url)
    if place is not None:
        on_it = next((s for s in manifest.services.values() if s.unix and Path(s.unix) == place.path.absolute()), None)
        endpoint = DIRECT if on_it is None else endpoint_of(on_it)
        target = unix_target(place.url, place.path, endpoint, insecure=options.insecure, timeout_s=timeout_s, hint=hint)
    else:
        chosen, addresses = choose_target(url, allowed=allowed, verify_tls=not options.insecure)
        found = connect_once(chosen, addresses, timeout_s=timeout_s, hint=hint)
        target = with_endpoint(found, manifest.services, insecure=options.insecure)
    check_certificates(target)
    return target


def _refuse_load_at_a_place(manifest: Manifest) -> None:
    """Raise RefusedError if the place does not allow load, even behind a port of this machine."""
    if manifest.place is not None and not manifest.place.load:
        raise RefusedError(
            f"the place {manifest.source.place} does not allow load: nothing was sent",
            where=str(manifest.source.path or "[load]"),
            hint=f"if you may load it: load = true under [places.{manifest.source.place}]",
        )


def _refuse_contradictions(options: LoadOptions) -> None:
    """Raise UsageError for options that exclude each other or are out of range."""
    for option, value in (
        ("-n", options.requests),
        ("-c", options.connections),
        ("--max-connections", options.max_connections),
        ("--processes", options.processes),
        ("--rate", options.rate),
    ):
        if value is not None and not value > 0:
            raise UsageError(f"must be above 0, not {value:g}", where=option)
    if options.rate is not None and options.rate > _MOST_RPS:
        raise UsageError(f"must be at most {_MOST_RPS} per second, not {options.rate:g}", where="--rate")
    open_loop = "--stages" if options.stages else "--rate" if options.rate is not None else None
    if open_loop and options.requests is not None:
        raise UsageError(
            f"-n and {open_loop} contradict each other: rate and duration determine the number of requests",
            where="-n",
            hint=f"leave out -n or {open_loop}",
        )
    if open_loop and options.connections is not None:
        raise UsageError(
            f"-c and {open_loop} contradict each other: at a fixed rate, connections are opened as needed",
            where="-c",
            hint="limit them with --max-connections N",
        )
    if options.stages and (options.rate is not None or options.duration):
        raise UsageError(
            "--stages already sets rate and duration", where="--stages", hint="leave out --rate and --duration"
        )
    if options.max_connections is not None and not open_loop:
        raise UsageError("applies only to an open loop", where="--max-connections", hint="use -c N, or add --rate")
    if options.requests and options.connections and options.connections > options.requests:
        raise UsageError(f"more connections ({options.connections}) than requests ({options.requests})", where="-c")
    if options.arrival == "poisson" and not open_loop:
        raise UsageError("applies only to an open loop", where="--arrival", hint="add --rate or --stages")
    if options.payload is not None and options.data is not None:
        raise UsageError("-p and -d both set the body", where="-d", hint="leave out one of them")
    if options.scenario and (options.payload or options.data is not None or options.method):
        raise UsageError("a scenario sets method and body itself", where="--scenario", hint="leave out -m, -p and -d")
    if options.scenario and (options.follow_redirects or options.cookies or options.expect_status):
        raise UsageError(
            "a scenario sets this for each request",
            where="--scenario",
            hint="write follow_redirects, cookies and expect = { status = 200 } in the scenario",
        )
    place = unix_place(options.url or "")
    url = place.url if place else options.url
    if options.scenario and url and (url.startswith("/") or split_url(url)[3] != "/"):
        raise UsageError("a scenario sets the paths itself", where=options.url, hint="leave out the path")


def parse_stages(text: str) -> tuple[RampStage, ...]:
    """Parse stages such as `30s:50,1m:200`. Raise UsageError.

    In each stage the rate changes linearly from the final rate of the stage before (first: 0) to its own.
    """
    stages: list[RampStage] = []
    for part in text.split(","):
        duration, colon, rate = part.partition(":")
        if not colon or not re.fullmatch(r"\s*\d+(\.\d+)?\s*", rate):
            raise UsageError(
                f"{part.strip()!r} is not a stage", where="--stages", hint="write DURATION:RATE, as in 30s:50,1m:200"
            )
        if float(rate) > _MOST_RPS:
            raise UsageError(f"must be at most {_MOST_RPS} per second, not {rate.strip()}", where="--stages")
        start = stages[-1].end_rps if stages else 0.0
        length = parse_duration(duration, where="--stages")
        stages.append(RampStage(duration_s=length, start_rps=start, end_rps=float(rate)))
    if not any(stage.arrivals for stage in stages):
        raise UsageError("no stage has a rate above 0", where="--stages")
    return tuple(stages)


def _url(
    options: LoadOptions, manifest: Manifest, variables: Mapping[str, str], scenario: Scenario | None
) -> tuple[str, bool]:
    """Return the URL, and whether it is the manifest's default target in every part.

    Raise UsageError, and RefusedError if a stranger is in the place of the default target's service, or if variables
    would go to another user's process that toombos did not start.
    """
    service = manifest.services.get(manifest.load.service or "")
    if options.url is not None and not options.url.startswith("/"):
        if scenario is not None and (sent := environment_of(scenario)):
            raise UsageError(
                f"${{env.{min(sent)}}} is sent only to the service of the manifest's load target",
                where=options.url,
                hint="leave out the URL, or write the value with -H",
            )
        return options.url, False
    if service is None:
        usual = next((s for s in manifest.services.values() if s.scheme in ("http", "https") and not s.optional), None)
        hint = (
            f"{here('load', usual.url + '/')}   (or under [load] in toombos.toml: service = '{usual.name}')"
            if usual
            else None
        )
        raise UsageError("no default target", where="[load] service", hint=hint)
    if not service.listens:
        raise UsageError(f"{service.name} has no address at this place", where=f"[places.{manifest.source.place}]")
    used = _VARIABLE.findall(" ".join(value for _, value in manifest.load.header_pairs()))
    used += environment_of(scenario) if scenario is not None else ()
    receiving = (service.name,) if any(variables.get(name) for name in used) else ()
    if receiving and manifest.place is not None and not manifest.place.variables:
        secret = ", ".join(dict.fromkeys(name for name in used if variables.get(name)))
        raise RefusedError(
            f"{secret} would be sent to the place {manifest.source.place}: nothing was sent",
            where=service.url,
            hint=f"if it may have them: variables = true under [places.{manifest.source.place}]",
        )
    if complaint := refused_listeners(manifest.project, {service.name: service}, receiving).get(service.name):
        raise RefusedError(f"{complaint}: nothing was sent", where=service.url, hint=here("health", service.name))
    path = "/" if options.scenario else options.url or manifest.load.path
    return service.url + path, options.url is None


def request_mix(
    options: LoadOptions,
    manifest: Manifest,
    variables: Mapping[str, str],
    target: LoadTarget,
    *,
    is_default: bool,
    scenario: Scenario | None = None,
) -> Mix:
    """Return the endpoints, and the users that send them if they need any. Raise UsageError and ConfigurationError.

    `is_default`: the target is the manifest's in every part, and so are method and body unless the options set them.
    """
    _, _, _, path = split_url(target.url)
    headers = tuple(parse_header(text) for text in options.headers or ())
    is_own = options.url is None or options.url.startswith("/")
    if is_own:
        headers = layered(_default_headers(manifest, variables), headers)
    if scenario is not None and options.scenario is not None:
        environment = variables if is_own else {}
        return scenario_mix(
            scenario, options.scenario, target, headers, keepalive=options.keepalive, environment=environment
        )
    body, kind = _body(options, manifest, is_default=is_default)
    method = options.method or (manifest.load.method if is_default else "POST" if body else "GET")
    endpoint = build_endpoint(
        target,
        name=f"{method} {path.partition('?')[0]}",
        method=method,
        path=path,
        headers=headers,
        body=body,
        content_type=kind if options.content_type is None else options.content_type,
        keepalive=options.keepalive,
    )
    status = None if options.expect_status is None else parse_statuses(options.expect_status)
    if status is None and not options.follow_redirects and not options.cookies:
        return (endpoint,), None
    return scripted(endpoint, status=status, follow_redirects=options.follow_redirects, cookies=options.cookies)


def parse_statuses(text: str) -> Statuses:
    """Return the statuses of a list such as `200,404`, or a class such as `2xx`. Raise UsageError."""
    parts = [part.strip() for part in text.split(",")]
    numbers = all(part.isascii() and part.isdecimal() for part in parts)
    status: Statuses = tuple(int(part) for part in parts) if numbers else text.strip()
    try:
        check_status(status)
    except ValueError as error:
        raise UsageError(str(error), where="--expect-status", hint="write 200, or 200,404, or 2xx") from None
    return status


def _body(options: LoadOptions, manifest: Manifest, *, is_default: bool) -> tuple[bytes, str | None]:
    """Return the body and its content type. Raise ConfigurationError if the payload file cannot be read."""
    if options.payload is not None:
        try:
            body = options.payload.read_bytes()
        except OSError as error:
            reason = f"cannot be read: {error.strerror}"
            raise ConfigurationError(reason, where=str(options.payload), hint="check the file given with -p") from None
        return body, _content_type(body)
    if options.data is not None:
        body = os.fsencode(options.data)
        return body, _content_type(body)
    if is_default and manifest.load.body is not None and options.method in (None, manifest.load.method):
        return json.dumps(manifest.load.body).encode(), "application/json"
    return b"", None


def _content_type(body: bytes) -> Literal["application/json", "text/plain; charset=utf-8"] | None:
    if not body:
        return None
    return "application/json" if body.lstrip()[:1] in (b"{", b"[") else "text/plain; charset=utf-8"


def _default_headers(manifest: Manifest, variables: Mapping[str, str]) -> Headers:
    """Return the headers of the `[load]` table above those that the place asks for, without any unset variable."""
    own = manifest.services.get(manifest.load.service or "")
    of_place, _ = filled_headers({} if own is None or own.is_here else own.headers, dict(variables))
    given = {name.lower() for name, _ in manifest.load.header_pairs()}
    found = [(name, value) for name, value in of_place.items() if name.lower() not in given]
    for name, value in manifest.load.header_pairs():
        needed = _VARIABLE.findall(value)
        if all(variables.get(variable) for variable in needed):
            filled = _VARIABLE.sub(lambda match: variables[match[1]], value)
            found.append((name, filled))
    return tuple(parse_header(f"{name}: {value}") for name, value in found)
