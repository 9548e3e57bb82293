"""`toombos health`."""

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from toombos_cli.base.errors import UsageError
from toombos_cli.cli import options
from toombos_cli.cli.github import annotate
from toombos_cli.cli.invocation import Invocation, command
from toombos_cli.cli.missed_runs import warn_of_missed_runs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from toombos_cli.base.errors import ToombosError
    from toombos_cli.health.places import PlacesHealthReport
    from toombos_cli.health.report import HealthReport
    from toombos_cli.manifest.model import Manifest

_ON_HOSTS = ("services", "wait", "timeout", "strict")
"""The options that go to the hosts of --hosts."""


@command
def health(
    invocation: Invocation,
    context: typer.Context,
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
    at: options.Places = None,
    hosts: options.Hosts = None,
    github: options.Github = None,
    strict: options.Strict = False,
) -> None:
    """Check every service at once and give the reason for each one that is not healthy.

    Exit 0 if all are up; exit 1 if one is down or reports that it is not healthy.
    A service that is slow or degraded is a warning. Optional services that were
    not started are skipped.
    """
    if hosts is not None:
        from toombos_cli.cli.on_hosts import finish_on_hosts

        finish_on_hosts(invocation, context, hosts, passed_on=_ON_HOSTS, strict=strict)
    from toombos_cli.health.check import run_health
    from toombos_cli.health.latency_history import LatencyHistory
    from toombos_cli.health.report import HealthReport

    names = invocation.service_names(services)
    views = _views(invocation, at or (), log=log)
    missed = () if at else warn_of_missed_runs(invocation)
    alarm = _alarm_command(on_fail)
    history = LatencyHistory()
    if wait:
        _wait(views.values(), names, wait)

    def look() -> "HealthReport | PlacesHealthReport":
        if len(views) == 1:
            report = history.add(run_health(invocation.manifest, names, timeout_s=timeout))
            return replace(report, missed_runs=missed)
        from toombos_cli.health.places import run_health_of_places

        return run_health_of_places(views, names, timeout_s=timeout)

    def check() -> "HealthReport | PlacesHealthReport":
        report = invocation.redacted(look())
        if log and isinstance(report, HealthReport):
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


def _views(invocation: Invocation, at: "Iterable[str]", *, log: bool) -> "dict[str, Manifest]":
    """Return the manifest as each asked place has it, or that of this machine. Raises UsageError."""
    if not at:
        return {"": invocation.manifest}
    if log:
        raise UsageError("--log writes about this machine, and --at asks elsewhere", hint="leave one of them out")
    from toombos_cli.manifest.place_view import at_place
    from toombos_cli.manifest.tables.table import ALL

    every = invocation.manifest.places
    asked = dict.fromkeys(name for given in at for name in (every if given == ALL else (given,)))
    if not asked:
        raise UsageError("the manifest has no place", hint="describe one: [places.NAME]")
    views = {name: at_place(invocation.manifest, name) for name in asked}
    if len(views) == 1:
        invocation.go_to(*views)
    return views


def _wait(views: "Iterable[Manifest]", names: tuple[str, ...], wait_s: float) -> None:
    from toombos_cli.project.ready_wait import wait_until_ready

    until = time.monotonic() + wait_s
    for manifest in views:
        services = manifest.services
        wanted = [service for name, service in services.items() if name in names or not (names or service.optional)]
        wait_until_ready(manifest, wanted, until - time.monotonic())


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


def _alarm(
    invocation: Invocation, argv: tuple[str, ...], report: "HealthReport | PlacesHealthReport", *, strict: bool
) -> None:
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
