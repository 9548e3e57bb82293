"""`toombos export`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from toombos_cli.base.errors import UsageError
from toombos_cli.cli import options
from toombos_cli.cli.groups import command_group
from toombos_cli.cli.invocation import Invocation, command

app = command_group("Write the system as files for systemd, Compose or Kubernetes.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """Where the files go, and whether they are checked or compared instead of written."""

    output: Path | None = None
    check: bool = False
    diff: Path | None = None


_ASKED = {
    "output": typer.Option("--output", "-o", metavar="DIR", help="Write the files here.", show_default="export/ENGINE"),
    "check": typer.Option(
        "--check", help="Check the files with the engine's own tools; write them only with --output."
    ),
    "diff": typer.Option(
        "--diff", metavar="DIR", help="Show how the files in DIR differ; write nothing.", show_default=False
    ),
}
Asked = Annotated[ExportOptions, _ASKED]
Secrets = Annotated[
    bool,
    typer.Option("--with-secrets", help="Also write the values of the secrets, into a private file."),
]


@app.command()
@command
def systemd(
    invocation: Invocation, asked: Asked, with_secrets: Secrets = False, strict: options.Strict = False
) -> None:
    """Write a unit for each service and task, a target, and a timer for each job.

    What cannot be carried over is listed with its reason.
    """
    _export(invocation, "systemd", asked, with_secrets=with_secrets, strict=strict)


@app.command()
@command
def compose(invocation: Invocation, asked: Asked, strict: options.Strict = False) -> None:
    """Write a Compose file, one for each mode, and the Dockerfiles of the images.

    What cannot be carried over is listed with its reason.
    """
    _export(invocation, "compose", asked, with_secrets=False, strict=strict)


@app.command()
@command
def kubernetes(
    invocation: Invocation, asked: Asked, with_secrets: Secrets = False, strict: options.Strict = False
) -> None:
    """Write objects for a cluster in kustomize's layout, with an overlay for each mode.

    What cannot be carried over is listed with its reason.
    """
    _export(invocation, "kubernetes", asked, with_secrets=with_secrets, strict=strict)


def _export(invocation: Invocation, name: str, asked: ExportOptions, *, with_secrets: bool, strict: bool) -> None:
    from toombos_cli.export.model import ExportEngine
    from toombos_cli.export.operations import run_diff, run_export

    engine = ExportEngine(name)
    if asked.diff is not None:
        if asked.output is not None or asked.check:
            raise UsageError("--diff writes and checks nothing", hint="leave out --output and --check")
        report = run_diff(invocation.manifest, engine, asked.diff, with_secrets=with_secrets)
    else:
        report = run_export(
            invocation.manifest, engine, output=asked.output, check=asked.check, with_secrets=with_secrets
        )
    invocation.finish(report, strict=strict)
