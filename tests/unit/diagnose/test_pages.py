"""Markdown and HTML of a diagnosis whose findings contain hostile text from logs."""

import re
from pathlib import Path

from toombos_cli.base.findings import Evidence, Finding
from toombos_cli.base.fixes import command
from toombos_cli.base.results import Verdict
from toombos_cli.diagnose.report import DiagnoseReport
from toombos_cli.render.diagnose_html import document as html
from toombos_cli.render.diagnose_markdown import document as markdown
from toombos_cli.render.diagnose_markdown import explained

HOSTILE = '<script>alert(1)</script> [x](http://evil) `rm -rf` **bold** | cell \\ & "q"'
ROOT = Finding(
    id="log.errors",
    title="t",
    verdict=Verdict.FAIL,
    service="crm",
    reason=HOSTILE,
    evidence=(Evidence(source="logs/`odd`.log", line=7, text=HOSTILE),),
    cause=HOSTILE,
    fix=command("toombos", "start", "--dry-run", "crm"),
)
SYMPTOM = Finding(id="net.tcp", title="t", verdict=Verdict.FAIL, reason=HOSTILE, explained_by="log.errors")
REPORT = DiagnoseReport(
    project=Path("/srv/x"),
    findings=(ROOT, SYMPTOM),
    roots=("log.errors",),
    root_findings=(ROOT,),
    duration_s=1.0,
    checked_at="2026-01-01T00:00:00+00:00",
    support=("#support",),
)


def test_the_html_page_loads_nothing_and_runs_nothing():
    page = html(REPORT)
    assert not re.search(r"<script|<link|<img|<iframe|\bsrc=|\bhref=|url\(|@import", page)
    assert "default-src 'none'" in page
    assert page.count("&lt;script&gt;") == 6


def test_markdown_shows_the_markup_of_the_text_as_code():
    text = markdown(REPORT)
    assert text.count(HOSTILE) == text.count(f"`` {HOSTILE} ``") == 3
    assert "`` logs/`odd`.log:7 ``" in text


def test_markdown_shows_the_fix_in_a_block_and_the_symptoms_with_their_root():
    text = markdown(REPORT)
    assert "```sh\ntoombos start --dry-run crm\n```" in text
    assert "- explains net.tcp" in text
    assert "#support" in text


def test_a_symptom_of_many_services_is_summarized_by_their_number():
    def symptoms(*services: str) -> tuple[Finding, ...]:
        return tuple(Finding(id="net.tcp", title="t", verdict=Verdict.FAIL, service=name) for name in services)

    assert explained(symptoms("a", "b", "b")) == "net.tcp (a), net.tcp (b) x2"
    assert explained(symptoms(*"abcdefgh")) == "net.tcp (8 services)"
    assert explained((SYMPTOM,)) == "net.tcp"
