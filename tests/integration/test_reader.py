"""The reader over a real server: what was recorded is found, proved and told, and nothing else."""

from __future__ import annotations

import itertools
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection, Engine

from ledger import listing, reader
from ledger.append import Appender
from ledger.canonical import canonical_bytes
from ledger.checkpoint import Checkpoint, open_checkpoint
from ledger.clock import SystemClock
from ledger.effect import Rules, build_effect
from ledger.entry import Entry, UnreadEntry, genesis_hash, parse_entry
from ledger.errors import (
    BadReferenceError,
    ChainBreakError,
    DatabaseUnavailableError,
    InclusionError,
    LedgerExistsError,
    MalformedEffectError,
    MalformedProofError,
    NotFoundError,
    OverloadedError,
    SettingsError,
    TooLargeError,
)
from ledger.forms.payload import build_payloads
from ledger.ledger_reader import SELECT_SIZES
from ledger.listing import EntryFilter, Listing
from ledger.merkle import EMPTY_ROOT, leaf_hash, root_of, verify_consistency, verify_inclusion
from ledger.note import VerifierKey
from ledger.ports import LedgerRecord
from ledger.reader import Reader
from ledger.receipt import verify_receipt
from ledger.registry.ledgers import Registry
from ledger.signing.signer import FileSigner
from ledger.storage.database import ERASER, READ_BY_INDEX, READER, WRITER, Conninfo
from ledger.storage.database import engine as make_engine
from ledger.storage.postgres import PostgresStorage
from ledger.submission import Posting, Recorded, Submission
from ledger.terms import terms_of
from ledger.tiles import parse_entry_bundle, partial_width, tile_path
from ledger.vault import Vault
from tests.integration.commands import migrated_database

LEDGER = "shop"
SIZE = 700
"""Two full tiles and a partial one."""
WRITERS_CLOCK = datetime(2026, 3, 1, tzinfo=UTC)

pytestmark = pytest.mark.usefixtures("shop")


@pytest.fixture(scope="module")
def conninfo() -> Iterator[Conninfo]:
    with migrated_database() as made:
        yield made


@pytest.fixture(scope="module")
def engine(conninfo) -> Iterator[Engine]:
    writer = make_engine(conninfo, WRITER, pool_size=4)
    yield writer
    writer.dispose()


@dataclass(frozen=True, kw_only=True)
class House:
    """What records, so that there is something to read."""

    storage: PostgresStorage
    appender: Appender
    registry: Registry
    vault: Vault

    def post(self, ledger: str, *submissions: Submission, principal: str = "till") -> list[Entry]:
        posting = Posting(ledger=ledger, principal=principal, submissions=submissions)
        [outcomes] = self.appender.append(ledger, [posting])
        entries = []
        for outcome in outcomes:
            assert isinstance(outcome, Recorded), outcome
            entries.append(outcome.entry)
        return entries


@pytest.fixture(scope="module")
def house(conninfo, tmp_path_factory) -> Iterator[House]:
    vault = Vault(bytes(32))
    storage = PostgresStorage(conninfo)
    signer = FileSigner(tmp_path_factory.mktemp("keys") / "signer", Ed25519PrivateKey.generate())
    appender = Appender(storage, signer, vault, SystemClock())
    registry = Registry(appender, storage, signer)
    yield House(storage=storage, appender=appender, registry=registry, vault=vault)
    storage.close()


@pytest.fixture(scope="module")
def shop(house) -> LedgerRecord:
    """A ledger with something of everything, in several batches."""
    record = house.registry.create_ledger(LEDGER)
    numbers = iter(range(SIZE))
    for batch in (1, 5, 250, 1, 300, 143):
        principal = "till" if batch > 100 else "office"
        effects = [effect_of(at) for at in itertools.islice(numbers, batch)]
        house.post(LEDGER, *effects, principal=principal)
    return record


@pytest.fixture
def fresh(house) -> str:
    """An empty ledger."""
    name = f"fresh-{time.time_ns()}"
    house.registry.create_ledger(name)
    return name


@pytest.fixture(scope="module")
def entries(read) -> list[Entry]:
    """All that was recorded, as the feed tells it."""
    found = [*read.entries_after(LEDGER, -1, 400), *read.entries_after(LEDGER, 399, 1_000)]
    return [parse_entry(each.encoded) for each in found]


@pytest.fixture(scope="module")
def read(engine, house) -> Reader:
    return Reader(engine, house.vault)


