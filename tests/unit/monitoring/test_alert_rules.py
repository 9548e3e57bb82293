"""Every alert fires at its threshold and not below, as judged by Prometheus itself (promtool test rules)."""

import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from tests.support.programs import needs
from toombos_cli.manifest.reading.loader import load_manifest
from toombos_cli.monitoring.files import generate
from toombos_cli.monitoring.rules import alert_rules

MANIFEST = load_manifest(Path("/nonexistent"))  # the packaged manifest
RULES = yaml.safe_load(generate(MANIFEST)["rules.yml"])["groups"][0]["rules"]
INTERVAL_S = 15
APP = 'service="generator", role="app"'
MOCK = 'service="crm", role="mock"'
HOST = 'service="host", role="monitoring"'
PROMETHEUS = 'service="prometheus", role="monitoring"'


@dataclass(frozen=True)
class Fires:
    """The series that make an alert fire; with `below` it must stay quiet.

    Series are in promtool's notation, a sample every 15 s. It fires after `after_s`, and not 15 s sooner;
    `labels` are its labels besides the severity.
    """

    series: dict[str, str]
    below: dict[str, str]
    after_s: int
    severity: str
    labels: dict[str, str] = field(default_factory=dict)


def up(value: int, labels: str = APP) -> dict[str, str]:
    return {f"up{{{labels}}}": f"{value}x400"}


def gauge(name: str, value: float) -> dict[str, str]:
    return {name: f"{value}x400"}


def grows(name: str, per_s: float) -> dict[str, str]:
    return {name: f"0+{per_s * INTERVAL_S}x400"}


def responses(slow_share: float) -> dict[str, str]:
    """Ten responses per second: the slow share takes between 2 and 2.5 s, the rest less than 1 s."""
    name = "http_request_duration_seconds_bucket{" + APP + ', path="/api/v2/generate-content", le="%s"}'
    return {
        **grows(name % "1.0", 10 * (1 - slow_share)),
        **grows(name % "2.0", 10 * (1 - slow_share)),
        **grows(name % "2.5", 10),
        **grows(name % "+Inf", 10),
    }


def failures(failed_share: float) -> dict[str, str]:
    name = "http_requests_total{" + APP + ', path="/api/v2/generate-content", status="%s"}'
    return {**grows(name % 200, 10 * (1 - failed_share)), **grows(name % 500, 10 * failed_share)}


def cpu(used_ratio: float) -> dict[str, str]:
    name = "node_cpu_seconds_total{" + HOST + ', cpu="0", mode="%s"}'
    return {**grows(name % "user", used_ratio), **grows(name % "idle", 1 - used_ratio)}


def memory(used_ratio: float) -> dict[str, str]:
    return {
        **gauge(f"node_memory_MemTotal_bytes{{{HOST}}}", 1000),
        **gauge(f"node_memory_MemAvailable_bytes{{{HOST}}}", 1000 * (1 - used_ratio)),
    }


def disk(used_ratio: float) -> dict[str, str]:
    labels = HOST + ', mountpoint="/", fstype="ext4"'
    return {
        **gauge(f"node_filesystem_size_bytes{{{labels}}}", 1000),
        **gauge(f"node_filesystem_avail_bytes{{{labels}}}", 1000 * (1 - used_ratio)),
    }


def firing(count: int) -> dict[str, str]:
    """The given number of critical alerts that already fire."""
    return {
        name: value
        for number in range(count)
        for name, value in gauge(f'ALERTS{{alertname="A{number}", alertstate="firing", severity="P1"}}', 1).items()
    }


def starts(count: int) -> dict[str, str]:
    """A process that is replaced the given number of times, a minute apart."""
    values = [1000 + n for n in range(count + 1) for _ in range(4)]
    return {f"process_start_time_seconds{{{APP}}}": " ".join(map(str, values)) + f" {values[-1]}x400"}


