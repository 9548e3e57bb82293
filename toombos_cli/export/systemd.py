"""Units for systemd's system manager: one a service and task, a target, and a timer a job."""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from toombos_cli.base.programs import find_program
from toombos_cli.base.quoting import joined
from toombos_cli.base.trust import user_name
from toombos_cli.export.model import (
    MARK,
    Exported,
    ExportedFile,
    ExportedService,
    ExportedSystem,
    LeftOut,
    plain_name,
    plain_number,
)
from toombos_cli.export.secret_words import names_in, spelled
from toombos_cli.manifest.tables.env_files import OPTIONAL
from toombos_cli.manifest.tables.service import Service
from toombos_cli.project.commands import own_argv
from toombos_cli.schedule import systemd as timers

_RESTART = {"always": "always", "on-failure": "on-failure", "never": "no"}
_HARDENING = (
    *("NoNewPrivileges=yes", "ProtectSystem=full", "ProtectKernelTunables=yes", "ProtectKernelModules=yes"),
    *("ProtectKernelLogs=yes", "ProtectControlGroups=yes", "ProtectClock=yes", "RestrictSUIDSGID=yes"),
    *("RestrictRealtime=yes", "LockPersonality=yes"),
)
_SHELLS = ("sh", "bash", "dash")
_SHARED_DIRECTORIES = ("/tmp/", "/var/tmp/")  # noqa: S108  (looked for, not written to)


def export(system: ExportedSystem) -> Exported:
    """Return the units, the files of variables that they read, and what systemd cannot say."""
    user = user_name(os.geteuid())
    files = [ExportedFile(path=f"{system.name}.target", text=_target(system))]
    left_out: list[LeftOut] = []
    private = system.clear_secrets is not None
    if system.clear_secrets is not None:
        files.append(ExportedFile(path="secrets.env", text=_env_text(system.clear_secrets), private=True))
    for service in system.services:
        if _is_dispensable(system, service) and _program(service.service) is None:
            reason = f"it is optional, and {service.service.command[0]} is not installed here"
            left_out.append(LeftOut(what=f"services.{service.name}", reason=reason))
            continue
        files.append(ExportedFile(path=_unit(system, service.name), text=_service(system, service, user)))
        plain = {name: value for name, value in service.settings.items() if not names_in((value,))}
        if plain:
            files.append(ExportedFile(path=f"{system.name}-{service.name}.env", text=_env_text(plain)))
        left_out += _left_out(service, private=private)
    for mode, values in system.modes.items():
        files.append(ExportedFile(path=f"modes/{plain_name(mode)}.env", text=_env_text(values)))
    scheduled = msgspec.structs.replace(system.manifest, schedule=dict(system.jobs))
    for name, text in timers.units(scheduled, user=user).items():
        files.append(ExportedFile(path=name, text=f"{_head()}{text}"))
    return Exported(files=tuple(files), left_out=tuple(left_out), commands=_commands(system, files))


def _is_dispensable(system: ExportedSystem, service: ExportedService) -> bool:
    """Report whether the system runs without a service: it is optional, and nothing depends on it."""
    return service.service.optional and not any(service.name in s.service.depends_on for s in system.services)


def _commands(system: ExportedSystem, files: list[ExportedFile]) -> tuple[str, ...]:
    units = [str(system.output / file.path) for file in files if file.path.endswith((".service", ".timer", ".target"))]
    starting = [file.path for file in files if file.path.endswith((".timer", ".target"))]
    mode = system.first_mode
    chosen = (joined(("ln", "-sf", f"modes/{plain_name(mode)}.env", str(system.output / "mode.env"))),) if mode else ()
    logs = sorted({str(Path(service.service.log).parent) for service in system.services})
    return (
        *chosen,
        joined(("mkdir", "-p", *logs)),
        joined(("systemctl", "link", *units)),
        joined(("systemctl", "enable", "--now", *starting)),
    )


def _head() -> str:
    return f"# {MARK}: `toombos export systemd` writes it again; changes are overwritten.\n"


def _target(system: ExportedSystem) -> str:
    wanted = "".join(f"Wants={_unit(system, s.name)}\n" for s in system.services if not s.service.optional)
    return (
        f"{_head()}# Starting or stopping it starts or stops the whole system.\n"
        f"[Unit]\nDescription={timers.plain(system.manifest.name)}\n"
        f"{wanted}After=network.target\n\n[Install]\nWantedBy=multi-user.target\n"
    )


def _unit(system: ExportedSystem, service: str) -> str:
    return f"{system.name}-{service}.service"


def _service(system: ExportedSystem, exported: ExportedService, user: str) -> str:
    service = exported.service
    lines = [
        _head().rstrip("\n"),
        "[Unit]",
        f"Description={timers.plain(f'{system.manifest.name}: {service.label}')}",
        f"PartOf={system.name}.target",
        *_dependencies(system, service),
        *_start_limit(service),
        "",
        "[Service]",
        *(_task(service) if service.is_task else _running(system, service)),
        f"WorkingDirectory={_path(service.cwd)}",
        f"User={service.user or user}",
        *([f"Group={service.group}"] if service.group else []),
        "# Variables, weakest first: defaults, env files, those of toombos.toml, the mode that mode.env links to.",
        *_variables(system, exported),
        f"ExecStart={_command(service)}",
        *([f"ExecStop={_words(service.stop_command)}"] if service.stop_command else []),
        f"KillMode={_kill_mode(service)}",
        f"KillSignal=SIG{service.stop_signal}",
        f"TimeoutStopSec={plain_number(service.grace_period_s)}",
        "# The same file as under toombos: `toombos logs` and `toombos diagnose` read it.",
        f"StandardOutput=append:{_path(service.log)}",
        f"StandardError=append:{_path(service.log)}",
        *([f"MemoryMax={service.limits.memory_restart_mb}M"] if service.limits.memory_restart_mb else []),
        "# Hardening that harms no server; add ProtectHome= or ProtectSystem=strict where your service allows it.",
        *_HARDENING,
        *_private_tmp(service),
    ]
    return "\n".join(lines) + "\n"