def submission(kind: str, key: str, note: str | None = None, **members: Any) -> Submission:
    occurred = {"type": f"card.{kind}", "occurred_at": "2026-03-01T00:00:00Z"}
    if kind != "effect":
        occurred["reason"] = "customer.request"
    document = {"kind": kind, "key": key} | occurred | members
    effect = build_effect(document, rules=Rules(), now=datetime.now(UTC))
    return Submission(effect=effect, payloads=build_payloads([], note=note))


def eur(amount: str, flow: str = "in") -> dict[str, str]:
    return {"amount": amount, "currency": "EUR", "flow": flow}


def effect_of(at: int) -> Submission:
    occurred = WRITERS_CLOCK + timedelta(hours=at % 11, minutes=at)
    members: dict[str, Any] = {"type": "email.sent" if at % 5 == 0 else "card.capture"}
    if at % 3 == 0:
        members["subject"] = f"order/{at % 30}"
        members["labels"] = {"shop": "berlin" if at % 2 else "paris"}
    if at % 4 == 0:
        members["actor"] = {"id": f"agent-{at % 8}", "kind": "agent"}
        members["causes"] = [{"kind": "trace", "ref": f"t{at % 20}"}]
    if at % 7 == 0:
        members["business_key"] = f"invoice/{at}"
        members["evidence"] = [{"system": "psp", "rel": "transaction", "ref": f"ch_{at % 14}"}]
    if at % 5:
        members["money"] = {"amount": "10", "currency": "JPY", "flow": "in"}
        if at % 2:
            members["money"] = eur("10.00")
    if at % 10 == 9:
        members |= {
            "type": "card.refund",
            "reason": "customer.request",
            "money": eur("1.00", "out"),
        }
        members["corrects_key"] = f"k{at - 2}"
        members.pop("business_key", None)
        return submission("refund", f"k{at}", occurred_at=occurred.isoformat(), **members)
    return submission("effect", f"k{at}", occurred_at=occurred.isoformat(), **members)


# ---- Ledgers --------------------------------------------------------------------------


def test_a_ledger_created_again_is_the_one_that_stands(house, shop):
    """With other properties it is refused, and the checks on personal data are one of them."""
    assert house.registry.create_ledger(LEDGER) == shop
    with pytest.raises(LedgerExistsError, match="checks"):
        house.registry.create_ledger(LEDGER, screen=frozenset())
    with pytest.raises(LedgerExistsError):
        house.registry.create_ledger(LEDGER, units={"USDC": 6})


def test_a_ledger_is_read_as_it_was_created(read, shop):
    assert read.ledger(LEDGER) == shop
    assert shop in read.ledgers()
    assert (read.size(LEDGER), read.published_size(LEDGER)) == (SIZE, SIZE)
    assert read.sizes()[LEDGER] == (SIZE, SIZE)


def test_an_empty_ledger_has_nothing(read, fresh):
    assert (read.size(fresh), read.published_size(fresh)) == (0, 0)
    assert read.sizes()[fresh] == (0, 0)
    assert read.entries_after(fresh, -1, 10) == []
    assert read.page(fresh, EntryFilter()).entries == ()
    with pytest.raises(NotFoundError):
        read.tile(fresh, "tile/0/000.p/1")


def test_an_empty_ledger_has_a_checkpoint(read, fresh):
    """Of the tree without entries: whoever reads a log begins with its checkpoint."""
    record = read.ledger(fresh)
    signed = open_checkpoint(read.checkpoint(fresh), [VerifierKey.parse(record.vkey)])

    assert signed == Checkpoint(origin=record.origin, size=0, root=EMPTY_ROOT)


@pytest.mark.parametrize(
    "ask",
    [
        lambda read: read.ledger("nowhere"),
        lambda read: read.size("nowhere"),
        lambda read: read.entry("nowhere", 0),
        lambda read: read.entries_after("nowhere", -1, 10),
        lambda read: read.page("nowhere", EntryFilter()),
        lambda read: read.receipt("nowhere", 0),
        lambda read: read.checkpoint("nowhere"),
        lambda read: read.published_size("nowhere"),
        lambda read: read.inclusion("nowhere", 0, 1),
        lambda read: read.consistency("nowhere", 0, 1),
        lambda read: read.tile("nowhere", "tile/0/000"),
        lambda read: read.payloads("nowhere", 0),
        lambda read: read.story("nowhere", "019a0000-0000-7000-8000-000000000001"),
    ],
)
def test_an_unknown_ledger_is_not_found(read, ask):
    with pytest.raises(NotFoundError, match="nowhere"):
        ask(read)


# ---- Entries --------------------------------------------------------------------------


