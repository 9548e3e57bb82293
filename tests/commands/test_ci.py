"""What CI gets: annotations with file and line, in GitHub's steps by themselves; JUnit, also of a failure; colours."""

import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.support.ports import free_port
from tests.support.runner import run_toombos
from tests.support.servers import json_answer, serve

GITHUB = {"GITHUB_ACTIONS": "true"}


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Path]:
    """A project whose service responds, with a step that fails, an optional load, and a dead service."""
    with serve(json_answer('{"status": "ok"}')) as port:
        (tmp_path / "toombos.toml").write_text(
            f'[services.shop]\ncommand = ["sleep", "60"]\nport = {port}\n'
            f'[services.dead]\ncommand = ["sleep", "60"]\nport = {free_port()}\n'
            '[load]\nservice = "shop"\npath = "/health"\n'
            '[[smoke]]\nname = "front"\nservice = "shop"\npath = "/"\nstatus = 404\n'
        )
        (tmp_path / ".env").write_text("A = 1\nA = 2\nSHOP_API_KEY = x\n")
        yield tmp_path


ANNOTATED = {
    "smoke": (("smoke",), "::error file=toombos.toml,line=10,title=toombos smoke%3A front::"),
    "the health step of smoke": (("smoke",), "::error file=toombos.toml,line=4,title=toombos smoke%3A health-dead::"),
    "health": (("health",), "::error file=toombos.toml,line=4,title=toombos health%3A dead::"),
    "health as JUnit": (("health", "--format", "junit"), "::error file=toombos.toml,line=4,"),
    "load": (("load", "-n", "2", "--slo", "p99<1us"), "title=toombos load%3A p99<1us::"),
    "diagnose": (("diagnose", "--only", "process"), "title=toombos diagnose%3A proc.missing"),
    "config check": (("config", "check"), "::error file=.env,line=1,title=toombos config check%3A duplicates"),
}


@pytest.mark.parametrize(("line", "begins"), ANNOTATED.values(), ids=ANNOTATED)
def test_a_step_of_github_gets_annotations_by_itself(line, begins, shop: Path):
    done = run_toombos(*line, cwd=shop, env=GITHUB | {"GITHUB_STEP_SUMMARY": str(shop / "summary.md")})
    found = [text for text in (done.stdout + done.stderr).splitlines() if text.startswith("::")]
    assert any(text.startswith("::") and begins in text for text in found), done.stdout + done.stderr
    assert (shop / "summary.md").read_text().startswith("### toombos ")
    if "--format" in line:
        ElementTree.fromstring(done.stdout)  # noqa: S314  (our own document)


def test_annotations_are_switched_on_and_off(shop: Path):
    assert "::error" in run_toombos("health", "--github", cwd=shop).stdout
    assert "::error" not in run_toombos("health", "--no-github", cwd=shop, env=GITHUB).stdout
    assert "::error" not in run_toombos("health", cwd=shop).stdout


def test_the_file_of_an_annotation_is_relative_to_the_workspace(shop: Path):
    done = run_toombos("health", cwd=shop, env=GITHUB | {"GITHUB_WORKSPACE": str(shop.parent)})
    assert f"::error file={shop.name}/toombos.toml,line=4," in done.stdout


def test_an_invalid_manifest_is_annotated_at_its_line_and_in_the_junit_file(tmp_path: Path):
    (tmp_path / "toombos.toml").write_text('[services.a]\ncommand = "x"\nport = 1\n')
    done = run_toombos("smoke", "--junit", "reports/smoke.xml", cwd=tmp_path, env=GITHUB)
    assert done.returncode == 3
    assert "::error file=toombos.toml,line=2,title=toombos::services.a.command: must be a list" in done.stderr
    (error,) = ElementTree.parse(tmp_path / "reports" / "smoke.xml").iter("error")  # noqa: S314
    assert "services.a.command: must be a list" in str(error.get("message"))


def test_junit_has_the_time_the_machine_and_the_place_of_each_case(shop: Path):
    run_toombos("smoke", "--junit", "smoke.xml", cwd=shop)
    (suite,) = ElementTree.parse(shop / "smoke.xml").iter("testsuite")  # noqa: S314
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", str(suite.get("timestamp")))
    assert suite.get("hostname")
    places = {case.get("name"): (case.get("file"), case.get("line")) for case in suite.iter("testcase")}
    assert places["front"] == ("toombos.toml", "10")


COLOURS = {
    "none": ({}, False),
    "FORCE_COLOR": ({"FORCE_COLOR": "1"}, True),
    "CLICOLOR_FORCE": ({"CLICOLOR_FORCE": "1"}, True),
    "FORCE_COLOR=0": ({"FORCE_COLOR": "0"}, False),
    "NO_COLOR wins": ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
}


@pytest.mark.parametrize(("env", "coloured"), COLOURS.values(), ids=COLOURS)
def test_colours_can_be_forced(env, coloured, shop: Path):
    assert ("\x1b[" in run_toombos("health", cwd=shop, env=env).stdout) == coloured
