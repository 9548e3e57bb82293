"""Commands for people to paste are built in one place, so that each works from any directory."""

import ast
import re
from pathlib import Path

from toombos_cli.main import COMMANDS

SOURCES = Path(__file__).parents[2] / "toombos_cli"


def names_the_project(node: ast.AST) -> bool:
    """Return whether an expression spells out `toombos --project ...`, as words or as text."""
    if isinstance(node, ast.Tuple | ast.List | ast.Call):
        words = node.args if isinstance(node, ast.Call) else node.elts
        texts = [word.value for word in words if isinstance(word, ast.Constant)]
        return "toombos" in texts and "--project" in texts
    return isinstance(node, ast.JoinedStr) and any(
        isinstance(part, ast.Constant) and str(part.value).endswith("toombos --project ") for part in node.values
    )


def test_only_the_owning_modules_spell_out_a_command_for_a_project():
    found = {
        str(path.relative_to(SOURCES))
        for path in SOURCES.rglob("*.py")
        if any(names_the_project(node) for node in ast.walk(ast.parse(path.read_text())))
    }
    assert found == {"base/fixes.py"}


COMMAND = re.compile(r"(^|\W)toombos (" + "|".join(name for name, *_ in COMMANDS) + r")\b")

QUOTED_AS_A_NAME = {
    "alerts/operations.py",  # the title of a test alert names the command that sent it
    "backup/archive/restore_txt.py",  # in an archive, for any machine
    "cli/examples.py",  # the help, which is the same in every directory
    "cli/man_pages.py",
    "cli/plain_help.py",
    "commands/help.py",
    "main.py",
    "config/template.py",  # the head of a new .env
    "config/imports/writer.py",  # the head of a new manifest
    "diagnose/bundle.py",  # the command that wrote a file
    "monitoring/files.py",  # the heads of generated files
    "export/compose.py",  # the heads of exported files, and what they leave out
    "export/fates.py",
    "export/systemd.py",
    "export/toombos_pods.py",
    "export/yaml_text.py",
    "manifest/tables/monitoring.py",  # rules are the same in every directory
    "monitoring/service_rules.py",
    "monitoring/watching_rules.py",
    "recovery/steps.py",  # the steps' titles
    "schedule/crontab.py",  # the head of a crontab
    "supervisor/history_keeper.py",  # the history names the command that asked for something
}


def commands_in(tree: ast.Module) -> list[str]:
    """Return the texts that spell out a toombos command, except docstrings."""
    documents = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    texts = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str))
    return [text.value for text in texts if id(text) not in documents and COMMAND.search(text.value)]


def test_a_hint_is_built_from_words_so_that_it_works_where_the_user_is():
    found = {
        str(path.relative_to(SOURCES)) for path in SOURCES.rglob("*.py") if commands_in(ast.parse(path.read_text()))
    }
    assert found == QUOTED_AS_A_NAME
