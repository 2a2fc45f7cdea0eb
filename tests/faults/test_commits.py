"""
Laws of the commit: whatever breaks around it, one request ends as one entry, or as none.

Between the service and its database stands a proxy that knows the protocol well enough to lose
one message of it: the commit, its confirmation, or any statement before.
"""

from __future__ import annotations

import errno
import itertools
import multiprocessing
import os
import signal
import socket
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import BinaryIO

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ledger.append import Appender
from ledger.clock import SystemClock
from ledger.entry import genesis_hash
from ledger.errors import (
    DatabaseUnavailableError,
    LedgerBrokenError,
    OutcomeUnknownError,
    PushbackError,
    RolledBackError,
    SignerUnavailableError,
)
from ledger.forms.names import REGISTRY
from ledger.ports import LedgerRecord
from ledger.registry.ledgers import SCREEN
from ledger.sequencer import Sequencer
from ledger.signing.signer import FileSigner
from ledger.storage import postgres
from ledger.storage.database import WRITER, connect
from ledger.storage.postgres import LOCK_HEAD, PostgresStorage
from ledger.submission import Recorded, Submission
from ledger.vault import Vault
from ledger.waiting import SLICE_ITEMS_MAX
from tests.faults.house import House, asked, asks, eur, open_house, recorded, refund

STARTUP_HEADER = 4
SOCKET = ".s.PGSQL.5432"
PATIENCE_S = 60.0
FAILED = 7
# Between what a server says last and the end of the line: the client has heard it by then.
LINGERS_S = 0.1


# ---- The proxy ------------------------------------------------------------------------


class Proxy:
    """Hands messages on between clients and the server, until one is to be lost."""

    def __init__(self, server: str, directory: str) -> None:
        self._server = server
        self.at = directory
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(f"{directory}/{SOCKET}")
        self._listener.listen()
        self.executed: list[str] = []
        """Statements that reached the server, in order."""
        self.on_execute: Callable[[str], bool] = lambda _query: False
        """Told each statement before the server is; true cuts the connection instead."""
        self.on_complete: Callable[[str], bytes | None] = lambda _tag: None
        """Told what the server completed; what it returns is said instead, and the line cut."""
        self.last_words = b""
        """Said a moment before a line is cut."""
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        # Wakes the thread that waits for a client; to close alone would not.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(f"{self._server}/{SOCKET}")
            for carry in (self._to_server, self._to_client):
                threading.Thread(target=carry, args=(client, server), daemon=True).start()

    def _to_server(self, client: socket.socket, server: socket.socket) -> None:
        queries: dict[bytes, str] = {}
        portals: dict[bytes, str] = {}
        with _line(client, server):
            reader = client.makefile("rb")
            server.sendall(_take(reader, b""))
            while kind := reader.read(1):
                message = _take(reader, kind)
                body = message[5:]
                if kind == b"P":
                    name, query, *_ = body.split(b"\0", 2)
                    queries[name] = " ".join(query.decode().split())
                elif kind == b"B":
                    portal, name, *_ = body.split(b"\0", 2)
                    portals[portal] = queries[name]
                elif kind in _EXECUTING:
                    query = _EXECUTING[kind](body, portals)
                    if self.on_execute(query):
                        self._take_leave(client)
                        return
                    self.executed.append(query)
                server.sendall(message)

    def _to_client(self, client: socket.socket, server: socket.socket) -> None:
        with _line(client, server):
            reader = server.makefile("rb")
            while kind := reader.read(1):
                message = _take(reader, kind)
                if kind == b"C":
                    instead = self.on_complete(message[5:-1].decode())
                    if instead is not None:
                        client.sendall(instead)
                        self._take_leave(client)
                        return
                client.sendall(message)

    def _take_leave(self, client: socket.socket) -> None:
        if self.last_words:
            client.sendall(self.last_words)
            time.sleep(LINGERS_S)