def test_entries_are_read_back_as_they_were_recorded(read, entries):
    assert [entry.seq for entry in entries] == list(range(SIZE))
    for entry in entries[::97]:
        assert read.entry(LEDGER, entry.seq) == entry
        assert read.entry(LEDGER, str(entry.seq)) == entry
        assert read.entry(LEDGER, entry.id.upper()) == entry
        assert read.entry_bytes(LEDGER, entry.id) == entry.encoded


@pytest.mark.parametrize(
    "place",
    [
        *(SIZE, -1, "-1", "0.0", "x", "", "\x00", "00", "9" * 30, str(2**63), "1 ", "²"),
        *("019a0000-0000-7000-8000-000000000001", "019a0000000070008000000000000001"),
    ],
)
def test_a_place_without_an_entry_is_not_found(read, place):
    for ask in (read.entry, read.entry_bytes, read.receipt, read.payloads):
        with pytest.raises(NotFoundError):
            ask(LEDGER, place)


def test_an_entry_of_a_later_version_is_handed_on_unread(read, conninfo, fresh):
    """Whoever runs an older program still sees that there is something, and its bytes."""
    origin = read.ledger(fresh).origin
    later = {
        "v": 2,
        "ledger": fresh,
        "seq": 0,
        "prev": genesis_hash(origin).hex(),
        "id": "019a0000-0000-7000-8000-000000000001",
        "recorded_at": "2026-03-01T00:00:00.000000Z",
        "news": True,
    }
    encoded = canonical_bytes(later)
    insert_row(conninfo, fresh, 0, encoded)

    [entry] = read.entries_after(fresh, -1, 10)

    assert isinstance(entry, UnreadEntry)
    assert (entry.v, entry.encoded) == (2, encoded)
    with pytest.raises(MalformedProofError, match="version 2"):
        read.story(fresh, entry.id)


def test_bytes_that_are_no_entry_are_said_to_be_none(read, conninfo, fresh):
    """They would break the JSON they are put into; alone they can still be had."""
    insert_row(conninfo, fresh, 0, b"{not an entry")

    with pytest.raises(MalformedProofError, match="entry 0"):
        read.entry(fresh, 0)
    assert read.entry_bytes(fresh, 0) == b"{not an entry"


def insert_row(conninfo: Conninfo, ledger: str, seq: int, body: bytes) -> None:
    with psycopg.connect(conninfo(WRITER), autocommit=True) as connection:
        connection.execute(
            "insert into effect_ledger.entries (ledger, seq, id, key, kind, type, poster, "
            "occurred_at, recorded_at, hash, body) values (%s, %s, "
            "'019a0000-0000-7000-8000-000000000001', 'k', 'effect', 't', 'p', now(), now(), "
            "%s, %s)",
            (ledger, seq, leaf_hash(body), body),
        )


# ---- Pages ----------------------------------------------------------------------------


def has(entry: Entry, filters: dict[str, str]) -> bool:
    """The law that filters are held to, over the entry's own words."""
    effect = entry.effect
    members = {
        "kind": effect.kind,
        "type": effect.type,
        "key": effect.key,
        "business_key": effect.business_key,
        "subject": effect.subject,
        "actor": effect.actor.id if effect.actor else None,
        "poster": entry.poster,
        "currency": effect.money.currency if effect.money else None,
    }
    tests: dict[str, Callable[[str], bool]] = {
        "recorded_from": lambda since: entry.recorded_at >= since,
        "recorded_to": lambda until: entry.recorded_at < until,
        "occurred_from": lambda since: effect.occurred_at >= since,
        "occurred_to": lambda until: effect.occurred_at < until,
    }
    for name, value in filters.items():
        if name in members:
            if members[name] != value:
                return False
        elif name in tests:
            if not tests[name](value):
                return False
        elif f"{name}:{value}" not in terms_of(entry.effect):
            return False
    return True


def read_pages(read: Reader, filters: dict[str, str], limit: int, order: str) -> list[list[int]]:
    pages = []
    cursor = None
    while True:
        page = read.page(LEDGER, EntryFilter(**filters), cursor, limit, order)
        pages.append([entry.seq for entry in page.entries])
        cursor = page.next_cursor
        if cursor is None:
            return pages


