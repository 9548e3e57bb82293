"""The manifest's `[monitoring]` table: what is scraped how often, when that is alarming, and what is drawn."""

from typing import Literal

from toombos_cli.manifest.tables.alerts import Severity
from toombos_cli.manifest.tables.service import Table


class Thresholds(Table, frozen=True):
    """The alarm begins above these values; ratios are 0 to 1, `cpu_ratio` is of one core for a service.

    Within `rate_window_s` there must be `timed_requests` before slowness is judged, and `failed_requests` that failed
    before their share is: of two requests a single one is half.
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
    """For how many seconds a condition must hold before its alert fires."""

    service_down_s: int = 60
    all_services_down_s: int = 300
    mock_down_s: int = 900
    monitoring_down_s: int = 300
    slow_or_failing_s: int = 60
    degraded_s: int = 1800
    resources_s: int = 300


class Rule(Table, frozen=True):
    """An alert of the project's own; those that follow from its services are made of the same.

    `expr` is PromQL, in which `$window` stands for `rate_window_s`; `services` must each export all of its metrics
    (() when any service may). `command` is what whoever is told types first; its labels are filled in as in `summary`.
    """

    name: str
    expr: str
    summary: str
    severity: Severity = Severity.P2
    for_s: int = 0
    services: tuple[str, ...] = ()
    command: str = "toombos diagnose"


class Panel(Table, frozen=True):
    """A panel of the project's own on one of the two dashboards; `expr` as in a rule, `unit` is an id of Grafana's."""

    title: str
    expr: str
    legend: str = ""
    unit: str = "short"
    dashboard: Literal["service-overview", "mock-services"] = "service-overview"
    services: tuple[str, ...] = ()


class Monitoring(Table, frozen=True):
    """Scraping, alert thresholds, and the project's own rules and panels."""

    backend: Literal["auto", "native", "compose"] = "auto"
    scrape_interval_s: int = 15
    rate_window_s: int = 300
    """Rates and quantiles look back so far; at least four scrapes, or a single lost one empties them."""
    thresholds: Thresholds = Thresholds()
    patience: Patience = Patience()
    rules: tuple[Rule, ...] = ()
    panels: tuple[Panel, ...] = ()

    def expand(self, expr: str) -> str:
        """A rule's or panel's expression with `$window` filled in."""
        return expr.replace("$window", f"{self.rate_window_s}s")

    def __post_init__(self) -> None:
        if self.scrape_interval_s < 1:
            raise ValueError("scrape_interval_s must be at least 1")
        if self.rate_window_s < 4 * self.scrape_interval_s:
            raise ValueError("rate_window_s must be at least four times scrape_interval_s")
