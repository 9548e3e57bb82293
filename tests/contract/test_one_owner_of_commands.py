"""Commands for people to paste are built in one place, so that each works from any directory."""

import ast
from pathlib import Path

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
