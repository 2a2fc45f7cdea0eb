"""
The outbox against a small model: whatever fails, and whichever relays are at work, what the ledger
records of a subject is what was added of it, in that order, none twice and none left out.
"""

from __future__ import annotations

import itertools
import sqlite3
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from ledger.client import outbox
from ledger.client.outbox.link import SqliteLink
from ledger.client.outbox.relay import UNDERWAY_S, Relay
from ledger.client.outbox.table import take_statement
from ledger.errors import NotFoundError
from ledger.forms.timestamps import format_time
from tests.effort import examples
from tests.unit.plain_ledger import Killed, PlainLedger

RELAYS = 3
LEASE_S = 30.0
FAULTS = (
    *("none", "none", "away", "lost", "killed before", "killed after", "overtaken"),
    *("late", "late, and killed", "unsigned", "not there"),
)
RULES_PER_RUN = 25
RUNS = 25

relays = st.integers(0, RELAYS - 1)
subjects = st.sampled_from(["order/1", "order/2", None])


class OutboxMachine(RuleBasedStateMachine):
    """Services add, relays hand off, die and overtake each other, people decide."""

    keys = Bundle("keys")

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory(prefix="effect-ledger-test-")
        self._path = Path(self._folder.name, "service.db")
        self._service = sqlite3.connect(self._path)
        self.ledger = PlainLedger()
        self.seconds = 0.0
        self.late_until = float("inf")
        self.numbers = itertools.count()
        self.added: list[tuple[str, str | None, str | None]] = []
        self._service.execute("pragma synchronous = off")
        with self._service:
            outbox.create(self._service)
        self.relays = [self._relay() for _ in range(RELAYS)]

    def teardown(self) -> None:
        """In the end, when nothing fails any more, everything has arrived."""
        try:
            self.ledger.refused.clear()
            self._pass(LEASE_S + 60)
            for _ in range(len(self.added) + 1):
                with self._service:
                    for each in outbox.status(self._service)["refused"]:
                        outbox.release(self._service, each["key"], reason="mended")
                self._pass(60)
                self.relays[0].drain()
            self._check_all_arrived()
            self.order_is_kept()
        finally:
            for relay in self.relays:
                relay.close()
            self._service.close()
            self._folder.cleanup()

    @rule(target=keys, subject=subjects, commits=st.booleans())
    def add(self, subject: str | None, commits: bool) -> str:
        return self._add(subject, None, commits)

    @rule(target=keys, corrected=keys, subject=subjects)
    def correct(self, corrected: str, subject: str | None) -> str:
        # Of keys that were rolled back or withdrawn the ledger never hears.
        there = self._service.execute(
            "select 1 from effect_ledger_outbox where key = ? and state <> 'withdrawn'",
            (corrected,),
        ).fetchone()
        return self._add(subject, corrected if there else None, commits=True)

    @rule(which=relays, other=relays, fault=st.sampled_from(FAULTS))
    def turn(self, which: int, other: int, fault: str) -> None:
        if fault == "overtaken":
            # It is frozen while its batch is on its way, and another one takes the same rows.
            self.ledger.meanwhile = lambda: self._overtake(other if other != which else which - 1)
        else:
            self.ledger.fault = fault
        was_late = bool(self.ledger.underway)
        try:
            self.relays[which].turn()
        except Killed:
            self.relays[which].close()
            self.relays[which] = self._relay()
        self.ledger.fault, self.ledger.meanwhile = "none", lambda: None
        if self.ledger.underway and not was_late:
            self.late_until = self.seconds + UNDERWAY_S

    @rule()
    def arrive(self) -> None:
        self.ledger.arrive()

    @rule(seconds=st.sampled_from([1, LEASE_S / 2, LEASE_S + 1, UNDERWAY_S + 1]))
    def wait(self, seconds: float) -> None:
        self._pass(seconds)

    @rule(key=keys)
    def refuse(self, key: str) -> None:
        self.ledger.refused.add(key)

    @rule(key=keys)
    def mend(self, key: str) -> None:
        self.ledger.refused.discard(key)

    @rule(key=keys)
    def release(self, key: str) -> None:
        self._decide(outbox.release, key)

    @rule(key=keys)
    def withdraw(self, key: str) -> None:
        # Nothing hangs on it that would be refused for ever.
        if all(target != key for _, _, target in self.added):
            self._decide(outbox.withdraw, key)

    @invariant()
    def order_is_kept(self) -> None:
        """Each subject as it was added, and no correction before its target."""
        recorded = [entry["key"] for entry in self.ledger.entries]
        assert len(set(recorded)) == len(recorded)
        at = {key: seq for seq, key in enumerate(recorded)}
        for subject in {subject for _, subject, _ in self.added} - {None}:
            seqs = [at[key] for key, about, _ in self.added if about == subject and key in at]
            assert seqs == sorted(seqs)
        for key, _, target in self.added:
            assert target is None or key not in at or at[target] < at[key]
        # Nothing is refused for having come too early.
        assert not self.ledger.orphans

    @invariant()
    def what_is_handed_off_is_proved(self) -> None:
        """And what is not in history has no receipt."""
        receipts = self._service.execute(
            "select distinct state, json_extract(receipt, '$.level') from effect_ledger_outbox"
        )
        assert set(receipts) <= {
            *(("handed_off", "log-signed"), ("waiting", None)),
            *(("parked", None), ("withdrawn", None)),
        }

    @invariant()
    def nothing_withdrawn_is_history(self) -> None:
        withdrawn = self._service.execute(
            "select key from effect_ledger_outbox where state = 'withdrawn'"
        )
        assert {key for (key,) in withdrawn}.isdisjoint(each["key"] for each in self.ledger.entries)

    def _check_all_arrived(self) -> None:
        rows = self._service.execute("select key, state, seq from effect_ledger_outbox").fetchall()
        assert [key for key, _, _ in rows] == [key for key, _, _ in self.added]
        assert {state for _, state, _ in rows} <= {"handed_off", "withdrawn"}
        handed_off = {key: seq for key, state, seq in rows if state == "handed_off"}
        assert handed_off == {entry["key"]: seq for seq, entry in enumerate(self.ledger.entries)}

    def _add(self, subject: str | None, target: str | None, commits: bool) -> str:
        key = f"k{next(self.numbers)}"
        effect: dict[str, Any] = {"type": "card.capture", "occurred_at": "2026-03-02T09:15:00Z"}
        if subject is not None:
            effect["subject"] = subject
        if target is not None:
            effect |= {"kind": "adjustment", "corrects_key": target, "reason": "address.wrong"}
        outbox.add(self._service, effect, key=key, ledger="shop")
        if commits:
            self._service.commit()
            self.added.append((key, subject, target))
        else:
            self._service.rollback()
        return key

    def _decide(self, decide: Any, key: str) -> None:
        with self._service, suppress(NotFoundError):
            decide(self._service, key, reason="as the test says")

    def _overtake(self, other: int) -> None:
        self._pass(LEASE_S + 1)
        self.relays[other].turn()

    def _pass(self, seconds: float) -> None:
        if self.seconds + seconds >= self.late_until:
            self.ledger.arrive()
            self.late_until = float("inf")
        self.seconds += seconds

    def _relay(self) -> Relay:
        return Relay(
            open_link=lambda: _ShiftedLink(self),
            open_ledger=lambda _: self.ledger,
            lease_s=LEASE_S,
            clock=lambda: self.seconds,
        )


