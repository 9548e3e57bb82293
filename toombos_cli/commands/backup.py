"""`toombos backup`: create, list, verify, prune, status, drill, pin."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from toombos_cli.cli import options
from toombos_cli.cli.byte_progress import Working
from toombos_cli.cli.groups import CommandGroup, command_group
from toombos_cli.cli.invocation import Invocation, command
from toombos_cli.cli.missed_runs import warn_of_missed_runs

if TYPE_CHECKING:
    from toombos_cli.backup.archive.encryption import Keys
    from toombos_cli.backup.directory.paths import Place
    from toombos_cli.backup.maintenance_reports import RemoteReport


class CreateByDefault(CommandGroup):
    """A bare `toombos backup` creates."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Puts the subcommand in front: the one named behind options, else `create`.

        But not where help or a completion is asked for, nor before a word that is no subcommand.
        """
        named = next((arg for arg in args if arg in self.commands), None)
        if named is not None:
            args.remove(named)
            args.insert(0, named)
            return super().parse_args(ctx, args)
        creates = not args or args[0].startswith("-")
        if creates and not (ctx.resilient_parsing or set(ctx.help_option_names).intersection(args)):
            args.insert(0, "create")
        return super().parse_args(ctx, args)


app = command_group(
    "Back up the system while it runs (`create`, the default), and look after the archives.", cls=CreateByDefault
)

Archives = Annotated[
    list[Path] | None, typer.Argument(metavar="[ARCHIVE]...", show_default=False, help="Default: all.")
]


@app.command()
@command
def create(
    invocation: Invocation,
    emergency: Annotated[
        bool,
        typer.Option(
            "--emergency",
            help="Take what there is: also with a broken toombos.toml, all logs, nothing pruned, pinned.",
        ),
    ] = False,
    pin: Annotated[bool, typer.Option("--pin", help="Never prune this archive.")] = False,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="URL", help="Copy it there as well: s3://BUCKET/PREFIX, gs://, az://, file://."),
    ] = None,
    no_prune: Annotated[bool, typer.Option("--no-prune", help="Leave the retention to `backup prune`.")] = False,
) -> None:
    """Write one archive, read it back, publish it; then apply the retention.

    The services go on running. Exit 1 when there is no file to back up. Exit 4 when a file could not be read or a
    database is not sound: the archive is there, but is not known good.
    """
    from toombos_cli.backup.run import run_backup
    from toombos_cli.backup.scope import readable_manifest

    manifest = readable_manifest(invocation.project) if emergency else invocation.manifest
    if emergency:
        invocation.say_which_project()
    with Working(invocation) as observer:
        report = run_backup(manifest, observer, emergency=emergency, pin=pin, remote=to or "", prune=not no_prune)
    invocation.finish(report)


@app.command("list")
@command
def list_(invocation: Invocation) -> None:
    """List the archives, the newest first, from their indexes alone, and what the configured remote holds."""
    from toombos_cli.backup.maintenance import list_all

    invocation.finish(replace(list_all(_place(invocation)), remote=_remote(invocation)))


@app.command()
@command
def copy(
    invocation: Invocation,
    to: Annotated[
        str | None, typer.Option("--to", metavar="URL", help="Default: the configured remote.", show_default=False)
    ] = None,
) -> None:
    """Copy to the remote the good archives that are missing there, and read them back."""
    from toombos_cli.backup.directory.remote_sync import copy_missing

    with Working(invocation) as observer:
        report = copy_missing(to or invocation.manifest.backup.remote, _place(invocation), observer)
    invocation.finish(report)


@app.command()
@command
def verify(invocation: Invocation, archives: Archives = None) -> None:
    """Read archives in full and compare every checksum. Exit 1 when one is damaged."""
    from toombos_cli.backup.maintenance import verify_archives

    with Working(invocation) as observer:
        report = verify_archives(_place(invocation), archives or (), observer, _keys(invocation))
    invocation.finish(report)


@app.command()
@command
def prune(
    invocation: Invocation,
    preview: options.Preview = False,
) -> None:
    """Move what the retention does not keep to the trash, where it lies for a week.

    Never the newest good archive, never pinned ones, never a copy at the remote. Exit 5 when no good archive would
    remain.
    """
    from toombos_cli.backup.directory.prune import prune_archives
    from toombos_cli.backup.directory.store import utc_now

    policy = invocation.manifest.backup.retention
    report = prune_archives(_place(invocation), policy, utc_now(), preview=preview)
    invocation.finish(replace(report, remote=_remote(invocation)))


@app.command()
@command
def status(
    invocation: Invocation,
    max_age: Annotated[
        str | None,
        typer.Option(
            "--max-age",
            metavar="TIME",
            help="Fail when the newest good archive is older (26h); by default the manifest's max_age_h.",
            show_default=False,
        ),
    ] = None,
    strict: options.Strict = False,
) -> None:
    """Say whether backups still happen. Exit 1 when there is no good archive that is young enough."""
    from toombos_cli.backup.directory.store import utc_now
    from toombos_cli.backup.maintenance import backup_status
    from toombos_cli.base.text import parse_duration

    missed = warn_of_missed_runs(invocation)
    limit_h = parse_duration(max_age, where="--max-age") / 3600 if max_age else invocation.manifest.backup.max_age_h
    report = backup_status(_place(invocation), utc_now(), max_age_h=limit_h)
    invocation.finish(replace(report, missed_runs=missed, remote=_remote(invocation)), strict=strict)


@app.command()
@command
def drill(
    invocation: Invocation,
    archive: Annotated[
        Path | None, typer.Argument(metavar="[ARCHIVE]", show_default=False, help="Default: the newest good one.")
    ] = None,
) -> None:
    """Prove that a restore works: unpack into a scratch directory, check files and databases, remove it."""
    from toombos_cli.backup.maintenance import run_drill

    with Working(invocation) as observer:
        report = run_drill(_place(invocation), archive, observer, _keys(invocation))
    invocation.finish(report)


@app.command()
@command
def pin(
    invocation: Invocation,
    archive: Annotated[Path, typer.Argument(metavar="ARCHIVE", show_default=False, help="A file, or its name.")],
    off: Annotated[bool, typer.Option("--off", help="Let it be pruned again.")] = False,
) -> None:
    """Keep an archive from being pruned. Safety backups are pinned from the beginning."""
    from toombos_cli.backup.maintenance import pin_archive

    invocation.finish(pin_archive(_place(invocation), archive, pinned=not off))


def _place(invocation: Invocation) -> "Place":
    from toombos_cli.backup.scope import make_place

    return make_place(invocation.manifest)


def _keys(invocation: Invocation) -> "Keys":
    from toombos_cli.backup.scope import make_keys

    return make_keys(invocation.manifest)


def _remote(invocation: Invocation) -> "RemoteReport | None":
    """Return what the manifest's remote holds; None when it names none."""
    from toombos_cli.backup.directory.remote_sync import look_at_remote
    from toombos_cli.backup.directory.store import utc_now

    return look_at_remote(invocation.manifest.backup.remote, _place(invocation), utc_now())
