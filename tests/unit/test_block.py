"""Laws of blocks: a page is taken whole exactly where each of its rows is as it should be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.effect import Rules, build_effect
from ledger.entry import Admitted, Head, chain
from ledger.forms.timestamps import format_time
from ledger.terms import split_placed, terms_of
from ledger.verify.block import sift_block
from ledger.verify.sift import Run, sift
from ledger.verify.stored import COLUMNS, SEPARATOR, Block, JoinedColumns, StoredEntry
from tests.effort import examples

LEDGER = "shop"
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
NULLABLE = ("subject", "business_key", "actor", "currency", "corrects", "repeat_of")


def effects():
    """One of everything that a plain entry may carry, and many of what nearly all carry."""
    for number in range(24):
        yield {
            "kind": "effect",
            "type": "card.capture",
            "key": f"k{number}",
            "occurred_at": format_time(NOW - timedelta(microseconds=number * 1_010)),
            "subject": f"order/{number}",
            "actor": {"id": "checkout", "kind": "service"},
            "money": {"amount": "19.99", "currency": "EUR", "flow": "in"},
            "evidence": [{"system": "psp", "rel": "transaction", "ref": f"ch_{number}"}],
        }
    bare = {"type": "email.sent", "occurred_at": format_time(NOW)}
    more = bare | {"reason": "customer.request"}
    yield bare | {"kind": "effect", "key": "bare"}
    yield bare | {"kind": "effect", "key": "bk", "business_key": "invoice/1"}
    yield bare | {"kind": "effect", "key": "labels", "labels": {"a": "1", "b": "2"}}
    yield bare | {"kind": "effect", "key": "cause", "causes": [{"kind": "workflow", "ref": "w"}]}
    yield more | {"kind": "explanation", "key": "why", "corrects_key": "k3"}
    yield more | {
        "kind": "refund",
        "key": "back",
        "corrects_key": "k4",
        "money": {"amount": "1.00", "currency": "EUR", "flow": "out"},
    }
    yield bare | {"kind": "effect", "key": "again", "business_key": "invoice/1", "repeat_of": ID}


ID = str(UUID(int=1_000))


def rows() -> list[StoredEntry]:
    admitted = [
        Admitted(
            effect=build_effect(each, rules=Rules(), now=NOW),
            id=str(UUID(int=1_000 + at)),
            poster="checkout",
        )
        for at, each in enumerate(effects())
    ]
    head = Head.genesis(ledger=LEDGER, origin="ledger.example.com/shop")
    entries, _ = chain(head, admitted, recorded_at=format_time(NOW))
    ids = {entry.effect.key: entry.id for entry in entries}
    return [
        StoredEntry(
            entry.seq,
            entry.encoded,
            (
                entry.hash,
                entry.id,
                said.key,
                str(said.kind),
                said.type,
                entry.poster,
                said.subject,
                said.business_key,
                said.actor.id if said.actor else None,
                said.money.currency if said.money else None,
                ids.get(said.corrects_key or ""),
                said.repeat_of,
                said.occurred_at,
                entry.recorded_at,
            ),
        )
        for entry in entries
        for said in [entry.effect]
    ]


ROWS = rows()


def block_of(rows: list[StoredEntry]) -> Block:
    """The rows as the database joins them; see `storage.scan`."""
    columns = dict(zip(COLUMNS, zip(*(row.columns for row in rows), strict=True), strict=True))
    joined = {
        name: SEPARATOR.join(value or "" for value in values) if name in NULLABLE else values
        for name, values in columns.items()
    }
    for name in ("key", "kind", "type", "poster"):
        joined[name] = SEPARATOR.join(columns[name])
    for name in ("occurred_at", "recorded_at"):
        joined[name] = SEPARATOR.join(map(_written, columns[name]))
    unfit = sum(any(value == "" for value in row.columns) for row in rows)
    ids = b"".join(UUID(each).bytes for each in columns["id"])
    return Block(
        seqs=[row.seq for row in rows],
        bodies=[row.body for row in rows],
        columns=JoinedColumns(
            **joined | {"hash": b"".join(columns["hash"]), "id": ids}, unfit=unfit
        ),
    )


def _written(time: str) -> str:
    whole, fraction = time.removesuffix("Z").replace("T", " ").split(".")
    fraction = fraction.rstrip("0")
    return f"{whole}.{fraction}+00" if fraction else f"{whole}+00"


def test_a_sound_page_is_one_run():
    [run] = sift_block(block_of(ROWS), ledger=LEDGER) or []

    assert (run.start, run.stop) == (0, len(ROWS))
    by_row = [each for each in sift(ROWS, ledger=LEDGER) if isinstance(each, Run)]
    judged = {each.entry.seq for each in run.others}
    judged |= {each.seq for each in run.corrections}
    assert [seq for seq in range(len(ROWS)) if seq not in judged] == [
        seq for each in by_row for seq in range(each.start, each.stop)
    ]
    assert run.leaves == [row.columns[0] for row in ROWS]
    assert [run.ids, run.keys] == [[row.columns[at] for row in ROWS] for at in (1, 2)]
    assert run.business_keys == ["effect email.sent invoice/1"]
    terms = list(map(split_placed, run.terms))
    assert {term for term, _ in terms} >= {"label:b:2", "cause:workflow:w", "evidence:psp:ch_7"}
    assert {each.key for each in run.named} == {"k0", "k3", "k4"}
    assert [each.usual.corrects_key for each in run.corrections] == ["k3", "k4"]
    for each in run.others:
        assert [term for term, seq in terms if seq == each.entry.seq] == list(
            terms_of(each.entry.effect)
        )


@given(
    at=st.integers(0, len(ROWS) - 1),
    column=st.sampled_from(COLUMNS),
    value=st.sampled_from(["", "\x01", "k1", "effect", "refund", "zz", None]),
)
@settings(max_examples=examples(600))
def test_no_page_is_taken_whole_with_a_column_that_differs(at, column, value):
    place = COLUMNS.index(column)
    if column in ("hash", "id", "corrects", "repeat_of", "occurred_at", "recorded_at"):
        value = {
            "hash": bytes(32),
            "id": str(UUID(int=at)),
            "corrects": str(UUID(int=7)),
            "repeat_of": str(UUID(int=7)),
        }.get(column, format_time(NOW + timedelta(seconds=1)))
    if value is None and column not in NULLABLE:
        value = ""
    changed = list(ROWS)
    columns = list(ROWS[at].columns)
    if columns[place] == value:
        return
    columns[place] = value
    changed[at] = ROWS[at]._replace(columns=tuple(columns))

    for run in sift_block(block_of(changed), ledger=LEDGER) or []:
        # What a correction corrects is for the rules to say.
        told = {each.entry.seq: each.corrects for each in run.others}
        told |= {each.seq: each.corrects for each in run.corrections}
        assert (column, told[at]) == ("corrects", value)


@given(at=st.integers(0, len(ROWS) - 1), data=st.data())
@settings(max_examples=examples(400))
def test_no_page_is_taken_whole_with_other_bytes(at, data):
    body = bytearray(ROWS[at].body)
    place = data.draw(st.integers(0, len(body) - 1))
    body[place : place + data.draw(st.integers(0, 1))] = data.draw(st.binary(max_size=1))
    if bytes(body) == ROWS[at].body:
        return
    changed = list(ROWS)
    changed[at] = ROWS[at]._replace(body=bytes(body))

    assert sift_block(block_of(changed), ledger=LEDGER) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: [*rows[:3], *rows[4:]],
        lambda rows: [rows[1], rows[0], *rows[2:]],
        lambda rows: [*rows[:5], rows[4], *rows[5:]],
        lambda rows: [row._replace(seq=row.seq + 1) for row in rows],
    ],
    ids=["gap", "swapped", "twice", "elsewhere"],
)
def test_no_page_is_taken_whole_where_entries_are_out_of_place(change):
    assert sift_block(block_of(change(list(ROWS))), ledger=LEDGER) is None
    assert sift_block(block_of(ROWS), ledger="other") is None


@pytest.mark.parametrize("piece", [1, 2, 7, len(ROWS) - 1])
def test_a_page_is_taken_whole_however_it_is_cut(piece, monkeypatch):
    [whole] = sift_block(block_of(ROWS), ledger=LEDGER) or []
    monkeypatch.setattr("ledger.verify.block._PIECE", piece)
    runs = sift_block(block_of(ROWS), ledger=LEDGER) or []

    for name in ("leaves", "ids", "keys", "business_keys", "corrections", "others"):
        assert [value for run in runs for value in getattr(run, name)] == getattr(whole, name)
    assert sorted(term for run in runs for term in run.terms) == sorted(whole.terms)
    swapped = [*ROWS[:7], ROWS[8], ROWS[7], *ROWS[9:]]
    assert sift_block(block_of(swapped), ledger=LEDGER) is None
    # The same numbers in the same places, and nothing that links the two sides of a cut.
    other = [row._replace(body=row.body.replace(b'"key":"k7"', b'"key":"x7"')) for row in ROWS]
    assert sift_block(block_of(other), ledger=LEDGER) is None
