"""How a service's command comes from the line of another tool, which a shell reads there, or nothing does."""

from toombos_cli.config.imports.draft import ServiceDraft
from toombos_cli.config.imports.node import Foreign
from toombos_cli.config.imports.shell import command_line, words_of

_UNSET = "TODO"


def run_by_shell(
    draft: ServiceDraft,
    foreign: Foreign,
    text: str,
    *,
    line: int | None,
    placeholders: dict[str, str] | None = None,
) -> None:
    """Set the command, directory and variables of a line that a shell reads. Raise ConfigurationError."""
    try:
        found = command_line(text, placeholders)
    except ValueError:
        raise foreign.problem(f"{draft.name}: the command has a quote that is not closed", line=line) from None
    draft.set("command", list(found.words))
    if found.directory:
        draft.set("cwd", found.directory)
    for name, value in found.env.items():
        draft.env[name] = value


def run_as_words(draft: ServiceDraft, foreign: Foreign, text: str, *, line: int | None) -> None:
    """Set the command of a line that is only split into words. Raise ConfigurationError."""
    try:
        words = words_of(text)
    except ValueError:
        raise foreign.problem(f"{draft.name}: the command has a quote that is not closed", line=line) from None
    if not words:
        raise foreign.problem(f"{draft.name}: the command is empty", line=line)
    draft.set("command", list(words))


def leave_command_open(draft: ServiceDraft, why: str) -> None:
    """Leave a service out of the start until a person has written its command."""
    draft.todo.append(why)
    draft.set("command", [_UNSET])
    draft.set("enabled", False, "remove this line when the command is there")
