"""`toombos monitoring check`: would monitoring notice a problem? Files, targets, metrics, rules and panels."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from toombos_cli.base.errors import OperationError
from toombos_cli.base.fixes import here, toombos
from toombos_cli.base.results import WRONG, Verdict
from toombos_cli.manifest.model import Manifest
from toombos_cli.monitoring import grafana
from toombos_cli.monitoring.check_metrics import Exports, judge_left_out, judge_metrics, judge_services, read_exports
from toombos_cli.monitoring.check_prometheus import judge_prometheus
from toombos_cli.monitoring.dashboards import dashboards
from toombos_cli.monitoring.files import content_of, directory_of, generate, promtool_complaint, without
from toombos_cli.monitoring.reports import CheckItem, MonitoringCheckReport
from toombos_cli.probes import is_ready
from toombos_cli.project.service_probe import ask_service, why_not_known

_PAUSE_S = 1.0


def run_check(manifest: Manifest, *, wait_s: float = 0.0) -> MonitoringCheckReport:
    """Judges the files, what the services export, and the running Prometheus, for `wait_s` until all is well.

    What time does not mend is not waited for. Raises ConfigurationError.
    """
    deadline = time.monotonic() + wait_s
    report = _judged(manifest)
    while any(map(_may_come, report.items)) and time.monotonic() < deadline:
        time.sleep(_PAUSE_S)
        report = _judged(manifest)
    return report


def _may_come(item: CheckItem) -> bool:
    """Return whether the item may be well a little later: a file, or what a service exports, does not change so."""
    is_wrong = item.verdict in (Verdict.FAIL, Verdict.ERROR)
    return item.not_yet or (is_wrong and item.group not in ("files", "metrics"))


def _judged(manifest: Manifest) -> MonitoringCheckReport:
    if manifest.place is not None:
        return _judged_at_a_place(manifest)
    exports = read_exports(manifest)
    items = [
        *_files(manifest),
        *judge_services(manifest, exports),
        *judge_metrics(manifest, exports),
        *judge_left_out(manifest),
        *judge_prometheus(manifest, exports),
        *_alertmanager(manifest, exports),
        *_grafana(manifest),
    ]
    return MonitoringCheckReport(items=tuple(items))


def _judged_at_a_place(manifest: Manifest) -> MonitoringCheckReport:
    """Judge what the services of a place export, and the Prometheus and Alertmanager that have an address there."""
    place = manifest.source.place
    absent = frozenset(name for name, service in manifest.services.items() if why_not_known(service) is not None)
    present = without(manifest, absent)
    exports = read_exports(present)
    items = [
        CheckItem(group="files", name="up to date", verdict=Verdict.SKIP, detail="not known here: files of the place"),
        *judge_services(present, exports),
        *judge_metrics(present, exports),
        *(judge_prometheus(present, exports) if "prometheus" in present.services else ()),
        *_alertmanager(present, exports),
    ]
    asked = toombos(manifest.project, "health", "--at", place).command
    hinted = tuple(replace(item, hint=asked if item.verdict in WRONG else None) for item in items)
    missed = [s for s in manifest.services.values() if s.name in absent and (s.metrics or s.role == "monitoring")]
    unknown = (
        CheckItem(group="services", name=s.name, verdict=Verdict.SKIP, detail=why_not_known(s) or "") for s in missed
    )
    return MonitoringCheckReport(items=(*hinted, *unknown), place=place)


def _files(manifest: Manifest) -> Iterator[CheckItem]:
    """Judge whether the files match the manifest, and whether promtool accepts them."""
    directory = directory_of(manifest.project)
    stale = [name for name, text in generate(manifest).items() if content_of(directory / name) != text]
    yield CheckItem(
        group="files",
        name="up to date",
        verdict=Verdict.WARN if stale else Verdict.PASS,
        detail=f"out of date: {', '.join(stale)}" if stale else str(directory),
        hint=here("monitoring", "reload") if stale else None,
    )
    yield promtool_item(directory)


def promtool_item(directory: Path) -> CheckItem:
    """Return what `promtool check config` says about the generated files; SKIP if there is no promtool."""
    name = "promtool check config"
    if not (directory / "prometheus.yml").exists():
        return CheckItem(group="files", name=name, verdict=Verdict.SKIP, detail="there is no prometheus.yml yet")
    complaint = promtool_complaint(directory)
    if complaint is None:
        return CheckItem(group="files", name=name, verdict=Verdict.SKIP, detail="promtool is not installed")
    return CheckItem(
        group="files", name=name, verdict=Verdict.FAIL if complaint else Verdict.PASS, detail=complaint or ""
    )


def _alertmanager(manifest: Manifest, exports: Exports) -> Iterator[CheckItem]:
    service = manifest.services.get("alertmanager")
    if service is not None:
        response = ask_service(manifest, service)
        up = is_ready(response.reason, response.cause)
        yield CheckItem(
            group="alertmanager",
            name="responds",
            verdict=Verdict.PASS if up else Verdict.FAIL,
            detail=response.detail,
            hint=None if up else here("monitoring", "up"),
            explained_by=None if up else exports.causes.get("alertmanager"),
        )


def _grafana(manifest: Manifest) -> Iterator[CheckItem]:
    """Judge whether Grafana responds and has both dashboards."""
    if "grafana" not in manifest.services:
        return
    try:
        found = grafana.provisioned_dashboards(manifest)
    except OperationError as error:
        problem = error.problems[0]
        yield CheckItem(
            group="grafana", name="responds", verdict=Verdict.FAIL, detail=problem.message, hint=problem.hint
        )
        return
    for dashboard in dashboards(manifest):
        present = dashboard.uid in found
        yield CheckItem(
            group="grafana",
            name=f"dashboard {dashboard.uid}",
            verdict=Verdict.PASS if present else Verdict.FAIL,
            detail="" if present else "Grafana does not have it",
            hint=None if present else here("monitoring", "restart"),
        )
