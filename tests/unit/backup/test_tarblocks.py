"""Tar headers that other programs can read."""

import io
import tarfile

import pytest

from toombos_cli.backup.archive import tarblocks
from toombos_cli.backup.archive.format import Entry, named

CASES = {
    "plain file": Entry(path="data/x", type="file", size=3, mode=0o640, uid=7, gid=8, mtime_ns=1_700_000_000 * 10**9),
    "nanoseconds": Entry(path="x", type="file", mode=0o600, mtime_ns=1_700_000_000_123_456_789),
    "before 1970": Entry(path="x", type="file", mode=0o600, mtime_ns=-1_500_000_000),
    "whole second before 1970": Entry(path="x", type="file", mode=0o600, mtime_ns=-86_400 * 10**9),
    "file name of 100 bytes": Entry(path="n" * 100, type="file", mode=0o600),
    "file name of 101 bytes": Entry(path="n" * 101, type="file", mode=0o600),
    "directory name of 100 bytes": Entry(path="n" * 100, type="dir", mode=0o755),
    "name that is not UTF-8": Entry(**named(b"caf\xe9\n-rf"), type="file", mode=0o600),
    "long link": Entry(path="l" * 300, link="t" * 200, type="symlink", mode=0o777),
    "owner too large for octal digits": Entry(path="x", type="file", mode=0o600, uid=2**31, gid=2**32 - 2),
    "largest checksum": Entry(
        **named(b"\xff" * 100, b"\xff" * 100), type="symlink", mode=0o7777, uid=2**32 - 2, gid=2**32 - 2, mtime_ns=-1
    ),
    "file of 8 GiB": Entry(path="x", type="file", size=8 << 30, mode=0o600),
}


@pytest.mark.parametrize("entry", CASES.values(), ids=CASES.keys())
def test_python_reads_the_header_of_an_entry(entry: Entry) -> None:
    header = tarblocks.member_header(entry)
    assert len(header) % tarblocks.BLOCK == 0
    stream = io.BytesIO(header + tarblocks.END)
    with tarfile.open(fileobj=stream, encoding="utf-8", errors="surrogateescape") as archive:
        member = archive.next()
    assert member is not None
    assert member.name.encode(errors="surrogateescape") == entry.name
    assert member.linkname.encode(errors="surrogateescape") == entry.target
    assert (member.mode, member.uid, member.gid, member.size) == (entry.mode, entry.uid, entry.gid, entry.size)
    assert member.mtime == pytest.approx(entry.mtime_ns / 1e9, abs=1e-6)
    assert {"file": member.isreg(), "dir": member.isdir(), "symlink": member.issym()}[entry.type]


def test_a_pax_record_counts_its_own_length() -> None:
    """At 99 and 100 bytes, the length itself adds a digit."""
    for length in range(1, 200):
        record = tarblocks._pax_record(b"k", b"v" * length)
        assert int(record.split(b" ")[0]) == len(record)
