"""Evidence from hostile logs: bounded, escaped, redacted, with correct line numbers."""

import gzip
import json
import os
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from toombos_cli.base.redaction import Redactor
from toombos_cli.diagnose.facts.log_files import TAIL_BYTES
from toombos_cli.diagnose.facts.logs import LogFacts, read_log, tail_text
from toombos_cli.project.own_requests import OwnRequests

SECRET = "s3same-0pen-wide-17-zebra"
REDACTOR = Redactor([("API_KEY", SECRET)])


def line(number: int, text: str = "fine") -> str:
    return f'{{"timestamp":"2026-11-23T10:00:{number % 60:02}Z","level":"INFO","message":"{text} {number}"}}\n'


def errors(found: LogFacts) -> list[tuple[int | None, str]]:
    return [(entry.line, entry.text) for entry in found.entries if entry.error]


def test_mixed_json_and_plain_lines_keep_their_line_numbers(tmp_path: Path):
    log = tmp_path / "app.log"
    log.write_text(
        line(1)
        + '{"timestamp":"2026-11-23T10:00:02Z","level":"ERROR","logger":"a.b","message":"publisher: email failed"}\n'
        + "\n"
        + "2026-11-23 10:00:03,123 ERROR plain text\n"
        + "Traceback (most recent call last):\n"
        + "ValueError: bad\n"
    )
    found = read_log(log, REDACTOR)
    assert [number for number, _ in errors(found)] == [2, 4, 5, 6]
    assert errors(found)[0][1] == "2026-11-23T10:00:02Z ERROR a.b publisher: email failed"
    assert found.entries[-1].at == found.entries[-2].at == found.entries[-3].at, "a traceback has the time of its line"


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"ERROR \x1b[31mred\x1b[0m", "ERROR red"),
        (b"ERROR \x1b]0;title\x07 bell", "ERROR bell"),
        (b"ERROR [bold]markup[/bold] [link=http://x]", "ERROR [bold]markup[/bold] [link=http://x]"),
        (b"ERROR \xff\xfe not UTF-8", "ERROR �� not UTF-8"),
        (b"ERROR nul\x00byte", r"ERROR nul\x00byte"),
        ("ERROR right\u202eleft".encode(), r"ERROR right\u202eleft"),
        (b"ERROR carriage\rreturn", "ERROR carriage return"),
        (b'{"level":"ERROR","message":"esc \\u001b[2J"}', r"ERROR esc \x1b[2J"),
        (b'{"level":"ERROR","message":' + b"[" * 5000, None),
    ],
    ids=[
        "colour",
        "terminal title",
        "markup",
        "invalid UTF-8",
        "NUL",
        "direction override",
        "CR",
        "escape in JSON",
        "deep JSON",
    ],
)
def test_hostile_text_is_escaped(tmp_path: Path, raw: bytes, shown: str | None):
    log = tmp_path / "app.log"
    log.write_bytes(b"fine\n" + raw + b"\nfine\n")
    (entry,) = read_log(log, REDACTOR).entries
    assert entry.line == 2
    assert entry.text.isprintable()
    assert shown is None or entry.text == shown


def test_a_line_of_a_hundred_megabytes_takes_little_memory(tmp_path: Path):
    log = tmp_path / "app.log"
    with log.open("wb") as file:
        file.write(b"ERROR first\n")
        file.truncate(100 * 1024 * 1024)
        file.seek(0, os.SEEK_END)
        file.write(b"\nERROR last\n")
    tracemalloc.start()
    found = read_log(log, REDACTOR)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [text for _, text in errors(found)] == ["ERROR last"]
    assert found.entries[-1].line is None
    assert found.entries[-1].shown.startswith(f"(at byte {100 * 1024 * 1024 + 1}) ERROR last")
    assert peak < 16 * 1024 * 1024


def test_a_single_very_long_line_is_reported_by_its_length(tmp_path: Path):
    log = tmp_path / "app.log"
    log.write_bytes(b"x" * (3 * TAIL_BYTES))
    assert [entry.text for entry in read_log(log, REDACTOR).last] == [f"(a line of {3 * TAIL_BYTES} bytes, not shown)"]


def test_only_the_end_of_a_five_gigabyte_log_is_read(tmp_path: Path):
    log = tmp_path / "app.log"
    with log.open("wb") as file:
        file.truncate(5 * 1024**3)  # a sparse file: reading it all would take seconds
        file.seek(0, os.SEEK_END)
        file.write(b"\n" + line(1, "ERROR is no level").encode() + b"CRITICAL the end\n")
    found = read_log(log, REDACTOR)
    assert found.size_bytes > 5 * 1024**3
    assert errors(found)[-1] == (None, "CRITICAL the end")


