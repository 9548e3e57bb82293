"""The view of a smoke test: a table of the steps, what each failed one compared, and the verdict at the end."""

from typing import TYPE_CHECKING

from toombos_cli.base.results import WORST_FIRST, WRONG, Verdict
from toombos_cli.render.formats import Output
from toombos_cli.render.table import Column, print_table
from toombos_cli.render.verdicts import STYLES, VERDICT, WORD_WIDTH, WORDS, word

if TYPE_CHECKING:
    from rich.console import Console

    from toombos_cli.smoke.report import SmokeReport, StepResult

_COLUMNS = (VERDICT, Column(name="STEP"), Column(name="SERVICE", drop=1), Column(name="TIME", right=True, drop=2))
_INDENT = "      "


def show(report: "SmokeReport", output: Output) -> None:
    """Print the steps (with --quiet only what is wrong), flaky steps, leftovers, and the verdict."""
    taken = [step for step in report.steps if step.verdict is not Verdict.SKIP]
    shown = [step for step in taken if step.verdict in WRONG or not output.quiet]
    if shown:
        rows = [(word(step.verdict), step.name, step.service, f"{step.duration_ms:.0f} ms") for step in shown]
        print_table(output.stdout, _COLUMNS, rows)
    for step in sorted(shown, key=lambda step: WORST_FIRST.index(step.verdict)):
        _explain(output.stdout, step, verbose=output.verbose)
    if not output.quiet:
        _skipped(output.stdout, report)
    for flaky in report.flaky:
        rounds = flaky.passed + flaky.failed
        output.stdout.print(f"flaky: {flaky.name} failed in {flaky.failed} of {rounds} rounds", soft_wrap=True)
    if not output.quiet:
        for left in report.left_behind:
            output.stdout.print(f"left behind: {left}", style="dim", soft_wrap=True)
    if not output.quiet or report.verdict in WRONG:
        output.stdout.print(_last_line(report), style=STYLES[report.verdict], soft_wrap=True)


def _explain(console: "Console", step: "StepResult", *, verbose: bool) -> None:
    """Print what there is to say of one step, headed by its name."""
    compared = (("request", step.request), ("expected", step.expected), ("got", step.got))
    lines = [(label, text) for label, text in compared if text and (verbose or step.verdict in WRONG)]
    lines += [("note", step.note)] if verbose and step.note else []
    if step.detail or lines:
        console.print(f"{step.name}: {step.detail}".rstrip(" "), soft_wrap=True)
    for label, text in lines:
        console.print(f"{_INDENT}{label:8}  {text}", soft_wrap=True)


def _skipped(console: "Console", report: "SmokeReport") -> None:
    """Print the skipped steps, grouped by reason."""
    by_reason: dict[str, list[str]] = {}
    for step in report.steps:
        if step.verdict is Verdict.SKIP:
            by_reason.setdefault(step.detail, []).append(step.name)
    for reason, names in by_reason.items():
        console.print(f"{WORDS[Verdict.SKIP]:{WORD_WIDTH}} {', '.join(names)}: {reason}", style="dim", soft_wrap=True)


def _last_line(report: "SmokeReport") -> str:
    wrong = [step.name for step in report.steps if step.verdict in WRONG]
    skipped = sum(step.verdict is Verdict.SKIP for step in report.steps)
    taken = len(report.steps) - skipped
    steps = f"{taken} step{'s' * (taken != 1)}" + (f" at {report.place}" if report.place else "")
    rounds = f" in {report.rounds} rounds" if report.rounds > 1 else ""
    left_out = f", {skipped} skipped" if skipped else ""
    if wrong:
        failing = f", {report.failed_rounds} of {report.rounds} rounds" if report.rounds > 1 else ""
        return f"smoke test FAILED: {', '.join(wrong)} ({len(wrong)} of {steps}{failing}{left_out})"
    if not taken:
        return f"smoke test: nothing was tested{left_out or ': there is no step'}"
    warned = sum(step.verdict is Verdict.WARN for step in report.steps)
    counts = f"{steps}{rounds}, {report.duration_s:.1f} s"
    extra = (f", {warned} with a warning" if warned else "") + left_out
    return f"smoke test passed: {counts}{extra}"
