"""The format of the living document: what is read, and the line reported for a malformed one."""

import subprocess
import sys
from datetime import date

import pytest

from services.generator.documents.file import PACKAGED_DOCUMENT
from services.generator.documents.model import MalformedDocumentError
from services.generator.documents.parser import parse_document

ITEM = "### H\n- **Date:** 2026-01-24\n- **Title:** T\n- **Content:** C\n"


def test_a_document_has_its_title_sections_and_items_in_order() -> None:
    text = f"# News\n\nFor editors.\n\n## [Tips] Practice\n{ITEM}\n## [Vision] Ahead\n"
    document = parse_document(text)
    assert document.title == "News"
    assert [(s.category, s.title, len(s.items)) for s in document.sections] == [
        ("Tips", "Practice", 1),
        ("Vision", "Ahead", 0),
    ]
    (item,) = document.items
    assert (item.heading, item.title, item.date, item.content) == ("H", "T", date(2026, 1, 24), "C")
    assert item.line == 6


@pytest.mark.parametrize(
    ("before", "title"),
    [
        pytest.param("---\ntitle: x\n# a comment\ntags:\n  - a\n---\n", "News", id="front matter"),
        pytest.param("---\n# a comment\n\ntitle: x\n...\n", "News", id="front matter with a comment first"),
        pytest.param("---\n# Brand\n---\n", "Brand", id="a title between rules"),
        pytest.param("---\ntitle: x\n# Brand\n", "Brand", id="no closing line"),
    ],
)
def test_front_matter_is_not_part_of_the_text(before: str, title: str) -> None:
    document = parse_document(f"{before}# News\n## [A] B\n{ITEM}\n---\n## [B] C\n")
    assert (document.title, len(document.sections)) == (title, 2)
    assert document.items[0].line == before.count("\n") + 3


def test_the_packaged_document_has_several_categories_and_items() -> None:
    document = parse_document(PACKAGED_DOCUMENT.read_text("utf-8"))
    assert len(document.sections) >= 4
    assert len(document.items) >= 10


@pytest.mark.parametrize(
    ("written", "read"),
    [
        pytest.param("C", "C", id="one line"),
        pytest.param("one\n  two\n  three", "one\ntwo\nthree", id="continued with indentation"),
        pytest.param("one\n\n  two", "one\n\ntwo", id="paragraphs"),
        pytest.param("one\n\n  - a\n    - b", "one\n\n- a\n  - b", id="nested list keeps its nesting"),
        pytest.param("one\nnot indented", "one\nnot indented", id="not indented"),
        pytest.param("\n  below the field", "\n  below the field".strip("\n").strip(), id="starts on the next line"),
        pytest.param("one\n  - **Note:** two", "one\n- **Note:** two", id="a bold list entry is not a field"),
        pytest.param("x\n\n  ```\n  ## [No] section\n  ```", "x\n\n```\n## [No] section\n```", id="headings in code"),
        pytest.param("```\n  ## [No] section\n  ```", "```\n## [No] section\n```", id="code right after the field"),
        pytest.param("```a``` is no fence", "```a``` is no fence", id="three backticks within a line"),
        pytest.param("one\n#### deeper heading", "one\n#### deeper heading", id="headings of level 4"),
        pytest.param("one\n\n---\n", "one", id="a closing rule is not content"),
        pytest.param("one\r\n  two\r\n", "one\ntwo", id="Windows line ends"),
    ],
)
def test_content_is_everything_up_to_the_next_heading(written: str, read: str) -> None:
    document = parse_document(
        f"## [A] B\n{ITEM.replace('C' + chr(10), '')}".replace("**Content:** C", "**Content:** ").rstrip()
        + f" {written}\n### Next\n"
        + ITEM.split("\n", 1)[1]
    )
    assert document.items[0].content.strip() == read
    assert document.items[1].content == "C"


