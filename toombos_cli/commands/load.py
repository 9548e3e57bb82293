"""`toombos load`."""

import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toombos_cli.base.errors import Problem, ToombosError, UsageError
from toombos_cli.base.redaction import mask_values
from toombos_cli.cli import options
from toombos_cli.cli.github import annotate
from toombos_cli.cli.invocation import Invocation, command
from toombos_cli.cli.output_files import STDOUT, give_stdout_away, refuse_unwritable, write_outputs
from toombos_cli.load.options import LoadOptions

if TYPE_CHECKING:
    from toombos_cli.load.report import LoadReport
    from toombos_cli.load.scenario import Scenario
    from toombos_cli.manifest.model import Manifest

_MIX = "Requests"
_PACE = "Amount and pace"
_JUDGE = "Verdict"
_OUT = "Output files"
_SECRET_OPTIONS = ("-H", "--header", "-d", "--data")


_ASKED = {
    "url": typer.Argument(metavar="[URL]", show_default=False, help="Default: the manifest's load target."),
    "requests": typer.Option("-n", "--requests", metavar="N", help="Number of requests (100).", rich_help_panel=_PACE),
    "connections": typer.Option(
        "-c", "--connections", metavar="N", help="Concurrent requests (10).", rich_help_panel=_PACE
    ),
    "rate": typer.Option(
        "--rate", metavar="RPS", help="Send at a fixed rate, whatever the response times.", rich_help_panel=_PACE
    ),
    "duration": typer.Option("--duration", metavar="TIME", help="How long to send (30s, 5m).", rich_help_panel=_PACE),
    "stages": typer.Option(
        "--stages",
        metavar="TIME:RPS,...",
        help="Ramp the rate linearly from 0 to each in turn (30s:50,1m:200).",
        rich_help_panel=_PACE,
    ),
    "arrival": typer.Option("--arrival", help="Evenly spaced, or random like many users.", rich_help_panel=_PACE),
    "warmup": typer.Option(
        "--warmup", metavar="TIME", help="First send load that is not counted.", rich_help_panel=_PACE
    ),
    "timeout": typer.Option("--timeout", metavar="TIME", help="Limit for one request (30s).", rich_help_panel=_PACE),
    "drain": typer.Option(
        "--drain", metavar="TIME", help="Wait for the last responses (as --timeout).", rich_help_panel=_PACE
    ),
    "keepalive": typer.Option(
        "--keepalive/--no-keepalive", help="Reuse connections for several requests.", rich_help_panel=_PACE
    ),
    "retry_stale": typer.Option(
        "--retry-stale/--no-retry-stale",
        help="Send again what met a connection that the server had closed.",
        rich_help_panel=_PACE,
    ),
    "max_connections": typer.Option(
        "--max-connections", metavar="N", help="Limit with --rate (1000).", rich_help_panel=_PACE
    ),
    "processes": typer.Option(
        "--processes", metavar="N", help="Split the load among N processes.", rich_help_panel=_PACE
    ),
    "locust_workers": typer.Option(
        "--locust-workers", metavar="N", help="Send from N Locust workers.", rich_help_panel=_PACE
    ),
    "locust_master": typer.Option(
        "--locust-master",
        metavar="HOST",
        help="Listen on this address for workers started elsewhere: locust -f - --worker --master-host HOST. "
        "Use a private network: Locust has no password.",
        rich_help_panel=_PACE,
    ),
    "method": typer.Option(
        "-m",
        "--method",
        metavar="METHOD",
        help="GET, or POST with a body.",
        show_default=False,
        rich_help_panel=_MIX,
    ),
    "payload": typer.Option("-p", "--payload", metavar="FILE", help="Request body from a file.", rich_help_panel=_MIX),
    "data": typer.Option("-d", "--data", metavar="TEXT", help="Request body as text.", rich_help_panel=_MIX),
    "content_type": typer.Option(
        "-T", "--content-type", metavar="TYPE", help="Content type of the body.", rich_help_panel=_MIX
    ),
    "headers": typer.Option(
        "-H", "--header", metavar="'NAME: VALUE'", help="Request header; may be repeated.", rich_help_panel=_MIX
    ),
    "scenario": typer.Option(
        "--scenario", metavar="FILE", help="Requests and users in TOML: docs/load.md.", rich_help_panel=_MIX
    ),
    "expect_status": typer.Option(
        "--expect-status",
        metavar="STATUS,...",
        help="The statuses of a success (404, or 2xx); else all below 400.",
        rich_help_panel=_MIX,
    ),
    "follow_redirects": typer.Option(
        "--follow-redirects", help="Follow redirects within the target.", rich_help_panel=_MIX
    ),
    "cookies": typer.Option("--cookies", help="Keep cookies and send them again.", rich_help_panel=_MIX),
    "allow_target": typer.Option(
        "--allow-target",
        metavar="HOST",
        help="Allow this host, which must be yours, besides this machine.",
        rich_help_panel=_MIX,
    ),
    "insecure": typer.Option("--insecure", help="Accept any TLS certificate.", rich_help_panel=_MIX),
    "slo": typer.Option(
        "--slo", metavar="EXPR", help="Objectives, such as p99<800ms,error_rate<1%.", rich_help_panel=_JUDGE
    ),
    "abort_on_fail": typer.Option("--abort-on-fail", help="Stop as soon as --slo is missed.", rich_help_panel=_JUDGE),
    "baseline": typer.Option(
        "--baseline", metavar="FILE", help="Fail if worse than the runs in this file.", rich_help_panel=_JUDGE
    ),
    "save_baseline": typer.Option(
        "--save-baseline", metavar="FILE", help="Add this run to a baseline file.", rich_help_panel=_JUDGE
    ),
}
"""The option for each field of LoadOptions."""


