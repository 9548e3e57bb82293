"""Time, size and memory of backup, restore and list compared with GNU tar on the same tree, in alternation.

The reference for a restore is `tar --zstd -x` of the same archive into a new directory: it checks nothing, keeps
no earlier files and lets the kernel decide when the files reach the disk.

usage: python tests/benchmarks/backup_speed.py [--mb 500] [--rounds 3] [--files 50000]

`--files` adds backup and restore of a tree with that many files of 1 KiB.
"""

import argparse
import json
import os
import random
import resource
import shutil
import sqlite3
import statistics
import subprocess
import tempfile
import time
from contextlib import closing
from pathlib import Path

from tests.support.runner import TOOMBOS

WORDS = (
    "generated",
    "newsletter",
    "web",
    "social",
    "publisher",
    "crm",
    "platform",
    "request",
    "completed",
    "status",
    "retry",
    "breaker",
    "document",
    "fetch",
    "cache",
    "warm",
    "tone",
)


def plant(project: Path, megabytes: int) -> int:
    """Create nine tenths JSON logs and one tenth database; return the bytes."""
    draw = random.Random(1)
    (project / "logs").mkdir()
    (project / "data").mkdir()
    for name in ("app", "crm", "platform"):
        with (project / "logs" / f"{name}.log").open("w") as log:
            while log.tell() < megabytes * 300_000:
                lines = (
                    {
                        "ts": f"2026-11-23T10:{draw.randint(0, 59):02d}:{draw.random() * 60:06.3f}Z",
                        "level": draw.choice(["INFO"] * 9 + ["ERROR"]),
                        "rid": f"{draw.getrandbits(64):016x}",
                        "msg": " ".join(draw.choices(WORDS, k=8)),
                    }
                    for _ in range(2000)
                )
                log.write("".join(json.dumps(line) + "\n" for line in lines))
    with closing(sqlite3.connect(project / "data" / "history.db")) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, body TEXT)")
        rows = ((" ".join(draw.choices(WORDS, k=60)),) for _ in range(megabytes * 200))
        database.executemany("INSERT INTO t (body) VALUES (?)", rows)
        database.commit()
    return sum(path.stat().st_size for path in project.rglob("*") if path.is_file())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mb", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--files", type=int, default=0)
    options = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="backup-speed-"))
    try:
        compare(scratch, options.mb, options.rounds)
        if options.files:
            compare_small(scratch / "small", options.files, options.rounds)
    finally:
        shutil.rmtree(scratch)


def compare(scratch: Path, megabytes: int, rounds: int) -> None:
    project, tarball = scratch / "project", scratch / "tree.tgz"
    project.mkdir()
    (project / "toombos.toml").write_text('extends = "toombos"\n')
    size = plant(project, megabytes)
    times: dict[str, list[float]] = {}
    for _ in range(rounds):
        shutil.rmtree(project / "backups", ignore_errors=True)
        note(times, "backup, read back", *TOOMBOS, "--project", project, "--json", "backup")
        (archive,) = (project / "backups").glob("*.tar.zst")
        note(times, "tar -czf", "tar", "-czf", tarball, "-C", project, "logs", "data", "toombos.toml")
        note(times, "restore, empty project", *TOOMBOS, "--project", fresh(project), "--json", "restore", archive)
        note(times, "tar -xzf", "tar", "-xzf", tarball, "-C", fresh(project))
        note(times, "tar --zstd -x", "tar", "--zstd", "-xf", archive, "-C", fresh(project))
        note(times, "restore, over a live tree", *TOOMBOS, "--project", project, "--json", "restore", archive)
    for number in range(100):
        shutil.copy(archive, project / "backups" / f"toombos-20260101T000000Z-{number:04x}.tar.zst")
    for _ in range(rounds):
        note(times, "list of 100", *TOOMBOS, "--project", project, "backup", "list")
        note(times, "toombos --version", *TOOMBOS, "--version")
    median = {name: statistics.median(measured) for name, measured in times.items()}
    print(f"{size >> 20} MiB on {os.cpu_count()} cores, medians of {rounds}")
    for name, seconds in median.items():
        print(f"  {name:<28} {seconds:6.2f} s")
    print(f"tar -czf / backup          {median['tar -czf'] / median['backup, read back']:.2f}")
    print(f"tar -xzf / restore         {median['tar -xzf'] / median['restore, empty project']:.2f}")
    print_restores(median)
    print(f"archive / tarball          {archive.stat().st_size / tarball.stat().st_size:.3f}")
    print(f"largest child              {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10} MiB")


def compare_small(project: Path, files: int, rounds: int) -> None:
    """Measure the cost per file when almost nothing is read from each."""
    draw = random.Random(2)
    project.mkdir()
    (project / "toombos.toml").write_text('extends = "toombos"\n')
    for number in range(files):
        directory = project / "data" / f"{number // 500:04d}"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"{number:06d}.json").write_text(" ".join(draw.choices(WORDS, k=200))[:1024])
    times: dict[str, list[float]] = {}
    for _ in range(rounds):
        shutil.rmtree(project / "backups", ignore_errors=True)
        note(times, "backup, read back", *TOOMBOS, "--project", project, "--json", "backup")
        note(times, "tar -czf", "tar", "-czf", project / "tree.tgz", "-C", project, "data", "toombos.toml")
        note(times, "tar --zstd", "tar", "--zstd", "-cf", project / "tree.tzst", "-C", project, "data", "toombos.toml")
        (archive,) = (project / "backups").glob("*.tar.zst")
        note(times, "restore, empty project", *TOOMBOS, "--project", fresh(project), "--json", "restore", archive)
        note(times, "tar --zstd -x", "tar", "--zstd", "-xf", archive, "-C", fresh(project))
        note(times, "restore, over a live tree", *TOOMBOS, "--project", project, "--json", "restore", archive)
    median = {name: statistics.median(measured) for name, measured in times.items()}
    print(f"{files} files of 1 KiB")
    for name, seconds in median.items():
        print(f"  {name:<28} {seconds:6.2f} s")
    print(f"tar -czf / backup          {median['tar -czf'] / median['backup, read back']:.2f}")
    print(f"tar --zstd / backup        {median['tar --zstd'] / median['backup, read back']:.2f}")
    print_restores(median)


def print_restores(median: dict[str, float]) -> None:
    """Print both kinds of restore compared with tar."""
    for name in ("restore, empty project", "restore, over a live tree"):
        print(f"tar --zstd -x / {name:<26} {median['tar --zstd -x'] / median[name]:.2f}")


def fresh(beside: Path) -> Path:
    """Return a new empty directory. Old ones stay until the end: deleting them would keep the disk busy."""
    return Path(tempfile.mkdtemp(dir=beside.parent))


def note(times: dict[str, list[float]], name: str, *argv: object) -> None:
    """Run a program and add its wall time, in seconds, to those of this name."""
    started = time.perf_counter()
    subprocess.run([*map(str, argv)], check=True, capture_output=True)
    times.setdefault(name, []).append(time.perf_counter() - started)


if __name__ == "__main__":
    main()
