"""`logs/alerts.log`: every alert and every delivery, one JSON object per line, like the logs of the services.

It is also the log of the service `alerts`, so `toombos logs alerts` shows it and the supervisor rotates it.
"""

import contextlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from toombos_cli.base.files import append_line


class AlertLog:
    """Appends lines. Write errors are ignored, because alerts must go out even if the disk is full."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, level: str, message: str, **fields: Any) -> None:
        """Append one line."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = {"timestamp": now, "level": level, "logger": "toombos.alerts", "message": message} | fields
        with contextlib.suppress(OSError):
            append_line(self._path, json.dumps(line).encode())
