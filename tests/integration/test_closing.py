"""
Laws of closing a period while others write: what is summed is what stands, what is late is told.

Over the real database, with as many writers as a law asks for.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal

import orjson
import psycopg
import pytest

from ledger.audit import closing as module
from ledger.audit.closing import Closing
from ledger.errors import PeriodClosedError, PushbackError
from ledger.verification.pages import verify_ledger
from tests.faults.house import House, all_at_once, asked, asks, eur, open_house, refund

MARCH = "2026-03"


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with open_house() as opened:
        yield opened


@pytest.fixture
def ledger(house) -> str:
    return house.open_ledger()


@pytest.fixture(scope="module")
def closing(house) -> Closing:
    return Closing(house.engine, house.open_appender())


def effects(house: House, ledger: str, start: int, stop: int) -> list[dict]:
    with house.superuser() as connection:
        rows = connection.execute(
            "select body from entries where ledger = %s and seq >= %s and seq < %s order by seq",
            (ledger, start, stop),
        ).fetchall()
    return [orjson.loads(body) for (body,) in rows]


def test_what_is_summed_is_what_stands_below_the_close_while_others_write(
    house, ledger, closing, monkeypatch
):
    """In small reads, with more entries coming than one round under the lock may take."""
    monkeypatch.setattr(module, "FOLD_ROWS", 7)
    monkeypatch.setattr(module, "FOLD_UNDER_LOCK_MAX", 60)
    house.record(ledger, *(asks(f"before-{at}", money=eur("0.10")) for at in range(150)))
    done = threading.Event()

    def write(writer: int) -> None:
        appender = house.open_appender()
        at = 0
        while not done.is_set() or at < 5:
            key = f"w{writer}-{at}"
            [[outcome]] = appender.append(
                ledger,
                [asked(ledger, asks(key, money=eur("1.01"), type=f"card.w{writer}"))],
            )
            assert not isinstance(outcome, Exception), outcome
            at += 1

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(3)]
    for thread in threads:
        thread.start()
    close, replayed = closing.close(ledger, MARCH, preparer="anna", reviewer="ben")
    done.set()
    for thread in threads:
        thread.join()
    house.record(ledger, asks("after"))

    data = close.data
    told = effects(house, ledger, 0, close.entry.seq)
    assert not replayed
    assert (data["from_seq"], data["to_seq"]) == (0, close.entry.seq - 1)
    assert data["counts"] == Counter(each["effect"]["kind"] for each in told)
    assert data["sums"] == [
        {
            "kind": "effect",
            "currency": "EUR",
            "flow": "in",
            "count": len(told),
            "amount": str(sum(Decimal(each["effect"]["money"]["amount"]) for each in told)),
        }
    ]
    assert (
        data["root"]
        == house.reader.consistency(ledger, close.entry.seq, close.entry.seq + 1).old_root.hex()
    )
    after = effects(house, ledger, close.entry.seq + 1, 10**9)
    assert {each["late_for"] for each in after} == {MARCH}
    assert not any("late_for" in each for each in told)
    house.verify(ledger)


def test_every_writer_knows_of_a_close_at_once_whoever_made_it(house, ledger, closing):
    """What a writer remembers of closes is as old as the head it locks."""
    writers = [house.open_appender() for _ in range(2)]

    def late_for(key: str) -> list[str | None]:
        return [
            appender.append(ledger, [asked(ledger, asks(f"{key}-{at}"))])[0][0].entry.late_for
            for at, appender in enumerate(writers)
        ]

    assert late_for("a") == [None, None]
    closing.close(ledger, "spring", preparer="anna", from_at=at_("02-01"), to_at=at_("04-01"))
    assert late_for("b") == ["spring", "spring"]
    first = closing.find(ledger, "spring").entry.id
    # The correction says that the period was a shorter one.
    closing.close(
        ledger,
        "spring",
        preparer="anna",
        from_at=at_("02-01"),
        to_at=at_("02-15"),
        supersedes=first,
    )
    assert late_for("c") == [None, None]
    house.verify(ledger)


def test_a_verification_that_goes_on_from_another_knows_the_closes_before_it(
    house, ledger, closing
):
    house.record(ledger, asks("before"))
    closing.close(ledger, MARCH, preparer="anna")
    house.record(ledger, *(asks(f"late-{at}") for at in range(300)))
    whole = house.verify(ledger)
    house.record(ledger, asks("more"))

    assert house.verify(ledger, since=(whole.size, whole.root)).start > 1


EDITS = {
    "missing": ("delete from periods where ledger = %s", "period.missing"),
    "edited": (
        "update periods set to_at = to_at + interval '1 day' where ledger = %s",
        "period.row",
    ),
    "added": (
        (
            "insert into periods (ledger, seq, id, name, from_at, to_at, from_seq)"
            " select ledger, 0, gen_random_uuid(), 'old', from_at - interval '1 day', from_at, 0"
            " from periods where ledger = %s"
        ),
        "period.extra",
    ),
}


@pytest.mark.parametrize("name", EDITS)
def test_a_row_that_does_not_say_what_the_close_says_is_named(house, ledger, closing, name):
    """Writers find closes by these rows: an edit would leave late entries unmarked."""
    house.record(ledger, asks("before"))
    closing.close(ledger, MARCH, preparer="anna")
    harm, check = EDITS[name]
    with house.superuser() as connection:
        connection.execute("alter table periods disable trigger append_only")
        connection.execute(harm, (ledger,))
        connection.execute("alter table periods enable always trigger append_only")

    report = verify_ledger(house.engine, ledger)

    assert report.tamper == "bad"
    assert [each.check for each in report.findings] == [check]
    assert report.first_bad.seq == (0 if name == "added" else 1)


def at_(day: str) -> str:
    return f"2026-{day}T00:00:00.000000Z"


def test_a_period_that_two_close_at_once_is_closed_once(house, ledger):
    house.record(ledger, *(asks(f"k{at}") for at in range(20)))
    both = [Closing(house.engine, house.open_appender()) for _ in range(4)]

    found = all_at_once(
        [lambda each=each: each.close(ledger, MARCH, preparer="anna") for each in both], 4
    )

    assert len({close.entry.id for close, _ in found}) == 1
    assert len(both[0].closes(ledger)) == 1
    house.verify(ledger)


def test_different_periods_that_are_closed_at_once_follow_each_other(house, ledger):
    """Whoever comes second sums again from the close of the first."""
    house.record(ledger, *(asks(f"k{at}") for at in range(20)))
    months = [f"2026-0{month}" for month in range(1, 5)]
    each_its_own = [
        lambda month=month: Closing(house.engine, house.open_appender()).close(
            ledger, month, preparer="anna"
        )
        for month in months
    ]

    all_at_once(each_its_own, 4)

    closes = Closing(house.engine, house.open_appender()).closes(ledger)
    assert {close.data["name"] for close in closes} == set(months)
    assert [close.data["from_seq"] for close in closes] == [0, 20, 21, 22]
    house.verify(ledger)


def test_of_two_corrections_of_one_close_one_stands(ledger, closing):
    first, _ = closing.close(ledger, MARCH, preparer="anna")
    second, _ = closing.close(ledger, MARCH, preparer="ben", supersedes=first.entry.id)

    with pytest.raises(PeriodClosedError):
        closing.close(ledger, MARCH, preparer="cleo", supersedes=first.entry.id)
    assert closing.find(ledger, MARCH).entry == second.entry


def test_a_close_whose_checkpoint_was_not_signed_is_proved_later(house, ledger, closing):
    """Committed is closed; the checkpoint is kept as soon as there is one, and stays the same."""
    house.record(
        ledger,
        refund(
            "r",
            "1.00",
            corrects_external={"system": "x", "ref": "y"},
            observed=True,
            evidence=[{"system": "psp", "rel": "transaction", "ref": "t"}],
        ),
    )
    [record] = house.signer._directory.glob(f"{ledger}.*.record")
    sign = house.signer.sign
    try:
        house.signer.sign = _away
        close, _ = closing.close(ledger, MARCH, preparer="anna")
        assert close.checkpoint_note is None
        with pytest.raises(PushbackError):
            closing.proved(ledger, MARCH)
    finally:
        house.signer.sign = sign
    proved = closing.proved(ledger, MARCH)
    house.record(ledger, asks("later"))

    assert proved.checkpoint_size == close.entry.seq + 1
    assert closing.proved(ledger, MARCH).checkpoint_note == proved.checkpoint_note
    assert record.exists()


def _away(*_):
    raise PushbackError("the signer is away")


@pytest.mark.parametrize("table", ["periods", "period_checkpoints"])
def test_closes_are_not_edited(house, ledger, closing, table):
    closing.close(ledger, MARCH, preparer="anna")
    with (
        house.superuser() as connection,
        pytest.raises(psycopg.errors.RestrictViolation, match="append-only"),
    ):
        connection.execute(f"delete from {table} where ledger = %s", (ledger,))
