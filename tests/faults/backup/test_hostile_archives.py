"""Archives made to escape, to grow or to crash: refused entirely, and nothing outside the staging directory changes."""

import os
import random
import tarfile
from pathlib import Path

import msgspec
import pytest
from backports import zstd

from tests.support.backup_forge import build, file_entry, raw_tail
from tests.support.backup_site import Site, snapshot_tree
from toombos_cli.backup.archive.format import Entry, Tail
from toombos_cli.backup.archive.frames import open_frame
from toombos_cli.backup.archive.reader import Archive
from toombos_cli.backup.errors import BadArchiveError
from toombos_cli.backup.observer import Silent
from toombos_cli.backup.transaction.staging import StagingArea
from toombos_cli.backup.tree_removal import remove_tree
from toombos_cli.base.errors import ToombosError

pytestmark = pytest.mark.timeout(900)  # many processes or cases: slow on a busy machine

DATA = (Entry(path="data", type="dir", mode=0o755), b"")


def link(path: str, target: str) -> tuple[Entry, bytes]:
    return Entry(path=path, type="symlink", link=target, mode=0o777), b""


def plain(path: str, **more: object) -> tuple[Entry, bytes]:
    return file_entry(path, **more), b"x"


SECOND = (("b", "data/a"), ("c", "data/b"))
ESCAPES = {
    "parent": [DATA, plain("../../etc/passwd")],
    "absolute": [DATA, plain("/abs")],
    "parent in the middle": [DATA, plain("data/../../x")],
    "dot": [DATA, plain("data/./x")],
    "empty part": [DATA, plain("data//x")],
    "NUL": [DATA, plain("data/a\0b")],
    "outside the roots": [DATA, plain("elsewhere")],
    "prefix of a root": [DATA, plain("database")],
    "duplicate name": [DATA, plain("data/x"), plain("data/x")],
    "file below a file": [DATA, plain("data/x"), plain("data/x/y")],
    "file without its directory": [DATA, plain("data/deep/x")],
    "root that is a link": [link("data", "/etc")],
    "link to an empty name": [DATA, link("data/l", "")],
    "second name of a link": [DATA, link("data/l", "/etc/passwd"), plain("data/x", link="data/l")],
    "second name of a later file": [DATA, plain("data/x", link="data/y"), plain("data/y")],
    "second name of another content": [DATA, (file_entry("data/y", b"y"), b"y"), plain("data/x", link="data/y")],
    "second name of a file elsewhere": [DATA, plain("data/x", link="/etc/passwd")],
    "second name of a second name": [DATA, plain("data/a"), *(plain(f"data/{n}", link=t) for n, t in SECOND)],
    "fifo with content": [DATA, (Entry(path="data/f", type="fifo", mode=0o600, size=1), b"x")],
    "directory with a target": [DATA, (Entry(path="data/d", type="dir", mode=0o700, link="x"), b"")],
    "time beyond 64 bits of seconds": [DATA, plain("data/x", mtime_s=2**63)],
    "file through a link": [DATA, link("data/l", "d"), plain("data/l/x")],
    "reserved name": [DATA, plain("manifest.json")],
    "long name": [DATA, plain("data/" + "n" * 256)],
    "mode": [DATA, plain("data/x", mode=0o100644)],
    "negative size": [DATA, plain("data/x", size=-1)],
    "huge time": [DATA, plain("data/x", mtime_ns=2**70)],
    "capability": [DATA, plain("data/x", xattrs={"security.capability": b"x"})],
    "attribute that splits a pax record": [DATA, plain("data/x", xattrs={"user.a=b": b"x"})],
    "attribute beyond the kernel's limit": [DATA, plain("data/x", xattrs={"user.a": bytes(2**16 + 1)})],
    "no checksum": [DATA, plain("data/x", sha256="")],
    "wrong checksum": [DATA, plain("data/x", sha256="0" * 64)],
}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    project = tmp_path / "outside" / "project"
    project.mkdir(parents=True)
    (tmp_path / "outside" / "canary").write_text("untouched")
    return Site(project).fill()


def assert_refused(site: Site, archive: Path) -> None:
    outside = site.project.parent
    before = snapshot_tree(outside, leave_out=(b"project",)), site.tree()
    with pytest.raises(BadArchiveError) as raised:
        site.restore(archive)
    assert raised.value.exit_code == 1
    assert (snapshot_tree(outside, leave_out=(b"project",)), site.tree()) == before


