"""`toombos load`."""

import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from toombos_cli.base.errors import Problem, UsageError
from toombos_cli.cli import options
from toombos_cli.cli.invocation import Invocation, command
from toombos_cli.cli.output_files import refuse_unwritable

if TYPE_CHECKING:
    from toombos_cli.load.plan import LoadPlan
    from toombos_cli.load.report import LoadReport
    from toombos_cli.load.server_use import Watched
    from toombos_cli.manifest.model import Manifest

_MIX = "What is sent"
_PACE = "How much, how long"
_JUDGE = "What it is judged by"
_OUT = "Where the result goes"
_SECRET_OPTIONS = ("-H", "--header", "-d", "--data")


@command
def load(
    invocation: Invocation,
    url: Annotated[
        str | None, typer.Argument(metavar="[URL]", show_default=False, help="Default: the manifest's load target.")
    ] = None,
    requests: Annotated[
        int | None, typer.Option("-n", "--requests", metavar="N", help="Requests in all (100).", rich_help_panel=_PACE)
    ] = None,
    connections: Annotated[
        int | None, typer.Option("-c", "--connections", metavar="N", help="At a time (10).", rich_help_panel=_PACE)
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option("--rate", metavar="RPS", help="Send at this rate, come what may.", rich_help_panel=_PACE),
    ] = None,
    duration: Annotated[
        str | None, typer.Option("--duration", metavar="TIME", help="For so long (30s, 5m).", rich_help_panel=_PACE)
    ] = None,
    stages: Annotated[
        str | None,
        typer.Option(
            "--stages",
            metavar="TIME:RPS,...",
            help="Ramp the rate linearly from 0 to each in turn (30s:50,1m:200).",
            rich_help_panel=_PACE,
        ),
    ] = None,
    arrival: Annotated[
        Literal["constant", "poisson"],
        typer.Option("--arrival", help="Evenly spaced, or random as from many users.", rich_help_panel=_PACE),
    ] = "constant",
    warmup: Annotated[
        str | None,
        typer.Option("--warmup", metavar="TIME", help="Load that is not counted, before.", rich_help_panel=_PACE),
    ] = None,
    timeout: Annotated[
        str | None, typer.Option("--timeout", metavar="TIME", help="Give up a request (30s).", rich_help_panel=_PACE)
    ] = None,
    drain: Annotated[
        str | None,
        typer.Option(
            "--drain", metavar="TIME", help="Wait for the last answers (as --timeout).", rich_help_panel=_PACE
        ),
    ] = None,
    keepalive: Annotated[
        bool, typer.Option("--keepalive/--no-keepalive", help="One connection for many.", rich_help_panel=_PACE)
    ] = True,
    max_connections: Annotated[
        int | None,
        typer.Option("--max-connections", metavar="N", help="With --rate (1000).", rich_help_panel=_PACE),
    ] = None,
    processes: Annotated[
        int, typer.Option("--processes", metavar="N", help="Share the load among N.", rich_help_panel=_PACE)
    ] = 1,
    locust_workers: Annotated[
        int | None,
        typer.Option("--locust-workers", metavar="N", help="Let Locust send, from N workers.", rich_help_panel=_PACE),
    ] = None,
    locust_master: Annotated[
        str | None,
        typer.Option(
            "--locust-master",
            metavar="HOST",
            help="Wait there for those workers, started elsewhere: locust -f - --worker --master-host HOST. "
            "An address of a private network: Locust asks for no password.",
            rich_help_panel=_PACE,
        ),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            "-m",
            "--method",
            metavar="METHOD",
            help="GET, or POST with a body.",
            show_default=False,
            rich_help_panel=_MIX,
        ),
    ] = None,
    payload: Annotated[
        Path | None, typer.Option("-p", "--payload", metavar="FILE", help="Body.", rich_help_panel=_MIX)
    ] = None,
    data: Annotated[
        str | None, typer.Option("-d", "--data", metavar="TEXT", help="Body, as text.", rich_help_panel=_MIX)
    ] = None,
    content_type: Annotated[
        str | None, typer.Option("-T", "--content-type", metavar="TYPE", help="Of the body.", rich_help_panel=_MIX)
    ] = None,
    headers: Annotated[
        list[str] | None,
        typer.Option("-H", "--header", metavar="'NAME: VALUE'", help="May be repeated.", rich_help_panel=_MIX),
    ] = None,
    scenario: Annotated[
        Path | None,
        typer.Option("--scenario", metavar="FILE", help="A weighted mix, in TOML.", rich_help_panel=_MIX),
    ] = None,
    allow_target: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-target", metavar="HOST", help="A host of yours beyond this machine.", rich_help_panel=_MIX
        ),
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Take any TLS certificate.", rich_help_panel=_MIX)
    ] = False,
    slo: Annotated[
        str | None,
        typer.Option("--slo", metavar="EXPR", help="For example p99<800ms,error_rate<1%.", rich_help_panel=_JUDGE),
    ] = None,
    abort_on_fail: Annotated[
        bool, typer.Option("--abort-on-fail", help="End as soon as --slo is lost.", rich_help_panel=_JUDGE)
    ] = False,
    baseline: Annotated[
        Path | None,
        typer.Option("--baseline", metavar="FILE", help="Fail when worse than its runs.", rich_help_panel=_JUDGE),
    ] = None,
    save_baseline: Annotated[
        Path | None,
        typer.Option("--save-baseline", metavar="FILE", help="Add this run to it.", rich_help_panel=_JUDGE),
    ] = None,
    watch: Annotated[
        list[str] | None,
        typer.Option(
            "--watch",
            metavar="SERVICE",
            autocompletion=options.complete_service,
            help="Show its CPU and memory too.",
            rich_help_panel=_JUDGE,
        ),
    ] = None,
    csv: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="The series.", rich_help_panel=_OUT)] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="One page with charts.", rich_help_panel=_OUT)
    ] = None,
    junit: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE", help="JUnit XML.", rich_help_panel=_OUT)
    ] = None,
    strict: options.Strict = False,
) -> None:
    """Put load on a service and measure what its users would feel.

    Without options: 100 requests, 10 at a time, to the manifest's load target. With --rate or --stages requests are
    sent on schedule however slow the answers are, and response times count from when a request was due.
    Only this machine is loaded unless --allow-target says otherwise.
    """
    from toombos_cli.load.locust import LocustFleet
    from toombos_cli.load.planning import LoadOptions, make_plan
    from toombos_cli.load.run import Judgement, run_load
    from toombos_cli.load.slo import parse_objectives
    from toombos_cli.render.load_progress import LoadProgress

    outputs = {"--csv": csv, "--html": html, "--junit": junit, "--save-baseline": save_baseline}
    for option, path in outputs.items():
        refuse_unwritable(option, path)
    if save_baseline is not None and save_baseline.exists() and not save_baseline.is_file():
        raise UsageError("is no regular file", where=f"--save-baseline {save_baseline}", hint="name a file")
    objectives = parse_objectives(slo) if slo is not None else ()
    if abort_on_fail and not objectives:
        raise UsageError("--abort-on-fail needs --slo", where="--abort-on-fail")
    if locust_master is not None and locust_workers is None:
        raise UsageError(
            "--locust-master needs --locust-workers", where="--locust-master", hint="say how many to wait for"
        )
    names = invocation.service_names(watch)
    chosen = LoadOptions(
        url=url,
        requests=requests,
        connections=connections,
        rate=rate,
        duration=duration,
        stages=stages,
        arrival=arrival,
        warmup=warmup,
        method=method,
        payload=payload,
        data=data,
        content_type=content_type,
        headers=tuple(headers or ()),
        scenario=scenario,
        timeout=timeout,
        drain=drain,
        keepalive=keepalive,
        max_connections=max_connections,
        processes=processes,
        allowed=tuple(allow_target or ()),
        verify_tls=not insecure,
    )
    manifest = invocation.manifest
    plan = make_plan(chosen, manifest, _variables(manifest))
    with LoadProgress(plan, invocation.stderr, quiet=invocation.options.quiet) as progress:
        report = run_load(
            plan,
            judgement=Judgement(
                objectives=objectives, abort_on_fail=abort_on_fail, baseline=baseline, save_baseline=save_baseline
            ),
            watched=_watched(plan, manifest, names),
            argv=_masked(sys.argv),
            on_snapshot=progress.show if progress.wanted else None,
            locust=None if locust_workers is None else LocustFleet(workers=locust_workers, master_host=locust_master),
        )
    unwritten = _write_files(report, outputs)
    invocation.finish(replace(report, problems=(*report.problems, *unwritten)), strict=strict)


