"""The loader of toombos.toml: valid manifests, and the problems it reports for invalid ones."""

import sys

import pytest

from toombos_cli.base.errors import ConfigurationError
from toombos_cli.manifest.model import start_order
from toombos_cli.manifest.reading.loader import load_manifest
from toombos_cli.project.find import find_project

OWN = '[services.shop]\ncommand = ["{python}", "shop.py", "--port", "{port}"]\nport = 7001\n'
WORKER = '[services.w]\ncommand = ["x"]\nscheme = "none"\n'


def load(directory, text):
    (directory / "toombos.toml").write_text(text)
    return load_manifest(directory)


def problems(directory, text):
    with pytest.raises(ConfigurationError) as caught:
        load(directory, text)
    return caught.value.problems


def test_without_a_file_the_packaged_manifest_describes_the_dry_run_system(tmp_path):
    manifest = load_manifest(tmp_path)
    ports = {s.name: s.port for s in manifest.services.values() if not s.optional}
    assert ports == {"crm": 8001, "platform": 8002, "generator": 8000}
    assert manifest.modes["dry_run"].env == {"DRY_RUN_MODE": "true", "USE_MOCK_SERVICES": "true"}
    assert manifest.source.path is None


def test_a_projects_own_file_replaces_the_packaged_manifest(tmp_path):
    manifest = load(tmp_path, OWN)
    assert list(manifest.services) == ["shop"]
    assert manifest.services["shop"].command == (sys.executable, "shop.py", "--port", "7001")
    assert manifest.services["shop"].cwd == str(tmp_path)
    assert manifest.name == tmp_path.name


def test_extending_monitoring_adds_monitoring_alerts_and_schedule_without_the_dry_run_services(tmp_path):
    manifest = load(tmp_path, 'extends = "monitoring"\n[services.shop]\ncommand = ["shop"]\nport = 5001\n')
    assert set(manifest.services) == {"shop", "alerts", "alertmanager", "prometheus", "host", "grafana"}
    assert manifest.monitoring.rules == ()
    assert "P0" in manifest.alerts.contacts
    assert "backup" in manifest.schedule


def test_extends_merges_tables_and_replaces_other_values(tmp_path):
    manifest = load(tmp_path, 'extends = "toombos"\n[services.crm]\nport = 9001\n[backup]\nroots = ["x"]\n')
    assert manifest.services["crm"].port == 9001
    assert manifest.services["crm"].title == "Mock CRM"
    assert manifest.services["generator"].default_env["MOCK_CRM_BASE_URL"] == "http://127.0.0.1:9001"
    assert manifest.backup.roots == ("x",)


def test_a_disabled_service_is_removed_and_no_service_depends_on_it(tmp_path):
    manifest = load(tmp_path, 'extends = "toombos"\n[services.crm]\nenabled = false\n')
    assert "crm" not in manifest.services
    assert manifest.services["generator"].depends_on == {"platform": "started"}


def test_smoke_steps_that_need_a_disabled_service_are_removed_with_it(tmp_path):
    manifest = load(tmp_path, 'extends = "toombos"\n[services.platform]\nenabled = false\n')
    steps = {step.name for step in manifest.smoke}
    assert "crm-send" in steps
    assert not steps & {"platform-publish", "generate", "generate-reached-crm"}


def test_a_list_of_dependencies_waits_until_each_is_ready(tmp_path):
    manifest = load(tmp_path, OWN + '[services.cart]\ncommand = ["x"]\nport = 7002\ndepends_on = ["shop"]\n')
    assert manifest.services["cart"].depends_on == {"shop": "ready"}
    assert start_order(manifest.services) == (("shop",), ("cart",))


def test_services_without_a_port_do_not_clash_and_have_no_address(tmp_path):
    manifest = load(tmp_path, WORKER + WORKER.replace(".w]", ".v]"))
    assert [(s.name, s.port, s.url, s.health) for s in manifest.services.values()] == [
        ("w", 0, "", ""),
        ("v", 0, "", ""),
    ]


def test_an_ipv6_host_is_bracketed_in_the_url(tmp_path):
    assert load(tmp_path, OWN + 'host = "::1"\n').services["shop"].url == "http://[::1]:7001"


