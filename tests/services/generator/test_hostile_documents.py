"""Documents designed to keep the generator busy: little CPU time, and no call that keeps other requests waiting."""

import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

import pytest

from services.generator.content.model import ContentOptions
from services.generator.content.render import render_content
from services.generator.documents.model import MalformedDocumentError
from services.generator.documents.parser import parse_document
from tests.services.conftest import RunningService, StartService

KIB = 1024
PLACES = ("brand", "category", "section", "title", "content")
MARKS = "marks of two classes in turn"
PATTERNS = {
    MARKS: "\u0327\u0301",
    "marks that decompose into several": "\u0344\u0327",
    "marks that count as no marks until decomposed": "\u0f73\u0327",
    "characters that become eighteen": "\ufdfa",
    "joined emoji": "\U0001f468\u200d",
    "words": "word ",
    "sentences": "Abcd. ",
    "domains": "a.bc ",
    "one domain": "a.",
    "hyphens": "a-",
    "apostrophes": "a'",
    "links": "https://a.b/c ",
    "ideographic full stops": "字。",
}
IN_MARKDOWN = {
    "marks written as entities": "&#807;&#769;",
    "marks separated by tags": "\u0327<b>\u0301</b>",
    "image openings": "![[",
    "brackets": "[",
    "quotations": "> ",
    "table cells": "|a",
    "tags": "<a ",
}
CASES = [
    *(pytest.param(place, text, id=f"{name} as the {place}") for place in PLACES for name, text in PATTERNS.items()),
    *(pytest.param("content", text, id=f"{name} as the content") for name, text in IN_MARKDOWN.items()),
]


def document(place: str, pattern: str, size_bytes: int) -> str:
    parts = dict.fromkeys(PLACES, "X") | {place: "a" + pattern * (size_bytes // len(pattern.encode()))}
    return (
        "# {brand}\n## [{category}] {section}\n### H\n"
        "- **Date:** 2026-01-24\n- **Title:** {title}\n- **Content:** {content}\n"
    ).format(**parts)


def longest_call_s(action: Callable[[], object]) -> float:
    """Return the CPU time of the longest call into C, during which no other thread of the interpreter runs."""
    longest_s, began_s = 0.0, 0.0

    def note(frame: FrameType, event: str, argument: object) -> None:
        nonlocal longest_s, began_s
        if event == "c_call":
            began_s = time.thread_time()
        elif event == "c_return" and getattr(argument, "__name__", "") != "clean":  # nh3 lets other threads run
            longest_s = max(longest_s, time.thread_time() - began_s)
            began_s = time.thread_time()

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        action()
    finally:
        sys.setprofile(before)
    return longest_s


@pytest.mark.parametrize(("place", "pattern"), CASES)
def test_a_document_of_100_kb_takes_little_time_and_blocks_nobody(place: str, pattern: str) -> None:
    text = document(place, pattern, 100 * KIB)

    def render() -> None:
        with suppress(MalformedDocumentError):
            render_content(parse_document(text), ContentOptions())

    started_s = time.thread_time()
    render()
    assert time.thread_time() - started_s < 2
    assert longest_call_s(render) < 0.1


@pytest.fixture(scope="module")
def generator(start_shared_service: StartService) -> RunningService:
    return start_shared_service("generator", DRY_RUN_MODE="true", LIVING_DOC_ID="doc.md", until="/live")


@pytest.mark.parametrize("place", PLACES)
def test_live_is_answered_while_two_mib_of_marks_are_rendered(generator: RunningService, place: str) -> None:
    (generator.project / "doc.md").write_text(document(place, PATTERNS[MARKS], 2000 * KIB))
    statuses, waits_s = [], []

    def generate() -> None:
        with generator.client() as client:
            request = {"preview_only": True, "force_refresh": True}
            statuses.append(client.post("/api/v2/generate-content", json=request).status_code)

    thread = threading.Thread(target=generate, daemon=True)
    thread.start()
    with generator.client(headers={"Connection": "close"}) as client:  # a new client each time costs 0.1 s by itself
        while thread.is_alive():
            started_s = time.monotonic()
            assert client.get("/live").status_code == 200
            waits_s.append(time.monotonic() - started_s)
    assert statuses == [200]
    assert max(waits_s) < 0.5
