"""When a job is due, next due, and missed; its times in the syntax of cron and systemd."""

import subprocess
import time
from datetime import datetime

import pytest

from tests.support.programs import needs
from toombos_cli.base.errors import ConfigurationError
from toombos_cli.manifest.reading.loader import load_manifest
from toombos_cli.manifest.tables.schedule import Job
from toombos_cli.project.job_records import (
    Installation,
    RunRecord,
    last_due,
    missed_runs,
    next_due,
    write_installation,
    write_record,
)
from toombos_cli.schedule import crontab, systemd

FIVE = Job(command=("health",), every_minutes=5)
HOURLY = Job(command=("health",), every_minutes=60)
NIGHTLY = Job(command=("backup",), at="02:00")
WEEKLY = Job(command=("backup",), at="04:00", weekday="Sun")

# (job, now, last due, next due); 2026-11-22 is a Sunday
DUE = [
    (FIVE, "2026-11-23 12:04:59", "2026-11-23 12:00:00", "2026-11-23 12:05:00"),
    (FIVE, "2026-11-23 12:05:00", "2026-11-23 12:05:00", "2026-11-23 12:10:00"),
    (FIVE, "2026-12-31 23:59:00", "2026-12-31 23:55:00", "2027-01-01 00:00:00"),
    (HOURLY, "2026-11-23 12:59:59", "2026-11-23 12:00:00", "2026-11-23 13:00:00"),
    (NIGHTLY, "2026-11-23 01:59:59", "2026-11-22 02:00:00", "2026-11-23 02:00:00"),
    (NIGHTLY, "2026-11-23 02:00:00", "2026-11-23 02:00:00", "2026-11-24 02:00:00"),
    (NIGHTLY, "2026-03-01 00:30:00", "2026-02-28 02:00:00", "2026-03-01 02:00:00"),
    (WEEKLY, "2026-11-22 03:59:00", "2026-11-15 04:00:00", "2026-11-22 04:00:00"),
    (WEEKLY, "2026-11-22 04:00:00", "2026-11-22 04:00:00", "2026-11-29 04:00:00"),
    (WEEKLY, "2026-11-28 23:00:00", "2026-11-22 04:00:00", "2026-11-29 04:00:00"),
]


@pytest.mark.parametrize(("job", "now", "last", "following"), DUE)
def test_a_job_has_a_last_and_a_next_due_time(job, now, last, following):
    moment = datetime.fromisoformat(now)
    assert (str(last_due(job, moment)), str(next_due(job, moment))) == (last, following)


WRITTEN = [
    (FIVE, "*/5 * * * *", "*-*-* *:00/5:00"),
    (HOURLY, "0 * * * *", "*-*-* *:00:00"),
    (NIGHTLY, "0 2 * * *", "*-*-* 02:00:00"),
    (WEEKLY, "0 4 * * 0", "Sun *-*-* 04:00:00"),
    (Job(command=("x",), at="23:59", weekday="Sat"), "59 23 * * 6", "Sat *-*-* 23:59:00"),
]


@pytest.mark.parametrize(("job", "cron", "calendar"), WRITTEN)
def test_the_times_are_written_for_cron_and_systemd(job, cron, calendar):
    assert crontab.times(job) == cron
    assert systemd.calendar(job) == calendar


@pytest.mark.parametrize(("job", "now", "_", "following"), DUE)
def test_systemd_computes_the_same_next_time(job, now, _, following):
    analyze = needs("systemd-analyze")
    argv = [analyze, "calendar", "--base-time", now, systemd.calendar(job)]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert following in done.stdout


INVALID = {
    "neither": ("", 2),
    "both": ("every_minutes = 5\nat = '02:00'\n", 2),
    "does not divide an hour": ("every_minutes = 7\n", 4),
    "no time of day": ("at = '24:00'\n", 4),
    "a weekday without a time": ("every_minutes = 5\nweekday = 'Sun'\n", 5),
}


@pytest.mark.parametrize(("when", "line"), INVALID.values(), ids=INVALID.keys())
def test_a_job_that_cannot_be_scheduled_is_refused_with_its_line(tmp_path, when, line):
    (tmp_path / "toombos.toml").write_text(f'extends = "toombos"\n[schedule.own]\ncommand = ["health"]\n{when}')
    with pytest.raises(ConfigurationError) as caught:
        load_manifest(tmp_path)
    assert caught.value.problems[0].where == f"{tmp_path}/toombos.toml:{line}"


NOON = datetime.fromisoformat("2026-11-23 12:00:00").timestamp()
MINUTE = 60.0
# name: (installed, last run; both in minutes before noon, None for never; missed at noon), for a job every 5 minutes
MISSES = {
    "not installed": (None, None, False),
    "just installed": (1, None, False),
    "never ran": (60, None, True),
    "ran on time": (60, 5, False),
    "is late": (60, 9.5, True),
    "the run before last, and the last is within its grace": (60, 5, False),
    "ran long ago": (600, 120, True),
    "ran with a clock a day ahead": (60, -1440, True),
    "ran with a clock a minute ahead": (60, -1, False),
}


@pytest.mark.parametrize(("installed", "ran", "missed"), MISSES.values(), ids=MISSES.keys())
def test_a_run_is_missed(project, installed, ran, missed):
    if installed is not None:
        write_installation(project, Installation(method="cron", installed_at=NOON - installed * MINUTE))
    if ran is not None:
        write_record(project, "health", RunRecord(started_at=NOON - ran * MINUTE))
    names = {run.job for run in missed_runs(load_manifest(project), NOON)}
    assert ("health" in names) == missed


def test_the_repeated_hour_in_autumn_has_one_run(monkeypatch):
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        job = Job(command=("backup",), at="02:15")
        second_half_past_two = datetime.fromtimestamp(1_792_891_800)  # noqa: DTZ006  (local; 01:30Z, at +01:00)
        assert second_half_past_two.fold == 1
        assert last_due(job, second_half_past_two).timestamp() == 1_792_887_300  # 00:15Z, at +02:00
    finally:
        monkeypatch.undo()
        time.tzset()
