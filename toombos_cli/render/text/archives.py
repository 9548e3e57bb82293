"""Views of `toombos backup` and its subcommands."""

from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from toombos_cli.base.fixes import here
from toombos_cli.base.results import WORST_FIRST, Verdict
from toombos_cli.base.text import duration, size
from toombos_cli.render.formats import Output
from toombos_cli.render.problems import print_problems
from toombos_cli.render.table import Column, print_table
from toombos_cli.render.verdicts import VERDICT, print_verdict, word

if TYPE_CHECKING:
    from toombos_cli.backup.maintenance_reports import (
        ArchiveRow,
        CopyReport,
        ListReport,
        PruneReport,
        RemoteReport,
        StatusReport,
        VerifiedArchive,
        VerifyReport,
    )
    from toombos_cli.backup.reports import CreateReport, DatabaseReport, DrillReport
    from toombos_cli.settings.backup_gaps import Gap

_SHOWN = 10


def show_create(report: "CreateReport", output: Output) -> None:
    """Print the archive, its content, and what is not in it."""
    out, err = output.stdout, output.stderr
    if not report.archive:
        print_problems(report.problems, err)
        _show_skipped(report, output)
        return
    rate = report.data_bytes / max(report.duration_s, 0.001)
    print_verdict(out, report.verdict, report.archive if report.complete else f"incomplete: {report.archive}")
    out.print(
        f"      {_count(report.files, 'file')}, {size(report.data_bytes)} in {size(report.size_bytes)}, "
        f"read back and verified, {report.duration_s:.1f} s ({size(int(rate))}/s)"
    )
    if output.verbose:
        for name, count in report.saved.items():
            out.print(f"      {name}: {_count(count, 'file')}", soft_wrap=True)
    if report.absent:
        out.print(f"      absent: {', '.join(report.absent)}", soft_wrap=True)
    show_databases(report.databases, output)
    for one in report.unreadable:
        err.print(f"not in the archive: {one.path}: {one.reason}", style="red", soft_wrap=True)
    for one in report.flagged:
        err.print(f"note: {one.path} {one.reason} while it was read", style="yellow", soft_wrap=True)
    _show_skipped(report, output)
    show_gaps(report.gaps, output)
    for pattern in report.unmatched:
        err.print(f"note: the exclude pattern {pattern!r} matches nothing", style="yellow", soft_wrap=True)
    if report.remote:
        out.print(f"      copied to {report.remote}, read back", soft_wrap=True)
    if report.remote_problem:
        err.print(f"error: not copied: {report.remote_problem}", style="red", soft_wrap=True)
        if report.remote_hint:
            err.print(f"hint: {report.remote_hint}", style="cyan", soft_wrap=True)
    if report.resumed:
        err.print(f"started again, after a killed backup or restore: {', '.join(report.resumed)}", soft_wrap=True)
    if report.resume_problem:
        err.print(f"error: {report.resume_problem}", style="red", soft_wrap=True)
    if report.after_problem:
        err.print(f"error: {report.after_problem}", style="red", soft_wrap=True)


def _show_skipped(report: "CreateReport", output: Output) -> None:
    counts = Counter(one.reason for one in report.skipped)
    if counts:
        told = ", ".join(f"{count} ({reason})" for reason, count in counts.items())
        output.stderr.print(f"left out: {told}; --json lists them", style="dim", soft_wrap=True)
    if output.verbose:
        for one in report.skipped:
            output.stderr.print(f"  {one.path}: {one.reason}", style="dim", soft_wrap=True)


def show_gaps(gaps: "tuple[Gap, ...]", output: Output) -> None:
    """Print what a backup lacks, each with what to do about it."""
    for gap in gaps:
        label, style = ("error", "red") if gap.verdict is Verdict.FAIL else ("warning", "yellow")
        output.stderr.print(f"{label}: {gap.message}", style=style, soft_wrap=True)
        output.stderr.print(f"hint: {gap.hint}", style="cyan", soft_wrap=True)


def show_databases(databases: "tuple[DatabaseReport, ...]", output: Output) -> None:
    """Print one line per database."""
    for one in databases:
        partly = f"sound as far as it can be judged here ({one.unjudged})" if one.unjudged else "sound"
        word = partly if one.is_sound else f"NOT SOUND: {one.integrity}"
        output.stdout.print(
            f"      database {one.path}: {word}, {_count(one.rows, 'row')} in {_count(len(one.tables), 'table')}",
            soft_wrap=True,
        )


def show_list(report: "ListReport", output: Output) -> None:
    """Print one line per archive; on a narrow terminal without the time, which is also in the name."""
    if not report.archives:
        output.stdout.print(f"no archives in {report.directory}", soft_wrap=True)
        output.stderr.print(f"hint: {here('backup')}", style="cyan")
        show_remote(report.remote, output)
        return
    print_table(output.stdout, _COLUMNS, map(_cells, report.archives))
    for row in report.archives:
        if row.problem:
            output.stderr.print(f"{Path(row.path).name}: {row.problem}", style="red", soft_wrap=True)
    show_remote(report.remote, output)


_COLUMNS = (
    Column(name="MADE (UTC)", drop=1),
    Column(name="SIZE", right=True),
    Column(name="FILES", right=True),
    Column(name="STATE", fold=True),
    Column(name="ARCHIVE"),
)


def _cells(row: "ArchiveRow") -> tuple[str, ...]:
    whole = "incomplete" if row.files or row.encrypted else "empty"
    wrong = whole if row.verified else "BAD"
    state = wrong if row.problem else "good" if row.known_good else "unverified"
    marks = [word for word, on in (("pinned", row.pinned), ("encrypted", row.encrypted)) if on]
    kind = [] if row.kind == "regular" else [row.kind]
    return (
        datetime.fromisoformat(row.created_at).strftime("%Y-%m-%d %H:%M:%S"),
        size(row.size_bytes),
        "-" if row.encrypted else str(row.files),
        ", ".join([state, *kind, *marks]),
        Path(row.path).name,
    )


