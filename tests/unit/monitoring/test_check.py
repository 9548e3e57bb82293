"""`toombos monitoring check` names the rules and panels that lose a metric, and what it cannot judge."""

import pytest

from tests.support.ports import free_port
from toombos_cli.base.results import Verdict
from toombos_cli.manifest.reading.loader import load_manifest
from toombos_cli.monitoring.check import run_check
from toombos_cli.monitoring.check_metrics import Exports, Unread, judge_services
from toombos_cli.monitoring.exported import exported_metrics

EXPORTED = """\
# TYPE http_requests_total counter
# TYPE http_request_duration_seconds histogram
# TYPE process_cpu_seconds_total counter
process_cpu_seconds_total 1.5
# TYPE process_resident_memory_bytes gauge
process_resident_memory_bytes 1e+06
# TYPE process_open_fds gauge
process_open_fds 10
# TYPE process_max_fds gauge
process_max_fds 1024
# TYPE process_start_time_seconds gauge
process_start_time_seconds 1.8e+09
"""


@pytest.fixture
def shop(tmp_path, httpserver):
    """The manifest of another team with one service, whose /metrics the test serves."""
    (tmp_path / "toombos.toml").write_text(
        f'[services.cart]\ncommand = ["cart"]\nport = {httpserver.port}\n'
        f'host = "{httpserver.host}"\nmetrics = "/metrics"\n'
        f'[services.prometheus]\nrole = "monitoring"\ncommand = ["prometheus"]\nport = {free_port()}\n'
    )
    return load_manifest(tmp_path)


def exports(httpserver, text):
    httpserver.expect_request("/metrics").respond_with_data(text)


def judged(manifest, group="metrics"):
    return {item.name: item for item in run_check(manifest).items if item.group == group}


def test_all_rules_and_panels_find_their_metrics_even_without_a_value(shop, httpserver):
    exports(httpserver, EXPORTED)
    assert {item.verdict for item in judged(shop).values()} == {Verdict.PASS}


LOSSES = {
    "process_cpu_seconds_total": {"rule ServiceCpuHigh", "panel CPU (service-overview)"},
    "process_start_time_seconds": {
        "rule ServiceRestarting",
        "panel Uptime (service-overview)",
        "panel Restarts (service-overview)",
    },
    "http_request_duration_seconds": {
        "rule SlowResponses",
        "rule SustainedDegradation",
        "panel Response time, median (service-overview)",
        "panel Response time, 95th percentile (service-overview)",
    },
}


@pytest.mark.parametrize("metric", LOSSES)
def test_a_missing_metric_names_the_rules_and_panels_that_read_it(shop, httpserver, metric):
    exports(httpserver, "".join(line + "\n" for line in EXPORTED.splitlines() if metric not in line))
    items = judged(shop)
    lost = {name: item for name, item in items.items() if item.verdict is Verdict.SKIP}
    assert {item.verdict for item in items.values()} == {Verdict.SKIP, Verdict.PASS}
    assert lost.keys() == LOSSES[metric]
    assert all(item.detail.startswith(f"cart does not export {metric}") for item in lost.values())


def test_the_rules_of_a_service_that_does_not_respond_are_not_judged(shop):
    items = judged(shop)
    assert items["cart"].verdict is Verdict.ERROR
    assert items["rule ServiceCpuHigh"].detail == "not judged for cart"
    assert items["rule ServiceDown"].verdict is Verdict.PASS  # needs no metric of the service


def unexplained(manifest):
    items = run_check(manifest).items
    assert {item.explained_by for item in items} - {None} <= {item.name for item in items if item.group == "services"}
    return {
        f"{i.group}: {i.name}": i for i in items if i.verdict in (Verdict.FAIL, Verdict.ERROR) and not i.explained_by
    }


def test_a_stopped_system_has_two_causes_with_a_command_each(tmp_path):
    services = ("crm", "platform", "generator", "alerts", "alertmanager", "prometheus", "host")
    ports = "".join(f"[services.{name}]\nport = {free_port()}\n" for name in services)
    (tmp_path / "toombos.toml").write_text(f'extends = "toombos"\n{ports}[services.grafana]\nenabled = false\n')
    causes = unexplained(load_manifest(tmp_path))
    assert {name: item.hint for name, item in causes.items()} == {
        "services: crm, platform, generator": f"toombos --project {tmp_path} start --dry-run",
        "services: alerts, alertmanager, prometheus, host": f"toombos --project {tmp_path} monitoring up",
    }


