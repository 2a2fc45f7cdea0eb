"""Laws of the outbox, with the real databases of services and a real ledger."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import orjson
import psycopg
import pytest
import sqlalchemy

from ledger.client import NotSent, outbox
from ledger.client.outbox.__main__ import main
from ledger.client.receipt_store import MemoryReceipts
from ledger.effect import Rules
from ledger.errors import (
    DatabaseUnavailableError,
    IdempotencyConflictError,
    LedgerError,
    MalformedEffectError,
    NotFoundError,
    PersonalDataError,
    SettingsError,
    TooLargeError,
)
from ledger.storage.embedded import attach
from ledger.storage.embedded.cluster import SUPERUSER
from tests.api.services import Service, alchemy_service, psycopg_service, sqlite_service
from tests.api.support import Api, capture, refund

WAITS_AT_MOST_S = 20.0
SCHEMAS = itertools.count()
POSTGRESQL = ("psycopg", "sqlalchemy", "session")
SQLITE = ("sqlite3", "sqlalchemy on sqlite")


@pytest.fixture
def conninfo(engine, database) -> Iterator[str]:
    """A schema of a service's own."""
    server = attach(engine.settings.data_dir)
    assert server is not None
    schema = f"service_{next(SCHEMAS)}"
    database.execute(f"create schema {schema}")
    yield f"{server.conninfo(SUPERUSER)} options='-c search_path={schema}'"
    database.execute(f"drop schema {schema} cascade")


@pytest.fixture
def open_service(request, tmp_path) -> Iterator[Callable[[str], Service]]:
    with ExitStack() as opened:

        def open_one(kind: str) -> Service:
            if kind == "sqlite3":
                return sqlite_service(tmp_path / "service.db")
            if kind == "psycopg":
                return psycopg_service(request.getfixturevalue("conninfo"))
            if kind == "sqlalchemy on sqlite":
                engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path / 'service.db'}")
            else:
                conninfo = request.getfixturevalue("conninfo")
                engine = sqlalchemy.create_engine(
                    "postgresql+psycopg://", creator=lambda: psycopg.connect(conninfo)
                )
            opened.callback(engine.dispose)
            return alchemy_service(engine, session=kind == "session")

        yield open_one


@pytest.fixture
def service(request, open_service) -> Service:
    """One with an outbox; by psycopg, unless the test says otherwise."""
    made = open_service(getattr(request, "param", "psycopg"))
    with made.transaction() as connection:
        outbox.create(connection)
    return made


@pytest.fixture
def relay(service, http, api) -> Iterator[outbox.Relay]:
    made = outbox.open_relay(service.database, url=str(http.base_url), key=api.token)
    yield made
    made.close()


def recorded(api: Api) -> list[dict[str, Any]]:
    """Effects of the ledger, in order."""
    return [each["entry"]["effect"] for each in api.get("/entries", limit=1000).json()["entries"]]


def keys_of(api: Api) -> list[str]:
    return [effect["key"] for effect in recorded(api)]


def until(condition: Callable[[], bool]) -> None:
    gives_up_at = time.monotonic() + WAITS_AT_MOST_S
    while not condition():
        assert time.monotonic() < gives_up_at
        time.sleep(0.02)


# ---- Adding ---------------------------------------------------------------------------


@pytest.mark.parametrize("service", [*POSTGRESQL, *SQLITE], indirect=True)
def test_an_effect_is_recorded_exactly_if_its_transaction_commits(service, relay, api):
    def fail() -> None:
        with service.transaction() as connection:
            outbox.add(connection, capture(), key="never", ledger=api.ledger)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with service.transaction() as connection:
        added = outbox.add(connection, capture(subject="order/1"), key="k-1", ledger=api.ledger)
        relay_saw = relay.turn() if service.dialect == "postgresql" else 0

    assert relay_saw == 0
    assert relay.drain() is None
    assert (added.state, added.repeated) == ("waiting", False)
    assert keys_of(api) == ["k-1"]
    assert service.status()["handed_off"] == 1


