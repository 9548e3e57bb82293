"""The view of a recovery: a line for each step as it ends, then what is left to do."""

from typing import TYPE_CHECKING

from toombos_cli.base.results import WRONG
from toombos_cli.render.formats import Output
from toombos_cli.render.verdicts import print_verdict

if TYPE_CHECKING:
    from toombos_cli.recovery.reports import RecoveryReport, StepOutcome


def show_step(step: "StepOutcome", output: Output) -> None:
    """Print one line immediately: a recovery takes a while."""
    said = "; ".join(part for part in (step.detail, step.cause) if part)
    text = f"{step.name:<11} {step.duration_s:6.1f} s" + (f"  {said}" if said else "")
    print_verdict(output.stdout, step.verdict, text)
    output.stdout.file.flush()


def show(report: "RecoveryReport", output: Output) -> None:
    """Print the result; the lines of the steps have been printed before."""
    last = report.steps[-1]
    if last.verdict in WRONG:
        output.stdout.print(f"stopped at {last.name}; not done: {', '.join(report.not_done) or 'nothing'}")
    else:
        output.stdout.print("recovered")
    for step in report.steps:
        if step.fix:
            output.stderr.print(f"hint: {step.fix}", style="cyan", soft_wrap=True)