FILTERS: list[dict[str, str]] = [
    {},
    {"kind": "refund"},
    {"kind": "notice"},
    {"type": "email.sent"},
    {"key": "k77"},
    {"business_key": "invoice/14"},
    {"subject": "order/3"},
    {"actor": "agent-4"},
    {"poster": "office"},
    {"poster": "nobody"},
    {"currency": "JPY"},
    {"label": "shop:berlin"},
    {"evidence": "psp:ch_7"},
    {"cause": "trace:t4"},
    {"occurred_from": "2026-03-01T10:00:00.000000Z"},
    {"occurred_to": "2026-03-01T02:00:00.000000Z"},
    {"occurred_from": "2026-03-01T05:00:00.000000Z", "occurred_to": "2026-03-01T06:00:00.000000Z"},
    {"label": "shop:paris", "kind": "effect", "poster": "till"},
    {"label": "shop:paris", "cause": "trace:t4", "evidence": "psp:ch_0"},
    {"subject": "order/3", "currency": "EUR", "occurred_from": "2026-03-01T04:00:00.000000Z"},
    {"kind": "refund", "type": "email.sent"},
]


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("filters", FILTERS, ids=str)
def test_pages_hold_exactly_what_matches_once_and_in_order(read, entries, filters, order):
    expected = [entry.seq for entry in entries if has(entry, filters)]

    for limit in (7, 1_000):
        pages = read_pages(read, filters, limit, order)
        seqs = list(itertools.chain.from_iterable(pages))
        assert seqs == (expected if order == "asc" else expected[::-1])
        assert all(len(page) <= limit for page in pages)


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("filters", FILTERS, ids=str)
def test_a_page_that_looked_far_enough_leads_on(read, entries, monkeypatch, filters, order):
    """Short and empty pages lose nothing, wherever the look ended."""
    monkeypatch.setattr(listing, "CANDIDATES_MAX", 5)
    expected = [entry.seq for entry in entries if has(entry, filters)]

    seqs = list(itertools.chain.from_iterable(read_pages(read, filters, 3, order)))

    assert seqs == (expected if order == "asc" else expected[::-1])


def test_entries_are_found_by_what_they_correct(read, entries):
    corrected = entries[7]

    found = read.page(LEDGER, EntryFilter(corrects=corrected.id)).entries

    assert [parse_entry(entry.encoded).effect.key for entry in found] == ["k9"]


def test_recorded_range_is_a_range_of_seqs(read, entries):
    """Every boundary between two batches, from and to."""
    times = sorted({entry.recorded_at for entry in entries})
    for since, until in itertools.combinations([*times, "2999-01-01T00:00:00.000000Z"], 2):
        filters = {"recorded_from": since, "recorded_to": until}
        expected = [entry.seq for entry in entries if has(entry, filters)]
        found = itertools.chain.from_iterable(read_pages(read, filters, 1_000, "asc"))
        assert list(found) == expected


def test_pages_stay_as_they_were_while_history_grows(read, house, fresh):
    """Downwards the newest are met by those who begin anew."""
    house.post(fresh, *(submission("effect", f"k{at}") for at in range(4)))
    first = read.page(fresh, EntryFilter(), limit=2, order="desc")
    house.post(fresh, submission("effect", "late"))

    second = read.page(fresh, EntryFilter(), first.next_cursor, limit=2, order="desc")

    assert [entry.seq for entry in (*first.entries, *second.entries)] == [3, 2, 1, 0]
    assert second.next_cursor is None


@pytest.mark.parametrize(
    "wrong",
    [{"limit": 0}, {"limit": 1_001}, {"order": "sideways"}, {"cursor": "nonsense"}],
    ids=str,
)
def test_a_page_nobody_can_mean_is_refused(read, wrong):
    with pytest.raises(MalformedEffectError):
        read.page(LEDGER, EntryFilter(), **wrong)


def test_cursor_is_good_for_its_own_listing_only(read):
    cursor = read.page(LEDGER, EntryFilter(kind="effect"), limit=1).next_cursor

    with pytest.raises(MalformedEffectError, match="not of this listing"):
        read.page(LEDGER, EntryFilter(kind="refund"), cursor)


# ---- Plans ----------------------------------------------------------------------------

ROWS = 20_000


@pytest.fixture(scope="module")
def planned(conninfo) -> Iterator[psycopg.Connection]:
    """Two ledgers of some size, so that reading all of one would look like a plan."""
    with psycopg.connect(conninfo("postgres"), autocommit=True) as connection:
        connection.execute("set search_path = effect_ledger, pg_catalog")
        connection.execute(READ_BY_INDEX)
        for ledger in ("planned", "beside"):
            connection.execute(FILL, {"ledger": ledger, "rows": ROWS})
            connection.execute(FILL_TERMS, {"ledger": ledger, "rows": ROWS})
        connection.execute("vacuum analyze entries")
        connection.execute("vacuum analyze entry_terms")
        yield connection


