"""Whatever a superuser does to a ledger, the next round of verifications stops it."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from sqlalchemy import Engine

from ledger.append import Appender
from ledger.clock import SystemClock
from ledger.errors import ForkedError, LedgerBrokenError, NotFoundError, RolledBackError
from ledger.note import VerifierKey
from ledger.reader import Reader
from ledger.registry.stops import Stops
from ledger.signing.signer import FileSigner
from ledger.statement import open_statement
from ledger.storage.database import WRITER, Conninfo
from ledger.storage.database import engine as make_engine
from ledger.storage.embedded.cluster import SUPERUSER
from ledger.storage.leader import Leader
from ledger.storage.postgres import PostgresStorage
from ledger.submission import Posting
from ledger.verification.rounds import ROUNDS_LOCK, Rounds
from ledger.verification.runs import Verifications
from ledger.verification.verdicts import Verdicts
from tests.faults.attacks import (
    COLUMN_FINDINGS,
    LEDGER,
    NAMED,
    OTHER,
    SIZE,
    Attacked,
    Superuser,
    drop_newest,
    edit,
    rechain,
    recorded,
    submission,
)
from tests.integration.commands import migrated_database

NUMBERS = itertools.count()


@dataclass(frozen=True, kw_only=True)
class Service:
    """What one process has of a ledger that may be damaged."""

    conninfo: Conninfo
    engine: Engine
    attacked: Attacked
    appender: Appender
    reader: Reader
    stops: Stops
    verdicts: Verdicts
    verifications: Verifications
    rounds: Rounds

    def post(self, ledger: str) -> None:
        """Record one more effect."""
        posting = Posting(
            ledger=ledger,
            principal="checkout",
            submissions=(submission(f"more-of-it-{next(NUMBERS)}"),),
            with_receipts=False,
        )
        [[outcome]] = self.appender.append(ledger, [posting])
        if isinstance(outcome, Exception):
            raise outcome

    def harm(self, how: Callable[[Superuser], None]) -> None:
        """Let a superuser do something, for good."""
        with psycopg.connect(self.conninfo(SUPERUSER), autocommit=True) as connection:
            connection.execute("set search_path = effect_ledger")
            attacker = Superuser(connection, self.attacked)
            attacker.disarm()
            how(attacker)

    def again(self) -> None:
        """The next round, as after its interval."""
        Rounds.turn(self.rounds)


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Iterator[tuple[Conninfo, Attacked]]:
    with migrated_database() as conninfo, recorded(conninfo, tmp_path_factory.mktemp("r")) as made:
        yield conninfo, made


@contextmanager
def opened(conninfo: Conninfo, attacked: Attacked, directory: Path) -> Iterator[Service]:
    """A process over copies of the ledger and the signer's record; its rounds are always due."""
    name = f"copy_{next(NUMBERS)}"
    # Its connections would keep the ledger from being copied; it connects again by itself.
    attacked.appender._storage.close()
    with psycopg.connect(conninfo(SUPERUSER), autocommit=True, dbname="postgres") as connection:
        connection.execute(f"create database {name} template effect_ledger")

    def of_copy(role: str) -> str:
        return make_conninfo(conninfo(role), dbname=name)

    with ExitStack() as stack:
        engine = make_engine(of_copy, WRITER, pool_size=4)
        stack.callback(engine.dispose)
        storage = PostgresStorage(of_copy)
        stack.callback(storage.close)
        signer = copied_signer(attacked.appender._signer, directory / name)
        stack.callback(signer.close)
        stops, reader = Stops(engine), Reader(engine)
        verdicts = Verdicts(engine, signer, stops)
        verifications = Verifications(
            engine,
            vault=attacked.vault,
            verdicts=verdicts,
            read_signed=read_signed(signer),
        )
        rounds = Rounds(
            reader=reader,
            stops=stops,
            verifications=verifications,
            leader=Leader(engine, ROUNDS_LOCK),
            publish=Appender(storage, signer, attacked.vault, SystemClock(), stops).publish,
            every_s=0,
            full_every_s=0,
        )
        stack.callback(rounds.stop)
        appender = Appender(storage, signer, attacked.vault, SystemClock(), stops)
        # A service that knew the ledger before anything happened to it.
        appender._record(LEDGER)
        reader.ledger(LEDGER)
        yield Service(
            conninfo=of_copy,
            engine=engine,
            attacked=attacked,
            appender=appender,
            reader=reader,
            stops=stops,
            verdicts=verdicts,
            verifications=verifications,
            rounds=rounds,
        )
    with psycopg.connect(conninfo(SUPERUSER), autocommit=True, dbname="postgres") as connection:
        connection.execute(f"drop database {name} with (force)")


