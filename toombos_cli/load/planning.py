"""From what the user typed and the manifest's `[load]` table to a plan; nothing is sent while anything is wrong."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from toombos_cli.base.errors import ConfigurationError, UsageError
from toombos_cli.base.quantities import parse_duration
from toombos_cli.load.engine.pacer import Arrival, Stage
from toombos_cli.load.engine.request_bytes import build_endpoint, parse_header
from toombos_cli.load.plan import Endpoint, LoadPlan, Target
from toombos_cli.load.scenario import read_scenario
from toombos_cli.load.stages import MOST_RPS, parse_stages
from toombos_cli.load.target_check import choose_target, connect_once, split_url
from toombos_cli.manifest.model import Manifest
from toombos_cli.project.commands import start_as_before

_DEFAULT_DURATION_S = 10.0
_DEFAULT_MAX_CONNECTIONS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """The options as typed; None means "not given"."""

    url: str | None = None
    requests: int | None = None
    connections: int | None = None
    rate: float | None = None
    duration: str | None = None
    stages: str | None = None
    arrival: Arrival = "constant"
    warmup: str | None = None
    method: str | None = None
    payload: Path | None = None
    data: str | None = None
    content_type: str | None = None
    headers: tuple[str, ...] = ()
    scenario: Path | None = None
    timeout: str | None = None
    drain: str | None = None
    keepalive: bool = True
    max_connections: int | None = None
    processes: int = 1
    allowed: tuple[str, ...] = ()
    verify_tls: bool = True
    seed: int = 1


def make_plan(options: LoadOptions, manifest: Manifest, variables: Mapping[str, str]) -> LoadPlan:
    """The plan, its target reachable. Raises UsageError, ConfigurationError, RefusedError and OperationError.

    `variables` fill `${NAME}` in the manifest's headers; a header whose variable is not set is left out.
    """
    _refuse_contradictions(options)
    defaults = manifest.load
    timeout_s = parse_duration(options.timeout, where="--timeout") if options.timeout else defaults.timeout_s
    drain_s = parse_duration(options.drain, where="--drain") if options.drain else timeout_s
    warmup_s = parse_duration(options.warmup, where="--warmup") if options.warmup else 0.0
    duration_s = parse_duration(options.duration, where="--duration") if options.duration else None
    stages: tuple[Stage, ...] = ()
    if options.stages is not None:
        stages = parse_stages(options.stages)
    elif options.rate is not None:
        length = duration_s or _DEFAULT_DURATION_S
        stages = (Stage(duration_s=length, start_rps=options.rate, end_rps=options.rate),)
    requests = options.requests
    if requests is None and duration_s is None and not stages:
        requests = max(defaults.requests, options.connections or 0)
    url, is_default = _url(options, manifest)
    allowed = (*options.allowed, *defaults.allowed_targets)
    target, addresses = choose_target(url, allowed=allowed, verify_tls=options.verify_tls)
    endpoints = _endpoints(options, manifest, variables, target, is_default=is_default)
    connections = options.connections or min(defaults.connections, requests or defaults.connections)
    max_connections = options.max_connections or _DEFAULT_MAX_CONNECTIONS
    parts = max_connections if stages else connections
    if parts < options.processes:
        of_them = "connections" if parts > 1 else "connection"
        raise UsageError(f"{options.processes} processes cannot share {parts} {of_them}", where="--processes")
    hint = f"{start_as_before(manifest)}, or name the URL of a server that runs"
    return LoadPlan(
        target=connect_once(target, addresses, timeout_s=timeout_s, hint=hint),
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
        max_connections=max_connections,
        processes=options.processes,
        seed=options.seed,
    )


def _refuse_contradictions(options: LoadOptions) -> None:
    """Raises UsageError for options that do not go together or are out of range."""
    for option, value in (
        ("-n", options.requests),
        ("-c", options.connections),
        ("--max-connections", options.max_connections),
        ("--processes", options.processes),
        ("--rate", options.rate),
    ):
        if value is not None and not value > 0:
            raise UsageError(f"must be above 0, not {value:g}", where=option)
    if options.rate is not None and options.rate > MOST_RPS:
        raise UsageError(f"must be at most {MOST_RPS} a second, not {options.rate:g}", where="--rate")
    open_loop = "--stages" if options.stages else "--rate" if options.rate is not None else None
    if open_loop and options.requests is not None:
        raise UsageError(
            f"-n and {open_loop} contradict each other: a rate and its time say how many requests there are",
            where="-n",
            hint=f"leave out -n, or {open_loop}",
        )
    if open_loop and options.connections is not None:
        raise UsageError(
            f"-c and {open_loop} contradict each other: at a rate, connections are opened as they are needed",
            where="-c",
            hint="--max-connections N bounds them",
        )
    if options.stages and (options.rate is not None or options.duration):
        raise UsageError("--stages says rate and time itself", where="--stages", hint="leave out --rate and --duration")
    if options.max_connections is not None and not open_loop:
        raise UsageError("a closed loop has -c connections", where="--max-connections", hint="-c N, or add --rate")
    if options.requests and options.connections and options.connections > options.requests:
        raise UsageError(f"more connections ({options.connections}) than requests ({options.requests})", where="-c")
    if options.arrival == "poisson" and not open_loop:
        raise UsageError("a closed loop sends when it was answered", where="--arrival", hint="add --rate or --stages")
    if options.payload is not None and options.data is not None:
        raise UsageError("-p and -d both give the body", where="-d", hint="leave out one of them")
    if options.scenario and (options.payload or options.data is not None or options.method):
        raise UsageError("a scenario says method and body itself", where="--scenario", hint="leave out -m, -p and -d")
    if options.scenario and options.url and (options.url.startswith("/") or split_url(options.url)[3] != "/"):
        raise UsageError("a scenario says the paths itself", where=options.url, hint="leave out the path")


def _url(options: LoadOptions, manifest: Manifest) -> tuple[str, bool]:
    """The URL, and whether it is the manifest's default target in every part. Raises UsageError."""
    service = manifest.services.get(manifest.load.service or "")
    if options.url is not None and not options.url.startswith("/"):
        return options.url, False
    if service is None:
        usual = next((s for s in manifest.services.values() if s.scheme in ("http", "https") and not s.optional), None)
        hint = (
            f"toombos load {usual.url}/   (or below [load] in toombos.toml: service = '{usual.name}')"
            if usual
            else None
        )
        raise UsageError("no default target", where="[load] service", hint=hint)
    path = "/" if options.scenario else options.url or manifest.load.path
    return service.url + path, options.url is None


