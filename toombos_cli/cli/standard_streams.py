"""Standard input, output and error as a parent may have left them: closed, or open for the wrong direction."""

import os
import sys

from toombos_cli.base.text import printable_lines

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


def fault_of_stdout() -> OSError | None:
    """Return why stdout cannot be written, or None; that its reader has gone is no fault.

    A line end is written to find out: what a failed flush has lost is not tried again.
    """
    try:
        os.write(sys.stdout.fileno(), b"\n")
    except BrokenPipeError:
        return None
    except OSError as error:
        return error
    return None


def refuse_stdout(error: OSError) -> int:
    """Say on stderr that stdout cannot be written, and discard what is left of it; return the exit code."""
    try:
        place = os.readlink(f"/proc/self/fd/{sys.stdout.fileno()}")  # noqa: PTH115  (it may be no path at all)
    except OSError:
        place = "stdout"
    discard_stdout()
    sys.stderr.write(printable_lines(f"error: {place}: cannot be written: {error.strerror}\n"))
    return 4