@pytest.mark.parametrize("members", ESCAPES.values(), ids=ESCAPES.keys())
def test_an_archive_with_a_bad_member_is_refused_as_a_whole(
    site: Site, tmp_path: Path, members: list[tuple[Entry, bytes]]
) -> None:
    try:
        archive = build(tmp_path / "hostile", members)
    except (ValueError, OverflowError):  # tar cannot express it, only the manifest can
        harmless = [DATA, plain("data/x")]
        listing = msgspec.json.encode(members[1][0])
        archive = build(
            tmp_path / "hostile",
            harmless,
            manifest=lambda encoded: encoded.replace(msgspec.json.encode(harmless[1][0]), listing),
        )
    assert_refused(site, archive)


@pytest.mark.parametrize("target", ["/etc", "../..", "a/../../..", "../../outside/canary"])
def test_a_link_out_of_its_root_is_restored_and_never_followed(site: Site, tmp_path: Path, target: str) -> None:
    outside = site.project.parent
    before = snapshot_tree(outside, leave_out=(b"project",))
    site.restore(build(tmp_path / "links", [DATA, link("data/l", target), plain("data/x")]))
    assert os.readlink(site.project / "data" / "l") == target  # noqa: PTH115  (the bare text)
    site.fill("new")
    site.restore(
        build(tmp_path / "links", [DATA, (Entry(path="data/l", type="dir", mode=0o755), b""), plain("data/l/x")])
    )
    assert not (site.project / "data" / "l").is_symlink()
    assert snapshot_tree(outside, leave_out=(b"project",)) == before


@pytest.mark.parametrize(
    "roots", [("..",), ("/",), ("data", "data/x"), ("",)], ids=["parent", "top", "nested", "empty"]
)
def test_an_archive_with_a_bad_root_is_refused(site: Site, tmp_path: Path, roots: tuple[str, ...]) -> None:
    assert_refused(site, build(tmp_path / "hostile", [DATA, plain("data/x")], roots=roots))


@pytest.mark.parametrize(
    "kind",
    [tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.SYMTYPE],
    ids=lambda k: k.decode(),
)
def test_a_tar_member_of_another_kind_than_listed_is_refused(site: Site, tmp_path: Path, kind: bytes) -> None:
    """A hard link to a symlink, devices, fifos: the stream contradicts the manifest."""

    def disguise(data: bytes) -> bytes:
        info = tarfile.TarInfo("data/x")
        info.type, info.linkname = kind, "data/l"
        return data[:512] + info.tobuf(tarfile.GNU_FORMAT) + data[1024:]

    assert_refused(site, build(tmp_path / "hostile", [DATA, plain("data/x")], stream=disguise))


def test_a_member_that_the_manifest_does_not_list_is_refused(site: Site, tmp_path: Path) -> None:
    extra = tarfile.TarInfo("data/extra").tobuf(tarfile.GNU_FORMAT)
    assert_refused(site, build(tmp_path / "hostile", [DATA], stream=lambda data: data + extra))


def test_a_frame_that_grows_past_its_declared_size_is_refused_without_being_unpacked(
    site: Site, tmp_path: Path
) -> None:
    path = build(tmp_path / "hostile", [DATA, plain("data/x")])
    bomb = zstd.compress(bytes(1 << 30))
    with pytest.raises(BadArchiveError):
        open_frame(bomb, len(bomb), 1024, 1)

    def lie(tail: Tail) -> Tail:
        return msgspec.structs.replace(tail, frames=((len(bomb), 1024), *tail.frames[1:]))

    build(path, [DATA, plain("data/x")], tail=lie)
    assert_refused(site, path)


@pytest.mark.parametrize("cases", [1_000, pytest.param(10_000, marks=pytest.mark.full)])
def test_every_fuzzed_archive_is_refused_or_harmless(tmp_path: Path, cases: int) -> None:
    """Never an unexpected exception, a write outside the staging directory, or more than the declared size."""
    outside = tmp_path / "outside"
    project = outside / "project"
    project.mkdir(parents=True)
    (outside / "canary").write_text("untouched")
    site = Site(project, roots=("data",))
    (project / "data").mkdir()
    fuzzer = Fuzzer(random.Random(20_261_123), tmp_path / "case")
    canary = snapshot_tree(outside, leave_out=(b"project",))
    refused = 0
    for number in range(cases):
        path = fuzzer.next_case()
        try:
            unpack_apart(path, tmp_path / "staging", site)
        except ToombosError:
            refused += 1
        except Exception as error:
            pytest.fail(f"case {number} ({fuzzer.last}): {error!r}")
    assert snapshot_tree(outside, leave_out=(b"project",)) == canary
    assert sorted(p.name for p in tmp_path.iterdir()) == ["case", "outside"]
    assert refused > cases * 0.7, "the fuzzer makes too many sound archives"