def _endpoints(
    options: LoadOptions, manifest: Manifest, variables: Mapping[str, str], target: Target, *, is_default: bool
) -> tuple[Endpoint, ...]:
    _, _, _, path = split_url(target.url)
    given = tuple(parse_header(text) for text in options.headers)
    if options.url is None or options.url.startswith("/"):
        given = (*_default_headers(manifest, variables), *given)

    def build(
        name: str,
        method: str,
        path: str,
        headers: tuple[tuple[str, str], ...],
        body: bytes,
        content_type: str | None,
        weight: float,
    ) -> Endpoint:
        return build_endpoint(
            name=name,
            method=method,
            host=target.host,
            port=target.port,
            default_port=target.port == (443 if target.scheme == "https" else 80),
            path=path,
            headers=headers,
            body=body,
            content_type=content_type,
            keepalive=options.keepalive,
            weight=weight,
        )

    if options.scenario is not None:
        found = []
        for entry in read_scenario(options.scenario):
            body, content_type = entry.payload(options.scenario.parent)
            own = tuple(parse_header(f"{name}: {value}") for name, value in entry.headers.items())
            _, _, _, quoted = split_url(f"{target.scheme}://localhost{entry.path}")
            found.append(
                build(entry.name or quoted, entry.verb, quoted, (*given, *own), body, content_type, entry.weight)
            )
        return tuple(found)
    body, kind = _body(options, manifest, is_default=is_default)
    method = options.method or (manifest.load.method if is_default else "POST" if body else "GET")
    name = f"{method} {path.partition('?')[0]}"
    return (build(name, method, path, given, body, options.content_type or kind, 1.0),)


def _body(options: LoadOptions, manifest: Manifest, *, is_default: bool) -> tuple[bytes, str | None]:
    """The body and its content type. Raises ConfigurationError when the payload file cannot be read."""
    if options.payload is not None:
        try:
            body = options.payload.read_bytes()
        except OSError as error:
            reason = f"cannot be read: {error.strerror}"
            raise ConfigurationError(reason, where=str(options.payload), hint="-p names the payload file") from None
        return body, _content_type(body)
    if options.data is not None:
        return options.data.encode(), _content_type(options.data.encode())
    if is_default and manifest.load.body is not None and options.method in (None, manifest.load.method):
        return json.dumps(manifest.load.body).encode(), "application/json"
    return b"", None


def _content_type(body: bytes) -> Literal["application/json", "text/plain; charset=utf-8"] | None:
    if not body:
        return None
    return "application/json" if body.lstrip()[:1] in (b"{", b"[") else "text/plain; charset=utf-8"


def _default_headers(manifest: Manifest, variables: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    found = []
    for name, value in manifest.load.headers.items():
        needed = re.findall(r"\$\{(\w+)\}", value)
        if all(variables.get(variable) for variable in needed):
            filled = re.sub(r"\$\{(\w+)\}", lambda match: variables[match[1]], value)
            found.append(parse_header(f"{name}: {filled}"))
    return tuple(found)
