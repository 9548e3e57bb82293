"""The mode in which the system runs: the one asked for, overridden by what the services report."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Protocol

import msgspec

from toombos_cli.base.errors import UsageError
from toombos_cli.base.fixes import here
from toombos_cli.base.quoting import quoted
from toombos_cli.manifest.model import DRY_RUN, Manifest
from toombos_cli.project.own_processes import observed
from toombos_cli.project.state import RUNNING, Phase, SystemState, read_state

if TYPE_CHECKING:
    from toombos_cli.manifest.tables.service import Service
    from toombos_cli.settings.env_files import EnvFiles
    from toombos_cli.settings.values import Value

_WANTED = RUNNING | {Phase.FAILED, Phase.CRASH_LOOP}


class RunningMode(msgspec.Struct, frozen=True, kw_only=True):
    """The mode of the running services. `name` was asked for; `dry_run` is True only if the services confirm it.

    `denied_by` are the services that were started to run dry and report that they do not. `text` is a summary for a
    person, "" if nothing runs.
    """

    name: str | None = None
    dry_run: bool = False
    denied_by: tuple[str, ...] = ()
    text: str = ""


def running_mode(
    state: SystemState | None, *, said: Mapping[str, bool | None] | None = None, knows_dry_run: bool = True
) -> RunningMode:
    """Return the mode of the system in `state`; `said` overrides what the services in the state reported.

    `knows_dry_run` is False for a manifest without the mode dry_run.
    """
    if state is None:
        return RunningMode()
    running = {name: service for name, service in state.services.items() if service.pid}
    newest = {name: service.says_dry_run for name, service in running.items()} | dict(said or {})
    dry = tuple(name for name in running if newest[name] is True)
    live = tuple(name for name in running if newest[name] is False)
    denied_by = tuple(name for name in live if running[name].wants_dry_run)
    text = _in_words(state, dry, live, denied_by, knows_dry_run=knows_dry_run) if running else ""
    return RunningMode(name=state.mode, dry_run=bool(dry) and not live, denied_by=denied_by, text=text)


def _in_words(
    state: SystemState, dry: Iterable[str], live: Iterable[str], denied_by: Iterable[str], *, knows_dry_run: bool
) -> str:
    if denied_by:
        return f"NOT in dry-run mode, although started in it: {', '.join(denied_by)}"
    if dry and live:
        return f"partly in live mode: {', '.join(live)}"
    if dry:
        return "dry-run mode" if state.mode in (None, DRY_RUN) else f"mode {state.mode}, which is dry-run"
    if state.mode == DRY_RUN or (state.dry_run and not live):
        return f"mode {DRY_RUN}, which no service confirms"
    if state.mode is not None:
        return f"mode {state.mode}"
    return "live mode" if live or (knows_dry_run and state.is_recorded) else "running"


def mode_now(manifest: Manifest) -> str | None:
    """Return the mode for which the configuration is checked: that of the system while it runs or should run.

    After a stop, and before the first start, return None (what the env files and the environment alone define), or
    dry_run if there is no env file that could ask for another mode. None at a place: nobody here has started it.
    """
    if manifest.place is not None:
        return None
    from toombos_cli.settings.env_file import ENV_FILE  # not needed by `status`
    from toombos_cli.settings.env_files import env_file_paths

    state = read_state(manifest.project)
    if state is not None and any(
        s.desired or s.phase in _WANTED for s in observed(manifest.project, state).services.values()
    ):
        return state.mode if state.mode in manifest.modes else None
    if DRY_RUN not in manifest.modes:
        return None
    files = (manifest.project / ENV_FILE, *env_file_paths(manifest))
    return None if any(path.exists() for path in files) else DRY_RUN


def chosen_mode(manifest: Manifest, name: str | None, *, dry_run: bool) -> str | None:
    """Return the mode that `--mode NAME` or `--dry-run` asks for, or None. Raises UsageError for an unknown one."""
    from toombos_cli.base.spelling import nearest

    if dry_run and name not in (None, DRY_RUN):
        raise UsageError(f"--dry-run is --mode {DRY_RUN}, but --mode {name} is given too", hint="leave one of them out")
    name = DRY_RUN if dry_run else name
    if name is None or name in manifest.modes:
        return name
    where = str(manifest.source.path) if manifest.source.path else None
    if not manifest.modes:
        raise UsageError(f"the manifest has no mode {name}: it defines none", where=where, hint="leave the option out")
    guess = nearest(name, manifest.modes)
    known = f"modes: {', '.join(manifest.modes)}"
    hint = f"did you mean {guess!r}? ({known})" if guess else f"{known}   (choose one with --mode)"
    raise UsageError(f"the manifest has no mode {name}", where=where, hint=hint)


def mode_name(state: SystemState) -> str | None:
    """Return the name of the mode in which a system runs, None for live mode."""
    return DRY_RUN if state.mode is None and state.dry_run else state.mode


def mode_of_last_start(manifest: Manifest) -> str | None:
    """Return the mode in which the system was started last; dry_run if it never was and there is that mode.

    Raises ConfigurationError if the manifest no longer has the mode.
    """
    last = read_state(manifest.project)
    mode = last.mode if last is not None else DRY_RUN if DRY_RUN in manifest.modes else None
    manifest.mode_env(mode)
    return mode


def mode_words(mode: str | None) -> tuple[str, ...]:
    """Return the words of a command line that select a mode."""
    return () if mode is None else ("--dry-run",) if mode == DRY_RUN else ("--mode", mode)


class Ran(Protocol):
    """A system that was started at some time."""

    @property
    def mode(self) -> str | None:
        """The mode that was asked for."""


def start_words(manifest: Manifest, last: Ran | None, *services: str) -> tuple[str, ...]:
    """Return the words of the command that starts services in the mode of `last`, or dry if it never ran and can."""
    mode = DRY_RUN if last is None else last.mode
    return ("start", *mode_words(mode if mode in manifest.modes else None), *services)


def asks_for_dry_run(manifest: Manifest, values: "Mapping[str, Value]", mode: str | None) -> bool:
    """Report whether a service with these values is to run dry: by the mode, or by each of the mode's variables."""
    wanted = manifest.modes[DRY_RUN].env if DRY_RUN in manifest.modes else {}
    if mode == DRY_RUN or not wanted:
        return mode == DRY_RUN
    return all(name in values and _same(values[name].value, value) for name, value in wanted.items())


