"""The real `toombos` on a terminal with a known width."""

import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios
from collections.abc import Mapping
from pathlib import Path

from tests.support.runner import TOOMBOS


def on_a_terminal(*args: str, cwd: Path, width: int, env: Mapping[str, str], until: str | None = None) -> str:
    """Return what `toombos ARGS` prints on a terminal; the command gets a Ctrl-C once the output contains `until`."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    clean = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "TERM", "COLUMNS", "LINES")}
    process = subprocess.Popen(
        [*TOOMBOS, *args], cwd=cwd, env=clean | dict(env), stdout=theirs, stderr=theirs, stdin=theirs
    )
    os.close(theirs)
    text = b""
    while True:
        try:
            chunk = os.read(ours, 65536)
        except OSError:  # Linux: the other side is closed
            break
        if not chunk:
            break
        text += chunk
        if until is not None and until in text.decode("utf-8", "replace"):
            process.send_signal(signal.SIGINT)
            until = None
    os.close(ours)
    code = process.wait(30)
    assert until is None
    if code == 130:
        assert b"\x1b[?1049l" in text  # the alternate screen was left
    return text.decode().replace("\r\n", "\n")
