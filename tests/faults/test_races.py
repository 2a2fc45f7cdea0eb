"""Races for one effect, one key, one business key, one batch: nobody is lost, nothing doubled."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.admission import wanted
from ledger.errors import (
    BadReferenceError,
    CommitmentError,
    LedgerError,
    MalformedEffectError,
    OutcomeUnknownError,
    OverRefundError,
    PossibleRepeatError,
    PushbackError,
)
from ledger.storage.questions import Questions
from ledger.storage.wire import Statement, Wire
from ledger.submission import Outcome, Posting, Recorded
from tests.api import support
from tests.api.support import Api, capture
from tests.faults.house import (
    House,
    all_at_once,
    asked,
    asks,
    callers_of,
    eur,
    open_house,
    persistently,
    proven,
    recorded,
    refund,
    verified,
)
from tests.integration.commands import Shell, settled_directory

THREADS = 64
ATTEMPTS = 2_000


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with open_house() as opened:
        yield opened


@pytest.fixture
def ledger(house) -> str:
    return house.open_ledger()


@pytest.fixture
def patient(house, monkeypatch) -> Iterator[None]:
    """However slow the machine is, no writer is told to come back."""
    monkeypatch.setattr("ledger.storage.postgres.LOCK_TIMEOUT_MS", 60_000)
    # It is of the session, which begins anew after this.
    house.storage.close()
    yield
    house.storage.close()


@pytest.fixture(scope="module")
def open_ledger() -> Iterator[Callable[[], list[Api]]]:
    """A service in a process of its own, with as many ledgers as tests ask for."""
    with settled_directory() as base:
        shell = Shell(data_dir=base / "data")
        with shell.serving() as (_, announced), callers_of(shell, announced["url"]) as opened:
            yield opened


@pytest.fixture
def api(open_ledger) -> Api:
    [caller] = open_ledger()
    return caller


# ---- One effect -----------------------------------------------------------------------


@pytest.mark.slow
def test_racing_refunds_never_take_more_than_there_is(api):
    """64 callers, 2,000 attempts: what is taken and what remains add up, to the last cent."""
    draw = random.Random(7)
    amounts = [Decimal(draw.randint(1, 200)).scaleb(-2) for _ in range(ATTEMPTS)]
    # About half of what is asked for is there.
    whole = Decimal("1000.00")
    effect = api.post("/effects", capture(str(whole)), key="effect").json()

    def attempt(at: int) -> Callable[[], Any]:
        path, body = f"/effects/{effect['id']}/refunds", support.refund(str(amounts[at]))
        return lambda: persistently(lambda: api.post(path, body, key=f"refund-{at}"))

    answers = all_at_once([attempt(at) for at in range(ATTEMPTS)], THREADS)

    assert {answer.status_code for answer in answers} == {201, 409}
    accepted = {
        answer.json()["seq"]: amounts[at]
        for at, answer in enumerate(answers)
        if answer.status_code == 201
    }
    assert sorted(accepted) == list(range(1, len(accepted) + 1))
    # What remained after each entry, in the order of history.
    remainders = [whole]
    for seq in sorted(accepted):
        remainders.append(remainders[-1] - accepted[seq])
    assert remainders[-1] >= 0
    position = api.get(f"/effects/{effect['id']}").json()["position"]
    assert Decimal(position["remaining"]) == remainders[-1]
    assert Decimal(position["refunded"]) == sum(accepted.values())
    assert position["excess"] == "0.00"
    # Nobody was refused what was there, and each was told a remainder that was true.
    for at, answer in enumerate(answers):
        if answer.status_code == 409:
            problem = answer.json()
            assert (problem["code"], problem["world"]) == ("OVER_REFUND", "RML3")
            told = Decimal(problem["details"]["remaining"])
            assert told in remainders
            assert remainders[-1] <= told < amounts[at]
    proven(api, [answer.json() for answer in answers if answer.status_code == 201])
    assert verified(api)["size"] == 1 + len(accepted)


@pytest.mark.usefixtures("patient")
def test_refunds_and_their_failures_race_through_two_writers(house, ledger):
    """What failed can be refunded again; whoever reads the position first, it is exact."""
    [effect] = house.record(ledger, asks("effect", money=eur("20.00")))
    with house.sequencer() as one, house.sequencer() as other:

        def caller(number: int) -> Callable[[], int]:
            draw, writer = random.Random(number), (one, other)[number % 2]

            def post(submission: Any) -> Outcome:
                [outcome] = writer.submit(asked(ledger, submission)).result(60)
                return outcome

            def refund_and_sometimes_fail() -> int:
                stands = 0
                for at in range(6):
                    key, cents = f"{number}-{at}", draw.randint(1, 120)
                    amount = f"{cents // 100}.{cents % 100:02d}"
                    outcome = post(refund(key, amount, corrects=effect.id))
                    if isinstance(outcome, OverRefundError):
                        continue
                    assert isinstance(outcome, Recorded), outcome
                    stands += cents
                    if draw.random() < 0.5:
                        failed = asks(
                            f"{key}-failed",
                            kind="adjustment",
                            type="refund.failed",
                            reason="psp.failed",
                            corrects_key=key,
                            money=eur(f"-{amount}", "out"),
                        )
                        recorded(post(failed))
                        stands -= cents
                return stands

            return refund_and_sometimes_fail

        refunded = sum(all_at_once([caller(number) for number in range(32)], 32))

    assert 0 < refunded <= 2000
    assert house.positions(ledger)[effect.id] == ("EUR", 2000, 0, refunded, 0, 0)
    house.verify(ledger)


# ---- One key --------------------------------------------------------------------------


def test_a_hundred_posts_of_one_key_are_one_entry(api):
    """One is recorded, ninety-nine replayed, and all are told the same."""
    body = capture(note="words", payloads=[{"name": "invoice", "json": {"total": 19.99}}])

    answers = all_at_once([lambda: api.post("/effects", body, key="k")] * 100, 100)

    assert Counter(answer.status_code for answer in answers) == {201: 1, 200: 99}
    told = {
        orjson.dumps({name: value for name, value in answer.json().items() if name not in VARIES})
        for answer in answers
    }
    assert len(told) == 1
    assert Counter(answer.json()["replayed"] for answer in answers) == {False: 1, True: 99}
    proven(api, [answer.json() for answer in answers])
    assert verified(api)["size"] == 1


VARIES = {"replayed", "receipt"}
"""What a replay may be told otherwise than the first post: its receipt may cite a later tree."""


def test_racing_requests_under_one_key_leave_one_of_them(api):
    """Whichever was first stands: its own repeats are replayed, all others refused."""
    bodies = [capture(subject=f"order/{at % 4}") for at in range(40)]

    answers = all_at_once(
        [lambda body=body: api.post("/effects", body, key="k") for body in bodies], 40
    )

    [first] = [at for at, answer in enumerate(answers) if answer.status_code == 201]
    for at, answer in enumerate(answers):
        same = bodies[at] == bodies[first]
        assert answer.status_code == (201 if at == first else 200 if same else 422)
        if not same:
            assert answer.json()["code"] == "IDEMPOTENCY_CONFLICT"
            assert answers[first].json()["id"] not in answer.text
    assert api.get("").json()["size"] == 1


# ---- One business key -----------------------------------------------------------------


def test_of_racing_effects_with_one_business_key_one_stands(api):
    """The others are told its id and seq, and nothing else of it, also before it was numbered."""
    answers = all_at_once(
        [
            lambda at=at: api.post(
                "/effects", capture(business_key="invoice/1", subject="secret"), key=f"k-{at}"
            )
            for at in range(40)
        ],
        40,
    )

    [first] = [answer.json() for answer in answers if answer.status_code == 201]
    refused = [answer for answer in answers if answer.status_code != 201]
    assert len(refused) == 39
    for answer in refused:
        problem = answer.json()
        assert (answer.status_code, problem["code"]) == (409, "POSSIBLE_REPEAT")
        assert problem["details"] == {"id": first["id"], "seq": first["seq"]}
        assert "secret" not in answer.text
    # The keys of those that were refused are free.
    repeat = capture(business_key="invoice/1", repeat_of=first["id"])
    freed = refused[0].request.headers["Idempotency-Key"]
    assert api.post("/effects", repeat, key=freed).status_code == 201
    assert api.post("/effects", capture(business_key="invoice/1"), key="k").status_code == 409
    assert verified(api)["size"] == 2


def test_a_business_key_in_one_transaction_is_told_with_its_number(house, ledger):
    """Those that come together are numbered as they are judged."""
    house.record(ledger, asks("before"))
    postings = [asked(ledger, asks(f"k-{at}", business_key="invoice/1")) for at in range(3)]

    [[first], *others] = house.appender.append(ledger, postings)

    assert recorded(first).entry.seq == 1
    for [refused] in others:
        assert isinstance(refused, PossibleRepeatError)
        assert refused.details == {"id": first.entry.id, "seq": 1}
        assert house.reader.entry(ledger, refused.details["seq"]) == first.entry


# ---- One bad item ---------------------------------------------------------------------

POISON = "poison"
KILLER = "killer"


@contextmanager
def refusing(house: House) -> Iterator[None]:
    """The database refuses a value that the rules let through, as after a mistake of ours."""
    with house.superuser() as database:
        database.execute(
            "alter table entries add constraint poison"
            f" check (subject is distinct from '{POISON}') not valid"
        )
        try:
            yield
        finally:
            database.execute("alter table entries drop constraint poison")


@contextmanager
def breaking(house: House) -> Iterator[None]:
    """The connection of whoever inserts a certain value is cut in the middle of it."""
    with house.superuser() as database:
        database.execute(
            "create function kill() returns trigger language plpgsql security definer as $$"
            " begin perform pg_terminate_backend(pg_backend_pid()); return new; end $$"
        )
        database.execute(
            "create trigger kill before insert on entries for each row"
            f" when (new.subject = '{KILLER}') execute function kill()"
        )
        try:
            yield
        finally:
            database.execute("drop trigger kill on entries")
            database.execute("drop function kill()")


def expected(items: Sequence[bool], *, atomic: bool) -> list[type]:
    """What becomes of each item of a request, where True stands for poison."""
    if atomic and any(items):
        return [MalformedEffectError] * len(items)
    return [MalformedEffectError if bad else Recorded for bad in items]


posted = st.tuples(st.lists(st.booleans(), min_size=1, max_size=5), st.booleans())


@settings(max_examples=6)
@given(st.lists(posted, min_size=1, max_size=8))
def test_only_the_items_that_the_database_refuses_fail(house, batch):
    """Wherever they stand, alone or in a larger request; all others are recorded, in order."""
    check_that_only_what_is_refused_fails(house, batch)


@pytest.mark.slow
@settings(max_examples=60)
@given(st.lists(posted, min_size=1, max_size=8))
def test_only_the_items_that_the_database_refuses_fail_in_many_batches(house, batch):
    """The same law, for many more of them."""
    check_that_only_what_is_refused_fails(house, batch)


def check_that_only_what_is_refused_fails(house, batch):
    ledger = house.open_ledger()
    postings = [
        asked(
            ledger,
            *(
                asks(f"k-{at}-{item}", subject=POISON if bad else "order/1", note="words")
                for item, bad in enumerate(items)
            ),
            atomic=atomic,
        )
        for at, (items, atomic) in enumerate(batch)
    ]

    with refusing(house):
        outcomes = house.appender.append(ledger, postings)

    for (items, atomic), told in zip(batch, outcomes, strict=True):
        assert [type(outcome) for outcome in told] == expected(items, atomic=atomic)
        for outcome in told:
            if isinstance(outcome, MalformedEffectError):
                assert outcome.details == {"sqlstate": "23514"}
    kept = [each.entry for told in outcomes for each in told if isinstance(each, Recorded)]
    assert [entry.seq for entry in kept] == list(range(len(kept)))
    for told in outcomes:
        for outcome in told:
            if isinstance(outcome, Recorded):
                house.verify_receipt(outcome.receipt, ledger)
    house.verify(ledger)
    # Nothing was reserved by those that failed.
    for posting in postings:
        [again] = house.appender.append(ledger, [posting])
        assert all(isinstance(outcome, Recorded) for outcome in again)


@pytest.mark.usefixtures("patient")
def test_a_bad_item_among_racing_callers_fails_alone(house, ledger):
    """They are all committed together, and still each is told only of its own."""
    subjects = [POISON if at in {3, 17, 18} else "order/1" for at in range(THREADS)]
    with refusing(house), house.sequencer() as sequencer:
        with house.head_kept(ledger):
            answers = [
                sequencer.submit(asked(ledger, asks(f"k-{at}", subject=subject)))
                for at, subject in enumerate(subjects)
            ]
        outcomes = [answer.result(60)[0] for answer in answers]

    assert [type(outcome) for outcome in outcomes] == [
        MalformedEffectError if subject == POISON else Recorded for subject in subjects
    ]
    house.verify(ledger)


def test_a_refused_value_costs_later_writes_nothing(house, ledger):
    """Whenever in the life of a connection it comes: also as its statements are prepared."""
    writer = house.open_appender()

    def post(key: str, subject: str) -> Outcome:
        [[outcome]] = writer.append(ledger, [asked(ledger, asks(key, subject=subject))])
        return outcome

    with refusing(house):
        for at in range(6):
            for good in range(at):
                recorded(post(f"good-{at}-{good}", "order/1"))
            assert isinstance(post(f"bad-{at}", POISON), MalformedEffectError)
    recorded(post("last", "order/1"))
    house.verify(ledger)


def test_a_head_that_was_kept_too_long_costs_later_writes_nothing(house, ledger, monkeypatch):
    """The caller is told to come back, and whenever it does, its request is recorded."""
    monkeypatch.setattr("ledger.storage.postgres.LOCK_TIMEOUT_MS", 50)
    writer = house.open_appender()
    for at in range(6):
        posting = asked(ledger, asks(f"k-{at}", business_key=f"invoice/{at}"))
        with house.head_kept(ledger), pytest.raises(PushbackError, match="kept the ledger"):
            writer.append(ledger, [posting])

        [[outcome]] = writer.append(ledger, [posting])

        assert recorded(outcome).entry.seq == at
    house.verify(ledger)


def test_a_correction_of_a_bad_item_finds_nothing(house, ledger):
    """What it names was never recorded; the rest of the request was."""
    with refusing(house):
        outcomes = house.post(
            ledger,
            asks("bad", subject=POISON, money=eur("5.00")),
            refund("lost", "1.00", corrects_key="bad"),
            asks("good"),
        )

    assert [type(each) for each in outcomes] == [MalformedEffectError, BadReferenceError, Recorded]
    house.verify(ledger)


def test_a_data_key_that_cannot_be_opened_is_the_trouble_of_its_person_only(house, ledger):
    """Whoever posts about somebody else is not told that the service is broken."""

    def about(key: str, person: str) -> Posting:
        return asked(
            ledger, asks(key, payloads=[{"name": "a", "text": "words", "data_subject": person}])
        )

    house.appender.append(ledger, [about("k-1", "c-1")])
    with house.superuser() as database:
        database.execute(
            "update effect_ledger_keys.data_keys"
            " set wrapped = set_byte(wrapped, 20, get_byte(wrapped, 20) # 1) where ledger = %s",
            (ledger,),
        )

    outcomes = house.appender.append(
        ledger, [about("k-2", "c-2"), about("k-3", "c-1"), about("k-4", "c-3")]
    )

    assert [type(outcome) for [outcome] in outcomes] == [Recorded, CommitmentError, Recorded]


def test_what_is_on_disk_is_told_although_a_later_part_is_lost(house, ledger):
    """The batch was halved, and between the halves the connection went."""
    subjects = [POISON, "order/1", "order/2", KILLER]
    postings = [
        asked(ledger, asks(f"k-{at}", subject=subject)) for at, subject in enumerate(subjects)
    ]

    with refusing(house), breaking(house):
        outcomes: list[Outcome] = [told for [told] in house.appender.append(ledger, postings)]

    assert [type(outcome) for outcome in outcomes] == [
        MalformedEffectError,
        Recorded,
        OutcomeUnknownError,
        OutcomeUnknownError,
    ]
    assert house.reader.size(ledger) == 1
    again = [told for [told] in house.appender.append(ledger, postings)]
    assert not any(isinstance(outcome, LedgerError) for outcome in again)
    assert [recorded(outcome).replayed for outcome in again] == [False, True, False, False]
    assert house.reader.size(ledger) == 4
    house.verify(ledger)


# ---- What is read while the head is kept ----------------------------------------------


def test_a_batch_reads_what_it_names_and_no_more_however_much_there_is(house):
    """Whatever the database believes of its tables, whose statistics are older than they are."""
    ledger = house.open_ledger()
    keys = range(200)
    house.record(ledger, *(asks(f"e-{at}", money=eur("9.00")) for at in keys))
    house.record(ledger, *(refund(f"r-{at}", "2.00", corrects_key=f"e-{at}") for at in keys))
    adjusts = {"kind": "adjustment", "reason": "fee", "money": eur("-0.10")}
    posting = asked(
        ledger,
        asks("new"),
        refund("again", "1.00", corrects_key="e-7"),
        asks("less", corrects_key="r-8", **adjusts),
    )

    with house.superuser() as connection:
        wire = Wire(connection)
        for statement, values in Questions(ledger, wanted([posting])).asked:
            explained = f"explain (analyze, format json) {statement.text}"
            [(plans,)] = wire.ask(Statement(f"explain_{statement.name}", explained), *values)
            assert rows_read(plans[0]["Plan"]) <= 20, plans


def rows_read(plan: dict[str, Any]) -> int:
    """How many rows of tables a statement looked at."""
    below = sum(map(rows_read, plan.get("Plans", ())))
    if "Relation Name" not in plan:
        return below
    seen = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)
    return int(below + seen * plan["Actual Loops"])


def test_plans_of_a_small_ledger_do_not_outlive_it(house):
    """A connection that began while there was nothing looks keys up when there is much."""
    ledger = house.open_ledger()
    appender = house.open_appender()
    for start in range(0, 1_200, 100):
        keys = [asks(f"k-{at}") for at in range(start, start + 100)]
        appender.append(ledger, [asked(ledger, *keys)])

    # Which an appender shows to nobody else.
    connection = appender._storage._connection
    again = f"('{ledger}', '{{k-7,k-600,new}}')"
    row = connection.execute(
        f"explain (analyze, format json) execute select_replays {again}"
    ).fetchone()
    assert rows_read(row[0][0]["Plan"]) == 2, row
