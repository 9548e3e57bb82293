"""Verifies the archives at the remote, and removes those that the retention does not keep, if a person asks for it.

See docs/decisions/0037-the-remote-is-pruned-on-request.md.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from toombos_cli.backup.directory.naming import AGE_SUFFIX, checksum_path
from toombos_cli.backup.directory.ownership import refuse_foreign
from toombos_cli.backup.directory.paths import Place
from toombos_cli.backup.directory.remote import (
    RemoteArchive,
    address_of,
    list_remote,
    read_checksum,
    read_digest,
    remove,
)
from toombos_cli.backup.directory.remote_copies import copies_at, record_copy
from toombos_cli.backup.directory.remote_sync import require_remote
from toombos_cli.backup.directory.retention import decide
from toombos_cli.backup.directory.store import ArchiveInfo, list_archives
from toombos_cli.backup.maintenance_reports import PruneDecision, PruneReport, VerifiedArchive, VerifyReport
from toombos_cli.backup.observer import BackupObserver
from toombos_cli.base.errors import OperationError, UsageError
from toombos_cli.base.fixes import here
from toombos_cli.base.locks import hold_alone
from toombos_cli.base.results import Verdict
from toombos_cli.base.spelling import did_you_mean
from toombos_cli.manifest.tables.backup import Retention


def verify_remote(url: str, place: Place, asked: Sequence[str], observer: BackupObserver) -> VerifyReport:
    """Download the named archives at the remote, or all, and compare their bytes with those that were copied there.

    Nothing is kept on the disk. Raise UsageError for a name that is not there, OperationError.
    """
    require_remote(url)
    there = list_remote(url)
    for name in asked:
        if name not in there:
            hint = did_you_mean(name, there, here("backup", "list"))
            raise UsageError(f"there is no archive {name} at the remote", where=url, hint=hint)
    copied = copies_at(place, url)
    newest_first = sorted(there.values(), key=lambda one: (one.created_at, one.name), reverse=True)
    chosen = [one for one in newest_first if not asked or one.name in asked]
    return VerifyReport(archives=tuple(_verify_one(url, place, one, copied, observer) for one in chosen))


def _verify_one(
    url: str, place: Place, archive: RemoteArchive, copied: Mapping[str, str], observer: BackupObserver
) -> VerifiedArchive:
    started = time.monotonic()
    verdict, detail = Verdict.PASS, ""
    try:
        expected = copied.get(archive.name) or _checksum_here(place, archive.name)
        if not expected and archive.is_checked:
            expected, detail = read_checksum(url, archive.name), "compared with the checksum file beside it"
        if not expected:
            verdict, detail = Verdict.ERROR, "it has no checksum file, here or there, to compare it with"
        elif read_digest(url, archive.name, observer) != expected:
            verdict, detail = Verdict.FAIL, "its bytes are not those that were copied there"
    except OperationError as error:
        verdict, detail = Verdict.ERROR, str(error)
    return VerifiedArchive(
        path=address_of(url, archive.name),
        verdict=verdict,
        detail=detail,
        files=0,
        databases=(),
        complete=verdict is Verdict.PASS,
        duration_s=round(time.monotonic() - started, 3),
    )


def _checksum_here(place: Place, name: str) -> str:
    try:
        return checksum_path(place.directory / name).read_text().partition(" ")[0]
    except (OSError, UnicodeDecodeError):
        return ""


def prune_remote(url: str, place: Place, policy: Retention, now: datetime, *, preview: bool = False) -> PruneReport:
    """Remove at the remote what the retention does not keep; with `preview` only report it.

    What was not copied from here always stays. Raise UsageError, LockedError, OperationError, RefusedError.
    """
    require_remote(url)
    with hold_alone(place.lock, "prune"):
        refuse_foreign(place)
        copied, there = copies_at(place, url), list_remote(url)
        local = {info.path.name: info for info in list_archives(place)}
        ours = {name: one for name, one in there.items() if name in copied or name in local}
        infos = sorted(
            (_described(one, local.get(name)) for name, one in ours.items()),
            key=lambda info: (info.created_at, info.path.name),
            reverse=True,
        )
        decisions = decide(infos, policy, now)
        going = [decision.path.name for decision in decisions if not decision.keep]
        for name in () if preview else going:
            remove(url, name)
            record_copy(place, url, name, None)
    rows = [
        PruneDecision(path=address_of(url, one.path.name), keep=one.keep, reason=", ".join(one.reasons))
        for one in decisions
    ]
    strange = [name for name in there if name not in ours]
    rows += [PruneDecision(path=address_of(url, one), keep=True, reason="not copied from here") for one in strange]
    freed = sum(there[name].size_bytes for name in going)
    return PruneReport(preview=preview, decisions=tuple(rows), removed_bytes=freed, trash="", emptied=())


def _described(there: RemoteArchive, here: ArchiveInfo | None) -> ArchiveInfo:
    """Return a remote archive as the retention sees it: only one that was read back can be good."""
    if here is not None:
        is_whole = there.is_checked and there.size_bytes == here.size_bytes
        known_good, verified = here.known_good and is_whole, here.verified and is_whole
        return replace(here, path=Path(there.name), known_good=known_good, verified=verified)
    return ArchiveInfo(
        path=Path(there.name),
        created_at=there.created_at,
        size_bytes=there.size_bytes,
        files=1,
        data_bytes=0,
        kind="regular",
        verified=there.is_checked,
        known_good=there.is_checked,
        pinned=False,
        encrypted=there.name.endswith(AGE_SUFFIX),
    )
