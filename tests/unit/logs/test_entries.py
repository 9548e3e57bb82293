"""Continuation lines, colours, times: what a line of a log is, and which lines belong together."""

import re
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

import pytest

from toombos_cli.logs.entries import entries_backwards, entries_of, is_error_entry
from toombos_cli.logs.lines import is_error, text_of, timestamp_of, zone_of
from toombos_cli.logs.selection import Following, Selection, containing, errors

ERRORS = {
    "pydantic": """\
pydantic_core._pydantic_core.ValidationError: 3 validation errors for SecurityConfig
api_key
  Field required [type=missing, input_value={}, input_type=dict]
    For further information visit https://errors.pydantic.dev/2.11/v/missing
jwt.secret
  Input should be a valid string""",
    "pydantic after a time": """\
2026-11-28 10:00:00 ERROR 3 validation errors for SecurityConfig
api_key
  Field required
2 more""",
    "Java with a cause": """\
Exception in thread "main" java.lang.IllegalStateException: boom
\tat a.B.c(B.java:5)
Caused by: java.lang.NullPointerException
\tat a.B.d(B.java:6)
\t... 3 more""",
    "Go": """\
panic: runtime error: index out of range [5] with length 3

goroutine 1 [running]:
main.main()
\t/tmp/x.go:9 +0x1d
exit status 2""",
    "Node": """\
Error: x
    at Object.<anonymous> (/app/x.js:3:9)
    at Module._compile {
  code: 'E'
}

Node.js v18.19.0""",
    "Rust": """\
thread 'main' panicked at src/main.rs:2:5:
index out of bounds
note: run with RUST_BACKTRACE=1""",
    "Python with a cause": """\
Traceback (most recent call last):
  File "x.py", line 1, in <module>
    1/0
ZeroDivisionError: division by zero

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "x.py", line 3, in <module>
    raise Custom("x")
__main__.Custom: x""",
    "uvicorn": """\
ERROR:    Exception in ASGI application
Traceback (most recent call last):
  File "x.py", line 3, in <module>
KeyboardInterrupt""",
    "JSON over lines": """\
{
  "level": "error",
  "message": "x"
}""",
    "text with JSON over lines": """\
2026-11-28 10:00:00 ERROR it broke
{
  "a": 1
}""",
    "one line": "ERROR one",
    "JSON": '{"level":"ERROR","message":"x"}',
}
NEIGHBOURS = {
    "without times": ("server listening", "all is fine"),
    "with levels": ("INFO: begin", "INFO: end"),
    "with times": ("2026-11-28 09:59:59 INFO begin", "2026-11-28 10:00:09 INFO end"),
    "JSON": ('{"level":"INFO","message":"begin"}', '{"level":"INFO","message":"end"}'),
}


@pytest.mark.parametrize("neighbours", NEIGHBOURS.values(), ids=NEIGHBOURS.keys())
@pytest.mark.parametrize("text", ERRORS.values(), ids=ERRORS.keys())
def test_an_error_is_one_entry_with_its_continuation_and_nothing_else(text: str, neighbours: tuple[str, str]) -> None:
    before, after = neighbours
    if after == "all is fine" and text.startswith("2026"):
        pytest.skip("after a line with a time, one without continues it")
    lines = [before, *text.split("\n"), after]
    found = [entry for entry in entries_of(lines) if is_error_entry(entry)]
    assert found == [text.split("\n")]
    assert [entry for entry in entries_backwards(reversed(lines)) if is_error_entry(entry)] == found


@pytest.mark.parametrize("text", ERRORS.values(), ids=ERRORS.keys())
@pytest.mark.parametrize("size", [1, 2, 3, 100], ids="in blocks of {}".format)
def test_a_follower_shows_the_continuation_of_an_error_that_arrives_in_parts(text: str, size: int) -> None:
    lines = ["INFO: begin", *text.split("\n"), "INFO: end"]
    following = Following(Selection(wanted=(errors,)))
    shown: list[str] = []
    for begin in range(0, len(lines), size):
        shown += following.add(lines[begin : begin + size])
    assert shown + following.add([]) + following.add([]) == text.split("\n")


def test_a_follower_shows_an_error_at_once_and_later_what_continues_it() -> None:
    following = Following(Selection(wanted=(errors,)))
    assert following.add(["ERROR it broke"]) == []
    assert following.add([]) == ["ERROR it broke"]
    assert following.add(["  in line 3", "INFO: fine"]) == ["  in line 3"]
    assert following.add([]) == []


def test_an_excluded_line_takes_what_continues_it_along() -> None:
    selection = Selection(unwanted=(containing(re.compile("health")),))
    lines = ["ERROR /health", "  at x", "ERROR /shop", "  at health", "  at y"]
    assert [selection.shown(entry) for entry in entries_of(lines)] == [[], ["ERROR /shop", "  at y"]]


