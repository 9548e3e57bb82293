"""`toombos monitoring`: up, down, restart, status, logs, reload, check."""

from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from toombos_cli.cli import options
from toombos_cli.cli.groups import command_group
from toombos_cli.cli.invocation import Invocation, command
from toombos_cli.cli.wait_progress import Waiting

if TYPE_CHECKING:
    from toombos_cli.manifest.model import Manifest

app = command_group("Run Prometheus, Alertmanager and Grafana for the services, configured from the manifest.")

BackendOption = Annotated[
    Literal["auto", "native", "compose"] | None,
    typer.Option(
        "--backend",
        help="Native programs or containers; auto: containers if a container engine is available.",
        show_default="the manifest's",
    ),
]


@app.command()
@command
def up(invocation: Invocation, backend: BackendOption = None, timeout: options.StartTimeout = None) -> None:
    """Write the configuration, start what is installed, and wait until it responds.

    Programs that already run with an older configuration reload it.
    """
    _up(invocation, _with_backend(invocation.manifest, backend), timeout)


@app.command()
@command
def down(invocation: Invocation) -> None:
    """Stop monitoring; its data stays."""
    _stop(invocation)
    from toombos_cli.monitoring.operations import run_status

    invocation.finish(run_status(invocation.manifest, wanted=False))


@app.command()
@command
def restart(invocation: Invocation, backend: BackendOption = None, timeout: options.StartTimeout = None) -> None:
    """Stop monitoring and start it again with a new configuration."""
    _stop(invocation)
    _up(invocation, _with_backend(invocation.manifest, backend), timeout)


@app.command()
@command
def status(invocation: Invocation) -> None:
    """Show whether each monitoring service is up."""
    from toombos_cli.monitoring.operations import run_status

    invocation.finish(run_status(invocation.manifest))


@app.command()
@command
def logs(
    invocation: Invocation,
    services: options.Services = None,
    lines: Annotated[int, typer.Option("-n", "--lines", min=0, metavar="N", help="Lines per service.")] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep showing new lines until Ctrl-C.")] = False,
) -> None:
    """Show the last log lines of the monitoring services."""
    from toombos_cli.commands.logs import follow_files
    from toombos_cli.logs.reading import LogLine, LogsReport, run_logs
    from toombos_cli.monitoring.operations import container_logs, followed_container_logs
    from toombos_cli.project.service_logs import service_logs
    from toombos_cli.project.state import RunDirectory, read_state

    asked = invocation.service_names(services)
    known, run = invocation.manifest.services, RunDirectory(invocation.project)
    names = asked or tuple(name for name, service in known.items() if service.role == "monitoring")
    if follow and (stream := followed_container_logs(invocation.manifest, asked, lines)) is not None:
        from toombos_cli.render.line_printer import LinePrinter

        printer = LinePrinter(invocation, names, as_json=invocation.format == "json")
        for name, line in stream:
            printer.show(name, line)
            printer.flush()
        raise typer.Exit
    contained = container_logs(invocation.manifest, asked, lines)
    if contained is not None:
        invocation.finish(
            LogsReport(lines=tuple(LogLine(service=n, timestamp=None, line=t) for n, t in contained), services=names)
        )
    files, _ = service_logs(run, {name: known[name] for name in names}, read_state(invocation.project))
    if follow:
        follow_files(invocation, files, count=lines)
    invocation.finish(run_logs({name: log for name, log in files.items() if log.path.exists()}, count=lines))


@app.command()
@command
def reload(invocation: Invocation) -> None:
    """Write the configuration again and reload it in the running programs."""
    from toombos_cli.monitoring.operations import run_reload

    invocation.finish(run_reload(invocation.manifest))


@app.command()
@command
def check(
    invocation: Invocation,
    wait: Annotated[
        float,
        typer.Option("--wait", min=0, metavar="SECONDS", help="Retry for at most this long, until every check passes."),
    ] = 0.0,
    at: options.At = None,
    strict: options.Strict = False,
) -> None:
    """Check that monitoring would notice a problem: targets, rules, and data for every panel.

    Each metric that an alert rule or a panel reads must be exported by the services that it is about.
    """
    from toombos_cli.monitoring.check import run_check
    from toombos_cli.monitoring.operations import as_run

    invocation.go_to(at)
    invocation.finish(run_check(as_run(invocation.manifest), wait_s=wait), strict=strict)


def make_ready(invocation: Invocation, names: tuple[str, ...]) -> tuple[str, ...]:
    """Write the files for `toombos start`, start the containers, and return the names that are left to supervise.

    What is not installed is left out, with a warning and a hint.
    """
    from toombos_cli.monitoring.operations import prepare, start_containers

    prepared = prepare(invocation.manifest)
    start_containers(prepared)
    for item in prepared.backend.missing:
        if item.service in names:
            invocation.stderr.print(f"warning: {item.service} is not started: {item.reason}", style="yellow")
            invocation.stderr.print(f"hint: {item.hint}", style="cyan", soft_wrap=True)
    left_out = {item.service for item in prepared.backend.missing} | set(prepared.backend.contained)
    return tuple(name for name in names if name not in left_out)


def _up(invocation: Invocation, manifest: "Manifest", timeout_s: float | None) -> NoReturn:
    from toombos_cli.recovery.monitoring import bring_up_monitoring

    with Waiting(invocation) as waiting:
        report = bring_up_monitoring(manifest, timeout_s=timeout_s, on_progress=waiting.note)
    invocation.finish(report)


def _stop(invocation: Invocation) -> None:
    from toombos_cli.monitoring.operations import stop_containers
    from toombos_cli.supervisor.operations import run_stop

    services = invocation.manifest.services
    stop_containers(invocation.manifest)
    names = tuple(name for name, service in services.items() if service.role == "monitoring")
    with Waiting(invocation) as waiting:
        run_stop(invocation.project, dict(services), names, on_progress=waiting.note)


def _with_backend(manifest: "Manifest", backend: Literal["auto", "native", "compose"] | None) -> "Manifest":
    if backend is None:
        return manifest
    from msgspec.structs import replace

    return replace(manifest, monitoring=replace(manifest.monitoring, backend=backend))