FILL = """
insert into entries (ledger, seq, id, key, kind, type, poster, subject, business_key, actor,
    currency, corrects, occurred_at, recorded_at, hash, body)
select %(ledger)s, n, gen_random_uuid(), 'k' || n,
    case when n %% 10 = 0 then 'refund' else 'effect' end,
    't' || n %% 3, 'p' || n %% 2, 'order/' || n / 3, 'invoice/' || n, 'actor-' || n %% 7,
    case when n %% 4 = 0 then 'USD' else 'EUR' end,
    case when n %% 10 = 0 then '019a0000-0000-7000-8000-000000000001'::uuid end,
    '2026-01-01'::timestamptz + n * interval '1 minute' - n %% 5 * interval '1 day',
    '2026-01-01'::timestamptz + n * interval '1 minute', sha256('x'), repeat('x', 500)::bytea
from generate_series(0, %(rows)s - 1) n
"""
FILL_TERMS = """
insert into entry_terms
select %(ledger)s, term, n from generate_series(0, %(rows)s - 1) n,
    lateral (values ('label:shop:s' || n %% 2), ('evidence:psp:' || n),
        ('cause:trace:' || n / 10)) v (term)
"""

INDEXES: list[tuple[dict[str, str], str]] = [
    ({}, "entries_pkey"),
    ({"kind": "refund"}, "entries_by_kind_hash"),
    ({"kind": "effect"}, "entries_by_kind_hash"),
    ({"type": "t1"}, "entries_by_type_hash"),
    ({"key": "k77"}, "entries_ledger_key_key"),
    ({"business_key": "invoice/77"}, "entries_by_business_key"),
    ({"subject": "order/77"}, "entries_by_subject_hash"),
    ({"actor": "actor-3"}, "entries_by_actor_hash"),
    ({"poster": "p1"}, "entries_by_poster_hash"),
    ({"currency": "USD"}, "entries_by_currency_hash"),
    ({"corrects": "019a0000-0000-7000-8000-000000000001"}, "entries_by_corrects"),
    ({"label": "shop:s1"}, "entry_terms_pkey"),
    ({"evidence": "psp:77"}, "entry_terms_pkey"),
    ({"cause": "trace:77"}, "entry_terms_pkey"),
    (
        {"occurred_from": "2026-01-08T00:00:00Z", "occurred_to": "2026-01-09T00:00:00Z"},
        "entries_pkey",
    ),
    ({"label": "shop:s1", "cause": "trace:77", "kind": "effect"}, "entry_terms_pkey"),
    ({"kind": "refund", "poster": "p1"}, "entries_by_poster_hash"),
]


@pytest.mark.parametrize("descending", [False, True], ids=["asc", "desc"])
@pytest.mark.parametrize(("filters", "index"), INDEXES, ids=str)
def test_every_filter_walks_its_index_in_order(planned, filters, index, descending):
    """No page reads all of a ledger, and none is sorted."""
    asked = Listing("planned", EntryFilter(**filters), descending=descending)

    plan = [*plan_of(planned, *asked.select_page(100, ROWS, 101))]

    assert index in {node.get("Index Name") for node in plan}
    kinds = {node["Node Type"] for node in plan}
    assert not {kind for kind in kinds if "Seq Scan" in kind or "Bitmap" in kind}
    # A key names one entry: there is nothing to put in order.
    assert "key" in filters or "Sort" not in kinds


@pytest.mark.parametrize("moment", ["recorded_from", "recorded_to"])
def test_a_time_of_recording_is_found_by_one_look_into_its_index(planned, moment):
    asked = Listing("planned", EntryFilter(**{moment: "2026-01-08T00:00:00Z"}), descending=False)

    plan = [*plan_of(planned, *asked.select_bounds())]

    assert "entries_by_recorded_at" in {node.get("Index Name") for node in plan}
    assert not {"Sort", "Seq Scan"} & {
        n["Node Type"] for n in plan if n.get("Relation Name") == "entries"
    }
    first_or_end = planned.execute(*asked.select_bounds()).fetchone()
    assert 7 * 24 * 60 in first_or_end


def test_the_end_of_a_look_is_found_in_the_index_alone(planned):
    asked = Listing("planned", EntryFilter(label="shop:s1", kind="effect"), descending=False)

    kinds = {node["Node Type"] for node in plan_of(planned, *asked.select_walked(0, ROWS))}

    assert kinds == {"Limit", "Index Only Scan"}


def test_a_story_is_gathered_by_index(planned, engine):
    """By what each entry corrects, never by reading the ledger."""
    statement = reader.SELECT_STORY.params(
        ledger="planned", id="019a0000-0000-7000-8000-000000000001"
    )

    plan = [*plan_of(planned, *compiled(engine, statement))]

    assert "entries_by_corrects" in {node.get("Index Name") for node in plan}
    scanned = {n.get("Relation Name") for n in plan if n["Node Type"] == "Seq Scan"}
    assert "entries" not in scanned


