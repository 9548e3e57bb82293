"""Makes the description of the system that is exported: where it runs, without secrets, with what is left out."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from toombos_cli.base.errors import ConfigurationError
from toombos_cli.base.redaction import Redactor
from toombos_cli.base.untrusted import decode_untrusted_toml
from toombos_cli.config.imports import compose_service
from toombos_cli.export.left_out import left_out_of
from toombos_cli.export.model import ExportedService, ExportedSystem, ExportEngine, LeftOut, plain_name
from toombos_cli.export.probes import probe_of
from toombos_cli.export.secret_words import Hider, holds, names_in, secrets_in
from toombos_cli.manifest.model import Manifest
from toombos_cli.manifest.reading.layers import PACKAGED
from toombos_cli.manifest.reading.loader import load_manifest
from toombos_cli.manifest.reading.placeholders import ServiceHome
from toombos_cli.manifest.tables.env_files import OPTIONAL
from toombos_cli.manifest.tables.expectations import Expectation
from toombos_cli.manifest.tables.schedule import Job
from toombos_cli.manifest.tables.service import DEFAULTS, QUESTIONS, Service
from toombos_cli.settings.env_file import ENV_FILE
from toombos_cli.settings.env_files import EnvFiles, read_env_files
from toombos_cli.settings.known_secrets import known_secrets
from toombos_cli.settings.values import clear_values

INSIDE = Path(compose_service.INSIDE)
"""The project directory in a container."""
_OF_THE_SUPERVISOR = frozenset({"start", "stop", "restart", "status"})
"""The commands of jobs that only make sense where toombos supervises."""
_ABOUT_SERVICES = frozenset({"health", "smoke", "load", "diagnose"})
"""The commands of jobs that ask the services and nothing else, so that they can run anywhere (`--at`)."""


def system_of(manifest: Manifest, engine: ExportEngine, output: Path, *, with_secrets: bool) -> ExportedSystem:
    """Return what is exported. Raise ConfigurationError if two services would have the same name, or as env files."""
    env_files = read_env_files(manifest)
    _refuse_path(manifest.project)
    _refuse_path(output)
    hider = Hider(known=_secrets_of_env_files(manifest, env_files))
    placed = manifest.services
    if engine is not ExportEngine.SYSTEMD:
        placed = load_manifest(manifest.project, _container(manifest)).services
    services = tuple(_exported(manifest, service, env_files, hider) for service in placed.values())
    jobs, left_jobs = _jobs(manifest, engine)
    source = manifest.source.path
    text = source.read_text("utf-8") if source else f'extends = "{PACKAGED}"\n'
    return ExportedSystem(
        manifest=manifest,
        output=output,
        services=services,
        modes={name: _mode(mode.env, hider) for name, mode in manifest.modes.items()},
        jobs=jobs,
        left_out=(
            *left_jobs,
            *left_out_of(manifest, engine, services, env_files),
            *(() if with_secrets else _secrets(hider)),
        ),
        manifest_text=text,
        secrets_in_manifest=tuple(_secrets_in(text, manifest, env_files, hider)),
        clear_secrets=_clear(manifest, env_files, hider) if with_secrets else None,
    )


def _refuse_path(path: Path) -> None:
    """Raise ConfigurationError for a path that the files of an engine cannot hold."""
    if not str(path).isprintable():
        hint = "move it to a directory with another name"
        raise ConfigurationError(
            "the path has a character that the files cannot hold", where=ascii(str(path)), hint=hint
        )


def _secrets_of_env_files(manifest: Manifest, env_files: EnvFiles) -> dict[str, str]:
    """Return the name of the variable by each secret that an env file holds as a whole value."""
    secrets = set(known_secrets(manifest, env_files, mode=None, environ={}))
    clear = clear_values(manifest, None, env_files, environ={}).values
    held = [(name, value) for file in env_files for name, value in file.values.items()]
    held += [(name, clear[name]) for name, _ in held if name in clear]
    return {value: name for name, value in held if (name, value) in secrets}


def _secrets_in(text: str, manifest: Manifest, env_files: EnvFiles, hider: Hider) -> Iterator[str]:
    """Yield the names of the secrets that stand in the text of the manifest, each once."""
    known = known_secrets(manifest, env_files, mode=None, environ={})
    yield from dict.fromkeys(
        (*hider.named, *secrets_in(decode_untrusted_toml(text)), *(name for name, value in known if holds(text, value)))
    )


def _container(manifest: Manifest) -> ServiceHome:
    names: dict[str, str] = {}
    for name in manifest.services:
        other = next((known for known, plain in names.items() if plain == plain_name(name)), None)
        if other is not None:
            raise ConfigurationError(
                f"{other} and {name} would both be {plain_name(name)}: names of containers have lower-case letters, "
                "digits and dashes",
                where=str(manifest.source.path or manifest.project),
                hint=f"give one of them another name in [services.{name}]",
            )
        names[name] = plain_name(name)
    return ServiceHome(project=INSIDE, python="python3", names=names)


def _exported(manifest: Manifest, service: Service, env_files: EnvFiles, hider: Hider) -> ExportedService:
    def is_secret_variable(name: str) -> bool:
        return name in manifest.environment and manifest.environment[name].secret

    settings = {n: hider.variable(n, v, secret=is_secret_variable(n)) for n, v in service.env.items()}
    defaults = {n: hider.variable(n, v, secret=is_secret_variable(n)) for n, v in service.default_env.items()}
    named = {file.path: file.label for file in env_files.of(service)}
    optional = {
        str(name).removesuffix(OPTIONAL)
        for name in (*manifest.env_files, *service.env_files)
        if name.endswith(OPTIONAL)
    }
    labels = list(named.values())
    service = msgspec.structs.replace(
        service,
        command=hider.words(service.command, owner=service.name),
        stop_command=hider.words(service.stop_command, owner=service.name),
        default_env={name: value for name, value in defaults.items() if "\x03" not in value},
        headers=_headers(service.headers, hider),
        **{question: _asked(getattr(service, question), hider, service.name) for question in QUESTIONS},
    )
    return ExportedService(
        service=service,
        settings=settings,
        env_files=tuple(f"{label}{OPTIONAL}" if label == ENV_FILE or label in optional else label for label in labels),
        secrets=names_in((*service.command, *service.stop_command, *settings.values())),
        probes={question: probe_of(service, question) for question in QUESTIONS} if not service.is_task else {},
        keeps_data=_keeps_data(manifest, service),
    )


def _headers(headers: dict[str, str], hider: Hider) -> dict[str, str]:
    """Return headers in which secrets are variables, as the manifest writes them."""
    hidden = {
        name: value if "${env." in value else hider.variable(name.upper().replace("-", "_"), value, secret=False)
        for name, value in headers.items()
    }
    return {name: value.replace("\x03", "${env.").replace("\x04", "}") for name, value in hidden.items()}


def _asked(asked: Any, hider: Hider, owner: str) -> Any:
    if not isinstance(asked, Expectation):
        return asked if asked is None else _without_secret(asked)
    return msgspec.structs.replace(
        asked,
        path=_without_secret(asked.path),
        headers=_headers(asked.headers, hider),
        command=hider.words(asked.command, owner=owner),
    )


def _without_secret(path: str) -> str:
    """Return a path without its query if that holds a secret."""
    return path if Redactor().text(path) == path else path.partition("?")[0]


def _keeps_data(manifest: Manifest, service: Service) -> bool:
    """Report whether the service seems to write below `data`: by its words, its backup or its database."""
    words = " ".join((*service.command, *service.env.values(), *service.default_env.values()))
    if f"{INSIDE}/data" in words or f"{manifest.project}/data" in words or service.backup != DEFAULTS["backup"]:
        return True
    if any(word.startswith(("data/", "./data")) for word in service.command):
        return True
    variables = manifest.environment.values()
    return any(v.role == "database" and service.name in v.used_by for v in variables)


def _mode(env: dict[str, str], hider: Hider) -> dict[str, str]:
    hidden = {name: hider.variable(name, value, secret=False) for name, value in env.items()}
    return {name: value for name, value in hidden.items() if "\x03" not in value}


def _jobs(manifest: Manifest, engine: ExportEngine) -> tuple[dict[str, Job], list[LeftOut]]:
    """Return the jobs that the engine runs, and the others; Compose runs none, which its fate of the section says."""
    if engine is ExportEngine.COMPOSE:
        return {}, []
    jobs = {name: job for name, job in manifest.schedule.items() if job.enabled}
    reasons = {name: reason for name, job in jobs.items() if (reason := _reason_against(job, engine))}
    left = [LeftOut(what=f"schedule.{name}", reason=reason) for name, reason in reasons.items()]
    return {name: job for name, job in jobs.items() if name not in reasons}, left


def _reason_against(job: Job, engine: ExportEngine) -> str:
    """Return why an engine cannot run a job, "" if it can."""
    if job.command[0] in _OF_THE_SUPERVISOR:
        return f"`toombos {' '.join(job.command)}` is for toombos' own supervisor: the engine supervises"
    if engine is ExportEngine.KUBERNETES:
        if job.command[0] not in _ABOUT_SERVICES and job.command[:2] != ("monitoring", "check"):
            return "it acts on the project directory, which a cluster has not: keep it on a machine with it"
        if job.at_boot:
            return "a cluster does not boot"
    return ""


def _secrets(hider: Hider) -> Iterator[LeftOut]:
    for name in hider.named:
        yield LeftOut(
            what=name,
            reason="its value stands in toombos.toml, and no exported file holds secrets: put it into .env",
        )


def _clear(manifest: Manifest, env_files: EnvFiles, hider: Hider) -> dict[str, str]:
    """Return the values of all env files, decrypted, and the secrets of the manifest."""
    names = {name for file in env_files for name in file.values}
    clear = clear_values(manifest, None, env_files, environ={})
    clear.require(names, env_files)
    own = {name: value for files in env_files.own.values() for file in files for name, value in file.values.items()}
    shared = {name: clear.values[name] for name in names if name in clear.values}
    return dict(sorted({**own, **shared, **hider.named}.items()))