def _variables(manifest: "Manifest") -> dict[str, str]:
    """Return the variables in clear of the default target's service, for the manifest's headers."""
    from toombos_cli.project.mode import mode_now
    from toombos_cli.settings.values import clear_values, read_env_file

    service = manifest.services.get(manifest.load.service or "")
    if not manifest.load.headers or service is None:
        return {}
    env_file = read_env_file(manifest.project)
    clear = clear_values(manifest, service, env_file, mode=mode_now(manifest))
    clear.require(re.findall(r"\$\{(\w+)\}", " ".join(manifest.load.headers.values())), env_file)
    return dict(clear.values)


def _watched(plan: "LoadPlan", manifest: "Manifest", names: tuple[str, ...]) -> "tuple[Watched, ...]":
    """The target, under its service's name where it is one, and the services asked for."""
    from toombos_cli.load.server_use import Watched

    target = plan.target
    own = next((s.name for s in manifest.services.values() if s.port == target.port), f"{target.host}:{target.port}")
    services = [manifest.services[name] for name in names if name != own]
    return (
        Watched(name=own, host=target.address, port=target.port),
        *(Watched(name=s.name, host=s.host, port=s.port) for s in services),
    )


def _masked(argv: list[str]) -> tuple[str, ...]:
    """The command line without what may be secret: values of headers and bodies."""
    shown: list[str] = []
    for word in argv[1:]:
        option = next((o for o in _SECRET_OPTIONS if word.startswith(o)), None)
        if shown and shown[-1] in _SECRET_OPTIONS:
            shown.append("***")
        elif option and word != option:
            shown.append(f"{option}=***" if option.startswith("--") else f"{option}***")
        else:
            shown.append(word)
    return ("toombos", *shown)


def _write_files(report: "LoadReport", outputs: dict[str, Path | None]) -> list[Problem]:
    """Writes each file that was asked for; returns what kept any from being written."""
    from toombos_cli.render import junit, load_csv, load_html

    documents: dict[str, Callable[[LoadReport], str]] = {
        "--csv": load_csv.document,
        "--html": load_html.document,
        "--junit": lambda found: junit.document(found, suite="load"),
    }
    unwritten = []
    for option, make in documents.items():
        path = outputs[option]
        if path is not None:
            try:
                path.write_text(make(report), "utf-8")
            except OSError as error:
                unwritten.append(Problem(message=f"cannot be written: {error.strerror}", where=str(path)))
    return unwritten
