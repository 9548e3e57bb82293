"""The alert rules that follow from a manifest: one `AlertRule` each, with the guide's thresholds and severities."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from toombos_cli.manifest.alerts import Severity
from toombos_cli.manifest.model import Manifest
from toombos_cli.monitoring.selectors import (
    HOST_DISK_RATIO,
    HOST_MEMORY_RATIO,
    Expressions,
    host_cpu_ratio,
    is_for_absent_services,
    scraped,
)

RUNBOOK = "docs/monitoring-runbook.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRule:
    """One alert. `services` must each export every metric of `expr`; () when it is about no service's own metrics.

    `command` is what whoever is told types first.
    """

    name: str
    expr: str
    for_s: int
    severity: Severity
    summary: str
    services: tuple[str, ...]
    command: str


def alert_rules(manifest: Manifest) -> tuple[AlertRule, ...]:
    """Every rule of the manifest: the built-in ones that apply to its services, then its own."""
    own = tuple(
        AlertRule(
            name=rule.name,
            expr=manifest.monitoring.expand(rule.expr),
            for_s=rule.for_s,
            severity=rule.severity,
            summary=rule.summary,
            services=rule.services,
            command=rule.command,
        )
        for rule in manifest.monitoring.rules
        if not is_for_absent_services(rule.services, manifest)
    )
    return tuple(rule for group in GROUPS for rule in group(manifest)) + own


def rules_document(manifest: Manifest) -> dict[str, Any]:
    """The content of Prometheus' rule file."""
    rules = [
        {
            "alert": rule.name,
            "expr": rule.expr,
            "for": f"{rule.for_s}s",
            "labels": {"severity": rule.severity.value},
            "annotations": {
                "summary": rule.summary,
                "command": rule.command,
                "runbook": f"{RUNBOOK}#{rule.name.lower()}",
            },
        }
        for rule in alert_rules(manifest)
    ]
    return {"groups": [{"name": "toombos", "rules": rules}]}


def _availability(manifest: Manifest) -> tuple[AlertRule, ...]:
    patience = manifest.monitoring.patience
    apps, mocks = _names(manifest, "app"), _names(manifest, "mock")
    rules = []
    if apps or mocks:
        rules.append(
            AlertRule(
                name="AllServicesDown",
                expr=f"sum({Expressions.of(manifest, 'app', 'mock').expected_up}) == 0",
                for_s=patience.all_services_down_s,
                severity=Severity.P0,
                summary="Complete failure: not one service answers",
                services=(),
                command="toombos recover",
            )
        )
    if apps:
        rules.append(
            AlertRule(
                name="ServiceDown",
                expr=f"{Expressions.of(manifest, 'app').expected_up} == 0",
                for_s=patience.service_down_s,
                severity=Severity.P1,
                summary="{{ $labels.service }} does not answer",
                services=(),
                command="toombos diagnose",
            )
        )
    if mocks:
        rules.append(
            AlertRule(
                name="MockDown",
                expr=f"{Expressions.of(manifest, 'mock').expected_up} == 0",
                for_s=patience.mock_down_s,
                severity=Severity.P2,
                summary="{{ $labels.service }} (a mock) does not answer",
                services=(),
                command="toombos restart {{ $labels.service }}",
            )
        )
    return tuple(rules)


def _answers(manifest: Manifest) -> tuple[AlertRule, ...]:
    patience, limits = manifest.monitoring.patience, manifest.monitoring.thresholds
    names = _names(manifest, "app", "mock")
    if not names:
        return ()
    watched = Expressions.of(manifest, "app", "mock")
    slow = (
        f"{watched.response_time_s(0.95)} > {limits.response_time_s}"
        f" and {watched.timed_requests} >= {limits.timed_requests}"
    )
    failing = f"{watched.error_ratio} > {limits.error_ratio} and {watched.failed_requests} >= {limits.failed_requests}"
    return (
        AlertRule(
            name="SlowResponses",
            expr=slow,
            for_s=patience.slow_or_failing_s,
            severity=Severity.P2,
            summary=f"{{{{ $labels.service }}}}: one answer in twenty takes longer than {limits.response_time_s:g} s "
            '(95th percentile {{ $value | printf "%.1f" }} s)',
            services=names,
            command="toombos diagnose",
        ),
        AlertRule(
            name="HighErrorRatio",
            expr=failing,
            for_s=patience.slow_or_failing_s,
            severity=Severity.P2,
            summary="{{ $labels.service }}: {{ $value | humanizePercentage }} of its answers are errors",
            services=names,
            command="toombos logs {{ $labels.service }} --errors --since 10m",
        ),
        AlertRule(
            name="SustainedDegradation",
            expr=f"({slow}) or ({failing})",
            for_s=patience.degraded_s,
            severity=Severity.P1,
            summary=f"{{{{ $labels.service }}}} has been slow or failing for {patience.degraded_s // 60} minutes",
            services=names,
            command="toombos diagnose",
        ),
    )