def plan_of(connection: psycopg.Connection, statement: str, parameters: Any) -> Iterator[dict]:
    row = connection.execute(f"explain (format json) {statement}", parameters).fetchone()
    waiting = [row[0][0]["Plan"]]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += node.get("Plans", [])


def compiled(engine: Engine, statement: Any) -> tuple[str, Any]:
    made = statement.compile(dialect=engine.dialect, compile_kwargs={"render_postcompile": True})
    return str(made), made.construct_params()


# ---- Proofs ---------------------------------------------------------------------------


def test_every_entry_has_a_receipt_that_proves_it(read, shop, entries):
    verifiers = [VerifierKey.parse(shop.vkey)]
    for entry in entries[::41]:
        verified = verify_receipt(read.receipt(LEDGER, entry.seq), verifiers)
        assert (verified.entry, verified.seq) == (entry.encoded, entry.seq)
        assert verified.level == "log-signed"


def test_a_receipt_is_unsigned_until_a_checkpoint_covers_its_entry(read, house, fresh, monkeypatch):
    """And is signed from then on."""
    with monkeypatch.context() as patched:
        patched.setattr(house.storage, "publish", lambda *_: None)
        house.post(fresh, submission("effect", "k0"))
    assert read.receipt(fresh, 0).level == "unsigned"
    assert read.receipt(fresh, 0).entry == read.entry_bytes(fresh, 0)

    house.post(fresh, submission("effect", "k1"))

    verified = verify_receipt(read.receipt(fresh, 0), [VerifierKey.parse(read.ledger(fresh).vkey)])
    assert verified.place.checkpoint.size == 2


def test_a_receipt_that_would_not_verify_is_not_handed_out(read, house, conninfo, fresh):
    """Whatever was edited under it."""
    house.post(fresh, submission("effect", "k0"), submission("effect", "k1"))
    with psycopg.connect(conninfo("postgres"), autocommit=True) as connection:
        connection.execute("alter table effect_ledger.entries disable trigger append_only")
        connection.execute(
            "update effect_ledger.entries set body = replace(body::text, '6b30', '6b39')::bytea "
            "where ledger = %s and seq = 0",
            (fresh,),
        )
        connection.execute("alter table effect_ledger.entries enable always trigger append_only")

    with pytest.raises(InclusionError):
        read.receipt(fresh, 0)


def test_any_two_published_sizes_are_consistent(read):
    sizes = [0, 1, 2, 255, 256, 257, 511, 512, 600, SIZE]
    for old, new in itertools.combinations_with_replacement(sizes, 2):
        proof = read.consistency(LEDGER, old, new)
        verify_consistency(old, new, proof.old_root, proof.new_root, proof.hashes)


def test_every_entry_is_in_every_later_tree(read, entries):
    for size in (1, 256, 300, SIZE):
        for seq in range(0, size, 89):
            proof = read.inclusion(LEDGER, seq, size)
            assert proof.leaf == entries[seq].hash
            verify_inclusion(proof.leaf, seq, size, proof.hashes, proof.root)
    published = read.checkpoint(LEDGER).decode().splitlines()
    assert published[1:3] == [str(SIZE), b64(read.inclusion(LEDGER, 0, SIZE).root)]


def b64(octets: bytes) -> str:
    return b64encode(octets).decode()


@pytest.mark.parametrize(("seq", "size"), [(5, 5), (0, 0), (-1, 5)])
def test_an_entry_outside_the_tree_is_a_bad_reference(read, seq, size):
    with pytest.raises(BadReferenceError):
        read.inclusion(LEDGER, seq, size)


def test_a_tree_that_was_not_published_is_not_found(read):
    for ask in (read.inclusion, read.consistency):
        with pytest.raises(NotFoundError, match="700"):
            ask(LEDGER, 0, SIZE + 1)
    with pytest.raises(BadReferenceError):
        read.consistency(LEDGER, 2, 1)