WRONG = [
    pytest.param("[services.shop\n", 1, "not valid TOML", None, id="not TOML"),
    pytest.param(OWN + "prot = 1\n", 4, "unknown key services.shop.prot", "did you mean 'port'?", id="unknown key"),
    pytest.param("nam = 'x'\n" + OWN, 1, "unknown key nam", "did you mean 'name'?", id="unknown top-level key"),
    pytest.param(
        '[services.a]\ncommand = ["x"]\nport = "80"\n',
        3,
        "services.a.port: must be a whole number",
        "port = 80",
        id="type",
    ),
    pytest.param('[services.a]\ncommand = ["x"]\n', 1, "port is missing", None, id="missing key"),
    pytest.param('[services.a]\ncommand = ["x"]\nport = 0\n', 3, "port is missing", None, id="port 0"),
    pytest.param('[services.a]\ncommand = ["x"]\nport = 70000\n', 3, "port must be 1 to 65535", None, id="port"),
    pytest.param(OWN + 'scheme = "none"\n', 3, "port is set, but scheme = 'none'", None, id="port of a worker"),
    pytest.param(WORKER + 'ready = "/x"\n', 4, "scheme = 'none' has no paths", None, id="path of a worker"),
    pytest.param(WORKER + 'env = { A = "{url}" }\n', 4, "unknown placeholder {url}", None, id="address of a worker"),
    pytest.param(
        WORKER + '[load]\nservice = "w"\n',
        5,
        "w has no port, so it cannot receive requests",
        None,
        id="load of a worker",
    ),
    pytest.param("[services.a]\ncommand = []\nport = 1\n", 2, "command must name a program", None, id="no command"),
    pytest.param(OWN + 'health = "x"\n', 4, "health must be a path", None, id="path without a slash"),
    pytest.param(OWN + "grace_period_s = 0\n", 4, "grace_period_s must be above 0", None, id="no grace"),
    pytest.param(OWN + 'depends_on = ["shap"]\n', 4, "depends on 'shap'", "did you mean 'shop'?", id="dependency"),
    pytest.param(
        OWN + 'depends_on = { w = "completed" }\n[services.w]\ncommand = ["x"]\nscheme = "none"\n',
        4,
        "shop waits until w is completed, but w is no task",
        'depends_on = { w = "ready" }, or kind = "task" in w',
        id="a service is never completed",
    ),
    pytest.param(
        OWN + 'depends_on = { m = "ready" }\n[services.m]\ncommand = ["x"]\nkind = "task"\n',
        4,
        "shop waits until m is ready, but m is a task",
        'depends_on = { m = "completed" }',
        id="a task is never ready",
    ),
    pytest.param(
        OWN + "depends_on = { b = { restrat = true } }\n", 4, "unknown key", "did you mean 'restart'?", id="long"
    ),
    pytest.param(
        OWN + 'depends_on = { b = { when = "redy" } }\n', 4, "'redy' is not one of", "did you mean 'ready'?", id="when"
    ),
    pytest.param(OWN + 'kind = "task"\n', 3, "port is set, but a task runs to its end", None, id="a task with a port"),
    pytest.param(OWN + 'run = "once"\n', 4, "only a task (kind = 'task') has it", None, id="a service that runs once"),
    pytest.param(OWN + 'depends_on = ["shop"]\n', 4, "cycle: shop -> shop", None, id="depends on itself"),
    pytest.param(
        OWN + 'env = { A = "{prot}" }\n', 4, "unknown placeholder {prot}", "did you mean {port}?", id="placeholder"
    ),
    pytest.param(
        OWN + 'restart = { policy = "allways" }\n',
        4,
        "services.shop.restart.policy: 'allways' is not one of always, on-failure, never",
        "did you mean 'always'?",
        id="choice",
    ),
    pytest.param(
        OWN + '[[monitoring.rules]]\nname = "x"\nexpr = "x"\nsummary = "x"\nseverity = "P9"\n',
        8,
        "monitoring.rules.0.severity: 'P9' is not one of P0, P1, P2, P3",
        None,
        id="choice in an array",
    ),
    pytest.param(
        OWN + '[alerts.channels.team]\nurl = "x"\nseverities = ["P9"]\n',
        4,
        "alerts.channels: 'P9' is not one of P0, P1, P2, P3",
        None,
        id="choice below a name",
    ),
    pytest.param("[service.a]\nport = 1\n", 1, "unknown key service", "did you mean 'services'?", id="header"),
    pytest.param(OWN + "port = 7", 4, "not valid TOML", None, id="TOML with an error at its end"),
    pytest.param(
        'extends = "toombos"\n[services.genrator]\nport = 1\n',
        2,
        "services.genrator: command is missing",
        "did you mean [services.generator]?",
        id="override of an unknown service",
    ),
    pytest.param(
        '[services."../x"]\ncommand = ["x"]\nport = 1\n', 1, "service name '../x': use letters", None, id="name"
    ),
    pytest.param(
        OWN + '[[smoke]]\nname = "a"\nservice = "shap"\npath = "/"\n',
        6,
        "no service is named 'shap'",
        "did you mean 'shop'?",
        id="service of a smoke step",
    ),
    pytest.param(OWN + '[load]\nservice = "b"\n', 5, "no service is named 'b'", "services: shop", id="load target"),
    pytest.param(
        OWN + '[environment.A]\ndescription = "a"\nused_by = ["b"]\n',
        6,
        "no service is named 'b'",
        "services: shop",
        id="reader of a variable",
    ),
    pytest.param(
        OWN + '[services.b]\ncommand = ["x"]\nport = 7001\n',
        6,
        "port 7001 is already the port of shop",
        None,
        id="clash",
    ),
    pytest.param('extends = "tombos"\n', 1, "is not a packaged manifest", 'extends = "toombos"', id="extends"),
    pytest.param("", None, "no services", 'add [services.NAME] tables, or extends = "toombos"', id="empty"),
    pytest.param("services = 3\n", 1, "services must be a table of tables", None, id="services is not a table"),
    pytest.param("[services]\na = 1\n", 2, "must be a table", None, id="a service is not a table"),
]


