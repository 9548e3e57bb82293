"""Markdown designed to be slow: its cost is bounded, and is counted in steps rather than seconds."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import pytest

from services.generator.content.effort import MAX_STEPS, Effort, TooComplexError
from services.generator.content.markdown import Body
from services.generator.content.model import ContentOptions
from services.generator.content.render import render_content
from services.generator.documents.model import MalformedDocumentError
from services.generator.documents.parser import parse_document

DOCS = Path(__file__).parents[3] / "docs"
INNOCENT = "### Good\n- **Date:** 2026-01-25\n- **Title:** T\n- **Content:** Prose.\n\n"


def document_text(content: str) -> str:
    body = content.replace("\n", "\n  ")
    return f"# B\n## [Tips] S\n{INNOCENT}### Long\n- **Date:** 2026-01-24\n- **Title:** T\n- **Content:** {body}\n"


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("[" * 10_000, id="brackets"),
        pytest.param("![" * 10_000, id="image brackets"),
        pytest.param(">" * 10_000 + "a\n" * 5_000, id="lines that continue deep quotations"),
        pytest.param("[\n" * 10_000, id="link definitions that never end"),
        pytest.param("|a" * 200 + "|\n" + "|-" * 200 + "|\n" + "|a\n" * 100, id="a wide table of short rows"),
        pytest.param(
            "".join(f"<p><b title={n}>" for n in range(1_000)), id="unclosed marks repeated in each paragraph"
        ),
        pytest.param(f'<a href="http://{"a" * 10_000}">' + "<p>" * 5_000, id="a long unclosed link"),
        pytest.param(
            "<b title=1><table><td></b></table>" * 1_000, id="marks closed where a closing mark does not count"
        ),
        pytest.param("<div>" * 5_000, id="deeply nested raw elements"),
    ],
)
def test_text_designed_to_be_slow_is_abandoned_after_a_number_of_steps(content: str) -> None:
    with pytest.raises(TooComplexError):
        Body(content, Effort(max_steps=10_000))


def test_a_document_too_complex_to_read_is_refused_with_the_line_of_the_costly_item() -> None:
    document = parse_document(document_text("<div>" * 10_000))
    with pytest.raises(MalformedDocumentError, match=rf"line 8: the document takes more than {MAX_STEPS} steps"):
        render_content(document, ContentOptions())


def test_html_with_optional_end_tags_left_out_costs_little() -> None:
    rows = "<table>" + "<tr><td>a<td>b\n" * 1_000 + "</table>\n\n"
    effort = Effort()
    Body(rows + "<ul>" + "<li>a<p>b\n" * 1_000 + "</ul>\n\n" + '<p align="center"><b>a</b>\n\n' * 1_000, effort)
    assert effort.steps < 40_000


def test_real_documents_take_a_fraction_of_the_allowed_steps() -> None:
    texts = [path.read_text("utf-8") for path in sorted(DOCS.rglob("*.md"))]
    effort = Effort()
    for text in texts:
        Body(text, effort)
    assert effort.steps < sum(map(len, texts)) / 2 < MAX_STEPS


PATTERNS = (
    *(
        "[",
        "![",
        "[a](",
        "[[]",
        "](",
        "*",
        "*a ",
        "**a ",
        "a**b",
        "_a ",
        "~~a ",
        "`a",
        "<",
        "<a ",
        "<!",
        "<?",
        "&",
        "\\",
    ),
    *("> ", "- ", "1. ", "|", "# ", "a. B", "a.", "a-", "é", "www.a ", "http://a ", "- a\n", "> a\n", "a\n=\n", "a\n"),
    *("[a]: b\n", "[a]: b '\n", "```\n", "    a\n", "|a|\n|-|\n", "<div>\n\n", "<b>a</b>", "<!-- a -->"),
)


@pytest.mark.parametrize("pattern", PATTERNS, ids=repr)
def test_twice_the_text_takes_about_twice_the_steps(pattern: str) -> None:
    def work(repetitions: int) -> int:
        text = document_text(f"x {pattern * repetitions}")
        return calls_of(lambda: render_content(parse_document(text), ContentOptions()))

    work(0)  # work done once per process
    empty, once, twice = (work(repetitions) for repetitions in (0, 200, 400))
    assert twice - empty <= 2.5 * (once - empty) + 1000


def calls_of(action: Callable[[], object]) -> int:
    """Return how many functions, Python and C, `action` calls: a figure that does not depend on machine load."""
    count = 0

    def note(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        action()
    finally:
        sys.setprofile(before)
    return count
