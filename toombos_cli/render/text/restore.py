"""Views of `toombos restore`: what it changed, or would change."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from toombos_cli.base.fixes import here
from toombos_cli.base.quoting import quoted
from toombos_cli.base.text import duration, size
from toombos_cli.render.formats import Output
from toombos_cli.render.text.archives import show_databases

if TYPE_CHECKING:
    from toombos_cli.backup.reports import RecoverReport, RestoreReport

_SHOWN = 20


def show(report: "RestoreReport", output: Output) -> None:
    """Print what was restored, the changes, and warnings."""
    out, err = output.stdout, output.stderr
    if report.recovered:
        err.print(f"note: an interrupted restore was dealt with first: {report.recovered}", style="yellow")
    for one in report.passed_over:
        err.print(f"passed over: {one.path}: {one.reason}", style="yellow", soft_wrap=True)
    for one in report.not_tried:
        err.print(f"not taken: {Path(one.path).name}: {one.reason}", style="dim", soft_wrap=True)
    verb = "would restore" if report.preview else "restored"
    out.print(f"{verb} {report.restored_from}", soft_wrap=True)
    _show_archive(report, output)
    for sign, word, names in (
        ("+", "added", report.added),
        ("~", "changed", report.changed),
        ("-", "removed", report.removed),
    ):
        if names:
            out.print(f"    {len(names)} {word}")
        for name in names[:_SHOWN]:
            out.print(f"      {sign} {name}", soft_wrap=True)
        if len(names) > _SHOWN:
            out.print(f"      ... and {len(names) - _SHOWN} more; --json lists them")
    if report.rows:
        out.print(f"    {len(report.rows)} tables with another number of rows")
    for row in report.rows[:_SHOWN]:
        out.print(f"      ~ {row.database}, {row.table}: {_rows(row.before)}, now {_rows(row.after)}", soft_wrap=True)
    if len(report.rows) > _SHOWN:
        out.print(f"      ... and {len(report.rows) - _SHOWN} more; --json lists them")
    dumped = any(one.path.startswith(".toombos/") for one in report.databases)
    if not (report.added or report.changed or report.removed or report.rows):
        out.print("    no file differs, and no number of rows" if dumped else "    no file differs")
    show_databases(report.databases, output)
    if report.kept:
        out.print(f"    {len(report.kept)} left in place (backups exclude them)")
    if report.started:
        out.print(f"    started and ready: {', '.join(report.started)}")
    elif report.stopped and not report.preview:
        err.print(f"still stopped: {', '.join(report.stopped)}", style="yellow")
        err.print(f"hint: {here('restart')}", style="cyan")
    if report.safety_backup:
        out.print("    what was there before is in the safety backup; to go back:")
        out.print(here("restore", report.safety_backup), soft_wrap=True)
    for name in report.not_asked:
        verb = "would not be restored" if report.preview else "was not restored"
        if name.startswith(".toombos/"):
            why = "it is what a backup command printed, for you to load"
        else:
            why = "no backup of this project has it"
        told = f"warning: {name} {verb}: {why}; --only {quoted(name)} restores it"
        err.print(told, style="yellow", soft_wrap=True)
    if report.not_set:
        first, more = report.not_set[0], len(report.not_set) - 1
        others = f" (and {more} more; --json lists them)" if more else ""
        is_not = "would not be" if report.preview else "could not be"
        told = f"warning: {first.what} of {first.path} {is_not} set: {first.reason}{others}"
        err.print(told, style="yellow", soft_wrap=True)
    if report.replaced_at:
        err.print("warning: the safety backup is incomplete; the replaced files are in", style="yellow")
        err.print(report.replaced_at, soft_wrap=True)


def _show_archive(report: "RestoreReport", output: Output) -> None:
    """Print how old the archive is and how large, what it rewinds, and which services that stops."""
    made = datetime.fromisoformat(report.made_at)
    age_s = (datetime.now(UTC) - made).total_seconds()
    age = f"{duration(age_s)} old" if age_s >= 0 else "made while the clock was ahead"
    output.stdout.print(
        f"    {report.archive_kind}, made {made:%Y-%m-%d %H:%M:%S} UTC, {age}: {report.files} files, "
        f"{size(report.size_bytes)}",
        soft_wrap=True,
    )
    if report.preview:
        output.stdout.print(f"    rewound to that time: {', '.join(report.roots)}", soft_wrap=True)
        output.stdout.print("    what was written since is then in the safety backup alone")
        if report.stopped:
            output.stdout.print(f"    stopped meanwhile: {', '.join(report.stopped)}", soft_wrap=True)


def _rows(number: int | None) -> str:
    return "not there" if number is None else f"{number} rows"


def show_recovery(report: "RecoverReport", output: Output) -> None:
    """Print what was done about an interrupted restore."""
    output.stdout.print(
        f"the interrupted restore was dealt with: {report.outcome}" if report.outcome else "no restore was interrupted"
    )
    if report.started:
        output.stdout.print(f"    started and ready: {', '.join(report.started)}")
    left = [name for name in report.stopped if name not in report.started]
    if left:
        output.stderr.print(f"it had stopped: {', '.join(left)}", style="yellow")
        output.stderr.print(f"hint: {here('restart')}", style="cyan")
