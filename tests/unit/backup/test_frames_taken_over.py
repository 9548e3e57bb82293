"""A backup reuses the compressed frames of unchanged files from the last good archive, and no others."""

import os
import random
import shutil
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from backports import zstd

from tests.support.backup_site import Site, digest
from tests.support.programs import needs
from toombos_cli.backup.archive import frames
from toombos_cli.backup.archive.earlier_frames import EarlierFrames
from toombos_cli.backup.archive.format import Tail
from toombos_cli.backup.archive.reader import Archive, read_tail, verify_contents
from toombos_cli.backup.directory.store import list_archives
from toombos_cli.backup.observer import Silent

LINES = 400_000
"""Of 50 bytes each: three frames."""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of a log of three frames, and of small files of several more."""
    project = tmp_path_factory.mktemp("tree")
    (project / "logs").mkdir()
    (project / "data").mkdir()
    draw = random.Random(4)
    log = "".join(f"line {number:7} {draw.getrandbits(128):032x} end\n" for number in range(LINES))
    (project / "logs" / "app.log").write_text(log)
    for number in range(400):
        (project / "data" / f"{number:04}.bin").write_bytes(draw.randbytes(10_000))
    return project


@pytest.fixture
def site(tree: Path, tmp_path: Path) -> Site:
    """A copy of the tree."""
    return Site(Path(shutil.copytree(tree, tmp_path / "project")))


def contents_anew(site: Site, monkeypatch: pytest.MonkeyPatch) -> tuple[int, Path]:
    """Back up; return the size of the content that was compressed for it, without the manifest, and the archive."""
    compressed: list[int] = []
    real = zstd.compress

    def counted(content: bytearray, **options: object) -> bytes:
        compressed.append(len(content))
        return real(content, **options)  # type: ignore[arg-type]  # passed through

    monkeypatch.setattr(frames.zstd, "compress", counted)
    archive = Path(site.backup().archive)
    monkeypatch.setattr(frames.zstd, "compress", real)
    tail = read_tail(archive)
    return sum(compressed) - sum(size for _, size in tail.frames[tail.manifest_frame :]), archive


def insert_line(log: Path) -> None:
    content = log.read_bytes()
    log.write_bytes(content[: 5 * 50] + b"a new line\n" + content[5 * 50 :])


def append_line(log: Path) -> None:
    with log.open("ab") as file:
        file.write(b"a new line\n")


def change_byte(log: Path) -> None:
    with log.open("r+b") as file:
        file.seek(9 << 20)
        file.write(b"#")


def data(log: Path) -> Path:
    return log.parent.parent / "data"


CHANGES: dict[str, tuple[Callable[[Path], object], float]] = {
    "nothing": (lambda log: None, 0.1),
    "the log's time alone": (lambda log: log.touch(), 2),
    "a line at the end": (append_line, 9),
    "a line near the beginning": (insert_line, 9),
    "a byte in the middle": (change_byte, 9),
    "the log's name": (lambda log: log.rename(log.with_suffix(".1")), 2),
    "one small file": (lambda log: (data(log) / "0300.bin").write_bytes(b"new"), 3.5),
    "a small file comes": (lambda log: (data(log) / "0001a").write_bytes(b"new"), 3.5),
    "a small file goes": (lambda log: (data(log) / "0001.bin").unlink(), 3.5),
}


@pytest.mark.parametrize(("change", "most_mib"), CHANGES.values(), ids=CHANGES.keys())
def test_only_what_changed_is_compressed_again(
    site: Site, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], object], most_mib: float
) -> None:
    first, _ = contents_anew(site, monkeypatch)
    assert first > 20 << 20
    change(site.project / "logs" / "app.log")
    anew, archive = contents_anew(site, monkeypatch)
    assert anew <= most_mib * (1 << 20)
    with Archive(archive) as opened:
        verify_contents(opened, Silent())


def test_an_archive_with_frames_taken_over_stands_alone(site: Site, tmp_path: Path) -> None:
    first = Path(site.backup().archive)
    second = Path(site.backup().archive)
    first.unlink()
    before = site.tree()
    by_hand = tmp_path / "by hand"
    by_hand.mkdir()
    needs("zstd")
    subprocess.run([needs("tar"), "--zstd", "-xpf", second, "-C", by_hand], check=True)
    assert digest(by_hand / "logs" / "app.log") == digest(site.project / "logs" / "app.log")
    for name in ("logs", "data"):
        shutil.rmtree(site.project / name)
    site.restore(second)
    assert site.tree() == before


@pytest.mark.parametrize("at", [0.1, 0.5, 0.9], ids=["near the beginning", "in the middle", "near the end"])
def test_a_damaged_frame_is_not_taken_over_and_its_archive_counts_as_bad(site: Site, at: float) -> None:
    first = Path(site.backup().archive)
    kept = first.stat()
    with first.open("r+b") as file:
        file.seek(int(kept.st_size * at))
        file.write(bytes(200))
    os.utime(first, ns=(kept.st_atime_ns, kept.st_mtime_ns))  # as rot on the disk leaves it
    report = site.backup()
    assert report.known_good
    newest, oldest = list_archives(site.place)
    assert newest.known_good
    assert "damaged" in oldest.problem
    with Archive(Path(report.archive)) as archive:
        verify_contents(archive, Silent())


def test_a_frame_with_the_checksum_of_another_content_is_not_taken_over(tmp_path: Path) -> None:
    """The checksum in the index only finds a frame; the frame's own content decides."""
    one, other = b"a" * 1000, b"b" * 1000
    path = tmp_path / "archive"
    path.write_bytes(zstd.compress(one))
    tail = Tail(
        format=1,
        min_reader=1,
        created_at="",
        kind="regular",
        files=1,
        data_bytes=0,
        complete=True,
        manifest_frame=1,
        manifest_bytes=1,
        body_sha256="",
        frames=((path.stat().st_size, 1000),),
        crc32s=(zlib.crc32(other),),
    )
    with path.open("rb") as file:
        earlier = EarlierFrames(file.fileno(), tail)
        assert earlier.take(other, zlib.crc32(other)) is None