def copied_signer(signer: FileSigner, directory: Path) -> FileSigner:
    shutil.copytree(signer._directory, directory)
    return FileSigner(directory, signer._private_key)


def read_signed(signer: FileSigner) -> Callable[[str], tuple[int, bytes] | None]:
    def read(origin: str) -> tuple[int, bytes] | None:
        try:
            signed, _ = signer.checkpoint(origin)
        except LedgerBrokenError:
            return None
        return signed.size, signed.root

    return read


@pytest.fixture
def service(built, tmp_path) -> Iterator[Service]:
    with opened(*built, tmp_path) as made:
        yield made


def column(place: str) -> Callable[[Superuser], None]:
    def harm(attacker: Superuser) -> None:
        [found] = [each for each in attacker.columns() if f"{each[0]}.{each[1]}" == place]
        edit(*found)(attacker)

    return harm


EVERY = {
    **{f"edit {place}": column(place) for place in COLUMN_FINDINGS},
    **{name: each.harm for name, each in NAMED.items()},
}
SOME = {
    "edit the bytes of an entry": LedgerBrokenError,
    "delete the newest entries": LedgerBrokenError,
    "make history anew, and take the checkpoint away": ForkedError,
    "drop the newest entries, mend the head, take the checkpoint away": RolledBackError,
    "edit positions.refunded": LedgerBrokenError,
    "delete the ledger": LedgerBrokenError,
}


def stops_writes_and_no_reads(service: Service, name: str) -> LedgerBrokenError:
    service.harm(EVERY[name])

    service.again()

    service.stops.refresh()
    assert service.stops.standing, name
    with pytest.raises(LedgerBrokenError) as stopped:
        service.post(LEDGER)
    # What others keep goes on.
    service.post(OTHER)
    assert service.reader.size(OTHER) == 1
    return stopped.value


@pytest.mark.parametrize("name", SOME)
def test_the_next_round_stops_a_ledger_that_was_tampered_with(service, name):
    """Writes are refused with what was found; reads of it and everything about others go on."""
    stopped = stops_writes_and_no_reads(service, name)

    assert type(stopped) is SOME[name]
    [stop] = [stop for stop in service.stops.standing if stop.ledger == LEDGER]
    assert stop.details["findings"]
    assert len(service.reader.entry_bytes(LEDGER, 2)) > 100


# One attack in four, or all of them: ROUNDS_OF=all pytest -m slow tests/faults/test_rounds.py
MORE = sorted(EVERY.keys() - SOME.keys())[:: 1 if os.environ.get("ROUNDS_OF") == "all" else 4]


@pytest.mark.slow
@pytest.mark.parametrize("name", MORE)
def test_no_tampering_outlives_a_round(service, name):
    stops_writes_and_no_reads(service, name)


def test_a_good_ledger_goes_on_and_its_keeper_signs_that(service):
    """Full first, then from where that ended; what says nothing new is not said again."""
    service.again()
    vkey = VerifierKey.parse(service.attacked.record.vkey)
    statement, note = service.verdicts.latest(service.attacked.record)
    first = open_statement(note, [vkey])
    assert (statement, first.mode, first.size, first.good) == (first, "full", SIZE, True)
    assert first.root == service.attacked.signed[1].hex()
    assert service.verdicts.last_good(service.attacked.record) == service.attacked.signed

    service.verifications.run(LEDGER, "incremental")
    second, _ = service.verdicts.latest(service.attacked.record)
    assert (second.mode, second.start, second.size) == ("full", 0, SIZE)
    assert service.verifications.standing()[LEDGER, "incremental"].good
    with pytest.raises(NotFoundError):
        service.verdicts.latest(service.attacked.record, "incremental")
    service.stops.refresh()
    assert service.stops.standing == ()


