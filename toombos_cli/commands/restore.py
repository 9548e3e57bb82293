"""`toombos restore`."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toombos_cli.base.errors import UsageError
from toombos_cli.base.fixes import here
from toombos_cli.cli import options
from toombos_cli.cli.byte_progress import Working
from toombos_cli.cli.invocation import Invocation, command

if TYPE_CHECKING:
    from toombos_cli.backup.reports import RestoreReport


@command
def restore(
    invocation: Invocation,
    archive: Annotated[
        str | None,
        typer.Argument(
            metavar="[ARCHIVE]",
            autocompletion=options.complete("archive"),
            help="The path, name or URL (s3://...) of an archive.",
            show_default=False,
        ),
    ] = None,
    latest_good: Annotated[
        bool,
        typer.Option(
            "--latest-good",
            help="Use the newest good archive. Damaged and incomplete ones and safety backups are passed over;"
            " emergency backups come last.",
        ),
    ] = False,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only",
            metavar="PATH",
            autocompletion=options.complete("path"),
            help="Restore only this file or directory; may be repeated.",
            show_default=False,
        ),
    ] = None,
    preview: options.Preview = False,
    no_start: Annotated[bool, typer.Option("--no-start", help="Leave the services stopped afterwards.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask. Without a terminal, nothing is asked.")] = False,
    recover: Annotated[
        bool, typer.Option("--recover", help="Only finish or undo an interrupted restore, and start what it stopped.")
    ] = False,
) -> None:
    """Restore an archive, completely or not at all.

    The archive is unpacked and checked next to the live files; then the services are stopped, a safety backup is
    made, and everything is exchanged at once. If the services do not become healthy, the old state is put back.
    """
    from toombos_cli.backup.directory.remote import fetch, is_remote
    from toombos_cli.backup.directory.store import find_archive
    from toombos_cli.backup.restore import restore
    from toombos_cli.backup.restore_request import RestoreRequest
    from toombos_cli.backup.scope import find_stores, make_keys, make_place, make_scope, readable_manifest
    from toombos_cli.backup.transaction.rollback import settle_restore
    from toombos_cli.project.interruption import forget_stopped
    from toombos_cli.recovery.restore_services import SupervisedServices
    from toombos_cli.render.text.change import show_warnings
    from toombos_cli.supervisor.reports import ChangeReport

    manifest = readable_manifest(invocation.project)
    invocation.say_which_project()
    place, stores = make_place(manifest), find_stores(manifest, lenient=True)

    def tell_of(stop: ChangeReport) -> None:
        show_warnings(invocation.redacted(stop, in_full=False), invocation)

    services = SupervisedServices(invocation.project, stores.restorable, tell_of)
    if recover:
        resume = tuple if no_start else services.resume
        with Working(invocation) as observer:
            recovered = settle_restore(place, observer, stores.restorable, resume)
        invocation.finish(recovered)
    if (archive is None) == (not latest_good):
        raise UsageError("give either an archive or --latest-good", hint=here("backup", "list"))
    source: Path | None = None
    if archive and is_remote(archive):
        with Working(invocation) as observer:
            source = fetch(archive, place, observer)
    elif archive:
        source = find_archive(place, Path(archive))
    request = RestoreRequest(
        place=place,
        scope=make_scope(manifest, stores, all_logs=True),
        archive=source,
        only=tuple(only or ()),
        preview=preview,
        start=not no_start,
        postgres=stores.restorable,
        unsaved=stores.unsaved,
        keys=make_keys(manifest),
        database_timeout_s=manifest.backup.snapshot_timeout_s,
        is_new=manifest.source.path is None,
    )

    asks = not (preview or yes or invocation.options.json) and invocation.stderr.is_terminal
    if preview or asks:
        with Working(invocation) as observer:
            report = replace(restore(replace(request, preview=True), services, observer), stopped=services.running())
        if preview:
            invocation.finish(report)
        _ask(invocation, report)
        request = replace(request, archive=Path(report.restored_from))
    with Working(invocation) as observer:
        report = restore(request, services, observer)
    if no_start:
        forget_stopped(invocation.project)
    invocation.finish(report)


def _ask(invocation: Invocation, preview: "RestoreReport") -> None:
    """Show what the restore would do, and ask whether to do it. Raise Abort if not."""
    from toombos_cli.render.presentable import presentable
    from toombos_cli.render.text.restore import show

    # Where the question is: stdout may be a file.
    show(presentable(invocation.redacted(preview)), invocation.on_stderr(quiet=False))
    typer.confirm(f"Restore it over {invocation.project}?", abort=True, err=True)
