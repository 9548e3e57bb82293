"""When a service that ended is restarted."""

import random

import pytest

from toombos_cli.manifest.tables.service import RestartTable
from toombos_cli.supervisor.restarts import RestartPolicy


def policy(**settings: object) -> RestartPolicy:
    """Return a policy whose jitter is always 1, so that delays are exact."""

    class NoJitter(random.Random):
        def uniform(self, a: float, b: float) -> float:
            return b

    return RestartPolicy(RestartTable(**settings), jitter=NoJitter())  # type: ignore[arg-type]  # the types of the rows


def test_the_delay_doubles_up_to_the_maximum() -> None:
    restarts = policy(backoff_initial_s=0.5, backoff_max_s=3.0, crash_loop_count=99)
    assert [restarts.delay_s(0.0, healthy_s=0.0) for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_jitter_shortens_a_delay_by_at_most_a_quarter() -> None:
    drawn = []
    for seed in range(50):
        restarts = RestartPolicy(RestartTable(backoff_initial_s=1.0), jitter=random.Random(seed))
        drawn.append(restarts.delay_s(0.0, healthy_s=0.0) or 0.0)
    assert min(drawn) >= 0.75
    assert max(drawn) <= 1.0
    assert max(drawn) - min(drawn) > 0.1


def test_too_many_restarts_in_the_window_are_a_crash_loop() -> None:
    restarts = policy(crash_loop_count=3, crash_loop_window_s=60.0)
    assert [restarts.delay_s(float(t), healthy_s=0.0) is None for t in (0, 1, 2, 3)] == [False, False, False, True]


def test_restarts_far_apart_are_not_a_crash_loop() -> None:
    restarts = policy(crash_loop_count=3, crash_loop_window_s=60.0)
    assert all(restarts.delay_s(t * 40.0, healthy_s=0.0) is not None for t in range(20))


def test_a_long_healthy_period_resets_the_count() -> None:
    restarts = policy(crash_loop_count=3, reset_after_s=60.0)
    for t in range(3):
        restarts.delay_s(float(t), healthy_s=0.0)
    assert restarts.delay_s(4.0, healthy_s=59.0) is None
    assert restarts.delay_s(5.0, healthy_s=60.0) == 0.0
    assert restarts.delay_s(6.0, healthy_s=0.0) == 0.5


def test_the_first_restart_of_a_service_that_was_ready_is_at_once_and_the_pauses_begin_with_the_second() -> None:
    restarts = policy(backoff_initial_s=0.5, crash_loop_count=4)
    assert [restarts.delay_s(t, healthy_s=3.0) for t in (0.0, 4.0, 8.0, 12.0, 16.0)] == [0.0, 0.5, 1.0, 2.0, None]


def test_a_service_that_was_never_ready_is_restarted_after_a_pause() -> None:
    assert policy(backoff_initial_s=0.5).delay_s(0.0, healthy_s=0.0) == 0.5


WANTED = {
    "always, clean exit": ("always", 0, True),
    "always, failure": ("always", 1, True),
    "on failure, clean exit": ("on-failure", 0, False),
    "on failure, failure": ("on-failure", 1, True),
    "on failure, killed": ("on-failure", -9, True),
    "on failure, unknown exit code": ("on-failure", None, True),
    "never, failure": ("never", 1, False),
}


@pytest.mark.parametrize(("name", "exit_code", "wanted"), WANTED.values(), ids=WANTED.keys())
def test_the_policy_decides_on_the_exit_code(name: str, exit_code: int | None, wanted: bool) -> None:
    assert policy(policy=name).wants_restart(exit_code) is wanted


FAILING: dict[str, tuple[dict[str, float], list[float], float, float, bool]] = {
    "probes that fail for 15 s each time": ({}, [20.0 * n for n in range(6)], 18.0, 15.0, True),
    "the same times, but by exits": ({}, [20.0 * n for n in range(6)], 18.0, 0.0, False),
    "well for a minute before the probes fail": ({}, [80.0 * n for n in range(6)], 78.0, 15.0, False),
    "well for less than that": ({"reset_after_s": 70.0}, [80.0 * n for n in range(6)], 78.0, 70.0, True),
}


@pytest.mark.parametrize(("given", "times", "healthy_s", "failing_s", "loops"), FAILING.values(), ids=FAILING)
def test_the_time_in_which_probes_fail_does_not_count(
    given: dict[str, float], times: list[float], healthy_s: float, failing_s: float, loops: bool
) -> None:
    restarts = policy(**given)
    delays = [restarts.delay_s(now, healthy_s=healthy_s, failing_s=failing_s) for now in times]
    assert (None in delays) is loops
