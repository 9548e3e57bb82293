"""`toombos health`."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from toombos_cli.cli import options
from toombos_cli.cli.invocation import Invocation, command
from toombos_cli.cli.missed_runs import warn_of_missed_runs

if TYPE_CHECKING:
    from toombos_cli.base.errors import ToombosError
    from toombos_cli.health.report import HealthReport


@command
def health(
    invocation: Invocation,
    services: options.Services = None,
    watch: Annotated[
        float | None,
        typer.Option("--watch", min=0.1, metavar="SECONDS", help="Check again and again.", show_default=False),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            "--timeout",
            min=0.01,
            metavar="SECONDS",
            help="Give up after so long; by default each service's probe_timeout_s counts.",
            show_default=False,
        ),
    ] = None,
    format: Annotated[  # noqa: A002 (the option's name)
        Literal["text", "json", "nagios", "junit", "prometheus"] | None,
        typer.Option("--format", help="How to print it.", show_default="text"),
    ] = None,
    log: Annotated[bool, typer.Option("--log", help="Append one line a check to logs/health-check.log.")] = False,
    on_fail: Annotated[
        str | None,
        typer.Option(
            "--on-fail",
            metavar="COMMAND",
            help="Run this, without a shell, when the check fails; it reads the JSON report on standard input.",
            show_default=False,
        ),
    ] = None,
    strict: options.Strict = False,
) -> None:
    """Ask every service at once how it is, and name the reason where one is not well.

    Ends with 0 when all are up, with 1 when one is down or denies its health.
    A service that is slow or works with restrictions is a warning. Optional
    services that were not started are skipped.
    """
    from toombos_cli.health.check import run_health
    from toombos_cli.health.latency_history import LatencyHistory

    names = invocation.service_names(services)
    missed = warn_of_missed_runs(invocation)
    alarm = _alarm_command(on_fail)
    history = LatencyHistory()

    def check() -> "HealthReport":
        report = history.add(run_health(invocation.manifest, names, timeout_s=timeout))
        report = replace(report, missed_runs=missed)
        if log:
            _log(invocation, report)
        if history.begins_to_fail(fails=report.exit_code(strict=strict) != 0) and alarm:
            _alarm(invocation, alarm, report, strict=strict)
        return report

    if watch is None:
        invocation.finish(check(), format=format, strict=strict)
    from toombos_cli.cli.watch import watch_report

    watch_report(invocation, check, every_s=watch, format=format, strict=strict)


def _alarm_command(on_fail: str | None) -> tuple[str, ...] | None:
    if on_fail is None:
        return None
    from toombos_cli.health.on_fail import parse_command

    return parse_command(on_fail)


def _log(invocation: Invocation, report: "HealthReport") -> None:
    from toombos_cli.base.errors import OperationError
    from toombos_cli.health.log import append_to_log

    try:
        append_to_log(report, invocation.project)
    except OperationError as error:  # the verdict is worth more than its record
        _complain(invocation, error)


def _alarm(invocation: Invocation, argv: tuple[str, ...], report: "HealthReport", *, strict: bool) -> None:
    import json

    from toombos_cli.base.errors import OperationError
    from toombos_cli.health.on_fail import raise_alarm
    from toombos_cli.render.envelope import document

    try:
        raise_alarm(argv, json.dumps(document(report, invocation.command, report.exit_code(strict=strict))))
    except OperationError as error:
        _complain(invocation, error)


def _complain(invocation: Invocation, error: "ToombosError") -> None:
    from toombos_cli.render.problems import print_problems

    print_problems(error.problems, invocation.stderr)
