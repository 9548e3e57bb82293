"""A backup and its restore give the same bytes, modes and times, through toombos and through GNU tar by hand."""

# Names are raw bytes, which pathlib does not accept.
# ruff: noqa: PTH101, PTH102, PTH118, PTH119, PTH123, PTH208, PTH211

import contextlib
import os
import struct
import subprocess
import tempfile
import traceback
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.backup_forge import build, file_entry
from tests.support.backup_site import Site, snapshot_tree
from tests.support.programs import needs
from tests.support.runner import run_toombos
from toombos_cli.backup.archive.format import Entry
from toombos_cli.backup.archive.reader import read_tail
from toombos_cli.backup.archive.restore_txt import RESTORE_TXT
from toombos_cli.backup.mounts import mounts_below

pytestmark = pytest.mark.timeout(900)  # many processes or cases: slow on a busy machine

NAMES = st.one_of(
    st.sampled_from(
        ["caf\udce9", "new\nline", "-rf", "🗄 archive", "n" * 255, " ", "*", "a\\b", "\udcff\udcfe", "'\"", "ü" * 120]
    ),
    st.text(st.characters(exclude_characters="/\0", exclude_categories=("Cs",)), min_size=1, max_size=30).filter(
        lambda name: name not in (".", "..") and len(os.fsencode(name)) <= 255
    ),
).map(os.fsencode)
TIMES = st.integers(-(2**31), 15_032_385_535).flatmap(
    lambda s: st.integers(0, 999_999_999).map(lambda n: s * 10**9 + n)
)
MODES = st.sampled_from([0o600, 0o644, 0o755, 0o400, 0o640, 0o1644, 0o4755])
ATTRIBUTES = st.dictionaries(
    st.sampled_from(["user.origin", "user.ü 2", "user." + "n" * 200]), st.binary(max_size=60), max_size=2
)
OWNERS = st.sampled_from([(0, 0), (65534, 65534), (1234, 0), (2**31, 4321)])
FILES = st.tuples(
    st.just("file"),
    st.binary(max_size=2000) | st.sampled_from([0, 512, 513, 70_000]).map(bytes),
    ATTRIBUTES,
    OWNERS,
    MODES,
    TIMES,
)
TARGETS = [b"target", b"./near", b"deep/er", b"l" * 150, b"caf\xe9", b"/etc/passwd", b"../../x", b"a/../b"]
LINKS = st.tuples(
    st.just("link"),
    st.sampled_from(TARGETS),
    TIMES,
)
HOLES = st.tuples(st.just("sparse"), st.integers(2, 40), st.just({}), OWNERS, MODES, TIMES)
FIFOS = st.tuples(st.just("fifo"), st.sampled_from([0o600, 0o644]), TIMES)
HARD = st.tuples(st.just("hard"))
NODES = st.recursive(
    FILES | LINKS | HOLES | FIFOS | HARD,
    lambda inner: st.tuples(
        st.sampled_from(["dir", "dir", "dir", "mount"]),
        st.dictionaries(NAMES, inner, max_size=4),
        ATTRIBUTES,
        OWNERS,
        st.sampled_from([0o755, 0o700, 0o2750]),
        TIMES,
    ),
    max_leaves=12,
)
TREES = st.dictionaries(NAMES, NODES, max_size=5)
Tree = dict[bytes, tuple[Any, ...]]


