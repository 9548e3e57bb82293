"""The man pages: the help of every command as roff, from the same options, texts and examples."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from toombos_cli import __version__
from toombos_cli.base.errors import OperationError
from toombos_cli.base.files import replace_file
from toombos_cli.cli.examples import GUIDES
from toombos_cli.cli.plain_help import summary


def write_man_pages(root: Any, directory: Path) -> list[Path]:
    """Write a page for the program and for each of its commands; return the files. Raises OperationError."""
    written = []
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in man_pages(root).items():
            written.append(directory / name)
            replace_file(written[-1], text.encode(), durable=False)
    except OSError as error:
        raise OperationError(f"cannot be written: {error.strerror}", where=str(directory)) from None
    return written


def man_pages(root: Any) -> dict[str, str]:
    """Return the text of each page by its file name, such as `toombos-start.1`."""
    pages = {"toombos.1": "".join(_program(root))}
    for name in root.command.list_commands(root):
        context = _below(root, name)
        pages[f"toombos-{name}.1"] = "".join(_command(context))
    return pages


def _below(context: Any, name: str) -> Any:
    return type(context)(context.command.get_command(context, name), info_name=name, parent=context)


def _program(root: Any) -> Iterator[str]:
    yield _head("toombos", root.command.help)
    yield f".SH SYNOPSIS\n.B toombos\n{_plain('[OPTIONS] COMMAND [ARGS]...')}\n"
    yield from _options(root)
    for title, summaries in root.command.sections.items():
        yield f".SH {_plain(title.upper())}\n"
        yield from (f".TP\n.BR toombos-{_plain(name)} (1)\n{_plain(text)}\n" for name, text in summaries.items())
    yield from _end(*root.command.guide, others=[])


def _command(context: Any) -> Iterator[str]:
    path = context.command_path
    yield _head(path.replace(" ", "-"), summary(context.command))
    yield from _described(context)
    guide = GUIDES[path.partition(" ")[2]]
    subcommands = getattr(context.command, "commands", {})
    examples = list(guide.examples)
    for name, command in subcommands.items():
        if not command.hidden:
            below = _below(context, name)
            yield f".SH {_plain(below.command_path.upper())}\n"
            yield from _described(below, section="SS")
            examples += GUIDES[below.command_path.partition(" ")[2]].examples
    yield from _end(guide.page, tuple(dict.fromkeys(examples)), others=["toombos"])


def _described(context: Any, *, section: str = "SH") -> Iterator[str]:
    usage = " ".join(context.command.collect_usage_pieces(context))
    yield f".{section} SYNOPSIS\n.B {_plain(context.command_path)}\n{_plain(usage)}\n"
    paragraphs = [_plain(part) for part in re.split(r"\n\s*\n", (context.command.help or "").strip())]
    yield f".{section} DESCRIPTION\n" + "\n.PP\n".join(paragraphs) + "\n"
    yield from _options(context, section=section)


def _options(context: Any, *, section: str = "SH") -> Iterator[str]:
    records = [parameter.get_help_record(context) for parameter in context.command.get_params(context)]
    yield f".{section} OPTIONS\n"
    yield from (f".TP\n.B {_plain(record[0])}\n{_plain(record[1])}\n" for record in records if record)


def _head(name: str, text: str | None) -> str:
    title = f'.TH {_plain(name.upper())} 1 "" "toombos {__version__}" "toombos"\n'
    return f"{title}.SH NAME\n{_plain(name)} \\- {_plain((text or '').strip().rstrip('.'))}\n"


def _end(page: str, examples: tuple[tuple[str, str], ...], *, others: list[str]) -> Iterator[str]:
    if examples:
        yield ".SH EXAMPLES\n"
        yield from (f".TP\n.B {_plain(line)}\n{_plain(what)}\n" for line, what in examples)
    yield f".SH EXIT STATUS\n{_plain('0: all is well. The others: toombos help exit-codes')}\n"
    also = "".join(f".BR {_plain(other)} (1),\n" for other in others)
    yield f".SH SEE ALSO\n{also}{_plain(f'toombos help {page}.md')}\n"


def _plain(text: str) -> str:
    """Return a text on one line in which nothing is a roff request."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    return re.sub(r"^\.", r"\\&.", " ".join(text.split()))
