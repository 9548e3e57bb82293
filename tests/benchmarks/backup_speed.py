"""Time, size and memory of backups and restores beside tar, restic and borg, in alternation on the same trees.

The reference for a restore is `tar --zstd -x` of the same archive into a new directory: it checks nothing, keeps
no earlier files and lets the kernel decide when the files reach the disk. restic and borg take part if they are
installed; borg does not encrypt here. Each part begins with the load of the machine.

usage: python -m tests.benchmarks.backup_speed [--mb 380] [--rounds 3] [--files 50000] [--hole-gb 10] [--nights 30]

0 leaves a part out.
"""

import argparse
import json
import os
import random
import shutil
import sqlite3
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.backup_forge import build
from tests.support.runner import TOOMBOS
from toombos_cli.backup.archive.format import Entry, Header, Root
from toombos_cli.backup.archive.writer import ArchiveWriter

WORDS = (
    *("generated", "newsletter", "web", "social", "publisher", "crm", "platform", "request", "completed"),
    *("status", "retry", "breaker", "document", "fetch", "cache", "warm", "tone"),
)
TREE = ("toombos.toml", "data", "logs")
MIB = 1 << 20


@dataclass
class Stopwatch:
    """The wall and processor times in seconds and the largest memory in MiB of programs, by name."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    processor: dict[str, list[float]] = field(default_factory=dict)
    memory: dict[str, int] = field(default_factory=dict)

    def run(self, name: str, *argv: object, at: Path | None = None, status: int = 0) -> None:
        """Run a program that ends with this status."""
        started = time.perf_counter()
        with tempfile.TemporaryFile() as errors:
            process = subprocess.Popen([*map(str, argv)], cwd=at, stdout=subprocess.DEVNULL, stderr=errors)
            _, found, usage = os.wait4(process.pid, 0)
            self.seconds.setdefault(name, []).append(time.perf_counter() - started)
            self.processor.setdefault(name, []).append(usage.ru_utime + usage.ru_stime)
            process.returncode = os.waitstatus_to_exitcode(found)
            errors.seek(0)
            assert process.returncode == status, f"{argv}: {errors.read().decode()}"
        self.memory[name] = max(self.memory.get(name, 0), usage.ru_maxrss >> 10)

    def median(self, name: str) -> float:
        return statistics.median(self.seconds[name])

    def show(self) -> None:
        for name, seconds in self.seconds.items():
            processor = statistics.median(self.processor[name])
            print(f"  {name:<28} {statistics.median(seconds):7.2f} s {processor:7.2f} s CPU {self.memory[name]:5} MiB")

    def compare(self, goals: dict[tuple[str, str], float]) -> None:
        """Print how many times as fast as a reference each program is, and how many times it should be."""
        for (reference, name), goal in goals.items():
            pairs = zip(self.seconds[reference], self.seconds[name], strict=True)
            ratio = statistics.median(one / other for one, other in pairs)
            print(f"  {reference + ' / ' + name:<48} {ratio:5.2f}   goal {goal}   {'ok' if ratio >= goal else 'SHORT'}")


def part(title: str) -> Stopwatch:
    """Print the title of a part with the machine's load, and return a new stopwatch."""
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    print(f"\n{title} ({os.cpu_count()} cores, load {load})", flush=True)
    return Stopwatch()


@dataclass(frozen=True)
class Keeper:
    """A program that keeps snapshots of a tree."""

    name: str
    repository: Path
    initialise: tuple[str, ...]
    save: tuple[str, ...]
    restore: tuple[str, ...]

    @property
    def size(self) -> int:
        """The space of the repository on the disk, in bytes; what files share is counted once by none of these."""
        return sum(path.lstat().st_blocks * 512 for path in self.repository.rglob("*") if path.is_file())


def keepers(project: Path, scratch: Path) -> Iterator[Keeper]:
    """Yield toombos, and restic and borg if they are installed, each with a new repository."""
    toombos = (*map(str, TOOMBOS), "--project", str(project), "--json")
    yield Keeper("toombos", project / "backups", (), (*toombos, "backup"), ())
    place = Path(tempfile.mkdtemp(dir=scratch))
    repository = str(place / "restic")
    restic = ("restic", "--quiet", "--repo", repository, "--cache-dir", str(place / "cache"))
    os.environ["RESTIC_PASSWORD"] = "benchmark"
    os.environ |= {"BORG_BASE_DIR": str(place / "base"), "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes"}
    if shutil.which("restic"):
        save, back = (*restic, "backup", *TREE), (*restic, "restore", "latest", "--target", ".")
        yield Keeper("restic", Path(repository), (*restic, "init"), save, back)
    if shutil.which("borg"):
        repository = str(place / "borg")
        save = ("borg", "create", f"{repository}::{{now:%Y-%m-%dT%H:%M:%S.%f}}", *TREE)
        yield Keeper("borg", Path(repository), ("borg", "init", "-e", "none", repository), save, ())


