"""Output for Nagios and compatible systems, with performance data and their exit codes.

0 is OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN. The plugin interface fixes these codes
(https://nagios-plugins.org/doc/guidelines.html): with the codes of toombos, a service that is down would be a warning.
"""

from toombos_cli.base.errors import UsageError
from toombos_cli.base.results import WORST_FIRST, WRONG, Report, Verdict
from toombos_cli.render.console import write_document
from toombos_cli.render.formats import Output

_STATES = {
    Verdict.PASS: (0, "OK"),
    Verdict.SKIP: (3, "UNKNOWN"),
    Verdict.WARN: (1, "WARNING"),
    Verdict.FAIL: (2, "CRITICAL"),
    Verdict.ERROR: (3, "UNKNOWN"),
}


def show(report: Report, output: Output, exit_code: int) -> int:
    """Print the report's cases and return the Nagios exit code. Raise UsageError for a report without cases."""
    del exit_code
    cases = report.cases()
    if cases is None:
        raise UsageError(f"{output.command} has no Nagios output")
    code, state = _STATES[report.verdict]
    judged = [case for case in cases if case.verdict is not Verdict.SKIP]
    wrong = [case for case in judged if case.verdict is not Verdict.PASS]
    wrong.sort(key=lambda case: WORST_FIRST.index(case.verdict))
    said = f"{len(judged) - len(wrong)} of {len(judged)} ok" if judged else "there was nothing to check"
    if wrong:
        said += f"; not ok: {', '.join(case.name for case in wrong)}"
    timed = [case for case in judged if case.duration_s and case.verdict not in WRONG]  # no graph of time-outs
    data = " ".join(f"{_label(case.name)}={case.duration_s:.6f}s;;;0" for case in timed)
    lines = [f"TOOMBOS {output.command.upper()} {state} - {_text(said)}" + (f" | {data}" if data else "")]
    lines += [_text(f"{_STATES[case.verdict][1]}: {case.name} {case.detail}".rstrip()) for case in wrong]
    write_document(output.stdout, "\n".join(lines) + "\n")
    return code


def _label(name: str) -> str:
    """Return a name as the label of performance data, which cannot contain an equals sign."""
    return "'" + _text(name).replace("=", "_").replace("'", "''") + "'"


def _text(text: str) -> str:
    """Return the text on one line, without the character that starts performance data."""
    return " ".join(text.replace("|", "/").split())