@pytest.mark.parametrize(("text", "line", "message", "hint"), WRONG)
def test_a_problem_is_reported_with_its_line(tmp_path, text, line, message, hint):
    found = problems(tmp_path, text)
    assert len(found) == 1, found
    assert message in found[0].message
    assert found[0].where == str(tmp_path / "toombos.toml") + (f":{line}" if line else "")
    if hint:
        assert found[0].hint == hint


def test_all_problems_are_reported_at_once_in_the_order_of_the_file(tmp_path):
    found = problems(tmp_path, "nam = 1\n" + OWN + "prot = 1\nhost = 3\n[logs]\nkep = 1\n")
    assert [p.where.rpartition(":")[2] for p in found] == ["1", "5", "6", "8"]


def test_a_dependency_cycle_is_printed_in_the_order_of_waiting(tmp_path):
    text = "".join(
        f'[services.{name}]\ncommand = ["x"]\nport = {port}\ndepends_on = ["{after}"]\n'
        for name, port, after in (("a", 1, "b"), ("b", 2, "c"), ("c", 3, "a"))
    )
    (found,) = problems(tmp_path, text)
    assert found.message in {
        "dependencies form a cycle: a -> b -> c -> a",
        "dependencies form a cycle: b -> c -> a -> b",
        "dependencies form a cycle: c -> a -> b -> c",
    }


def test_a_file_that_is_not_utf8_is_refused_with_the_byte(tmp_path):
    (tmp_path / "toombos.toml").write_bytes(b"name = '\xe9'\n")
    with pytest.raises(ConfigurationError, match="not UTF-8 at byte 8"):
        load_manifest(tmp_path)


@pytest.mark.parametrize("marker", ["toombos.toml", ".env", ".env.example", "run/state.json"])
def test_the_project_is_the_nearest_parent_directory_with_a_marker(tmp_path, marker):
    outer, inner = tmp_path / "outer", tmp_path / "outer" / "a" / "b"
    inner.mkdir(parents=True)
    (outer / marker).parent.mkdir(exist_ok=True)
    (outer / marker).touch()
    assert find_project(inner) == outer


def test_without_a_marker_the_project_is_the_current_directory(tmp_path):
    assert find_project(tmp_path) == tmp_path


def test_an_unknown_mode_is_refused_by_name(tmp_path):
    manifest = load(tmp_path, OWN)
    assert manifest.mode_env(None) == {}
    with pytest.raises(ConfigurationError, match="the manifest has no mode dry_run"):
        manifest.mode_env("dry_run")
