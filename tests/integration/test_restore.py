"""
Laws of restoring: what a copy of the log has comes back as it was, or nothing is written.

The database is one that was copied whole and put back later, as a backup is; the copies are
files, as an auditor keeps them.
"""

from __future__ import annotations

import itertools
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ledger import lifecycle
from ledger.audit.closing import Closing
from ledger.checkpoint import Checkpoint, sign_checkpoint
from ledger.clock import SystemClock
from ledger.copies import missing as missing_module
from ledger.copies import places
from ledger.copies.log_copy import LogUnreachableError
from ledger.copies.places import open_copy
from ledger.copies.restore import Restored, Restorer
from ledger.effect import Kind
from ledger.entry import Entry, parse_entry
from ledger.errors import (
    ChainBreakError,
    ConsistencyError,
    ForbiddenError,
    ForeignSignerError,
    ForkedError,
    LedgerBrokenError,
    LedgerError,
    MalformedProofError,
    NotFoundError,
    OverRefundError,
    PossibleRepeatError,
    RolledBackError,
    SettingsError,
    SignatureError,
)
from ledger.forms.names import REGISTRY
from ledger.intent import State
from ledger.merkle import leaf_hash
from ledger.signing.signer import FileSigner
from ledger.storage.embedded.cluster import DATABASE, SUPERUSER, ensure_database
from ledger.storage.schema import migrate
from ledger.tiles import entry_bundle, parse_entry_bundle, partial_width, tile_path
from ledger.verification.pages import verify_ledger
from tests.faults.house import House, asks, eur, open_house, recorded, refund
from tests.faults.test_dialog import Client

TABLES = ("entries", "entry_terms", "tiles", "positions", "heads", "periods")
"""All that follows from the entries alone."""


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with open_house() as opened:
        yield opened


@pytest.fixture
def ledger(house) -> str:
    return house.open_ledger()


# ---- Backups --------------------------------------------------------------------------


@contextmanager
def administrator(house: House) -> Iterator[psycopg.Connection[Any]]:
    """Somebody in another database of the server, while nobody is in ours."""
    house.engine.dispose()
    house.storage.close()
    conninfo = make_conninfo(house.conninfo(SUPERUSER), dbname="postgres")
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", (DATABASE,)
        )
        yield connection


class Backup:
    """The whole database as it was."""

    def __init__(self, house: House) -> None:
        self._house = house
        with administrator(house) as connection:
            connection.execute(f"create database backup template {DATABASE}")

    def put_back(self) -> None:
        """The database as it was takes the place of the one that is."""
        with administrator(self._house) as connection:
            connection.execute(f"drop database {DATABASE}")
            connection.execute(f"alter database backup rename to {DATABASE}")


def begin_anew(house: House) -> None:
    """An empty database takes the place of the one that is."""
    with administrator(house) as connection:
        connection.execute(f"drop database {DATABASE}")
    ensure_database(Path(conninfo_to_dict(house.conninfo(SUPERUSER))["host"]))
    migrate(house.conninfo)


def poster_keys(house: House) -> list[Any]:
    """Whose signatures are known."""
    with house.superuser() as connection:
        return connection.execute("select * from poster_keys order by key_id").fetchall()


def rows(house: House, ledger: str, *tables: str) -> dict[str, list[Any]]:
    """What the tables hold of the ledger."""
    with house.superuser() as connection:
        return {
            table: sorted(
                connection.execute(f"select t::text from {table} t where ledger = %s", (ledger,))
            )
            for table in tables or TABLES
        }


def keep(house: House, ledger: str, directory: Path) -> Path:
    """A copy of the log as it is now."""
    size = house.reader.published_size(ledger)
    directory.mkdir()
    (directory / "checkpoint").write_bytes(house.reader.checkpoint(ledger))
    levels: list[Any] = [*range(8), "entries"]
    for level in levels:
        for index in itertools.count():
            width = partial_width(level, index, size)
            if width == 0:
                break
            path = tile_path(level, index, width)
            file = directory / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(house.reader.tile(ledger, path))
    return directory


def restorer(house: House, signer: Any = None) -> Restorer:
    return Restorer(
        shelf=house.storage,
        signer=signer or house.signer,
        appender=house.appender,
        registry=house.registry,
        reader=house.reader,
        clock=SystemClock(),
    )


def restore(house: House, ledger: str, copy: Path | str, **progress: Any) -> Restored:
    """Check the copy, and write what is missing."""
    with open_copy(str(copy)) as opened:
        return restorer(house).write(restorer(house).check(ledger, opened), opened, **progress)


