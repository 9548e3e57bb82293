"""JUnit XML for any report with `cases()`."""

from toombos_cli.base.errors import UsageError
from toombos_cli.base.results import Case, Report, Verdict
from toombos_cli.render.console import write_document
from toombos_cli.render.formats import Output
from toombos_cli.render.presentable import presentable


def show(report: Report, output: Output, exit_code: int) -> None:
    """Print the report as one JUnit document."""
    del exit_code  # JUnit has no field for it
    write_document(output.stdout, document(report, suite=output.command))


def document(report: Report, *, suite: str) -> str:
    """Return the report's cases as JUnit XML, UTF-8 text. Raise UsageError for a report without cases."""
    cases = presentable(report).cases()
    if cases is None:
        raise UsageError(f"{suite} has no JUnit output")
    return document_of_cases(cases, suite=suite)


def document_of_cases(cases: tuple[Case, ...], *, suite: str) -> str:
    """Return these cases as JUnit XML, UTF-8 text."""
    from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

    kinds = {Verdict.FAIL: Failure, Verdict.ERROR: Error, Verdict.SKIP: Skipped}
    tests = TestSuite(f"toombos {suite}")
    for case in cases:
        test = TestCase(case.name, classname=f"toombos.{suite}", time=round(case.duration_s, 6))
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