def test_tiles_of_every_published_size_are_served(read, entries):
    """Also partial ones of sizes long past, at their exact width."""
    leaves = [entry.hash for entry in entries]
    for size in (1, 255, 256, 257, 512, SIZE):
        for index in range(-(-size // 256)):
            width = partial_width(0, index, size)
            part = slice(index * 256, index * 256 + width)
            assert read.tile(LEDGER, tile_path(0, index, width)) == b"".join(leaves[part])
            bundle = read.tile(LEDGER, tile_path("entries", index, width))
            assert parse_entry_bundle(bundle) == [entry.encoded for entry in entries[part]]
    roots = [read.inclusion(LEDGER, 0, 256).root, root_of(leaves[256:512])]
    assert read.tile(LEDGER, "tile/1/000.p/2") == b"".join(roots)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "checkpoint",
        "tile/0/0",
        "tile/0/002",
        "tile/0/002.p/189",
        "tile/0/003.p/1",
        "tile/1/000",
        "tile/1/000.p/3",
        "tile/2/000.p/1",
        "tile/63/000.p/1",
        "tile/64/000",
        "tile/entries/002",
        "tile/entries/999.p/1",
        "tile/0/x999/x999/x999/x999/x999/999",
        "tile/0/000.p/256",
        "tile/0/000.p/0",
        "tile/0/000/../001",
    ],
)
def test_a_path_that_names_no_published_tile_is_not_found(read, path):
    with pytest.raises(NotFoundError):
        read.tile(LEDGER, path)


def test_a_bundle_with_a_hole_is_not_served(read, house, conninfo, fresh):
    house.post(fresh, *(submission("effect", f"k{at}") for at in range(3)))
    with psycopg.connect(conninfo("postgres"), autocommit=True) as connection:
        connection.execute("alter table effect_ledger.entries disable trigger append_only")
        connection.execute(
            "delete from effect_ledger.entries where ledger = %s and seq = 1", (fresh,)
        )
        connection.execute("alter table effect_ledger.entries enable always trigger append_only")

    for path in ("tile/entries/000.p/3", "tile/0/000.p/3"):
        with pytest.raises(ChainBreakError, match="expected"):
            read.tile(fresh, path)


# ---- Payloads -------------------------------------------------------------------------


def test_payloads_are_opened_until_they_are_erased(read, house, conninfo, fresh):
    [entry] = house.post(fresh, submission("effect", "k0", note="words about a person"))

    [opened] = read.payloads(fresh, 0)
    assert (opened.name, opened.content) == ("note", b"words about a person")
    assert opened.commitment.hex() == entry.payloads[0].commitment

    with psycopg.connect(conninfo(ERASER), autocommit=True) as connection:
        connection.execute("delete from effect_ledger_keys.data_keys where ledger = %s", (fresh,))
    [erased] = read.payloads(fresh, entry.id)
    assert (erased.salt, erased.content, erased.commitment) == (None, None, opened.commitment)


def test_an_entry_without_payloads_has_none(read):
    assert read.payloads(LEDGER, 0) == []


def test_without_a_vault_no_payload_is_opened(engine):
    with pytest.raises(SettingsError):
        Reader(engine).payloads(LEDGER, 0)


# ---- Stories --------------------------------------------------------------------------


def test_a_story_is_the_whole_family_with_its_positions(read, house, fresh):
    """Corrections of corrections too, however they were named."""
    effect, refund, *_ = house.post(
        fresh,
        submission("effect", "capture", money=eur("10.00")),
        submission("refund", "refund", corrects_key="capture", money=eur("4.00", "out")),
        submission("effect", "other", money=eur("5.00")),
    )
    failed, why = house.post(
        fresh,
        submission(
            "adjustment",
            "failed",
            type="refund.failed",
            corrects=refund.id,
            money=eur("-1.00", "out"),
        ),
        submission("explanation", "why", corrects_key="failed", note="because"),
    )

    document = orjson.loads(orjson.dumps(read.story(fresh, effect.id.upper()).to_document()))

    assert document["original"]["entry"] == orjson.loads(effect.encoded)
    assert document["position"]["refunded"] == "3.00"
    assert document["position"]["remaining"] == "7.00"
    told = [(each["id"], each["depth"], each["amount_now"]) for each in document["corrections"]]
    assert told == [(refund.id, 1, "3.00"), (failed.id, 2, "-1.00")]
    assert [each["id"] for each in document["explanations"]] == [why.id]


def test_a_story_whose_index_was_edited_is_not_told(read, house, conninfo, fresh):
    """Not even where an earlier entry was made to look like a correction of a later one."""
    first, second = house.post(
        fresh, submission("effect", "k0", money=eur("1.00")), submission("effect", "k1")
    )
    with psycopg.connect(conninfo("postgres"), autocommit=True) as connection:
        connection.execute("alter table effect_ledger.entries disable trigger append_only")
        connection.execute(
            "update effect_ledger.entries set corrects = %s where ledger = %s and seq = 0",
            (second.id, fresh),
        )
        connection.execute("alter table effect_ledger.entries enable always trigger append_only")

    with pytest.raises(ChainBreakError, match="entry 0"):
        read.story(fresh, second.id)
    assert read.story(fresh, first.id).original == first