@pytest.mark.parametrize(
    ("unread", "hint"),
    [
        (Unread(problem="in words that no program knows", not_served=True), "start"),
        (Unread(problem="nothing listens there", not_served=False), "health cart"),
    ],
    ids=["nothing listens", "a service that says these very words"],
)
def test_what_to_type_does_not_hang_on_the_words_of_the_problem(shop, unread, hint):
    (item,) = judge_services(shop, Exports(metrics={}, problems={"cart": unread}, causes={}))
    assert item.hint == f"toombos --project {shop.project} {hint}"


OWN = {
    "rule": '[[monitoring.rules]]\nname = "Hot"\nsummary = "hot"\nexpr = "degrees > 9"\nservices = ["cart"]\n',
    "panel": '[[monitoring.panels]]\ntitle = "Heat"\nexpr = "degrees"\nservices = ["cart"]\n',
}


@pytest.mark.parametrize("table", OWN.values(), ids=OWN)
def test_a_metric_that_the_manifest_itself_names_must_be_exported(shop, httpserver, table):
    manifest = shop.project / "toombos.toml"
    manifest.write_text(manifest.read_text() + table)
    exports(httpserver, EXPORTED)
    (item,) = (i for i in judged(load_manifest(shop.project)).values() if i.verdict is Verdict.FAIL)
    assert (item.detail, item.explained_by) == ("cart does not export degrees", None)


@pytest.mark.parametrize("text", ["<html>", "http_requests_total{ 1\n"], ids=["html", "half a line"])
def test_a_response_that_is_not_prometheus_text_is_reported(shop, httpserver, text):
    exports(httpserver, text)
    assert "not in Prometheus' text format" in judged(shop)["cart"].detail


def test_a_prometheus_that_is_down_makes_a_single_error(shop, httpserver):
    exports(httpserver, EXPORTED)
    items = judged(shop, "targets")
    assert items["prometheus"].verdict is Verdict.ERROR
    assert items["prometheus"].hint == "toombos monitoring up"
    assert not judged(shop, "panels")


def test_files_that_differ_from_the_manifest_are_a_warning(shop, httpserver):
    exports(httpserver, EXPORTED)
    item = judged(shop, "files")["up to date"]
    assert (item.verdict, item.hint) == (Verdict.WARN, "toombos monitoring reload")


def test_a_rule_for_a_missing_service_is_left_out_with_a_warning(tmp_path):
    (tmp_path / "toombos.toml").write_text('extends = "toombos"\n[services.generator]\nenabled = false\n')
    items = judged(load_manifest(tmp_path))
    assert (items["rule DatabaseDown"].verdict, items["panel Database"].verdict) == (Verdict.WARN, Verdict.WARN)
    assert "rule DatabaseDown" not in {name for name, item in items.items() if item.verdict is Verdict.FAIL}


def test_histograms_and_counters_are_found_by_the_names_of_their_series(shop, httpserver):
    exports(httpserver, EXPORTED)
    names = exported_metrics(shop.services["cart"])
    assert {"http_requests_total", "http_request_duration_seconds_bucket"} <= names


def test_grafana_is_asked_for_its_dashboards_with_the_generated_password(tmp_path, httpserver):
    (tmp_path / "toombos.toml").write_text(
        f'extends = "toombos"\n[services.grafana]\nport = {httpserver.port}\nhost = "{httpserver.host}"\n'
    )
    manifest = load_manifest(tmp_path)
    from toombos_cli.monitoring.grafana import ensure_password

    password = ensure_password(tmp_path).read_text()
    from base64 import b64encode

    credentials = "Basic " + b64encode(f"admin:{password}".encode()).decode()
    httpserver.expect_request("/api/search", headers={"Authorization": credentials}).respond_with_json(
        [{"uid": "service-overview"}]
    )
    items = judged(manifest, "grafana")
    assert items["dashboard service-overview"].verdict is Verdict.PASS
    assert items["dashboard mock-services"].verdict is Verdict.FAIL
