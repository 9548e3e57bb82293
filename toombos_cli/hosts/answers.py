"""What a host says: the JSON document of the same command there. It is checked, and never believed beyond that."""

from typing import Any, Literal

import msgspec

from toombos_cli.base.results import WRONG, Verdict
from toombos_cli.base.untrusted import UntrustedError, decode_untrusted

_MOST_JSON_BYTES = 16 * 1024 * 1024


class RemoteError(msgspec.Struct, frozen=True):
    """An error of the command there."""

    message: str
    where: str | None = None
    hint: str | None = None


class Envelope(msgspec.Struct, frozen=True):
    """The document of a command: its keys are those of docs/exit-codes.md."""

    schema_version: Literal[2]
    command: str
    verdict: Verdict
    exit_code: int
    data: dict[str, Any]
    errors: tuple[RemoteError, ...] = ()


class RemoteStatusRow(msgspec.Struct, frozen=True):
    """A service, as `status` there reports it."""

    name: str
    phase: str
    pid: int | None = None
    port: int | None = None
    uptime_s: float | None = None
    restarts: int = 0
    detail: str = ""


class RemoteStatus(msgspec.Struct, frozen=True):
    """What is read of `status`."""

    services: tuple[RemoteStatusRow, ...]


class RemoteHealthRow(msgspec.Struct, frozen=True):
    """A service, as `health` there reports it."""

    name: str
    verdict: Verdict
    reason: str
    latency_ms: float | None = None
    detail: str = ""


class RemoteHealth(msgspec.Struct, frozen=True):
    """What is read of `health`."""

    services: tuple[RemoteHealthRow, ...]


class RemoteLineRow(msgspec.Struct, frozen=True):
    """A line of a log there."""

    service: str
    line: str
    timestamp: str | None = None


class RemoteLogs(msgspec.Struct, frozen=True):
    """What is read of `logs`."""

    lines: tuple[RemoteLineRow, ...]


class RemoteFindingRow(msgspec.Struct, frozen=True):
    """A finding of `diagnose` there."""

    id: str
    verdict: Verdict
    service: str = ""
    reason: str = ""
    explained_by: str = ""


class RemoteDiagnosis(msgspec.Struct, frozen=True):
    """What is read of `diagnose`."""

    findings: tuple[RemoteFindingRow, ...]


class RemoteBackup(msgspec.Struct, frozen=True):
    """What is read of `backup`."""

    archive: str
    size_bytes: int
    files: int
    known_good: bool


Answer = RemoteStatus | RemoteHealth | RemoteLogs | RemoteDiagnosis | RemoteBackup
KINDS: dict[str, type[Answer]] = {
    "status": RemoteStatus,
    "health": RemoteHealth,
    "logs": RemoteLogs,
    "diagnose": RemoteDiagnosis,
    "backup create": RemoteBackup,
}
"""What is read of the data of each command that runs on hosts."""


def read_envelope(content: bytes, command: str, exit_code: int) -> tuple[Envelope, Answer | None]:
    """Return the document of a command that ended with this code, and what is read of its data.

    A document of errors alone has no data. Raise UntrustedError for any other text.
    """
    found = decode_untrusted(content, Envelope, most_bytes=_MOST_JSON_BYTES)
    if found.command != command:
        raise UntrustedError(f"it is the document of another command than {command}")
    is_strict = exit_code == 1 and found.verdict in (Verdict.WARN, Verdict.SKIP)
    if found.exit_code != exit_code or ((exit_code == 0) == (found.verdict in WRONG) and not is_strict):
        raise UntrustedError(f"its verdict does not agree with its exit code {exit_code}")
    if found.errors and not found.data:
        return found, None
    try:
        return found, msgspec.convert(found.data, KINDS[command])
    except msgspec.ValidationError as error:
        raise UntrustedError(f"it is not a report of {command}: {error}") from None
