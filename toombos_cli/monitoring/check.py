"""`toombos monitoring check`: would it notice? Files, targets, metrics, rules and panels, each claim by itself."""

import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from toombos_cli.errors import OperationError
from toombos_cli.manifest.model import Manifest
from toombos_cli.monitoring import grafana
from toombos_cli.monitoring.dashboards import DashboardSpec, PanelSpec, dashboards
from toombos_cli.monitoring.exported import exported_metrics
from toombos_cli.monitoring.files import content_of, directory_of, generate, promtool_complaint
from toombos_cli.monitoring.prometheus_api import PrometheusApi, Target
from toombos_cli.monitoring.promql import metrics_of
from toombos_cli.monitoring.reports import CheckItem, MonitoringCheckReport
from toombos_cli.monitoring.rules import alert_rules
from toombos_cli.monitoring.selectors import is_for_absent_services, scraped
from toombos_cli.probes import Reason, probe_http
from toombos_cli.results import Verdict

_DISCOVERY_S, _POLL_S = 8.0, 0.25  # Prometheus looks for new targets every 5 seconds
Exported = dict[str, frozenset[str] | str]
"""By service: the metrics that it exports, or why they cannot be read."""


def run_check(manifest: Manifest) -> MonitoringCheckReport:
    """Judges the files, what the services export, and the running Prometheus. Raises ConfigurationError."""
    exported = _read_exported(manifest)
    items = [
        *_files(manifest),
        *_metrics(manifest, exported),
        *_left_out(manifest),
        *_live(manifest, exported),
        *_alertmanager(manifest),
        *_grafana(manifest),
    ]
    return MonitoringCheckReport(items=tuple(items))


def _read_exported(manifest: Manifest) -> Exported:
    exported: Exported = {}
    for service in scraped(manifest):
        try:
            exported[service.name] = exported_metrics(service)
        except OperationError as error:
            exported[service.name] = error.problems[0].message
    return exported


def _files(manifest: Manifest) -> Iterator[CheckItem]:
    """The files on disk are those that the manifest yields now, and promtool accepts them."""
    directory = directory_of(manifest.project)
    stale = [name for name, text in generate(manifest).items() if content_of(directory / name) != text]
    yield CheckItem(
        group="files",
        name="up to date",
        verdict=Verdict.WARN if stale else Verdict.PASS,
        detail=f"not as the manifest wants them: {', '.join(stale)}" if stale else str(directory),
        hint="toombos monitoring reload" if stale else None,
    )
    yield promtool_item(directory)


def promtool_item(directory: Path) -> CheckItem:
    """What `promtool check config` says of the generated files; SKIP where there is no promtool."""
    name = "promtool check config"
    if not (directory / "prometheus.yml").exists():
        return CheckItem(group="files", name=name, verdict=Verdict.SKIP, detail="there is no prometheus.yml yet")
    complaint = promtool_complaint(directory)
    if complaint is None:
        return CheckItem(group="files", name=name, verdict=Verdict.SKIP, detail="promtool is not installed")
    return CheckItem(
        group="files", name=name, verdict=Verdict.FAIL if complaint else Verdict.PASS, detail=complaint or ""
    )


def _metrics(manifest: Manifest, exported: Exported) -> Iterator[CheckItem]:
    """Each metric that a rule or a panel reads is exported by each service that it speaks of."""
    for service, names in exported.items():
        if isinstance(names, str):
            yield CheckItem(
                group="metrics",
                name=service,
                verdict=Verdict.ERROR,
                detail=f"its metrics cannot be read: {names}",
                hint=f"toombos health {service}",
            )
    for user, expr, services in _users(manifest):
        lost = [
            f"{service} does not export {metric}"
            for metric in metrics_of(expr)
            for service in _exporters(services, metric, exported)
        ]
        unread = [service for service in services if isinstance(exported.get(service), str)]
        yield CheckItem(
            group="metrics",
            name=user,
            verdict=Verdict.FAIL if lost else Verdict.ERROR if unread and metrics_of(expr) else Verdict.PASS,
            detail="; ".join(lost) or (f"not judged for {', '.join(unread)}" if unread else ""),
            hint=_remedy(manifest, user) if lost else None,
        )


def _remedy(manifest: Manifest, user: str) -> str:
    own = {f"rule {rule.name}" for rule in manifest.monitoring.rules}
    own.update(f"panel {panel.title} ({panel.dashboard})" for panel in manifest.monitoring.panels)
    if user in own:
        return "export the metric again, or correct the rule or panel in toombos.toml"
    return (
        "have the service export it (docs/monitoring-runbook.md), or leave `metrics` out of its table in toombos.toml"
    )


def _left_out(manifest: Manifest) -> Iterator[CheckItem]:
    """Rules and panels of the manifest's own that are not generated, for their services are not there."""
    own = [(f"rule {rule.name}", rule.services) for rule in manifest.monitoring.rules]
    own += [(f"panel {panel.title}", panel.services) for panel in manifest.monitoring.panels]
    for name, services in own:
        if is_for_absent_services(services, manifest):
            yield CheckItem(
                group="metrics",
                name=name,
                verdict=Verdict.WARN,
                detail=f"left out: {', '.join(services)} is no service with metrics here",
            )