def plant(project: Path, megabytes: int) -> Path:
    """Create nine tenths JSON logs and one tenth database."""
    draw = random.Random(1)
    for directory in ("data", "logs"):
        (project / directory).mkdir(parents=True)
    (project / "toombos.toml").write_text('extends = "toombos"\n')
    for name in ("app", "crm", "platform"):
        grow(project / "logs" / f"{name}.log", megabytes * 300_000, draw)
    with closing(sqlite3.connect(project / "data" / "history.db")) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, body TEXT)")
        rows = ((" ".join(draw.choices(WORDS, k=60)),) for _ in range(megabytes * 200))
        database.executemany("INSERT INTO t (body) VALUES (?)", rows)
        database.commit()
    return project


def grow(log: Path, size_bytes: int, draw: random.Random) -> None:
    """Append about this many bytes of JSON lines to a log."""
    with log.open("a") as file:
        end = file.tell() + size_bytes
        while file.tell() < end:
            lines = (
                {
                    "ts": f"2026-11-23T10:{draw.randint(0, 59):02d}:{draw.random() * 60:06.3f}Z",
                    "level": draw.choice(["INFO"] * 9 + ["ERROR"]),
                    "rid": f"{draw.getrandbits(64):016x}",
                    "msg": " ".join(draw.choices(WORDS, k=8)),
                }
                for _ in range(min(2000, 1 + (end - file.tell()) // 150))
            )
            file.write("".join(json.dumps(line) + "\n" for line in lines))


def grow_all(logs: Iterable[Path], size_bytes: int, draw: random.Random) -> None:
    for log in logs:
        grow(log, size_bytes, draw)


def newest_archive(project: Path) -> Path:
    return max((project / "backups").glob("*.tar.zst"), key=lambda path: path.stat().st_mtime_ns)


def fresh(project: Path) -> Path:
    """Return a new empty directory. Old ones stay until the end: deleting them would keep the disk busy."""
    return Path(tempfile.mkdtemp(dir=project.parent))


def compare_whole(project: Path, rounds: int, goals: dict[tuple[str, str], float], what: str) -> None:
    """Compare first backups and restores with tar's."""
    times, tarball, packed = part(what), project.parent / "tree.tgz", project.parent / "tree.tzst"
    tree = [name for name in TREE if (project / name).exists()]
    for _ in range(rounds):
        shutil.rmtree(project / "backups", ignore_errors=True)
        times.run("toombos backup", *TOOMBOS, "--project", project, "--json", "backup")
        times.run("tar -czf", "tar", "-czf", tarball, *tree, at=project)
        times.run("tar --zstd", "tar", "--zstd", "-cf", packed, *tree, at=project)
        archive = newest_archive(project)
        times.run("restore, empty project", *TOOMBOS, "--project", fresh(project), "--json", "restore", archive)
        times.run("tar --zstd -x", "tar", "--zstd", "-xf", archive, at=fresh(project))
        times.run("restore, live tree", *TOOMBOS, "--project", project, "--json", "restore", "-y", archive)
    times.show()
    times.compare(goals)
    print(f"  archive / tarball {archive.stat().st_size / tarball.stat().st_size:.3f}   goal at most 1.08")


def compare_small(scratch: Path, files: int, rounds: int) -> None:
    """Compare the cost per file when almost nothing is read from each."""
    draw, project = random.Random(2), scratch / "small" / "project"
    (project / "logs").mkdir(parents=True)
    (project / "toombos.toml").write_text('extends = "toombos"\n')
    for number in range(files):
        directory = project / "data" / f"{number // 500:04d}"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"{number:06d}.json").write_text(" ".join(draw.choices(WORDS, k=200))[:1024])
    goals = {("tar -czf", "toombos backup"): 0.3, ("tar --zstd -x", "restore, empty project"): 0.3}
    compare_whole(project, rounds, goals, f"{files} files of 1 KiB")


def compare_hole(scratch: Path, gigabytes: int, rounds: int) -> None:
    """Compare a file of a hole with 100 MiB of data with `tar --sparse`."""
    project = scratch / "hole" / "project"
    (project / "data").mkdir(parents=True)
    (project / "toombos.toml").write_text('extends = "toombos"\n')
    with (project / "data" / "disk.img").open("wb") as file:
        file.truncate(gigabytes << 30)
        for number in range(100):
            file.seek(number * (gigabytes << 30) // 100)
            file.write(random.Random(number).randbytes(MIB))
    times = part(f"a hole of {gigabytes} GB with 100 MiB of data")
    for _ in range(rounds):
        shutil.rmtree(project / "backups", ignore_errors=True)
        times.run("toombos backup", *TOOMBOS, "--project", project, "--json", "backup")
        tarball = project.parent / "sparse.tzst"
        times.run("tar --sparse --zstd", "tar", "--sparse", "--zstd", "-cf", tarball, "data", at=project)
        archive = newest_archive(project)
        times.run("toombos restore", *TOOMBOS, "--project", fresh(project), "--json", "restore", archive)
        times.run("tar --zstd -x", "tar", "--zstd", "-xf", tarball, at=fresh(project))
    times.show()
    times.compare({("tar --sparse --zstd", "toombos backup"): 0.5, ("tar --zstd -x", "toombos restore"): 0.5})


def compare_nights(project: Path, nights: int, change: Callable[[], None], what: str) -> None:
    """Print the time of each night's backup, and the size after it, for each program that keeps snapshots."""
    times = part(what)
    shutil.rmtree(project / "backups", ignore_errors=True)
    taking_part = list(keepers(project, project.parent))
    for keeper in taking_part:
        if keeper.initialise:
            subprocess.run(keeper.initialise, check=True, capture_output=True)
    for night in range(nights):
        change()
        for keeper in taking_part:
            times.run(keeper.name, *keeper.save, at=project)
        row = (f"{k.name} {times.seconds[k.name][-1]:6.2f} s {k.size / MIB:7.1f} MiB" for k in taking_part)
        print(f"  night {night + 1:2}   " + "   ".join(row), flush=True)
    for keeper in taking_part:
        later = statistics.median(times.seconds[keeper.name][1:])
        processor = statistics.median(times.processor[keeper.name][1:])
        print(f"  {keeper.name:<8} later nights: {later:.2f} s, {processor:.2f} s CPU, {times.memory[keeper.name]} MiB")
        if keeper.restore:
            times.run(f"{keeper.name} restore", *keeper.restore, at=fresh(project))
    if "restic" in times.seconds:
        pairs = zip(times.seconds["toombos"][1:], times.seconds["restic"][1:], strict=True)
        print(f"  toombos / restic {statistics.median(a / b for a, b in pairs):.2f}   goal at most 1.5")


def compare_hostile(scratch: Path) -> None:
    """Print the memory of verifying archives that are much larger than they look."""
    times, project = part("hostile archives"), scratch / "hostile"
    (project / "data").mkdir(parents=True)
    (project / "toombos.toml").write_text('extends = "toombos"\n')
    head = Header(
        format=1,
        min_reader=1,
        created_at="2026-01-01T00:00:00+00:00",
        kind="regular",
        host="",
        version="1",
        roots=(Root(path="data"),),
    )
    with (project / "zeros.tar.zst").open("wb") as out:
        writer = ArchiveWriter(out, head)
        writer.add(Entry(path="data", type="dir", mode=0o755))
        size = 4 << 30
        writer.add(
            Entry(path="data/zeros", type="file", mode=0o644, size=size), (bytes(MIB) for _ in range(size >> 20))
        )
        writer.finish()
    times.run("4 GiB of zeros", *TOOMBOS, "--project", project, "backup", "verify", project / "zeros.tar.zst")
    names = ",".join(f'{{"path":"data/{number}","type":"dir","mode":493}}' for number in range(300_000))
    build(
        project / "names.tar.zst",
        [(Entry(path="data", type="dir", mode=0o755), b"")],
        manifest=lambda encoded: encoded.replace(b'"entries":[', b'"entries":[' + names.encode() + b","),
    )
    verify = (*TOOMBOS, "--project", project, "backup", "verify", project / "names.tar.zst")
    times.run("300,000 names of nothing", *verify, status=1)
    times.show()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for option, default in (("mb", 380), ("rounds", 3), ("files", 50_000), ("hole-gb", 10), ("nights", 30)):
        parser.add_argument(f"--{option}", type=int, default=default)
    options = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # compiled once, as an installation has it
    scratch = Path(tempfile.mkdtemp(prefix="backup-speed-"))
    draw = random.Random(3)
    try:
        if options.mb:
            project = plant(scratch / "whole" / "project", options.mb)
            goals = {
                ("tar -czf", "toombos backup"): 6.0,
                ("tar --zstd -x", "restore, empty project"): 0.9,
                ("tar --zstd -x", "restore, live tree"): 0.6,
            }
            compare_whole(project, options.rounds, goals, f"{options.mb} MB of logs and a database")
            log = project / "logs" / "app.log"
            compare_nights(project, 3, lambda: grow_all([log], 100, draw), "three nights, a line more each")
        if options.nights:
            project = plant(scratch / "nights" / "project", max(options.mb, 40))
            logs = sorted((project / "logs").iterdir())
            title = f"{options.nights} nights, 3 MiB of logs more each"
            compare_nights(project, options.nights, lambda: grow_all(logs, MIB, draw), title)
        if options.files:
            compare_small(scratch, options.files, options.rounds)
        if options.hole_gb:
            compare_hole(scratch, options.hole_gb, options.rounds)
        compare_hostile(scratch)
    finally:
        shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
