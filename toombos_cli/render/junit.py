"""JUnit XML of any report that has `cases()`."""

from toombos_cli.base.errors import UsageError
from toombos_cli.base.results import Case, Report, Verdict
from toombos_cli.render.formats import Output


def show(report: Report, output: Output, exit_code: int) -> None:
    """Prints the report as one JUnit document."""
    del exit_code  # JUnit has no place for it
    output.stdout.file.write(document(report, suite=output.command))


def document(report: Report, *, suite: str) -> str:
    """The report's cases as JUnit XML, UTF-8 text. Raises UsageError for a report without cases."""
    from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

    cases = report.cases()
    if cases is None:
        raise UsageError(f"{suite} has no JUnit form")
    kinds = {Verdict.FAIL: Failure, Verdict.ERROR: Error, Verdict.SKIP: Skipped}
    tests = TestSuite(f"toombos {suite}")
    for case in cases:
        test = TestCase(case.name, classname=f"toombos.{suite}", time=round(case.duration_s, 6))
        if case.verdict in kinds:
            test.result = [kinds[case.verdict](_printable(case))]
        elif case.detail:
            test.system_out = _printable(case)
        tests.add_testcase(test)
    tests.update_statistics()
    xml = JUnitXml(f"toombos {suite}")
    xml.add_testsuite(tests)
    text: bytes = xml.tostring()
    return text.decode("utf-8") + "\n"


def _printable(case: Case) -> str:
    """The detail without the control characters that XML 1.0 forbids."""
    return "".join(c if c in "\t\n" or ord(c) >= 32 else "\N{REPLACEMENT CHARACTER}" for c in case.detail)
