"""Log lines on stdout: each after its service's name if there are several, or one JSON object per line."""

import json
from datetime import datetime
from typing import Any

from rich.text import Text

from toombos_cli.base.text import folded, printable
from toombos_cli.logs.lines import (
    TIME_AND_LEVEL_KEYS,
    entry_of,
    is_wrong_level,
    level_of,
    message_of,
    shown_on_terminal,
    timestamp_of,
)
from toombos_cli.render.formats import Output

_COLORS = ("cyan", "magenta", "green", "yellow", "blue", "red")
_LEVEL_STYLES = {"WARN": "yellow", "WARNING": "yellow", "DEBUG": "dim", "TRACE": "dim"}


class LinePrinter:
    """Prints log lines as they arrive. On a terminal, a JSON line is shown as time, level, message, and the rest."""

    def __init__(self, output: Output, services: tuple[str, ...], *, as_json: bool = False) -> None:
        self._console = output.stdout
        self._json = as_json
        self._width = max(map(len, services), default=0) if len(services) > 1 else 0
        self._colors = {name: _COLORS[i % len(_COLORS)] for i, name in enumerate(services)}

    def show(
        self, service: str, line: str, timestamp: datetime | None = None, event: dict[str, Any] | None = None
    ) -> None:
        """Print one line; a service's control characters do not reach the terminal. `event` is as in LogLine."""
        line = shown_on_terminal(line)
        if self._json:
            moment = timestamp.isoformat() if timestamp else None
            self._console.file.write(
                json.dumps({"service": service, "timestamp": moment, "line": line, "event": event}) + "\n"
            )
            return
        if not self._console.is_terminal:
            head = f"{service:<{self._width}} | " if self._width else ""
            self._console.file.write(f"{head}{printable(line)}\n")
            return
        if self._width:
            self._console.print(f"{service:<{self._width}} | ", style=self._colors.get(service, ""), end="")
        if event is not None:
            self._console.print(Text(printable(line), style="dim"), soft_wrap=True)
            return
        entry = entry_of(line)
        message = message_of(entry)
        if entry is None or message is None:
            self._console.out(printable(line), highlight=False)
        else:
            self._console.print(_summary(entry, message, timestamp_of(line)), soft_wrap=True, highlight=False)

    def flush(self) -> None:
        """Flush the printed lines."""
        self._console.file.flush()


def _summary(entry: dict[str, object], message: tuple[str, str], moment: datetime | None) -> Text:
    """Return time, level and message of a JSON line, then every other value as `key=value`, dim."""
    key, said = message
    level = level_of(entry) or ""
    text = Text()
    if moment is not None:
        text.append(f"{moment.astimezone():%H:%M:%S} ", style="dim")
    if level:
        text.append(f"{level:<5} ", style=_LEVEL_STYLES.get(level, "bold red" if is_wrong_level(level) else ""))
    text.append(folded(said))
    for name, value in entry.items():
        if name not in (key, *TIME_AND_LEVEL_KEYS):
            shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            text.append(f" {printable(name)}={folded(shown)}", style="dim")
    return text
