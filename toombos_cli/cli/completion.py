"""The names that a shell completes: services, steps, checks, archives and others, none if they cannot be read."""

import glob
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from toombos_cli.manifest.model import Manifest
from toombos_cli.manifest.tables.table import ALL


def names_of(kind: str, context: Any, begun: str) -> list[str]:
    """Return the names of one of `KINDS` that begin with what is typed."""
    if os.sep in begun and kind in _OR_FILES:
        parent, _, name = begun.rpartition(os.sep)
        return sorted(f"{parent}{os.sep}{path.name}" for path in Path(parent or os.sep).glob(f"{glob.escape(name)}*"))
    try:
        names = [*KINDS[kind](context)]
    except Exception:
        return []
    before, comma, last = begun.rpartition(",") if kind == "hosts" else ("", "", begun)
    return [f"{before}{comma}{name}" for name in names if name.startswith(last)]


def _manifest(context: Any) -> Manifest:
    """Return the manifest of the project that the line names, or of the current one."""
    from toombos_cli.manifest.reading.loader import load_manifest
    from toombos_cli.project.find import find_project, refuse_untrusted

    given = os.environ.get("TOOMBOS_PROJECT")
    while context is not None:
        given = context.params.get("project") or given
        context = getattr(context, "parent", None)
    project = Path(given).resolve() if given else find_project(Path.cwd())
    refuse_untrusted(project)
    return load_manifest(project)


def _services(context: Any) -> Iterable[str]:
    from toombos_cli.cli.service_names import groups_of

    services = _manifest(context).services
    return (*services, *groups_of(services))


def _tasks(context: Any) -> Iterable[str]:
    return (service.name for service in _manifest(context).services.values() if service.is_task)


def _steps(context: Any) -> Iterable[str]:
    from toombos_cli.smoke.plan import make_plan

    return make_plan(_manifest(context)).names


def _checks(context: Any) -> Iterable[str]:
    from toombos_cli.diagnose.checks import all_checks

    del context
    checks, _ = all_checks()
    return dict.fromkeys([*(check.group for check in checks), *(check.id for check in checks)])


def _archives(context: Any) -> Iterable[str]:
    """Return the file names of the archives, newest first; none of them is opened."""
    from toombos_cli.backup.directory.naming import created_at
    from toombos_cli.backup.scope import make_place

    place = make_place(_manifest(context))
    return sorted((path.name for path in place.directory.iterdir() if created_at(path.name)), reverse=True)


def _topics(context: Any) -> Iterable[str]:
    from toombos_cli.base.pages import page_titles

    root = context.find_root() if hasattr(context, "find_root") else None
    return dict.fromkeys([*(root.command.list_commands(root) if root else ()), *page_titles()])


def _severities(context: Any) -> Iterable[str]:
    from toombos_cli.manifest.tables.alerts import Severity

    del context
    return tuple(Severity)


def _troubles(context: Any) -> Iterable[str]:
    from toombos_cli.manifest.tables.escalation import Trouble

    del context
    return tuple(Trouble)


def _secrets(context: Any) -> Iterable[str]:
    """Return the names of the secrets in the env files; no value."""
    from toombos_cli.base.redaction import is_secret_name
    from toombos_cli.settings.env_files import read_env_files

    files = read_env_files(_manifest(context))
    return dict.fromkeys(name for file in files for name in file.values if is_secret_name(name))


def _paths(context: Any) -> Iterable[str]:
    """Return the names at the top of the project, which an archive has too."""
    return sorted(path.name for path in _manifest(context).project.iterdir())


def _places(context: Any) -> Iterable[str]:
    return _manifest(context).places


def _hosts(context: Any) -> Iterable[str]:
    return _manifest(context).hosts


_OR_FILES = ("archive", "path")
KINDS: dict[str, Callable[[Any], Iterable[str]]] = {
    "service": _services,
    "task": _tasks,
    "mode": lambda context: _manifest(context).modes,
    "place": _places,
    "places": lambda context: (*_places(context), ALL),
    "hosts": lambda context: (*_hosts(context), ALL),
    "step": _steps,
    "check": _checks,
    "archive": _archives,
    "job": lambda context: _manifest(context).schedule,
    "topic": _topics,
    "severity": _severities,
    "trouble": _troubles,
    "secret": _secrets,
    "variable": lambda context: sorted(os.environ),
    "path": _paths,
}
"""How the names of each kind are found."""