def _kill_mode(service: Service) -> str:
    """Return whom the stop signal reaches: the leader, which knows its workers best, but everyone behind a shell."""
    return "control-group" if Path(service.command[0]).name in _SHELLS else "mixed"


def _task(service: Service) -> list[str]:
    return [
        "Type=oneshot",
        "# It counts as active after it has succeeded, so that what depends on it may start.",
        "RemainAfterExit=yes",
        f"TimeoutStartSec={f'{plain_number(service.timeout_s)}' if service.timeout_s else 'infinity'}",
    ]


def _running(system: ExportedSystem, service: Service) -> list[str]:
    lines = ["Type=exec"]
    limit_s = service.startup_timeout_s
    if service.listens:
        asked = own_argv(
            system.manifest.project, "--quiet", "health", service.name, "--wait", f"{plain_number(limit_s)}"
        )
        lines += [
            "# The unit is active, and what depends on it starts, once the service is ready.",
            f"ExecStartPost={' '.join(map(timers.quoted, asked))}",
        ]
    lines += [
        f"TimeoutStartSec={plain_number(limit_s + service.probe_timeout_s + 10)}",
        f"Restart={_RESTART[service.restart.policy]}",
        f"RestartSec={plain_number(service.restart.backoff_initial_s)}",
    ]
    if service.exit_codes_of_invalid_configuration:
        codes = " ".join(map(str, service.exit_codes_of_invalid_configuration))
        lines.append(f"RestartPreventExitStatus={codes}")
    return lines


def _start_limit(service: Service) -> list[str]:
    if service.is_task:
        return []
    restart = service.restart
    return [
        f"StartLimitIntervalSec={plain_number(restart.crash_loop_window_s)}",
        f"StartLimitBurst={restart.crash_loop_count}",
    ]


def _dependencies(system: ExportedSystem, service: Service) -> Iterator[str]:
    """Yield the lines for what it depends on; a dependency that need only be started is not waited for."""
    for name in service.depends_on:
        unit = _unit(system, name)
        if service.waits_for(name) == "started":
            yield f"Wants={unit}"
        else:
            yield from (f"Requires={unit}", f"After={unit}")
        if service.restarts_with(name):
            yield f"PartOf={unit}"


def _variables(system: ExportedSystem, exported: ExportedService) -> Iterator[str]:
    for name, value in exported.defaults.items():
        yield f"Environment={_assignment(f'{name}={value}')}"
    for file in exported.env_files:
        optional = "-" if file.endswith(OPTIONAL) else ""
        yield f"EnvironmentFile={optional}{_path(str(system.manifest.project / file.removesuffix(OPTIONAL)))}"
    if system.clear_secrets is not None:
        yield f"EnvironmentFile={_path(str(system.output / 'secrets.env'))}"
    if any(not names_in((value,)) for value in exported.settings.values()):
        yield f"EnvironmentFile={_path(str(system.output / f'{system.name}-{exported.name}.env'))}"
    if system.modes:
        yield f"EnvironmentFile=-{_path(str(system.output / 'mode.env'))}"


def _command(service: Service) -> str:
    return _words((_program(service) or service.command[0], *service.command[1:]))


def _program(service: Service) -> str | None:
    """Return the program with its path, None if it is not on PATH; a path is believed."""
    program = service.command[0]
    if "/" in program or names_in((program,)):
        return str(Path(service.cwd) / program)
    return find_program(program)


def _words(words: tuple[str, ...]) -> str:
    """Return a command line of a unit; a reference becomes a variable of its environment."""
    quoted = (
        spelled(word, plain=lambda text: timers.quoted(text)[1:-1], secret=lambda name: f"${{{name}}}")
        for word in words
    )
    return " ".join(f'"{word}"' for word in quoted)


def _private_tmp(service: Service) -> list[str]:
    texts = (*service.command, *service.stop_command, *service.env.values(), service.unix, service.cwd)
    shared = any(place in text for text in texts for place in _SHARED_DIRECTORIES)
    return ["# Not PrivateTmp=: it shares files below /tmp."] if shared else ["PrivateTmp=yes"]


def _path(path: str) -> str:
    return path.replace("%", "%%")


def _assignment(text: str) -> str:
    return timers.quoted(text).replace("$$", "$")


def _env_text(values: Mapping[str, str]) -> str:
    """Return a file of variables as systemd reads it."""
    return _head() + "".join(f"{name}={_env_value(value)}\n" for name, value in values.items())


def _env_value(value: str) -> str:
    escaped = re.sub(r'(["\\`$])', r"\\\1", value)
    return f'"{escaped}"'


def _left_out(service: ExportedService, *, private: bool) -> Iterator[LeftOut]:
    """Yield what only this service's unit cannot say."""
    name = service.name
    for variable, value in service.settings.items():
        inner = names_in((value,))
        if inner and inner != (variable,) and not private:
            reason = f"it holds {inner[0]}, and a file of variables refers to no other: put {variable} into .env"
            yield LeftOut(what=f"services.{name}.env.{variable}", reason=reason)
    if not service.service.listens and not service.service.is_task and service.service.health:
        reason = "toombos asks such a check only of what it started itself: the unit is active once the process runs"
        yield LeftOut(what=f"services.{name}.health", reason=reason)
