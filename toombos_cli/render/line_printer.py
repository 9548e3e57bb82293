"""Log lines on stdout: each after its service's name if there are several, or one JSON object per line."""

import json

from toombos_cli.base.text import printable
from toombos_cli.render.formats import Output

_COLORS = ("cyan", "magenta", "green", "yellow", "blue", "red")


class LinePrinter:
    """Prints log lines as they arrive."""

    def __init__(self, output: Output, services: tuple[str, ...], *, as_json: bool = False) -> None:
        self._console = output.stdout
        self._json = as_json
        self._width = max(map(len, services), default=0) if len(services) > 1 else 0
        self._colors = {name: _COLORS[i % len(_COLORS)] for i, name in enumerate(services)}

    def show(self, service: str, line: str) -> None:
        """Print one line; a service's control characters do not reach the terminal."""
        if self._json:
            self._console.file.write(json.dumps({"service": service, "line": line}) + "\n")
            return
        if not self._console.is_terminal:
            head = f"{service:<{self._width}} | " if self._width else ""
            self._console.file.write(f"{head}{printable(line)}\n")
            return
        if self._width:
            self._console.print(f"{service:<{self._width}} | ", style=self._colors.get(service, ""), end="")
        self._console.out(printable(line), highlight=False)

    def flush(self) -> None:
        """Flush the printed lines."""
        self._console.file.flush()