def test_what_was_handed_off_has_its_entry_and_receipt_beside_it(service, http, api, conninfo):
    """And in the store of receipts; the client proved it."""
    kept = MemoryReceipts()
    service.add("k-1", capture(note="words"), ledger=api.ledger)

    outbox.open_relay(
        service.database, url=str(http.base_url), key=api.token, receipts=kept
    ).drain()

    with psycopg.connect(conninfo) as connection:
        [(state, entry_id, seq, receipt)] = connection.execute(
            "select state, entry_id::text, seq, receipt::json from effect_ledger_outbox"
        ).fetchall()
    entry = api.get("/entries").json()["entries"][0]
    assert (state, entry_id, seq) == ("handed_off", entry["id"], 0)
    assert receipt["level"] == "log-signed"
    place = f"{str(http.base_url).rstrip('/')}/v1/ledgers/{api.ledger}"
    document = kept.get(place, entry_id)
    assert document is not None
    assert document["receipt"] == receipt


BAD = {
    "no type": ({"occurred_at": "2026-03-02T09:15:00Z"}, MalformedEffectError),
    "unknown member": (capture(colour="red"), MalformedEffectError),
    "half a cent": (capture("1.005"), MalformedEffectError),
    "tomorrow": (
        capture() | {"occurred_at": datetime.now(UTC) + timedelta(days=1)},
        MalformedEffectError,
    ),
    "a person": (capture(subject="ann@example.org"), PersonalDataError),
    "a bad payload": (capture(payloads=[{"name": "x"}]), MalformedEffectError),
    "a bad signature": (capture(signature={"key_id": "k", "sig": "?"}), MalformedEffectError),
    "a refund of nothing": (refund("1.00") | {"kind": "refund"}, MalformedEffectError),
    "a notice": (capture() | {"kind": "notice"}, MalformedEffectError),
    "too large": (
        capture(payloads=[{"name": f"p{at}", "text": "x" * 1_000_000} for at in range(5)]),
        TooLargeError,
    ),
    "no JSON": (capture(subject=object()), NotSent),
    "another key beside it": (capture() | {"key": "k-2"}, MalformedEffectError),
}


@pytest.mark.parametrize(("effect", "error"), BAD.values(), ids=BAD)
@pytest.mark.parametrize("service", ["sqlite3"], indirect=True)
def test_what_the_ledger_would_refuse_fails_the_transaction_that_said_it(service, effect, error):
    with pytest.raises(error):
        service.add("k-1", effect, ledger="shop")

    assert service.status()["ledgers"] == {}


@pytest.mark.parametrize("service", ["sqlite3"], indirect=True)
def test_what_is_said_in_types_of_python_is_said_exactly(service, relay, api):
    at = datetime(2026, 3, 2, 10, 15, tzinfo=UTC)
    money = {"amount": Decimal("19.90"), "currency": "EUR", "flow": "in"}
    service.add("k-1", capture() | {"occurred_at": at, "money": money}, ledger=api.ledger)

    relay.drain()

    [effect] = recorded(api)
    assert effect["occurred_at"] == "2026-03-02T10:15:00.000000Z"
    assert effect["money"]["amount"] == "19.90"


@pytest.mark.parametrize("service", ["sqlite3"], indirect=True)
def test_units_of_a_ledger_are_taken_where_they_are_named(service):
    effect = capture() | {"money": {"amount": "1.000001", "currency": "USDC", "flow": "in"}}
    with service.transaction() as connection:
        rules = Rules(units={"USDC": 6})
        assert outbox.add(connection, effect, key="k", ledger="shop", rules=rules).id == 1


@pytest.mark.parametrize("service", ["psycopg", "sqlalchemy", *SQLITE], indirect=True)
def test_a_connection_that_commits_each_statement_by_itself_is_refused(service):
    connection = service.by_itself()

    with pytest.raises(SettingsError, match="begin one first"):
        outbox.add(connection, capture(), key="k", ledger="shop")
    connection.close()


@pytest.mark.parametrize("what", [None, "postgresql://", object()])
def test_what_is_no_connection_is_told_apart(what):
    with pytest.raises(SettingsError, match="the outbox takes"):
        outbox.add(what, capture(), key="k", ledger="shop")


