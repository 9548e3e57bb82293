"""The file systems that the system uses besides that of the project: room, and whether they can be written."""

from collections.abc import Iterator
from dataclasses import replace

from toombos_cli.base.findings import Check, Evidence, Finding, fail, ok
from toombos_cli.base.fixes import advice, shell
from toombos_cli.base.quoting import quoted
from toombos_cli.base.text import size
from toombos_cli.diagnose.facts.places import PLACES, UsedPlace
from toombos_cli.diagnose.facts.source import Facts, FactUnavailableError

_GROUP = "resources"
_LITTLE_RATIO = 0.02
_ID = "res.places"


def room(facts: Facts) -> Iterator[Finding]:
    """Directories that must be written can be, and every file system in use has space and inodes left."""
    for place in facts.get(PLACES):
        at = Evidence(source=place.path, text=f"mounted at {place.mount}")
        if place.read_only and place.written:
            yield fail(
                f"{place.path} ({place.used_for}) is on a read-only file system",
                at,
                cause="it was mounted so, or the kernel made it read-only after an error of the disk (dmesg says so)",
                fix=shell(
                    f"sudo mount -o remount,rw {quoted(place.mount)}",
                    undo=f"sudo mount -o remount,ro {quoted(place.mount)}",
                ),
            )
        elif place.read_only or place.is_of_project:  # `res.disk` judges the project's
            continue
        elif place.total_bytes and place.free_bytes < _LITTLE_RATIO * place.total_bytes:
            yield _short(place, at, f"{size(place.free_bytes)} of {size(place.total_bytes)} free", "du -xh -d 2")
        elif place.inodes_total and place.inodes_free < _LITTLE_RATIO * place.inodes_total:
            yield _short(place, at, f"{place.inodes_free} of {place.inodes_total} inodes free", "du -x --inodes -d 2")
        else:
            yield ok(f"{place.mount}: {size(place.free_bytes)} free", at)


def _short(place: UsedPlace, at: Evidence, left: str, look: str) -> Finding:
    return fail(
        f"the file system of {place.path} ({place.used_for}) is nearly full: {left}",
        at,
        cause="nothing can be written there soon",
        fix=advice(f"free space there; what uses it: {look} {quoted(place.mount)} | sort -h | tail"),
    )


def behind_a_read_only_place(facts: Facts, finding: Finding) -> Finding:
    """Return a finding about a directory that cannot be written, explained by its file system if that is read-only."""
    try:
        is_read_only = any(place.read_only and place.written for place in facts.get(PLACES))
    except FactUnavailableError:
        return finding
    return replace(finding, explained_by=_ID) if is_read_only else finding


CHECKS = (Check(id=_ID, title="other file systems have room", group=_GROUP, run=room),)
