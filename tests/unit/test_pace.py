"""Laws of the pace: whoever writes goes first, and a verification ends all the same."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ledger.verification.pace import BUSY_ROWS_PER_S, REST_MAX_S, REST_PARTS, Pace


class World:
    """A clock that goes on while somebody works or rests, and rows that are written meanwhile."""

    def __init__(self, rows_per_s):
        self.now = 0.0
        self.rested = []
        self.told = []
        self._rows_per_s = rows_per_s
        self.pace = Pace(
            lambda *told: self.told.append(told),
            self._count,
            clock=lambda: self.now,
            sleep=self._rest,
        )

    def _count(self):
        return None if self._rows_per_s is None else int(self.now * self._rows_per_s)

    def _rest(self, seconds):
        self.rested.append(seconds)
        self.now += seconds

    def work(self, parts, part_s):
        for part in range(parts):
            self.now += part_s
            self.pace(part, parts)


@given(rows_per_s=st.integers(0, BUSY_ROWS_PER_S // 2), part_s=st.floats(0.001, 5))
def test_who_is_alone_never_rests(rows_per_s, part_s):
    world = World(rows_per_s)

    world.work(50, part_s)

    assert world.rested == []
    assert not any(makes_way for _, _, makes_way in world.told)


@given(rows_per_s=st.integers(2 * BUSY_ROWS_PER_S, 100_000), part_s=st.floats(0.001, 0.2))
def test_beside_writers_it_rests_four_times_as_long_as_it_works(rows_per_s, part_s):
    world = World(rows_per_s)
    # Before the first look it does not know.
    world.work(int(1 / part_s) + 2, part_s)
    before, rested = world.now, len(world.rested)

    world.work(20, part_s)

    worked = 20 * part_s
    assert len(world.rested) - rested == 20
    assert world.now - before <= worked * (1 + REST_PARTS) + 1e-6
    assert all(makes_way for _, _, makes_way in world.told[-20:])


@given(part_s=st.floats(0.3, 50))
def test_however_busy_it_is_a_part_waits_a_second_at_most(part_s):
    world = World(1_000_000)

    world.work(20, part_s)

    assert max(world.rested) <= REST_MAX_S
    assert world.now <= 20 * (part_s + REST_MAX_S) + 1e-6


def test_it_goes_on_soon_after_the_last_write():
    world = World(10_000)
    world.work(300, 0.01)
    assert world.told[-1][2]

    world._rows_per_s = 0
    world.work(2_000, 0.01)

    assert not world.told[-1][2]


def test_where_nobody_can_say_it_goes_on_and_looks_again():
    world = World(None)
    world.work(300, 0.01)
    assert world.rested == []

    world._rows_per_s = 10_000
    world.work(300, 0.01)
    assert world.told[-1][2]

    world._rows_per_s = None
    world.work(2_000, 0.01)
    assert not world.told[-1][2]


def test_a_count_that_falls_is_nobody_who_writes():
    world = World(10_000)
    # Far below what was counted before.
    world.now = 1_000.0
    world.pace = Pace(
        lambda *told: world.told.append(told),
        iter([10_000_000, *range(100)]).__next__,
        clock=lambda: world.now,
        sleep=world._rest,
    )

    world.work(300, 0.01)

    assert world.rested == []
