"""Markdown and HTML of a diagnosis whose findings contain hostile text from logs."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.browser import WIDTHS, look_at
from toombos_cli.base.findings import Evidence, Finding
from toombos_cli.base.fixes import command
from toombos_cli.base.results import Verdict
from toombos_cli.diagnose.report import DiagnoseReport, FixOutcome
from toombos_cli.render.diagnose_html import document as html
from toombos_cli.render.diagnose_markdown import document as markdown
from toombos_cli.render.diagnose_markdown import explained

HOSTILE = '<script>alert(1)</script> [x](http://evil) `rm -rf` **bold** | cell \\ & "q"'
ROOT = Finding(
    id="log.errors",
    group="log",
    title="t",
    verdict=Verdict.FAIL,
    service="crm",
    reason=HOSTILE,
    evidence=(Evidence(source="logs/`odd`.log", line=7, text=HOSTILE),),
    cause=HOSTILE,
    fix=command("toombos", "start", "--dry-run", "crm"),
)
SYMPTOM = Finding(id="net.tcp", group="net", title="t", verdict=Verdict.FAIL, reason=HOSTILE, explained_by="log.errors")
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


ALL_VERDICTS = replace(
    REPORT,
    findings=(
        ROOT,
        SYMPTOM,
        *(
            Finding(id=f"{group}.{verdict}", group=group, title="t" * 30, verdict=verdict, reason="word " * 30)
            for group in ("config", "process")
            for verdict in Verdict
        ),
    ),
    fixes=(FixOutcome(id="mode", service="crm", command="toombos start crm", exit_code=0, output="", undo="undo"),),
)
LOOKS = [(width, scheme) for width in WIDTHS for scheme in ("light", "dark")]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, str], dict[str, Any]]:
    found = {}
    for scheme in ("light", "dark"):
        looks = look_at({"page": html(ALL_VERDICTS)}, tmp_path_factory.mktemp(scheme), dark=scheme == "dark")
        found.update({(width, scheme): look for (_, width), look in looks.items()})
    return found


@pytest.mark.parametrize(("width", "scheme"), LOOKS, ids=[f"{width}-{scheme}" for width, scheme in LOOKS])
def test_every_letter_of_the_html_page_can_be_read(seen: Any, width: int, scheme: str):
    look = seen[width, scheme]
    assert look["dark"] == (scheme == "dark")
    assert [text for text in look["texts"] if text["size"] < 12 or text["alpha"] != 1] == []
    assert [text for text in look["texts"] if text["contrast"] < 4.5] == [], "WCAG AA"
    assert look["fits"], "the page scrolls sideways"
    assert look["fetched"] == 0


def test_the_html_page_names_the_system_and_has_a_table_for_each_group_the_worst_rows_first():
    page = html(ALL_VERDICTS)
    assert "Diagnosis of x: 1 cause" in page
    tables = re.findall(r"<summary>(\w+)\n.*?</details>", page, re.DOTALL)
    assert tables == ["log", "net", "config", "process"]
    process = page[page.index("<summary>process") :]
    assert re.findall(r'<tr class="(\w+)"', process) == ["fail", "error", "warn", "pass", "skip"]


def test_the_html_page_lists_the_fixes_that_were_run():
    assert "<pre>toombos start crm</pre><p>to undo it:</p><pre>undo</pre>" in html(ALL_VERDICTS)


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
