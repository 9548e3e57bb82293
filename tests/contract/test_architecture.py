"""Rules of the source layout."""

import ast
import subprocess
import sys
from ast import literal_eval
from collections import defaultdict
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import pytest
from typer.main import get_group

import toombos_cli
import toombos_cli.commands
import toombos_cli.render.text
from toombos_cli.main import COMMANDS
from toombos_cli.render.formats import FORMATS
from toombos_cli.render.text import VIEWS

ROOT = Path(__file__).parents[2]
HEAVY = ("httpx", "pydantic", "psutil", "sqlalchemy", "uvloop", "cryptography")


def test_imports_go_in_one_direction():
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


def test_the_top_package_contains_only_the_program_itself():
    assert {m.name for m in iter_modules(toombos_cli.__path__) if not m.ispkg} == {"main", "__main__"}


def test_class_names_are_unique():
    places = defaultdict(list)
    for package in ("toombos_cli", "services"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.ClassDef):
                    places[node.name].append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def makes_a_command(name):
    """Return whether a module of `commands` defines a Typer app, or a function under @command."""
    module = import_module(f"toombos_cli.commands.{name}")
    own = [value for value in vars(module).values() if getattr(value, "__module__", None) == module.__name__]
    return hasattr(module, "app") or any(
        hasattr(value, "__wrapped__") and hasattr(value, "__signature__") for value in own
    )


def test_every_command_module_is_registered_and_every_registered_module_exists():
    modules = {m.name for m in iter_modules(toombos_cli.commands.__path__) if makes_a_command(m.name)}
    assert {target.partition(":")[0] for _, target, _ in COMMANDS} == modules


def test_every_view_module_is_registered():
    modules = {m.name for m in iter_modules(toombos_cli.render.text.__path__)}
    assert {target.partition(":")[0] for target in VIEWS.values()} == modules


VIEW_TARGETS = [f"toombos_cli.render.text.{target}" for target in VIEWS.values()]


@pytest.mark.parametrize("target", [*(f"{module}:show" for module in FORMATS.values()), *VIEW_TARGETS])
def test_every_registered_renderer_exists(target):
    module, _, function = target.partition(":")
    assert callable(getattr(import_module(module), function))


def imported_by(argv, looked_for):
    """Return which of these modules, and of the command modules, a command line has imported when it ends."""
    code = (
        "import sys\nfrom toombos_cli.main import main\nmain(sys.argv[1:])\n"
        "own = ('toombos_cli.commands.', 'toombos_cli.cli.')\n"
        f"print([m for m in sys.modules if m in {looked_for} or m.startswith(own)])"
    )
    done = subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, text=True, check=True)
    return set(literal_eval(done.stdout.splitlines()[-1]))


ALWAYS = {
    f"toombos_cli.cli.{name}"
    for name in ("failure", "groups", "invocation", "lazy_commands", "options", "plain_help", "standard_streams")
}


@pytest.mark.parametrize(
    ("argv", "own"),
    [
        (["--help"], []),
        (["--version"], []),
        (["strat"], ["rich", "toombos_cli.cli.meant_names"]),
        (
            ["status", "--help"],
            ["toombos_cli.commands.status", "toombos_cli.cli.known_services", "toombos_cli.cli.examples"],
        ),
    ],
    ids=" ".join,
)
def test_help_version_and_a_misspelt_command_import_only_what_they_need(argv, own):
    looked_for = (*HEAVY, "rich", "rich.markdown", "rich.traceback", "msgspec", "asyncio")
    assert imported_by(argv, looked_for) - ALWAYS == set(own)


@pytest.mark.parametrize(("name", "summary"), [(name, summary) for name, _, summary in COMMANDS])
def test_the_overview_shows_the_first_sentence_of_the_commands_help(name, summary):
    from toombos_cli.cli import plain_help
    from toombos_cli.main import app

    assert plain_help.summary(get_group(app).get_command(None, name)) == summary


@pytest.mark.parametrize("name", [name for name, *_ in COMMANDS])
def test_every_command_has_help_that_lists_the_global_options(name, capsys):
    from toombos_cli.main import main

    assert main([name, "--help"]) == 0
    text = capsys.readouterr().out
    assert text.count("\n") > 5
    assert "--json" in text or "COMMAND" in text