@command
def load(
    invocation: Invocation,
    asked: Annotated[LoadOptions, _ASKED],
    watch: Annotated[
        list[str] | None,
        typer.Option(
            "--watch",
            metavar="SERVICE",
            autocompletion=options.complete("service"),
            help="Also show its CPU and memory.",
            rich_help_panel=_JUDGE,
        ),
    ] = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write the time series.", rich_help_panel=_OUT)
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a page with charts.", rich_help_panel=_OUT)
    ] = None,
    junit: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE", help="Write JUnit XML.", rich_help_panel=_OUT)
    ] = None,
    at: options.At = None,
    github: options.Github = None,
    strict: options.Strict = False,
) -> None:
    """Send load to a service and measure what its users would experience.

    Without options: 100 requests, 10 at a time, to the manifest's load target. With --rate or --stages, requests are
    sent on schedule however slow the responses are, and response times count from when a request was due.
    Only this machine may be the target, unless --allow-target names another one, or the place of --at allows load.
    """
    from toombos_cli.load.build_plan import build_plan
    from toombos_cli.load.locust import locust_fleet_of
    from toombos_cli.load.run import run_load
    from toombos_cli.load.scenario import read_scenario
    from toombos_cli.load.server_use import watched_servers
    from toombos_cli.load.slo import criteria_of
    from toombos_cli.render.load_progress import LoadProgress

    named = {"--csv": csv, "--html": html, "--junit": junit, "--save-baseline": asked.save_baseline}
    for option, path in named.items():
        refuse_unwritable(option, path)
    give_stdout_away(invocation, {"--csv": csv, "--html": html, "--junit": junit})
    if asked.save_baseline == STDOUT:
        raise UsageError("--save-baseline adds to a file, so it cannot write to stdout", hint="give it a file")
    criteria, fleet = criteria_of(asked), locust_fleet_of(asked)
    invocation.go_to(at)
    if at and watch:
        raise UsageError("--watch looks at processes of this machine, and --at is another place", hint="leave it out")
    manifest = invocation.manifest
    judged = (objective.server for objective in criteria.objectives)
    names = invocation.service_names([*(watch or ()), *(name for name in judged if name in manifest.services)])
    argv = ("toombos", *mask_values(sys.argv[1:], _SECRET_OPTIONS))
    try:
        scenario = read_scenario(asked.scenario) if asked.scenario is not None else None
        plan = build_plan(asked, manifest, _variables(manifest, scenario), scenario)
        before = "connecting" if fleet is None else fleet.awaited
        with LoadProgress(plan, invocation.stderr, quiet=invocation.options.quiet, before=before) as progress:
            report = run_load(
                plan,
                criteria=criteria,
                watched=watched_servers(plan.target, manifest, names),
                argv=argv,
                on_snapshot=progress.show if progress.wanted else None,
                locust=fleet,
            )
    except ToombosError as error:
        problems = invocation.redactor.value(error.problems)
        documents = _documents_of_no_run(problems, invocation.redactor.value(argv), csv=csv, html=html, junit=junit)
        error.problems += tuple(write_outputs(documents))
        raise
    report = invocation.redacted(report)
    unwritten = write_outputs(_documents(report, csv=csv, html=html, junit=junit))
    annotate(invocation, report, asked=github)
    invocation.finish(replace(report, problems=(*report.problems, *unwritten)), strict=strict)


def _variables(manifest: "Manifest", scenario: "Scenario | None") -> dict[str, str]:
    """Return the variables of the default target's service in plain text, for the manifest's headers and a scenario."""
    from toombos_cli.load.scenario_mix import environment_of
    from toombos_cli.manifest.tables.expectations import header_variables
    from toombos_cli.project.mode import mode_now
    from toombos_cli.settings.env_files import read_env_files
    from toombos_cli.settings.values import clear_values

    service = manifest.services.get(manifest.load.service or "")
    used = set(re.findall(r"\$\{(\w+)\}", " ".join(value for _, value in manifest.load.header_pairs())))
    used |= set(environment_of(scenario)) if scenario is not None else set()
    needed = sorted(used)
    if service is not None and not service.is_here:
        used |= set(header_variables(service.headers))
    if not used or service is None:
        return {}
    env_files = read_env_files(manifest)
    clear = clear_values(manifest, service, env_files, mode=mode_now(manifest))
    clear.require(needed, env_files)
    return dict(clear.values)


def _documents(
    report: "LoadReport", *, csv: Path | None, html: Path | None, junit: Path | None
) -> Iterator[tuple[Path, str]]:
    """Yield each requested file with its text."""
    from toombos_cli.render import junit as junit_xml
    from toombos_cli.render import load_csv, load_html

    if csv is not None:
        yield csv, load_csv.document(report.series)
    if html is not None:
        yield html, load_html.document(report)
    if junit is not None:
        yield junit, junit_xml.document(report, suite="load")


def _documents_of_no_run(
    problems: tuple[Problem, ...], argv: tuple[str, ...], *, csv: Path | None, html: Path | None, junit: Path | None
) -> Iterator[tuple[Path, str]]:
    """Yield each requested file for a run without a report, or the file of an earlier run would be taken for its."""
    from toombos_cli.render import junit as junit_xml
    from toombos_cli.render import load_csv, load_html

    if csv is not None:
        yield csv, load_csv.document(())
    if html is not None:
        yield html, load_html.not_run_document(problems, argv=argv)
    if junit is not None:
        yield junit, junit_xml.document_of_errors(problems, suite="load")
