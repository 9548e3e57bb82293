"""Checks of the running Prometheus: targets up, rules loaded, data in every panel."""

import time
from collections.abc import Iterator

from toombos_cli.base.errors import OperationError
from toombos_cli.base.fixes import here
from toombos_cli.base.results import Verdict
from toombos_cli.manifest.model import Manifest
from toombos_cli.monitoring.check_metrics import Exports
from toombos_cli.monitoring.dashboards import DashboardSpec, PanelSpec, dashboards
from toombos_cli.monitoring.prometheus_api import LoadedRule, PrometheusApi, PrometheusTarget
from toombos_cli.monitoring.promql import metrics_of
from toombos_cli.monitoring.reports import CheckItem
from toombos_cli.monitoring.rules import alert_rules
from toombos_cli.monitoring.selectors import scraped

_ENOUGH_SCRAPES = 3
"""After so many scrapes of a service there are rates: two samples and one that has come since."""
_DISCOVERY_S, _POLL_S = 8.0, 0.25  # Prometheus looks for new targets every 5 seconds


def judge_prometheus(manifest: Manifest, exports: Exports) -> Iterator[CheckItem]:
    """Yield everything that Prometheus can be asked, or one ERROR if it does not respond."""
    api = PrometheusApi(manifest.services["prometheus"])
    try:
        targets, rules = _settled_targets(api, manifest), {rule.name: rule for rule in api.rules()}
    except OperationError as error:
        problem = error.problems[0]
        yield CheckItem(
            group="targets",
            name="prometheus",
            verdict=Verdict.ERROR,
            detail=problem.message,
            hint=problem.hint,
            explained_by=exports.causes.get("prometheus"),
        )
        return
    yield from _targets(manifest, exports, targets)
    yield from _rules(manifest, rules)
    for dashboard in dashboards(manifest):
        for panel in dashboard.panels:
            yield _panel(api, dashboard, panel, exports, manifest.monitoring.rate_window_s)


def _settled_targets(api: PrometheusApi, manifest: Manifest) -> tuple[PrometheusTarget, ...]:
    """Return the targets, waiting for those that a Prometheus that was just started does not know yet."""
    wanted = {service.name for service in scraped(manifest)}
    deadline = time.monotonic() + _DISCOVERY_S + 2 * manifest.monitoring.scrape_interval_s
    while True:
        targets = api.targets()
        if wanted <= {t.job for t in targets if t.health != "unknown"} or time.monotonic() > deadline:
            return targets
        time.sleep(_POLL_S)


def _targets(manifest: Manifest, exports: Exports, targets: tuple[PrometheusTarget, ...]) -> Iterator[CheckItem]:
    verdicts = {"up": Verdict.PASS, "unknown": Verdict.WARN}
    for target in targets:
        yield CheckItem(
            group="targets",
            name=target.job,
            verdict=verdicts.get(target.health, Verdict.FAIL),
            detail=target.last_error or ("not scraped yet" if target.health == "unknown" else target.url),
            hint=here("health", target.job) if target.last_error else None,
            explained_by=exports.causes.get(target.job) if target.last_error else None,
        )
    for service in {service.name for service in scraped(manifest)} - {target.job for target in targets}:
        yield CheckItem(
            group="targets",
            name=service,
            verdict=Verdict.FAIL,
            detail="Prometheus does not scrape it",
            hint=here("monitoring", "reload"),
        )


def _rules(manifest: Manifest, rules: dict[str, LoadedRule]) -> Iterator[CheckItem]:
    for rule in alert_rules(manifest):
        loaded = rules.get(rule.name)
        lost = "Prometheus has not loaded it" if loaded is None else loaded.last_error
        yield CheckItem(
            group="rules",
            name=rule.name,
            verdict=Verdict.FAIL if lost else Verdict.PASS,
            detail=lost or (loaded.state if loaded else ""),
            hint=here("monitoring", "reload") if lost else None,
        )


def _panel(
    api: PrometheusApi, dashboard: DashboardSpec, panel: PanelSpec, exports: Exports, window_s: int
) -> CheckItem:
    name = panel.name_in(dashboard)
    try:
        count = api.count_series(panel.expr)
    except OperationError as error:
        return CheckItem(group="panels", name=name, verdict=Verdict.FAIL, detail=error.problems[0].message)
    read = metrics_of(panel.expr)
    able = exports.able(panel.services, read)
    if count:
        return CheckItem(group="panels", name=name, verdict=Verdict.PASS, detail=f"{count} series")
    if panel.services and not able:
        return CheckItem(group="panels", name=name, verdict=Verdict.SKIP, detail="no service exports what it reads")
    if not panel.idle_is_empty and _is_new(api, read, able, window_s):
        detail = f"not yet: it needs {_ENOUGH_SCRAPES} scrapes in the window of its rate"
        return CheckItem(group="panels", name=name, verdict=Verdict.WARN, detail=detail, not_yet=True)
    return CheckItem(
        group="panels",
        name=name,
        verdict=Verdict.WARN if panel.idle_is_empty else Verdict.FAIL,
        detail="no data yet: there was no traffic" if panel.idle_is_empty else "no data",
        hint=here("load") if panel.idle_is_empty else here("monitoring", "status"),
        explained_by=exports.cause_for(panel.services),
    )


def _is_new(api: PrometheusApi, metrics: tuple[str, ...], services: tuple[str, ...], window_s: int) -> bool:
    """Return whether Prometheus has too few samples of one of the metrics, within a window, for a rate."""
    of = f'{{service=~"{"|".join(services)}"}}' if services else ""
    enough = (f"count_over_time({metric}{of}[{window_s}s]) >= {_ENOUGH_SCRAPES}" for metric in metrics)
    return not all(map(api.count_series, enough))
