"""Findings that the manifest silences: they are shown as such and do not count."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from toombos_cli.base.findings import WRONG, Check, Evidence, Finding, warn
from toombos_cli.base.fixes import advice
from toombos_cli.base.results import Verdict
from toombos_cli.base.spelling import did_you_mean
from toombos_cli.diagnose.facts.source import Facts
from toombos_cli.manifest.model import Manifest

SILENCE_ID = "silence"


def silenced(finding: Finding, reasons: Mapping[str, str]) -> Finding:
    """Return the finding, as a SKIP with the reason for it if its id, or its id and service, is silenced."""
    names = (f"{finding.id}:{finding.service}", finding.id)
    name = next((name for name in names if name in reasons), None)
    if name is None or finding.verdict not in (*WRONG, Verdict.ERROR):
        return finding
    why = f" ({reasons[name]})" if reasons[name] else ""
    return replace(
        finding, verdict=Verdict.SKIP, reason=f"silenced in toombos.toml{why}: {finding.reason}", fix=None, cause=""
    )


def unknown_silences(manifest: Manifest, checks: Iterable[Check[Facts]]) -> Iterator[Finding]:
    """Yield a warning for each silenced id that names no check, or no service."""
    ids = [check.id for check in checks]
    for written in manifest.diagnose.silenced:
        name, _, service = written.partition(":")
        hint = None if name in ids else did_you_mean(name, ids, "no check has this id")
        if hint is None and service and service not in manifest.services:
            hint = did_you_mean(service, manifest.services, "no service has this name")
        if hint is not None:
            yield replace(
                warn(
                    f"[diagnose] silence names {written!r}, and there is no such finding",
                    Evidence(source=str(manifest.source.path or "toombos.toml"), text=written),
                    cause="it silences nothing",
                    fix=advice(hint),
                ),
                id=SILENCE_ID,
                title="what is silenced exists",
            )
