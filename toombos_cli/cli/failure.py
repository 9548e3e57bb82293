"""What the program prints when a command line fails: text, or the JSON envelope."""

import errno
import os
import sys
from collections.abc import Mapping
from typing import Any

import typer

from toombos_cli.base.errors import Problem, raised_at
from toombos_cli.base.text import printable_lines
from toombos_cli.cli.invocation import GlobalOptions, Invocation
from toombos_cli.cli.lazy_commands import load_command


def wrong_usage(error: typer.TyperException) -> Problem:
    """Return what is wrong with the command line, with the command's help as the hint."""
    message = str(getattr(error, "format_message", lambda: error)())
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "toombos"
    return Problem(message=message, hint=f"{path} --help")


def fault_of_the_machine(error: Exception) -> Problem | None:
    """Return what the operating system refused, or None if the error is a bug in the program."""
    if not isinstance(error, OSError) or error.errno not in _REFUSALS:
        return None
    where = None if error.filename is None else str(error.filename)
    return Problem(message=f"cannot be used: {error.strerror}", where=where, hint=_REFUSALS[error.errno])


_AS_OWNER, _ROOM, _FILES = "run it as the owner of the project", "df -h .", "ulimit -n"
_REFUSALS = {
    errno.EACCES: _AS_OWNER,
    errno.EPERM: _AS_OWNER,
    errno.EROFS: "findmnt -o TARGET,OPTIONS -T .",
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EMFILE: _FILES,
    errno.ENFILE: _FILES,
}


def bug(error: Exception) -> Problem:
    """Return the problem with the error's type and place. Its message is left out: it may quote a secret."""
    if os.environ.get("TOOMBOS_DEBUG"):
        import traceback

        sys.stderr.write(printable_lines("".join(traceback.format_exception(error))))
    return Problem(
        message=f"a bug in toombos: {type(error).__name__}",
        where=raised_at(error),
        hint="run it again with TOOMBOS_DEBUG=1 to get the traceback, and report it",
    )


def fail(argv: list[str], targets: Mapping[str, str], code: int, *problems: Problem) -> int:
    """Print the problems on stderr, or the JSON envelope on stdout if JSON was asked for; return the code."""
    argv = argv[: argv.index("--")] if "--" in argv else argv  # what follows is not ours
    wants_json = "--json" in argv or bool(os.environ.get("TOOMBOS_JSON"))
    asked = GlobalOptions(json=wants_json, no_color="--no-color" in argv)
    invocation = Invocation(command=_command_of(argv, targets) if wants_json else "", options=asked)
    if wants_json:
        from toombos_cli.render.envelope import print_envelope

        print_envelope(invocation, verdict="error", exit_code=code, data={}, errors=problems)
    else:
        from toombos_cli.render.problems import print_problems

        print_problems(problems, invocation.stderr)
    if os.environ.get("GITHUB_ACTIONS") == "true":
        from toombos_cli.render.console import write_commands
        from toombos_cli.render.github import errors

        write_commands(invocation.stderr, errors(problems))
    return code


def _command_of(argv: list[str], targets: Mapping[str, str]) -> str:
    """Return the command that was called, with its subcommand, or "" if there is no such command."""
    words = iter(argv)
    command = next((word for word in words if word in targets), "")
    subcommands: Mapping[str, Any] = getattr(load_command(command, targets[command]), "commands", {}) if command else {}
    subcommand = next((word for word in words if word in subcommands), "")
    return f"{command} {subcommand}".rstrip()
