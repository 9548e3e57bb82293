"""Resource use of a process tree, and limits on it."""

from typing import Any

from toombos_cli.manifest.tables.service import Limits
from toombos_cli.processes import ProcessRow
from toombos_cli.supervisor.resource_use import LimitWatch, ResourceSample, Sampler


def row(pid: int, cpu_s: float, rss_mb: int = 10, start_ticks: int = 1) -> ProcessRow:
    return ProcessRow(
        pid=pid,
        parent=1,
        group=pid,
        session=pid,
        start_ticks=start_ticks,
        cpu_s=cpu_s,
        rss_bytes=rss_mb * 1_000_000,
        zombie=False,
    )


def test_cpu_is_the_use_of_all_members_since_the_last_sample() -> None:
    sampler = Sampler()
    assert sampler.take({1: row(1, 5.0), 2: row(2, 1.0)}, now=100.0).cpu_percent is None
    assert sampler.take({1: row(1, 6.0), 2: row(2, 1.5)}, now=110.0).cpu_percent == 15.0


def test_a_reused_pid_is_a_new_process() -> None:
    sampler = Sampler()
    sampler.take({1: row(1, 5.0), 2: row(2, 50.0)}, now=100.0)
    assert sampler.take({1: row(1, 5.0), 2: row(2, 1.0, start_ticks=2)}, now=110.0).cpu_percent == 10.0


def test_memory_is_the_sum_of_the_members() -> None:
    assert Sampler().take({1: row(1, 0.0, 30), 2: row(2, 0.0, 12)}, now=1.0).rss_bytes == 42_000_000


def judge(limits: Limits, *samples: tuple[float, ResourceSample]) -> Any:
    watch = LimitWatch(limits)
    for now, sample in samples:
        judgement = watch.judge(sample, now)
    return judgement


BIG = ResourceSample(cpu_percent=90.0, rss_bytes=300_000_000)
SMALL = ResourceSample(cpu_percent=1.0, rss_bytes=1_000_000)


def test_a_sustained_excess_is_a_warning() -> None:
    limits = Limits(memory_warn_mb=200, cpu_warn_percent=80.0, sustained_s=30.0)
    assert judge(limits, (0.0, BIG), (30.0, BIG)).warnings == (
        "300 MB of memory, more than 200",
        "90 % CPU, more than 80",
    )


def test_a_short_peak_is_not_a_warning() -> None:
    limits = Limits(memory_warn_mb=200, sustained_s=30.0)
    assert judge(limits, (0.0, BIG), (20.0, SMALL), (31.0, BIG)).warnings == ()


def test_a_sustained_excess_of_the_restart_limit_is_a_reason_to_restart() -> None:
    limits = Limits(memory_warn_mb=200, memory_restart_mb=250, sustained_s=30.0)
    judgement = judge(limits, (0.0, BIG), (30.0, BIG))
    assert judgement.restart_reason == "300 MB of memory, the limit is 250"


def test_there_are_no_warnings_if_there_are_no_limits() -> None:
    assert judge(Limits(), (0.0, BIG), (1000.0, BIG)).warnings == ()
