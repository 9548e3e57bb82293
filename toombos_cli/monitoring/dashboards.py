"""The two dashboards, "service overview" and "mock services": panels as data, and their JSON for Grafana."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from toombos_cli.manifest.model import Manifest
from toombos_cli.monitoring.selectors import (
    HOST_DISK_RATIO,
    HOST_MEMORY_RATIO,
    Expressions,
    host_cpu_ratio,
    is_for_absent_services,
    scraped,
)

if TYPE_CHECKING:
    from grafana_foundation_sdk.models.dashboard import GridPos

DATASOURCE_UID = "toombos-prometheus"
_WIDTH, _HEIGHT, _PER_ROW = 8, 8, 3  # Grafana's grid has 24 columns


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelSpec:
    """A panel. Each of `services` must export every metric of `expr`; `limit` is drawn as a line.

    `idle_is_empty` marks panels that have no series until there was traffic.
    """

    title: str
    expr: str
    unit: str
    services: tuple[str, ...]
    legend: str = "{{service}}"
    limit: float | None = None
    idle_is_empty: bool = False

    def name_in(self, dashboard: "DashboardSpec") -> str:
        """Return the name for messages: several dashboards have a panel with the same title."""
        return f"panel {self.title} ({dashboard.uid})"


@dataclass(frozen=True, slots=True, kw_only=True)
class DashboardSpec:
    """A dashboard; `uid` is also the name of its file."""

    uid: str
    title: str
    panels: tuple[PanelSpec, ...]


def dashboards(manifest: Manifest) -> tuple[DashboardSpec, ...]:
    """Return the dashboards of this manifest, except those without a panel."""
    specs = (
        DashboardSpec(
            uid="service-overview",
            title=f"{manifest.name}: service overview",
            panels=_service_panels(manifest, "app", "mock")
            + _host_panels(manifest)
            + _own_panels(manifest, "service-overview"),
        ),
        DashboardSpec(
            uid="mock-services",
            title=f"{manifest.name}: mock services",
            panels=_service_panels(manifest, "mock") + _own_panels(manifest, "mock-services"),
        ),
    )
    return tuple(spec for spec in specs if spec.panels)


def dashboard_json(spec: DashboardSpec) -> str:
    """Return the dashboard in the JSON that Grafana imports."""
    from grafana_foundation_sdk.builders.dashboard import Dashboard
    from grafana_foundation_sdk.cog.encoder import JSONEncoder

    builder = (
        Dashboard(spec.title)
        .uid(spec.uid)
        .tags(["toombos"])
        .readonly()
        .refresh("10s")
        .time("now-1h", "now")
        .timezone("browser")
    )
    for position, panel in enumerate(spec.panels):
        builder = builder.with_panel(_graph(panel, position))
    return JSONEncoder(sort_keys=True, indent=2).encode(builder.build()) + "\n"


def _service_panels(manifest: Manifest, *roles: str) -> tuple[PanelSpec, ...]:
    names, series = _names(manifest, *roles), Expressions.of(manifest, *roles)
    limits = manifest.monitoring.thresholds
    if not names:
        return ()
    return (
        PanelSpec(title="Up", expr=series.up, unit="bool_on_off", services=()),
        PanelSpec(title="Requests", expr=series.request_rate, unit="reqps", services=names, idle_is_empty=True),
        PanelSpec(
            title="Errors",
            expr=series.error_ratio,
            unit="percentunit",
            services=names,
            limit=limits.error_ratio,
            idle_is_empty=True,
        ),
        PanelSpec(
            title="Response time, median",
            expr=series.response_time_s(0.5),
            unit="s",
            services=names,
            idle_is_empty=True,
        ),
        PanelSpec(
            title="Response time, 95th percentile",
            expr=series.response_time_s(0.95),
            unit="s",
            services=names,
            limit=limits.response_time_s,
            idle_is_empty=True,
        ),
        PanelSpec(
            title="Requests by route",
            expr=series.request_rate_by_path,
            unit="reqps",
            services=names,
            legend="{{service}} {{path}}",
            idle_is_empty=True,
        ),
        PanelSpec(title="CPU", expr=series.cpu_ratio, unit="percentunit", services=names, limit=limits.cpu_ratio),
        PanelSpec(title="Resident memory", expr=series.memory_bytes, unit="bytes", services=names),
        PanelSpec(title="Open files", expr=series.open_files_ratio, unit="percentunit", services=names),
        PanelSpec(title="Uptime", expr=series.uptime_s, unit="s", services=names),
        PanelSpec(title="Restarts", expr=series.restarts, unit="short", services=names, limit=limits.restarts),
    )


def _host_panels(manifest: Manifest) -> tuple[PanelSpec, ...]:
    if "host" not in _names(manifest, "monitoring"):
        return ()
    limits, host = manifest.monitoring.thresholds, ("host",)
    ratio = "percentunit"
    return (
        PanelSpec(
            title="Host CPU",
            expr=host_cpu_ratio(manifest.monitoring.rate_window_s),
            unit=ratio,
            services=host,
            legend="CPU",
            limit=limits.cpu_ratio,
        ),
        PanelSpec(
            title="Host memory",
            expr=HOST_MEMORY_RATIO,
            unit=ratio,
            services=host,
            legend="memory",
            limit=limits.memory_ratio,
        ),
        PanelSpec(
            title="Host disk",
            expr=HOST_DISK_RATIO,
            unit=ratio,
            services=host,
            legend="{{mountpoint}}",
            limit=limits.disk_ratio,
        ),
    )


def _own_panels(manifest: Manifest, dashboard: str) -> tuple[PanelSpec, ...]:
    return tuple(
        PanelSpec(
            title=panel.title,
            expr=manifest.monitoring.expand(panel.expr),
            unit=panel.unit,
            legend=panel.legend or "__auto",
            services=panel.services,
            idle_is_empty=True,
        )
        for panel in manifest.monitoring.panels
        if panel.dashboard == dashboard and not is_for_absent_services(panel.services, manifest)
    )


def _names(manifest: Manifest, *roles: str) -> tuple[str, ...]:
    return tuple(service.name for service in scraped(manifest) if service.role in roles)


def _graph(panel: PanelSpec, position: int) -> Any:
    from grafana_foundation_sdk.builders import common, prometheus, timeseries
    from grafana_foundation_sdk.builders import dashboard as build
    from grafana_foundation_sdk.models.common import GraphTresholdsStyleMode, LegendDisplayMode, TooltipDisplayMode
    from grafana_foundation_sdk.models.dashboard import DataSourceRef, Threshold, ThresholdsMode

    source = DataSourceRef(type_val="prometheus", uid=DATASOURCE_UID)
    graph = (
        timeseries.Panel()
        .title(panel.title)
        .id(position + 1)
        .unit(panel.unit)
        .datasource(source)
        .grid_pos(_place(position))
        .legend(common.VizLegendOptions().show_legend(True).display_mode(LegendDisplayMode.LIST))
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
        .with_target(
            prometheus.Dataquery().expr(panel.expr).legend_format(panel.legend).ref_id("A").range().datasource(source)
        )
    )
    if panel.limit is not None:
        steps = [Threshold(value=None, color="green"), Threshold(value=panel.limit, color="red")]
        graph = graph.thresholds(build.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
        graph = graph.thresholds_style(common.GraphThresholdsStyleConfig().mode(GraphTresholdsStyleMode.LINE))
    return graph


def _place(position: int) -> "GridPos":
    from grafana_foundation_sdk.models.dashboard import GridPos

    row, column = divmod(position, _PER_ROW)
    return GridPos(h=_HEIGHT, w=_WIDTH, x=column * _WIDTH, y=row * _HEIGHT)
