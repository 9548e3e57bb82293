"""`toombos alert`: test, send, status; and deliver and serve, which run in the background."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from toombos_cli.base.errors import ConfigurationError, OperationError, UsageError
from toombos_cli.base.quoting import quoted
from toombos_cli.cli import options
from toombos_cli.cli.groups import command_group
from toombos_cli.cli.invocation import Invocation, command
from toombos_cli.manifest.tables.escalation import Trouble, severity_of

if TYPE_CHECKING:
    from toombos_cli.manifest.tables.alerts import Severity

app = command_group("Notify people of problems through the manifest's channels.")

SeverityOption = Annotated[
    str,
    typer.Option(
        "--severity",
        metavar="P0|P1|P2|P3",
        autocompletion=options.complete("severity"),
        help="How urgent it is; P0 is the most urgent.",
    ),
]


@app.command("test")
@command
def send_test(invocation: Invocation, severity: SeverityOption = "P3") -> None:
    """Send a test message through every channel for this severity and report whether it arrived."""
    from toombos_cli.alerts.operations import run_test

    invocation.finish(run_test(invocation.manifest, _severity(severity)))


@app.command()
@command
def send(
    invocation: Invocation,
    title: Annotated[str, typer.Argument(metavar="TITLE", help="The problem, in one line.")],
    body: Annotated[str, typer.Option("--body", metavar="TEXT", help="Details.")] = "",
    key: Annotated[
        str | None,
        typer.Option(
            "--key",
            help="Identifies the problem in repetitions and in its recovery.",
            show_default="the title",
            metavar="NAME",
        ),
    ] = None,
    severity: Annotated[
        str | None,
        typer.Option(
            "--severity",
            metavar="P0|P1|P2|P3",
            autocompletion=options.complete("severity"),
            help="How urgent it is.",
            show_default="P2",
        ),
    ] = None,
    trouble: Annotated[
        Trouble | None, typer.Option("--trouble", metavar="KIND", help=f"Decides the severity: {', '.join(Trouble)}.")
    ] = None,
    lasting: Annotated[
        float, typer.Option("--lasting", min=0, metavar="SECONDS", help="How long it has lasted.")
    ] = 0.0,
    resolved: Annotated[bool, typer.Option("--resolved", help="The problem is over.")] = False,
) -> None:
    """Raise an alert and return at once; it is delivered in the background, repetitions and storms are held back.

    For scripts: `toombos health --on-fail "toombos alert send 'health check failed'"`.
    """
    from toombos_cli.alerts.reports import AlertSentReport
    from toombos_cli.project.alert_spool import AlertDirectory, AlertEvent, emit

    title = " ".join(title.split())
    if not title:
        raise UsageError("the title is empty", where="TITLE")
    if severity and trouble:
        raise UsageError("--severity and --trouble exclude each other")
    if lasting and not trouble:
        raise UsageError("--lasting goes with --trouble", where="--lasting")
    chosen = severity_of(trouble, lasting_s=lasting) if trouble else _severity(severity or "P2")
    event = AlertEvent(key=key or title, source="command", severity=chosen, title=title, body=body, resolved=resolved)
    event = invocation.redactor.value(event)
    if not emit(invocation.manifest.project, event):
        directory = AlertDirectory(invocation.project).path
        raise OperationError(
            "the alert could not be handed over: the directory is not writable for this user",
            where=str(directory),
            hint=f"ls -ld {quoted(directory)}  # send as its owner",
        )
    invocation.finish(AlertSentReport(key=event.key, severity=event.severity.value, resolved=resolved))


@app.command()
@command
def status(invocation: Invocation) -> None:
    """List the open problems and the results of recent deliveries."""
    from toombos_cli.alerts.operations import run_status

    invocation.finish(run_status(invocation.manifest))


@app.command(hidden=True)
@command
def deliver(
    invocation: Invocation,
    stdin: Annotated[
        bool, typer.Option("--stdin", help="Also deliver the alerts on stdin, one JSON object per line.")
    ] = False,
) -> None:
    """Deliver the alerts that were raised, then exit; started by each command that raises one."""
    from toombos_cli.alerts.log import AlertLog
    from toombos_cli.alerts.sender import run_sender
    from toombos_cli.project.alert_spool import AlertDirectory

    lines = sys.stdin.buffer.read().splitlines() if stdin else []
    try:
        run_sender(invocation.manifest, lines)
    except ConfigurationError as error:  # nobody reads what this process prints
        first = error.problems[0]
        AlertLog(AlertDirectory(invocation.project).log).write(
            "ERROR", f"alerts cannot be sent and are kept: {first.where}: {first.message}", hint=first.hint
        )
        raise
    except OSError as error:
        raise OperationError(f"run/alerts cannot be used: {error.strerror}", where=str(error.filename)) from None


@app.command(hidden=True)
@command
def serve(invocation: Invocation) -> None:
    """Receive Alertmanager's webhook; run as the manifest's service `alerts`."""
    from toombos_cli.alerts.receiver import run_receiver
    from toombos_cli.monitoring.rules import alert_rules

    service = invocation.manifest.services.get("alerts")
    if service is None:
        raise ConfigurationError("the manifest has no service named alerts", hint='extends = "toombos"')
    commands = {rule.name: rule.command for rule in alert_rules(invocation.manifest)}
    run_receiver(invocation.manifest, service, commands)


def _severity(text: str) -> "Severity":
    from toombos_cli.manifest.tables.alerts import Severity

    try:
        return Severity(text.upper())
    except ValueError:
        raise UsageError(f"no severity is named {text!r}", hint=f"severities: {', '.join(Severity)}") from None