@pytest.mark.slow
def test_an_edited_statement_moves_no_resume_point(service):
    """Who writes rows cannot have a verification begin behind their edit."""
    service.again()
    service.harm(
        lambda attacker: attacker.damage(
            "insert into statements select ledger, now(), id, mode, size, good, "
            "set_byte(note, 40, 65) from statements where ledger = %s",
            LEDGER,
        )
    )

    assert service.verdicts.last_good(service.attacked.record) is None


def test_a_resumed_ledger_is_stopped_again_unless_its_findings_are_acknowledged(service):
    """A reason lets it go on until the next round; an acknowledgement, until something new."""
    service.harm(column("entries.poster"))
    service.again()
    service.stops.lift(LEDGER, "looked at it")
    service.post(LEDGER)
    service.again()
    with pytest.raises(LedgerBrokenError):
        service.post(LEDGER)

    service.stops.lift(LEDGER, "the index was edited by hand, see ticket", acknowledge=True)
    service.again()
    service.post(LEDGER)
    statement, _ = service.verdicts.latest(service.attacked.record)
    assert (statement.good, statement.acknowledged) == (False, True)

    service.harm(column("positions.refunded"))
    service.again()
    with pytest.raises(LedgerBrokenError):
        service.post(LEDGER)


def test_a_requested_verification_stops_a_broken_ledger_too(service):
    service.harm(column("entries.poster"))

    job = service.verifications.start(LEDGER)
    service.verifications.wait(60)

    assert service.verifications.get(LEDGER, job)["report"]["verdicts"]["tamper"] == "bad"
    with pytest.raises(LedgerBrokenError, match=r"index\.poster at entry 2"):
        service.post(LEDGER)


@pytest.mark.slow
def test_one_process_of_all_makes_the_rounds(service):
    second = Rounds(
        reader=service.reader,
        stops=service.stops,
        verifications=service.verifications,
        leader=Leader(service.engine, ROUNDS_LOCK),
        publish=service.appender.publish,
        every_s=0,
        full_every_s=0,
    )
    service.again()
    before = service.verifications.standing()[LEDGER, "full"].age_s

    second.turn()

    assert service.verifications.standing()[LEDGER, "full"].age_s >= before
    service.rounds.stop()
    second.turn()
    assert service.verifications.standing()[LEDGER, "full"].age_s < before + 1
    second.stop()


@pytest.mark.slow
def test_jobs_of_the_clock_do_not_pile_up(service):
    """Of those older than an hour only the newest of each mode stays."""
    for _ in range(3):
        service.again()
        service.harm(
            lambda attacker: attacker.run(
                "update verifications set updated_at = updated_at - interval '2 hours'"
            )
        )
    service.again()

    with service.engine.connect() as connection:
        count = connection.exec_driver_sql(
            "select count(*) from verifications where ledger = %s", (LEDGER,)
        ).scalar()
    assert count == 1


@pytest.mark.slow
def test_a_tail_that_was_cut_is_found_from_where_the_last_verification_ended(service):
    service.again()
    service.harm(drop_newest(checkpoint="older"))
    service.verifications.run(LEDGER, "incremental")

    with pytest.raises(RolledBackError):
        service.post(LEDGER)
    service.stops.lift_restored(LEDGER)
    service.stops.check(LEDGER)


@pytest.mark.slow
def test_a_rewritten_tail_is_found_incrementally(service):
    service.again()
    service.harm(rechain(300, keep_checkpoint=True))
    service.verifications.run(LEDGER, "incremental")

    with pytest.raises(LedgerBrokenError):
        service.post(LEDGER)
