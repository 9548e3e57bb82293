"""One line for Nagios and its kin, with performance data, and their exit codes: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN.

These codes are fixed by the plugin interface (https://nagios-plugins.org/doc/guidelines.html): with toombos' own, a
service that is down would show as a warning.
"""

from toombos_cli.base.errors import UsageError
from toombos_cli.base.results import WORST_FIRST, Report, Verdict
from toombos_cli.render.formats import Output

_STATES = {
    Verdict.PASS: (0, "OK"),
    Verdict.SKIP: (3, "UNKNOWN"),
    Verdict.WARN: (1, "WARNING"),
    Verdict.FAIL: (2, "CRITICAL"),
    Verdict.ERROR: (3, "UNKNOWN"),
}


def show(report: Report, output: Output, exit_code: int) -> int:
    """Prints the report's cases and returns Nagios' exit code. Raises UsageError for a report without cases."""
    del exit_code
    cases = report.cases()
    if cases is None:
        raise UsageError(f"{output.command} has no Nagios form")
    code, state = _STATES[report.verdict]
    judged = [case for case in cases if case.verdict is not Verdict.SKIP]
    wrong = [case for case in judged if case.verdict is not Verdict.PASS]
    wrong.sort(key=lambda case: WORST_FIRST.index(case.verdict))
    said = f"{len(judged) - len(wrong)} of {len(judged)} ok" if judged else "there was nothing to check"
    if wrong:
        said += f"; not ok: {', '.join(case.name for case in wrong)}"
    data = " ".join(f"'{case.name}'={case.duration_s:.6f}s;;;0" for case in judged if case.duration_s)
    lines = [f"TOOMBOS {output.command.upper()} {state} - {_text(said)}" + (f" | {data}" if data else "")]
    lines += [_text(f"{_STATES[case.verdict][1]}: {case.name} {case.detail}".rstrip()) for case in wrong]
    output.stdout.file.write("\n".join(lines) + "\n")
    return code


def _text(text: str) -> str:
    """Without the character that begins performance data, on one line."""
    return " ".join(text.replace("|", "/").split())
