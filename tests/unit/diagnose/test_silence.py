"""What `[diagnose] silence` does: a finding that does not count is shown as such, and nothing else changes."""

from pathlib import Path

import pytest

from toombos_cli.base.findings import Check, Finding, fail, ok, warn
from toombos_cli.base.redaction import Redactor
from toombos_cli.base.results import Verdict
from toombos_cli.diagnose.facts.source import SavedFacts
from toombos_cli.diagnose.report import DiagnoseReport
from toombos_cli.diagnose.run import judge
from toombos_cli.manifest.reading.loader import load_manifest

OWN = """[services.web]
command = ["true"]
port = 7001
[services.api]
command = ["true"]
port = 7002
"""
FOUND = (fail("web is open", service="web"), warn("api is open", service="api"), ok("the rest is not"))


def report(project: Path, silence: str, found: tuple[Finding, ...] = FOUND) -> DiagnoseReport:
    (project / "toombos.toml").write_text(f"{OWN}[diagnose]\nsilence = {silence}\n")
    checks = (
        Check(id="net.bind", title="", group="x", run=lambda _: found),
        Check(
            id="ready", title="", group="x", run=lambda _: (fail("web waits", service="web"),), follows=("net.bind",)
        ),
    )
    return judge(SavedFacts(load_manifest(project), {}), checks, checks, Redactor())


WRONG = {
    "nothing is silenced": ("[]", ["net.bind:web", "net.bind:api"]),
    "an id": ('["net.bind"]', ["ready:web"]),
    "an id of one service": ('["net.bind:web"]', ["ready:web", "net.bind:api"]),
    "an id with a reason": ('[{ id = "net.bind:api", reason = "it is meant" }]', ["net.bind:web"]),
    "two ids": ('["net.bind:web", "ready"]', ["net.bind:api"]),
    "an id that no check has": ('["net.bnd"]', ["net.bind:web", "net.bind:api", "silence:"]),
    "a service that is none": ('["net.bind:wbe"]', ["net.bind:web", "net.bind:api", "silence:"]),
}


@pytest.mark.parametrize(("silence", "roots"), WRONG.values(), ids=WRONG)
def test_a_silenced_finding_is_no_root_and_explains_none(tmp_path: Path, silence: str, roots: list[str]):
    found = report(tmp_path, silence)
    assert sorted(f"{root.id}:{root.service}" for root in found.root_findings) == sorted(roots)


def test_a_silenced_finding_is_a_skip_that_says_why(tmp_path: Path):
    found = report(tmp_path, '[{ id = "net.bind", reason = "it is meant" }, "ready"]')
    assert found.verdict is Verdict.PASS
    reasons = [finding.reason for finding in found.findings if finding.verdict is Verdict.SKIP]
    assert "silenced in toombos.toml (it is meant): web is open" in reasons
    assert "silenced in toombos.toml: web waits" in reasons


def test_what_could_not_be_judged_can_be_silenced(tmp_path: Path):
    unjudged = (Finding(verdict=Verdict.ERROR, reason="no answer"), ok("the rest is well"))
    found = report(tmp_path, '["net.bind", "ready"]', unjudged)
    assert found.verdict is Verdict.PASS


def test_an_unknown_id_names_the_nearest_one(tmp_path: Path):
    (root,) = (f for f in report(tmp_path, '["net.bnd"]').root_findings if f.id == "silence")
    assert (root.verdict, str(root.fix)) == (Verdict.WARN, "did you mean 'net.bind'?")
