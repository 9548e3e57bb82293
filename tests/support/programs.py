"""Programs on this machine that a test may need, and the rights to run them with."""

import os
import shutil
from pathlib import Path

import pytest

REQUIRE_ALL = os.environ.get("TOOMBOS_REQUIRE_ALL") == "1"


def needs(program: str, *, search: tuple[str, ...] = ()) -> str:
    """Return the path of `program`, or skip the test; with TOOMBOS_REQUIRE_ALL=1 fail it if the program is absent."""
    found = shutil.which(program) or next((str(p) for d in search for p in Path("/").glob(f"{d}/{program}")), None)
    if found:
        return found
    message = f"{program} is not installed"
    if REQUIRE_ALL:
        pytest.fail(message)
    pytest.skip(message)


def obeying_file_modes() -> tuple[str, ...]:
    """Return the start of a command that runs without root's right to read and write every file."""
    if os.geteuid() != 0:
        return ()
    rights = "-dac_override,-dac_read_search"
    return (needs("setpriv"), f"--bounding-set={rights}", f"--inh-caps={rights}")
