"""Laws of sending again: never too early, never too often, never all together."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.client import BudgetSpent, Refused, Retry, RetryBudget
from ledger.client.exchange import Patience, Pause, exchange
from ledger.client.judgement import Answer
from ledger.client.requests import write
from ledger.client.retry import Spent, pause_s

CLIENTS = 500
BUSY = b'{"code":"LEDGER_BUSY","world":"RML2","action":"retry-with-backoff"}'
REQUEST = write("/v1/ledgers/shop/effects", {}, key="k")


def busy(**headers):
    return Answer(status=503, headers=headers, content=BUSY)


class Crowd:
    """Clients that begin together, on one clock that only their pauses move."""

    def __init__(self, answer, seed, retry):
        self.now = 0.0
        self.arrivals = []
        self._answer = answer
        self._due = []
        self._names = itertools.count()
        for _ in range(CLIENTS):
            patience = Patience(
                url="http://x",
                retry=retry,
                budget=RetryBudget(reserve=100.0, clock=lambda: 0.0),
                clock=lambda: self.now,
                roll=random.Random(f"{seed}/{next(self._names)}").random,
            )
            flow = exchange(REQUEST, lambda answer: answer, patience)
            next(flow)
            self._push(0.0, flow)
        self.failed = 0

    def run(self):
        while self._due:
            self.now, _, flow = heapq.heappop(self._due)
            self.arrivals.append(self.now)
            try:
                step = flow.send(self._answer(self.now))
                assert isinstance(step, Pause)
                flow.send(None)
            except StopIteration:
                continue
            except BudgetSpent:
                self.failed += 1
                continue
            self._push(self.now + step.seconds, flow)
        return self

    def _push(self, at, flow):
        heapq.heappush(self._due, (at, next(self._names), flow))


def test_a_refusal_that_is_an_answer_here_is_not_waited_out():
    """It might end, and whoever asked can go on without: nothing is sent twice for it."""
    patience = Patience(
        url="http://x",
        retry=Retry(),
        budget=RetryBudget(),
        final=frozenset({"LEDGER_BUSY"}),
    )
    flow = exchange(REQUEST, lambda answer: answer, patience)
    next(flow)

    with pytest.raises(Refused) as refused:
        flow.send(busy())

    assert refused.value.code == "LEDGER_BUSY"


def peak_per_second(times):
    """Most arrivals within any second."""
    times, most, first = sorted(times), 0, 0
    for last, at in enumerate(times):
        while times[first] <= at - 1.0:
            first += 1
        most = max(most, last - first + 1)
    return most


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("asked_s", [5, 10, 30])
def test_clients_that_were_sent_away_together_do_not_return_together(asked_s, seed):
    """
    500 clients get a 503 in one instant, and none of them knows of the others.

    Evenly over the spread, a second has 500 / asked_s of them; chance adds half of that at most.
    """
    answered = iter([busy(**{"retry-after": str(asked_s)})] * CLIENTS)
    fine = Answer(status=200, headers={}, content=b"{}")
    crowd = Crowd(lambda _now: next(answered, fine), seed, Retry()).run()
    returned = crowd.arrivals[CLIENTS:]

    assert len(returned) == CLIENTS
    assert min(returned) >= asked_s
    assert max(returned) <= 2 * asked_s
    assert peak_per_second(returned) <= 1.5 * CLIENTS / asked_s + 15


@pytest.mark.parametrize("seed", range(3))
def test_a_service_that_takes_so_many_a_second_gets_them_all_done(seed):
    """100 a second are taken and all others sent away for 2 s: each wave is wider than the last."""
    taken = Counter()

    def answer(now):
        taken[int(now)] += 1
        if taken[int(now)] <= 100:
            return Answer(status=200, headers={}, content=b"{}")
        return busy(**{"retry-after": "2"})

    crowd = Crowd(answer, seed, Retry()).run()
    peaks = [taken[second] for second in sorted(taken)]

    assert crowd.failed == 0
    assert peaks[0] == CLIENTS
    assert max(peaks[1:]) <= CLIENTS / 2 * 1.3


@given(
    st.integers(1, 12),
    st.floats(0, 100),
    st.floats(0, 100),
    st.floats(0, 1, exclude_max=True),
    st.builds(
        Retry,
        tries=st.integers(1, 10),
        base_s=st.floats(0.001, 1),
        cap_s=st.floats(1, 60),
        total_s=st.floats(0, 120),
    ),
)
def test_a_pause_is_never_shorter_than_asked_and_never_beyond_the_budget(
    tries, elapsed_s, asked_s, roll, retry
):
    pause = pause_s(retry, tries=tries, elapsed_s=elapsed_s, asked_s=asked_s, roll=roll)

    if isinstance(pause, Spent):
        assert (
            tries >= retry.tries
            or elapsed_s + asked_s > retry.total_s
            or (elapsed_s >= retry.total_s)
        )
    else:
        assert asked_s <= pause
        assert elapsed_s + pause <= retry.total_s + 1e-9
        assert pause - asked_s <= max(retry.cap_s, 0)


def test_pauses_have_no_floor_and_bounds_that_double():
    """Full jitter: any pause from none to the bound is as likely as any other."""
    retry = Retry(base_s=1.0, cap_s=6.0, total_s=100.0, tries=10)
    widest = [
        pause_s(retry, tries=tries, elapsed_s=0, asked_s=0, roll=1.0) for tries in range(1, 6)
    ]

    assert widest == [1.0, 2.0, 4.0, 6.0, 6.0]
    assert pause_s(retry, tries=3, elapsed_s=0, asked_s=0, roll=0.0) == 0.0


@given(st.lists(st.sampled_from(["request", "retry", "second"]), max_size=300))
def test_retries_are_a_share_of_requests_and_a_trickle(moves):
    now = 0.0
    budget = RetryBudget(share=0.2, per_second=0.5, reserve=3, limit=20, clock=lambda: now)
    requests = seconds = retries = 0
    for move in moves:
        if move == "request":
            budget.earn()
            requests += 1
        elif move == "second":
            now += 1
            seconds += 1
        else:
            retries += budget.spend()

    assert retries <= 3 + 0.2 * requests + 0.5 * seconds + 1e-9


HTTP_DATES = {
    "delta": ({"retry-after": "7"}, 7),
    "by-the-services-clock": (
        {
            "retry-after": "Wed, 21 Oct 2015 07:28:10 GMT",
            "date": "Wed, 21 Oct 2015 07:28:00 GMT",
        },
        10,
    ),
    "past": ({"retry-after": "Wed, 21 Oct 2015 07:28:10 GMT"}, 0),
    "no-date": ({"retry-after": "tomorrow"}, 0),
    "negative": ({"retry-after": "-5"}, 0),
    "none": ({}, 0),
}


@pytest.mark.parametrize("name", HTTP_DATES)
def test_retry_after_is_read_in_both_its_forms(name):
    """RFC 9110 Section 10.2.3."""
    headers, asked_s = HTTP_DATES[name]
    patience = Patience(
        url="http://x",
        retry=Retry(base_s=0.001, cap_s=0.001),
        budget=RetryBudget(),
        clock=lambda: 0.0,
        roll=lambda: 0.0,
    )
    flow = exchange(REQUEST, lambda answer: answer, patience)
    next(flow)

    assert flow.send(busy(**headers)).seconds == asked_s
