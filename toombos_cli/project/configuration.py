"""Gathers what the configuration rules check: env files, the environment, the running system, Prometheus' file."""

import contextlib
import grp
import os
import pwd
import stat
from collections.abc import Mapping
from pathlib import Path

from toombos_cli.base.trust import is_noted
from toombos_cli.manifest.model import Manifest
from toombos_cli.project.backup_coverage import backups_are_used, find_gaps
from toombos_cli.project.find import is_project
from toombos_cli.settings.databases import find_databases
from toombos_cli.settings.env_file import EnvFile, parse_env_text
from toombos_cli.settings.env_files import digest, read_what_can_be
from toombos_cli.settings.facts import EXAMPLE, FileStatus, FoundFile, RunningSystem, SettingsFacts, SharedDirectory
from toombos_cli.settings.old_spellings import find_old_spellings
from toombos_cli.settings.prometheus_file import read_prometheus_file
from toombos_cli.settings.spellings import find_other_spellings
from toombos_cli.settings.values import shared_values


def gather_facts(
    manifest: Manifest, *, mode: str | None = None, environ: Mapping[str, str] | None = None, start: Path | None = None
) -> SettingsFacts:
    """Return the facts of the manifest's project. `start` is the directory where the search for the project started.

    Does not raise for a bad env file: that is a fact too.
    """
    environ = dict(os.environ) if environ is None else environ
    project = manifest.project
    env_files, failed = read_what_can_be(manifest)
    files = tuple(
        FoundFile(content=file, unreadable=failed.get(file.path), status=_file_status(file.path)) for file in env_files
    )
    databases = find_databases(manifest, env_files, mode=mode, environ=environ)
    start = (start or project).resolve()
    return SettingsFacts(
        manifest=manifest,
        mode=mode,
        env_files=env_files,
        files=files,
        file=files[0],
        env_sha256=digest(env_files),
        environ=environ,
        values=shared_values(manifest, env_files, mode=mode, environ=environ),
        example=_read_example(project),
        running=_running(project),
        prometheus=read_prometheus_file(manifest),
        old_spellings=find_old_spellings(project) if is_project(project) else (),  # a search of / takes minutes
        other_spellings=find_other_spellings(manifest, env_files, environ),
        databases=databases,
        unusable_databases={d.path: problem for d in databases if d.path and (problem := _path_problem(d.path))},
        searched=(start, *start.parents),
        is_project=is_project(project),
        user=os.geteuid(),
        shared=_shared(project, project / "run"),
        noted=is_noted(project),
        backup_gaps=find_gaps(manifest, databases) if backups_are_used(manifest) else (),
    )


def _shared(*directories: Path) -> tuple[SharedDirectory, ...]:
    """Return those of the directories that a group may write, unless only their owner is in it."""
    shared = []
    for directory in directories:
        with contextlib.suppress(OSError):
            found = directory.stat()
            if found.st_mode & stat.S_IWGRP and (group := _group_of_others(found.st_uid, found.st_gid)):
                shared.append(SharedDirectory(path=directory, group=group, mode=stat.S_IMODE(found.st_mode)))
    return tuple(shared)


def _group_of_others(user: int, group: int) -> str:
    """Return the name of the group, or "" if it is the user's own and has no other member."""
    try:
        owner, known = pwd.getpwuid(user), grp.getgrgid(group)
    except KeyError:
        return f"#{group}"
    is_private = owner.pw_gid == group and set(known.gr_mem) <= {owner.pw_name}
    return "" if is_private else known.gr_name


def _file_status(path: Path) -> FileStatus | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return FileStatus(mode=stat.S_IMODE(found.st_mode), owner=found.st_uid)


def _read_example(project: Path) -> EnvFile | None:
    try:
        return parse_env_text((project / EXAMPLE).read_text("utf-8"), project / EXAMPLE)
    except (OSError, UnicodeDecodeError):
        return None


def _running(project: Path) -> RunningSystem | None:
    from toombos_cli.project.own_processes import observed
    from toombos_cli.project.state import RUNNING, read_state

    state = read_state(project)
    if state is None:
        return None
    running = tuple(name for name, service in observed(project, state).services.items() if service.phase in RUNNING)
    return RunningSystem(services=running, env_sha256=state.env_file.sha256) if running else None


def _path_problem(path: Path) -> str:
    """Return why the directory of a SQLite file cannot be used, or "" if it can be used or created."""
    existing = next(d for d in path.parents if d.exists())
    if not existing.is_dir():
        return f"{existing} is not a directory"
    return "" if os.access(existing, os.W_OK | os.X_OK) else f"{existing} is not writable for this user"
