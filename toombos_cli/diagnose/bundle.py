"""Bundles: a tar.zst with all facts of a diagnosis, without secrets, from which the diagnosis can be repeated.

Members: bundle.json (its description), manifest.json and facts.json (input of the checks), report.md, report.json,
config.txt, state.json, history.jsonl, versions.txt, logs/SERVICE.log and metrics/SERVICE.prom (for people).
"""

import contextlib
import io
import sys
import tarfile
import time
from collections.abc import Iterator, Mapping
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import msgspec

from toombos_cli.base.errors import OperationError, RefusedError
from toombos_cli.base.own_records import decode_own, encode_own
from toombos_cli.base.plain_files import read_plain
from toombos_cli.base.redaction import Redactor
from toombos_cli.base.untrusted import UntrustedError, decode_untrusted
from toombos_cli.diagnose.checks import all_checks
from toombos_cli.diagnose.facts import FACTS, SETTINGS
from toombos_cli.diagnose.facts.logs import tail_text
from toombos_cli.diagnose.facts.source import Facts, FactUnavailableError, LiveFacts, SavedFacts
from toombos_cli.diagnose.report import DiagnoseReport
from toombos_cli.diagnose.run import Diagnosis, FindingFilter, chosen, judge
from toombos_cli.manifest.model import Manifest
from toombos_cli.project.history import read_history
from toombos_cli.project.state import RunDirectory

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

SCHEMA_VERSION = 2
_LARGEST_BYTES = 256 * 1024 * 1024
_MOST_EVENTS = 500
_ABOUT, _MANIFEST, _FACTS = "bundle.json", "manifest.json", "facts.json"