@pytest.mark.parametrize("service", ["psycopg", *SQLITE], indirect=True)
def test_the_same_effect_again_is_the_same_row(service, relay, api):
    first = service.add("k-1", capture(subject="order/1"), ledger=api.ledger)
    again = service.add("k-1", capture(subject="order/1"), ledger=api.ledger)
    with pytest.raises(IdempotencyConflictError, match="another effect"):
        service.add("k-1", capture(subject="order/2"), ledger=api.ledger)
    relay.drain()
    later = service.add("k-1", capture(subject="order/1"), ledger=api.ledger)

    assert (again.id, again.repeated, again.state) == (first.id, True, "waiting")
    assert (later.id, later.repeated, later.state) == (first.id, True, "handed_off")
    assert keys_of(api) == ["k-1"]


# ---- Order ----------------------------------------------------------------------------


def test_a_subject_is_handed_off_in_the_order_of_commits(service, relay, api):
    """Who adds to it second waits for the first to end; who adds to another does not."""
    second_is_there = threading.Event()

    def add_second() -> None:
        service.add("second", capture(subject="order/1"), ledger=api.ledger)
        second_is_there.set()

    with service.transaction() as connection:
        outbox.add(connection, capture(subject="order/1"), key="first", ledger=api.ledger)
        thread = threading.Thread(target=add_second)
        thread.start()
        service.add("other", capture(subject="order/2"), ledger=api.ledger)
        assert not second_is_there.wait(0.1)
        # What is committed late has an earlier id, and is not passed over for that.
        assert relay.turn() == 1
        assert keys_of(api) == ["other"]
    thread.join()
    relay.drain()

    assert keys_of(api) == ["other", "first", "second"]


@pytest.mark.parametrize("service", ["psycopg", "sqlite3"], indirect=True)
def test_a_correction_finds_what_is_in_the_outbox_itself(service, relay, api):
    """Whether they have a subject, the same or none."""
    with service.transaction() as connection:
        for subject in ({"subject": "order/1"}, {}):
            name = "-".join(["paid", *subject.values()])
            outbox.add(connection, capture("9.00", **subject), key=name, ledger=api.ledger)
            outbox.add(
                connection,
                refund("4.00", kind="refund", corrects_key=name, subject="order/1"),
                key=f"{name}-back",
                ledger=api.ledger,
            )

    assert relay.drain() is None

    assert sorted(keys_of(api)) == ["paid", "paid-back", "paid-order/1", "paid-order/1-back"]
    assert service.status()["parked"] == 0


@pytest.mark.parametrize("service", ["psycopg", "sqlite3"], indirect=True)
def test_relays_beside_each_other_keep_the_order_and_send_nothing_twice(service, http, api):
    """While services go on adding."""
    subjects, each = 5, 15
    with ExitStack() as opened:
        relays = [
            opened.enter_context(
                outbox.start_relay(service.database, url=str(http.base_url), key=api.token)
            )
            for _ in range(3)
        ]
        for at in range(each):
            with service.transaction() as connection:
                for subject in range(subjects):
                    effect = capture(subject=f"order/{subject}")
                    outbox.add(connection, effect, key=f"{subject}-{at}", ledger=api.ledger)
        until(lambda: service.status()["handed_off"] == subjects * each)
        assert all(relay.alive for relay in relays)

    effects = recorded(api)
    for subject in range(subjects):
        keys = [e["key"] for e in effects if e["subject"] == f"order/{subject}"]
        assert keys == [f"{subject}-{at}" for at in range(each)]
    assert sum(relay.relay.counts["handed_off"] for relay in relays) == subjects * each


# ---- What stands in the way -----------------------------------------------------------


@pytest.fixture
def refused(service, relay, api) -> Service:
    """A subject whose second row takes back too much, and another subject."""
    for key, effect in {
        "paid": capture("10.00", subject="order/1"),
        "too-much": refund("20.00", kind="refund", corrects_key="paid", subject="order/1"),
        "after": capture("1.00", subject="order/1"),
        "free": capture("2.00", subject="order/2"),
    }.items():
        service.add(key, effect, ledger=api.ledger)
    assert relay.drain() is None
    return service