class _ShiftedLink(SqliteLink):
    """To the service's database, at the time the machine says it is."""

    def __init__(self, machine: OutboxMachine) -> None:
        connection = sqlite3.connect(machine._path, isolation_level=None)
        connection.execute("pragma synchronous = off")
        super().__init__(connection)
        self._machine = machine

    def now(self) -> datetime:
        return datetime(2026, 3, 2, tzinfo=UTC) + timedelta(seconds=self._machine.seconds)


def test_what_is_added_is_recorded_once_and_in_order_whatever_fails():
    run_state_machine_as_test(
        OutboxMachine,
        settings=settings(max_examples=RUNS, stateful_step_count=RULES_PER_RUN),
    )


def test_a_correction_waits_for_what_it_corrects_in_whatever_subject_that_is():
    machine = OutboxMachine()
    machine.refuse("k0")
    paid = machine.add("order/1", commits=True)
    machine.correct(paid, "order/2")
    machine.correct(paid, None)
    # And what follows in its subject waits with it.
    machine.add("order/2", commits=True)

    machine.turn(0, 1, "none")
    machine.turn(0, 1, "none")

    assert machine.ledger.entries == []
    machine.order_is_kept()
    machine.teardown()
    assert [entry["key"] for entry in machine.ledger.entries] == ["k0", "k1", "k2", "k3"]


def test_what_is_refused_after_a_try_without_an_answer_is_not_withdrawn_until_it_is_looked_up():
    machine = OutboxMachine()
    key = machine.add("order/1", commits=True)
    machine.turn(0, 1, "late")
    machine.refuse(key)
    machine.wait(LEASE_S + 1)

    machine.turn(0, 1, "none")

    with machine._service, pytest.raises(NotFoundError):
        outbox.withdraw(machine._service, key, reason="refused, so it seems")
    [row] = outbox.status(machine._service)["troubled"]
    assert row["problem"]["code"] == "OVER_REFUND"
    assert "an earlier try had no answer" in row["problem"]["detail"]
    # The earlier try gets there after all, and is found.
    machine.mend(key)
    machine.arrive()
    machine.refuse(key)
    machine.wait(UNDERWAY_S + 1)
    machine.turn(0, 1, "none")
    assert outbox.status(machine._service)["handed_off"] == 1
    machine.teardown()


