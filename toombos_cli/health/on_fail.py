"""The operator's own command for a failed check (`--on-fail`)."""

import shlex
import subprocess

from toombos_cli.base.errors import OperationError, UsageError

_STDERR = 2


def parse_command(text: str) -> tuple[str, ...]:
    """Split a command line into an argv, without a shell. Raise UsageError if it is empty or has an open quote."""
    try:
        argv = tuple(shlex.split(text))
    except ValueError as error:
        raise UsageError(
            f"--on-fail is not a command: {str(error).lower()}", hint="quote it as for the shell"
        ) from None
    if not argv:
        raise UsageError("--on-fail is empty", hint="--on-fail 'notify-send toombos'")
    return argv


def raise_alarm(argv: tuple[str, ...], document: str, *, timeout_s: float = 60) -> None:
    """Run the command with `document` on its stdin; its output goes to our stderr.

    Raise OperationError if it cannot be started, fails, or takes longer than `timeout_s` (it is then killed): a lost
    alarm must not go unnoticed.
    """
    try:
        done = subprocess.run(argv, input=document.encode(), stdout=_STDERR, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        raise OperationError(f"--on-fail {argv[0]} did not end within {timeout_s:g} s and was killed") from None
    except OSError as error:
        raise OperationError(f"--on-fail {argv[0]} could not be started: {error.strerror}") from None
    if done.returncode != 0:
        raise OperationError(f"--on-fail {argv[0]} failed with exit code {done.returncode}")
