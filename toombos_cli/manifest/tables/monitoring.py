"""The manifest's `[monitoring]` table: scraping, alert thresholds, rules and dashboard panels."""

from typing import Literal

from toombos_cli.manifest.tables.alerts import Severity
from toombos_cli.manifest.tables.table import Table


class Thresholds(Table, frozen=True):
    """Values above which an alert starts; ratios are 0 to 1, and a service's `cpu_ratio` refers to one core.

    Slowness is judged from `timed_requests` requests within `rate_window_s`, the share of failures from
    `failed_requests` failures: otherwise one failure of two requests would be half.
    """

    response_time_s: float = 2.0
    timed_requests: int = 20
    error_ratio: float = 0.05
    failed_requests: int = 3
    cpu_ratio: float = 0.80
    memory_ratio: float = 0.85
    disk_ratio: float = 0.90
    restarts: int = 3
    critical_alerts: int = 10


class Patience(Table, frozen=True):
    """How many seconds a condition must hold before its alert fires."""

    service_down_s: int = 60
    all_services_down_s: int = 300
    mock_down_s: int = 900
    monitoring_down_s: int = 300
    slow_or_failing_s: int = 60
    degraded_s: int = 1800
    resources_s: int = 300


class AlertRule(Table, frozen=True):
    """An alert rule of the project; the rules derived from its services have the same form.

    `expr` is PromQL, where `$window` stands for `rate_window_s`. Each of `services` must export all metrics of the
    rule (() means any service). `command` is the first command to run; like `summary`, it is a template with labels.
    """

    name: str
    expr: str
    summary: str
    severity: Severity = Severity.P2
    for_s: int = 0
    services: tuple[str, ...] = ()
    command: str = "toombos diagnose"


class Panel(Table, frozen=True):
    """A panel of the project on one of the two dashboards; `expr` as in a rule, `unit` is a Grafana unit id."""

    title: str
    expr: str
    legend: str = ""
    unit: str = "short"
    dashboard: Literal["service-overview", "mock-services"] = "service-overview"
    services: tuple[str, ...] = ()


class Monitoring(Table, frozen=True):
    """Scraping, alert thresholds, and the project's rules and panels."""

    backend: Literal["auto", "native", "compose"] = "auto"
    scrape_interval_s: int = 15
    rate_window_s: int = 300
    """The window of rates and quantiles: at least four scrapes, so that one lost scrape does not leave them empty."""
    thresholds: Thresholds = Thresholds()
    patience: Patience = Patience()
    rules: tuple[AlertRule, ...] = ()
    panels: tuple[Panel, ...] = ()

    def expand(self, expr: str) -> str:
        """Return a rule's or panel's expression with `$window` filled in."""
        return expr.replace("$window", f"{self.rate_window_s}s")

    def __post_init__(self) -> None:
        if self.scrape_interval_s < 1:
            raise ValueError("scrape_interval_s must be at least 1")
        if self.rate_window_s < 4 * self.scrape_interval_s:
            raise ValueError("rate_window_s must be at least four times scrape_interval_s")
