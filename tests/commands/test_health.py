"""`toombos health` as people and programs see it: formats, exit codes, terminals, logs and alarms."""

import json
import os
import re
import subprocess
import sys
from xml.etree import ElementTree

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.ports import free_port
from tests.support.runner import begin_toombos
from tests.support.servers import answer, json_answer, serve
from tests.support.terminal import on_a_terminal
from tests.support.waiting import wait_for

HEALTHY = json_answer('{"status": "healthy"}')
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


@pytest.fixture
def project(tmp_path):
    """Two services: `good` responds, and nothing listens on the port of `bad`."""
    with serve(HEALTHY) as port:
        write(tmp_path, good=port, bad=free_port())
        yield tmp_path


def write(project, *, good, bad=None):
    tables = {"good": good} | ({"bad": bad} if bad else {})
    (project / "toombos.toml").write_text(
        "".join(f'[services.{name}]\ncommand = ["unused"]\nport = {port}\n' for name, port in tables.items())
    )


def test_text_names_each_service_and_reason_with_the_fix_on_its_own_line(toombos, project):
    done = toombos("health")
    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (1, "")
    assert lines[0].split() == ["VERDICT", "SERVICE", "REASON", "LATENCY", "PID", "URL"]
    assert re.match(r"PASS +good +ok +\d+ ms", lines[1])
    assert re.match(r"FAIL +bad +refused", lines[2])
    assert lines[3].startswith("bad: ")
    assert "nothing listens there" in lines[3]
    assert lines[4].strip() == f"toombos --project {project} start bad"
    assert lines[-1] == "1 up, 1 down"


def test_json_is_one_document_with_the_contract_keys(toombos):
    done = toombos("health", "--json")
    document = json.loads(done.stdout)
    assert (document["command"], document["verdict"], document["exit_code"]) == ("health", "fail", done.returncode)
    good, bad = document["data"]["services"]
    contract = {"name", "url", "status", "reason", "http_status", "latency_ms", "pid", "detail"}
    assert contract <= good.keys() == bad.keys()
    assert (good["status"], good["reason"], good["http_status"], good["pid"]) == ("up", "ok", 200, os.getpid())
    assert (bad["status"], bad["reason"], bad["http_status"], bad["latency_ms"]) == ("down", "refused", None, None)


def test_only_the_named_services_are_checked(toombos):
    done = toombos("health", "good")
    assert (done.returncode, "bad" in done.stdout) == (0, False)


def test_an_unknown_service_is_a_usage_error_with_the_nearest_name(toombos):
    done = toombos("health", "goood")
    assert (done.returncode, done.stdout) == (2, "")
    assert "did you mean 'good'?" in done.stderr


def test_nagios_output_has_its_own_exit_codes_and_performance_data(toombos):
    done = toombos("health", "--format", "nagios")
    first, *rest = done.stdout.splitlines()
    assert done.returncode == 2
    assert re.fullmatch(r"TOOMBOS HEALTH CRITICAL - 1 of 2 ok; not ok: bad \| 'good'=[\d.]+s;;;0", first)
    assert rest[0].startswith("CRITICAL: bad refused")
    assert toombos("health", "good", "--format", "nagios").returncode == 0


def test_junit_has_one_case_per_service(toombos):
    done = toombos("health", "--format", "junit")
    cases = ElementTree.fromstring(done.stdout).findall(".//testcase")  # noqa: S314  (our own output)
    assert [(c.get("name"), c.find("failure") is not None) for c in cases] == [("good", False), ("bad", True)]
    assert done.returncode == 1


def test_the_prometheus_parser_reads_the_prometheus_format(toombos):
    done = toombos("health", "--format", "prometheus")
    families = {f.name: f for f in text_string_to_metric_families(done.stdout)}
    up = {s.labels["service"]: s.value for s in families["toombos_service_up"].samples}
    assert up == {"good": 1, "bad": 0}
    assert families["toombos_service_health_info"].samples[1].labels["reason"] == "refused"
    assert families["toombos_service_health_latency_seconds"].samples[0].value > 0


def test_quiet_prints_only_problems(toombos, project):
    assert "good" not in toombos("health", "--quiet").stdout
    assert toombos("health", "good", "--quiet").stdout == ""


def test_a_warning_is_a_failure_only_with_strict(toombos, project):
    with serve(json_answer('{"status": "degraded"}')) as port:
        write(project, good=port)
        assert toombos("health").returncode == 0
        assert toombos("health", "--strict").returncode == 1


def test_log_appends_one_line_per_check_to_a_private_file(toombos, project):
    toombos("health", "--log")
    toombos("health", "good", "--log")
    log = project / "logs" / "health-check.log"
    first, second = log.read_text().splitlines()
    assert re.fullmatch(r"\S+T\S+ FAIL good=up:ok:[\d.]+ms bad=down:refused:-", first)
    assert re.fullmatch(r"\S+T\S+ PASS good=up:ok:[\d.]+ms", second)
    assert log.stat().st_mode & 0o777 == 0o600


def test_a_log_that_cannot_be_written_is_reported_and_does_not_change_the_verdict(toombos, project):
    (project / "logs").write_text("a file")
    done = toombos("health", "good", "--log")
    assert done.returncode == 0
    assert "the check could not be logged" in done.stderr


def test_on_fail_runs_the_command_with_the_report_on_stdin(toombos, project):
    alarm = project / "alarm.json"
    command = f"{sys.executable} -c 'import sys; open(sys.argv[1], \"w\").write(sys.stdin.read())' {alarm}"
    assert toombos("health", "good", "--on-fail", command).returncode == 0
    assert not alarm.exists()
    done = toombos("health", "--on-fail", command)
    assert (done.returncode, done.stderr) == (1, "")
    assert json.loads(alarm.read_text())["data"]["services"][1]["reason"] == "refused"