COPIED = "(all rows are copied)"
_EXECUTING: dict[bytes, Callable[[bytes, dict[bytes, str]], str]] = {
    b"E": lambda body, portals: portals[body.split(b"\0", 1)[0]],
    b"Q": lambda body, _portals: " ".join(body[:-1].decode().split()),
    b"c": lambda _body, _portals: COPIED,
}
"""Messages that make the server do something, and what is done then."""


@contextmanager
def _line(client: socket.socket, server: socket.socket) -> Iterator[None]:
    """Whichever way ends first ends both, as a cable does."""
    try:
        yield
    except OSError:
        pass
    finally:
        for end in (client, server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


def _take(reader: BinaryIO, kind: bytes) -> bytes:
    """One message, its kind before its length."""
    length = reader.read(STARTUP_HEADER)
    if len(length) < STARTUP_HEADER:
        raise OSError(errno.EPIPE, "the line is cut")
    return kind + length + reader.read(struct.unpack("!I", length)[0] - STARTUP_HEADER)


def message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!I", len(body) + STARTUP_HEADER) + body


def said(severity: str, sqlstate: str) -> bytes:
    fields = {"S": severity, "V": severity, "C": sqlstate, "M": "said by the proxy"}
    return message(b"E", b"".join(f"{k}{v}\0".encode() for k, v in fields.items()) + b"\0")


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with open_house() as opened:
        yield opened


@pytest.fixture
def proxy(house) -> Iterator[Proxy]:
    server = conninfo_to_dict(house.conninfo(WRITER))["host"]
    assert isinstance(server, str)
    # Not one of pytest's directories: the path of a socket has room for 107 bytes.
    with tempfile.TemporaryDirectory(prefix="effect-ledger-proxy-") as directory:
        proxy = Proxy(server, directory)
        yield proxy
        proxy.close()


@pytest.fixture
def appender(house, proxy) -> Iterator[Appender]:
    """A writer that reaches the database through the proxy."""
    storage = PostgresStorage(lambda role: make_conninfo(house.conninfo(role), host=proxy.at))
    yield Appender(storage, house.signer, house.vault, SystemClock())
    storage.close()


@pytest.fixture
def ledger(house) -> str:
    return house.open_ledger()


def append(appender: Appender, ledger: str, *submissions: Submission) -> list[Recorded]:
    """What one request with these submissions became: entries, all of them."""
    [outcomes] = appender.append(ledger, [asked(ledger, *submissions)])
    return [recorded(outcome) for outcome in outcomes]


class Once:
    """A fault that strikes the first time it matches, and never again."""

    def __init__(self, matches: Callable[[str], bool]) -> None:
        self._matches = matches
        self.struck = False

    def __call__(self, word: str) -> bool:
        strikes = not self.struck and self._matches(word)
        self.struck |= strikes
        return strikes


# A request that makes the write transaction say everything it can say.
EVERYTHING = (
    asks("k", note="words", money=eur("10.00"), labels={"shop": "berlin"}),
    refund("r", "4.00", corrects_key="k"),
)


# ---- The commit -----------------------------------------------------------------------

# What the client hears of a commit that the server made, before the line is cut.
KEPT = {
    "silence": b"",
    "the confirmation and no more": message(b"C", b"COMMIT\0"),
    "a shutdown": said("FATAL", "57P01"),
    "a crash elsewhere": said("FATAL", "57P02"),
}


@pytest.mark.parametrize("heard", [None, *KEPT])
def test_resend_after_unconfirmed_commit_records_once(house, proxy, appender, ledger, heard):
    """Whether the lost commit was kept or not, sending again ends with one entry each."""
    append(appender, ledger, asks("before"))
    kept = heard is not None
    if kept:
        strike = Once(lambda tag: tag == "COMMIT")
        proxy.on_complete = lambda tag: KEPT[heard] if strike(tag) else None
    else:
        strike = proxy.on_execute = Once(lambda query: query == "commit")

    with pytest.raises(OutcomeUnknownError):
        append(appender, ledger, *EVERYTHING)

    assert strike.struck
    assert house.reader.size(ledger) == (3 if kept else 1)
    again = append(appender, ledger, *EVERYTHING)
    assert [each.replayed for each in again] == [kept, kept]
    assert [each.entry.seq for each in again] == [1, 2]
    assert house.reader.size(ledger) == 3
    for each in again:
        assert house.verify_receipt(each.receipt, ledger).seq == each.entry.seq
    house.verify(ledger)


@pytest.mark.parametrize("kept", [False, True], ids=["lost", "kept"])
def test_behind_a_part_of_which_nobody_knows_nothing_is_written(
    house, proxy, appender, ledger, kept
):
    """Each item is told what is known of it; the same request again ends with one entry each."""
    names = [f"k-{number}" for number in range(3 * SLICE_ITEMS_MAX)]
    # The last one names the first one of the part that is lost.
    submissions = [asks(name, money=eur("10.00")) for name in names]
    submissions.append(refund("r", "4.00", corrects_key=names[SLICE_ITEMS_MAX]))
    commits = itertools.count()
    if kept:
        strike = Once(lambda tag: tag == "COMMIT" and next(commits) == 1)
        proxy.on_complete = lambda tag: b"" if strike(tag) else None
    else:
        strike = proxy.on_execute = Once(lambda query: query == "commit" and next(commits) == 1)
    sequencer = Sequencer([appender])
    sequencer.start()

    outcomes = sequencer.submit(asked(ledger, *submissions)).result(PATIENCE_S)

    assert strike.struck
    found = [type(outcome) for outcome in outcomes]
    assert found == [
        *[Recorded] * SLICE_ITEMS_MAX,
        *[OutcomeUnknownError] * SLICE_ITEMS_MAX,
        *[PushbackError] * (SLICE_ITEMS_MAX + 1),
    ]
    assert house.reader.size(ledger) == SLICE_ITEMS_MAX * (1 + kept)
    again = sequencer.submit(asked(ledger, *submissions)).result(PATIENCE_S)
    sequencer.stop()
    assert [recorded(each).entry.seq for each in again] == list(range(len(submissions)))
    assert sum(recorded(each).replayed for each in again) == SLICE_ITEMS_MAX * (1 + kept)
    for each in again:
        assert house.verify_receipt(recorded(each).receipt, ledger)
    house.verify(ledger)


ENDS = [
    (heard, sqlstate)
    for heard in (None, "silence", "the confirmation and no more")
    for sqlstate in ("57P01", "57P02", "53100", "08006")
]


@pytest.mark.parametrize("end", ENDS, ids=lambda end: f"{end[0]}, {end[1]}")
def test_a_session_ended_around_its_commit_is_never_told_as_nothing_written(
    house, proxy, appender, ledger, end
):
    """The last words come before the end of the line, which to the driver looks whole then."""
    heard, sqlstate = end
    append(appender, ledger, asks("before"))
    proxy.last_words = said("FATAL", sqlstate) + message(b"Z", b"E")
    kept = heard is not None
    if kept:
        strike = Once(lambda tag: tag == "COMMIT")
        proxy.on_complete = lambda tag: KEPT[heard] if strike(tag) else None
    else:
        strike = proxy.on_execute = Once(lambda query: query == "commit")

    with pytest.raises(OutcomeUnknownError):
        append(appender, ledger, asks("k"))

    assert strike.struck
    assert house.reader.size(ledger) == 1 + kept
    [again] = append(appender, ledger, asks("k"))
    assert again.replayed == kept
    house.verify(ledger)


def test_a_commit_that_the_server_refuses_is_told_as_nothing_written(house, appender, ledger):
    """An error of a statement that travels with it, and not the end of a session, is an answer."""
    append(appender, ledger, asks("before"))
    with house.superuser() as database:
        database.execute(
            "create function refuse() returns trigger language plpgsql as"
            " $$ begin raise exception using errcode = '40001'; end $$"
        )
        database.execute(
            "create trigger refuse before update on heads for each row execute function refuse()"
        )
        try:
            with pytest.raises(DatabaseUnavailableError):
                append(appender, ledger, asks("k"))
        finally:
            database.execute("drop trigger refuse on heads")
            database.execute("drop function refuse()")

    assert house.reader.size(ledger) == 1
    [entry] = append(appender, ledger, asks("k"))
    assert not entry.replayed
    house.verify(ledger)


@pytest.mark.parametrize("kept", ["published", "retired_poster_keys", "ledgers"])
def test_a_lock_that_was_kept_is_not_a_database_that_is_away(house, ledger, monkeypatch, kept):
    """Whatever waits for it, it is told who was in the way; what follows finds nothing amiss."""
    monkeypatch.setattr("ledger.storage.postgres.LOCK_TIMEOUT_MS", 50)
    storage = PostgresStorage(house.conninfo)
    house.record(ledger, asks("k"))
    checkpoint, note = storage.published(ledger)  # type: ignore[misc]

    def write() -> None:
        if kept == "published":
            storage.publish(ledger, checkpoint, note)
            storage.settle()
        elif kept == "ledgers":
            storage.add_ledger(storage.ledger(ledger), bytes(32), 0)
        else:
            storage.retire_poster_key("unknown", 0)

    with house.superuser() as database, database.transaction():
        database.execute(f"lock table {kept} in share mode")
        with pytest.raises(PushbackError, match="kept what this needs for 50 ms") as told:
            write()

    assert type(told.value) is PushbackError
    assert storage.published(ledger) == (checkpoint, note)
    storage.close()


@pytest.mark.parametrize("moments", [30, pytest.param(240, marks=pytest.mark.slow)])
def test_backends_ended_at_any_moment_lose_no_entry_that_was_told_as_not_written(
    house, ledger, moments
):
    """Really ended, by whoever may; the moment is swept over the length of an append."""
    storage = PostgresStorage(house.conninfo)
    appender = Appender(storage, house.signer, house.vault, SystemClock())
    not_written = []
    with house.superuser() as administrator:
        for at in range(moments):
            # The one before may have been ended after its last word.
            storage.close()
            append(appender, ledger, asks(f"connected-{at}"))
            # Few and many are written in two ways; many take long enough to be met anywhere.
            each = range(1 if at % 4 == 0 else 100)
            started = time.perf_counter()
            append(appender, ledger, *(asks(f"warm-{at}-{one}") for one in each))
            length = time.perf_counter() - started
            assert storage._connection is not None
            backend = storage._connection.info.backend_pid
            ending = threading.Timer(
                length * at / moments,
                administrator.execute,
                ("select pg_terminate_backend(%s)", (backend,)),
            )
            ending.start()
            try:
                append(appender, ledger, *(asks(f"k-{at}-{one}") for one in each))
            except PushbackError:
                not_written += [f"k-{at}-{one}" for one in each]
            except OutcomeUnknownError:
                pass
            ending.join()
        storage.close()
        found = administrator.execute(
            "select key from entries where ledger = %s and key = any(%s)", (ledger, not_written)
        ).fetchall()

    assert not_written
    assert found == []
    house.verify(ledger)


def test_a_commit_that_was_kept_is_signed_with_its_replay(house, proxy, appender, ledger):
    """Nobody has to write something else before a lost answer can be proved."""
    strike = Once(lambda tag: tag == "COMMIT")
    proxy.on_complete = lambda tag: b"" if strike(tag) else None
    with pytest.raises(OutcomeUnknownError):
        append(appender, ledger, asks("k"))
    assert house.reader.published_size(ledger) == 0

    [again] = append(appender, ledger, asks("k"))

    assert again.replayed
    assert house.verify_receipt(again.receipt, ledger).seq == 0
    assert house.reader.published_size(ledger) == 1


# ---- Every statement ------------------------------------------------------------------

READ = [
    "begin",
    "with locked as materialized ( select size, last_hash",
    "select e.key, e.body from unnest",
    "with recursive lineage",
    "select hash from entries",
]
WRITE = [
    "insert into entry_terms",
    "insert into effect_ledger_keys.data_keys",
    "insert into payloads",
    "insert into positions",
    "insert into tiles",
    "update heads",
    "commit",
]
PUBLISH = [
    "with no_wait_for_disk as materialized (select set_config('synchronous_commit'",
    "discard plans",
]
FEW = [*READ, "insert into entries", *WRITE, *PUBLISH]
MANY = [*READ, "copy entries", COPIED, *WRITE, *PUBLISH]
"""What an append of everything says, in order, where it completes a tile."""
FILL = [asks(f"fill-{at}") for at in range(254)]
"""With `EVERYTHING`, all of a tile."""


def take_the_way_of(statements: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let two entries go the way of many, or 255 that of a few."""
    monkeypatch.setattr(postgres, "COPIED_ENTRIES_MIN", 1 if statements is MANY else 999)


@pytest.mark.parametrize("statements", [FEW, MANY], ids=["few", "many"])
def test_an_append_says_these_statements(proxy, appender, ledger, monkeypatch, statements):
    """One that comes new comes with its fault below."""
    take_the_way_of(statements, monkeypatch)
    # Once, so that nothing has to be connected any more.
    append(appender, ledger, FILL[0])
    proxy.executed.clear()

    append(appender, ledger, *FILL[1:], *EVERYTHING)

    assert len(proxy.executed) == len(statements)
    for said, expected in zip(proxy.executed, statements, strict=True):
        assert said.startswith(expected)


LOSSES = [
    pytest.param((statements, at), id=f"{way}-{at}-{statements[at]}")
    for way, statements in {"few": FEW, "many": MANY}.items()
    for at in range(len(statements))
]


@pytest.fixture(params=LOSSES)
def loss(request, monkeypatch) -> tuple[list[str], int]:
    """What is said, and which of it is lost."""
    statements, at = request.param
    take_the_way_of(statements, monkeypatch)
    return statements, at


def test_a_statement_that_is_lost_writes_all_or_nothing(house, proxy, appender, ledger, loss):
    """Before the commit nothing is written, after it everything; and appends go on."""
    statements, at = loss
    append(appender, ledger, *FILL)
    numbers = itertools.count()
    proxy.on_execute = lambda _query: next(numbers) == at

    answer, told = None, None
    try:
        answer = append(appender, ledger, *EVERYTHING)
    except (DatabaseUnavailableError, OutcomeUnknownError) as error:
        told = type(error)

    assert next(numbers) > at
    # Once the commit is on its way, nobody can know: that must not be told as nothing written.
    commit = statements.index("commit")
    on_its_way = commit - len(WRITE) + (1 if statements is MANY else 0)
    assert told == (
        DatabaseUnavailableError
        if at < on_its_way
        else OutcomeUnknownError
        if at <= commit
        else None
    )
    written = answer is not None
    assert house.reader.size(ledger) == len(FILL) + len(EVERYTHING) * written
    house.verify(ledger)
    again = append(appender, ledger, *EVERYTHING)
    assert [each.replayed for each in again] == [written] * len(EVERYTHING)
    assert [each.entry.seq for each in again] == [254, 255]
    for each in [*again, *(answer or ())]:
        assert house.verify_receipt(each.receipt, ledger).seq == each.entry.seq
    house.verify(ledger)


# ---- The signer -----------------------------------------------------------------------


@contextmanager
def away(record: Path) -> Iterator[None]:
    """The signer's record cannot be used until the block ends, as where its disk is gone."""
    kept = record.with_suffix(".kept")
    record.rename(kept)
    record.mkdir()
    try:
        yield
    finally:
        record.rmdir()
        kept.rename(record)


@pytest.fixture
def record(house, ledger) -> Path:
    """The file of the signer's record of the ledger."""
    [path] = house.signer._directory.glob(f"{ledger}.*.record")
    return path


def test_a_signer_that_is_away_before_the_commit_writes_nothing(house, appender, ledger, record):
    """Nobody can tell whether the base is the one that was signed."""
    append(appender, ledger, asks("before"))

    with away(record), pytest.raises(SignerUnavailableError):
        append(appender, ledger, asks("k"))

    assert house.reader.size(ledger) == 1
    [entry] = append(appender, ledger, asks("k"))
    assert not entry.replayed
    house.verify(ledger)


def test_a_record_that_is_gone_stops_the_ledger_until_it_is_back(house, appender, ledger, record):
    append(appender, ledger, asks("before"))
    kept = record.rename(record.with_suffix(".kept"))

    with pytest.raises(LedgerBrokenError, match="no record"):
        append(appender, ledger, asks("k"))

    assert house.reader.size(ledger) == 1
    assert house.reader.receipt(ledger, 0).level == "log-signed"
    kept.rename(record)
    append(appender, ledger, asks("k"))
    house.verify(ledger)


@pytest.fixture
def unsigned(proxy, appender, ledger, record) -> Recorded:
    """An entry whose signer went away right after its commit."""
    append(appender, ledger, asks("before"))
    with ExitStack() as signer:
        commit = Once(lambda tag: tag == "COMMIT")
        proxy.on_complete = lambda tag: signer.enter_context(away(record)) if commit(tag) else None
        [answer] = append(appender, ledger, asks("k"))
    return answer


def test_a_signer_that_is_away_after_the_commit_leaves_the_receipt_unsigned(
    house, ledger, unsigned
):
    """What is on disk is told as recorded, and as no more than that."""
    assert not unsigned.replayed
    assert unsigned.receipt.level == "unsigned"
    assert house.reader.receipt(ledger, unsigned.entry.seq).level == "unsigned"
    assert house.reader.size(ledger) == 2


def write_on(house: House, ledger: str) -> None:
    house.record(ledger, asks("after"))


def start_again(house: House, ledger: str) -> None:
    house.open_appender().publish(ledger)


def send_again(house: House, ledger: str) -> None:
    house.record(ledger, asks("k"))


@pytest.mark.parametrize("what_happens", [write_on, start_again, send_again])
@pytest.mark.usefixtures("unsigned")
def test_what_was_left_unsigned_is_signed_by_what_comes_next(house, ledger, what_happens):
    what_happens(house, ledger)

    assert house.verify_receipt(house.reader.receipt(ledger, 1), ledger).seq == 1
    house.verify(ledger)


# ---- Frozen clients -------------------------------------------------------------------

_spawn = multiprocessing.get_context("spawn")


def freeze_between_statements(conninfo: str, directory: Path, key: bytes, ledger: str) -> None:
    """Append, and stop with the head in hand; what became of it is the exit code."""

    class Freezing(FileSigner):
        def show_base(self, *base: object) -> None:
            super().show_base(*base)
            os.kill(os.getpid(), signal.SIGSTOP)

    signer = Freezing(directory, Ed25519PrivateKey.from_private_bytes(key))
    storage = PostgresStorage(lambda _role: conninfo)
    try:
        append(Appender(storage, signer, Vault(bytes(32)), SystemClock()), ledger, asks("frozen"))
    except (PushbackError, OutcomeUnknownError):
        sys.exit(FAILED)


def freeze_within_a_pipeline(conninfo: str, _directory: Path, _key: bytes, ledger: str) -> None:
    """Stop between what was sent and the end of it, where no timeout of the server runs."""
    with connect(lambda _role: conninfo, WRITER) as connection:
        try:
            with connection.pipeline():
                connection.execute("begin")
                psycopg.RawCursor(connection).execute(LOCK_HEAD.text, (ledger,)).fetchone()
                os.kill(os.getpid(), signal.SIGSTOP)
                connection.execute("update heads set size = size + 7 where ledger = %s", (ledger,))
                connection.execute("commit")
        except psycopg.OperationalError:
            sys.exit(FAILED)


@contextmanager
def stopped(freeze: Callable[..., None], house: House, ledger: str) -> Iterator[SpawnProcess]:
    """A process that froze while it held the ledger's head."""
    key = house.signer._private_key.private_bytes_raw()
    frozen = _spawn.Process(
        target=freeze, args=(house.conninfo(WRITER), house.signer._directory, key, ledger)
    )
    frozen.start()
    assert frozen.pid is not None
    try:
        _, status = os.waitpid(frozen.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status), status
        yield frozen
    finally:
        os.kill(frozen.pid, signal.SIGCONT)
        frozen.join(PATIENCE_S)


@pytest.mark.slow
@pytest.mark.parametrize("freeze", [freeze_between_statements, freeze_within_a_pipeline])
def test_a_frozen_writer_is_ended_and_the_others_go_on(
    house, appender, ledger, monkeypatch, freeze
):
    """Between statements the server's timeout ends it; within them, those who wait behind it."""
    if freeze is freeze_between_statements:
        monkeypatch.setattr(postgres, "FROZEN_AFTER_S", 3_600)
    append(appender, ledger, asks("before"))
    with stopped(freeze, house, ledger) as frozen:
        gives_up_at = time.monotonic() + PATIENCE_S
        told = []
        while True:
            try:
                append(appender, ledger, asks("k"))
                break
            except PushbackError as error:
                told.append(error)
                assert time.monotonic() < gives_up_at, "nobody ended it"

    # It was in the way of the first, and had nothing to say any more when it woke.
    assert told
    assert frozen.exitcode == FAILED
    assert house.reader.size(ledger) == 2
    assert b'"key":"k"' in house.reader.entry_bytes(ledger, 1)
    house.verify(ledger)


# ---- The registry ---------------------------------------------------------------------


def test_a_registry_whose_maker_died_before_its_notice_is_announced_by_the_next():
    """Its row comes first, for nothing else can hold the notice; and then nothing."""
    with open_house() as house:
        origin = f"ledger.example/{REGISTRY}"
        made = LedgerRecord(
            name=REGISTRY,
            origin=origin,
            vkey=house.signer.verifiers(origin)[0].encode(),
            signer=house.signer.identity,
            units={},
            time_zone="UTC",
            public=False,
            screen=SCREEN,
        )
        house.signer.register(made.origin)
        house.storage.add_ledger(made, genesis_hash(made.origin), None)

        assert house.registry.ensure() == made
        assert house.registry.ensure("elsewhere.example") == made

        assert house.reader.size(REGISTRY) == 1
        house.verify(REGISTRY)
        house.record(house.open_ledger(), asks("k"))


def test_a_registry_that_is_behind_its_signer_lets_the_service_start():
    """It takes no notices; what is read needs none."""
    with open_house() as house:
        record = house.registry.ensure("ledger.example")
        house.open_ledger()
        with house.superuser() as connection:
            # As in a database that was empty when it was put back.
            connection.execute("set session_replication_role = replica")
            for table in ("entries", "tiles", "entry_terms", "published"):
                connection.execute(f"alter table {table} disable trigger all")
                connection.execute(f"delete from {table} where ledger = '_registry'")
            connection.execute("alter table heads disable trigger all")
            connection.execute(
                "update heads set size = 0, last_recorded_at = null, frontier = '', last_hash = %s"
                " where ledger = '_registry'",
                (genesis_hash(record.origin),),
            )

        assert house.registry.ensure() == record

        with pytest.raises(RolledBackError):
            house.open_ledger()
