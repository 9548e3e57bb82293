"""The table of services on the screen, with a line of the last CPU values of each."""

from collections import defaultdict, deque
from typing import TYPE_CHECKING

from rich.text import Text
from textual.widgets import DataTable

from toombos_cli.render.sparkline import sparkline
from toombos_cli.render.text.status import COLUMNS, cells

if TYPE_CHECKING:
    from toombos_cli.supervisor.reports import ServiceRow, SystemReport

ALL = ""
"""The choice of the first row, which stands for all services."""
_SHOWN = ("SERVICE", "PHASE", "CPU", "MEMORY", "RESTARTS", "PORT", "UPTIME")
_HISTORY = "LAST CPU"
_REMEMBERED = 16
_RIGHT = {column.name for column in COLUMNS if column.right}


class ServiceTable(DataTable[Text]):
    """Has one row per service; `choice` is the name in the chosen one."""

    def __init__(self, *, id: str) -> None:  # noqa: A002 (Textual's name)
        super().__init__(id=id, cursor_type="row", zebra_stripes=False)
        self.choice = ALL
        self._rows: dict[str, ServiceRow] = {}
        self._cpu: defaultdict[str, deque[float | None]] = defaultdict(lambda: deque(maxlen=_REMEMBERED))

    def on_mount(self) -> None:
        """Add the columns, and the row for all services."""
        for name in (*_SHOWN, _HISTORY):
            self.add_column(Text(name, justify="right" if name in _RIGHT else "left"), key=name)
        self.add_row(Text("(all)", style="italic"), *[Text()] * len(_SHOWN), key=ALL)

    @property
    def row_of_choice(self) -> "ServiceRow | None":
        """The status of the chosen service, or None for all services."""
        return self._rows.get(self.choice)

    def show(self, report: "SystemReport") -> None:
        """Show this status; only what has changed is drawn."""
        rows = {row.name: row for row in report.services}
        for name in self._rows.keys() - rows.keys():
            self.remove_row(name)
            self._cpu.pop(name, None)
        for name, row in rows.items():
            self._cpu[name].append(row.cpu_percent)
            texts = self._texts(row)
            if name not in self._rows:
                self.add_row(*texts, key=name)
                continue
            for column, text in zip((*_SHOWN, _HISTORY), texts, strict=True):
                if self.get_cell(name, column) != text:
                    self.update_cell(name, column, text, update_width=True)
        self._rows = rows

    def _texts(self, row: "ServiceRow") -> list[Text]:
        values = dict(zip((column.name for column in COLUMNS), cells(row), strict=True))
        texts = []
        for name in _SHOWN:
            value = values[name]
            text = value if isinstance(value, Text) else Text(value)
            text.justify = "right" if name in _RIGHT else "left"
            texts.append(text)
        known = [value or 0.0 for value in self._cpu[row.name]] if any(self._cpu[row.name]) else []
        return [*texts, Text(sparkline(tuple(known), width=_REMEMBERED))]
