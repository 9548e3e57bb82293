"""The last runs of a task, in `run/services/NAME.task`: how it ended, and whether anything has changed since."""

import time
from pathlib import Path
from typing import Any

import msgspec

from toombos_cli.base.own_records import decode_own, encode_own
from toombos_cli.base.plain_files import read_plain
from toombos_cli.base.text import how_it_ended
from toombos_cli.base.untrusted import EpochSeconds, UntrustedError
from toombos_cli.manifest.tables.service import Service
from toombos_cli.project.state import FailureKind, Phase, RunDirectory, ServiceState

ENDED_UNSEEN = "it ended while no supervisor watched it, so whether it succeeded is unknown"


class TaskRun(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a task. `exit_code` is that of `Popen`, or None if it is unknown.

    `fingerprint` and `inputs` say what it was run with; `has_arguments`: it got arguments beyond its command.
    """

    started_at: EpochSeconds
    took_s: float
    exit_code: int | None
    succeeded: bool
    fingerprint: str
    inputs: str
    has_arguments: bool = False


class TaskRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The last run, and the last one that succeeded with the command as it is in the manifest."""

    last: TaskRun
    success: TaskRun | None = None


def read_record(run: RunDirectory, name: str) -> TaskRecord | None:
    """Return the record of a task, or None if it has not run here or the record cannot be read."""
    try:
        record: TaskRecord = decode_own(read_plain(run.task_record(name)), TaskRecord)
    except (OSError, UntrustedError):
        return None
    return record


def add_run(run: RunDirectory, name: str, ended: TaskRun) -> None:
    """Record a run of a task. Raise OSError."""
    from toombos_cli.base.files import replace_file  # only who runs a task needs it

    known = read_record(run, name)
    success = ended if ended.succeeded and not ended.has_arguments else known.success if known else None
    replace_file(run.task_record(name), encode_own(TaskRecord(last=ended, success=success)), durable=True)


def why_not_again(service: Service, record: TaskRecord | None, fingerprint: str, inputs: str) -> str | None:
    """Return why a task need not run, or None if it has to: its success is known, and `run` asks for no other one."""
    success = record.success if record else None
    if success is None or service.run == "always":
        return None
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(success.started_at))
    if service.run == "once":
        return f"not run again: it succeeded on {at}"
    is_known = bool(inputs) or not service.inputs  # if no file matches, nobody can say that nothing has changed
    unchanged = is_known and (success.fingerprint, success.inputs) == (fingerprint, inputs)
    return f"not run again: nothing has changed since it succeeded on {at}" if unchanged else None


def digest_of_inputs(service: Service) -> str:
    """Return a digest of the names and the contents of the task's inputs; "" if no file matches.

    A directory stands for all files below it. Files that cannot be read count by their names.
    """
    import glob
    import hashlib

    found: set[Path] = set()
    for pattern in service.inputs:
        for name in glob.iglob(pattern, root_dir=service.cwd, recursive=True, include_hidden=True):  # noqa: PTH207
            path = Path(service.cwd, name)
            found |= {file for file in path.rglob("*") if file.is_file()} if path.is_dir() else {path}
    digest = hashlib.sha256()
    for path in sorted(found):
        digest.update(f"{path}\0{_content(path)}\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:32] if found else ""


def _content(path: Path) -> str:
    import hashlib  # loads OpenSSL, which most readers of the state do not need

    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return f"unreadable: {error.errno}"


def at_rest(entry: ServiceState, run: RunDirectory, **changes: Any) -> ServiceState:
    """Return the entry of a service none of whose processes runs, although its supervisor has written no end of it.

    `changes` are further fields of it.
    """
    phase, detail, kind = entry.phase, entry.detail, entry.failure_kind
    started_at, took_s = entry.started_at, entry.ready_after_s
    if entry.service.is_task:
        record = read_record(run, entry.service.name)
        last = record.last if record and not record.last.has_arguments else None
        since = entry.started_at + (0 if phase is Phase.STARTING else 0.001)
        if last is not None and last.started_at >= since:
            phase, detail, kind = _after(last)
            started_at, took_s = last.started_at, last.took_s
        elif phase is Phase.STARTING:
            phase, detail, kind = Phase.FAILED, ENDED_UNSEEN, FailureKind.EXITED
    if phase not in (Phase.FAILED, Phase.CRASH_LOOP, Phase.DONE):
        phase = Phase.STOPPED
    return msgspec.structs.replace(
        entry,
        phase=phase,
        detail=detail,
        failure_kind=kind,
        started_at=started_at,
        ready_after_s=took_s,
        pid=0,
        start_ticks=0,
        cpu_percent=None,
        rss_bytes=None,
        says_dry_run=None,
        **changes,
    )


def _after(ended: TaskRun) -> tuple[Phase, str, FailureKind | None]:
    """Return the phase, its detail and the kind of failure after a run."""
    if ended.succeeded:
        return Phase.DONE, "", None
    said = ENDED_UNSEEN if ended.exit_code is None else f"its process {how_it_ended(ended.exit_code)}"
    return Phase.FAILED, said, FailureKind.EXITED
