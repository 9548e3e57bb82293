"""Standard input, output and error as a parent may have left them: closed, or open for the wrong direction."""

import os
import sys

_NAMES = ("stdin", "stdout", "stderr")


def open_closed_streams() -> None:
    """Open /dev/null in place of each standard stream that is closed.

    Otherwise the next file that is opened would take its number, and with it what is printed.
    """
    for number, name in enumerate(_NAMES):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            os.set_inheritable(number, True)
            setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w", encoding="utf-8", closefd=False))


def discard_stdout() -> int:
    """Redirect stdout, whose reader has gone, so that the flush at exit does not fail too; return the exit code."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 141
