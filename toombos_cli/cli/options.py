"""The options that more than one command takes, declared once."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from toombos_cli.manifest.model import Manifest

_GLOBAL = "Global options"

Project = Annotated[
    Path | None,
    typer.Option(
        "--project",
        metavar="DIR",
        envvar="TOOMBOS_PROJECT",
        readable=False,  # it need not be listed, and `Invocation.project` reports what is wrong with it
        help="Project directory; by default the nearest one upward with a toombos.toml or .env.",
        rich_help_panel=_GLOBAL,
        show_default=False,
    ),
]
Json = Annotated[
    bool, typer.Option("--json", envvar="TOOMBOS_JSON", help="Print one JSON document.", rich_help_panel=_GLOBAL)
]
NoColor = Annotated[
    bool, typer.Option("--no-color", help="Print without colours (as NO_COLOR).", rich_help_panel=_GLOBAL)
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show more detail.", rich_help_panel=_GLOBAL)]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only what is wrong.", rich_help_panel=_GLOBAL)]
StartTimeout = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        min=0.1,
        metavar="SECONDS",
        help="Give up after this time; default: each service's startup_timeout_s.",
        show_default=False,
    ),
]
Strict = Annotated[
    bool, typer.Option("--strict", help="Treat a warning, or having nothing to check, as a failure (exit 1).")
]


def complete_service(incomplete: str) -> list[str]:
    """Return the project's services and groups with this prefix; none if the manifest is invalid."""
    from toombos_cli.cli.service_names import groups_of

    manifest = _manifest_to_complete()
    known = (*manifest.services, *groups_of(manifest.services)) if manifest else ()
    return [name for name in known if name.startswith(incomplete)]


def complete_task(incomplete: str) -> list[str]:
    """Return the project's tasks with this prefix, for shell completion; none if the manifest is invalid."""
    manifest = _manifest_to_complete()
    services = manifest.services.values() if manifest else ()
    return [service.name for service in services if service.is_task and service.name.startswith(incomplete)]


def _manifest_to_complete() -> "Manifest | None":
    from toombos_cli.base.errors import ToombosError
    from toombos_cli.manifest.reading.loader import load_manifest
    from toombos_cli.project.find import find_project, refuse_untrusted

    given = os.environ.get("TOOMBOS_PROJECT")
    try:
        project = Path(given).resolve() if given else find_project(Path.cwd())
        refuse_untrusted(project)
        return load_manifest(project)
    except (ToombosError, OSError):
        return None


def complete_mode(incomplete: str) -> list[str]:
    """Return the project's modes with this prefix, for shell completion; none if the manifest is invalid."""
    manifest = _manifest_to_complete()
    return [name for name in (manifest.modes if manifest else ()) if name.startswith(incomplete)]


Mode = Annotated[
    str | None,
    typer.Option(
        "--mode",
        metavar="NAME",
        help="Use this mode of the manifest ([modes.NAME]).",
        show_default=False,
        autocompletion=complete_mode,
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Use dry-run mode (--mode dry_run).")]
Preview = Annotated[bool, typer.Option("--preview", "--dry-run", help="Show what would change; change nothing.")]
Services = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[SERVICE]...",
        show_default=False,
        help="Services or @groups; default: all.",
        autocompletion=complete_service,
    ),
]