@pytest.mark.parametrize("service", ["psycopg", "sqlite3"], indirect=True)
def test_a_row_that_is_refused_holds_its_subject_and_nothing_else(refused, api):
    assert sorted(keys_of(api)) == ["free", "paid"]
    status = refused.status()
    assert (status["handed_off"], status["parked"], status["waiting"]) == (2, 1, 1)
    assert status["behind"] == 1
    assert status["oldest_waiting_s"] >= 0
    [row] = status["refused"]
    assert (row["key"], row["subject"]) == ("too-much", "order/1")
    assert row["problem"]["code"] == "OVER_REFUND"
    assert row["problem"]["action"] == "escalate-history"


@pytest.mark.parametrize("service", ["psycopg", "sqlite3"], indirect=True)
def test_what_waits_for_a_refused_row_of_another_subject_holds_its_own(refused, relay, api):
    """And so does what waits for that."""
    for key, subject, corrected in (
        ("of-it", "case/1", "too-much"),
        ("next", "case/1", None),
        ("of-next", "case/2", "next"),
        ("last", "case/2", None),
    ):
        effect = capture("1.00", subject=subject)
        if corrected is not None:
            effect = refund("1.00", kind="refund", corrects_key=corrected, subject=subject)
        refused.add(key, effect, ledger=api.ledger)
    relay.drain()

    assert sorted(keys_of(api)) == ["free", "paid"]
    assert (refused.status()["waiting"], refused.status()["behind"]) == (5, 5)


