"""A Compose file: a service for each of the manifest's, one more file for each mode, and Dockerfiles."""

import os
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from toombos_cli.base.addresses import host_port
from toombos_cli.base.quoting import joined
from toombos_cli.config.imports.compose_extension import EXTENSION_KEYS
from toombos_cli.config.imports.compose_service import EXTENSION
from toombos_cli.export import images
from toombos_cli.export.build import INSIDE
from toombos_cli.export.images import Packaging, packaging_of
from toombos_cli.export.model import (
    Exported,
    ExportedFile,
    ExportedService,
    ExportedSystem,
    LeftOut,
    plain_name,
    plain_number,
)
from toombos_cli.export.probes import curl_words
from toombos_cli.export.secret_words import names_in, spelled
from toombos_cli.export.yaml_text import comment, dump, head, indented, left_out_comment
from toombos_cli.manifest.tables.env_files import OPTIONAL
from toombos_cli.manifest.tables.expectations import Expectation
from toombos_cli.manifest.tables.service import DEFAULTS, NOT_OF_TASKS
from toombos_cli.monitoring.compose import compose_document
from toombos_cli.monitoring.files import directory_of

FILE = "compose.yaml"
_RESTART = {"always": "unless-stopped", "never": "no"}
_CONDITIONS = {"started": "service_started", "ready": "service_healthy", "completed": "service_completed_successfully"}


def export(system: ExportedSystem) -> Exported:
    """Return the files, and what Compose cannot say."""
    left_out = tuple(_left_out(system))
    modes = [
        ExportedFile(path=f"compose.{plain_name(mode)}.yaml", text=_mode(system, values))
        for mode, values in system.modes.items()
    ]
    built = images.dockerfiles(system, "compose")
    first = (f"compose.{plain_name(system.first_mode)}.yaml",) if system.first_mode else ()
    main = ExportedFile(path=FILE, text=_main(system, (*system.left_out, *left_out)))
    return Exported(files=(main, *modes, *built), left_out=left_out, commands=(_command(system, *first),))


def _modes(system: ExportedSystem) -> tuple[str, ...]:
    return tuple(f"compose.{plain_name(mode)}.yaml" for mode in system.modes)


def _command(system: ExportedSystem, *more: str) -> str:
    files = [word for name in (FILE, *more) for word in ("-f", _from_project(system, name))]
    env_file = ("--env-file", ".env") if (system.manifest.project / ".env").is_file() else ()
    return joined(("docker", "compose", *env_file, *files, "up", "--build", "--detach"))


def _from_project(system: ExportedSystem, name: str) -> str:
    return os.path.relpath(system.output / name, system.manifest.project)


def _main(system: ExportedSystem, left_out: tuple[LeftOut, ...]) -> str:
    lines = [head("compose")]
    about = [
        "From the project directory, so that variables come from its .env:",
        f"  {_command(system)}",
        "Each service listens inside its container on all addresses, and is published on this machine alone.",
        "A value with ${...} comes from .env: this file holds no secrets.",
    ]
    if system.modes:
        about += ["In a mode:", *(f"  {_command(system, name)}" for name in _modes(system))]
    lines += [comment(*about), dump({"name": system.name}), "services:\n"]
    monitoring = compose_document(system.manifest, directory_of(system.manifest.project))["services"]
    for exported in system.services:
        body = _monitoring(system, exported, monitoring.get(exported.name))
        title = comment(exported.service.label) + left_out_comment(left_out, exported.name)
        document = dump({plain_name(exported.name): body})
        lines.append(indented(f"{title}{document}"))
    return "".join(lines)


def _monitoring(system: ExportedSystem, exported: ExportedService, published: dict[str, Any] | None) -> dict[str, Any]:
    """Return the body of a service: monitoring shares this machine's network, where it asks and is asked."""
    body = published or _service(system, exported)
    if exported.service.role != "monitoring":
        return body
    kept = {key: value for key, value in body.items() if key != "ports"}
    return {**kept, "network_mode": "host", "profiles": ["monitoring"]}


def _mode(system: ExportedSystem, values: Any) -> str:
    services = {
        plain_name(service.name): {"environment": {name: _text(value) for name, value in values.items()}}
        for service in system.services
        if service.service.role != "monitoring"
    }
    return head("compose") + comment("The variables of this mode override all others.") + dump({"services": services})


