"""Every option that more than one command takes, declared once."""

import os
from pathlib import Path
from typing import Annotated

import typer

_GLOBAL = "Global options"

Project = Annotated[
    Path | None,
    typer.Option(
        "--project",
        metavar="DIR",
        envvar="TOOMBOS_PROJECT",
        readable=False,  # it need not be listed, and what is wrong with it is told in our own words
        help="Project directory; by default the nearest one upward that has a toombos.toml or .env.",
        rich_help_panel=_GLOBAL,
        show_default=False,
    ),
]
Json = Annotated[
    bool, typer.Option("--json", envvar="TOOMBOS_JSON", help="Print one JSON document.", rich_help_panel=_GLOBAL)
]
NoColor = Annotated[bool, typer.Option("--no-color", help="No colours (NO_COLOR too).", rich_help_panel=_GLOBAL)]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show more detail.", rich_help_panel=_GLOBAL)]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Only what is wrong.", rich_help_panel=_GLOBAL)]
StartTimeout = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        min=0.1,
        metavar="SECONDS",
        help="Give up after so long; by default each service's startup_timeout_s counts.",
        show_default=False,
    ),
]
Strict = Annotated[bool, typer.Option("--strict", help="A warning, or nothing to judge, counts as a failure (exit 1).")]


def complete_service(incomplete: str) -> list[str]:
    """The project's services that begin so, for the shell's completion; none where the manifest is invalid."""
    from toombos_cli.base.errors import ToombosError
    from toombos_cli.manifest.reading.loader import load_manifest
    from toombos_cli.project.find import find_project

    project = os.environ.get("TOOMBOS_PROJECT")
    try:
        services = load_manifest(Path(project) if project else find_project(Path.cwd())).services
    except (ToombosError, OSError):
        return []
    return [name for name in services if name.startswith(incomplete)]


Services = Annotated[
    list[str] | None,
    typer.Argument(metavar="[SERVICE]...", show_default=False, help="Default: all.", autocompletion=complete_service),
]
