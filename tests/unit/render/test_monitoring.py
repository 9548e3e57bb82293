"""The output of `toombos monitoring` on a narrow terminal, without repetitions."""

import io
from dataclasses import dataclass, field

from rich.console import Console

from toombos_cli.base.results import Verdict
from toombos_cli.monitoring.reports import CheckItem, MonitoringCheckReport, MonitoringReport, MonitoringRow
from toombos_cli.render.text import monitoring


def console(width: int) -> Console:
    return Console(file=io.StringIO(), width=width, highlight=False, markup=False)


@dataclass
class Shown:
    """An output with the 80 columns of a terminal."""

    stdout: Console = field(default_factory=lambda: console(80))
    stderr: Console = field(default_factory=lambda: console(80))
    verbose: bool = False

    def text(self, name: str = "stdout") -> str:
        stream = getattr(self, name).file
        return stream.getvalue()


def row(name: str, state: str, detail: str = "", hint: str | None = None) -> MonitoringRow:
    return MonitoringRow(name=name, state=state, url="http://127.0.0.1:9093", pid=1234567, detail=detail, hint=hint)


def test_no_name_state_or_pid_is_cut_off_at_80_columns():
    shown = Shown()
    detail = "connection to 127.0.0.1:9093 refused: nothing listens there"
    rows = (row("alertmanager", "down", detail, "toombos monitoring up"), row("grafana", "missing", "not installed"))
    monitoring.show(MonitoringReport(backend="native", reason="", services=rows), shown)
    lines = shown.text().splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[2].split()[:4] == ["alertmanager", "down", "1234567", "http://127.0.0.1:9093"]
    assert "".join(shown.text().split()).count("missing1234567http://127.0.0.1:9093notinstalled") == 1


def test_a_shared_hint_is_printed_once():
    shown = Shown()
    rows = tuple(row(name, "down", "refused", "toombos monitoring up") for name in ("alerts", "prometheus"))
    monitoring.show(MonitoringReport(backend="native", reason="", services=rows), shown)
    assert shown.text("stderr") == "hint: toombos monitoring up\n"

    items = [CheckItem(group="panels", name=str(n), verdict=Verdict.WARN, hint="toombos load") for n in range(3)]
    items.append(CheckItem(group="targets", name="crm", verdict=Verdict.FAIL, hint="toombos health crm"))
    monitoring.show_check(MonitoringCheckReport(items=tuple(items)), shown)
    said = [line.strip() for line in shown.text().splitlines() if "hint" in line]
    assert said == ["hint: toombos health crm", "hint: toombos load"]


def test_items_that_another_item_explains_are_counted_and_listed_on_request():
    cause = CheckItem(group="services", name="crm, platform", verdict=Verdict.ERROR, detail="nothing listens there")
    panels = [
        CheckItem(group="panels", name=f"panel {n}", verdict=Verdict.FAIL, detail="no data", explained_by=cause.name)
        for n in range(3)
    ]
    idle = [CheckItem(group="panels", name=f"idle {n}", verdict=Verdict.WARN, detail="no traffic") for n in range(3)]
    report = MonitoringCheckReport(items=(cause, *panels, *idle))
    shown = Shown()
    monitoring.show_check(report, shown)
    assert [line.rstrip() for line in shown.text().splitlines()] == [
        "VERDICT  GROUP     ITEM                DETAIL",
        "ERROR    services  crm, platform       nothing listens there",
        "WARN     panels    idle 0, and 2 more  no traffic",
        "3 more follow from that (--verbose lists them)",
        "3 FAIL, 1 ERROR, 3 WARN",
    ]
    shown = Shown(verbose=True)
    monitoring.show_check(report, shown)
    assert all(item.name in shown.text() for item in report.items)