def _service(system: ExportedSystem, exported: ExportedService) -> dict[str, Any]:
    service, packaging = exported.service, packaging_of(system, exported)
    body: dict[str, Any] = {"image": packaging.image}
    if packaging.dockerfile:
        if _builds(system, exported, packaging):
            body["build"] = {
                "context": _relative(system, ""),
                "dockerfile": _from_project(system, packaging.dockerfile),
            }
        body["user"] = f"{service.user or os.getuid()}:{service.group or os.getgid()}"
    words = images.words_inside(exported, packaging)
    body["working_dir"] = service.cwd
    body["command"] = [_text(word) for word in words]
    body["init"] = True
    body |= _profiles(system, exported)
    body |= _variables(system, exported, packaging)
    body |= _network(exported)
    if volumes := list(_volumes(system, exported, packaging, words)):
        body["volumes"] = volumes
    if service.depends_on:
        body["depends_on"] = {plain_name(name): _dependency(system, exported, name) for name in service.depends_on}
    if check := healthcheck(exported, packaging):
        body["healthcheck"] = check
    body["restart"] = _restart(exported)
    body["stop_signal"] = f"SIG{service.stop_signal}"
    body["stop_grace_period"] = _seconds(service.grace_period_s)
    if service.stdin == "open":
        body["stdin_open"] = True
    if service.limits.memory_restart_mb:
        body["deploy"] = {"resources": {"limits": {"memory": f"{service.limits.memory_restart_mb}M"}}}
    body |= _watch(system, exported)
    body["security_opt"] = ["no-new-privileges:true"]
    logs = system.manifest.logs
    body["logging"] = {"driver": "json-file", "options": {"max-size": f"{logs.max_mb}m", "max-file": str(logs.keep)}}
    if extension := _extension(exported):
        body[EXTENSION] = extension
    return body


def _builds(system: ExportedSystem, exported: ExportedService, packaging: Packaging) -> bool:
    """Report whether a service builds its image: of those that always run, the first, or all would build it at once."""
    sharing = [service for service in system.services if packaging_of(system, service).image == packaging.image]
    first = next((service for service in sharing if not _profiles(system, service)), exported)
    return first is exported


def _profiles(system: ExportedSystem, exported: ExportedService) -> dict[str, Any]:
    """Return the profiles of an optional service, unless one that always runs depends on it."""
    needed = any(exported.name in other.service.depends_on for other in system.services if not other.service.optional)
    if not exported.service.optional or needed:
        return {}
    default = "monitoring" if exported.service.role == "monitoring" else "optional"
    return {"profiles": list(exported.service.groups) or [default]}


def _variables(system: ExportedSystem, exported: ExportedService, packaging: Packaging) -> dict[str, Any]:
    environment = {
        name: f"${{{name}:-{_text(value)}}}" for name, value in exported.defaults.items() if "}" not in value
    }
    environment |= {name: value.replace("$", "$$") for name, value in exported.defaults.items() if "}" in value}
    environment |= {name: _text(value) for name, value in exported.settings.items()}
    if packaging.program == "postgres" and "-D" in exported.service.command[:-1]:
        words = exported.service.command
        environment.setdefault("PGDATA", words[words.index("-D") + 1])
    found: dict[str, Any] = {}
    if environment:
        found["environment"] = environment
    found["env_file"] = [
        {"path": _relative(system, file.removesuffix(OPTIONAL)), "required": not file.endswith(OPTIONAL)}
        for file in exported.env_files
    ]
    return found


def _network(exported: ExportedService) -> dict[str, Any]:
    service = exported.service
    if not service.port:
        return {}
    return {"ports": [f"{host_port(service.host, service.port)}:{service.port}"]}


def _volumes(
    system: ExportedSystem, exported: ExportedService, packaging: Packaging, words: tuple[str, ...]
) -> Iterator[str]:
    """Yield the mounts: data and logs stay in the project, where `toombos backup` and `toombos logs` find them."""
    if packaging.dockerfile or exported.keeps_data:
        for root in images.persistent_roots(system):
            yield f"{_relative(system, root)}:{INSIDE}/{root}"
    if packaging.server is not None:
        for name in dict.fromkeys(images.mounted_files(system, words)):
            yield f"{_relative(system, name)}:{INSIDE}/{name}:ro"


def _dependency(system: ExportedSystem, exported: ExportedService, name: str) -> dict[str, Any]:
    how = exported.service.waits_for(name)
    other = system.service(name)
    if how == "ready" and healthcheck(other, packaging_of(system, other)) is None:
        how = "started"
    restart = {"restart": True} if exported.service.restarts_with(name) else {}
    return {"condition": _CONDITIONS[how]} | restart


def healthcheck(exported: ExportedService, packaging: Packaging) -> dict[str, Any] | None:
    """Return the check of a service, None if nothing in its image can ask."""
    service, probe = exported.service, exported.probes.get("ready")
    if probe is None:
        return None
    if probe.command:
        test = ["CMD", *map(_text, probe.command)]
    elif not probe.path:
        test = ["CMD", *packaging.tcp_words(probe.port)]
    elif not packaging.has_curl:
        return None
    elif probe.shell:
        test = ["CMD-SHELL", _text(probe.shell)]
    else:
        test = ["CMD", *map(_text, curl_words(probe, host="127.0.0.1", insecure=service.scheme == "https"))]
    if len(test) == 1:
        return None
    start_s = max(service.startup_timeout_s - service.probe_interval_s * service.unhealthy_after, 0.0)
    return {
        "test": test,
        "interval": _seconds(service.probe_interval_s),
        "timeout": _seconds(probe.timeout_s),
        "retries": service.unhealthy_after,
        "start_period": _seconds(start_s),
    }