class About(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle's description of itself; `now` is when its facts were gathered, in seconds since the epoch."""

    schema_version: int
    toombos: str
    project: str
    now: float


def make_bundle(diagnosis: Diagnosis, markdown: str, where: str) -> bytes:
    """Return the bundle's bytes; `where` is their destination, for messages.

    Unpack and search them again: raise RefusedError, with the member's name, if they contain a secret. Raise
    OperationError.
    """
    if not isinstance(diagnosis.facts, LiveFacts):
        raise OperationError("a bundle cannot be made from another bundle", where=where)
    content = zstd.compress(_packed(_members(diagnosis.facts, diagnosis.report, markdown, diagnosis.redactor)))
    for name, member in _unpacked(content, where):
        found = diagnosis.redactor.leaks(f"{name}\n{member.decode('utf-8', 'replace')}")
        if found:
            raise RefusedError(
                f"the bundle would contain {', '.join(found)} in {name}: it was not written",
                where=where,
                hint="report this bug: redaction missed it",
            )
    return content


def diagnose_bundle(path: Path, selection: FindingFilter) -> Diagnosis:
    """Diagnose a saved system with the current checks. Raise OperationError if the file is not a bundle."""
    try:
        members = dict(_unpacked(path.read_bytes(), str(path)))
    except OSError as error:
        hint = "--from takes a file written by `toombos diagnose --bundle FILE`"
        raise OperationError(f"cannot be read: {error.strerror}", where=str(path), hint=hint) from None
    about, manifest, values = _decoded(members, str(path))
    checks, problems = all_checks()
    facts = SavedFacts(manifest, values, now=about.now)
    redactor = Redactor()
    wanted = chosen(checks, selection.only)
    report = judge(facts, checks, wanted, redactor, services=selection.services, problems=problems)
    return Diagnosis(report=report, facts=facts, redactor=redactor)


def _decoded(members: Mapping[str, bytes], where: str) -> tuple[About, Manifest, dict[str, Any]]:
    try:
        about: About = decode_own(members[_ABOUT], About)
        if about.schema_version != SCHEMA_VERSION:
            message = f"has bundle version {about.schema_version}; this toombos reads version {SCHEMA_VERSION}"
            raise OperationError(message, where=where)
        decode_untrusted(members[_MANIFEST])  # for its depth: some of the manifest's values may have any type
        manifest: Manifest = decode_own(members[_MANIFEST], Manifest, dec_hook=lambda kind, value: kind(value))
        return about, manifest, decode_own(members[_FACTS], dict[str, Any], most_bytes=_LARGEST_BYTES)
    except KeyError as error:
        raise OperationError(f"is not a toombos bundle: it has no {error.args[0]}", where=where) from None
    except UntrustedError as error:
        raise OperationError(f"is damaged: {error}", where=where) from None


def _members(
    facts: LiveFacts, report: DiagnoseReport, markdown: str, redactor: Redactor
) -> Iterator[tuple[str, bytes]]:
    from toombos_cli import __version__

    values = facts.values(FACTS)
    about = About(
        schema_version=SCHEMA_VERSION, toombos=__version__, project=str(facts.manifest.project), now=facts.now
    )
    yield _ABOUT, encode_own(about)
    yield _MANIFEST, _json(msgspec.to_builtins(facts.manifest, enc_hook=str), redactor)
    yield _FACTS, _json(values, redactor)
    yield "report.md", _text(redactor.text(markdown))
    yield "report.json", _json(msgspec.to_builtins(report, enc_hook=str), redactor)
    yield "config.txt", _text(redactor.text(_settings(facts)))
    yield "versions.txt", _text(redactor.text(_versions()))
    state = RunDirectory(facts.manifest.project).state
    with contextlib.suppress(OSError, UntrustedError):
        yield "state.json", _json(decode_own(read_plain(state), dict[str, Any]), redactor)
    history = read_history(facts.manifest.project).events
    if history:
        events = (encode_own(redactor.value(msgspec.to_builtins(event))) for event in history[-_MOST_EVENTS:])
        yield "history.jsonl", b"\n".join((*events, b""))
    for name, service in facts.manifest.services.items():
        text = tail_text(Path(service.log), redactor)
        if text:
            yield f"logs/{name}.log", _text(text)
        metrics = ((values.get("probes") or {}).get(name) or {}).get("metrics")
        if metrics and metrics["body"]:
            yield f"metrics/{name}.prom", _text(redactor.text(metrics["body"]))


def _json(value: Any, redactor: Redactor) -> bytes:
    """Return JSON of the redacted structure: redacting the text could break its quotes."""
    return msgspec.json.format(encode_own(msgspec.to_builtins(redactor.value(value), enc_hook=str)), indent=1)


def _text(text: str) -> bytes:
    """Return a text for a person in UTF-8, with escapes for what a path or a variable may have beside it."""
    return text.encode("utf-8", "backslashreplace")


def _settings(facts: Facts) -> str:
    """Return the effective settings with their origin, secrets masked, one per line."""
    from toombos_cli.settings.display import shown_value

    try:
        settings = facts.get(SETTINGS)
    except FactUnavailableError as error:
        return f"{error}\n"
    rows = []
    for name, variable in settings.variables.items():
        value = settings.values.get(name)
        shown = f"{shown_value(name, value.value, variable)}  ({value.origin.value})" if value else "(unset)"
        rows.append(f"{name}={shown}\n")
    return "".join(rows)


def _versions() -> str:
    found = sorted({f"{d.metadata['Name']} {d.version}" for d in distributions()}, key=str.lower)
    return "\n".join([f"python {sys.version}", *found, ""])


def _packed(members: Iterator[tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size, info.mode, info.mtime = len(content), 0o600, int(time.time())
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def _unpacked(content: bytes, where: str) -> Iterator[tuple[str, bytes]]:
    """Yield the members of a bundle; write nothing to disk. Raise OperationError for damage and for a zip bomb."""
    try:
        plain = zstd.ZstdDecompressor().decompress(content, max_length=_LARGEST_BYTES + 1)
        if len(plain) > _LARGEST_BYTES:
            raise OperationError("is too large for a bundle", where=where)
        with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
            for info in archive:
                file = archive.extractfile(info) if info.isfile() else None
                if file is not None:
                    yield info.name, file.read()
    except (zstd.ZstdError, tarfile.TarError, EOFError):
        raise OperationError("is not a toombos bundle, or is damaged", where=where) from None