def _users(manifest: Manifest) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Name, expression and services of everything that reads metrics."""
    for rule in alert_rules(manifest):
        yield f"rule {rule.name}", rule.expr, rule.services
    for dashboard in dashboards(manifest):
        for panel in dashboard.panels:
            yield _panel_name(dashboard, panel), panel.expr, panel.services


def _exporters(services: tuple[str, ...], metric: str, exported: Exported) -> Iterable[str]:
    """The services that lack the metric; where none is named, "no service" unless one has it."""
    if services:
        for service in services:
            names = exported.get(service, frozenset())
            if not isinstance(names, str) and metric not in names:
                yield service
    elif not any(metric in names for names in exported.values() if not isinstance(names, str)):
        yield "no service"


def _live(manifest: Manifest, exported: Exported) -> Iterator[CheckItem]:
    """What the running Prometheus has: targets up, rules loaded, every panel with data."""
    api = PrometheusApi(manifest.services["prometheus"])
    try:
        targets, rules = _settled_targets(api, manifest), {rule.name: rule for rule in api.rules()}
    except OperationError as error:
        problem = error.problems[0]
        yield CheckItem(
            group="targets", name="prometheus", verdict=Verdict.ERROR, detail=problem.message, hint=problem.hint
        )
        return
    for target in targets:
        verdicts = {"up": Verdict.PASS, "unknown": Verdict.WARN}
        yield CheckItem(
            group="targets",
            name=target.job,
            verdict=verdicts.get(target.health, Verdict.FAIL),
            detail=target.last_error or ("not scraped yet" if target.health == "unknown" else target.url),
            hint=f"toombos health {target.job}" if target.last_error else None,
        )
    for service in {service.name for service in scraped(manifest)} - {target.job for target in targets}:
        yield CheckItem(
            group="targets",
            name=service,
            verdict=Verdict.FAIL,
            detail="Prometheus does not scrape it",
            hint="toombos monitoring reload",
        )
    for rule in alert_rules(manifest):
        loaded = rules.get(rule.name)
        lost = "Prometheus has not loaded it" if loaded is None else loaded.last_error
        yield CheckItem(
            group="rules",
            name=rule.name,
            verdict=Verdict.FAIL if lost else Verdict.PASS,
            detail=lost or (loaded.state if loaded else ""),
            hint="toombos monitoring reload" if lost else None,
        )
    for dashboard in dashboards(manifest):
        for panel in dashboard.panels:
            yield _panel(api, dashboard, panel)


def _settled_targets(api: PrometheusApi, manifest: Manifest) -> tuple[Target, ...]:
    """The targets, after the first seconds in which a Prometheus that was just started knows nothing."""
    wanted = {service.name for service in scraped(manifest)}
    deadline = time.monotonic() + _DISCOVERY_S + 2 * manifest.monitoring.scrape_interval_s
    while True:
        targets = api.targets()
        if wanted <= {t.job for t in targets if t.health != "unknown"} or time.monotonic() > deadline:
            return targets
        time.sleep(_POLL_S)


def _panel(api: PrometheusApi, dashboard: DashboardSpec, panel: PanelSpec) -> CheckItem:
    name = _panel_name(dashboard, panel)
    try:
        count = api.count_series(panel.expr)
    except OperationError as error:
        return CheckItem(group="panels", name=name, verdict=Verdict.FAIL, detail=error.problems[0].message)
    if count:
        return CheckItem(group="panels", name=name, verdict=Verdict.PASS, detail=f"{count} series")
    return CheckItem(
        group="panels",
        name=name,
        verdict=Verdict.WARN if panel.idle_is_empty else Verdict.FAIL,
        detail="no data yet: there was no traffic" if panel.idle_is_empty else "no data",
        hint="toombos load" if panel.idle_is_empty else "toombos monitoring status",
    )


def _panel_name(dashboard: DashboardSpec, panel: PanelSpec) -> str:
    return f"panel {panel.title} ({dashboard.uid})"


def _alertmanager(manifest: Manifest) -> Iterator[CheckItem]:
    service = manifest.services.get("alertmanager")
    if service is not None:
        answer = probe_http(service.url + service.health)
        up = answer.reason is Reason.OK
        yield CheckItem(
            group="alertmanager",
            name="answers",
            verdict=Verdict.PASS if up else Verdict.FAIL,
            detail=answer.detail,
            hint=None if up else "toombos monitoring up",
        )


def _grafana(manifest: Manifest) -> Iterator[CheckItem]:
    """Both dashboards were provisioned, as Grafana itself tells."""
    if "grafana" not in manifest.services:
        return
    try:
        found = grafana.provisioned_dashboards(manifest)
    except OperationError as error:
        problem = error.problems[0]
        yield CheckItem(
            group="grafana", name="answers", verdict=Verdict.FAIL, detail=problem.message, hint=problem.hint
        )
        return
    for dashboard in dashboards(manifest):
        present = dashboard.uid in found
        yield CheckItem(
            group="grafana",
            name=f"dashboard {dashboard.uid}",
            verdict=Verdict.PASS if present else Verdict.FAIL,
            detail="" if present else "Grafana does not have it",
            hint=None if present else "toombos monitoring restart",
        )
