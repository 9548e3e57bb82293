"""`toombos export`."""

from pathlib import Path
from typing import Annotated

import typer

from toombos_cli.base.errors import UsageError
from toombos_cli.cli import options
from toombos_cli.cli.groups import command_group
from toombos_cli.cli.invocation import Invocation, command

app = command_group("Write the system as files for systemd, Compose or Kubernetes.")

OutputOption = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="DIR", help="Write the files here.", show_default="export/ENGINE"),
]
CheckOption = Annotated[
    bool,
    typer.Option("--check", help="Check the files with the engine's own tools; write them only with --output."),
]
DiffOption = Annotated[
    Path | None,
    typer.Option("--diff", metavar="DIR", help="Show how the files in DIR differ; write nothing.", show_default=False),
]
SecretsOption = Annotated[
    bool,
    typer.Option("--with-secrets", help="Also write the values of the secrets, into a private file."),
]


@app.command()
@command
def systemd(
    invocation: Invocation,
    output: OutputOption = None,
    check: CheckOption = False,
    diff: DiffOption = None,
    with_secrets: SecretsOption = False,
    strict: options.Strict = False,
) -> None:
    """Write a unit for each service and task, a target, and a timer for each job.

    What cannot be carried over is listed with its reason.
    """
    _export(invocation, "systemd", output, check=check, diff=diff, with_secrets=with_secrets, strict=strict)


@app.command()
@command
def compose(
    invocation: Invocation,
    output: OutputOption = None,
    check: CheckOption = False,
    diff: DiffOption = None,
    strict: options.Strict = False,
) -> None:
    """Write a Compose file, one for each mode, and the Dockerfiles of the images.

    What cannot be carried over is listed with its reason.
    """
    _export(invocation, "compose", output, check=check, diff=diff, with_secrets=False, strict=strict)


@app.command()
@command
def kubernetes(
    invocation: Invocation,
    output: OutputOption = None,
    check: CheckOption = False,
    diff: DiffOption = None,
    with_secrets: SecretsOption = False,
    strict: options.Strict = False,
) -> None:
    """Write objects for a cluster in kustomize's layout, with an overlay for each mode.

    What cannot be carried over is listed with its reason.
    """
    _export(invocation, "kubernetes", output, check=check, diff=diff, with_secrets=with_secrets, strict=strict)


def _export(
    invocation: Invocation,
    name: str,
    output: Path | None,
    *,
    check: bool,
    diff: Path | None,
    with_secrets: bool,
    strict: bool,
) -> None:
    from toombos_cli.export.model import ExportEngine
    from toombos_cli.export.operations import run_diff, run_export

    if diff is not None:
        if output is not None or check:
            raise UsageError("--diff writes and checks nothing", hint="leave out --output and --check")
        report = run_diff(invocation.manifest, ExportEngine(name), diff, with_secrets=with_secrets)
        invocation.finish(report, strict=strict)
    report = run_export(invocation.manifest, ExportEngine(name), output=output, check=check, with_secrets=with_secrets)
    invocation.finish(report, strict=strict)
