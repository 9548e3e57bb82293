"""`toombos alert`: test, send, status; and the processes behind them, deliver and serve."""

import shlex
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from toombos_cli.base.errors import ConfigurationError, OperationError, UsageError
from toombos_cli.cli.groups import command_group
from toombos_cli.cli.invocation import Invocation, command
from toombos_cli.manifest.tables.escalation import Trouble, severity_of

if TYPE_CHECKING:
    from toombos_cli.manifest.tables.alerts import Severity

app = command_group("Tell people what is wrong, through the manifest's channels.")

SeverityOption = Annotated[
    str, typer.Option("--severity", metavar="P0|P1|P2|P3", help="How urgent it is; P0 is worst.")
]


@app.command("test")
@command
def send_test(invocation: Invocation, severity: SeverityOption = "P3") -> None:
    """Send a test message now through every channel that carries the severity, and say whether it arrived."""
    from toombos_cli.alerts.operations import run_test

    invocation.finish(run_test(invocation.manifest, _severity(severity)))


@app.command()
@command
def send(
    invocation: Invocation,
    title: Annotated[str, typer.Argument(metavar="TITLE", help="What is wrong, in one line.")],
    body: Annotated[str, typer.Option("--body", metavar="TEXT", help="Details.")] = "",
    key: Annotated[
        str | None,
        typer.Option(
            "--key", help="The same for each repetition and for the recovery.", show_default="the title", metavar="NAME"
        ),
    ] = None,
    severity: Annotated[
        str | None, typer.Option("--severity", metavar="P0|P1|P2|P3", help="How urgent it is.", show_default="P2")
    ] = None,
    trouble: Annotated[
        Trouble | None, typer.Option("--trouble", metavar="KIND", help=f"Decides the severity: {', '.join(Trouble)}.")
    ] = None,
    lasting: Annotated[float, typer.Option("--lasting", min=0, metavar="SECONDS", help="For how long.")] = 0.0,
    resolved: Annotated[bool, typer.Option("--resolved", help="It is well again.")] = False,
) -> None:
    """Raise an alert and return at once; repetitions and storms are held back, delivery goes on by itself.

    For scripts: `toombos health --on-fail "toombos alert send 'health check failed'"`.
    """
    from toombos_cli.alerts.reports import AlertSentReport
    from toombos_cli.project.alert_spool import AlertDirectory, AlertEvent, emit

    title = " ".join(title.split())
    if not title:
        raise UsageError("the title is empty: people would not know what is wrong", where="TITLE")
    if severity and trouble:
        raise UsageError("--severity and --trouble exclude each other")
    if lasting and not trouble:
        raise UsageError("--lasting goes with --trouble, whose severity it decides", where="--lasting")
    chosen = severity_of(trouble, lasting_s=lasting) if trouble else _severity(severity or "P2")
    event = AlertEvent(key=key or title, source="command", severity=chosen, title=title, body=body, resolved=resolved)
    if not emit(invocation.manifest.project, event):
        directory = AlertDirectory(invocation.project).path
        raise OperationError(
            "the alert could not be handed over: this user cannot write there",
            where=str(directory),
            hint=f"ls -ld {shlex.quote(str(directory))}  # send as its owner",
        )
    invocation.finish(AlertSentReport(key=event.key, severity=event.severity.value, resolved=resolved))


@app.command()
@command
def status(invocation: Invocation) -> None:
    """List the problems that have not ended, and how deliveries fared."""
    from toombos_cli.alerts.operations import run_status

    invocation.finish(run_status(invocation.manifest))


@app.command(hidden=True)
@command
def deliver(
    invocation: Invocation,
    stdin: Annotated[bool, typer.Option("--stdin", help="Also the alerts on stdin, one JSON object a line.")] = False,
) -> None:
    """Deliver what was raised, then end; begun by whatever raises an alert."""
    from toombos_cli.alerts.log import AlertLog
    from toombos_cli.alerts.sender import run_sender
    from toombos_cli.project.alert_spool import AlertDirectory

    lines = sys.stdin.buffer.read().splitlines() if stdin else []
    try:
        run_sender(invocation.manifest, lines)
    except ConfigurationError as error:  # nobody reads what this process prints
        first = error.problems[0]
        AlertLog(AlertDirectory(invocation.project).log).write(
            "ERROR", f"alerts wait, and are not sent: {first.where}: {first.message}", hint=first.hint
        )
        raise
    except OSError as error:
        raise OperationError(f"run/alerts cannot be used: {error.strerror}", where=str(error.filename)) from None


@app.command(hidden=True)
@command
def serve(invocation: Invocation) -> None:
    """Take Alertmanager's webhook; the manifest's service `alerts` runs this."""
    from toombos_cli.alerts.receiver import run_receiver

    service = invocation.manifest.services.get("alerts")
    if service is None:
        raise ConfigurationError("the manifest has no service named alerts", hint='extends = "toombos"')
    run_receiver(invocation.manifest, service)


def _severity(text: str) -> "Severity":
    from toombos_cli.manifest.tables.alerts import Severity

    try:
        return Severity(text.upper())
    except ValueError:
        raise UsageError(f"no severity is named {text!r}", hint=f"severities: {', '.join(Severity)}") from None