ALERTS = {
    "AllServicesDown": Fires(up(0) | up(0, MOCK), up(0) | up(1, MOCK), 300, "P0"),
    "ServiceDown": Fires(up(0), up(1), 60, "P1", {"service": "generator", "role": "app"}),
    "MockDown": Fires(up(0, MOCK), up(1, MOCK), 900, "P2", {"service": "crm", "role": "mock"}),
    "MonitoringDown": Fires(up(0, HOST), up(1, HOST), 300, "P2", {"service": "host", "role": "monitoring"}),
    "SlowResponses": Fires(responses(0.06), responses(0.049), 75, "P2", {"service": "generator"}),
    "HighErrorRatio": Fires(failures(0.06), failures(0.05), 75, "P2", {"service": "generator"}),
    "SustainedDegradation": Fires(failures(0.06), failures(0.05), 1815, "P1", {"service": "generator"}),
    "ServiceCpuHigh": Fires(
        grows(f"process_cpu_seconds_total{{{APP}}}", 0.81),
        grows(f"process_cpu_seconds_total{{{APP}}}", 0.80),
        600,  # the window of the rate is full after 300
        "P2",
        {"service": "generator"},
    ),
    "ServiceRestarting": Fires(starts(3), starts(2), 180, "P2", {"service": "generator"}),
    "HostCpuHigh": Fires(cpu(0.81), cpu(0.80), 315, "P2"),
    "HostMemoryHigh": Fires(memory(0.86), memory(0.85), 300, "P2"),
    "HostDiskFull": Fires(disk(0.91), disk(0.90), 300, "P2", {"mountpoint": "/"}),
    "AlertStorm": Fires(firing(11), firing(10), 0, "P0"),
    "MonitoringConfigurationInvalid": Fires(
        gauge(f"prometheus_config_last_reload_successful{{{PROMETHEUS}}}", 0),
        gauge(f"prometheus_config_last_reload_successful{{{PROMETHEUS}}}", 1),
        0,
        "P3",
        {"service": "prometheus", "role": "monitoring"},
    ),
    "NotificationsFailing": Fires(
        {'alertmanager_notifications_failed_total{service="alertmanager"}': "0 1x400"},
        {'alertmanager_notifications_failed_total{service="alertmanager"}': "7x400"},
        15,
        "P2",
        {"service": "alertmanager"},
    ),
    "SupervisorDown": Fires(
        gauge('toombos_supervisor_up{service="alerts"}', 0),
        gauge('toombos_supervisor_up{service="alerts"}', 1),
        300,
        "P2",
        {"service": "alerts"},
    ),
    "AlertsUndelivered": Fires(
        gauge('toombos_alert_channel_failing{channel="hook", service="alerts"}', 1),
        gauge('toombos_alert_channel_failing{channel="hook", service="alerts"}', 0),
        0,
        "P2",
        {"channel": "hook"},
    ),
    "DatabaseDown": Fires(gauge("toombos_database_up", 0), gauge("toombos_database_up", 1), 60, "P1"),
    "GenerationFailing": Fires(
        {'toombos_content_generation_failures_total{reason="document"}': "0 6x400"},
        {'toombos_content_generation_failures_total{reason="document"}': "0 5x400"},
        15,
        "P2",
        {"reason": "document"},
    ),
    "PublishingFailing": Fires(
        {'toombos_publish_total{channel="email", outcome="failed"}': "0 6x400"},
        {'toombos_publish_total{channel="email", outcome="failed"}': "0 5x400"},
        15,
        "P2",
        {"channel": "email"},
    ),
    "EgressRefused": Fires(
        {"toombos_egress_refused_total": "0 1x400"}, {"toombos_egress_refused_total": "0x400"}, 15, "P2"
    ),
}


def test_every_alert_of_the_packaged_manifest_has_a_case():
    assert {rule.name for rule in alert_rules(MANIFEST)} == ALERTS.keys()


