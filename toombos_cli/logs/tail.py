"""The end of a log, without reading all of it."""

import os
from pathlib import Path

from toombos_cli.base.plain_files import open_plain_file

_BLOCK_BYTES = 65_536


def last_lines(path: str, offset: int, count: int) -> tuple[str, ...]:
    """Return up to `count` last lines written at or after byte `offset`, from the whole log if it has shrunk since.

    Reads only the last 64 KiB; returns () if there is no log. Values after names that sound secret are replaced,
    because these lines go to terminals, CI logs, the state file and alerts unasked.
    """
    try:
        with open_plain_file(Path(path)) as file:
            size = os.fstat(file.fileno()).st_size
            start = offset if offset <= size else 0
            if size - start > _BLOCK_BYTES:
                start = size - _BLOCK_BYTES
            file.seek(start)
            text = file.read(_BLOCK_BYTES).decode("utf-8", "replace")
    except OSError:
        return ()
    from toombos_cli.base.redaction import (
        Redactor,  # imported late: a successful start does not need it before its services are spawned
    )

    redactor = Redactor()
    return tuple(redactor.text(line) for line in text.splitlines()[-count:])