@pytest.mark.parametrize("fault", ["killed before", "lost on the way"])
def test_what_is_looked_up_and_not_there_is_refused_and_may_be_withdrawn(fault):
    """Also where nobody lived to say that there was no answer."""
    machine = OutboxMachine()
    key = machine.add("order/1", commits=True)
    machine.turn(0, 1, "late" if fault == "lost on the way" else fault)
    machine.ledger.underway.clear()
    machine.refuse(key)
    machine.wait(LEASE_S + 1)
    machine.turn(0, 1, "none")
    assert outbox.status(machine._service)["parked"] == 0

    machine.wait(UNDERWAY_S + 1)
    machine.turn(0, 1, "none")

    assert outbox.status(machine._service)["parked"] == 1
    with machine._service:
        outbox.withdraw(machine._service, key, reason="it is not there")
    machine.teardown()
    assert machine.ledger.entries == []


def test_what_every_try_was_refused_for_may_be_withdrawn_while_no_relay_has_it():
    """As where the ledger that it is for does not exist: it is not parked, for it may yet."""
    machine = OutboxMachine()
    key = machine.add("order/1", commits=True)
    machine.turn(0, 1, "not there")
    [row] = outbox.status(machine._service)["troubled"]
    assert (row["problem"]["status"], row["tries"]) == (404, 1)

    machine.withdraw(key)

    machine.add("order/1", commits=True)
    machine.wait(UNDERWAY_S + 1)
    machine.turn(0, 1, "none")
    status = outbox.status(machine._service)
    assert (status["withdrawn"], status["handed_off"], status["waiting"]) == (1, 1, 0)
    machine.teardown()


def test_what_is_recorded_without_a_proof_is_asked_for_again_until_it_has_one():
    """And what follows in its subject waits with it."""
    machine = OutboxMachine()
    key = machine.add("order/1", commits=True)
    machine.turn(0, 1, "unsigned")
    machine.add("order/1", commits=True)
    machine.turn(0, 1, "none")

    [row] = outbox.status(machine._service)["troubled"]
    assert row["key"] == key
    assert row["problem"]["code"] == "PROOF_AWAITED"
    assert row["problem"]["detail"].startswith("recorded, proof awaited")
    assert [each["key"] for each in machine.ledger.entries] == [key]
    with machine._service, pytest.raises(NotFoundError):
        outbox.withdraw(machine._service, key, reason="it is history")
    machine.wait(1)
    machine.turn(0, 1, "none")
    assert outbox.status(machine._service)["handed_off"] == 2
    assert machine.relays[0].counts["replayed"] == 1
    machine.teardown()


# ---- What is due ----------------------------------------------------------------------

NOW = datetime(2026, 3, 2, tzinfo=UTC)
STATES = ("waiting", "waiting", "waiting", "parked", "handed_off", "withdrawn")


@dataclass(frozen=True)
class Placed:
    """A row of a table, by what decides whether it is due."""

    subject: str | None
    target: int | None
    """Place of the row that it corrects."""
    state: str
    rests: bool

    @property
    def is_open(self) -> bool:
        return self.state in ("waiting", "parked")


@st.composite
def tables(draw: st.DrawFn) -> list[Placed]:
    rows: list[Placed] = []
    for at in range(draw(st.integers(0, 9))):
        rests = draw(st.sampled_from([False, False, False, True]))
        target = draw(st.none() | st.integers(0, at - 1)) if at else None
        rows.append(Placed(draw(subjects), target, draw(st.sampled_from(STATES)), rests))
    return rows


@settings(max_examples=examples(300))
@given(tables(), st.integers(1, 10))
def test_no_row_is_due_while_one_before_it_in_its_subject_is_not(rows, rows_max):
    """Nor while what it corrects in another subject is not history, whatever that waits for."""
    due: list[int] = []
    for at, row in enumerate(rows):
        before = [no for no in range(at) if rows[no].is_open and row.subject is not None]
        waits = any(rows[no].subject == row.subject and no not in due for no in before)
        if row.target is not None and rows[row.target].is_open:
            same = row.subject is not None and rows[row.target].subject == row.subject
            waits = waits or not same
        if row.state == "waiting" and not (row.rests or waits):
            due.append(at)

    taken = take(rows, rows_max)

    assert taken == due[:rows_max]


def take(rows: Sequence[Placed], rows_max: int) -> list[int]:
    """Places of the rows that a relay takes."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    outbox.create(connection)
    connection.executemany(
        "insert into effect_ledger_outbox (id, ledger, subject, kind, target, key, body, state,"
        " not_before) values (?, 'shop', ?, 'effect', ?, ?, '{}', ?, ?)",
        [
            (
                at,
                row.subject,
                None if row.target is None else f"k{row.target}",
                f"k{at}",
                row.state,
                format_time(NOW + timedelta(seconds=9)) if row.rests else None,
            )
            for at, row in enumerate(rows)
        ],
    )
    until = NOW + timedelta(seconds=LEASE_S)
    values = {"now": NOW, "until": until, "underway_since": NOW, "lease": "a"}
    limits = {"rows_max": rows_max, "octets_max": 1_000}
    taken = SqliteLink(connection).rows(take_statement("sqlite", 0), values | limits)
    connection.close()
    return sorted(columns[0] for columns in taken)
