"""The screen of `toombos ui` with made-up services and no threads, always the same."""

import asyncio
import inspect
import re
from collections.abc import Awaitable, Callable
from functools import partial
from html import unescape
from pathlib import Path

from rich.text import Text
from textual.pilot import Pilot

from toombos_cli.base.fixes import name_project
from toombos_cli.cli.invocation import GlobalOptions, Invocation
from toombos_cli.project.state import Phase
from toombos_cli.supervisor.reports import ServiceRow, SupervisorRow, SystemReport
from toombos_cli.ui.app import OperationsRoom
from toombos_cli.ui.readers import WatchedSystem

PICTURE = Path(__file__).parents[2] / "docs" / "images" / "ui.svg"
_MIB = 1024 * 1024
_LOG = """\
shop     | GET /items 200 4 ms
cart     | order 4711: 2 items, total 31.80
shop     | GET /items/17 200 3 ms
-- 03:12:40 mailer exited, pid 811: exit code 1
mailer   | ERROR: connection to smtp.example:25 refused
-- 03:12:41 mailer restarted, pid 934: its process ended with exit code 1
shop     | POST /orders 201 12 ms""".splitlines()


def _row(
    name: str, phase: Phase, *, port: int | None = None, cpu: float | None = None, restarts: int = 0
) -> ServiceRow:
    runs = phase is not Phase.DONE
    return ServiceRow(
        name=name,
        kind="service" if runs else "task",
        phase=phase,
        pid=900 if runs else None,
        port=port,
        ready_after_s=0.8,
        restarts=restarts,
        cpu_percent=cpu,
        rss_bytes=48 * _MIB if runs else None,
        uptime_s=7260.0 if runs else None,
        log=f"logs/{name}.log",
        detail="",
        failure_kind=None,
        last_end=None,
        restart_history=(),
        warnings=(),
        last_lines=(),
        last_log_line="",
    )


def _report(cpu: float) -> SystemReport:
    rows = (
        _row("shop", Phase.READY, port=7001, cpu=cpu),
        _row("cart", Phase.READY, port=7002, cpu=cpu / 3),
        _row("mailer", Phase.UNHEALTHY, cpu=0.0, restarts=3),
        _row("migrate", Phase.DONE),
    )
    return SystemReport(services=rows, dry_run=False, supervisor=SupervisorRow(pid=899, alive=True))


class StillRoom(OperationsRoom):
    """The screen, which reads nothing."""

    CSS_PATH = Path(inspect.getfile(OperationsRoom)).with_name("screen.tcss")

    def __init__(self, *, light: bool = False) -> None:
        invocation = Invocation(command="ui", options=GlobalOptions(project=Path("/srv/shop")))
        super().__init__(WatchedSystem(invocation=invocation, services={}, manifest=None), light=light)
        self.animation_level = "none"

    def _read(self, kind: str, work: "partial[None]") -> None:
        """Read nothing."""

    def fill(self) -> None:
        """Show the made-up services and log, and choose one that is not healthy."""
        for cpu in (5.0, 20.0, 60.0, 35.0, 80.0, 95.0, 40.0, 10.0):
            report = _report(cpu)
            self._table.show(report)
        self._head.update(Text.assemble(("shop", "bold"), "  ", report.short))
        self._log_pane.replace(_LOG)
        self._table.move_cursor(row=self._table.get_row_index("mailer"))

    def fill_details(self) -> None:
        """Show made-up details of the chosen service."""
        self._parts = {
            "Findings of health": [Text("FAIL  mailer timeout 2001 ms")],
            "Environment": [Text("SMTP_PASSWORD=********  .env:3")],
        }
        self._show_details()

    @property
    def painted(self) -> str:
        """All that is on the screen, without blanks at the ends of lines."""
        return "\n".join(strip.text.rstrip() for strip in self.screen._compositor.render_strips()) + "\n"


def show(
    steps: Callable[[StillRoom, Pilot[int]], Awaitable[None]], *, size: tuple[int, int], light: bool = False
) -> None:
    """Show the still screen and run the steps on it."""
    name_project(None)  # which commands of other tests have set
    room = StillRoom(light=light)

    async def run() -> None:
        async with room.run_test(size=size) as pilot:
            room.fill()
            await pilot.pause()
            await steps(room, pilot)

    asyncio.run(run())


def picture() -> str:
    """Return the screen as an SVG."""
    drawn: list[str] = []

    async def draw(room: StillRoom, pilot: Pilot[int]) -> None:
        await pilot.press("slash", *"order", "enter")
        await pilot.pause()
        drawn.append(room.export_screenshot(title="toombos ui"))

    show(draw, size=(100, 24))
    return drawn[0]


def letters_of(svg: str) -> str:
    """Return the letters in an SVG, without those of its style."""
    return "".join(unescape(text) for text in re.findall(r"<text[^>]*>([^<]*)</text>", svg))
