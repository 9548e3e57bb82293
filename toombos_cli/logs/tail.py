"""The end of a log, without reading all of it."""

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from toombos_cli.base.plain_files import open_plain_file

_BLOCK_BYTES = 65_536
_LINES_OF_KEY = 40
"""The lines before the first one that is wanted which may hold the beginning of a private key."""


def last_lines(
    path: str, offset: int, count: int, environment: Mapping[str, str] = MappingProxyType({})
) -> tuple[str, ...]:
    """Return up to `count` last lines written at or after byte `offset`, from the whole log if it has shrunk since.

    Blank lines are left out.

    Reads only the last 64 KiB; returns () if there is no log. Secrets, also those in the service's `environment`, are
    replaced, because these lines go to terminals, CI logs, the state file and alerts unasked.
    """
    try:
        with open_plain_file(Path(path)) as file:
            size = os.fstat(file.fileno()).st_size
            start = offset if offset <= size else 0
            if size - start > _BLOCK_BYTES:
                start = size - _BLOCK_BYTES
            file.seek(start)
            lines = file.read(_BLOCK_BYTES).split(b"\n")
    except OSError:
        return ()
    # imported late: a successful start does not need it before its services are spawned
    from toombos_cli.base.redaction import Redactor, secrets_of
    from toombos_cli.logs.lines import text_of

    redactor = Redactor(secrets_of(environment))
    lines = [line for line in lines if line.strip()]  # a rotation leaves a line of blanks at the head
    return tuple(redactor.text(text_of(line)) for line in lines[-(count + _LINES_OF_KEY) :])[-count:]
