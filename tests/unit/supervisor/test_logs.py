"""Reading logs from the end."""

import re
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from toombos_cli.logs.lines import is_error, is_startup, timestamp_of
from toombos_cli.logs.reading import run_logs
from toombos_cli.logs.rotation import LogFile
from toombos_cli.logs.selection import Selection, matching
from toombos_cli.logs.tail import last_lines
from toombos_cli.manifest.model import Logs


@pytest.fixture
def log(tmp_path: Path) -> LogFile:
    (tmp_path / "run").mkdir()
    return LogFile(tmp_path / "crm.log", tmp_path / "run" / "crm.rotation")


def shown(log: LogFile, **options: object) -> list[str]:
    return [line.line for line in run_logs({"crm": log}, **({"count": 50} | options)).lines]  # type: ignore[arg-type]  # the types of the options


def test_the_last_lines_are_shown_oldest_first(log: LogFile) -> None:
    log.path.write_text("".join(f"line {n}\n" for n in range(100_000)))
    assert shown(log, count=3) == ["line 99997", "line 99998", "line 99999"]


def test_a_line_longer_than_a_block_is_shown_in_full(log: LogFile) -> None:
    long = "x" * 600_000
    log.path.write_text(f"first\n{long}\nlast\n")
    assert shown(log) == ["first", long, "last"]


def test_a_last_line_without_a_newline_is_shown_too(log: LogFile) -> None:
    log.path.write_text("first\nhalf")
    assert shown(log) == ["first", "half"]


@pytest.mark.parametrize("text", [None, ""], ids=["no log", "an empty log"])
def test_there_are_no_lines_if_the_log_is_missing_or_empty(log: LogFile, text: str | None) -> None:
    if text is not None:
        log.path.write_text(text)
    assert shown(log) == []


def test_bytes_that_are_not_utf8_are_replaced(log: LogFile) -> None:
    log.path.write_bytes(b"caf\xe9\n")
    assert shown(log) == ["caf\N{REPLACEMENT CHARACTER}"]


def test_archives_are_read_as_far_back_as_needed(log: LogFile) -> None:
    for part in range(4):
        with log.path.open("a") as file:
            file.writelines(f"line {part}{n}\n" for n in range(10))
        log.rotate(Logs(), 1_000_000.0 + part)
    with log.path.open("a") as file:
        file.write("line 40\n")
    assert [line for line in shown(log, count=25) if line.strip()] == [f"line {n:02}" for n in range(16, 41)]


def test_since_filters_by_the_times_of_lines_and_keeps_tracebacks(log: LogFile) -> None:
    log.path.write_text(
        "2026-01-31T10:00:00Z early\n"
        "2026-01-31 11:00:00,123 ERROR late\n"
        "Traceback (most recent call last):\n"
        '{"timestamp": "2026-01-31T12:00:00+00:00", "message": "later"}\n'
    )
    since = datetime(2026, 1, 31, 10, 30, tzinfo=UTC)
    assert [line.split()[0] for line in shown(log, selection=Selection(since=since))] == [
        "2026-01-31",
        "Traceback",
        '{"timestamp":',
    ]


def test_several_logs_are_merged_by_time(tmp_path: Path) -> None:
    logs = {}
    for name, moments in {"crm": "10:00 10:02", "app": "10:01 10:03"}.items():
        path = tmp_path / f"{name}.log"
        path.write_text("".join(f"2026-01-31T{moment}:00Z {name}\n" for moment in moments.split()))
        logs[name] = LogFile(path, tmp_path / f"{name}.rotation")
    assert [line.service for line in run_logs(logs, count=50).lines] == ["crm", "app", "crm", "app"]


def test_the_count_applies_to_the_filtered_lines(log: LogFile) -> None:
    log.path.write_text("".join(f"line {n}\n" for n in range(100)))
    assert shown(log, count=2, selection=Selection(wanted=(matching(re.compile("7$")),))) == ["line 87", "line 97"]


