"""A hint is a command that works when it is pasted where the user is."""

import shlex
from pathlib import Path

import pytest

from tests.support.runner import run_toombos

ONE_SERVICE = "services.a.command = ['false']\nservices.a.scheme = 'none'\nservices.a.restart.policy = 'never'\n"

HINTS = [
    pytest.param(("start",), "logs a", id="a failed start hints at the log, in the words of the supervisor"),
    pytest.param(("backup", "status"), "backup", id="backup status hints at backup"),
    pytest.param(("restore", "nothing.tar"), "backup list", id="an unknown archive hints at the list"),
    pytest.param(("schedule", "run", "nothing"), "schedule show", id="an unknown job hints at the jobs"),
    pytest.param(("config", "encrypt"), "config init", id="a missing .env hints at config init"),
]


@pytest.mark.parametrize(("words", "hinted"), HINTS)
def test_a_hint_names_the_project_only_where_a_pasted_command_needs_it(
    tmp_path: Path, words: tuple[str, ...], hinted: str
):
    project, elsewhere = tmp_path / "my shop", tmp_path / "elsewhere"
    project.mkdir()
    elsewhere.mkdir()
    (project / "toombos.toml").write_text(ONE_SERVICE)
    inside = f"hint: toombos {hinted}"
    outside = f"hint: toombos --project {shlex.quote(str(project))} {hinted}"
    for cwd, before, expected in (
        (project, (), inside),
        (project, ("--project", "."), inside),
        (elsewhere, ("--project", project), outside),
        (elsewhere, ("--project", "../my shop"), outside),
    ):
        done = run_toombos(*before, *words, cwd=cwd)
        assert expected in done.stderr.splitlines(), done.stderr
    exported = run_toombos(*words, cwd=elsewhere, env={"TOOMBOS_PROJECT": str(project)})
    assert inside in exported.stderr.splitlines(), "the shell that exports the project needs no option"
