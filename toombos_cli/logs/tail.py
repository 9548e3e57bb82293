"""The end of a log, read without reading the log."""

import os

_BLOCK_BYTES = 65_536


def last_lines(path: str, offset: int, count: int) -> tuple[str, ...]:
    """At most `count` last lines that were written at or after byte `offset`; all lines when the log has shrunk since.

    Looks at the last 64 KiB alone; () when there is no log. What stands behind a name that sounds secret is replaced:
    these lines reach terminals, CI logs, the state file and alerts, unasked-for.
    """
    try:
        with open(path, "rb") as file:  # noqa: PTH123  (a plain path string from the manifest)
            size = os.fstat(file.fileno()).st_size
            start = offset if offset <= size else 0
            if size - start > _BLOCK_BYTES:
                start = size - _BLOCK_BYTES
            file.seek(start)
            text = file.read(_BLOCK_BYTES).decode("utf-8", "replace")
    except OSError:
        return ()
    from toombos_cli.base.redaction import (
        Redactor,  # a start that goes well needs it not before its services are spawned
    )

    redactor = Redactor()
    return tuple(redactor.text(line) for line in text.splitlines()[-count:])