ERRORS = {
    "a JSON error": ('{"level": "ERROR", "message": "x"}', True),
    "a JSON critical": ('{"level": "critical"}', True),
    "JSON of another level whose text mentions errors": ('{"level": "INFO", "message": "0 ERROR lines"}', False),
    "a level in plain text": ("2026-01-31 ERROR it broke", True),
    "a traceback": ("Traceback (most recent call last):", True),
    "an exception": ("ValueError: no number", True),
    "JSON with a severity": ('{"severity": "error", "message": "x"}', True),
    "the level number of pino": ('{"level":50,"time":1764108000000,"msg":"x"}', True),
    "the information level of pino": ('{"level":30,"msg":"ERROR is a word"}', False),
    "Serilog": ('{"@t":"2026-01-31T10:00:00Z","@l":"Error","@m":"x"}', True),
    "ECS": ('{"log.level":"error","message":"x"}', True),
    "JSON without a level": ('{"message": "ERROR x"}', True),
    "JSON that is not an object": ("{]", False),
    "logfmt": ('time="2026-01-31T10:00:00Z" level=fatal msg="x"', True),
    "logfmt of another level": ('level=info msg="x"', False),
    "nginx": ("2026/01/31 10:00:00 [error] 12#0: *1 connect() failed", True),
    "an error message of a program": ("error: cannot open", True),
    "Go": ("panic: runtime error: index out of range", True),
    "Rust": ("thread 'main' panicked at src/main.rs:1", True),
    "npm": ("npm ERR! code 1", True),
    "Java": ("java.lang.NullPointerException", True),
    "node": ("Uncaught exception", True),
    "an option": ("serve --on-error=ignore, 0 errors, no error", False),
    "a word made of a level": ("app: ERROR-free since 2026-01-31", False),
    "an information about an error": ("2026-01-31 10:00:00 INFO app: the last ERROR was fixed", False),
    "an exception that was handled": ("DEBUG:root:ValueError: no number, 0 is taken", False),
    "logfmt whose message begins as an error": ('level=info msg="error: none"', False),
    "an error that quotes an information": ('ERROR app: unknown answer "INFO ready"', True),
    "celery": ("[2026-01-31 14:42:57,016: ERROR/MainProcess] Task bill raised", True),
    "a request for a page of that name": ('"GET /ERROR HTTP/1.1" 200', False),
    "a path": ("GET /api/errors/12 200", False),
    "a harmless line": ("INFO: errors were none", False),
}


@pytest.mark.parametrize(("line", "error"), ERRORS.values(), ids=ERRORS.keys())
def test_errors_are_recognized_by_level_or_words(line: str, error: bool) -> None:
    assert is_error(line) is error


@pytest.mark.parametrize("line", ["Application startup complete.", "listening on 127.0.0.1:8000", "Shutting down"])
def test_startup_lines_are_recognized(line: str) -> None:
    assert is_startup(line)
    assert not is_startup("GET /health 200")


TIMES = {
    "ISO with a zone": ("2026-01-31T10:00:00+01:00 x", datetime(2026, 1, 31, 9, tzinfo=UTC)),
    "Python logging": ("2026-01-31 10:00:00,250 x", datetime(2026, 1, 31, 10, 0, 0, 250_000).astimezone()),
    "nginx": ("2026/01/31 10:00:00 [error] x", datetime(2026, 1, 31, 10).astimezone()),
    "PostgreSQL": ("2026-01-31 10:00:00.250 UTC [9] ERROR:  x", datetime(2026, 1, 31, 10, 0, 0, 250_000, tzinfo=UTC)),
    "Redis": ("9:M 31 Jan 2026 10:00:00.250 # x", datetime(2026, 1, 31, 10, 0, 0, 250_000).astimezone()),
    "an access log": ('::1 - - [31/Jan/2026:10:00:00 +0100] "GET /"', datetime(2026, 1, 31, 9, tzinfo=UTC)),
    "http.server": ('::1 - - [31/Jan/2026 10:00:00] "GET /"', datetime(2026, 1, 31, 10).astimezone()),
    "pino": ('{"level":50,"time":1769853600250}', datetime(2026, 1, 31, 10, 0, 0, 250_000, tzinfo=UTC)),
    "zap": ('{"level":"error","ts":1769853600.25}', datetime(2026, 1, 31, 10, 0, 0, 250_000, tzinfo=UTC)),
    "a number that is not a time": ('{"level":50,"count":1769853600250}', None),
    "a line without a time": ("hello", None),
    "an impossible time": ("2026-13-41T99:00:00Z", None),
}


@pytest.mark.parametrize(("line", "moment"), TIMES.values(), ids=TIMES.keys())
def test_the_time_of_a_line_is_found(line: str, moment: datetime | None) -> None:
    assert timestamp_of(line) == moment


def test_a_time_without_a_zone_is_local(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert timestamp_of("2026-01-31 10:00:00,250 x") == datetime(2026, 1, 31, 1, 0, 0, 250_000, tzinfo=UTC)
    finally:
        monkeypatch.undo()
        time.tzset()


def test_the_last_lines_of_a_service_contain_no_secrets(log: LogFile) -> None:
    log.path.write_text("ERROR cannot connect: SHOP_TOKEN=hunter22xyz\npostgres://shop:hunter22xyz@db/x refused\n")
    assert last_lines(str(log.path), 0, 2) == (
        "ERROR cannot connect: SHOP_TOKEN=<secret-1>",
        "postgres://shop:<secret-1>@db/x refused",
    )
