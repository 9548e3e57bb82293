"""Prometheus and its companions, which speak of their health in plain words and pages."""

import pytest

from tests.support.foreign import UP, ForeignSystem, Keys, well
from tests.support.programs import needs
from tests.support.runner import data_of

PROMETHEUS = "scrape_configs: [{job_name: none, static_configs: [{targets: []}]}]\n"
ALERTMANAGER = "route: {receiver: none}\nreceivers: [{name: none}]\n"


def prometheus(*options: str) -> list[str]:
    """Return the command of a Prometheus that scrapes nothing."""
    files = ["--config.file=prometheus.yml", "--storage.tsdb.path=data-{name}"]
    return [needs("prometheus"), *files, "--web.listen-address={host}:{port}", *options]


def alertmanager(config: str = "alertmanager.yml") -> list[str]:
    """Return the command of an Alertmanager alone."""
    options = ["--storage.path=alertmanager", "--cluster.listen-address=", "--web.listen-address={host}:{port}"]
    return [needs("prometheus-alertmanager"), f"--config.file={config}", *options]


@pytest.fixture(scope="module")
def programs(shared: ForeignSystem) -> ForeignSystem:
    """The programs, started by one `toombos start`."""
    (shared.project / "prometheus.yml").write_text(PROMETHEUS)
    (shared.project / "alertmanager.yml").write_text(ALERTMANAGER)
    shared.add("prometheus", prometheus(), health="/-/healthy", ready="/-/ready")
    shared.add("prefixed", prometheus("--web.external-url=/p"), health="/p/-/healthy")
    shared.add("alertmanager", alertmanager(), health="/-/healthy", ready="/-/ready")
    exporter = [needs("prometheus-node-exporter"), "--no-collector.diskstats", "--web.listen-address={host}:{port}"]
    shared.add("machine", exporter, health="/")
    shared.start()
    return shared


def test_healthy_programs_raise_no_alarm(programs: ForeignSystem) -> None:
    assert {name: well(row) for name, row in programs.health().items()} == dict.fromkeys(programs.services, UP)
    shown = data_of(programs("status", "--json", exit_code=0))["services"]
    assert {row["phase"] for row in shown} == {"ready"}
    programs("smoke", "--wait", "5", exit_code=0)
    assert programs.alarms() == []


@pytest.mark.parametrize(
    ("name", "keys", "expected"),
    [
        pytest.param("prometheus", {"health": "/health"}, ("down", "status"), id="a route that there is not"),
        pytest.param("prefixed", {"health": "/-/healthy"}, ("down", "status"), id="a route without its prefix"),
        pytest.param("prometheus", {"health": "/"}, ("down", "status"), id="a redirect to the page of queries"),
        pytest.param("machine", {"health": "/metrics"}, UP, id="a page of metrics"),
        pytest.param("prometheus", {"health": "/api/v1/status/runtimeinfo"}, UP, id="an API that says success"),
        pytest.param("prometheus", {"health": "/api/v1/query"}, ("down", "status"), id="an API that says error"),
        pytest.param("alertmanager", {"health": "/api/v2/status"}, UP, id="an API with a nested status"),
    ],
)
def test_their_routes_are_judged_rightly(
    programs: ForeignSystem, name: str, keys: Keys, expected: tuple[str, str]
) -> None:
    before = programs.services[name]
    programs.change(name, **keys)
    try:
        row = programs.health(name)[name]
    finally:
        programs.services[name] = before
        programs.write()
    assert well(row) == expected, row


def test_a_wrong_configuration_is_named_in_the_words_of_the_program(system: ForeignSystem) -> None:
    (system.project / "wrong.yml").write_text("receivers: []\n")
    system.add("alertmanager", alertmanager("wrong.yml"), health="/-/healthy", restart={"policy": "never"})
    done = system("start")
    assert done.returncode == 4
    assert "no routes provided" in done.stdout + done.stderr
