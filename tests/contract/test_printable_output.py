"""No text of others controls a terminal or forges a line, in any report, format and place."""

import dataclasses
import io
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.contract.test_reports import PACKAGE, REPORTS
from tests.support.made_up import made_up
from toombos_cli.base.errors import Problem, UsageError
from toombos_cli.base.results import Report
from toombos_cli.base.text import folded
from toombos_cli.cli.wait_progress import Waiting
from toombos_cli.render import diagnose_html, diagnose_markdown, github, load_html
from toombos_cli.render.console import make_console, write_commands
from toombos_cli.render.formats import render
from toombos_cli.render.line_printer import LinePrinter
from toombos_cli.render.problems import print_problems

HOSTILE = (
    "x\x1b]0;PWNED\x07\x1b[2J\x9b31m\b\x7f\x00\r\nerror: forged\x0b\x0c\x85\u2028\u2029\tend"
    "\u202e\u200b\ud800\x1b]8;;http://evil\x1b\\[red][/x]::error::y"
)
ALLOWED = re.compile(r"\x1b\[[0-9;]*m")
UNPRINTABLE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u200b\ud800-\udfff]")


class Stream(io.StringIO):
    """A stream that may be a terminal."""

    def __init__(self, *, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


class Printed:
    """What a format needs, and what it printed."""

    def __init__(self, *, terminal: bool, verbose: bool = True) -> None:
        self.streams = Stream(terminal=terminal), Stream(terminal=terminal)
        self.stdout, self.stderr = map(make_console, self.streams)
        self.document = self.stdout.file
        self.command, self.quiet, self.verbose = "command", False, verbose
        self.options = self

    @property
    def text(self) -> str:
        return "".join(stream.getvalue() for stream in self.streams)


def is_printable(text: str) -> bool:
    return not UNPRINTABLE.search(ALLOWED.sub("", text))


def rendered(cls: type[Report], text: str, format: str, *, terminal: bool) -> str:  # noqa: A002  (the option's name)
    """Return what the format prints of a report that consists of this text; "" if it has no such format."""
    printed = Printed(terminal=terminal)
    try:
        render(made_up(cls, text), printed, format=format, exit_code=0)
    except UsageError:
        return ""
    return printed.text


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wide terminal with colours."""
    monkeypatch.setenv("COLUMNS", "4000")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)


@pytest.mark.parametrize("terminal", [True, False], ids=["on a terminal", "redirected"])
@pytest.mark.parametrize("format", ["text", "nagios", "junit", "prometheus", "json"])
@pytest.mark.parametrize("cls", REPORTS.values(), ids=REPORTS)
def test_a_report_prints_what_it_would_of_one_printable_line(cls: type[Report], format: str, terminal: bool):  # noqa: A002
    hostile = rendered(cls, HOSTILE.replace("\t", "") if _has_lines(cls) else HOSTILE, format, terminal=terminal)
    assert is_printable(hostile), ascii(UNPRINTABLE.findall(ALLOWED.sub("", hostile)))
    if format != "json" and not _has_lines(cls):
        assert hostile == rendered(cls, folded(HOSTILE), format, terminal=terminal)


def _has_lines(cls: type[Report]) -> bool:
    return cls.kind == "logs" or any("lines" in field.metadata for field in dataclasses.fields(cls))


def document_of(kind: str, make: Callable[[Any], str]) -> tuple[type[Report], Callable[[Any], str]]:
    return next(cls for cls in REPORTS.values() if cls.kind == kind), make


DOCUMENTS = {
    "the Markdown of a diagnosis": document_of("diagnose", lambda r: diagnose_markdown.document(r, verbose=True)),
    "the HTML of a diagnosis": document_of("diagnose", diagnose_html.document),
    "the HTML of a load test": document_of("load", load_html.document),
    "the annotations of a smoke test": document_of("smoke", lambda r: github.annotations(r, title="smoke")),
    "the summary of a smoke test": document_of("smoke", lambda r: github.summary(r, title="smoke")),
}


@pytest.mark.parametrize(("cls", "make"), DOCUMENTS.values(), ids=DOCUMENTS)
def test_a_document_is_that_of_one_printable_line(cls: type[Report], make: Callable[[Any], str]):
    document = make(made_up(cls, HOSTILE))
    assert is_printable(document)
    assert document == make(made_up(cls, folded(HOSTILE)))


MARKUP = "a](http://evil) <img src=x> | `b` **c** [d] &lt; ~~e~~ ```"


def test_markdown_of_others_is_text():
    report: Any = made_up(next(cls for cls in REPORTS.values() if cls.kind == "diagnose"), MARKUP)
    findings = tuple(replace(finding, id="an.id") for finding in report.findings)
    ours = replace(report, findings=findings, root_findings=findings, further_help=(), checked_at="now")
    document = diagnose_markdown.document(ours, verbose=True)
    prose = re.sub(r"(?<!`)(`+) ?[^\n]*? ?(?<!`)\1(?!`)", "", document)
    assert not re.search(r"(?<!\\)[\[\]<|&~*`]", prose)


@pytest.mark.parametrize("kind", ["issue", "incident"])
def test_a_ticket_keeps_its_lines(kind: str):
    cls = next(cls for cls in REPORTS.values() if cls.kind == kind)
    ours = rendered(cls, "x", "text", terminal=False).splitlines()
    theirs = rendered(cls, "```\n# forged\n- x", "text", terminal=False).splitlines()
    assert len(theirs) == len(ours)
    assert not any(line.startswith("#") for line in theirs)


def test_html_of_others_is_text():
    for kind, make in (("diagnose", diagnose_html.document), ("load", load_html.document)):
        cls = next(cls for cls in REPORTS.values() if cls.kind == kind)
        assert "<img" not in make(made_up(cls, "\"'><img src=x onerror=alert(1)>"))


PRINTS: dict[str, Callable[[Printed], object]] = {
    "an error": lambda p: print_problems((Problem(message=HOSTILE, where=HOSTILE, hint=HOSTILE),), p.stderr),
    "a note": lambda p: p.stderr.print(f"note: {HOSTILE}", style="yellow", soft_wrap=True),
    "a log line": lambda p: LinePrinter(p, ("a",)).show("a", HOSTILE.replace("\n", "").replace("\t", "")),
    "a log line of one of two services": lambda p: LinePrinter(p, ("a", "b")).show("a", HOSTILE.replace("\t", "")),
}


@pytest.mark.parametrize("terminal", [True, False], ids=["on a terminal", "redirected"])
@pytest.mark.parametrize("prints", PRINTS.values(), ids=PRINTS)
def test_other_output_is_printable(prints: Callable[[Printed], object], terminal: bool):
    printed = Printed(terminal=terminal)
    prints(printed)
    assert is_printable(printed.text)
    assert printed.text.count("\n") <= 2


@pytest.mark.parametrize("terminal", [True, False], ids=["on a terminal", "redirected"])
def test_the_progress_of_a_service_is_text_on_one_line(terminal: bool):
    printed = Printed(terminal=terminal)
    printed.quiet = False
    change = type("Change", (), {"service": "x", "phase": "starting", "detail": HOSTILE})()
    with Waiting(printed) as waiting:  # type: ignore[arg-type]  # as far as it is used
        waiting.note(change)
        waiting.note(change)
    shown = re.sub(r"\x1b\[(\?25[hl]|\d*[A-K])|\r", "", printed.text)  # the cursor, and what a live line erases
    assert is_printable(shown)


STEP_COMMANDS = ("::error::x", "  ::set-output name=a::b", "x ##[error]y", "##vso[task.setvariable]z", "::add-mask::x")
NO_COMMANDS = ("::1 - - GET /", "a ::error::x", "fe80::1", "##", "[::1]:80")


def test_in_github_actions_no_text_of_others_is_a_command(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    printed = Printed(terminal=False)
    printer = LinePrinter(printed, ("a",))
    for line in (*STEP_COMMANDS, *NO_COMMANDS):
        printer.show("a", line)
        printed.stdout.print(line, soft_wrap=True)
    lines = printed.text.splitlines()
    assert not any(re.match(r"\s*::\w[\w-]*.*::", line) or "##[" in line or "##vso[" in line for line in lines)
    assert lines[2 * len(STEP_COMMANDS) :: 2] == list(NO_COMMANDS)
    write_commands(printed.stdout, "::error title=ours::x\n")
    assert printed.text.endswith("::error title=ours::x\n")


def test_everything_is_printed_through_the_console():
    """Only the console itself, and JSON, which escapes everything, write to a stream."""
    allowed = {"render/console.py", "render/envelope.py", "render/line_printer.py", "cli/short_status.py"}
    for path in [*PACKAGE.glob("render/**/*.py"), *PACKAGE.glob("cli/*.py"), *PACKAGE.glob("commands/*.py")]:
        if str(path.relative_to(PACKAGE)) not in allowed:
            assert not re.search(r"\.file\.write\(|(?<![\w.])print\(|sys\.stdout\.write", path.read_text()), path