def test_line_numbers_are_right_after_a_part_that_is_not_read(tmp_path: Path):
    log = tmp_path / "app.log"
    many = "".join(line(n) for n in range(1, 40_001))
    assert len(many) > TAIL_BYTES
    log.write_text(f"{many}ERROR here\n")
    assert errors(read_log(log, REDACTOR)) == [(40_001, "ERROR here")]


@pytest.mark.parametrize("packed", [False, True], ids=["uncompressed", "gzip"])
def test_the_newest_archive_is_read_if_the_log_was_just_rotated(tmp_path: Path, packed: bool):
    log = tmp_path / "app.log"
    log.write_text("ERROR new\n")
    content = b"fine\nERROR old\n"
    archive = tmp_path / ("app.log.20261123T100000.000" + (".gz" if packed else ""))
    archive.write_bytes(gzip.compress(content) if packed else content)
    found = read_log(log, REDACTOR)
    assert [(Path(e.path).name, e.line, e.text) for e in found.entries] == [
        (archive.name, 2, "ERROR old"),
        ("app.log", 1, "ERROR new"),
    ]


@pytest.mark.parametrize(
    "content",
    [b"\x1f\x8bbroken", b"", gzip.compress(b"ERROR x\n" * 10, mtime=0)[:-12]],
    ids=["broken", "empty", "truncated"],
)
def test_a_damaged_archive_does_not_hide_the_log(tmp_path: Path, content: bytes):
    log = tmp_path / "app.log"
    log.write_text("ERROR new\n")
    (tmp_path / "app.log.20261123T100000.000.gz").write_bytes(content)
    assert errors(read_log(log, REDACTOR))[-1] == (1, "ERROR new")


def test_an_archive_that_unpacks_to_gigabytes_is_left_alone(tmp_path: Path):
    log = tmp_path / "app.log"
    log.write_text("ERROR new\n")
    with gzip.open(tmp_path / "app.log.20261123T100000.000.gz", "wb", compresslevel=1) as file:
        for _ in range(64):
            file.write(bytes(1024 * 1024))
    assert errors(read_log(log, REDACTOR)) == [(1, "ERROR new")]


@pytest.mark.parametrize(
    ("make", "exists", "problem"),
    [
        (lambda path: None, False, ""),
        (lambda path: path.mkdir(), True, "is a directory or a socket, not a file"),
        (os.mkfifo, True, "is a FIFO or a device, not a file"),
        (lambda path: path.symlink_to(path), True, "is a symbolic link, which toombos does not follow here"),
        (lambda path: path.touch(), True, ""),
    ],
    ids=["missing", "a directory", "a FIFO", "a symbolic link to itself", "empty"],
)
def test_a_path_that_is_not_a_log_is_reported_and_never_blocks(tmp_path: Path, make, exists: bool, problem: str):
    log = tmp_path / "app.log"
    make(log)
    found = read_log(log, REDACTOR)
    assert (found.exists, found.problem, found.entries) == (exists, problem, ())


def test_a_secret_is_redacted_before_a_long_line_is_cut(tmp_path: Path):
    log = tmp_path / "app.log"
    for shift in range(290, 306):
        log.write_text(f"ERROR {'x' * (shift - len(SECRET))} {SECRET} tail {'y' * 400}\n")
        (entry,) = read_log(log, REDACTOR).entries
        assert not any(SECRET[:length] in entry.text for length in range(6, len(SECRET)))
        assert SECRET not in tail_text(log, REDACTOR)


def test_requests_of_toombos_are_not_evidence(tmp_path: Path):
    (tmp_path / "run").mkdir()
    own = OwnRequests.of(tmp_path)
    log = tmp_path / "app.log"
    log.write_text(line_of(own.new_id("smoke")) + "ERROR a real one\n")
    assert errors(read_log(log, REDACTOR, OwnRequests.of(tmp_path))) == [(2, "ERROR a real one")]


def line_of(request_id: str) -> str:
    return json.dumps({"level": "ERROR", "message": "Invalid API key", "request_id": request_id}) + "\n"


@pytest.mark.parametrize(
    "request_id",
    [
        "toombos-smoke",
        "toombos-diagnose-access",
        "toombos-",
        f"toombos-smoke-{'0' * 16}-{'0' * 16}",
        OwnRequests(b"the key of another project").new_id("smoke"),
        OwnRequests(None).new_id("smoke"),
    ],
    ids=["no signature", "that of a diagnosis", "a prefix", "a wrong signature", "another project's", "unsigned"],
)
def test_a_client_cannot_hide_its_requests_behind_an_id_like_those_of_toombos(tmp_path: Path, request_id: str):
    (tmp_path / "run").mkdir()
    log = tmp_path / "app.log"
    log.write_text(line_of(request_id))
    assert len(errors(read_log(log, REDACTOR, OwnRequests.of(tmp_path)))) == 1