@pytest.fixture
def silence() -> Iterator[str]:
    """URL of somebody who takes what is sent, and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def time_passes(service: Service) -> None:
    """Whatever was underway has arrived or is lost, and nothing rests any more."""
    with service.transaction() as connection:
        connection.execute(
            "update effect_ledger_outbox set not_before = null,"
            " doubted_at = '2026-01-01T00:00:00.000000Z' where doubted_at is not null"
        )


@pytest.mark.parametrize("service", ["psycopg", "sqlite3"], indirect=True)
def test_what_was_refused_after_a_try_without_an_answer_is_looked_up_before_it_is_withdrawn(
    service, relay, api, silence
):
    """Its key is asked for once that try cannot be on its way any more, and is not there."""
    service.add("k-1", refund("1.00", kind="refund", corrects_key="nothing"), ledger=api.ledger)
    [vkey] = api.get("").json()["keys"]
    outbox.open_relay(service.database, url=silence, key="elk_x_y", vkey=vkey, lease_s=2).drain()
    until(lambda: relay.turn() == 1)

    too_early = pytest.raises(NotFoundError, match="may be history")
    with too_early, service.transaction() as connection:
        outbox.withdraw(connection, "k-1", reason="refused, so it seems")
    [row] = service.status()["troubled"]
    assert row["problem"]["code"] == "BAD_REFERENCE"
    assert "may still be on its way" in row["problem"]["detail"]

    time_passes(service)
    relay.drain()
    with service.transaction() as connection:
        outbox.withdraw(connection, "k-1", reason="it is not there")
    assert keys_of(api) == []
    assert service.status()["withdrawn"] == 1


@pytest.mark.parametrize("service", ["psycopg", "sqlite3"], indirect=True)
def test_a_row_that_is_withdrawn_lets_the_others_go_on(refused, relay, api):
    with refused.transaction() as connection:
        outbox.withdraw(connection, "too-much", reason="typed wrongly")
    relay.drain()

    assert sorted(keys_of(api)) == ["after", "free", "paid"]
    assert refused.status()["withdrawn"] == 1
    with pytest.raises(IdempotencyConflictError, match="withdrawn"):
        refused.add(
            "too-much",
            refund("20.00", kind="refund", corrects_key="paid", subject="order/1"),
            ledger=api.ledger,
        )


@pytest.mark.parametrize("service", ["psycopg", "sqlite3"], indirect=True)
def test_a_row_that_is_released_is_sent_again_in_its_place(refused, relay, api):
    entries = api.get("/entries").json()["entries"]
    [paid] = [each["id"] for each in entries if each["entry"]["effect"]["key"] == "paid"]
    more = {
        "type": "card.increment",
        "occurred_at": "2026-03-02T09:15:00Z",
        "reason": "tip.added",
        "money": {"amount": "10.00", "currency": "EUR", "flow": "in"},
    }
    assert api.post(f"/entries/{paid}/adjustments", more, key="more").status_code == 201

    with refused.transaction() as connection:
        outbox.release(connection, "too-much", reason="the tip is there now")
    relay.drain()

    assert keys_of(api)[-2:] == ["too-much", "after"]
    assert refused.status()["parked"] == 0


@pytest.mark.parametrize("service", ["sqlite3"], indirect=True)
def test_decisions_need_a_reason_and_a_row_they_fit(refused):
    with refused.transaction() as connection:
        with pytest.raises(SettingsError, match="reason"):
            outbox.release(connection, "too-much", reason=" ")
        with pytest.raises(NotFoundError):
            outbox.release(connection, "paid", reason="it is history")
        with pytest.raises(NotFoundError):
            outbox.withdraw(connection, "paid", reason="it is history")
        with pytest.raises(NotFoundError):
            outbox.withdraw(connection, "nobody's", reason="it is not there")
        outbox.add(
            connection,
            refund("1.00", kind="refund", corrects_key="x"),
            key="too-much",
            ledger="elsewhere",
        )
        with pytest.raises(SettingsError, match="say which"):
            outbox.release(connection, "too-much", reason="one of two")
        outbox.withdraw(connection, "too-much", reason="never sent", ledger="elsewhere")


@pytest.mark.parametrize("service", ["sqlite3"], indirect=True)
def test_a_key_that_may_not_parks_nothing(service, http, api):
    """Who may is no property of the effect: everything waits until the key is right."""
    for key in ("k-1", "k-2"):
        service.add(key, capture(), ledger=api.ledger)
    poor = api.with_key("entries:read", principal="poor")

    wrong = outbox.open_relay(service.database, url=str(http.base_url), key=poor.token)
    failure = wrong.drain()
    status = service.status()
    right = outbox.open_relay(service.database, url=str(http.base_url), key=api.token)

    assert isinstance(failure, LedgerError)
    assert (status["parked"], status["waiting"]) == (0, 2)
    assert {each["problem"]["code"] for each in status["troubled"]} == {"FORBIDDEN"}
    assert right.drain() is None
    assert sorted(keys_of(api)) == ["k-1", "k-2"]


@pytest.mark.parametrize("service", ["sqlite3"], indirect=True)
def test_a_ledger_that_is_not_there_holds_up_no_other(service, relay, api):
    service.add("lost", capture(), ledger="nowhere")
    service.add("found", capture(), ledger=api.ledger)

    failure = relay.drain()

    assert failure is not None
    assert keys_of(api) == ["found"]
    assert service.status()["ledgers"]["nowhere"]["waiting"] == 1


@pytest.mark.parametrize("service", ["psycopg", "sqlite3"], indirect=True)
def test_rows_that_were_handed_off_are_kept_as_long_as_is_said(service, http, api):
    service.add("k-1", capture(), ledger=api.ledger)
    url, key = str(http.base_url), api.token
    outbox.open_relay(service.database, url=url, key=key, keep=timedelta(days=1)).drain()
    assert service.status()["handed_off"] == 1

    outbox.open_relay(service.database, url=url, key=key, keep=timedelta(0)).drain()

    assert service.status()["handed_off"] == 0
    assert keys_of(api) == ["k-1"]


# ---- Databases ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["psycopg", "sqlite3"])
def test_a_database_without_an_outbox_is_told(open_service, kind, http, api):
    relay = outbox.open_relay(open_service(kind).database, url=str(http.base_url), key=api.token)

    with pytest.raises(SettingsError, match="--create"):
        relay.drain()


def test_a_database_that_is_away_is_told(http, api):
    relay = outbox.open_relay(
        "postgresql://nobody@127.0.0.1:9/nothing", url=str(http.base_url), key=api.token
    )

    with pytest.raises(DatabaseUnavailableError):
        relay.turn()


@pytest.mark.parametrize("database", ["mysql://x/y", "sqlite://", 7])
def test_what_is_no_database_is_told(database):
    with pytest.raises(SettingsError):
        outbox.open_relay(database, key="elk_x_y")


@pytest.mark.parametrize("service", ["psycopg", *SQLITE], indirect=True)
def test_making_the_outbox_again_changes_nothing(service):
    service.add("k-1", capture(), ledger="shop")

    with service.transaction() as connection:
        outbox.create(connection)

    assert service.status()["waiting"] == 1


# ---- The command ----------------------------------------------------------------------


@pytest.fixture
def command(monkeypatch, capsys, tmp_path, http, api) -> Callable[..., tuple[int, Any]]:
    """`python -m ledger.client.outbox` on a service's SQLite: exit code, and what it told."""
    monkeypatch.setenv("EFFECT_LEDGER_URL", str(http.base_url))
    monkeypatch.setenv("EFFECT_LEDGER_KEY", api.token)
    monkeypatch.setenv("EFFECT_LEDGER_OUTBOX_URL", f"sqlite:///{tmp_path / 'service.db'}")

    def run(*arguments: str) -> tuple[int, Any]:
        code = main(list(arguments))
        told = capsys.readouterr()
        return code, orjson.loads(told.out) if told.out else told.err

    return run