STRICT = {"once": [], "in a watch": ["--watch", "0.1"], "with a log line": ["--log"]}


@pytest.mark.parametrize("more", STRICT.values(), ids=STRICT)
def test_a_warning_under_strict_runs_the_on_fail_command(project, more):
    alarm = project / "alarm.json"
    command = f"{sys.executable} -c 'import sys; open(sys.argv[1], \"w\").write(sys.stdin.read())' {alarm}"
    argv = [sys.executable, "-P", "-m", "toombos_cli", "health", "--json", "--on-fail", command, *more]
    with serve(json_answer('{"status": "degraded"}')) as port:
        write(project, good=port)
        with subprocess.Popen(argv, cwd=project, stdout=subprocess.PIPE, text=True) as process:
            report = json.loads(process.stdout.readline())
            process.terminate()
        assert (report["verdict"], report["exit_code"], alarm.exists()) == ("warn", 0, False)
        with subprocess.Popen([*argv, "--strict"], cwd=project, stdout=subprocess.PIPE, text=True) as process:
            report = json.loads(process.stdout.readline())
            wait_for(lambda: alarm.exists() and alarm.read_text(), what="the alarm")
            process.terminate()
        assert (report["verdict"], report["exit_code"]) == ("warn", 1)
        assert json.loads(alarm.read_text())["exit_code"] == 1


@pytest.mark.parametrize(
    ("command", "words"),
    [("no-such-program-here", "could not be started"), ("false", "failed with exit code 1")],
    ids=["command not found", "command fails"],
)
def test_an_on_fail_command_that_fails_is_reported_and_does_not_change_the_verdict(toombos, command, words):
    done = toombos("health", "--on-fail", command)
    assert done.returncode == 1
    assert words in done.stderr


@pytest.mark.parametrize("command", ["", "'open"], ids=["empty", "unclosed quote"])
def test_an_on_fail_value_that_is_not_a_command_is_a_usage_error(toombos, command):
    assert toombos("health", "--on-fail", command).returncode == 2


def test_escape_codes_from_a_service_never_reach_the_terminal(toombos, project):
    with serve(answer(status="302 Found", headers="Location: http://a/\x1b[31mred\r\n")) as port:
        write(project, good=port)
        for format_ in ("text", "json", "nagios", "junit", "prometheus"):
            assert "\x1b" not in toombos("health", "--format", format_).stdout


def test_a_closed_pipe_ends_the_command_quietly(toombos, project):
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {sys.executable} -P -m toombos_cli health | true"],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode in (1, 141)


@pytest.mark.parametrize(
    "env",
    [{}, {"NO_COLOR": "1"}, {"TERM": "dumb"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}, {"LC_ALL": "POSIX", "TERM": ""}],
    ids=["plain", "NO_COLOR", "dumb", "C locale", "POSIX"],
)
def test_output_to_a_file_is_neither_truncated_nor_coloured(toombos, project, env):
    done = toombos("health", env={"COLUMNS": "40"} | env)
    assert not CONTROL.search(done.stdout)
    assert "…" not in done.stdout
    assert any(line.strip() == f"toombos --project {project} start bad" for line in done.stdout.splitlines())


@pytest.mark.parametrize("width", [40, 80, 120])
@pytest.mark.parametrize(
    "env",
    [{"TERM": "xterm-256color"}, {"TERM": "xterm-256color", "NO_COLOR": "1"}, {"TERM": "dumb"}],
    ids=["colours", "NO_COLOR", "dumb"],
)
def test_rows_fit_the_terminal_and_colours_can_be_turned_off(project, width, env):
    text = on_a_terminal("health", cwd=project, width=width, env=env)
    coloured = "\x1b[" in text
    assert coloured == (env == {"TERM": "xterm-256color"})
    rows = [line for line in re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines() if re.match(r"PASS|FAIL", line)]
    assert len(rows) == 2
    if env["TERM"] != "dumb":  # a dumb terminal is treated like a file: its width is not known
        assert all(len(row) <= width for row in rows)


def test_watch_redraws_in_place_with_a_sparkline_and_leaves_the_last_report_on_the_terminal(project):
    argv = ("health", "good", "--watch", "0.1")
    text = on_a_terminal(*argv, cwd=project, width=80, env={"TERM": "xterm-256color"}, until="█")
    after = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text.rpartition("\x1b[?1049l")[2])
    rows = [line for line in after.splitlines() if line.startswith("PASS")]
    assert len(rows) == 1
    assert re.match(r"PASS +good +ok +\d+ ms +\d+ +[▁▂▃▄▅▆▇█]{2,}", rows[0])


def test_watch_prints_one_document_per_round_and_alerts_once_per_failure(toombos, project):
    alarm = project / "alarms"
    command = f'{sys.executable} -c \'import sys; open(sys.argv[1], "a").write("x")\' {alarm}'
    argv = ("health", "--json", "--watch", "0.1", "--on-fail", command)
    with begin_toombos(*argv, cwd=project, stderr=subprocess.DEVNULL) as process:
        rounds = [json.loads(process.stdout.readline()) for _ in range(4)]
        process.terminate()
        assert process.wait(30) == 143
    assert [r["verdict"] for r in rounds] == ["fail"] * 4
    assert alarm.read_text() == "x"


def test_a_check_imports_only_what_it_needs(project):
    code = (
        "import sys\nfrom toombos_cli.main import main\nmain(['health'])\n"
        "slow = ('httpx._main', 'pygments', 'pydantic', 'asyncio', 'h2')\n"
        "print([m for m in slow if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
