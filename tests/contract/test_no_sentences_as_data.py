"""No decision depends on words in text that the product wrote for people: facts are passed as enums and records.

The test looks for comparisons of text with a field whose name marks it as prose. Text from other programs
(logs, responses) may be searched: ALLOWED lists each such place with the reason.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[2] / "toombos_cli"
PROSE = {"advice", "cause", "detail", "fix", "hint", "message", "problem", "reason", "said", "text", "title"}
SEARCHES = {"count", "endswith", "find", "fullmatch", "index", "match", "partition", "search", "split", "startswith"}

LOGS, ENV = "the log line of another program", "a line of the user's `.env`"
ALLOWED = {
    "diagnose/checks/kernel.py: said.search(entry.text)": LOGS,
    "diagnose/checks/code_places.py: 'File \"' in after[0].text": LOGS,
    "diagnose/checks/code_places.py: DATED.match(last[i].text)": LOGS,
    "diagnose/checks/code_places.py: _FRAME.match(entry.text)": LOGS,
    "diagnose/checks/later_success.py: _ACCESS.search(one.text)": LOGS,
    "diagnose/checks/log_evidence.py: _WARNING.search(entry.text)": LOGS,
    "diagnose/checks/log_evidence.py: re.search(one.known.over, entry.text)": LOGS,
    "diagnose/checks/log_kinds.py: DATED.match(entry.text)": LOGS,
    "diagnose/checks/processes.py: re.search('\\\\bWARN', e.text)": LOGS,
    "export/left_out.py: binding.text.startswith('export ')": ENV,
    "probes/command.py: re.search(wanted, self._printed.text)": "the output, searched for what the manifest names",
    "probes/judge.py: re.search(expectation.text, result.text)": "the response, searched for what the manifest names",
    "settings/rules/lines.py: binding.text.startswith('export ')": ENV,
    "settings/rules/lines.py: re.match('(?:export[^\\\\S\\\\r\\\\n]+)?[^=]*?([^\\\\S\\\\r\\\\n]*)="
    "([^\\\\S\\\\r\\\\n]*)(\\\\S?)', binding.text)": ENV,
    "probes/steps/judge.py: re.search(step.text, text)": "the response, searched for what the manifest names",
}


def prose_in(node: ast.expr) -> bool:
    """Return whether an expression is a prose field or variable, possibly lowered, stripped or converted to str."""
    if isinstance(node, ast.Attribute):
        return node.attr in PROSE
    if isinstance(node, ast.Name):
        return node.id in PROSE - {"text", "fix"}  # a variable with this name may be any text
    if isinstance(node, ast.Subscript):
        return isinstance(node.slice, ast.Constant) and node.slice.value in PROSE
    if isinstance(node, ast.Call):
        return any(prose_in(part) for part in (node.func, *node.args) if not isinstance(part, ast.Name)) or (
            isinstance(node.func, ast.Attribute) and prose_in(node.func.value)
        )
    return False


def is_enum(node: ast.expr) -> bool:
    """Return whether it is the `reason` of a probe, whose constants are sets of reasons, not sentences."""
    return (isinstance(node, ast.Attribute) and node.attr == "reason") or (
        isinstance(node, ast.Name) and node.id == "reason"
    )


def words_in(node: ast.expr) -> bool:
    """Return whether an expression is words: a literal, or a name in upper case."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str) and any(c.isalpha() for c in node.value)
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        return any(words_in(item) for item in node.elts)
    return isinstance(node, ast.Name) and node.id.lstrip("_").isupper()


def decisions(tree: ast.AST) -> Iterator[ast.expr]:
    """Yield the expressions that compare prose with words."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            pairs = zip((node.left, *node.comparators), node.comparators, strict=False)
            if any(_compared(a, b) or _compared(b, a) for a, b in pairs):
                yield node
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in SEARCHES:
            owner, arguments = node.func.value, node.args
            is_own = prose_in(owner) and any(words_in(argument) for argument in arguments)
            if is_own or (node.func.attr in ("fullmatch", "match", "search") and any(map(prose_in, arguments))):
                yield node


def _compared(prose: ast.expr, words: ast.expr) -> bool:
    return prose_in(prose) and words_in(words) and not (is_enum(prose) and isinstance(words, ast.Name))


def found_in(source: str, name: str) -> list[str]:
    return [f"{name}: {ast.unparse(node)}" for node in decisions(ast.parse(source))]


def test_no_decision_depends_on_words_in_our_own_text():
    found = [
        place
        for path in sorted(SOURCES.rglob("*.py"))
        for place in found_in(path.read_text(), str(path.relative_to(SOURCES)))
    ]
    assert sorted(set(found) - ALLOWED.keys()) == []
    assert sorted(ALLOWED.keys() - set(found)) == [], "an exception is no longer needed"


# Each was once in the product.
ONCE = {
    "a word of another package's detail": '"degraded" in health.detail',
    "a constant of prose in a detail": "_REFUSED not in detail",
    "an expression over a detail": "_NOTHING_TO_RUN.match(found.detail)",
    "a search of a detail": 're.search("certificate", health.detail)',
    "a detail that equals a sentence": "judged.detail == WEB_PAGE",
    "a problem that equals a sentence": "problem == NOTHING_LISTENS",
    "the start of a message": 'problem.message.startswith("Usage: ")',
    "the start of a hint": 'hint.startswith(("rmdir ", "chmod "))',
    "a word of a cause": '"damaged" in root.cause or "malformed" in root.reason',
    "a word of a lowered cause": '"has not answered" in answer.cause.lower()',
    "a word of a cause in JSON": '"damaged" in finding["cause"]',
}


@pytest.mark.parametrize("source", ONCE.values(), ids=ONCE)
def test_the_search_finds_a_comparison_with(source):
    assert found_in(source, "x.py")


FACTS = {
    "an enum": "health.reason is Reason.BODY",
    "a kind": 'failure.kind == "configuration"',
    "whether there is text": 'reason or detail != ""',
    "text that is only shown": 'f"{found.detail}"',
}


@pytest.mark.parametrize("source", FACTS.values(), ids=FACTS)
def test_the_search_ignores(source):
    assert found_in(source, "x.py") == []
