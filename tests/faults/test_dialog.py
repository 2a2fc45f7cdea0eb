"""
The dialog through the real database, against a small model, with a crash after any step.

Whether the commit of a step was lost or kept, the client sends it again with the same key, to a
process that knows nothing of the first; every step happens once, what is held is what the model
holds, and the whole ledger verifies.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from ledger.append import Appender
from ledger.clock import SystemClock
from ledger.dialog.handoff import Handoffs
from ledger.dialog.intents import Intents
from ledger.dialog.promise import build_promise
from ledger.dialog.steps import Asked, Dialog, Taken
from ledger.effect import Rules
from ledger.errors import (
    LedgerError,
    OutcomeUnknownError,
    OverRefundError,
    PossibleRepeatError,
    RejectedError,
)
from ledger.intent import FENCED, State, Step
from ledger.registry.stops import Stops
from ledger.storage.postgres import PostgresStorage, PostgresTransaction
from ledger.submission import Handoff, Posting, Recorded, Submission
from ledger.verification.runs import verify_ledger
from tests.faults.house import House, all_at_once, asks, eur, open_house, recorded, refund
from tests.unit.test_intent import LAW, STEPS, WAYS

STANCES = list(WAYS)
EFFECT_CENTS = 1_000
CRASHES = ("no crash", "lost", "kept")


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with open_house() as opened:
        yield opened


class CrashingStorage(PostgresStorage):
    """Ends the process, so to speak, around the next commit: before it, or after it."""

    crash = "no crash"

    @contextmanager
    def append_transaction(self, record: Any, wanted: Any) -> Iterator[PostgresTransaction]:
        crash, self.crash = self.crash, "no crash"
        with super().append_transaction(record, wanted) as transaction:
            yield transaction
            if crash == "lost":
                transaction.batch = None
        if crash != "no crash":
            self.close()
            raise OutcomeUnknownError(f"the process ended; its commit was {crash}")


@dataclass
class Client:
    """A client of one ledger that sends again, with the same key, whatever it got no answer to."""

    house: House
    ledger: str
    storage: CrashingStorage = field(init=False)
    keys: Iterator[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.storage = CrashingStorage(self.house.conninfo)
        self.intents = Intents(self.house.engine)
        self.restart()

    def restart(self) -> None:
        """A process that remembers nothing."""
        stops = Stops(self.house.engine)
        self.dialog = Dialog(self.storage, SystemClock(), stops)
        self.appender = Appender(
            self.storage, self.house.signer, self.house.vault, SystemClock(), stops
        )

    def close(self) -> None:
        self.storage.close()

    def key(self) -> str:
        return f"k{next(self.keys)}"

    def persist(self, ask: Callable[[], Any], crash: str) -> Any:
        self.storage.crash = crash
        try:
            return ask()
        except OutcomeUnknownError:
            self.restart()
            return ask()

    def promise(self, crash: str = "no crash", **words: Any) -> Taken:
        now = datetime.now(UTC)
        key = self.key()
        document = {"type": "card.capture", "answer_by": (now + timedelta(hours=1)).isoformat()}
        promise = build_promise(document | words, key=key, rules=Rules(), now=now)
        asked = Asked(
            ledger=self.ledger,
            principal="till",
            key=key,
            step=Step.PROMISED,
            said=promise.content,
            effect=promise.effect,
        )
        taken: Taken = self.persist(lambda: self.dialog.take(asked), crash)
        return taken

    def step(self, intent: str, name: str, token: int, crash: str = "no crash") -> Taken:
        step, by, said = STEPS[name]
        if said.get("digest") == "content":
            digest = self.intents.get(self.ledger, intent).intent.content_digest
            said = said | {"digest": digest}
        asked = Asked(
            ledger=self.ledger,
            principal=by,
            key=self.key(),
            step=step,
            said=said,
            token=token if step in FENCED else None,
            intent=intent,
        )
        taken: Taken = self.persist(lambda: self.dialog.take(asked), crash)
        return taken

    def hand_off(self, intent: str, token: int, crash: str = "no crash") -> Recorded:
        key = self.key()
        handoffs = Handoffs(intents=self.intents, reader=self.house.reader)
        record = self.house.reader.ledger(self.ledger)

        def ask() -> Recorded:
            refused = None
            for _ in range(3):
                prepared = handoffs.prepare(
                    record, intent, {}, key=key, now=datetime.now(UTC), refused=refused
                )
                if isinstance(prepared, Recorded):
                    return prepared
                submission = Submission(effect=prepared, handoff=Handoff(token=token))
                posting = Posting(ledger=self.ledger, principal="till", submissions=(submission,))
                [[outcome]] = self.appender.append(self.ledger, [posting])
                refused = outcome if isinstance(outcome, PossibleRepeatError) else None
                if refused is None:
                    break
            if isinstance(outcome, LedgerError):
                raise outcome
            return recorded(outcome)

        handed: Recorded = self.persist(ask, crash)
        return handed


# ---- The model ------------------------------------------------------------------------


@dataclass
class Known:
    """What the model knows of one intent."""

    id: str
    amount: int
    """Cents it would refund; 0 for an effect."""
    business_key: str | None
    stance: str = "promised"
    token: int = 1
    has_room: bool = True
    """It keeps its business key and its remainder."""
    observed: bool = False
    approved: bool = False


class DialogMachine(RuleBasedStateMachine):
    """Steps in any order, each with a crash or without, on intents of one ledger."""

    known = Bundle("known")

    def __init__(self, house: House) -> None:
        super().__init__()
        self.house = house
        self.client = Client(house, house.open_ledger())
        self.all: list[Known] = []
        self.refunded = 0
        self.size = 0
        self.recorded_keys: set[str] = set()

    @initialize()
    def open(self) -> None:
        [entry] = self.house.record(self.client.ledger, asks("sold", money=eur("10.00")))
        self.effect = entry.id
        self.size = 1

    @property
    def held(self) -> int:
        return sum(each.amount for each in self.all if each.has_room)

    @property
    def taken_keys(self) -> set[str]:
        return {each.business_key for each in self.all if each.business_key and each.has_room}

    @rule(
        target=known,
        amount=st.sampled_from([0, 300, 400, 700]),
        business_key=st.sampled_from([None, None, "b1", "b2"]),
        crash=st.sampled_from(CRASHES),
    )
    def promise(self, amount: int, business_key: str | None, crash: str) -> Known | None:
        words: dict[str, Any] = {"type": "t"}
        if amount:
            words |= {
                "kind": "refund",
                "corrects": self.effect,
                "reason": "asked",
                "money": eur(cents(amount), "out"),
            }
        if business_key:
            # Of one kind each, so that kinds do not tell them apart.
            business_key = f"{business_key}/{'refund' if amount else 'effect'}"
            words["business_key"] = business_key
        expected: type[LedgerError] | None = None
        if business_key in self.taken_keys | self.recorded_keys:
            expected = PossibleRepeatError
        elif amount and amount > EFFECT_CENTS - self.refunded - self.held:
            expected = OverRefundError
        if expected is not None:
            with pytest.raises(expected):
                self.client.promise(crash, **words)
            return Known("", 0, None)
        taken = self.client.promise(crash, **words)
        assert taken.replayed == (crash == "kept")
        made = Known(taken.intent.id, amount, business_key)
        self.all.append(made)
        return made

    @rule(
        one=known,
        name=st.sampled_from(sorted(STEPS.keys() - {"promise", "hand off"})),
        stale=st.sampled_from([0, 0, 0, -1, 1]),
        crash=st.sampled_from(CRASHES),
    )
    def step(self, one: Known, name: str, stale: int, crash: str) -> None:
        if not one.id:
            return
        fenced = STEPS[name][0] in FENCED
        law = LAW[name][STANCES.index(one.stance)]
        refused = isinstance(law, type) or (fenced and stale)
        if refused:
            with pytest.raises(RejectedError):
                self.client.step(one.id, name, one.token + stale, crash)
            return
        taken = self.client.step(one.id, name, one.token + stale, crash)
        assert taken.replayed == (crash == "kept")
        self.move(one, name, law)
        assert taken.token == one.token

    def move(self, one: Known, name: str, law: Any) -> None:
        if name == "approve":
            one.stance, one.approved = "approved", True
            return
        if STEPS[name][0] is Step.STARTED:
            one.token += 1
        one.stance = str(law).replace("_", " ")
        if one.stance == "executed":
            one.observed = True
        if one.stance in ("failed", "cancelled"):
            one.has_room = False

    @rule(one=known, stale=st.sampled_from([0, 0, 0, -1]), crash=st.sampled_from(CRASHES))
    def hand_off(self, one: Known, stale: int, crash: str) -> None:
        if not one.id:
            return
        if one.stance == "handed off":
            assert self.client.hand_off(one.id, one.token).replayed
            return
        if stale or one.stance not in ("executing", "executed"):
            with pytest.raises(RejectedError):
                self.client.hand_off(one.id, one.token + stale, crash)
            return
        if not one.observed and not one.has_room and one.amount:
            return
        handed = self.client.hand_off(one.id, one.token, crash)
        assert handed.replayed == (crash == "kept")
        assert handed.entry.effect.observed == one.observed
        assert (handed.entry.effect.approval is not None) == one.approved
        one.stance, one.has_room = "handed off", False
        self.refunded += one.amount
        self.size += 1
        if one.business_key and handed.entry.effect.repeat_of is None:
            self.recorded_keys.add(one.business_key)

    @rule(amount=st.sampled_from([100, 600]))
    def refund_directly(self, amount: int) -> None:
        """A refund that nobody promised gets what nobody holds."""
        submission = refund(self.client.key(), cents(amount), corrects=self.effect)
        [outcome] = self.house.post(self.client.ledger, submission)
        if amount > EFFECT_CENTS - self.refunded - self.held:
            assert isinstance(outcome, OverRefundError)
        else:
            recorded(outcome)
            self.refunded += amount
            self.size += 1

    @invariant()
    def what_is_held_is_what_the_model_holds(self) -> None:
        if not self.size:
            return
        position = self.house.positions(self.client.ledger).get(self.effect)
        if position is None:
            assert (self.refunded, self.held) == (0, 0)
            return
        _, original, adjusted, refunded, held, excess = position
        assert (original, adjusted, refunded, held) == (1_000, 0, self.refunded, self.held)
        assert excess == max(0, self.refunded + self.held - 1_000)
        assert self.house.reader.size(self.client.ledger) == self.size

    @invariant()
    def states_are_those_of_the_model(self) -> None:
        for one in self.all:
            intent = self.client.intents.get(self.client.ledger, one.id).intent
            stance = "executed" if intent.outcome == "executed" else intent.state.value
            if intent.state is State.HANDED_OFF:
                stance = "handed off"
            assert stance == ("promised" if one.stance == "approved" else one.stance)
            assert intent.token == one.token

    def teardown(self) -> None:
        if self.size:
            self.house.verify(self.client.ledger)
        self.client.close()


def cents(amount: int) -> str:
    return f"{amount // 100}.{amount % 100:02}"


def profile(examples: int, steps: int) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )


def test_a_dialog_is_what_the_model_says(house):
    run_state_machine_as_test(lambda: DialogMachine(house), settings=profile(6, 15))


@pytest.mark.slow
def test_any_long_dialog_is_what_the_model_says(house):
    run_state_machine_as_test(lambda: DialogMachine(house), settings=profile(60, 40))


# ---- Races ----------------------------------------------------------------------------


@pytest.mark.slow
def test_promises_and_refunds_together_never_take_more_than_there_is(house):
    """Twenty-four writers, half of them promising, on one effect; cancellations give back."""
    ledger = house.open_ledger()
    [effect] = house.record(ledger, asks("sold", money=eur("10.00")))
    clients = [Client(house, ledger, keys=itertools.count(n * 100)) for n in range(12)]
    words = {
        "kind": "refund",
        "type": "card.refund",
        "corrects": effect.id,
        "reason": "asked",
        "money": eur("1.00", "out"),
    }

    def promise(client: Client) -> str:
        try:
            return client.promise(**words).intent.id
        except OverRefundError:
            return ""

    def take(client: Client) -> str:
        submission = refund(client.key(), "1.00", corrects=effect.id)
        posting = Posting(ledger=ledger, principal="till", submissions=(submission,))
        [[outcome]] = client.appender.append(ledger, [posting])
        if isinstance(outcome, OverRefundError):
            return ""
        return recorded(outcome).entry.id

    # One connection is used by one thread: promisers and takers have clients of their own.
    calls = [
        (lambda client=client, ask=ask: ask(client))
        for client, ask in zip(clients, itertools.cycle([promise, take]), strict=False)
    ] * 3
    first = all_at_once(calls[:12], threads=12)
    second = all_at_once(calls[:12], threads=12)

    got = [each for each in (*first, *second) if each]
    assert len(got) == 10
    _, original, _, refunded, held, excess = house.positions(ledger)[effect.id]
    assert (original, refunded + held, excess) == (1_000, 1_000, 0)
    house.verify(ledger)
    for client in clients:
        client.close()


@pytest.mark.slow
def test_one_of_many_promises_of_one_name_is_taken(house):
    """The others are possible repeats, and are told the first one's id alone."""
    ledger = house.open_ledger()
    clients = [Client(house, ledger, keys=itertools.count(n * 10)) for n in range(16)]

    def promise(client: Client) -> tuple[bool, str]:
        try:
            return True, client.promise(business_key="invoice/1").intent.id
        except PossibleRepeatError as error:
            [told] = [value for value in error.details.values() if value is not None]
            return False, told

    told = all_at_once([lambda client=client: promise(client) for client in clients], threads=16)

    assert sorted(each[0] for each in told) == [False] * 15 + [True]
    assert len({each[1] for each in told}) == 1
    for client in clients:
        client.close()


