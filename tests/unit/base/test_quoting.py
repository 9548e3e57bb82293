"""Commands to paste: a shell reads back the very words that they were made of."""

import ast
import os
import subprocess
from pathlib import Path

import pytest

from toombos_cli.base.fixes import here, name_project, toombos
from toombos_cli.base.quoting import joined, quoted

SOURCES = Path(__file__).parents[3] / "toombos_cli"

WORDS = {
    "a plain word": b"start",
    "a word with a blank": b"my shop",
    "a word with a quote": b"it's",
    "a word with a line end": b"a\nb",
    "a name in Latin-1": b"caf\xe9",
    "a name in Latin-1 with a quote, a backslash and a digit after it": b"caf\xe9'\\9",
    "a name in Shift-JIS": b"\x83e\x83X\x83g",
    "an escape sequence": b"\x1b[31m",
    "an empty word": b"",
}


@pytest.mark.parametrize("word", WORDS.values(), ids=WORDS)
def test_a_shell_reads_back_the_bytes_of_a_quoted_word(word: bytes) -> None:
    shown = quoted(os.fsdecode(word))
    assert shown.isprintable()
    read = subprocess.run(["bash", "-c", f"printf %s {shown}"], capture_output=True, check=True).stdout
    assert read == word


@pytest.mark.parametrize("word", WORDS.values(), ids=WORDS)
def test_every_kind_of_command_for_a_project_names_its_directory_in_a_form_that_a_shell_accepts(word: bytes) -> None:
    project = Path("/srv") / os.fsdecode(word)
    name_project(project)
    try:
        lines = (
            here("start"),
            toombos(project, "start").command,
            joined(("toombos", "--project", str(project), "start")),
        )
    finally:
        name_project(None)
    for line in lines:
        read = subprocess.run(["bash", "-c", f"toombos() {{ printf '%s\\0' \"$@\"; }}; {line}"], capture_output=True)
        assert read.stdout.split(b"\0")[1] == os.fsencode(project)


IN_OTHER_LANGUAGES = {
    "schedule/crontab.py",  # sh, which may not know $'...'
    "config/imports/shell.py",  # a manifest's commands, which are text
    "config/imports/compose_command.py",
    "export/images.py",  # sh of a container
    "export/pods.py",
    "export/probes.py",
}


def test_only_one_module_quotes_for_the_shell_of_a_person() -> None:
    found = set()
    for path in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and ast.unparse(node) in ("shlex.quote", "shlex.join"):
                found.add(str(path.relative_to(SOURCES)))
    assert found == {"base/quoting.py"} | IN_OTHER_LANGUAGES