def _resources(manifest: Manifest) -> tuple[AlertRule, ...]:
    patience, limits = manifest.monitoring.patience, manifest.monitoring.thresholds
    names = _names(manifest, "app", "mock")
    watched = Expressions.of(manifest, "app", "mock")
    rules = []
    if names:
        rules += [
            AlertRule(
                name="ServiceCpuHigh",
                expr=f"{watched.cpu_ratio} > {limits.cpu_ratio}",
                for_s=patience.resources_s,
                severity=Severity.P2,
                summary="{{ $labels.service }} uses {{ $value | humanizePercentage }} of a core",
                services=names,
                command="toombos diagnose --profile {{ $labels.service }}",
            ),
            AlertRule(
                name="ServiceRestarting",
                expr=f"{watched.restarts} >= {limits.restarts}",
                for_s=0,
                severity=Severity.P2,
                summary="{{ $labels.service }} restarted {{ $value }} times: it may be in a crash loop",
                services=names,
                command="toombos status",
            ),
        ]
    if "host" in _names(manifest, "monitoring"):
        window_s = manifest.monitoring.rate_window_s
        for name, expr, limit, what, command in (
            ("HostCpuHigh", host_cpu_ratio(window_s), limits.cpu_ratio, "CPU", "toombos diagnose"),
            ("HostMemoryHigh", HOST_MEMORY_RATIO, limits.memory_ratio, "memory", "toombos status"),
            ("HostDiskFull", HOST_DISK_RATIO, limits.disk_ratio, "a filesystem", "toombos backup prune"),
        ):
            rules.append(
                AlertRule(
                    name=name,
                    expr=f"{expr} > {limit}",
                    for_s=patience.resources_s,
                    severity=Severity.P2,
                    summary=f"{{{{ $value | humanizePercentage }}}} of {what} in use{_MOUNT if 'Disk' in name else ''}",
                    services=("host",),
                    command=command,
                )
            )
    return tuple(rules)


_MOUNT = " ({{ $labels.mountpoint }})"


def _monitoring(manifest: Manifest) -> tuple[AlertRule, ...]:
    window_s = manifest.monitoring.rate_window_s
    rules = [
        AlertRule(
            name="AlertStorm",
            expr='count(ALERTS{alertstate="firing", severity=~"P0|P1", alertname!="AlertStorm"}) '
            f"> {manifest.monitoring.thresholds.critical_alerts}",
            for_s=0,
            severity=Severity.P0,
            summary="{{ $value }} critical alerts at the same time",
            services=(),
            command="toombos alert status",
        )
    ]
    watched_names = _names(manifest, "monitoring")
    if watched_names:
        rules.append(
            AlertRule(
                name="MonitoringDown",
                expr=f"{Expressions.of(manifest, 'monitoring').up} == 0",
                for_s=manifest.monitoring.patience.monitoring_down_s,
                severity=Severity.P2,
                summary="{{ $labels.service }} does not answer: the system is not fully watched",
                services=(),
                command="toombos monitoring restart",
            )
        )
    if "prometheus" in watched_names:
        rules.append(
            AlertRule(
                name="MonitoringConfigurationInvalid",
                expr="prometheus_config_last_reload_successful == 0",
                for_s=0,
                severity=Severity.P3,
                summary="Prometheus goes on with its old configuration: the new one is invalid",
                services=("prometheus",),
                command="toombos monitoring check",
            )
        )
    if "alertmanager" in watched_names:
        rules.append(
            AlertRule(
                name="NotificationsFailing",
                expr=f"sum by (service) (increase(alertmanager_notifications_failed_total[{window_s}s])) > 0",
                for_s=0,
                severity=Severity.P2,
                summary="Alertmanager cannot hand its alerts on",
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
                summary="No supervisor runs: what crashes is not started again, and logs are not rotated",
                services=("alerts",),
                command="toombos start",
            )
        )
        rules.append(
            AlertRule(
                name="AlertsUndelivered",
                # A state, not an increase: the message about it fails too, and would raise it again and again.
                expr="max by (channel) (toombos_alert_channel_failing) == 1",
                for_s=0,
                severity=Severity.P2,
                summary="Messages do not reach the channel {{ $labels.channel }}",
                services=("alerts",),
                command="toombos alert test",
            )
        )
    return tuple(rules)


def _names(manifest: Manifest, *roles: str) -> tuple[str, ...]:
    return tuple(service.name for service in scraped(manifest) if service.role in roles)


GROUPS: tuple[Callable[[Manifest], tuple[AlertRule, ...]], ...] = (_availability, _answers, _resources, _monitoring)
