"""Help in sections of plain text.

Typer's own layout needs all of rich, with its Markdown, tracebacks and syntax colours: loading that doubles the run
time of `--help`, and its frames get in the way of grep and of a pager.
"""

from collections.abc import Iterable
from typing import Any

_FIRST = ("Arguments", "Options")


def write_options(command: Any, context: Any, formatter: Any) -> None:
    """Write arguments and options; those with a `rich_help_panel` go into a section of that name."""
    sections: dict[str, list[tuple[str, str]]] = {title: [] for title in _FIRST}
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None:
            argument = parameter.param_type_name == "argument"
            title = getattr(parameter, "rich_help_panel", None) or _FIRST[not argument]
            sections.setdefault(title, []).append(record)
    for title, records in sections.items():
        if records:
            with formatter.section(title):
                formatter.write_dl(records)


def write_commands(summaries: Iterable[tuple[str, str]], formatter: Any, *, title: str = "Commands") -> None:
    """Write each command's name and its whole summary."""
    with formatter.section(title):
        formatter.write_dl([*summaries])


def write_guide(page: str, examples: Iterable[tuple[str, str]], formatter: Any) -> None:
    """Write command lines with what each does, and how to read the page that explains more."""
    if examples:
        with formatter.section("Examples"):
            formatter.write_dl([*examples])
    formatter.write_paragraph()
    formatter.write_text(f"Page: toombos help {page}.md")


def summary(command: Any) -> str:
    """Return the first sentence of a command's help."""
    return str(command.get_short_help_str(limit=1000))


def make_plain(command: Any) -> None:
    """Apply this layout to a command, and to all commands of a group."""
    subcommands = getattr(command, "commands", {})

    def format_options(context: Any, formatter: Any) -> None:
        write_options(command, context, formatter)
        if subcommands:
            write_commands([(name, summary(sub)) for name, sub in subcommands.items() if not sub.hidden], formatter)
        from toombos_cli.cli.examples import GUIDES

        guide = GUIDES[context.command_path.partition(" ")[2]]
        write_guide(guide.page, guide.examples, formatter)

    command.format_options = format_options
    for sub in subcommands.values():
        make_plain(sub)
