"""`logs/alerts.log`: every alert and every delivery, one JSON object per line, like the logs of the services.

It is also the log of the service `alerts`, so `toombos logs alerts` shows it and the supervisor rotates it.
"""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from toombos_cli.base.files import make_private_directory


class AlertLog:
    """Appends lines. Write errors are ignored, because alerts must go out even if the disk is full."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, level: str, message: str, **fields: Any) -> None:
        """Append one line."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = {"timestamp": now, "level": level, "logger": "toombos.alerts", "message": message} | fields
        try:
            make_private_directory(self._path.parent)
            fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return
        try:
            os.write(fd, json.dumps(line).encode() + b"\n")
        except OSError:
            return
        finally:
            os.close(fd)