def show_remote(remote: "RemoteReport | None", output: Output) -> None:
    """Print what is only at the remote, and what is missing there; nothing if no remote is configured."""
    if remote is None:
        return
    out, err = output.stdout, output.stderr
    if remote.problem:
        err.print(f"warning: the remote cannot be listed: {remote.problem}", style="yellow", soft_wrap=True)
        return
    only_there = [row for row in remote.archives if not row.here]
    total = size(sum(row.size_bytes for row in remote.archives))
    out.print(f"at {remote.url}: {_count(len(remote.archives), 'archive')}, {total}", soft_wrap=True)
    for row in only_there[:_SHOWN]:
        out.print(f"      only there: {row.name}", soft_wrap=True)
    if len(only_there) > _SHOWN:
        out.print(f"      and {len(only_there) - _SHOWN} more; --json lists them")
    for name in remote.missing[:_SHOWN]:
        err.print(f"warning: not at the remote: {name}", style="yellow", soft_wrap=True)
    if len(remote.missing) > _SHOWN:
        err.print(f"warning: and {len(remote.missing) - _SHOWN} more; --json lists them", style="yellow")
    if remote.missing:
        err.print(f"hint: {here('backup', 'copy')}", style="cyan")


def show_copy(report: "CopyReport", output: Output) -> None:
    """Print one line per copy."""
    for address in report.copied:
        output.stdout.print(f"copied to {address}, read back", soft_wrap=True)
    if not report.copied:
        output.stdout.print(f"nothing is missing at {report.remote}", soft_wrap=True)


def show_verify(report: "VerifyReport", output: Output) -> None:
    """Print a table of the archives, the worst first, with the reason for each bad one."""
    if not report.archives:
        print_verdict(output.stdout, report.verdict, "there is no archive to verify")
        output.stderr.print(f"hint: {here('backup')}", style="cyan")
    else:
        ordered = sorted(report.archives, key=lambda one: WORST_FIRST.index(one.verdict))
        rows = [(word(one.verdict), one.path, str(one.files), _detail(one)) for one in ordered]
        print_table(output.stdout, _VERIFIED, rows)


_VERIFIED = (
    VERDICT,
    Column(name="ARCHIVE"),
    Column(name="FILES", right=True, drop=1),
    Column(name="DETAIL", fold=True),
)


def _detail(one: "VerifiedArchive") -> str:
    return one.detail or ("-" if one.complete else "incomplete when it was made")


def show_prune(report: "PruneReport", output: Output) -> None:
    """Print a table of the archives with the reasons, then the freed space."""
    gone = "would go" if report.preview else "gone"
    rows = [("keep" if one.keep else gone, Path(one.path).name, one.reason) for one in report.decisions]
    if rows:
        print_table(output.stdout, _PRUNED, rows)
    going = sum(not one.keep for one in report.decisions)
    if going and not report.preview:
        done = f"moved to {report.trash}" if report.trash else "removed at the remote"
        output.stdout.print(f"{going} {done} ({size(report.removed_bytes)})", soft_wrap=True)
    elif not going:
        output.stdout.print("nothing to prune")
    show_remote(report.remote, output)


_PRUNED = (Column(name="STATE", lead=True), Column(name="ARCHIVE"), Column(name="REASON", fold=True))


def show_status(report: "StatusReport", output: Output) -> None:
    """Print whether backups are recent, in one line, and what to do if not."""
    if report.restore_interrupted:
        print_verdict(output.stdout, report.verdict, "a restore was interrupted")
        output.stderr.print(f"hint: {here('restore', '--recover')}", style="cyan")
    elif report.age_h is None:
        print_verdict(output.stdout, report.verdict, "there is no good archive")
        output.stderr.print(f"hint: {here('backup')}", style="cyan")
    else:
        text = (
            f"the newest good archive is {duration(max(0.0, report.age_h * 3600))} old (at most {report.max_age_h:g} h)"
        )
        if any(gap.verdict is Verdict.FAIL for gap in report.gaps):
            text = f"a backup made now would not be good; {text}"
        if report.clock_was_ahead:
            text = "the clock was ahead when the newest good archive was made, so its age is unknown"
        print_verdict(output.stdout, report.verdict, text)
        output.stdout.print(f"      {report.newest_good}", soft_wrap=True)
        if not report.is_fresh:
            output.stderr.print(f"hint: {here('backup')}", style="cyan")
    show_gaps(report.gaps, output)
    for message in report.left_undone:
        output.stderr.print(f"warning: {message}", style="yellow", soft_wrap=True)
    output.stdout.print(f"      {_count(report.archives, 'archive')}, {size(report.total_bytes)}")
    proven = report.last_drill_at or f"never: {here('backup', 'drill')}"
    output.stdout.print(f"      a restore was last proven: {proven}", soft_wrap=True)
    for path in report.bad[:_SHOWN]:
        output.stderr.print(
            f"warning: {Path(path).name} is not good: {here('backup', 'list')}", style="yellow", soft_wrap=True
        )
    show_remote(report.remote, output)


def show_drill(report: "DrillReport", output: Output) -> None:
    """Print what the drill proved."""
    text = f"{report.archive} restores: {_count(report.files, 'file')}, {report.duration_s:.1f} s"
    print_verdict(output.stdout, report.verdict, text)
    show_databases(report.databases, output)
    if report.not_restored:
        output.stderr.print(
            f"warning: the dump was not restored into a scratch database: {report.not_restored}",
            style="yellow",
            soft_wrap=True,
        )


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