class Denial(msgspec.Struct, frozen=True, kw_only=True):
    """The likely reason why a service runs live although it was started to run dry. `hint` is a command."""

    message: str
    hint: str


def explain_denial(manifest: Manifest, service: "Service", mode: str | None) -> Denial:
    """Return each variable that may have put the service into live mode, where it was set, and the next command.

    Other spellings of a name count too: readers that ignore case take the last one.
    """
    from toombos_cli.settings.env_files import read_env_files
    from toombos_cli.settings.values import Origin, effective_values

    wanted = manifest.modes[DRY_RUN].env
    env_files = read_env_files(manifest)
    values = effective_values(manifest, service, env_files, mode=mode)
    suspects = [
        found
        for name, value in wanted.items()
        for found in values.values()
        if found.name.casefold() == name.casefold() and (found.name != name or not _same(found.value, value))
    ]
    start = here("start", *mode_words(mode))
    if not suspects:
        told = ", ".join(_shown(manifest, values[name]) for name in wanted) or "no variable"
        return Denial(
            message=f"it says that it is not in dry-run mode, and was started with {told}",
            hint=here("config", "show", service.name, *mode_words(mode)),
        )
    places = ", ".join(f"{_shown(manifest, found)} ({_place(service, found, env_files)})" for found in suspects)
    hint = f"remove {', '.join(dict.fromkeys(found.name for found in suspects))}, then: {start}"
    if all(found.origin is Origin.ENVIRONMENT for found in suspects):
        hint = f"unset {' '.join(found.name for found in suspects)}; {start}"
    elif len(paths := {found.path for found in suspects}) == 1 and (path := paths.pop()) is not None:
        names = "|".join(found.name for found in suspects)
        pattern = rf"/^\s*(export\s+)?({names})\s*=/d"
        hint = f"sed -Ei {quoted(pattern)} {quoted(path)} && {start}"
    return Denial(message=f"it says that it is not in dry-run mode: it may read {places}", hint=hint)


def _shown(manifest: Manifest, found: "Value") -> str:
    from toombos_cli.settings.display import shown_manifest_value

    return f"{found.name}={shown_manifest_value(found.name, found.value, manifest.environment.get(found.name))}"


def _place(service: "Service", found: "Value", env_files: "EnvFiles") -> str:
    from toombos_cli.settings.values import Origin

    return {
        Origin.ENV_FILE: f"{found.source(env_files)}:{found.line}",
        Origin.SERVICE: f"toombos.toml, env of [services.{service.name}]",
        Origin.MANIFEST: f"toombos.toml, default_env of [services.{service.name}]",
        Origin.MODE: "toombos.toml, env of the mode",
        Origin.USER: f"toombos.toml, user of [services.{service.name}]",
        Origin.ENVIRONMENT: "environment",
        Origin.DEFAULT: "the documented default",
    }[found.origin]


def _same(value: str, wanted: str) -> bool:
    from toombos_cli.settings.values import is_true

    return is_true(value) if is_true(wanted) else value == wanted
