"""A computation that takes too long ends, wherever it hangs, and nothing else is disturbed."""

import re
import signal
import time
from threading import Thread

import pytest

from toombos_cli.base.time_limits import TimeIsUpError, at_most


def spin():
    while True:
        pass


def swallow():
    while True:
        try:
            time.sleep(1)
        except TimeIsUpError:
            time.sleep(1)


HANGS = {
    "a search for a regular expression": lambda: re.search("(a+)+$", "a" * 50 + "b"),
    "a loop": spin,
    "a wait": lambda: time.sleep(60),
    "a library that swallows the first exception": swallow,
}


@pytest.mark.parametrize("hang", HANGS.values(), ids=HANGS)
def test_it_ends(hang):
    started = time.monotonic()
    with pytest.raises(TimeIsUpError), at_most(0.1):
        hang()
    assert time.monotonic() - started < 5


def test_nothing_rings_after_a_block_that_was_in_time():
    before = signal.getsignal(signal.SIGALRM)
    with at_most(0.05):
        pass
    time.sleep(0.1)  # longer than the limit: nothing is waited for
    assert signal.getsignal(signal.SIGALRM) is before


def test_the_inner_of_two_limits_leaves_the_outer_one():
    def inner_then_more():
        with pytest.raises(TimeIsUpError), at_most(0.1):
            spin()
        spin()

    with pytest.raises(TimeIsUpError), at_most(0.3):
        inner_then_more()


def test_another_thread_is_not_limited_and_not_refused():
    done = []

    def work():
        with at_most(0.01):
            time.sleep(0.05)
            done.append(True)

    thread = Thread(target=work)
    thread.start()
    thread.join(5)
    assert done == [True]
