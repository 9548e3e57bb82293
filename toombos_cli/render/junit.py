"""JUnit XML for any report with `cases()`."""

import os
import socket
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from toombos_cli.base.errors import Problem, UsageError
from toombos_cli.base.results import Case, Report, Verdict
from toombos_cli.render.console import write_document
from toombos_cli.render.formats import Output
from toombos_cli.render.presentable import presentable


def show(report: Report, output: Output, exit_code: int) -> None:
    """Print the report as one JUnit document."""
    del exit_code  # JUnit has no field for it
    write_document(output.stdout, document(report, suite=output.command))


def document(report: Report, *, suite: str, places: Mapping[str, tuple[str, int]] | None = None) -> str:
    """Return the report's cases as JUnit XML, UTF-8 text. Raise UsageError for a report without cases.

    `places` are the files and lines of cases by their names.
    """
    cases = presentable(report).cases()
    if cases is None:
        raise UsageError(f"{suite} has no JUnit output")
    return _xml(cases, suite, places or {})


def document_of_errors(problems: tuple[Problem, ...], *, suite: str) -> str:
    """Return a document for a command that failed before it had a report: one case, with the error."""
    lines = (
        f"{problem.where}: {problem.message}" if problem.where else problem.message for problem in presentable(problems)
    )
    return _xml((Case(name=suite, verdict=Verdict.ERROR, detail="\n".join(lines)),), suite, {})


def _xml(cases: Iterable[Case], suite: str, places: Mapping[str, tuple[str, int]]) -> str:
    from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

    kinds = {Verdict.FAIL: Failure, Verdict.ERROR: Error, Verdict.SKIP: Skipped}
    tests = TestSuite(f"toombos {suite}")
    tests.timestamp = datetime.now(UTC).isoformat(timespec="seconds")
    tests.hostname = socket.gethostname()
    for case in cases:
        test = TestCase(case.name, classname=f"toombos.{suite}", time=round(case.duration_s, 6))
        file, line = (case.file, case.line) if case.line else places.get(case.name, ("", None))
        if file:
            test._elem.set("file", os.path.relpath(file))  # the library knows no such attribute; GitLab does
            test._elem.set("line", str(line))
        if case.verdict in kinds:
            test.result = [kinds[case.verdict](case.detail)]
        elif case.detail:
            test.system_out = case.detail
        tests.add_testcase(test)
    tests.update_statistics()
    xml = JUnitXml(f"toombos {suite}")
    xml.add_testsuite(tests)
    text: bytes = xml.tostring()
    return text.decode("utf-8") + "\n"