class Planter:
    """Creates trees on disk. Root gives files away and mounts directories; another user keeps and makes them."""

    def __init__(self, volumes: bytes) -> None:
        self._volumes, self.mounted = volumes, list[bytes]()

    def plant(self, directory: bytes, tree: Tree) -> None:
        """Create the tree. Times are set last, because creating an entry changes the time of its directory."""
        for name, (kind, *facts) in tree.items():
            path = os.path.join(directory, name)
            if kind in ("dir", "mount"):
                os.mkdir(path)
                if kind == "mount" and os.geteuid() == 0:
                    self._mount(path)
                self.plant(path, facts[0])
            elif kind == "link":
                os.symlink(facts[0], path)
            elif kind == "fifo":
                os.mkfifo(path)
            elif kind == "hard":
                first = os.path.join(directory, b"first")
                with open(first, "ab"):
                    pass
                os.link(first, path)
                continue
            else:
                fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL)
                if kind == "sparse":
                    os.ftruncate(fd, facts[0] << 16)
                    os.pwrite(fd, b"island", 1 << 16)
                else:
                    os.write(fd, facts[0])
                os.close(fd)
            if kind in ("dir", "mount", "file", "sparse"):
                _describe(path, *facts[1:3])
            if kind != "link":
                os.chmod(path, facts[-2])
            os.utime(path, ns=(facts[-1], facts[-1]), follow_symlinks=False)

    def _mount(self, path: bytes) -> None:
        volume = os.path.join(self._volumes, b"%d" % len(self.mounted))
        os.mkdir(volume)
        if subprocess.run(["mount", "--bind", volume, path], capture_output=True, check=False).returncode == 0:
            self.mounted.append(path)

    def unmount(self) -> None:
        for path in reversed(self.mounted):
            subprocess.run(["umount", "-l", path], capture_output=True, check=False)

    def empty(self, directory: bytes) -> None:
        """Remove everything but the mount points and what they are in."""
        for name in os.listdir(directory):
            path = os.path.join(directory, name)
            if any(mount == path or mount.startswith(path + b"/") for mount in self.mounted):
                self.empty(path)
            else:
                subprocess.run(["rm", "-rf", "--", path], check=True)


def _describe(path: bytes, attributes: dict[str, bytes], owner: tuple[int, int]) -> None:
    if os.geteuid() == 0:
        os.chown(path, *owner)
    for name, value in attributes.items():
        with contextlib.suppress(OSError):  # a file system without attributes, or with room for few
            os.setxattr(path, name, value)


def whole(top: Path, leave_out: tuple[bytes, ...] = (b"backups", b"run")) -> dict[bytes, tuple[object, ...]]:
    """Return what `snapshot_tree` does, with owners and attributes."""
    found = snapshot_tree(top, leave_out)
    for name in found:
        path = os.path.join(os.fsencode(top), name)
        status = os.lstat(path)
        names = os.listxattr(path, follow_symlinks=False)
        attributes = {one: os.getxattr(path, one, follow_symlinks=False) for one in names}
        found[name] += (status.st_uid, status.st_gid, attributes)
    return found


@pytest.fixture(scope="module")
def tar() -> str:
    needs("zstd")
    return needs("tar")


def check_round_trip(scratch: Path, tree: Tree) -> None:
    """Back a tree up, unpack it with tar as RESTORE.txt says, and restore it over what is left of it."""
    project, by_hand, volumes = scratch / "project", scratch / "restored", scratch / "volumes"
    for directory in (project / "data", by_hand, volumes):
        directory.mkdir(parents=True)
    planter, data = Planter(os.fsencode(volumes)), os.fsencode(project / "data")
    try:
        planter.plant(data, {n: f for n, f in tree.items() if not (f[0] == "hard" and n == b"first")})
        os.utime(data, ns=(1, 1_700_000_000_123_456_789))
        site = Site(project, roots=("data",))
        before = whole(project)
        report = site.backup()
        assert report.unreadable == ()
        if not report.archive:  # directories alone are not worth an archive
            kinds = {os.path.basename(str(entry[0])) for entry in before.values()}
            assert all(kind == "dir" or kind.startswith("special") for kind in kinds)
            return
        command = next(line for line in RESTORE_TXT.splitlines() if "-C restored" in line)
        unpack = command.strip().replace("ARCHIVE", report.archive)
        unpacked = subprocess.run(["sh", "-c", unpack], cwd=scratch, check=False, capture_output=True)
        assert unpacked.returncode == 0, unpacked.stderr
        assert whole(by_hand, (b"manifest.json", b"RESTORE.txt", b"toombos-backup.json")) == before
        planter.empty(data)
        site.restore(report.archive)
        assert whole(project) == {name: without_set_id(*entry) for name, entry in before.items()}
        assert mounts_below(data) == tuple(sorted(planter.mounted))
    finally:
        planter.unmount()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=TREES)
def test_any_tree_survives_toombos_and_tar(tar: str, tree: Tree) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        check_round_trip(Path(scratch), tree)


