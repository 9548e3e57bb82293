"""The alert rules about the services: whether they respond, how fast and how well, and what resources they use."""

from toombos_cli.manifest.model import Manifest
from toombos_cli.manifest.tables.alerts import Severity
from toombos_cli.manifest.tables.monitoring import AlertRule
from toombos_cli.monitoring.selectors import Expressions, scraped_names


def service_rules(manifest: Manifest) -> tuple[AlertRule, ...]:
    """Return the rules that apply to this manifest's services."""
    return (*_availability(manifest), *_responses(manifest), *_processes(manifest))


def _availability(manifest: Manifest) -> tuple[AlertRule, ...]:
    patience = manifest.monitoring.patience
    apps, mocks = scraped_names(manifest, "app"), scraped_names(manifest, "mock")
    rules = []
    if apps or mocks:
        rules.append(
            AlertRule(
                name="AllServicesDown",
                expr=f"sum({Expressions.of(manifest, 'app', 'mock').expected_up}) == 0",
                for_s=patience.all_services_down_s,
                severity=Severity.P0,
                summary="Complete failure: no service responds",
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
                summary="{{ $labels.service }} does not respond",
            )
        )
    if mocks:
        rules.append(
            AlertRule(
                name="MockDown",
                expr=f"{Expressions.of(manifest, 'mock').expected_up} == 0",
                for_s=patience.mock_down_s,
                severity=Severity.P2,
                summary="{{ $labels.service }} (a mock) does not respond",
                command="toombos restart {{ $labels.service }}",
            )
        )
    return tuple(rules)


def _responses(manifest: Manifest) -> tuple[AlertRule, ...]:
    patience, limits = manifest.monitoring.patience, manifest.monitoring.thresholds
    names = scraped_names(manifest, "app", "mock")
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
            summary=f"{{{{ $labels.service }}}}: one response in twenty takes longer than {limits.response_time_s:g} s "
            '(95th percentile {{ $value | printf "%.1f" }} s)',
            services=names,
        ),
        AlertRule(
            name="HighErrorRatio",
            expr=failing,
            for_s=patience.slow_or_failing_s,
            severity=Severity.P2,
            summary="{{ $labels.service }}: {{ $value | humanizePercentage }} of its responses are errors",
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
        ),
    )


def _processes(manifest: Manifest) -> tuple[AlertRule, ...]:
    patience, limits = manifest.monitoring.patience, manifest.monitoring.thresholds
    names = scraped_names(manifest, "app", "mock")
    watched = Expressions.of(manifest, "app", "mock")
    if not names:
        return ()
    return (
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
            severity=Severity.P2,
            summary="{{ $labels.service }} restarted {{ $value }} times: it may be in a crash loop",
            services=names,
            command="toombos status",
        ),
    )