def test_the_key_of_the_request_ids_is_private_and_never_read_through_a_link(tmp_path: Path):
    run = tmp_path / "run"
    assert OwnRequests.of(tmp_path).key is None, "a directory was created"
    run.mkdir()
    (tmp_path / "known").write_bytes(b"k" * 32)
    (run / "request-key").symlink_to(tmp_path / "known")
    assert OwnRequests.of(tmp_path).key is None
    (run / "request-key").unlink()
    assert OwnRequests.of(tmp_path).key == (run / "request-key").read_bytes()
    assert (run / "request-key").stat().st_mode & 0o777 == 0o600


@pytest.fixture(params=["Asia/Kolkata", "America/New_York", "UTC"])
def _zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("_zone")
@pytest.mark.parametrize("form", ["%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%SZ"], ids=["without a zone", "with Z"])
def test_recent_times_without_a_zone_are_recognized_as_utc(tmp_path: Path, form: str):
    now = int(time.time())
    texts = [time.strftime(f"{form} ERROR {ago}", time.gmtime(now - ago)) for ago in (90, 5)]
    log = tmp_path / "app.log"
    log.write_text("\n".join((*texts, "Traceback (most recent call last):", "ValueError: bad", "")))
    assert [entry.at for entry in read_log(log, REDACTOR).entries] == [now - 90, now - 5, now - 5, now - 5]


@pytest.mark.usefixtures("_zone")
def test_times_without_a_zone_are_local_in_an_old_log(tmp_path: Path):
    written = int(time.time()) - 86_400
    log = tmp_path / "app.log"
    log.write_text(time.strftime("%Y-%m-%d %H:%M:%S ERROR old\n", time.localtime(written)))
    os.utime(log, (written, written))
    assert [entry.at for entry in read_log(log, REDACTOR).entries] == [written]


def test_a_line_without_a_time_gets_the_time_of_a_near_line_before_it(tmp_path: Path):
    log = tmp_path / "app.log"
    dated = "2026-11-23T10:00:00Z ERROR dated\n"
    log.write_text(f"ERROR before\n{dated}" + "ERROR x\n" * 100 + "fine\n" * 200 + "ERROR far\n")
    moments = [entry.at for entry in read_log(log, REDACTOR).entries]
    assert moments == [None, *[moments[1]] * 101, None]


def test_all_errors_are_counted_even_if_not_all_are_kept(tmp_path: Path):
    log = tmp_path / "app.log"
    log.write_text("ERROR one of many\n" * 1000)
    found = read_log(log, REDACTOR)
    assert (found.complaints, len(found.entries) < 1000) == (1000, True)


def test_errors_are_kept_among_many_harmless_lines(tmp_path: Path):
    log = tmp_path / "app.log"
    log.write_text("ERROR the cause\n" + "".join(line(n, "POST /generate 200") for n in range(5000)))
    found = read_log(log, REDACTOR)
    assert errors(found) == [(1, "ERROR the cause")]
    assert len(found.entries) < 1000


def test_a_line_without_a_time_does_not_get_one_from_the_life_before(tmp_path: Path):
    log = tmp_path / "x.log"
    former = "2026-01-01 10:00:00 ERROR worker lost\nValueError: that was its reason\n"
    log.write_text(
        f"{former}ModuleNotFoundError: No module named 'x'\n2026-01-01 11:00:00 ERROR later\nKeyError: 'y'\n"
    )
    times = [entry.at for entry in read_log(log, REDACTOR, begin=len(former)).entries]
    assert times[0] == times[1]
    assert times[2] is None
    assert times[3] == times[4]
    assert (times[3] or 0) - (times[0] or 0) == 3600


@pytest.mark.parametrize(
    ("last", "is_shifted"),
    [
        ("{then} ERROR late\n", True),
        ("{then}Z ERROR late\n", False),
        ("{then} ERROR late\nand a line without a time\n", False),
    ],
    ids=["the time of the last line", "a time that names its zone", "a time that is not that of the last line"],
)
def test_the_zone_of_a_program_is_seen_by_when_its_last_line_was_written(tmp_path: Path, last: str, is_shifted: bool):
    now, behind_s = int(time.time()), 5.75 * 3600
    then = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(now - behind_s))
    log = tmp_path / "app.log"
    log.write_text(last.format(then=then))
    os.utime(log, (now, now))
    at = read_log(log, REDACTOR).entries[0].at or 0
    assert (abs(at - now) < 2) == is_shifted
