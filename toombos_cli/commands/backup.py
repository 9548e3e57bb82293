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
    """The group for which a bare `toombos backup` means `create`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the subcommand first: the one named after options, else `create`.

        Leave the arguments alone for help, for completion, and if they start with an unknown subcommand.
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
    "Back up the system while it runs (`create`, the default) and manage the archives.", cls=CreateByDefault
)

Archives = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="[ARCHIVE]...", autocompletion=options.complete("archive"), show_default=False, help="Default: all."
    ),
]


_ON_HOSTS = ("emergency", "pin", "to", "no_prune", "accept")
"""The options that go to the hosts of --hosts."""


@app.command()
@command
def create(
    invocation: Invocation,
    context: typer.Context,
    emergency: Annotated[
        bool,
        typer.Option(
            "--emergency",
            help="Save what can be saved, even with a broken toombos.toml; include all logs, pin it, prune nothing.",
        ),
    ] = False,
    pin: Annotated[bool, typer.Option("--pin", help="Never prune this archive.")] = False,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="URL", help="Also copy it there: s3://BUCKET/PREFIX, gs://, az://, file://."),
    ] = None,
    no_prune: Annotated[
        bool, typer.Option("--no-prune", help="Do not apply the retention; see `backup prune`.")
    ] = False,
    accept: Annotated[
        list[str] | None,
        typer.Option(
            "--accept",
            metavar="ROOT",
            help="Accept that this root is empty or absent although the last good archive has it; may be repeated.",
            show_default=False,
        ),
    ] = None,
    hosts: options.Hosts = None,
) -> None:
    """Write one archive, read it back and publish it; then apply the retention.

    The services keep running. Exit 1 if there is no file to back up. Exit 4 if a file cannot be read, a database is
    damaged, or a root is absent or empty that should not be: the archive is kept, but does not count as good.
    """
    if hosts is not None:
        from toombos_cli.cli.on_hosts import finish_on_hosts

        finish_on_hosts(invocation, context, hosts, passed_on=_ON_HOSTS, takes_any_time=True)
    from toombos_cli.backup.run import run_backup
    from toombos_cli.backup.scope import readable_manifest
    from toombos_cli.recovery.paused_service import Pauses

    manifest = readable_manifest(invocation.project) if emergency else invocation.manifest
    if emergency:
        invocation.say_which_project()
    with Working(invocation) as observer:
        report = run_backup(
            manifest,
            observer,
            emergency=emergency,
            pin=pin,
            remote=to or "",
            prune=not no_prune,
            accept=tuple(accept or ()),
            pause=None if emergency else Pauses(manifest),
        )
    invocation.finish(report)


@app.command("list")
@command
def list_(invocation: Invocation) -> None:
    """List the archives, newest first, and those at the configured remote; only indexes are read."""
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
    """Copy the good archives that are missing at the remote, and read them back."""
    from toombos_cli.backup.directory.remote_sync import copy_missing

    with Working(invocation) as observer:
        report = copy_missing(to or invocation.manifest.backup.remote, _place(invocation), observer)
    invocation.finish(report)


@app.command()
@command
def verify(
    invocation: Invocation,
    archives: Archives = None,
    remote: Annotated[
        bool, typer.Option("--remote", help="Verify those at the configured remote: each is downloaded and compared.")
    ] = False,
) -> None:
    """Read archives in full and compare every checksum. Exit 1 if one is damaged."""
    from toombos_cli.backup.directory.remote_upkeep import verify_remote
    from toombos_cli.backup.maintenance import verify_archives

    with Working(invocation) as observer:
        if remote:
            url, names = invocation.manifest.backup.remote, [path.name for path in archives or ()]
            invocation.finish(verify_remote(url, _place(invocation), names, observer))
        report = verify_archives(_place(invocation), archives or (), observer, _keys(invocation))
    invocation.finish(report)


@app.command()
@command
def prune(
    invocation: Invocation,
    preview: options.Preview = False,
    remote: Annotated[
        bool, typer.Option("--remote", help="Remove archives at the configured remote instead, for good.")
    ] = False,
) -> None:
    """Move the archives that the retention does not keep to the trash, which holds them for a week.

    The newest good archive and pinned ones always stay, and so does everything at the remote, unless you ask for it
    with `--remote`: then the same retention decides about the archives that were copied there from here. Exit 5 if no
    good archive would remain.
    """
    from toombos_cli.backup.directory.prune import prune_archives
    from toombos_cli.backup.directory.remote_upkeep import prune_remote
    from toombos_cli.backup.directory.store import utc_now

    policy = invocation.manifest.backup.retention
    if remote:
        url = invocation.manifest.backup.remote
        invocation.finish(prune_remote(url, _place(invocation), policy, utc_now(), preview=preview))
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
            help="Fail if the newest good archive is older (26h); default: the manifest's max_age_h.",
            show_default=False,
        ),
    ] = None,
    strict: options.Strict = False,
) -> None:
    """Report whether backups still succeed.

    Exit 1 if there is no good archive that is recent enough, or if the next one could not be good.
    """
    from toombos_cli.backup.directory.store import utc_now
    from toombos_cli.backup.maintenance import backup_status
    from toombos_cli.backup.scope import find_stores
    from toombos_cli.base.text import parse_duration
    from toombos_cli.project.backup_coverage import find_gaps

    missed = warn_of_missed_runs(invocation)
    limit_h = parse_duration(max_age, where="--max-age") / 3600 if max_age else invocation.manifest.backup.max_age_h
    gaps = find_gaps(invocation.manifest, find_stores(invocation.manifest, lenient=True).databases)
    report = backup_status(_place(invocation), utc_now(), max_age_h=limit_h, gaps=gaps)
    invocation.finish(replace(report, missed_runs=missed, remote=_remote(invocation)), strict=strict)


@app.command()
@command
def drill(
    invocation: Invocation,
    archive: Annotated[
        Path | None,
        typer.Argument(
            metavar="[ARCHIVE]",
            autocompletion=options.complete("archive"),
            show_default=False,
            help="Default: the newest good one.",
        ),
    ] = None,
) -> None:
    """Prove that a restore works: unpack an archive into a scratch directory, check it, and remove it."""
    from toombos_cli.backup.maintenance import run_drill
    from toombos_cli.backup.scope import find_stores

    with Working(invocation) as observer:
        postgres = find_stores(invocation.manifest, lenient=True).restorable
        timeout_s = invocation.manifest.backup.snapshot_timeout_s
        place, keys = _place(invocation), _keys(invocation)
        report = run_drill(place, archive, observer, keys, postgres=postgres, timeout_s=timeout_s)
    invocation.finish(report)


@app.command()
@command
def pin(
    invocation: Invocation,
    archive: Annotated[
        Path,
        typer.Argument(
            metavar="ARCHIVE",
            autocompletion=options.complete("archive"),
            show_default=False,
            help="The path or name of an archive.",
        ),
    ],
    off: Annotated[bool, typer.Option("--off", help="Unpin it.")] = False,
) -> None:
    """Keep an archive from being pruned. Safety backups are pinned when they are made."""
    from toombos_cli.backup.maintenance import pin_archive

    invocation.finish(pin_archive(_place(invocation), archive, pinned=not off))


def _place(invocation: Invocation) -> "Place":
    from toombos_cli.backup.scope import make_place

    return make_place(invocation.manifest)


def _keys(invocation: Invocation) -> "Keys":
    from toombos_cli.backup.scope import make_keys

    return make_keys(invocation.manifest)


def _remote(invocation: Invocation) -> "RemoteReport | None":
    """Return what the manifest's remote holds, or None if there is no remote."""
    from toombos_cli.backup.directory.remote_sync import look_at_remote
    from toombos_cli.backup.directory.store import utc_now

    return look_at_remote(invocation.manifest.backup.remote, _place(invocation), utc_now())