def test_steps_that_wait_together_are_committed_together(house):
    """Through one connection; each gets its own answer."""
    client = Client(house, house.open_ledger())
    with house.head_kept(client.ledger):
        answers: list[Any] = [None] * 8

        def promise(at: int) -> None:
            answers[at] = client.promise(business_key=f"b/{at % 4}")

        def tell(at: int) -> None:
            try:
                promise(at)
            except PossibleRepeatError as error:
                answers[at] = error

        threads = [threading.Thread(target=tell, args=(at,)) for at in range(8)]
        for thread in threads:
            thread.start()
        while sum(map(len, client.dialog._queues.values())) < 7:
            time.sleep(0.01)
    for thread in threads:
        thread.join()

    taken = [each for each in answers if isinstance(each, Taken)]
    assert len(taken) == 4
    assert len({each.now for each in taken}) <= 2
    client.close()


# ---- Tampering ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def spoken(house) -> tuple[str, dict[str, str]]:
    """A ledger with an intent of every kind of end."""
    ledger = house.open_ledger()
    client = Client(house, ledger)
    [effect] = house.record(ledger, asks("sold", money=eur("10.00")))
    words = {
        "kind": "refund",
        "type": "card.refund",
        "corrects": effect.id,
        "reason": "asked",
        "subject": "order/1",
        "business_key": "r/1",
        "money": eur("4.00", "out"),
    }
    held = client.promise(**words).intent.id
    done = client.promise(type="t").intent.id
    client.step(done, "start", 1)
    client.step(done, "result", 2)
    client.hand_off(done, 2)
    failed = client.promise(type="t").intent.id
    client.step(failed, "start", 1)
    client.step(failed, "failure", 2)
    client.close()
    house.verify(ledger)
    return ledger, {"held": held, "done": done, "failed": failed, "effect": effect.id}