def judge(directory, rule: dict, tests: list[tuple[dict[str, str], list[dict]]]) -> None:
    """Fail unless promtool finds that each series raises the expected alerts of the rule."""
    promtool = needs("promtool")
    # promtool compares the annotations too, and this is not a test of their texts
    rule = {key: value for key, value in rule.items() if key != "annotations"}
    (directory / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "one", "rules": [rule]}]}))
    interval = f"{INTERVAL_S}s"
    cases = [
        {
            "interval": interval,
            "input_series": [{"series": name, "values": values} for name, values in series.items()],
            "alert_rule_test": wanted,
        }
        for series, wanted in tests
    ]
    document = {"rule_files": ["rules.yml"], "evaluation_interval": interval, "tests": cases}
    (directory / "test.yml").write_text(yaml.safe_dump(document))
    done = subprocess.run([promtool, "test", "rules", directory / "test.yml"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def expect(alert: str, case: Fires, eval_s: int, *, fires: bool) -> dict:
    found = {"exp_labels": {"severity": case.severity} | case.labels}
    return {"eval_time": f"{eval_s}s", "alertname": alert, "exp_alerts": [found] if fires else []}


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_fires_at_its_threshold_and_not_below_or_sooner(alert, tmp_path):
    case = ALERTS[alert]
    (rule,) = (rule for rule in RULES if rule["alert"] == alert)
    at = [expect(alert, case, case.after_s, fires=True)]
    if case.after_s:
        at.insert(0, expect(alert, case, case.after_s - INTERVAL_S, fires=False))
    never = [expect(alert, case, second, fires=False) for second in (case.after_s, case.after_s + 900)]
    judge(tmp_path, rule, [(case.series, at), (case.below, never)])


def counted(status: int, values: str) -> dict[str, str]:
    return {f'http_requests_total{{{APP}, path="/api/v2/generate-content", status="{status}"}}': values}


def timed(slow: str, every: str) -> dict[str, str]:
    name = "http_request_duration_seconds_bucket{" + APP + ', path="/api/v2/generate-content", le="%s"}'
    return {name % "2.0": slow, name % "2.5": every, name % "+Inf": every}


QUIET = {  # the series, and whether the alert fires within ten minutes after
    "a single request that failed": ("HighErrorRatio", counted(500, "0x20 1x60"), False),
    "one of four failed": ("HighErrorRatio", counted(200, "0x20 3x60") | counted(500, "0x20 1x60"), False),
    "all of three failed": ("HighErrorRatio", counted(500, "0x20 1 2 3x60"), True),
    "a single request that was slow": ("SlowResponses", timed("0x80", "0x20 1x60"), False),
    "one of ten was slow": ("SlowResponses", timed("0x20 9x60", "0x20 10x60"), False),
    "two of twenty were slow": ("SlowResponses", timed("0x20 18x60", "0x20 20x60"), True),
}


@pytest.mark.parametrize("name", QUIET)
def test_a_single_bad_request_in_a_quiet_system_raises_no_alert(name, tmp_path):
    alert, series, fires = QUIET[name]
    (rule,) = (rule for rule in RULES if rule["alert"] == alert)
    found = {"exp_labels": {"severity": rule["labels"]["severity"], "service": "generator"}}
    at = [{"eval_time": f"{s}s", "alertname": alert, "exp_alerts": [found] if fires else []} for s in (420, 480)]
    judge(tmp_path, rule, [(series, at)])


def test_an_optional_service_that_was_never_started_is_not_down(tmp_path):
    (tmp_path / "toombos.toml").write_text(
        'name = "shop"\n[services.cart]\ncommand = ["cart"]\nport = 5001\nmetrics = "/m"\n'
        '[services.worker]\ncommand = ["worker"]\nport = 5002\nmetrics = "/m"\noptional = true\n'
        '[services.prometheus]\nrole = "monitoring"\ncommand = ["prometheus"]\nport = 9090\nmetrics = "/metrics"\n'
    )
    rules = yaml.safe_load(generate(load_manifest(tmp_path))["rules.yml"])
    (rule,) = (rule for rule in rules["groups"][0]["rules"] if rule["alert"] == "ServiceDown")
    worker = up(0, 'service="worker", role="app"')
    fires = {"exp_labels": {"severity": "P1", "service": "cart", "role": "app"}}
    cases = [
        (
            worker | up(cart, 'service="cart", role="app"'),
            [{"eval_time": "10m", "alertname": "ServiceDown", "exp_alerts": alerts}],
        )
        for cart, alerts in ((1, []), (0, [fires]))
    ]
    judge(tmp_path, rule, cases)


def test_probes_are_excluded_from_rates_even_if_their_path_has_a_query(tmp_path):
    (tmp_path / "toombos.toml").write_text(
        'name = "shop"\n[services.cart]\ncommand = ["cart"]\nport = 5001\nmetrics = "/m"\nhealth = "/up?full=1"\n'
    )
    (rule,) = (rule for rule in alert_rules(load_manifest(tmp_path)) if rule.name == "HighErrorRatio")
    assert 'path!="/up"' in rule.expr
