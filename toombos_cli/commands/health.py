"""`toombos health`."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from toombos_cli.cli import options
from toombos_cli.cli.github import annotate
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
        typer.Option(
            "--watch", min=0.1, metavar="SECONDS", help="Repeat the check at this interval.", show_default=False
        ),
    ] = None,
    wait: Annotated[
        float, typer.Option("--wait", min=0, metavar="SECONDS", help="Wait this long for the services to be ready.")
    ] = 0,
    timeout: Annotated[
        float | None,
        typer.Option(
            "--timeout",
            min=0.01,
            metavar="SECONDS",
            help="Give up after this time; default: each service's probe_timeout_s.",
            show_default=False,
        ),
    ] = None,
    format: Annotated[  # noqa: A002 (the option's name)
        Literal["text", "json", "nagios", "junit", "prometheus"] | None,
        typer.Option("--format", help="Output format.", show_default="text"),
    ] = None,
    log: Annotated[bool, typer.Option("--log", help="Append one line per check to logs/health-check.log.")] = False,
    on_fail: Annotated[
        str | None,
        typer.Option(
            "--on-fail",
            metavar="COMMAND",
            help="Run this, without a shell, when the check starts to fail; it gets the JSON report on stdin.",
            show_default=False,
        ),
    ] = None,
    github: options.Github = None,
    strict: options.Strict = False,
) -> None:
    """Check every service at once and give the reason for each one that is not healthy.

    Exit 0 if all are up; exit 1 if one is down or reports that it is not healthy.
    A service that is slow or degraded is a warning. Optional services that were
    not started are skipped.
    """
    from toombos_cli.health.check import run_health
    from toombos_cli.health.latency_history import LatencyHistory

    names = invocation.service_names(services)
    missed = warn_of_missed_runs(invocation)
    alarm = _alarm_command(on_fail)
    history = LatencyHistory()
    if wait:
        _wait(invocation, names, wait)

    def check() -> "HealthReport":
        report = history.add(run_health(invocation.manifest, names, timeout_s=timeout))
        report = invocation.redacted(replace(report, missed_runs=missed))
        if log:
            _log(invocation, report)
        if history.begins_to_fail(fails=report.exit_code(strict=strict) != 0) and alarm:
            _alarm(invocation, alarm, report, strict=strict)
        return report

    if watch is None:
        report = check()
        annotate(invocation, report, asked=github, format=format)
        invocation.finish(report, format=format, strict=strict)
    from toombos_cli.cli.watch import watch_report

    watch_report(invocation, check, every_s=watch, format=format, strict=strict)


def _wait(invocation: Invocation, names: tuple[str, ...], wait_s: float) -> None:
    from toombos_cli.project.ready_wait import wait_until_ready

    services = invocation.manifest.services
    wanted = [service for name, service in services.items() if name in names or not (names or service.optional)]
    wait_until_ready(invocation.manifest, wanted, wait_s)


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
    except OperationError as error:  # a failed log write must not hide the verdict
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