EDIT_EVENT = (
    "update intent_events set body = convert_to(replace(convert_from(body, 'UTF8'), '{}', '{}'),"
    " 'UTF8') where intent = %({})s and number = {}"
)
ADD_EVENT = (
    "insert into intent_events select ledger, intent, 3, convert_to(replace(convert_from(body,"
    " 'UTF8'), '\"number\":2', '\"number\":3'), 'UTF8') from intent_events"
    " where intent = %(failed)s and number = 2"
)
EDIT_ROW = "update intents set {} where id = %(held)s"

TAMPERINGS: dict[str, tuple[str, str]] = {
    "another spelling": (EDIT_EVENT.format(":", ": ", "done", 1), "intent.missing"),
    "replace the evidence": (EDIT_EVENT.format("re_1", "re_2", "done", 2), "intent.digest"),
    "another entry": (EDIT_EVENT.format('"entry":"0', '"entry":"1', "done", 3), "intent.entry"),
    "delete the events": ("delete from intent_events where intent = %(done)s", "intent.missing"),
    "drop the newest event": (
        "delete from intent_events where intent = %(failed)s and number = 2",
        "intent.state",
    ),
    "add an event": (ADD_EVENT, "intent.events"),
    "delete the row": ("delete from intents where id = %(held)s", "intent.extra"),
    "say it failed": (EDIT_ROW.format("state = 'failed'"), "intent.state"),
    "say it happened": (EDIT_ROW.format("outcome = 'executed'"), "intent.outcome"),
    "hold more": (EDIT_ROW.format("held = held + 1"), "intent.held"),
    "let go of the name": (EDIT_ROW.format("is_reserving = false"), "intent.is_reserving"),
    "another subject": (EDIT_ROW.format("subject = 'order/2'"), "intent.subject"),
    "another business key": (EDIT_ROW.format("business_key = 'r/2'"), "intent.business_key"),
    "another key": (EDIT_ROW.format("key = 'other'"), "intent.key"),
    "put the answer off": (
        EDIT_ROW.format("answer_by = answer_by + interval '1 day'"),
        "intent.answer_by",
    ),
    "hold less in the position": (
        "update positions set held = held - 1 where entry = %(effect)s",
        "position.held",
    ),
    "delete the position": ("delete from positions where entry = %(effect)s", "position.missing"),
}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_tampering_with_intents_is_found(house, spoken, name):
    """By somebody whom no guard of the database stops."""
    ledger, ids = spoken
    statement, check = TAMPERINGS[name]
    tables = ("intents", "intent_events", "positions")
    with house.superuser() as connection:
        for table in tables:
            connection.execute(f"create temp table kept_{table} as select * from {table}")
            connection.execute(f"alter table {table} disable trigger all")
        try:
            assert connection.execute(statement, ids).rowcount > 0
            report = verify_ledger(
                house.engine, ledger, read_signed=house._read_signed, vault=house.vault
            )
        finally:
            for table in tables:
                connection.execute(f"delete from {table}")
                connection.execute(f"insert into {table} select * from kept_{table}")
                connection.execute(f"alter table {table} enable trigger all")
                restore_guards(connection, table)
    assert check in {finding.check for finding in report.findings}, report.findings
    assert report.tamper == "bad"


def restore_guards(connection: psycopg.Connection[Any], table: str) -> None:
    for (trigger,) in connection.execute(
        "select tgname from pg_trigger where tgrelid = %s::regclass and not tgisinternal", (table,)
    ).fetchall():
        connection.execute(f"alter table {table} enable always trigger {trigger}")
