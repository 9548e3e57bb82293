"""The diagnosis as a self-contained HTML page: no script, no font, no request."""

from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING

from toombos_cli.base.findings import Finding
from toombos_cli.render.diagnose_markdown import summary
from toombos_cli.render.presentable import presentable

if TYPE_CHECKING:
    from toombos_cli.diagnose.report import DiagnoseReport

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --fail: #c62828; --warn: #b26a00; --ok: #2e7d32; --dim: #777; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
section { border: 1px solid var(--line); border-left: .35rem solid var(--line); border-radius: .3rem;
  padding: .8rem 1rem; margin: 1rem 0; }
section.fail { border-left-color: var(--fail); } section.warn { border-left-color: var(--warn); }
.word { font-weight: 700; } .fail .word, td.fail { color: var(--fail); } .warn .word, td.warn { color: var(--warn); }
td:nth-child(-n+2) { white-space: nowrap; }
td.pass { color: var(--ok); } td.skip { color: var(--dim); } td.error { color: #8e24aa; }
pre { background: #8882; padding: .6rem .8rem; border-radius: .3rem; overflow-x: auto; user-select: all;
  margin: .4rem 0; }
code { overflow-wrap: anywhere; } ul { margin: .4rem 0; padding-left: 1.2rem; }
table { border-collapse: collapse; width: 100%; }
td { border-top: 1px solid var(--line); padding: .25rem .6rem .25rem 0;
  vertical-align: top; overflow-wrap: anywhere; } .dim { color: var(--dim); }
"""


def document(report: "DiagnoseReport") -> str:
    """Return the whole page."""
    return "".join(_parts(presentable(report)))


def _parts(report: "DiagnoseReport") -> Iterator[str]:
    title = f"Diagnosis: {report.verdict.value.upper()}"
    yield '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
    yield f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>\n<h1>{escape(title)}</h1>\n"
    yield f"<p>{escape(str(report.project))}, {escape(report.checked_at)}: {escape(summary(report))}</p>\n"
    for root in report.root_findings:
        yield from _root(report, root)
    yield "<h2>All checks</h2>\n<table>\n"
    for finding in report.findings:
        yield _row(finding)
    yield "</table>\n</body></html>\n"


def _root(report: "DiagnoseReport", root: Finding) -> Iterator[str]:
    yield f'<section class="{root.verdict.value}"><div><span class="word">{root.verdict.value.upper()}</span> '
    yield f"<strong>{escape(root.id)}</strong>: {escape(root.reason or root.title)}</div>\n"
    if root.evidence:
        yield "<ul>"
        yield from (f"<li><code>{escape(e.place)}</code> {escape(e.text)}</li>" for e in root.evidence)
        yield "</ul>\n"
    symptoms = report.symptoms_of(root)
    if symptoms:
        yield f"<details><summary>explains {len(symptoms)} more</summary><ul>"
        yield from (f"<li>{escape(s.id)}: {escape(s.reason)}</li>" for s in symptoms)
        yield "</ul></details>\n"
    if root.cause:
        yield f"<p>{escape(root.cause)}</p>\n"
    if root.fix:
        fix = escape(str(root.fix))
        yield f"<pre>{fix}</pre>" if root.fix.command else f"<p>Fix: {fix}</p>"
    yield "</section>\n"


def _row(finding: Finding) -> str:
    explained = (
        f' <span class="dim">(explained by {escape(finding.explained_by)})</span>' if finding.explained_by else ""
    )
    return (
        f'<tr><td class="{finding.verdict.value}">{finding.verdict.value.upper()}</td><td>{escape(finding.id)}</td>'
        f"<td>{escape(finding.service)}</td><td>{escape(finding.reason or finding.title)}{explained}</td></tr>\n"
    )
