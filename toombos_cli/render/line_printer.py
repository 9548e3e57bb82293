"""Log lines on stdout: each behind its service's name where there are several, or one JSON object a line."""

import json

from toombos_cli.base.text import printable
from toombos_cli.render.formats import Output

_COLORS = ("cyan", "magenta", "green", "yellow", "blue", "red")


class LinePrinter:
    """Prints lines as they come."""

    def __init__(self, output: Output, services: tuple[str, ...], *, as_json: bool = False) -> None:
        self._console = output.stdout
        self._json = as_json
        self._width = max(map(len, services), default=0) if len(services) > 1 else 0
        self._colors = {name: _COLORS[i % len(_COLORS)] for i, name in enumerate(services)}

    def show(self, service: str, line: str) -> None:
        """Prints one line, whatever it holds: a service's control characters do not reach the terminal."""
        if self._json:
            self._console.file.write(json.dumps({"service": service, "line": line}) + "\n")
            return
        if self._width:
            self._console.print(f"{service:<{self._width}} | ", style=self._colors.get(service, ""), end="")
        self._console.out(printable(line), highlight=False)

    def flush(self) -> None:
        """Hands on what was printed."""
        self._console.file.flush()