def test_a_correction_is_no_story_but_leads_to_one(read, entries):
    with pytest.raises(NotFoundError, match="refund") as refused:
        read.story(LEDGER, entries[9].id)
    assert refused.value.details["corrects"] == "k7"


def test_a_correction_of_something_elsewhere_has_a_story(read, house, fresh):
    [refund] = house.post(
        fresh,
        submission(
            "refund",
            "k0",
            money=eur("1.00", "out"),
            corrects_external={"system": "old", "ref": "1"},
            observed=True,
            evidence=[{"system": "psp", "rel": "transaction", "ref": "re_1"}],
        ),
    )

    assert read.story(fresh, refund.id).to_document()["unlinked"] is True


@pytest.mark.parametrize("effect_id", ["x", "0", "", "019a0000-0000-7000-8000-0000000000ff"])
def test_a_story_of_nothing_is_not_found(read, effect_id):
    with pytest.raises(NotFoundError):
        read.story(LEDGER, effect_id)


def test_a_notice_is_no_effect(read):
    [notice, *_] = read.page("_registry", EntryFilter(kind="notice")).entries

    with pytest.raises(NotFoundError, match="notice"):
        read.story("_registry", notice.id)


def test_a_story_too_long_to_tell_says_how_to_read_it(read, house, fresh, monkeypatch):
    monkeypatch.setattr(reader, "STORY_MAX", 2)
    [effect] = house.post(fresh, submission("effect", "k", money=eur("9.00")))
    for at in range(3):
        if at == 2:
            assert len(read.story(fresh, effect.id).corrections) == 2
        money = eur("1.00", "out")
        house.post(fresh, submission("refund", f"r{at}", corrects=effect.id, money=money))

    with pytest.raises(TooLargeError, match="corrects"):
        read.story(fresh, effect.id)


# ---- The database ---------------------------------------------------------------------


def test_the_rights_of_the_reader_are_enough(conninfo, entries):
    """For everything but payloads."""
    pool = make_engine(conninfo, READER, pool_size=1)
    plain = Reader(pool)

    assert plain.size(LEDGER) == SIZE
    assert plain.page(LEDGER, EntryFilter(label="shop:berlin")).entries
    assert plain.receipt(LEDGER, 3).level == "log-signed"
    assert plain.tile(LEDGER, "tile/0/001")
    assert plain.story(LEDGER, entries[7].id).corrections
    pool.dispose()


def test_a_lost_connection_is_told_and_the_next_one_works(conninfo):
    """Also where it is lost in the middle of a read."""
    pool = make_engine(conninfo, WRITER, pool_size=1)
    read = Reader(pool)
    with pool.connect() as connection:
        [pid] = connection.exec_driver_sql("select pg_backend_pid()").one()
    with (
        psycopg.connect(conninfo("postgres"), autocommit=True) as superuser,
        pytest.raises(DatabaseUnavailableError),
        read._reading(LEDGER) as held,
    ):
        end_and_ask(superuser, pid, held)

    assert read.size(LEDGER) == SIZE
    pool.dispose()


def end_and_ask(superuser: psycopg.Connection, pid: int, held: Connection) -> None:
    superuser.execute("select pg_terminate_backend(%s, 5000)", (pid,))
    held.execute(SELECT_SIZES)


def test_a_database_that_is_away_is_told():
    pool = make_engine(lambda _role: "host=/nonexistent", WRITER, pool_size=1)

    with pytest.raises(DatabaseUnavailableError):
        Reader(pool).size(LEDGER)


def test_connections_that_stay_busy_are_told(conninfo):
    """Try later, and nothing of a broken database."""
    pool = make_engine(conninfo, WRITER, pool_size=1)
    pool.pool._timeout = 0.05
    with pool.connect(), pytest.raises(OverloadedError):
        Reader(pool).size(LEDGER)
    pool.dispose()


def test_threads_share_a_reader(read, shop, entries):
    """More of them than connections."""
    verifiers = [VerifierKey.parse(shop.vkey)]

    def look(seq: int) -> Sequence[bytes]:
        verify_receipt(read.receipt(LEDGER, seq), verifiers)
        page = read.page(LEDGER, EntryFilter(), limit=3)
        return [entry.encoded for entry in page.entries]

    with ThreadPoolExecutor(8) as threads:
        pages = list(threads.map(look, range(0, SIZE, 29)))

    assert all(page == [entry.encoded for entry in entries[:3]] for page in pages)