def test_the_command_makes_hands_off_and_tells(command, open_service, api):
    assert command("--create") == (0, {"created": True})
    service = open_service("sqlite3")
    service.add("paid", capture("10.00", subject="order/1"), ledger=api.ledger)
    assert command("--status")[1]["waiting"] == 1

    code, told = command("--once", "--keep", "30d")

    assert (code, told["run"]["handed_off"], told["waiting"]) == (0, 1, 0)
    assert keys_of(api) == ["paid"]


def test_the_command_takes_decisions_with_a_reason(command, open_service, api):
    command("--create")
    service = open_service("sqlite3")
    for key in ("bad-1", "bad-2"):
        effect = refund("1.00", kind="refund", corrects_key="nothing", subject=key)
        service.add(key, effect, ledger=api.ledger)

    code, told = command("--once")
    assert (code, told["parked"]) == (1, 2)
    code, told = command("--release", "bad-1")
    assert (code, "--reason" in told) == (2, True)
    code, told = command("--release", "bad-1", "--withdraw", "bad-2", "--reason", "looked at")
    assert (code, told) == (0, {"released": ["bad-1"], "withdrawn": ["bad-2"]})
    code, told = command("--status")
    assert (code, told["waiting"], told["withdrawn"]) == (0, 1, 1)


def test_the_command_says_who_has_to_act(command, monkeypatch, open_service, api):
    assert command("--status")[0] == 2
    command("--create")
    open_service("sqlite3").add("paid", capture(), ledger=api.ledger)
    assert command("--once", "--keep", "for ever")[0] == 2
    assert command("--once", "--lease", "0.1")[0] == 2
    monkeypatch.setenv("EFFECT_LEDGER_URL", "http://127.0.0.1:9")
    assert command("--once")[0] == 3
    monkeypatch.setenv("EFFECT_LEDGER_KEY", "")
    assert command("--once")[0] == 2


@pytest.mark.parametrize("dialect", outbox.DDL)
def test_the_table_is_printed_for_migrations_of_others(command, dialect):
    assert command("--ddl", "--database-url", f"{dialect}:///x") == (
        0,
        {"ddl": outbox.DDL[dialect]},
    )


def test_the_command_ends_in_order_when_it_is_told_to(command, open_service, api):
    """SIGTERM: what is under way is settled, and the counts are told."""
    command("--create")
    service = open_service("sqlite3")
    service.add("paid", capture(), ledger=api.ledger)

    def end_it() -> None:
        until(lambda: service.status()["handed_off"] == 1)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=end_it)
    thread.start()
    code, told = command()
    thread.join()

    assert (code, told["run"]["handed_off"]) == (0, 1)
