"""The options that more than one command takes, declared once."""

from collections.abc import Callable
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
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print problems only.", rich_help_panel=_GLOBAL)]
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

Github = Annotated[
    bool | None,
    typer.Option(
        "--github/--no-github",
        help="Print annotations for GitHub Actions; by default in its steps.",
        show_default=False,
    ),
]


def complete(kind: str) -> Callable[[typer.Context, str], list[str]]:
    """Return what completes an option or an argument in a shell: a kind of names of `toombos_cli.cli.completion`."""

    def names(ctx: typer.Context, incomplete: str) -> list[str]:
        from toombos_cli.cli.completion import names_of

        return names_of(kind, ctx, incomplete)

    return names


Mode = Annotated[
    str | None,
    typer.Option(
        "--mode",
        metavar="NAME",
        help="Use this mode of the manifest ([modes.NAME]).",
        show_default=False,
        autocompletion=complete("mode"),
    ),
]
At = Annotated[
    str | None,
    typer.Option(
        "--at",
        metavar="PLACE",
        help="Ask the system at this place of the manifest ([places.NAME]).",
        show_default=False,
        autocompletion=complete("place"),
    ),
]
Places = Annotated[
    list[str] | None,
    typer.Option(
        "--at",
        metavar="PLACE",
        help="Ask the system at this place of the manifest ([places.NAME]); may be repeated; all: every place.",
        show_default=False,
        autocompletion=complete("places"),
    ),
]
Hosts = Annotated[
    str | None,
    typer.Option(
        "--hosts",
        metavar="HOST,...",
        help="Run it on these hosts of the manifest ([hosts.NAME]) over SSH; all: every host.",
        show_default=False,
        autocompletion=complete("hosts"),
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
        autocompletion=complete("service"),
    ),
]
