"""The words of a command line that goes to another machine, and what its shell makes of them."""

import subprocess

import pytest

from tests.contract.test_command_line import all_commands
from toombos_cli.base.errors import UsageError
from toombos_cli.base.quoting import for_any_shell
from toombos_cli.cli.on_hosts import words_of

COMMANDS = dict(all_commands())
PASSED = ("services", "lines", "errors", "grep", "exclude", "timeout", "strict")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        pytest.param(("logs",), (), id="no option"),
        pytest.param(("logs", "web", "-n", "3"), ("--lines=3", "--", "web"), id="an option and a service"),
        pytest.param(("logs", "--errors"), ("--errors",), id="a switch"),
        pytest.param(("logs", "--exclude", "a", "--exclude", "-b"), ("--exclude=a", "--exclude=-b"), id="one repeated"),
        pytest.param(("logs", "--grep", "it's; $x"), ("--grep=it's; $x",), id="words of a shell"),
        pytest.param(("logs", "--json", "--project", "/"), (), id="options of this machine"),
        pytest.param(("health", "--timeout", "2", "--strict"), ("--timeout=2.0", "--strict"), id="a number"),
    ],
)
def test_the_options_that_were_given_are_given_there(line, words):
    context = COMMANDS[line[0]].make_context(line[0], list(line[1:]))
    assert words_of(context, PASSED, ("json", "project", "hosts")) == words


@pytest.mark.parametrize("line", [("logs", "-f"), ("logs", "--since", "1h"), ("health", "--watch", "2")])
def test_an_option_that_is_not_passed_on_is_refused(line):
    context = COMMANDS[line[0]].make_context(line[0], list(line[1:]))
    with pytest.raises(UsageError, match="does not go with --hosts"):
        words_of(context, PASSED, ())


@pytest.mark.parametrize("word", ["", "a b", "it's", "$HOME `id`", "*", "~", "-n", "tab\there", "line\nbreak", "ü\\n"])
def test_every_shell_reads_the_words_as_they_are(word):
    line = for_any_shell(("printf", "%s|", word, "end"))
    assert subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, check=True).stdout == f"{word}|end|"
