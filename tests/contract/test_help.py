"""The help, the man pages and `toombos help`: each command has examples that are accepted, and a page that exists."""

import json
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.contract.test_command_line import all_commands, with_help
from tests.support.printed_commands import PAGES, in_blocks, in_sentences
from toombos_cli.base.pages import page_titles
from toombos_cli.cli.examples import GUIDES
from toombos_cli.main import Toombos, main

ROOT = Path(__file__).parents[2]
HIDDEN = {name for name, command in all_commands() if command.hidden}
NAMES = [name for name, _ in all_commands()]
EXAMPLES = list(dict.fromkeys([*Toombos.guide[1], *(row for guide in GUIDES.values() for row in guide.examples)]))


def test_every_command_has_examples_and_a_page():
    assert GUIDES.keys() == set(NAMES)
    assert [name for name, guide in GUIDES.items() if not guide.examples and name not in HIDDEN] == []
    assert {guide.page for guide in GUIDES.values()} | {Toombos.guide[0]} <= page_titles().keys()


@pytest.mark.parametrize("name", ["", *NAMES])
def test_the_help_of_every_command_ends_with_its_examples_and_its_page(name, capsys):
    assert main([*name.split(), "--help"]) == 0
    shown = capsys.readouterr().out
    page, examples = Toombos.guide if name == "" else (GUIDES[name].page, GUIDES[name].examples)
    assert shown.endswith(f"Page: toombos help {page}.md\n")
    assert all(line in " ".join(shown.split()) for line, _ in examples)
    capsys.readouterr()
    assert main(["help", *name.split()]) == 0
    assert capsys.readouterr().out.startswith(shown.rstrip())


@pytest.mark.parametrize("line", [line for line, _ in EXAMPLES])
def test_every_example_is_accepted(line, capsys):
    words = shlex.split(line.partition(" > ")[0])
    assert words[0] == "toombos"
    assert main(with_help(words[1:])) == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_line_of_a_page_is_accepted(page, capsys):
    lines = dict.fromkeys([*in_blocks(page), *in_sentences(page)])
    assert [line for line in lines if main(with_help(shlex.split(line)[1:])) != 0] == [], capsys.readouterr().err


@pytest.mark.parametrize("name", page_titles())
def test_help_shows_every_page(name, capsys):
    assert main(["help", f"{name}.md"]) == 0
    assert capsys.readouterr().out.rstrip() == (ROOT / "docs" / f"{name}.md").read_text().rstrip()


def test_help_lists_the_pages(capsys):
    assert main(["help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in page_titles())


@pytest.mark.parametrize(
    ("topic", "hint"),
    [
        pytest.param("heath", "toombos help health", id="a command that is misspelt"),
        pytest.param("manifst", "toombos help manifest", id="a page that is misspelt"),
        pytest.param("zzzz", "toombos help", id="nothing near"),
        pytest.param("../README", "toombos help", id="a file outside the pages"),
    ],
)
def test_help_for_an_unknown_topic_exits_2_with_the_nearest_one(topic, hint, capsys):
    assert main(["help", topic]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"hint: {hint}"


def test_help_has_a_json_document(capsys):
    assert main(["help", "manifest", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)["data"]
    assert data["topic"] == "manifest"
    assert data["page"].endswith("/docs/manifest.md")


@pytest.fixture(scope="module")
def man(tmp_path_factory):
    """The man pages as this version makes them."""
    directory = tmp_path_factory.mktemp("man")
    assert main(["help", "--man", str(directory)]) == 0
    return directory


def test_the_man_pages_in_the_repository_are_those_of_this_version(man):
    made = {path.name: path.read_text() for path in man.iterdir()}
    kept = {path.name: path.read_text() for path in (ROOT / "docs" / "man").iterdir()}
    assert kept == made, "toombos help --man docs/man"


def test_every_man_page_names_what_the_help_names(man):
    pages = {path.stem: path.read_text().replace("\\-", "-") for path in man.iterdir()}
    assert pages.keys() == {"toombos", *(f"toombos-{name}" for name in NAMES if " " not in name)}
    for name, command in all_commands():
        if name not in HIDDEN:
            page = pages[f"toombos-{name.split()[0]}"]
            assert f".B toombos {name}\n" in page
            assert all(option in page for parameter in command.params for option in parameter.opts if option[0] == "-")


def test_a_man_page_is_roff_without_a_warning(man):
    groff = shutil.which("groff")
    if groff is None:
        pytest.skip("no groff here")
    for path in man.iterdir():
        done = subprocess.run([groff, "-man", "-ww", "-Tutf8", "-z", path], capture_output=True, text=True, check=True)
        assert done.stderr == "", path.name


def test_man_pages_are_not_written_where_they_cannot_be(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main(["help", "--man", str(tmp_path / "file" / "man")]) == 4
