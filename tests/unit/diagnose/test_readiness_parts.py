"""A part that a service can do without is no finding, and a probe that could not be made is no failure."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.ports import free_port
from tests.support.servers import json_answer, serve
from toombos_cli.base.results import Verdict
from toombos_cli.diagnose.checks import health, readiness
from toombos_cli.diagnose.facts.probes import PROBES, Probe, ServiceProbes
from toombos_cli.diagnose.facts.source import LiveFacts
from toombos_cli.manifest.reading.loader import load_manifest
from toombos_cli.probes import Reason

PARTS = {
    "it is not required": ('"required": false', []),
    "it is optional": ('"optional": true', []),
    "it is not critical": ('"critical": false', []),
    "it is required": ('"required": true', [Verdict.FAIL]),
    "nothing says so": ('"message": "m"', [Verdict.WARN]),
}


@pytest.mark.parametrize(("mark", "verdicts"), PARTS.values(), ids=PARTS)
def test_a_part_that_is_not_ready_is_a_finding_only_if_it_matters(tmp_path: Path, mark: str, verdicts: list[Verdict]):
    body = f'{{"ready": true, "checks": [{{"name": "cache", "ready": false, {mark}}}]}}'
    with serve(json_answer(body)) as port:
        found = list(readiness.readiness(facts(tmp_path, port)))
    assert [finding.verdict for finding in found] == verdicts


class Unmade(LiveFacts):
    """Facts in which no probe could be made."""

    def get(self, fact: Any) -> Any:
        """Return the fact."""
        unmade = Probe(url="u", reason=Reason.ERROR, detail="cannot probe: Cannot assign requested address")
        return {"s": ServiceProbes(health=unmade, ready=unmade)} if fact is PROBES else super().get(fact)


def test_a_probe_that_could_not_be_made_is_an_error(tmp_path: Path):
    found = facts(tmp_path, free_port(), Unmade)
    verdicts = {finding.verdict for finding in (*readiness.readiness(found), *health.status(found))}
    assert verdicts == {Verdict.ERROR}


def facts(project: Path, port: int, kind: type[LiveFacts] = LiveFacts) -> LiveFacts:
    """Return the facts of a project with one service."""
    (project / "toombos.toml").write_text(f'[services.s]\ncommand = ["x"]\nport = {port}\nready = "/ready"\n')
    return kind(load_manifest(project))
