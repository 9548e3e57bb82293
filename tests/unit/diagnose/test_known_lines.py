"""The packaged knowledge base: each entry finds its own examples and no others', and no entry finds a harmless line."""

from collections import Counter

import pytest

from toombos_cli.diagnose.facts.logs import is_telling
from toombos_cli.diagnose.known.catalogue import FILES, all_lines, catalogue
from toombos_cli.manifest.tables.known import KnownLine, literal_of

LINES = tuple(all_lines())
EXAMPLES = [
    pytest.param(name, line, example, id=f"{line.id}: {example[:60]}")
    for name, line in LINES
    for example in line.examples
]


def find(text: str, program: str = "", *, complains: bool = True) -> str:
    """Return the id of the first entry that finds the line in the log of a program."""
    found = catalogue(()).find(text, complains=complains, is_last_word=True, programs={program: ""})
    return found[0].line.id if found else ""


def test_every_file_of_the_knowledge_base_is_listed():
    import toombos_cli.diagnose.known as package

    (place,) = package.__path__
    from pathlib import Path

    assert sorted(path.stem for path in Path(place).glob("*.toml")) == sorted(FILES)


def test_each_id_is_used_once_and_begins_with_its_file():
    assert [name for name, count in Counter(line.id for _, line in LINES).items() if count > 1] == []
    assert [line.id for name, line in LINES if not line.id.startswith(f"{name}.")] == []


@pytest.mark.parametrize(("name", "line"), [pytest.param(*both, id=both[1].id) for both in LINES])
def test_an_entry_is_complete(name: str, line: KnownLine):
    assert list(line.flaws()) == []
    assert line.examples
    assert line.cause[:1].islower() or line.cause[:1] == "{"
    assert not line.cause.endswith(".")


@pytest.mark.parametrize(("name", "line", "example"), EXAMPLES)
def test_an_example_is_found_by_its_own_entry_and_by_none_before_it(name: str, line: KnownLine, example: str):
    assert find(example, name) == line.id
    assert literal_of(line.pattern) in example.lower()


@pytest.mark.parametrize(("name", "line", "example"), EXAMPLES)
def test_an_example_is_among_the_lines_of_a_log_that_are_looked_at(name: str, line: KnownLine, example: str):
    assert line.severity == "note" or is_telling(example)
