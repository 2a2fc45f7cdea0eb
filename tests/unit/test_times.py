"""Laws of the time verdict: entries are held to what others saw, and when."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from ledger.forms.timestamps import format_time, parse_time
from ledger.verify import CLOCKS_APART, AnchoredTree, Dated
from tests.unit.test_verify import NOW, append, effect, recorded, verify

MINUTE = timedelta(minutes=1)
SIZE = 300


@pytest.fixture(scope="module")
def sound():
    """A ledger of ten entries every minute, the root of its first 200, and when each was."""
    memory, head = recorded(0)
    root = b""
    for start in range(0, SIZE, 10):
        at = NOW - (SIZE - start) // 10 * MINUTE
        effects = [effect(seq, occurred_at=format_time(at)) for seq in range(start, start + 10)]
        head = append(memory, head, effects, recorded_at=at)
        if head.size == 200:
            root = head.frontier.root()
    return memory, root, times(memory)


def times(memory) -> list[datetime]:
    return [parse_time(entry_time(row.body)) for row in memory.entries(0, SIZE)]


def entry_time(body: bytes) -> str:
    return body.partition(b'"recorded_at":"')[2][:27].decode()


def tree(root: bytes, *, size: int = 200, before=None, after=None) -> AnchoredTree:
    return AnchoredTree(size=size, root=root, not_before=before, not_after=after, who="CN=Clock")


def test_entries_within_their_bounds_are_good(sound):
    memory, root, at = sound
    report = verify(memory, dated=Dated(trees=[tree(root, before=at[199], after=at[199])]))
    assert (report.time, report.findings_total) == ("ok", 0)
    assert any(each.startswith("times from entry 200 on") for each in report.not_checked)


def test_without_anchors_nobody_else_vouches_for_the_clock(sound):
    report = verify(sound[0])
    assert any(each.startswith("times from entry 0 on") for each in report.not_checked)
    assert any("3 anchors" in each for each in verify(sound[0], dated=Dated(refused=3)).not_checked)


def test_an_entry_dated_after_others_saw_it_is_named(sound):
    """The first one: those before it fit."""
    memory, root, at = sound
    limit = at[120] - CLOCKS_APART
    report = verify(memory, dated=Dated(trees=[tree(root, after=limit)]))
    first = next(seq for seq in range(SIZE) if at[seq] > limit + CLOCKS_APART)
    assert report.time == "bad"
    assert report.first_bad is not None
    assert (report.first_bad.check, report.first_bad.seq) == ("time.witnessed", first)
    assert "CN=Clock had seen it by" in report.first_bad.message
    assert (report.tamper, report.completeness) == (verify(memory).tamper, "unchecked")


def test_an_entry_dated_before_others_saw_the_ledger_without_it_is_named(sound):
    memory, root, at = sound
    report = verify(memory, dated=Dated(trees=[tree(root, before=at[200] + CLOCKS_APART + MINUTE)]))
    assert report.time == "bad"
    assert report.first_bad is not None
    assert (report.first_bad.check, report.first_bad.seq) == ("time.backdated", 200)
    assert "saw the ledger without it" in report.first_bad.message


def test_clocks_of_honest_parties_may_be_a_minute_apart(sound):
    memory, root, at = sound
    late, early = at[199] - CLOCKS_APART, at[200] + CLOCKS_APART
    assert verify(memory, dated=Dated(trees=[tree(root, before=early, after=late)])).time == "ok"


def test_a_tree_of_the_whole_ledger_bounds_its_last_entry_alone(sound):
    memory, _, at = sound
    whole = verify(memory).root
    far = at[-1] + 10 * MINUTE
    assert (
        verify(memory, dated=Dated(trees=[tree(whole, size=SIZE, before=far, after=far)])).time
        == "ok"
    )


def test_another_tree_than_the_one_that_was_seen_is_no_question_of_time(sound):
    memory, _, at = sound
    report = verify(memory, dated=Dated(trees=[tree(bytes(32), after=at[0] - 10 * MINUTE)]))
    assert (report.tamper, report.completeness, report.time) == ("bad", "bad", "ok")
    assert report.first_bad is not None
    assert report.first_bad.check == "anchor.root"


def test_what_others_saw_and_is_gone_is_missing(sound):
    memory, root, _ = sound
    report = verify(memory, dated=Dated(trees=[tree(root, size=SIZE + 1)]))
    assert report.completeness == "bad"
    assert report.first_bad is not None
    assert (report.first_bad.check, report.first_bad.seq) == ("anchor.ahead", SIZE)
