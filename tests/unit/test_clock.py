"""
Laws of time: history is stamped by a clock that others agree with, or not at all.

Three clocks are compared: the database's, this process's, and the seconds that went by.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.clock import RECOVERY_S, ClockGuard, SystemClock
from ledger.errors import ClockUntrustedError, PushbackError

START = datetime(2026, 3, 2, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
TICK = timedelta(microseconds=1)
TOLERANCE = timedelta(seconds=5)


class World:
    """The clocks as they stand, each to be set by hand; what passes, passes for all."""

    def __init__(self):
        self.database = self.process = START
        self.passed = 1000.0
        self.guard = ClockGuard(self)

    def now(self):
        return self.process

    def progress(self):
        return self.passed

    def wait(self, seconds):
        self.passed += seconds
        self.set_clocks(timedelta(seconds=seconds))

    def set_clocks(self, by):
        """As an administrator sets the clock of a machine that has both."""
        self.database += by
        self.process += by

    def time_of_batch(self, previous=None):
        return self.guard.time_of_batch(self.database, previous)

    def is_believed(self, previous=None):
        try:
            self.time_of_batch(previous)
        except ClockUntrustedError:
            return False
        return True


@pytest.fixture
def world():
    return World()


def test_a_batch_is_recorded_at_the_time_of_the_database(world):
    """Not at the time of the process, which is only asked whether it agrees."""
    world.process += 3 * SECOND

    assert world.time_of_batch() == START
    assert world.time_of_batch(START - SECOND) == START


@given(steps=st.lists(st.tuples(st.floats(0, 100), st.floats(-4.9, 4.9)), max_size=20))
def test_recorded_time_never_goes_back(steps):
    """However the database clock wavers, as long as it is believed."""
    world, previous = World(), None
    for seconds, error in steps:
        world.wait(seconds)
        database = world.database + timedelta(seconds=error)
        try:
            recorded = world.guard.time_of_batch(database, previous)
        except ClockUntrustedError:
            continue
        assert recorded == (database if previous is None else max(previous, database))
        previous = recorded


@given(steps=st.lists(st.tuples(st.floats(0, 1e6), st.floats(-2.4, 2.4)), max_size=20))
def test_a_clock_that_wavers_by_less_than_half_the_tolerance_is_always_believed(steps):
    world, previous = World(), None
    for seconds, error in steps:
        world.wait(seconds)
        previous = world.guard.time_of_batch(world.database + timedelta(seconds=error), previous)


# ---- Behind the previous entry --------------------------------------------------------


def test_a_clock_up_to_five_seconds_behind_is_lifted_to_the_previous_entry(world):
    for behind in (TICK, SECOND, TOLERANCE):
        assert world.time_of_batch(START + behind) == START + behind


def test_a_clock_further_behind_the_previous_entry_is_not_believed(world):
    previous = START + TOLERANCE + TICK
    with pytest.raises(ClockUntrustedError, match="the previous entry was recorded at") as refused:
        world.time_of_batch(previous)
    assert previous.isoformat() in refused.value.message
    assert START.isoformat() in refused.value.message


def test_an_entry_of_the_future_stops_the_ledger_until_its_time_has_come(world):
    previous = START + 60 * SECOND
    believed = []
    for _ in range(12):
        world.wait(5)
        believed.append(world.is_believed(previous))

    assert believed == [False] * 10 + [True] * 2


# ---- Off the process clock ------------------------------------------------------------


@pytest.mark.parametrize("sign", [1, -1], ids=["ahead", "behind"])
def test_database_and_process_agree_within_five_seconds(world, sign):
    world.process = START + sign * TOLERANCE
    assert world.is_believed()

    world.process = START + sign * (TOLERANCE + TICK)
    with pytest.raises(ClockUntrustedError, match="this process says") as refused:
        world.time_of_batch()
    assert world.process.isoformat() in refused.value.message


def test_clocks_that_agree_again_are_believed_at_once(world):
    world.time_of_batch()
    world.process += 3600 * SECOND
    assert not world.is_believed()

    world.process -= 3600 * SECOND
    assert world.is_believed()


# ---- Ahead of what has passed ---------------------------------------------------------


def test_a_first_reading_has_nothing_to_be_ahead_of(world):
    world.set_clocks(timedelta(days=365))

    assert world.is_believed()


def test_a_clock_five_seconds_ahead_of_what_passed_is_believed_and_no_further_one(world):
    world.time_of_batch()
    world.set_clocks(TOLERANCE)
    assert world.is_believed()

    world.set_clocks(TOLERANCE + TICK)
    with pytest.raises(ClockUntrustedError, match="jumped ahead to") as refused:
        world.time_of_batch()
    assert world.database.isoformat() in refused.value.message


def test_a_long_silence_is_no_jump(world):
    """Nights, and the sleep of a laptop, which count as passed."""
    world.time_of_batch()
    world.wait(7 * 86_400)

    assert world.is_believed()


def test_a_clock_set_back_is_no_jump_and_time_stands_still(world):
    recorded = world.time_of_batch()
    world.wait(1)
    world.set_clocks(-4 * SECOND)

    assert world.time_of_batch(recorded) == recorded


def test_a_jump_ahead_is_believed_after_a_minute_of_steady_running(world):
    world.time_of_batch()
    world.set_clocks(timedelta(days=1))
    assert not world.is_believed()

    world.wait(RECOVERY_S - 1)
    assert not world.is_believed()
    world.wait(1)
    assert world.time_of_batch() == world.database
    world.wait(1)
    assert world.is_believed()


@pytest.mark.parametrize("hours", [1, -1], ids=["ahead", "back"])
def test_a_clock_that_jumps_again_starts_its_minute_anew(world, hours):
    world.time_of_batch()
    world.set_clocks(timedelta(days=1))
    assert not world.is_believed()
    world.wait(RECOVERY_S - 1)
    world.set_clocks(timedelta(hours=hours))
    assert not world.is_believed()

    world.wait(RECOVERY_S - 1)
    assert not world.is_believed()
    world.wait(1)
    assert world.is_believed()


def test_a_jump_that_is_undone_is_forgotten(world):
    world.time_of_batch()
    world.set_clocks(timedelta(days=1))
    assert not world.is_believed()
    world.wait(RECOVERY_S)
    world.set_clocks(-timedelta(days=1))
    assert world.is_believed()

    world.set_clocks(timedelta(days=1))
    assert not world.is_believed()


def test_a_jump_nobody_asked_about_is_believed_only_after_its_own_minute(world):
    """The minute counts from when the jump was first seen, and not from when it happened."""
    world.time_of_batch()
    world.set_clocks(timedelta(days=1))
    world.wait(2 * RECOVERY_S)
    assert not world.is_believed()

    world.wait(RECOVERY_S)
    assert world.is_believed()


def test_a_doubtful_clock_is_for_callers_to_wait_out():
    assert issubclass(ClockUntrustedError, PushbackError)


# ---- The clocks of this machine -------------------------------------------------------


def test_the_system_clock_agrees_with_itself():
    clock = SystemClock()
    assert clock.now().utcoffset() == timedelta(0)
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(minutes=1)

    readings = [clock.progress() for _ in range(100)]
    assert readings == sorted(readings)


def test_progress_goes_on_where_sleep_is_not_counted(monkeypatch):
    """Not every system has a clock that does."""
    monkeypatch.delattr(time, "CLOCK_BOOTTIME", raising=False)
    before = time.monotonic()

    assert before <= SystemClock().progress() <= time.monotonic()
