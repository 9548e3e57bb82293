"""Decides which archives to keep: a pure function of the archives, the policy and the time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from toombos_cli.backup.directory.store import ArchiveInfo, newest_known_good
from toombos_cli.base.errors import RefusedError
from toombos_cli.manifest.tables.backup import Retention


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Whether one archive is kept, and every reason."""

    path: Path
    keep: bool
    reasons: tuple[str, ...]


def decide(archives: Sequence[ArchiveInfo], policy: Retention, now: datetime) -> tuple[Decision, ...]:
    """Return a decision for each archive, in the given order.

    Only good archives count towards the policy, so a bad one never displaces a good one. The newest good archive, the
    newest incomplete one after it, pinned archives and those dated in the future are always kept. Raise RefusedError if
    the policy keeps nothing.
    """
    if not any((policy.last, policy.daily, policy.weekly, policy.monthly, policy.keep_within_days)):
        raise RefusedError(
            "the retention keeps nothing", where="[backup.retention]", hint="set last, daily, weekly or monthly"
        )
    countable = [info for info in archives if info.known_good and not info.pinned and not info.is_dated_ahead(now)]
    countable.sort(key=lambda info: info.created_at, reverse=True)
    reasons: dict[Path, list[str]] = {info.path: [] for info in archives}
    for label, count, period in (
        ("last", policy.last, lambda at: at),
        ("daily", policy.daily, lambda at: at.date()),
        ("weekly", policy.weekly, lambda at: at.isocalendar()[:2]),
        ("monthly", policy.monthly, lambda at: (at.year, at.month)),
    ):
        for place, info in enumerate(_newest_per_period(countable, period)[:count], 1):
            reasons[info.path].append(f"{label} {place} of {count}")
    horizon = now - timedelta(days=policy.keep_within_days)
    newest = newest_known_good(archives, now)
    latest = next((info for info in archives if info.verified and (info.files or info.encrypted)), None)
    for info in archives:
        own = reasons[info.path]
        if policy.keep_within_days and info.known_good and info.created_at >= horizon:
            own.append(f"within {policy.keep_within_days} days")
        if newest is not None and info.path == newest.path:
            own.append("newest known good")
        if info is latest and newest is not None and info.created_at > newest.created_at:
            own.append("newest, although incomplete")
        if info.pinned:
            own.append("pinned")
        if info.is_dated_ahead(now):
            own.append("dated in the future" if info.created_at > now else "made while the clock was ahead")
    return tuple(_decision(info, reasons[info.path], newest is not None) for info in archives)


def _newest_per_period(archives: Sequence[ArchiveInfo], period: Callable[[datetime], object]) -> list[ArchiveInfo]:
    """Return the newest archive of each period that has one; empty periods do not count."""
    newest: dict[object, ArchiveInfo] = {}
    for info in archives:
        newest.setdefault(period(info.created_at), info)
    return list(newest.values())


def _decision(info: ArchiveInfo, reasons: Sequence[str], has_good: bool) -> Decision:
    if reasons:
        return Decision(path=info.path, keep=True, reasons=tuple(reasons))
    if not has_good:
        return Decision(path=info.path, keep=True, reasons=("there is no good archive to rely on",))
    if not info.verified and not info.problem:
        return Decision(path=info.path, keep=True, reasons=("not verified here yet",))
    return Decision(path=info.path, keep=False, reasons=(info.problem or "outside the retention",))