@pytest.mark.full  # tar cannot bring back every tree that hypothesis finds for an ordinary user
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=TREES)
def test_any_tree_of_an_ordinary_user_survives_toombos_and_tar(tar: str, tree: Tree) -> None:
    if os.geteuid() != 0:
        pytest.skip("the test above is that of an ordinary user")
    with tempfile.TemporaryDirectory() as other:  # loads every module: the other user may not read the interpreter's
        check_round_trip(Path(other), {b"\xff\n": ("file", b"1", {}, (0, 0), 0o4600, 0)})
    with tempfile.TemporaryDirectory() as scratch:
        os.chown(scratch, 65534, 65534)
        child = os.fork()
        if not child:
            try:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
                check_round_trip(Path(scratch), tree)
            except BaseException:
                Path(scratch, "failure").write_text(traceback.format_exc())
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert status == 0, Path(scratch, "failure").read_text()


def without_set_id(kind: str, *facts: Any) -> tuple[object, ...]:
    """Return an entry as a restore leaves it: a file does not get back the bits that run it as its owner or group."""
    return (kind, facts[0] & ~0o6000, *facts[1:]) if kind == "file" else (kind, *facts)


def test_the_check_of_restore_txt_finds_a_file_that_differs(tmp_path: Path, tar: str) -> None:
    needs("python3")
    project, by_hand = tmp_path / "project", tmp_path / "by hand"
    project.mkdir()
    by_hand.mkdir()
    site = Site(project).fill()
    (project / "data" / os.fsdecode(b"caf\xe9")).write_text("raw name")
    subprocess.run([tar, "--zstd", "-xpf", site.backup().archive, "-C", str(by_hand)], check=True)
    script = RESTORE_TXT.partition('cd restored && python3 -c "')[2].partition('"\n')[0]
    script = "\n".join(line.removeprefix("    ") for line in script.splitlines())
    check = ["python3", "-c", script]
    assert subprocess.run(check, cwd=by_hand, capture_output=True, text=True, check=True).stdout == ""
    (by_hand / "data" / "deep" / "note.txt").write_text("bit rot")
    assert "note.txt" in subprocess.run(check, cwd=by_hand, capture_output=True, text=True, check=True).stdout


