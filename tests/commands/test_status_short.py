"""`toombos status --short` says in one line what `toombos status` says in its table."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.ports import free_port
from tests.support.runner import TOOMBOS, begin_toombos, clean_environment, run_toombos
from tests.support.waiting import wait_for

READY = "command = ['sleep', '600']\nscheme = 'none'\n"
BROKEN = "command = ['false']\nscheme = 'none'\nrestart = { policy = 'never' }\n"


def silent() -> str:
    """Return the table of a service that runs and never listens."""
    return f"command = ['sleep', '600']\nport = {free_port()}\nstartup_timeout_s = 600\n"


class Row(NamedTuple):
    services: dict[str, str]
    start: tuple[str, ...]
    line: str
    exit_code: int


ROWS = {
    "all services are ready": Row({"a": READY, "b": READY}, ("start",), "2 ready, running", 0),
    "one has failed, the other is ready": Row({"a": READY, "b": BROKEN}, ("start",), "1 ready, b failed, running", 1),
    "one was never started": Row({"a": READY, "b": READY}, ("start", "a"), "1 ready, b stopped, running", 1),
    "the only one has failed": Row({"a": BROKEN}, ("start",), "a failed", 1),
    "nothing was started": Row({"a": READY}, (), "stopped", 1),
    "all are optional": Row({"a": READY + "optional = true\n"}, (), "no service", 0),
}


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    run_toombos("stop", cwd=tmp_path)


def write(project: Path, services: dict[str, str]) -> None:
    (project / "toombos.toml").write_text("".join(f"[services.{name}]\n{body}" for name, body in services.items()))


def asked_in_full(project: Path) -> "subprocess.CompletedProcess[str]":
    """Return what the ordinary command prints, which the further option asks for."""
    return run_toombos("status", "--short", "--no-color", cwd=project)


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_the_line_and_the_exit_code_are_those_of_status(project, row):
    write(project, row.services)
    if row.start:
        run_toombos(*row.start, cwd=project)

    shown = run_toombos("status", "--short", cwd=project)

    assert (shown.stdout, shown.stderr) == (f"{row.line}\n", "")
    assert shown.returncode == run_toombos("status", cwd=project).returncode == row.exit_code
    assert asked_in_full(project).stdout == shown.stdout


def test_a_service_that_is_starting_is_named(project):
    write(project, {"a": silent()})
    with begin_toombos("start", cwd=project):
        wait_for(lambda: run_toombos("status", "--short", cwd=project).stdout == "a starting, running\n")
        run_toombos("stop", cwd=project)


def test_nothing_is_printed_outside_a_project(tmp_path):
    shown = run_toombos("status", "--short", cwd=tmp_path)
    assert (shown.returncode, shown.stdout, shown.stderr) == (1, "", "")


@pytest.mark.parametrize("option", [(), ("--no-color",)], ids=["alone", "with an option of all commands"])
def test_an_invalid_manifest_is_reported_as_by_status(project, option):
    (project / "toombos.toml").write_text("[services.a]\ncommand = 7\n")
    shown = run_toombos("status", "--short", *option, cwd=project)
    assert (shown.returncode, shown.stdout) == (3, "")
    assert "toombos.toml" in shown.stderr
    assert "Traceback" not in shown.stderr


def test_the_project_of_the_environment_is_the_one_that_is_asked(project, tmp_path_factory):
    write(project, {"a": READY})
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    shown = run_toombos("status", "--short", cwd=elsewhere, env={"TOOMBOS_PROJECT": str(project)})
    assert shown.stdout == "stopped\n"


def test_watch_and_short_exclude_each_other(project):
    assert run_toombos("status", "--short", "--watch", cwd=project).returncode == 2


def test_a_reader_that_has_gone_ends_it_as_every_command(project):
    write(project, {"a": READY})
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [*TOOMBOS, "status", "--short"], cwd=project, env=clean_environment(), stdout=writer, stderr=subprocess.PIPE
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


def test_it_loads_neither_typer_nor_rich(project):
    write(project, {"a": READY})
    program = (
        "import sys\nfrom toombos_cli.cli.short_status import answer_prompt\nanswer_prompt(['status', '--short'])\n"
        "print(*sorted({'typer', 'rich', 'psutil', 'httpx'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], cwd=project, env=clean_environment(), capture_output=True, text=True
    )
    assert done.stdout == "stopped\n\n", done.stderr
