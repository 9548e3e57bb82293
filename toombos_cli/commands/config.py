"""`toombos config`: check, show, init, schema, encrypt, rotate-key, trust."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from toombos_cli.base.errors import UsageError
from toombos_cli.base.fixes import here
from toombos_cli.cli import options
from toombos_cli.cli.github import annotate
from toombos_cli.cli.groups import command_group
from toombos_cli.cli.invocation import Invocation, command

app = command_group("Check, show and encrypt the settings in .env; create a first .env or toombos.toml.")

DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Use the settings of `start --dry-run`; default: those of the running system.")
]


@app.command()
@command
def check(
    invocation: Invocation,
    mode: options.Mode = None,
    dry_run: DryRun = False,
    format: Annotated[  # noqa: A002 (the option's name)
        Literal["text", "json", "junit"] | None,
        typer.Option("--format", help="Output format.", show_default="text"),
    ] = None,
    github: options.Github = None,
    strict: options.Strict = False,
) -> None:
    """Check .env and everything it affects, and report each problem with its line and fix.

    Exit 0 if there is no problem, or only warnings; exit 1 if something is wrong, and 3 if toombos.toml is. No secret
    is printed.
    """
    from toombos_cli.config.check import run_check
    from toombos_cli.smoke.plan import check_steps

    check_steps(invocation.manifest)
    report = run_check(invocation.manifest, mode=_mode(invocation, mode, dry_run=dry_run), start=_start(invocation))
    annotate(invocation, report, asked=github, format=format)
    invocation.finish(report, format=format, strict=strict)


@app.command()
@command
def show(
    invocation: Invocation,
    service: Annotated[
        str | None,
        typer.Argument(
            metavar="[SERVICE]",
            help="Show what this service gets.",
            show_default=False,
            autocompletion=options.complete("service"),
        ),
    ] = None,
    mode: options.Mode = None,
    dry_run: DryRun = False,
) -> None:
    """Print every setting with its source and line; secrets are masked."""
    from toombos_cli.config.show import run_show

    if service is not None:
        service = invocation.service_name(service)
    invocation.finish(run_show(invocation.manifest, service=service, mode=_mode(invocation, mode, dry_run=dry_run)))


@app.command()
@command
def init(
    invocation: Invocation,
    manifest: Annotated[
        bool, typer.Option("--manifest", help="Write a first toombos.toml instead, for your own services.")
    ] = False,
    example: Annotated[bool, typer.Option("--example", help="Print a complete .env.example; write nothing.")] = False,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="FILE",
            help="Write the toombos.toml from a Procfile, a Compose file, process-compose.yaml, supervisord.conf,"
            " ecosystem.json or package.json.",
            show_default=False,
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="With --from: replace a toombos.toml; the old one becomes toombos.toml.bak.")
    ] = False,
) -> None:
    """Write a first .env: readable only for its owner, in dry-run mode if there is one, with new random secrets.

    With --manifest, write a toombos.toml to the current directory (or that of --project), with one service to
    replace by yours; with --from, one with the services of another tool's file. An existing file is never overwritten
    (exit 5), except a toombos.toml with --force.
    """
    _refuse_contradictions(source, force=force, example=example)
    if manifest or source:
        from toombos_cli.project.find import refuse_untrusted

        directory = Path.cwd() if invocation.options.project is None else invocation.project
        refuse_untrusted(directory)
        if source:
            from toombos_cli.config.imports.run import run_import

            invocation.finish(run_import(source, directory, force=force))
        from toombos_cli.config.init import run_init_manifest

        invocation.finish(run_init_manifest(directory))
    if example:
        from toombos_cli.config.reports import ExampleReport
        from toombos_cli.config.template import render_example

        invocation.finish(ExampleReport(text=render_example(invocation.manifest)))
    from toombos_cli.config.init import run_init

    invocation.finish(run_init(invocation.manifest))


@app.command()
@command
def schema(invocation: Invocation) -> None:
    """Print the JSON Schema of toombos.toml, with which editors complete and check it.

    Write it beside the file: toombos config schema > toombos.schema.json. The first line of a toombos.toml that init
    writes names it.
    """
    from toombos_cli.config.reports import SchemaReport
    from toombos_cli.manifest.schema import manifest_schema

    invocation.finish(SchemaReport(schema=manifest_schema()))


@app.command()
@command
def encrypt(
    invocation: Invocation,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            autocompletion=options.complete("secret"),
            help="Default: every secret in plain text.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Encrypt secrets of .env in place, with API_KEY_ENCRYPTION_KEY; comments and order stay."""
    from toombos_cli.config.encrypt import run_encrypt

    invocation.finish(run_encrypt(invocation.manifest, names or ()))


@app.command("rotate-key")
@command
def rotate_key(
    invocation: Invocation,
    new_key_from: Annotated[
        str | None,
        typer.Option(
            "--new-key-from",
            metavar="VARIABLE",
            autocompletion=options.complete("variable"),
            help="Environment variable with the new key; default: a random key.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Replace the encryption key in .env and re-encrypt every encrypted value with the new one.

    The old file stays next to it as .env.bak, as private as .env itself. Running services need a restart.
    """
    from toombos_cli.config.encrypt import run_rotate_key

    invocation.finish(run_rotate_key(invocation.manifest, new_key_from=new_key_from))


@app.command()
@command
def trust(
    invocation: Invocation,
    directory: Annotated[
        Path | None,
        typer.Argument(metavar="[DIR]", help="The directory; default: show the list.", show_default=False),
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Remove the directory from the list.")] = False,
) -> None:
    """Trust a project that another user owns or everybody may write; list the trusted projects.

    It counts for this user and for exactly this directory: its toombos.toml and .env then decide what toombos runs.
    """
    from toombos_cli.config.trust import run_trust

    invocation.finish(run_trust(directory, remove=remove))


def _refuse_contradictions(source: Path | None, *, force: bool, example: bool) -> None:
    """Raise UsageError for options of `init` that do not go together."""
    if force and source is None:
        raise UsageError("--force goes with --from", hint=here("config", "init", "--help"))
    if source is not None and example:
        raise UsageError(
            "--example writes nothing, so it does not go with --from", hint=here("config", "init", "--help")
        )


def _mode(invocation: Invocation, name: str | None, *, dry_run: bool) -> str | None:
    """Return the chosen mode, else that of the system. Raises UsageError for an unknown one."""
    from toombos_cli.project.mode import chosen_mode, mode_now

    return chosen_mode(invocation.manifest, name, dry_run=dry_run) or mode_now(invocation.manifest)


def _start(invocation: Invocation) -> Path:
    return Path.cwd() if invocation.options.project is None else invocation.project