# ---- What comes back ------------------------------------------------------------------


def history(start: int, stop: int) -> Iterator[Any]:
    """Submissions of every kind; corrections reach far back."""
    for at in range(start, stop):
        far = (at // 3) - (at // 3) % 4
        if at % 4 == 0:
            yield asks(
                f"k{at}",
                money=eur("100.00"),
                subject=f"order/{at}",
                business_key=f"invoice/{at}",
                labels={"shop": "berlin", "lane": str(at % 7)},
                evidence=[{"system": "psp", "rel": "transaction", "ref": f"ch_{at}"}],
            )
        elif at % 4 == 1:
            yield refund(f"k{at}", "1.25", corrects_key=f"k{far}")
        elif at % 4 == 2:
            yield asks(
                f"k{at}",
                kind="adjustment",
                type="card.fee",
                reason="fee",
                corrects_key=f"k{far}",
                money=eur("-0.10"),
            )
        else:
            yield asks(
                f"k{at}",
                kind="adjustment",
                type="refund.failed",
                reason="bank.refused",
                corrects_key=f"k{at - 2}",
                money=eur("-0.25", "out"),
                causes=[{"kind": "trace", "ref": f"t{at}"}],
            )


@pytest.mark.parametrize(
    ("size", "signed"), [(0, 1), (0, 256), (1, 300), (255, 258), (256, 512), (300, 1400)]
)
def test_everything_comes_back_as_it_was(house, ledger, tmp_path, size, signed):
    """Every row of every table that follows from the entries; and then it takes writes."""
    if size:
        house.record(ledger, *history(0, size))
    backup = Backup(house)
    house.record(ledger, *history(size, signed))
    was = rows(house, ledger)
    copy = keep(house, ledger, tmp_path / "copy")
    backup.put_back()
    with pytest.raises(RolledBackError):
        house.record(ledger, asks("too-early"))

    restored = restore(house, ledger, copy)

    assert rows(house, ledger) == was
    assert (restored.first, restored.entries, restored.size) == (size, signed - size, signed)
    assert restored.payloads_lost == 0
    house.verify(ledger)
    [entry] = house.record(ledger, asks("after"))
    assert entry.seq == signed
    house.verify(ledger)


def test_closes_come_back_and_what_is_late_for_them_still_is(house, ledger, tmp_path):
    """Two closes, of which the backup has one."""
    closing = Closing(house.engine, house.appender)
    house.record(ledger, *history(0, 5))
    closing.close(ledger, "2026-01", preparer="anna")
    backup = Backup(house)
    first, _ = closing.close(ledger, "2026-03", preparer="anna")
    second, _ = closing.close(ledger, "2026-03", preparer="anna", supersedes=first.entry.id)
    was = rows(house, ledger)
    copy = keep(house, ledger, tmp_path / "copy")
    backup.put_back()

    restore(house, ledger, copy)

    assert rows(house, ledger) == was
    [late] = house.record(ledger, asks("after"))
    assert late.late_for == "2026-03"
    assert closing.find(ledger, "2026-03").entry == second.entry
    house.verify(ledger)


def test_intents_that_became_entries_hold_nothing_once_these_are_back(house, ledger, tmp_path):
    """One was open when the backup was made, one is not in it; no copy of a log has events."""
    client = Client(house, ledger)
    [sold] = house.record(ledger, asks("sold", money=eur("10.00")))
    words = {"kind": "refund", "type": "r", "corrects": sold.id, "reason": "asked"}
    known = client.promise(**words, money=eur("4.00", "out")).intent.id
    client.step(known, "start", 1)
    client.close()
    backup = Backup(house)
    client.step(known, "result", 2)
    entry = client.hand_off(known, 2).entry
    unknown = client.promise(**words, money=eur("1.00", "out")).intent.id
    client.step(unknown, "start", 1)
    client.step(unknown, "result", 2)
    client.hand_off(unknown, 2)
    client.close()
    copy = keep(house, ledger, tmp_path / "copy")
    backup.put_back()
    assert house.positions(ledger)[sold.id] == ("EUR", 1000, 0, 0, 400, 0)

    restore(house, ledger, copy)

    assert house.positions(ledger)[sold.id] == ("EUR", 1000, 0, 500, 0, 0)
    intent = client.intents.get(ledger, known).intent
    assert (intent.state, intent.entry, intent.held) == (State.HANDED_OFF, entry.id, 0)
    report = house.verify(ledger)
    assert any("how 2 intents came to be entries" in each for each in report.not_checked)
    assert client.hand_off(known, 2).entry.id == entry.id
    client.close()


@pytest.fixture
def lost(house, ledger, tmp_path) -> Lost:
    return lose(house, ledger, tmp_path / "copy")


@pytest.fixture(scope="module")
def lost_for_good(house, tmp_path_factory) -> Lost:
    return lose(house, house.open_ledger(), tmp_path_factory.mktemp("lost") / "copy")


@pytest.fixture
def left(lost_for_good, tmp_path) -> Lost:
    """The same for those that change only the copy, and bring nothing back."""
    copy = shutil.copytree(lost_for_good.copy, tmp_path / "copy")
    return replace(lost_for_good, copy=copy)


def lose(house: House, ledger: str, directory: Path) -> Lost:
    """A ledger whose newest entries are gone, and a copy of its log that has them."""
    [capture] = house.record(
        ledger,
        asks("capture", money=eur("100.00"), business_key="invoice/1", note="kept"),
    )
    house.record(ledger, *(asks(f"fill-{at}") for at in range(299)))
    backup = Backup(house)
    later = [
        refund("refund", "70.00", corrects_key="capture"),
        asks("noted", note="gone"),
        asks("unique", business_key="invoice/2"),
        asks("two", payloads=[{"name": "a", "text": "A"}, {"name": "b", "json": {"b": 1}}]),
        *(asks(f"more-{at}") for at in range(300)),
    ]
    recorded_later = house.record(ledger, *later)
    copy = keep(house, ledger, directory)
    was = rows(house, ledger)
    backup.put_back()
    return Lost(
        ledger=ledger,
        copy=copy,
        was=was,
        size=300,
        signed=604,
        capture=capture,
        later=dict(zip([each.effect.key for each in later], later, strict=True)),
        entries={entry.effect.key: entry for entry in recorded_later},
    )


@dataclass(frozen=True, kw_only=True)
class Lost:
    """What was lost, and where it still is."""

    ledger: str
    copy: Path
    was: dict[str, list[Any]]
    """The rows before they were lost."""
    size: int
    """Entries that are there."""
    signed: int
    """Entries that were signed."""
    capture: Entry
    later: dict[str, Any]
    """Submissions of what is gone, by key."""
    entries: dict[str, Entry]


def test_replays_and_rules_are_as_before(house, lost):
    restore(house, lost.ledger, lost.copy)

    for key in ("refund", "unique", "more-7"):
        [again] = house.post(lost.ledger, lost.later[key])
        assert recorded(again).replayed
        assert recorded(again).entry == lost.entries[key]
        assert house.verify_receipt(recorded(again).receipt, lost.ledger).level == "log-signed"
    [over] = house.post(lost.ledger, refund("over", "30.01", corrects_key="capture"))
    assert isinstance(over, OverRefundError)
    [repeat] = house.post(lost.ledger, asks("other", business_key="invoice/2"))
    assert isinstance(repeat, PossibleRepeatError)
    assert repeat.details["seq"] == lost.entries["unique"].seq
    house.record(lost.ledger, refund("rest", "30.00", corrects_key="capture"))
    house.verify(lost.ledger)


def test_octets_of_payloads_are_lost_and_nothing_else_is_said_of_them(house, lost):
    """Not tampering, and not erasure: the ledger itself says in its history what is gone."""
    restored = restore(house, lost.ledger, lost.copy)

    assert restored.payloads_lost == 3
    report = house.verify(lost.ledger)
    [said] = [each for each in report.not_checked if "payloads contained" in each]
    assert said.startswith("what 3 payloads contained: they were lost")
    # One entry more than were signed: the notice, which stands right behind them.
    assert restored.size == lost.signed + 1 == house.reader.size(lost.ledger)
    notice = parse_entry(house.reader.entry_bytes(lost.ledger, lost.signed))
    assert (notice.effect.type, notice.poster) == ("payload.lost", "_ledger")
    assert notice.effect.data == {
        "from_seq": lost.entries["noted"].seq,
        "to_seq": lost.signed - 1,
    }
    [kept] = house.reader.payloads(lost.ledger, lost.capture.id)
    assert kept.content == b"kept"
    [gone] = house.reader.payloads(lost.ledger, lost.entries["noted"].id)
    assert (gone.content, gone.salt) == (None, None)
    assert gone.commitment.hex() == lost.entries["noted"].payloads[0].commitment


@pytest.mark.parametrize("key", ["noted", "two"])
def test_a_request_whose_payload_was_lost_replays(house, lost, key):
    restore(house, lost.ledger, lost.copy)

    [again] = house.post(lost.ledger, lost.later[key])

    assert recorded(again).replayed
    assert recorded(again).entry == lost.entries[key]
    assert {payload.salt for payload in recorded(again).payloads} == {None}


def test_a_payload_that_is_emptied_later_does_not_pass_for_lost(house, lost):
    """The notice excuses what is before it, and among that only what was restored."""
    restore(house, lost.ledger, lost.copy)
    [after] = house.record(lost.ledger, asks("after", note="words"))
    with house.superuser() as connection:
        connection.execute(
            "update payloads set sealed = null where ledger = %s and seq = any(%s)",
            (lost.ledger, [lost.capture.seq, after.seq]),
        )

    report = verify_ledger(house.engine, lost.ledger, vault=house.vault)

    assert [(found.check, found.seq) for found in report.findings] == [
        ("payload.erased", lost.capture.seq),
        ("payload.erased", after.seq),
    ]


# ---- Again and again ------------------------------------------------------------------


def test_what_is_restored_is_restored_once(house, lost):
    restore(house, lost.ledger, lost.copy)
    rows_then = rows(house, lost.ledger)

    again = restore(house, lost.ledger, lost.copy)

    assert (again.entries, again.payloads_lost, again.size) == (0, 0, lost.signed + 1)
    assert rows(house, lost.ledger) == rows_then


@pytest.mark.parametrize("bundles", [1, 4])
def test_a_restore_that_is_killed_is_begun_again(house, lost, monkeypatch, bundles):
    """After any chunk; what was lost is told once, and whole."""

    def die(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(missing_module, "BUNDLES_AT_ONCE", bundles)
    sizes = [lost.size]
    while sizes[-1] < lost.signed:
        with pytest.raises(KeyboardInterrupt):
            restore(house, lost.ledger, lost.copy, tell=die)
        sizes.append(house.reader.size(lost.ledger))
        assert sizes[-1] > sizes[-2]
        if sizes[-1] < lost.signed:
            with pytest.raises(RolledBackError):
                house.record(lost.ledger, asks("too-early"))

    restore(house, lost.ledger, lost.copy)

    assert len(sizes) == (3 if bundles == 1 else 2)
    assert house.reader.size(lost.ledger) == lost.signed + 1
    notice = parse_entry(house.reader.entry_bytes(lost.ledger, lost.signed))
    assert notice.effect.data["from_seq"] == lost.entries["noted"].seq
    now = rows(house, lost.ledger)
    assert all(row in now["entries"] for row in lost.was["entries"])
    assert now["positions"] == lost.was["positions"]
    house.verify(lost.ledger)


def test_two_restores_at_once_restore_once(house, lost, monkeypatch):
    """Whoever finds the other further goes on from there."""
    monkeypatch.setattr(missing_module, "BUNDLES_AT_ONCE", 1)
    with open_copy(str(lost.copy)) as copy:
        missing = restorer(house).check(lost.ledger, copy)
        told = []

        def overtake(done: int, _total: int) -> None:
            told.append(done)
            if len(told) == 1:
                restore(house, lost.ledger, lost.copy)

        restorer(house).write(missing, copy, overtake)

    assert told == [512 - lost.size, lost.signed - lost.size]
    assert house.reader.size(lost.ledger) == lost.signed + 1
    house.verify(lost.ledger)


def test_nothing_missing_is_nothing_done(house, ledger, tmp_path):
    house.record(ledger, asks("k"))
    copy = keep(house, ledger, tmp_path / "copy")

    restored = restore(house, ledger, copy)

    assert (restored.entries, restored.size) == (0, 1)
    house.verify(ledger)


# ---- Copies that are refused ----------------------------------------------------------

BUNDLE = 512
"""Seq of the first entry of the last bundle, of which all entries were lost."""


def last_bundle(lost: Lost) -> Path:
    return lost.copy / tile_path("entries", BUNDLE // 256, lost.signed - BUNDLE)


def edit(path: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    path.write_bytes(entry_bundle(change(parse_entry_bundle(path.read_bytes()))))


def another_amount(entries: list[bytes], at: int) -> list[bytes]:
    """Another entry, in the right spelling, in place of one of them."""
    changed = entries[at].replace(b'"id":"till-1"', b'"id":"till-2"')
    assert changed != entries[at]
    return [*entries[:at], changed, *entries[at + 1 :]]


def no_tree(lost: Lost) -> None:
    """Nothing in the copy but entries, so that nothing tells what they were."""
    for level in range(8):
        shutil.rmtree(lost.copy / f"tile/{level}", ignore_errors=True)


def signed_anew(house: House, lost: Lost, size: int, root: bytes = bytes(32)) -> None:
    """A checkpoint of the ledger's own key in the copy."""
    origin = house.reader.ledger(lost.ledger).origin
    tree = Checkpoint(origin=origin, size=size, root=root)
    (lost.copy / "checkpoint").write_bytes(sign_checkpoint(tree, *house.signer._keys_of(origin)))


def bundle_cut_short(_house: House, lost: Lost) -> None:
    edit(last_bundle(lost), lambda entries: entries[:5])


def bundle_missing(_house: House, lost: Lost) -> None:
    last_bundle(lost).unlink()


def bundle_torn(_house: House, lost: Lost) -> None:
    last_bundle(lost).write_bytes(last_bundle(lost).read_bytes()[:-1])


def bundle_too_long(_house: House, lost: Lost) -> None:
    edit(last_bundle(lost), lambda entries: [*entries, entries[-1]])


def bundle_endless(_house: House, lost: Lost) -> None:
    with last_bundle(lost).open("r+b") as file:
        file.truncate(64 * 1024 * 1024)


def entry_changed(_house: House, lost: Lost) -> None:
    edit(last_bundle(lost), lambda entries: another_amount(entries, 3))


def last_entry_changed(_house: House, lost: Lost) -> None:
    edit(last_bundle(lost), lambda entries: another_amount(entries, len(entries) - 1))


def entries_swapped(_house: House, lost: Lost) -> None:
    edit(last_bundle(lost), lambda entries: [entries[1], entries[0], *entries[2:]])


def entry_changed_and_no_tree(house: House, lost: Lost) -> None:
    entry_changed(house, lost)
    no_tree(lost)


def last_entry_changed_and_no_tree(house: House, lost: Lost) -> None:
    last_entry_changed(house, lost)
    no_tree(lost)


def copy_too_short(house: House, lost: Lost) -> None:
    signed_anew(house, lost, lost.signed - 1)


def copy_beyond_the_record(house: House, lost: Lost) -> None:
    signed_anew(house, lost, lost.signed + 1)


def copy_of_another_tree(house: House, lost: Lost) -> None:
    signed_anew(house, lost, lost.signed)


def note_of_another_ledger(house: House, lost: Lost) -> None:
    other = house.open_ledger()
    house.record(other, asks("k"))
    (lost.copy / "checkpoint").write_bytes(house.reader.checkpoint(other))


def note_forged(_house: House, lost: Lost) -> None:
    note = (lost.copy / "checkpoint").read_bytes()
    (lost.copy / "checkpoint").write_bytes(note.replace(b"\n604\n", b"\n605\n"))


def note_of_nothing(_house: House, lost: Lost) -> None:
    (lost.copy / "checkpoint").write_bytes(b"moved elsewhere\n")


REFUSED: dict[Callable[[House, Lost], None], tuple[type[Exception], str]] = {
    bundle_cut_short: (ChainBreakError, "has no entry 517 in tile/entries/002.p/92"),
    bundle_missing: (ChainBreakError, "has no entry 512 in tile/entries/002.p/92"),
    bundle_torn: (MalformedProofError, "002.p/92, from entry 512 on: the bundle ends within"),
    bundle_too_long: (MalformedProofError, "002.p/92 has 93 entries"),
    bundle_endless: (MalformedProofError, "has more than 16777472 bytes"),
    entry_changed: (ChainBreakError, "entry 515 of the copy is not the one that was signed"),
    last_entry_changed: (ChainBreakError, "entry 603 of the copy is not the one that was signed"),
    entries_swapped: (ChainBreakError, "entry 512 of the copy is not the one that was signed"),
    entry_changed_and_no_tree: (ChainBreakError, "entry 516: expected prev"),
    last_entry_changed_and_no_tree: (ConsistencyError, "up to entry 603, to the root"),
    copy_too_short: (ChainBreakError, "ends before entry 603, and entries up to 603 were signed"),
    copy_beyond_the_record: (ConsistencyError, "the record itself is an old one"),
    copy_of_another_tree: (ForkedError, "two trees of 604 entries were signed"),
    note_of_another_ledger: (SignatureError, "the copy is not of"),
    note_forged: (SignatureError, "did not sign this text"),
    note_of_nothing: (MalformedProofError, ""),
}


@pytest.mark.parametrize("damage", REFUSED, ids=lambda damage: damage.__name__)
def test_a_copy_that_is_not_what_was_signed_is_refused_whole(house, left, damage):
    """Which entry and which side is told where it can be; and nothing is written."""
    damage(house, left)
    rows_then = rows(house, left.ledger)
    kind, words = REFUSED[damage]

    with pytest.raises(kind) as caught:
        restore(house, left.ledger, left.copy)

    assert type(caught.value) is kind
    assert words in caught.value.message
    assert rows(house, left.ledger) == rows_then


def test_a_copy_without_checkpoint_and_tree_is_as_good(house, lost):
    """The signer's record has size and root; the rest is for those who do not."""
    no_tree(lost)
    (lost.copy / "checkpoint").unlink()
    for before in range(lost.size // 256):
        (lost.copy / tile_path("entries", before)).unlink()

    assert restore(house, lost.ledger, lost.copy).entries == lost.signed - lost.size


def test_an_entry_of_a_later_version_is_left_to_a_later_program(house, lost, tmp_path):
    """What it moved and what it is found by, only that program knows."""
    *before, last = parse_entry_bundle(last_bundle(lost).read_bytes())
    later = last.replace(b'"v":1}', b'"v":2}')
    last_bundle(lost).write_bytes(entry_bundle([*before, later]))
    (lost.copy / "checkpoint").unlink()
    # The same signer, as if it had signed that.
    shutil.copytree(house.signer._directory, tmp_path / "signer")
    origin = house.reader.ledger(lost.ledger).origin
    [record] = (tmp_path / "signer").glob(f"{lost.ledger}.*.record")
    record.unlink()
    signer = FileSigner(tmp_path / "signer", house.signer._private_key)
    signer.register(origin)
    bundles = [lost.copy / tile_path("entries", at) for at in range(2)]
    leaves = [
        leaf_hash(entry)
        for bundle in (*bundles, last_bundle(lost))
        for entry in parse_entry_bundle(bundle.read_bytes())
    ]
    signer.sign(origin, 0, leaves, lambda *_: [])

    with open_copy(str(lost.copy)) as copy, pytest.raises(LedgerError, match="603 is of a later"):
        restorer(house, signer).check(lost.ledger, copy)


def test_a_copy_that_changes_while_it_is_read_is_left(house, lost, monkeypatch):
    """What was written by then is right, and another copy brings the rest."""
    monkeypatch.setattr(missing_module, "BUNDLES_AT_ONCE", 1)
    good = shutil.copytree(lost.copy, lost.copy.parent / "good")

    with pytest.raises(ConsistencyError, match="changed while it was read, from entry 512 on"):
        restore(house, lost.ledger, lost.copy, tell=lambda *_: entry_changed(house, lost))

    assert house.reader.size(lost.ledger) == BUNDLE
    restore(house, lost.ledger, good)
    house.verify(lost.ledger)


def test_an_entry_that_rules_refuse_by_now_stops_it_there(house, lost, monkeypatch):
    """What was signed stays so; what it did to others cannot be told by these rules."""
    with monkeypatch.context() as patch:
        patch.setitem(lifecycle._CORRECTABLE, Kind.REFUND, frozenset())
        with pytest.raises(LedgerError, match="entry 300 was signed, and by today's rules"):
            restore(house, lost.ledger, lost.copy)

    assert house.reader.size(lost.ledger) == lost.size
    restore(house, lost.ledger, lost.copy)
    house.verify(lost.ledger)


# ---- Other histories ------------------------------------------------------------------


def fork(house: House, ledger: str, *submissions: Any) -> None:
    """Append while the signer does not remember what it signed."""
    [record] = house.signer._directory.glob(f"{ledger}.*.record")
    kept = record.read_bytes()
    house.signer.close()
    record.unlink()
    house.signer.register(house.reader.ledger(ledger).origin)
    house.record(ledger, *submissions)
    house.signer.close()
    record.write_bytes(kept)


@pytest.mark.parametrize("tree", ["with the copy's tree", "by the copy's entries alone"])
def test_a_database_with_another_history_is_told_from_where_on(house, lost, tree):
    """The copy is right, and nothing can be appended to what is wrong."""
    fork(house, lost.ledger, *(asks(f"other-{at}") for at in range(9)))
    if tree == "by the copy's entries alone":
        no_tree(lost)

    with pytest.raises(ForkedError, match=r"entry 300 of the database .* the copy the right one"):
        restore(house, lost.ledger, lost.copy)

    assert house.reader.size(lost.ledger) == lost.size + 9


def test_a_longer_database_with_another_history_is_no_restored_one(house, lost):
    fork(house, lost.ledger, *(asks(f"other-{at}") for at in range(500)))

    with pytest.raises(ForkedError, match="another history"):
        restore(house, lost.ledger, lost.copy)


def test_both_wrong_is_not_blamed_on_one(house, lost):
    fork(house, lost.ledger, asks("other"))
    entry_changed_and_no_tree(house, lost)

    with pytest.raises(ChainBreakError, match="the copy does not lead to what was signed"):
        restore(house, lost.ledger, lost.copy)


def test_another_signer_restores_nothing(house, lost, tmp_path):
    """Without the record nobody knows where history ends."""
    stranger = FileSigner(tmp_path / "signer", Ed25519PrivateKey.generate())

    with open_copy(str(lost.copy)) as copy, pytest.raises(ForeignSignerError):
        restorer(house, stranger).check(lost.ledger, copy)


def test_a_signer_without_record_restores_nothing(house, lost):
    [record] = house.signer._directory.glob(f"{lost.ledger}.*.record")
    record.rename(record.with_suffix(".kept"))

    with pytest.raises(LedgerBrokenError, match="has no record"):
        restore(house, lost.ledger, lost.copy)


# ---- The registry ---------------------------------------------------------------------


def test_a_ledger_that_came_after_the_backup_is_opened_by_the_registry(house, tmp_path):
    """The registry first: it knows which ledgers there were, and whose keys."""
    backup = Backup(house)
    name = house.open_ledger(units={"USDC": 6}, time_zone="Europe/Berlin", public=True)
    record = house.reader.ledger(name)
    house.record(name, *history(0, 9))
    empty = house.open_ledger()
    poster = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    house.registry.enrol_poster_key("till", poster)
    was = rows(house, name)
    keys = poster_keys(house)
    registry = keep(house, REGISTRY, tmp_path / "registry")
    copy = keep(house, name, tmp_path / "copy")
    backup.put_back()

    with pytest.raises(NotFoundError, match="restore _registry first"):
        restore(house, name, copy)
    restored = restore(house, REGISTRY, registry)

    assert restored.reopened == [name, empty]
    assert house.storage.ledger(name) == record
    assert poster_keys(house) == keys
    behind = restorer(house).behind()
    assert (behind[name], empty in behind) == ((0, 9), False)
    house.verify(REGISTRY)
    house.record(empty, asks("k"))
    house.verify(empty)
    with pytest.raises(RolledBackError):
        house.record(name, asks("too-early"))
    restore(house, name, copy)
    assert rows(house, name) == was
    house.verify(name)


def test_what_a_killed_restore_of_the_registry_left_closed_is_opened_by_the_next(
    house, tmp_path, monkeypatch
):
    backup = Backup(house)
    name = house.open_ledger()
    registry = keep(house, REGISTRY, tmp_path / "registry")
    backup.put_back()
    with monkeypatch.context() as patch:
        patch.setattr(Restorer, "_reopen", lambda _self: pytest.fail("killed"))
        with pytest.raises(pytest.fail.Exception):
            restore(house, REGISTRY, registry)

    restored = restore(house, REGISTRY, registry)

    assert (restored.entries, restored.reopened) == (0, [name])
    house.verify(REGISTRY)


def test_a_house_is_rebuilt_from_its_logs_alone(tmp_path):
    """The database is gone and so are its backups; signer and logs are there."""
    with open_house() as house:
        name = house.open_ledger()
        house.record(name, *history(0, 40))
        was = {each: rows(house, each) for each in (REGISTRY, name)}
        copies = {each: keep(house, each, tmp_path / each) for each in (REGISTRY, name)}
        records = {each: house.storage.ledger(each) for each in (REGISTRY, name)}
        begin_anew(house)
        with pytest.raises(MalformedProofError, match="does not announce _registry"):
            restore(house, REGISTRY, copies[name])
        (tmp_path / "empty").mkdir()
        with pytest.raises(NotFoundError, match="is no log"):
            restore(house, REGISTRY, tmp_path / "empty")

        assert restore(house, REGISTRY, copies[REGISTRY]).reopened == [name]
        restore(house, name, copies[name])

        for each in (REGISTRY, name):
            assert rows(house, each) == was[each]
            assert house.storage.ledger(each) == records[each]
            house.verify(each)
        house.registry.ensure()
        house.record(name, asks("after"))
        house.verify(name)


# ---- Copies over HTTP -----------------------------------------------------------------


class Mirror(SimpleHTTPRequestHandler):
    """Files as anybody may serve them; its server says of what and how badly."""

    def do_GET(self) -> None:
        self.server.asked.append(self.headers["Authorization"])
        status = self.server.answers.pop(0) if self.server.answers else 200
        if status == 200:
            super().do_GET()
        else:
            self.send_error(status)

    def translate_path(self, path: str) -> str:
        return str(self.server.directory) + path.removeprefix("/log")

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@pytest.fixture
def mirror(lost) -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Mirror)
    server.directory, server.answers, server.asked = lost.copy, [], []
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def url_of(mirror: ThreadingHTTPServer) -> str:
    return f"http://127.0.0.1:{mirror.server_port}/log"


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(places, "PAUSE_S", 0.0)


def test_a_copy_over_http_is_as_good(house, lost, mirror):
    restored = restore(house, lost.ledger, url_of(mirror) + "/")

    assert restored.entries == lost.signed - lost.size
    assert set(mirror.asked) == {None}
    house.verify(lost.ledger)


def test_a_mirror_that_stumbles_is_asked_again(house, lost, mirror):
    mirror.answers[:] = [503, 200, 502, 429, 500, 200, 504]

    restore(house, lost.ledger, url_of(mirror))

    house.verify(lost.ledger)


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ([401], (ForbiddenError, "HTTP 401")),
        ([200, 403], (ForbiddenError, "it may want a key with scope proofs:read in EFFECT_LED")),
        ([302], (ForbiddenError, "HTTP 302")),
        ([503] * 5, (LogUnreachableError, "503")),
    ],
)
def test_a_mirror_that_shows_nothing_restores_nothing(house, lost, mirror, answers, told):
    mirror.answers[:] = answers

    with pytest.raises(told[0], match=told[1]):
        restore(house, lost.ledger, url_of(mirror))

    assert house.reader.size(lost.ledger) == lost.size


def test_what_the_mirror_does_not_have_is_missing_from_the_copy(house, lost, mirror):
    bundle_missing(house, lost)

    with pytest.raises(ChainBreakError, match=f"{url_of(mirror)} has no entry 512"):
        restore(house, lost.ledger, url_of(mirror))


def test_a_key_is_shown_to_the_mirror_where_there_is_one(mirror):
    with open_copy(url_of(mirror), "key") as copy:
        assert copy.read("checkpoint") is not None
        assert copy.read("tile/entries/000.p/7") is None

    assert set(mirror.asked) == {"Bearer key"}


def test_the_url_of_a_ledger_means_its_log():
    with open_copy("http://localhost:8420/v1/ledgers/shop/") as copy:
        assert copy.where == "http://localhost:8420/v1/ledgers/shop/log"


@pytest.mark.parametrize(
    "where",
    [
        *("/nonexistent", __file__, "", "ftp://host/log", "http://", "https:///log"),
        *("http://[::1/log", "http://host:99999999/log", "http://host:port/log"),
    ],
)
def test_what_is_no_copy_is_bad_input(where):
    with pytest.raises(SettingsError), open_copy(where):
        pass


def test_a_key_that_no_header_takes_is_bad_input():
    with pytest.raises(SettingsError, match="key"), open_copy("http://localhost/log", "k\u00e9y"):
        pass


def test_a_database_that_lost_entries_of_its_own_is_told_from_where_on(house, lost):
    """Older, and holes in it too: the copy is right, and an append is no cure."""
    with house.superuser() as connection:
        connection.execute("alter table entries disable trigger append_only")
        connection.execute(
            "delete from entries where ledger = %s and seq in (7, 8)", (lost.ledger,)
        )
        connection.execute(
            "update heads set last_hash = %s where ledger = %s", (bytes(32), lost.ledger)
        )
        connection.execute("alter table entries enable always trigger append_only")

    with pytest.raises(ForkedError, match="entry 7 of the database"):
        restore(house, lost.ledger, lost.copy)


def test_a_file_that_cannot_be_read_is_bad_input(tmp_path):
    (tmp_path / "checkpoint").mkdir()

    with open_copy(str(tmp_path)) as copy, pytest.raises(SettingsError, match="cannot be read"):
        copy.read("checkpoint")
