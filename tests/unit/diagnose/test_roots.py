"""Which finding explains which: one row per rule."""

from pathlib import Path

import msgspec
import pytest

from toombos_cli.base.findings import Check, Finding
from toombos_cli.base.results import Verdict
from toombos_cli.diagnose.report import DiagnoseReport
from toombos_cli.diagnose.roots import fold, root_findings
from toombos_cli.manifest.tables.service import Service

FAIL, WARN, OK = Verdict.FAIL, Verdict.WARN, Verdict.PASS


def check(name: str, *follows: str) -> Check:
    return Check(id=name, title=name, group="g", run=lambda facts: (), follows=follows)


def finding(name: str, service: str = "", verdict: Verdict = FAIL) -> Finding:
    return Finding(id=name, title=name, verdict=verdict, service=service)


CHECKS = (check("config"), check("process", "config"), check("answer", "process", "config"), check("page", "answer"))
SERVICES = {
    name: msgspec.convert({"name": name, "command": ("x",), "port": 1, "depends_on": depends}, Service)
    for name, depends in {"db": {}, "api": {"db": "started"}, "web": {"api": "started"}, "other": {}}.items()
}


@pytest.mark.parametrize(
    ("findings", "roots"),
    [
        ([finding("process", "db"), finding("answer", "db")], ["process db"]),
        ([finding("process", "db"), finding("answer", "api")], ["process db"]),
        ([finding("process", "db"), finding("answer", "web")], ["process db"]),
        ([finding("process", "db"), finding("answer", "other")], ["process db", "answer other"]),
        ([finding("process", "api"), finding("answer", "db")], ["process api", "answer db"]),
        ([finding("config"), finding("process", "db"), finding("process", "other")], ["config "]),
        ([finding("config", verdict=WARN), finding("process", "db")], ["process db", "config "]),
        ([finding("config", verdict=WARN), finding("process", "db", WARN)], ["config "]),
        ([finding("config", verdict=OK), finding("process", "db")], ["process db"]),
        ([finding("process", "db", WARN), finding("answer", "db")], ["process db"]),
        ([finding("process", "db"), finding("answer", "db"), finding("page")], ["process db"]),
        ([finding("answer", "db"), finding("process", "other")], ["process other", "answer db"]),
        ([finding("process", "db", Verdict.ERROR), finding("answer", "db")], ["answer db"]),
        ([], []),
    ],
    ids=[
        "a finding explains one of its service",
        "a dependency explains its dependent",
        "a dependency of a dependency explains its dependent",
        "an unrelated service explains nothing",
        "a dependent does not explain its dependency",
        "a general failure explains all services",
        "a general warning does not explain a failure",
        "a general warning explains a warning",
        "a pass explains nothing",
        "a warning of a service explains its failure",
        "a chain has one root",
        "the earlier check comes first",
        "an error explains nothing",
        "no findings have no roots",
    ],
)
def test_the_roots_are_the_unexplained_findings(findings: list[Finding], roots: list[str]):
    folded = fold(tuple(findings), CHECKS, SERVICES)
    assert [f"{root.id} {root.service}" for root in root_findings(folded, CHECKS)] == roots


def test_a_symptom_of_a_symptom_names_the_root():
    folded = fold((finding("process", "db"), finding("answer", "db"), finding("page")), CHECKS, SERVICES)
    assert [f.explained_by for f in folded] == ["", "process", "process"]


def test_a_fault_of_the_service_itself_takes_precedence_over_one_of_its_dependency():
    found = (finding("config", "db"), finding("process", "api"), finding("answer", "api"), finding("answer", "db"))
    checks = (check("config"), check("process"), check("answer", "process", "config"))
    folded = fold(found, checks, SERVICES)
    assert [f.explained_by for f in folded] == ["", "", "process", "config"]


def test_roots_with_the_same_id_explain_the_symptoms_of_their_own_services():
    found = (finding("process", "api"), finding("process", "other"), finding("answer", "other"), finding("page", "web"))
    checks = (check("process"), check("answer", "process"), check("page", "process"))
    folded = fold(found, checks, SERVICES)
    roots = root_findings(folded, checks)
    report = DiagnoseReport(
        project=Path("/"), findings=folded, roots=("process",), root_findings=roots, duration_s=0.1, checked_at=""
    )
    explained = {root.service: [(f.id, f.service) for f in report.symptoms_of(root)] for root in roots}
    assert explained == {"api": [("page", "web")], "other": [("answer", "other")]}