def unpack_apart(path: Path, staging: Path, site: Site) -> None:
    """Unpack like a restore, into an empty directory, and assert that it contains no more than was declared."""
    staging.mkdir()
    try:
        with Archive(path) as archive:
            places = {root: bytes(staging) + b"/%d" % n for n, root in enumerate(archive.roots)}
            declared = archive.tail.data_bytes
            if declared > 1 << 20:
                return  # a restore checks the free space first
            StagingArea(archive, places, Silent()).unpack()
            files = (p.lstat() for p in staging.rglob("*") if p.is_file() and not p.is_symlink())
            assert sum(min(one.st_size, one.st_blocks * 512) for one in files) <= declared  # holes take no space
    finally:
        remove_tree(staging)


class Fuzzer:
    """Makes archives with one to three corruptions: names, numbers, links, blocks, frames, index, bytes, lengths."""

    NAMES = ("data/x", "../x", "/x", "data/../x", "data//x", "x", "data", "data/\x00", "data/é", ".", "", "data/l/x")
    TARGETS = ("x", "/etc", "..", "../..", "x/../../..", "", "l")

    def __init__(self, draw: random.Random, path: Path) -> None:
        self.draw, self.path, self.last = draw, path, ""

    def next_case(self) -> Path:
        kind = self.draw.choice(("members", "members", "stream", "manifest", "index", "bytes", "cut", "tail", "frames"))
        self.last = kind
        members = [DATA, link("data/l", "x"), plain("data/a"), (file_entry("data/b", b"b" * 700), b"b" * 700)]
        if kind == "members":
            members += [self._member() for _ in range(self.draw.randint(1, 3))]
        falsify = {
            "stream": {"stream": self._mutate},
            "manifest": {"manifest": self._mutate},
            "index": {"tail": self._index},
        }
        try:
            build(self.path, members, **falsify.get(kind, {}))
        except (ValueError, OverflowError, UnicodeError):
            build(self.path, members[:4], stream=self._mutate)
        content = self.path.read_bytes()
        if kind == "bytes":
            content = self._mutate(content)
        elif kind == "cut":
            content = content[: self.draw.randrange(len(content))]
        elif kind == "tail":
            body, footer = content[:-200], self._mutate(content[-200:-16])
            content = body + raw_tail(footer)
        elif kind == "frames":
            extra = zstd.compress(bytes(self.draw.choice((1, 512, 1 << 16))))
            at = self.draw.randrange(len(content))
            content = content[:at] + extra + content[at:]
        self.path.write_bytes(content)
        return self.path

    def _member(self) -> tuple[Entry, bytes]:
        name = self.draw.choice(self.NAMES)
        if self.draw.random() < 0.3:
            return link(name, self.draw.choice(self.TARGETS))
        content = b"c" * self.draw.choice((0, 1, 511, 512, 513, 2000))
        entry = file_entry(name, content)
        if self.draw.random() < 0.4:
            entry = msgspec.structs.replace(entry, size=self.draw.choice((0, 1, 2**31, 2**62, len(content) + 1)))
        elif self.draw.random() < 0.4:
            start, length = self.draw.choice((0, 512, 5, -512)), self.draw.choice((len(content), 0, 512, 2**62))
            more = self.draw.choice(((), ((start + length, 512),), ((0, 512),)))
            size = self.draw.choice((start + length, start + length + 4096, 512))
            entry = msgspec.structs.replace(entry, data=((start, length), *more), size=size)
        return entry, content

    def _index(self, tail: Tail) -> Tail:
        numbers = (0, -1, 1, 2, 7, 2**31, 2**63 - 1)
        field = self.draw.choice(("manifest_frame", "manifest_bytes", "files", "data_bytes", "frames", "min_reader"))
        if field == "frames":
            frames = [list(frame) for frame in tail.frames]
            self.draw.choice(frames)[self.draw.randrange(2)] = self.draw.choice(numbers)
            return msgspec.structs.replace(tail, frames=tuple(tuple(frame) for frame in frames))
        return msgspec.structs.replace(tail, **{field: self.draw.choice(numbers)})

    def _mutate(self, data: bytes) -> bytes:
        mutable = bytearray(data)
        for _ in range(self.draw.randint(1, 3)):
            at = self.draw.randrange(len(mutable) or 1)
            action = self.draw.randrange(4)
            if action == 0 and mutable:
                mutable[at] ^= 1 << self.draw.randrange(8)
            elif action == 1:
                mutable[at : at + self.draw.randint(1, 40)] = b""
            elif action == 2:
                mutable[at:at] = self.draw.randbytes(self.draw.randint(1, 40))
            else:
                mutable[at : at + 12] = self.draw.choice((b"77777777777\0", b"\x80" + b"\xff" * 11, bytes(12)))
        return bytes(mutable)