@pytest.mark.parametrize("written", ["2026-01-24", "January 24, 2026", "24 January 2026", "Jan 24, 2026"])
def test_dates_are_read_in_the_common_formats(written: str) -> None:
    assert parse_document(f"## [A] B\n{ITEM.replace('2026-01-24', written)}").items[0].date == date(2026, 1, 24)


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        pytest.param("", 1, "no items", id="empty"),
        pytest.param("just prose\n", 1, "no items", id="no sections"),
        pytest.param("## [A] B\n\nprose\n", 1, "no items", id="no items"),
        pytest.param(f"## Tips\n{ITEM}", 1, "has no category", id="section without category"),
        pytest.param(f"## [] Tips\n{ITEM}", 1, "has no category", id="empty category"),
        pytest.param(f"# T\n\n{ITEM}", 3, "before the first", id="item before any section"),
        pytest.param(f"## [A] B\n###\n{ITEM}", 2, "no text", id="item heading without text"),
        pytest.param("## [A] B\n" + ITEM.replace("- **Date:** 2026-01-24\n", ""), 2, "has no **Date:**", id="no date"),
        pytest.param("## [A] B\n" + ITEM.replace("- **Title:** T\n", ""), 2, "has no **Title:**", id="no title"),
        pytest.param("## [A] B\n" + ITEM.replace("- **Content:** C\n", ""), 2, "has no **Content:**", id="no content"),
        pytest.param("## [A] B\n" + ITEM.replace(" C\n", "\n\n"), 2, "has no **Content:**", id="empty content"),
        pytest.param("## [A] B\n### H\n", 2, "**Date:**, **Title:**, **Content:**", id="no field at all"),
        pytest.param(
            "## [A] B\n" + ITEM.replace("2026-01-24", "2026-02-30"), 3, "not a date", id="a day that does not exist"
        ),
        pytest.param("## [A] B\n" + ITEM.replace("2026-01-24", "soon"), 3, "not a date", id="not a date"),
        pytest.param("## [A] B\n" + ITEM.replace("**Date:**", "**Dated:**"), 3, "unknown field 'Dated'", id="misspelt"),
        pytest.param(f"## [A] B\n{ITEM}- **Title:** again\n", 6, "appears twice", id="repeated field"),
        pytest.param("## [A] B\n### H\nprose\n", 3, "unexpected text", id="text before the fields"),
        pytest.param(f"<!-- one\ntwo -->\n## B\n{ITEM}", 3, "has no category", id="comments count as lines"),
    ],
)
def test_a_malformed_document_is_refused_with_its_line(text: str, line: int, reason: str) -> None:
    with pytest.raises(MalformedDocumentError, match=f"^line {line}: ") as refused:
        parse_document(text)
    assert reason in refused.value.reason


@pytest.mark.parametrize(
    ("comment", "line"),
    [
        pytest.param("<!-- the rest was hidden by this", 6, id="never closed"),
        pytest.param("<!-- a -->\n<!--->", 7, id="closed with the wrong mark"),
    ],
)
def test_an_unclosed_comment_is_refused_because_it_would_hide_later_items(comment: str, line: int) -> None:
    with pytest.raises(MalformedDocumentError, match=f"^line {line}: the comment that starts here"):
        parse_document(f"## [A] B\n{ITEM}{comment}\n## [C] D\n{ITEM}")


BLANKS = " \t" * 50_000


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(f"# a{BLANKS}b", id="blanks within a heading"),
        pytest.param(f"### a {'# ' * 50_000}b", id="marks within a heading"),
        pytest.param(f"## [{BLANKS}x", id="blanks within a category"),
        pytest.param(f"- **{BLANKS}x", id="blanks within a field's name"),
        pytest.param(f"- **x{BLANKS}**{BLANKS}x", id="blanks around a field's colon"),
        pytest.param("- " * 50_000 + "x", id="almost a rule"),
        pytest.param("<!--" * 50_000, id="comments within a comment"),
    ],
)
def test_every_line_of_a_document_is_read_quickly(line: str) -> None:
    """Run in a separate process: a backtracking pattern blocks the interpreter, and a timeout in it never fires."""
    program = (
        "import sys\n"
        "from services.generator.documents.model import MalformedDocumentError\n"
        "from services.generator.documents.parser import parse_document\n"
        "try:\n"
        "    parse_document(sys.stdin.read())\n"
        "except MalformedDocumentError:\n"
        "    pass\n"
        "print('read')\n"
    )
    document = f"## [A] B\n{ITEM}{line}\n{line}\n"
    reader = subprocess.run(
        [sys.executable, "-c", program], input=document, capture_output=True, text=True, timeout=60, check=True
    )
    assert reader.stdout == "read\n"
