"""`toombos help`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from toombos_cli.base.errors import UsageError
from toombos_cli.base.fixes import here
from toombos_cli.base.pages import PageReport, page_titles, pages_directory
from toombos_cli.cli import options
from toombos_cli.cli.invocation import Invocation, command


@command
def help_(
    invocation: Invocation,
    context: typer.Context,
    topic: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TOPIC]...",
            show_default=False,
            help="A command with its subcommand, or a page; NAME.md is always a page.",
            autocompletion=options.complete("topic"),
        ),
    ] = None,
    man: Annotated[
        Path | None,
        typer.Option("--man", metavar="DIR", help="Write the man pages to this directory.", show_default=False),
    ] = None,
) -> None:
    """Show the help of a command, or a page of the documentation."""
    root = context.find_root()
    if man is not None:
        from toombos_cli.cli.man_pages import write_man_pages

        invocation.finish(PageReport(topic="man", page=None, text="\n".join(map(str, write_man_pages(root, man)))))
    words = topic or []
    if not words:
        pages = "".join(f"  {name:20}{title}\n" for name, title in page_titles().items())
        text = f"{root.get_help()}\n\nPages (toombos help NAME):\n{pages}"
        invocation.finish(PageReport(topic="", page=None, text=text))
    found = None if words[-1].endswith(".md") else _help_of(root, words)
    invocation.finish(PageReport(topic=" ".join(words), page=None, text=found) if found else _page(root, words))


def _help_of(root: Any, words: list[str]) -> str | None:
    """Return the help of a command, or None if there is none of that name."""
    context = root
    for word in words:
        group = context.command
        found = group.get_command(context, word) if hasattr(group, "list_commands") else None
        if found is None:
            return None
        context = type(root)(found, info_name=word, parent=context)
    return str(context.get_help())


def _page(root: Any, words: list[str]) -> PageReport:
    """Return a page of the documentation. Raises UsageError, which suggests the nearest topic."""
    name = " ".join(words)
    titles = page_titles()
    stem = Path(name).name.removesuffix(".md")
    if stem not in titles:
        from toombos_cli.base.spelling import nearest

        meant = nearest(name, (*root.command.list_commands(root), *titles))
        raise UsageError(f"no command or page is named {name!r}", hint=here("help", *([meant] if meant else [])))
    path = pages_directory() / f"{stem}.md"
    return PageReport(topic=stem, page=path, text=path.read_text("utf-8"))