def acl(*entries: tuple[int, int, int]) -> bytes:
    """Return a POSIX ACL in the kernel's encoding: version 2, then (tag, rights, id) for each entry."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


NOBODY_MAY_READ = acl((1, 6, 2**32 - 1), (2, 4, 65534), (4, 4, 2**32 - 1), (16, 4, 2**32 - 1), (32, 0, 2**32 - 1))


def test_extended_attributes_and_acls_survive_and_gnu_tar_restores_them(tmp_path: Path) -> None:
    site = Site(tmp_path).fill()
    note, deep, by_hand = tmp_path / "data/deep/note.txt", tmp_path / "data/deep", tmp_path / "by hand"
    plain = Path(site.backup().archive)
    try:
        os.setxattr(note, "user.origin", b"line\n=\xff\0")
        os.setxattr(note, "system.posix_acl_access", NOBODY_MAY_READ)
        os.setxattr(deep, "system.posix_acl_default", NOBODY_MAY_READ)
    except OSError as error:
        pytest.skip(f"this file system keeps no attributes: {error}")
    os.setxattr(tmp_path / "data/history.db", "user.kept", b"also of a database")
    archive = Path(site.backup().archive)
    assert [read_tail(path).min_reader for path in (plain, archive)] == [1, 2]
    mode = note.stat().st_mode
    site.restore(plain)
    assert os.listxattr(note) == []
    preview = site.restore(archive, preview=True)
    assert set(preview.changed) == {"data/deep", "data/deep/note.txt", "data/history.db"}
    site.restore(archive)
    assert os.getxattr(note, "user.origin") == b"line\n=\xff\0"
    assert os.getxattr(note, "system.posix_acl_access") == NOBODY_MAY_READ
    assert os.getxattr(deep, "system.posix_acl_default") == NOBODY_MAY_READ
    assert os.getxattr(tmp_path / "data/history.db", "user.kept") == b"also of a database"
    assert note.stat().st_mode == mode
    assert site.restore(archive, preview=True).changed == ()
    by_hand.mkdir()
    needs("tar")
    command = next(line for line in RESTORE_TXT.splitlines() if "-C restored" in line)
    command = command.replace("ARCHIVE", str(archive)).replace("restored", "'by hand'")
    subprocess.run(["sh", "-c", command], cwd=tmp_path, check=True)
    by_tar = by_hand / "data/deep/note.txt"
    assert os.getxattr(by_tar, "user.origin") == b"line\n=\xff\0"
    assert os.getxattr(by_tar, "system.posix_acl_access") == NOBODY_MAY_READ
    assert os.getxattr(by_tar.parent, "system.posix_acl_default") == NOBODY_MAY_READ
    assert by_tar.stat().st_mode == mode


# The kernel requires the user's entry before the group's: it refuses this ACL on any file system.
OUT_OF_ORDER = acl((4, 0, 2**32 - 1), (1, 6, 2**32 - 1), (2, 4, 65534), (16, 4, 2**32 - 1), (32, 0, 2**32 - 1))


def test_an_acl_that_cannot_be_set_is_reported_and_gives_the_group_no_further_rights(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    members = [
        (Entry(path="data", type="dir", mode=0o755), b""),
        (file_entry("data/a", mode=0o640, xattrs={"system.posix_acl_access": OUT_OF_ORDER}), b"x"),
        (file_entry("data/b", mode=0o640, xattrs={"system.posix_acl_access": OUT_OF_ORDER}), b"x"),
    ]
    report = Site(project).restore(build(tmp_path / "archive", members))
    assert [(one.path, one.what) for one in report.not_set] == [
        ("data/a", "system.posix_acl_access"),
        ("data/b", "system.posix_acl_access"),
    ]
    assert report.verdict.value == "warn"
    assert (project / "data/a").stat().st_mode & 0o777 == 0o600


def test_a_restore_in_a_container_without_the_owner_continues_with_a_warning(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    Site(project).fill()
    apart = [needs("unshare"), "--user", "--map-root-user"]
    if subprocess.run([*apart, "true"], check=False, capture_output=True).returncode:
        pytest.skip("user namespaces are not allowed here")
    other = build(
        tmp_path / "toombos-20260101T000000Z-0000.tar.zst",
        [(Entry(path="data", type="dir", mode=0o755), b""), (file_entry("data/a", uid=4321, gid=4321), b"x")],
    )
    done = run_toombos("restore", "--yes", other, cwd=project, through=apart)
    assert done.returncode == 0, done.stderr
    assert "warning: owner 4321:4321 of data/a could not be set: Invalid argument" in done.stderr
    assert (project / "data" / "a").read_text() == "x"


def test_the_env_file_keeps_its_private_mode(tmp_path: Path) -> None:
    site = Site(tmp_path).fill()
    archive = Path(site.backup().archive)
    assert archive.stat().st_mode & 0o777 == 0o600
    assert archive.parent.stat().st_mode & 0o777 == 0o700
    site.write(".env", "x", mode=0o644)
    site.restore(archive)
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600


def test_an_unreadable_file_makes_the_archive_incomplete_and_never_latest_good(tmp_path: Path) -> None:
    """Root may read everything, so the test makes opening the file fail."""
    site = Site(tmp_path).fill()
    good = site.backup()
    closed = tmp_path / "data" / "closed"
    closed.write_text("secret")
    real_open = os.open

    def refuse(path: object, *args: object, **more: object) -> int:
        if os.fspath(path) == os.fsencode(closed):  # type: ignore[arg-type]  # as os.open takes it
            raise PermissionError(13, "Permission denied", path)
        return real_open(path, *args, **more)  # type: ignore[arg-type]  # as os.open takes it

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.open", refuse)
        report = site.backup()
    assert [(one.path, one.reason) for one in report.unreadable] == [("data/closed", "Permission denied")]
    assert not report.known_good
    assert report.verdict.value == "error"
    assert os.readlink(site.place.latest_good) == Path(good.archive).name  # noqa: PTH115  (the bare text)
    site.restore(report.archive)
    assert closed.read_text() == "secret", "a restore removed what its archive could not read"
