"""The generated files: accepted by the programs that read them, private, complete, and written only if they change."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from tests.support.programs import needs
from toombos_cli.base.errors import ConfigurationError
from toombos_cli.manifest.reading.loader import load_manifest
from toombos_cli.monitoring.dashboards import dashboards
from toombos_cli.monitoring.files import directory_of, generate, without, write_files
from toombos_cli.monitoring.grafana import password_file
from toombos_cli.monitoring.promql import metrics_of

STRANGE_NAMES = ["plain", "with space", "quote'd", 'double"quote', "dollar$HOME", "percent%i", "ümlaut", "#hash: colon"]


@pytest.mark.parametrize("name", STRANGE_NAMES)
def test_prometheus_and_alertmanager_accept_the_files_whatever_the_project_name(tmp_path, name):
    promtool, amtool = needs("promtool"), needs("amtool")
    project = tmp_path / name
    project.mkdir()
    write_files(load_manifest(project))
    directory = directory_of(project)
    for argv in (
        [promtool, "check", "config", directory / "prometheus.yml"],
        [amtool, "check-config", directory / "alertmanager.yml"],
    ):
        done = subprocess.run(argv, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_query_of_a_metrics_path_becomes_parameters(tmp_path):
    promtool = needs("promtool")
    service = '[services.web]\ncommand = ["web"]\nport = 8123\nmetrics = "/ht/?format=openmetrics&x=a%20b&x=&y"\n'
    (tmp_path / "toombos.toml").write_text(f'extends = "monitoring"\n{service}')
    write_files(load_manifest(tmp_path))
    path = directory_of(tmp_path) / "prometheus.yml"
    job = next(job for job in yaml.safe_load(path.read_text())["scrape_configs"] if job["job_name"] == "web")
    assert job["metrics_path"] == "/ht/"
    assert job["params"] == {"format": ["openmetrics"], "x": ["a b", ""], "y": [""]}
    assert subprocess.run([promtool, "check", "config", path], capture_output=True).returncode == 0


def test_files_and_directories_are_private(project):
    write_files(load_manifest(project))
    for path in (directory_of(project), project / "data" / "grafana"):
        for found in (path, *path.rglob("*")):
            assert found.stat().st_mode & 0o077 == 0, found


def test_writing_again_changes_only_the_files_that_the_manifest_affects(project):
    assert len(write_files(load_manifest(project))) == 9
    assert write_files(load_manifest(project)) == ()
    with (project / "toombos.toml").open("a") as file:
        file.write("[monitoring.thresholds]\ncpu_ratio = 0.5\n")
    changed = {path.name for path in write_files(load_manifest(project))}
    assert changed == {"rules.yml", "service-overview.json", "mock-services.json"}


def test_the_grafana_password_is_generated_once_and_is_in_no_other_file(project):
    write_files(load_manifest(project))
    password = password_file(project).read_text()
    assert len(password) >= 20
    write_files(load_manifest(project))
    assert password_file(project).read_text() == password
    assert not [path for path in directory_of(project).rglob("*") if path.is_file() and password in path.read_text()]


def test_every_service_with_metrics_is_scraped_with_its_name_and_role(project):
    manifest = load_manifest(project)
    jobs = {job["job_name"]: job for job in yaml.safe_load(generate(manifest)["prometheus.yml"])["scrape_configs"]}
    assert jobs.keys() == {name for name, service in manifest.services.items() if service.metrics}
    crm = jobs["crm"]["static_configs"][0]
    assert crm == {
        "targets": [f"127.0.0.1:{manifest.services['crm'].port}"],
        "labels": {"service": "crm", "role": "mock"},
    }


def test_a_service_that_cannot_run_here_is_neither_scraped_nor_expected(project):
    files = generate(without(load_manifest(project), frozenset({"grafana", "host"})))
    assert "grafana" not in files["prometheus.yml"]
    assert "node_" not in files["rules.yml"] + files["grafana/dashboards/service-overview.json"]
    assert "grafana.ini" not in files


def test_another_team_gets_rules_for_its_own_services_only(tmp_path):
    (tmp_path / "toombos.toml").write_text(
        'name = "shop"\n[services.cart]\ncommand = ["cart"]\nport = 5001\nmetrics = "/m"\n'
        '[services.prometheus]\nrole = "monitoring"\ncommand = ["prometheus"]\nport = 9090\nmetrics = "/metrics"\n'
    )
    files = generate(load_manifest(tmp_path))
    names = {rule["alert"] for rule in yaml.safe_load(files["rules.yml"])["groups"][0]["rules"]}
    assert "ServiceDown" in names
    assert not names & {"MockDown", "HostCpuHigh", "DatabaseDown", "NotificationsFailing"}
    assert "grafana/dashboards/mock-services.json" not in files


def test_a_manifest_without_prometheus_is_refused_with_the_remedy(tmp_path):
    (tmp_path / "toombos.toml").write_text('[services.cart]\ncommand = ["cart"]\nport = 5001\n')
    with pytest.raises(ConfigurationError) as caught:
        generate(load_manifest(tmp_path))
    assert caught.value.problems[0].hint == 'start toombos.toml with: extends = "monitoring"'


@pytest.mark.parametrize("kind", ["rules", "panels"])
def test_an_expression_that_is_not_promql_is_named(project, kind):
    text = (project / "toombos.toml").read_text()
    name = 'name = "Own"\nsummary = "s"\n' if kind == "rules" else 'title = "Own"\n'
    (project / "toombos.toml").write_text(text + f'[[monitoring.{kind}]]\n{name}expr = "sum(("\n')
    with pytest.raises(ConfigurationError) as caught:
        generate(load_manifest(project))
    assert "Own" in caught.value.problems[0].message


@pytest.mark.parametrize("uid", ["service-overview", "mock-services"])
def test_a_dashboard_fits_the_model_of_grafana(project, uid):
    text = generate(load_manifest(project))[f"grafana/dashboards/{uid}.json"]
    model = Dashboard.from_json(json.loads(text))
    assert json.loads(JSONEncoder(sort_keys=True).encode(model)) == json.loads(text)
    assert (model.uid, model.editable) == (uid, False)
    assert len({panel.id_val for panel in model.panels}) == len(model.panels)
    cells = [
        (panel.grid_pos.x + x, panel.grid_pos.y + y)
        for panel in model.panels
        for x in range(panel.grid_pos.w)
        for y in range(panel.grid_pos.h)
    ]
    assert len(set(cells)) == len(cells), "panels overlap"
    assert max(x for x, _ in cells) < 24


def test_a_panel_of_the_manifest_is_on_its_dashboard_with_the_window_filled_in(project):
    text = (project / "toombos.toml").read_text()
    panel = '[[monitoring.panels]]\ntitle = "Own"\nexpr = "rate(x_total[$window])"\ndashboard = "mock-services"\n'
    (project / "toombos.toml").write_text(text + panel)
    _, mocks = dashboards(load_manifest(project))
    assert mocks.panels[-1].expr == "rate(x_total[300s])"


READS = [
    ("up == 0", ()),
    ("rate(a_total[5m]) / on(x) group_left b", ("a_total", "b")),
    ('sum by (le) (rate(h_bucket{path!="/c"}[5m]))', ("h_bucket",)),
    ("a or vector(0) unless ignoring(y) ALERTS", ("a",)),
    ('{__name__="named"} > time()', ("named",)),
    ("max_over_time(rate(q[1m])[10m:1m] offset 5m)", ("q",)),
]


@pytest.mark.parametrize(("expr", "metrics"), READS)
def test_the_metrics_of_an_expression_are_found(expr, metrics):
    assert metrics_of(expr) == metrics


def test_the_compose_file_runs_the_same_files_on_the_loopback_address(project):
    document = yaml.safe_load(generate(load_manifest(project))["compose.yml"])
    assert document["services"].keys() == {"prometheus", "alertmanager", "host", "grafana"}
    for container in document["services"].values():
        assert container["network_mode"] == "host"
        assert "latest" not in container["image"]
        assert "ports" not in container
    prometheus = document["services"]["prometheus"]
    assert f"--config.file={directory_of(project)}/prometheus.yml" in prometheus["command"]
    assert f"{directory_of(project)}:{directory_of(project)}:ro" in prometheus["volumes"]
    manifest_port = load_manifest(project).services["prometheus"].port
    assert f"--web.listen-address=127.0.0.1:{manifest_port}" in prometheus["command"]


def test_the_files_do_not_depend_on_the_directory(tmp_path):
    """The same manifest yields the same rules in any directory."""
    texts = set()
    for name in ("a", "b"):
        project = tmp_path / name
        project.mkdir()
        (project / "toombos.toml").write_text('extends = "toombos"\nname = "same"\n')
        texts.add(generate(load_manifest(Path(project)))["rules.yml"])
    assert len(texts) == 1