def _restart(exported: ExportedService) -> str:
    restart = exported.service.restart
    if exported.service.is_task:
        return "no"
    return _RESTART.get(restart.policy, f"on-failure:{restart.crash_loop_count}")


def _watch(system: ExportedSystem, exported: ExportedService) -> dict[str, Any]:
    watched = exported.service.watched
    if watched is None:
        return {}
    rules = []
    for path in watched.paths:
        directory = re.split(r"[*?\[]", path, maxsplit=1)[0].rpartition("/")[0] if re.search(r"[*?\[]", path) else path
        rule: dict[str, Any] = {"action": "rebuild", "path": _relative(system, directory or ".")}
        rules.append(rule | ({"ignore": list(watched.ignore)} if watched.ignore else {}))
    return {"develop": {"watch": rules}}


def _extension(exported: ExportedService) -> dict[str, Any]:
    """Return the keys that Compose has no word for, as the manifest has them."""
    found: dict[str, Any] = {}
    for key in EXTENSION_KEYS:
        value = getattr(exported.service, key)
        if value == DEFAULTS[key] and key not in ("health", "log"):
            continue
        if isinstance(value, Expectation):
            if names_in(value.command):
                continue  # the health check refers to the secret
            value = msgspec.json.encode(value).decode()
        elif key == "log":
            value = value.removeprefix(f"{INSIDE}/")
        found[key] = _spelled(value)
    if not exported.service.speaks_http and isinstance(exported.service.health, str):
        found.pop("health", None)
    if exported.service.is_task:
        found = {key: value for key, value in found.items() if key not in (*NOT_OF_TASKS, "scheme")}
    return found


def _spelled(value: Any) -> Any:
    if isinstance(value, str):
        return _text(value)
    return [_spelled(item) for item in value] if isinstance(value, tuple) else value


def _relative(system: ExportedSystem, path: str) -> str:
    """Return a path of the project as the Compose file sees it: it begins with a dot, or it would name a volume."""
    found = os.path.relpath(system.manifest.project / path, system.output)
    shown = found if found.startswith((".", "/")) else f"./{found}"
    return shown.replace("$", "$$")


def _text(text: str) -> str:
    """Return a text in which Compose fills in the references and nothing else."""
    return spelled(
        text,
        plain=lambda part: part.replace("$", "$$"),
        secret=lambda name: f"${{{name}:?put {name} into .env}}",
    )


def _seconds(value: float) -> str:
    return f"{plain_number(value)}s" if value == int(value) else f"{plain_number(value * 1000)}ms"


def _left_out(system: ExportedSystem) -> Iterator[LeftOut]:
    for exported in system.services:
        service, name = exported.service, exported.name
        packaging = packaging_of(system, exported)
        if service.role == "monitoring":
            continue
        yield from packaging_gaps(exported, packaging)
        waits = [other for other in service.depends_on if service.waits_for(other) == "ready"]
        for other in waits:
            target = system.service(other)
            if healthcheck(target, packaging_of(system, target)) is None:
                reason = f"nothing in the image of {other} can ask whether it is ready: it is only started before"
                yield LeftOut(what=f"services.{name}.depends_on.{other}", reason=reason)
        clashing = [key for key, value in exported.defaults.items() if "}" in value]
        for key in clashing:
            reason = "Compose has no default with a brace in it: the value overrides the env files"
            yield LeftOut(what=f"services.{name}.default_env.{key}", reason=reason)
    if any(service.service.role == "monitoring" for service in system.services):
        reason = "its containers read run/monitoring, which `toombos monitoring up` writes: run that once before"
        yield LeftOut(what="monitoring", reason=reason)


def packaging_gaps(exported: ExportedService, packaging: Packaging) -> Iterator[LeftOut]:
    """Yield what a person has to complete for the image of a service."""
    name = exported.name
    if not packaging.is_known:
        reason = f"no image with {packaging.program} is known: install it in {packaging.dockerfile}"
        yield LeftOut(what=f"services.{name}.command", reason=reason)
    cwd = exported.service.cwd
    if not f"{cwd}/".startswith(f"{INSIDE}/"):
        reason = f"{cwd} is outside the project, and in no image: mount it"
        yield LeftOut(what=f"services.{name}.cwd", reason=reason)
    probe = exported.probes.get("ready")
    if probe is not None and probe.path and not packaging.has_curl:
        reason = f"the image {packaging.image} has no curl: nothing in it can ask for {probe.path}"
        yield LeftOut(what=f"services.{name}.ready", reason=reason)
