"""The alert rules about what runs and watches the services: the host, and monitoring itself."""

from toombos_cli.manifest.model import Manifest
from toombos_cli.manifest.tables.alerts import Severity
from toombos_cli.manifest.tables.monitoring import AlertRule
from toombos_cli.monitoring.selectors import (
    HOST_DISK_RATIO,
    HOST_MEMORY_RATIO,
    Expressions,
    host_cpu_ratio,
    scraped_names,
)


def watching_rules(manifest: Manifest) -> tuple[AlertRule, ...]:
    """Return the rules that apply to this manifest's monitoring services."""
    return (*_host(manifest), *_monitoring(manifest))


def _host(manifest: Manifest) -> tuple[AlertRule, ...]:
    if "host" not in scraped_names(manifest, "monitoring"):
        return ()
    patience, limits = manifest.monitoring.patience, manifest.monitoring.thresholds
    cpu = host_cpu_ratio(manifest.monitoring.rate_window_s)
    return tuple(
        AlertRule(
            name=name,
            expr=f"{expr} > {limit}",
            for_s=patience.resources_s,
            severity=Severity.P2,
            summary=f"{{{{ $value | humanizePercentage }}}} of {what}",
            services=("host",),
            command=command,
        )
        for name, expr, limit, what, command in (
            ("HostCpuHigh", cpu, limits.cpu_ratio, "CPU in use", "toombos diagnose"),
            ("HostMemoryHigh", HOST_MEMORY_RATIO, limits.memory_ratio, "memory in use", "toombos status"),
            ("HostDiskFull", HOST_DISK_RATIO, limits.disk_ratio, _FILESYSTEM, "toombos backup prune"),
        )
    )


_FILESYSTEM = "a filesystem in use ({{ $labels.mountpoint }})"


def _monitoring(manifest: Manifest) -> tuple[AlertRule, ...]:
    window_s = manifest.monitoring.rate_window_s
    rules = [
        AlertRule(
            name="AlertStorm",
            expr='count(ALERTS{alertstate="firing", severity=~"P0|P1", alertname!="AlertStorm"}) '
            f"> {manifest.monitoring.thresholds.critical_alerts}",
            severity=Severity.P0,
            summary="{{ $value }} critical alerts at the same time",
            command="toombos alert status",
        )
    ]
    watched_names = scraped_names(manifest, "monitoring")
    if watched_names:
        rules.append(
            AlertRule(
                name="MonitoringDown",
                expr=f"{Expressions.of(manifest, 'monitoring').up} == 0",
                for_s=manifest.monitoring.patience.monitoring_down_s,
                severity=Severity.P2,
                summary="{{ $labels.service }} does not respond: the system is not fully watched",
                command="toombos monitoring restart",
            )
        )
    if "prometheus" in watched_names:
        rules.append(
            AlertRule(
                name="MonitoringConfigurationInvalid",
                expr="prometheus_config_last_reload_successful == 0",
                severity=Severity.P3,
                summary="Prometheus keeps its old configuration: the new one is invalid",
                services=("prometheus",),
                command="toombos monitoring check",
            )
        )
    if "alertmanager" in watched_names:
        rules.append(
            AlertRule(
                name="NotificationsFailing",
                expr=f"sum by (service) (increase(alertmanager_notifications_failed_total[{window_s}s])) > 0",
                severity=Severity.P2,
                summary="Alertmanager cannot deliver its alerts to the alert receiver",
                services=("alertmanager",),
                command="toombos monitoring restart",
            )
        )
    if "alerts" in watched_names:
        rules.append(
            AlertRule(
                name="SupervisorDown",
                expr="max by (service) (toombos_supervisor_up) == 0",
                for_s=manifest.monitoring.patience.monitoring_down_s,
                severity=Severity.P2,
                summary="No supervisor is running: a crashed service is not restarted, and logs are not rotated",
                services=("alerts",),
                command="toombos start",
            )
        )
        rules.append(
            AlertRule(
                name="AlertsUndelivered",
                # A state, not an increase: the message about it fails too, and would raise the alert again and again.
                expr="max by (channel) (toombos_alert_channel_failing) == 1",
                severity=Severity.P2,
                summary="Messages do not reach the channel {{ $labels.channel }}",
                services=("alerts",),
                command="toombos alert test",
            )
        )
    return tuple(rules)