LINES = {
    "a coloured level": (b"\x1b[31mERROR\x1b[0m boom", "ERROR boom", True),
    "a level of winston": (b"\x1b[1;31merror\x1b[0m: payment refused", "error: payment refused", True),
    "colours of 24 bits": (b"\x1b[38;2;255;0;0mERROR\x1b[39m x", "ERROR x", True),
    "colours with colons": (b"\x1b[38:5:1mERROR\x1b[m x", "ERROR x", True),
    "eight-bit controls": (b"\xc2\x9b31mERROR\xc2\x9b0m x", "ERROR x", True),
    "a coloured time and level": (b"\x1b[2m2026-01-31T10:00:00Z\x1b[0m \x1b[31mERROR\x1b[0m x",
                                  "2026-01-31T10:00:00Z ERROR x", True),
    "a line end of Windows": (b"all is well\r", "all is well", False),
    "an error with a line end of Windows": (b"ERROR x\r", "ERROR x", True),
    "a progress bar": (b"download 1%\rdownload 55%\rdownload 100%", "download 100%", False),
    "an error below a progress bar": (b"1%\rERROR disk full\r99%", "ERROR disk full 99%", True),
    "a title of the terminal": (b"\x1b]0;owned\x07hello", "hello", False),
    "a link": (b"\x1b]8;;http://x\x1b\\hello\x1b]8;;\x1b\\", "hello", False),
    "a cleared screen": (b"\x1b[2J\x1b[Hhello\x1b(B", "hello", False),
    "a sequence within a sequence": (b"pass\x1b\x1b[31m[31mword", "password", False),
    "backspaces": (b"oops\b\b\b\bfine", "fine", False),
    "an unfinished sequence": (b"hello\x1b[", "hello", False),
    "no UTF-8": (b"caf\xe9", "caf\N{REPLACEMENT CHARACTER}", False),
    "only a line end": (b"\r", "", False),
}  # fmt: skip


@pytest.mark.parametrize(("raw", "text", "error"), LINES.values(), ids=LINES.keys())
def test_a_line_is_read_as_a_terminal_shows_it(raw: bytes, text: str, error: bool) -> None:
    assert text_of(raw) == text
    assert is_error(text) is error


TOKYO = ZoneInfo("Asia/Tokyo")
TIMES: dict[str, tuple[str, tzinfo | None, datetime]] = {
    "the zone of the service": ("2026-11-28 10:00:00 x", TOKYO, datetime(2026, 11, 28, 1, tzinfo=UTC)),
    "an offset in the line": ("2026-11-28 10:00:00+01:00 x", TOKYO, datetime(2026, 11, 28, 9, tzinfo=UTC)),
    "an offset without a colon": ("2026-11-28 10:00:00,5 +0100 x", None, datetime(2026, 11, 28, 9, tzinfo=UTC)),
    "an offset of hours": ("2026-11-28 10:00:00+09 x", None, datetime(2026, 11, 28, 1, tzinfo=UTC)),
    "UTC in the line": ("2026-11-28 10:00:00 UTC x", TOKYO, datetime(2026, 11, 28, 10, tzinfo=UTC)),
    "an abbreviation in the line": ("2026-11-28 10:00:00.250 JST [9] x", None, datetime(2026, 11, 28, 1, tzinfo=UTC)),
    "a level that is no zone": ("2026-11-28 10:00:00 INFO x", TOKYO, datetime(2026, 11, 28, 1, tzinfo=UTC)),
    "slashes": ("2026/11/28 10:00:00 [error] x", TOKYO, datetime(2026, 11, 28, 1, tzinfo=UTC)),
}


@pytest.mark.parametrize(("line", "zone", "moment"), TIMES.values(), ids=TIMES.keys())
def test_the_offset_of_a_time_is_that_of_the_line_or_of_the_service(
    line: str, zone: tzinfo | None, moment: datetime
) -> None:
    found = timestamp_of(line, zone)
    assert found is not None
    assert found.replace(microsecond=0) == moment


ZONES = {"Asia/Tokyo": 9, ":Asia/Tokyo": 9, "JST-9": 9, "<+0530>-5:30": 5.5, "EST5": -5, "nonsense": None, "../x": None}


@pytest.mark.parametrize(("name", "hours"), ZONES.items(), ids=ZONES.keys())
def test_a_value_of_tz_is_understood(name: str, hours: float | None) -> None:
    zone = zone_of(name)
    offset = zone.utcoffset(datetime(2026, 11, 28)) if zone else None  # noqa: DTZ001  (an offset is asked for)
    assert offset == (timedelta(hours=hours) if hours is not None else None)
