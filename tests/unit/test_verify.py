"""Laws of the auditor: it finds what differs, names the right entry, says what it did not see."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.canonical import canonical_bytes
from ledger.checkpoint import Checkpoint, sign_checkpoint
from ledger.effect import Rules, build_effect
from ledger.entry import Admitted, Head, chain, parse_entry
from ledger.errors import SignatureError
from ledger.forms.timestamps import format_time
from ledger.merkle import Frontier, leaf_hash
from ledger.note import NoteKey, VerifierKey
from ledger.terms import terms_of
from ledger.tiles import TILE_WIDTH, Tile, completed_tiles
from ledger.verify import (
    COLUMNS,
    PAGE,
    Outside,
    Pinned,
    StoredCheckpoint,
    StoredEntry,
    StoredHead,
    StoredLedger,
    StoredPosition,
    audit,
    read_trusted,
    verdicts_of,
)
from ledger.verify.index import _Seen
from ledger.verify.report import FINDINGS_MAX
from ledger.verify.stored import SEPARATOR, StoredClose
from ledger.verify.tree import Tree

LEDGER, ORIGIN = "shop", "ledger.example.com/shop"
KEY = NoteKey(name=ORIGIN, private_key=Ed25519PrivateKey.from_private_bytes(bytes(32)))
VKEY = KEY.verifier.encode()
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
HASH, PREV_HASH = COLUMNS.index("hash"), 0


@dataclass
class Memory:
    """A ledger in lists, as a source of the auditor."""

    rows: list[StoredEntry] = field(default_factory=list)
    tile_rows: list[Tile] = field(default_factory=list)
    term_rows: list[tuple[str, int]] = field(default_factory=list)
    position_rows: list[StoredPosition] = field(default_factory=list)
    head: StoredHead | None = None
    published: StoredCheckpoint | None = None
    reads: list[int] = field(default_factory=list)

    def ledger(self):
        said = {
            "origin": ORIGIN,
            "vkey": VKEY,
            "signer": "s1",
            "units": {},
            "time_zone": "UTC",
            "public": False,
        }
        return StoredLedger(name=LEDGER, **said, registry_seq=0, notice=created(said))

    def pin(self, positions=()):
        return Pinned(
            head=self.head,
            published=self.published,
            end=max((row.seq for row in self.rows), default=-1) + 1,
            positions=[row for row in self.position_rows if row[:2] in set(positions)],
        )

    def entries(self, start, stop):
        page = (start // PAGE + 1) * PAGE
        rows = sorted(row for row in self.rows if start <= row.seq < min(stop, page))
        self.reads += [row.seq for row in rows]
        return rows

    def block(self, _start, _stop):
        return None

    def closes(self, stop):
        at = COLUMNS.index("type")
        return [row for row in self.rows if row.columns[at] == "period.closed" and row.seq < stop]

    def periods(self):
        closes = [parse_entry(row.body) for row in self.closes(len(self.rows))]
        return [
            StoredClose(
                **{name: each.effect.data.get(name) for name in StoredClose._fields}
                | {"seq": each.seq, "id": each.id}
            )
            for each in closes
        ]

    def payloads(self, *_range):
        return []

    def tiles(self, wanted):
        return [tile for tile in self.tile_rows if (tile.level, tile.index) in wanted]

    def hashes(self, level, start, stop):
        if level == 0:
            return [row.columns[HASH] for row in sorted(self.rows) if start <= row.seq < stop]
        tiles = [tile for tile in self.tile_rows if tile.level == level - 1]
        return [tile.root for tile in tiles if start <= tile.index < stop]

    def terms(self):
        yield self.term_rows

    def salted_terms(self, salt, stop):
        for page in self.terms():
            others = [each for each in page if not 0 <= each[1] < stop or SEPARATOR in each[0]]
            placed = [f"{salt}{seq}:{term}" for term, seq in page if (term, seq) not in others]
            yield SEPARATOR.join(placed), others

    def held_terms(self, wanted):
        return [row for row in self.term_rows if row in set(wanted)]

    def positions(self):
        yield self.position_rows

    def find(self, *, ids, keys):
        return [
            row
            for row in self.rows
            if row.columns[COLUMNS.index("id")] in ids or row.columns[COLUMNS.index("key")] in keys
        ]

    def corrections_of(self, ids):
        return [row for row in self.rows if row.columns[COLUMNS.index("corrects")] in ids]

    def holders(self, column, values):
        if column == "business_key":
            return []
        at = COLUMNS.index(column)
        return [(row.columns[at], row.seq) for row in self.rows if row.columns[at] in values]

    def poster_keys(self, _key_ids):
        return []

    def intents(self):
        yield []

    def intent_events(self, _ids):
        return {}

    def strays(self, _size):
        return []


def created(said):
    effect = build_effect(
        {
            "kind": "notice",
            "type": "ledger.created",
            "key": f"_ledger.created/{LEDGER}",
            "occurred_at": format_time(NOW),
            "data": said,
        },
        rules=Rules(screen=frozenset(), notices=True),
        now=NOW,
    )
    head = Head.genesis(ledger="_registry", origin="ledger.example.com/_registry")
    admitted = Admitted(effect=effect, id=str(UUID(int=7)), poster="_ledger")
    [entry], _ = chain(head, [admitted], recorded_at=format_time(NOW))
    return StoredEntry(0, entry.encoded)


def effect(number, **members):
    document = {
        "kind": "effect",
        "type": "card.capture",
        "key": f"k{number}",
        "occurred_at": format_time(NOW),
        "labels": {"n": str(number)},
    }
    return build_effect(document | members, rules=Rules(), now=NOW)


def columns_of(entry, target=None):
    said = entry.effect
    return (
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
        target,
        said.repeat_of,
        said.occurred_at,
        entry.recorded_at,
    )


def append(memory, head, effects, *, recorded_at=NOW, late_for=lambda _effect: None):
    """Record effects as the service does, and publish a checkpoint of them."""
    admitted = [
        Admitted(effect=each, id=str(UUID(int=1000 + head.size + at)), poster="checkout")
        for at, each in enumerate(effects)
    ]
    leaves = [row.columns[HASH] for row in memory.rows]
    entries, after = chain(head, admitted, recorded_at=format_time(recorded_at), late_for=late_for)
    memory.tile_rows += completed_tiles(
        head.size,
        [entry.hash for entry in entries],
        lambda level, index: leaves[index * TILE_WIDTH :] if level == 0 else [],
    )
    ids = {row.columns[2]: row.columns[1] for row in memory.rows} | {
        entry.effect.key: entry.id for entry in entries
    }
    memory.rows += [
        StoredEntry(entry.seq, entry.encoded, columns_of(entry, ids.get(entry.effect.corrects_key)))
        for entry in entries
    ]
    memory.term_rows += [(term, entry.seq) for entry in entries for term in terms_of(entry.effect)]
    set_head(memory, after)
    publish(memory, after.size, after.root)
    return after


def set_head(memory, head):
    memory.head = StoredHead(
        size=head.size,
        last_hash=head.last_hash,
        last_recorded_at=head.last_recorded_at,
        frontier=head.frontier.to_bytes(),
        closes=len(memory.closes(head.size)),
    )


def publish(memory, size, root):
    note = sign_checkpoint(Checkpoint(origin=ORIGIN, size=size, root=root), KEY)
    memory.published = StoredCheckpoint(size=size, root=root, note=note)


def recorded(size):
    memory = Memory()
    head = Head.genesis(ledger=LEDGER, origin=ORIGIN)
    set_head(memory, head)
    if size:
        head = append(memory, head, [effect(at) for at in range(size)])
    return memory, head


def rewritten(row, old=b'"poster":"checkout"', new=b'"poster":"somebody"'):
    assert old in row.body
    return row._replace(body=row.body.replace(old, new))


def rehashed(row):
    return row._replace(columns=(leaf_hash(row.body), *row.columns[1:]))


def verify(memory, **outside):
    return audit(memory, outside=Outside(now=NOW, **outside))


# ---- A sound ledger -------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 2, 255, 256, 257, 700])
def test_a_sound_ledger_has_no_findings(size):
    memory, head = recorded(size)

    report = verify(memory)

    assert report.findings == []
    assert (report.tamper, report.time, report.first_bad) == ("ok", "ok", None)
    assert (report.size, report.entries, report.root) == (size, size, head.root)
    assert report.level == ("log-signed" if size else "unsigned")


def test_without_anything_from_outside_completeness_is_unchecked():
    memory, head = recorded(3)

    report = verify(memory)

    assert report.completeness == "unchecked"
    assert any("left out" in each for each in report.not_checked)
    kept = Checkpoint(origin=ORIGIN, size=3, root=head.root)
    assert verify(memory, trusted=kept).completeness == "ok"
    assert verify(memory, read_signed=lambda _: (3, head.root)).completeness == "ok"


def test_without_a_signed_root_tamper_is_unchecked():
    memory, _ = recorded(3)
    memory.published = None

    report = verify(memory)

    assert (report.tamper, report.level) == ("unchecked", "unsigned")


def test_the_report_is_json_with_three_verdicts():
    memory, _ = recorded(2)

    document = verify(memory).document()

    canonical_bytes({**document, "seconds": 0})
    assert document["verdicts"] == {"tamper": "ok", "completeness": "unchecked", "time": "ok"}
    assert document["first_bad"] is None
    assert document["checkpoint"].startswith(f"{ORIGIN}\n2\n")


# ---- The right entry is named ---------------------------------------------------------

EDITS = {
    "bytes": (rewritten, "entry.bytes"),
    "bytes-and-hash": (lambda row: rehashed(rewritten(row)), "chain.rewritten"),
    "link-and-hash": (
        lambda row: rehashed(
            rewritten(row, row.body[row.body.index(b'"prev":') :][8:72], b"0" * 64)
        ),
        "chain.link",
    ),
    "hash-column": (lambda row: row._replace(columns=(bytes(32), *row.columns[1:])), "index.hash"),
    "poster-column": (
        lambda row: row._replace(
            columns=tuple("x" if at == 5 else each for at, each in enumerate(row.columns))
        ),
        "index.poster",
    ),
    "garbage": (lambda row: row._replace(body=b"{}"), "entry.malformed"),
}


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("seq", [0, 1, 7, 255, 256, 297, 298, 299])
def test_the_edited_entry_is_named_and_not_its_neighbour(edit, seq):
    memory, _ = recorded(300)
    change, check = EDITS[edit]
    memory.rows[seq] = change(memory.rows[seq])

    report = verify(memory)

    assert report.tamper == "bad"
    assert report.first_bad.seq == seq
    if edit != "link-and-hash" and not (edit == "hash-column" and seq == 299):
        assert report.first_bad.check == check
    assert report.first_bad_id == (None if edit == "garbage" else str(UUID(int=1000 + seq)))


@pytest.mark.parametrize("seq", [0, 7, 299])
def test_a_missing_entry_is_named(seq):
    memory, _ = recorded(300)
    del memory.rows[seq]

    report = verify(memory)

    assert (report.first_bad.check, report.first_bad.seq) == ("entry.missing", seq)
    assert (report.tamper, report.completeness) == ("bad", "bad")


def test_damage_before_and_after_a_missing_entry_is_found():
    memory, _ = recorded(700)
    tile = memory.tile_rows[0]
    memory.tile_rows[0] = replace(tile, root=bytes(32))
    memory.rows[650] = rewritten(memory.rows[650])
    del memory.rows[600]

    found = {(finding.check, finding.seq) for finding in verify(memory).findings}

    assert {("tile.root", 0), ("entry.missing", 600), ("entry.bytes", 650)} <= found


def test_swapped_and_repeated_entries_are_named():
    memory, _ = recorded(10)
    rows = memory.rows
    rows[3], rows[4] = rows[3]._replace(seq=4), rows[4]._replace(seq=3)
    assert verify(memory).first_bad.check == "entry.place"
    assert verify(memory).first_bad.seq == 3

    memory, _ = recorded(10)
    memory.rows.append(memory.rows[5])
    assert (verify(memory).first_bad.check, verify(memory).first_bad.seq) == ("entry.twice", 5)


def test_a_ledger_moved_to_another_origin_is_named_at_its_beginning():
    memory = Memory()
    head = Head.genesis(ledger=LEDGER, origin="elsewhere.example.com/shop")
    append(memory, head, [effect(0), effect(1)])

    report = verify(memory)

    assert (report.first_bad.check, report.first_bad.seq) == ("chain.genesis", 0)


def test_a_history_made_anew_is_caught_by_any_earlier_root():
    old, old_head = recorded(300)
    memory, head = recorded(100)
    append(memory, head, [effect(at, subject="order/1") for at in range(100, 300)])
    anew = replace(memory, published=None)

    assert verify(anew).tamper == "unchecked"
    kept = Checkpoint(origin=ORIGIN, size=300, root=old_head.root)
    assert verify(anew, trusted=kept).first_bad.check == "trusted.root"
    assert verify(anew, read_signed=lambda _: (300, old_head.root)).first_bad.check == "signer.root"
    anew.published = old.published
    assert verify(anew).first_bad.check == "checkpoint.root"


def test_a_truncated_history_is_caught_only_from_outside():
    _, longer = recorded(300)
    memory, _ = recorded(290)

    kept = Checkpoint(origin=ORIGIN, size=300, root=longer.root)
    report = verify(memory, trusted=kept)

    assert verify(memory).completeness == "unchecked"
    assert report.completeness == "bad"
    assert (report.first_bad.check, report.first_bad.seq) == ("trusted.ahead", 290)


def test_every_finding_is_counted_and_the_first_hundred_are_listed():
    memory, _ = recorded(700)
    memory.rows[150:] = [
        row._replace(columns=(*row.columns[:5], "x", *row.columns[6:])) for row in memory.rows[150:]
    ]

    report = verify(memory)

    assert (report.findings_total, len(report.findings)) == (550, FINDINGS_MAX)
    assert report.first_bad.seq == 150


# ---- Time -----------------------------------------------------------------------------


def test_times_that_run_backwards_are_a_verdict_of_their_own():
    memory = Memory()
    head = append(memory, Head.genesis(ledger=LEDGER, origin=ORIGIN), [effect(0)])
    earlier = replace(head, last_recorded_at=None)
    append(memory, earlier, [effect(1)], recorded_at=NOW - timedelta(days=1))

    report = verify(memory)

    assert (report.tamper, report.time) == ("ok", "bad")
    assert (report.first_bad.check, report.first_bad.seq) == ("time.order", 1)


def close(name, *, days, supersedes=None):
    """The close of some days that ended before now."""
    said = {
        "name": name,
        "from_at": format_time(NOW - timedelta(days=days[0])),
        "to_at": format_time(NOW - timedelta(days=days[1])),
        "from_seq": 0,
        "to_seq": 0,
        "root": "ab" * 32,
        "counts": {},
        "totals_hash": "ab" * 32,
        "preparer": "anna",
    }
    said |= {} if supersedes is None else {"supersedes": supersedes}
    key = f"_period.closed/{name}" + ("" if supersedes is None else f"/{supersedes}")
    document = {
        "kind": "notice",
        "type": "period.closed",
        "key": key,
        "occurred_at": format_time(NOW),
        "data": said,
    }
    return build_effect(document, rules=Rules(screen=frozenset(), notices=True), now=NOW)


def with_a_close(marked):
    """300 entries, the close of `old`, and 300 of which those in `old` are marked as told."""
    memory = Memory()
    head = append(
        memory, Head.genesis(ledger=LEDGER, origin=ORIGIN), [effect(at) for at in range(300)]
    )
    base = (head.size, head.root)
    head = append(memory, head, [close("old", days=(20, 10))])
    old = format_time(NOW - timedelta(days=15))
    effects = [
        effect(at, **({"occurred_at": old} if at % 50 == 0 else {})) for at in range(301, 601)
    ]
    append(memory, head, effects, late_for=lambda each: marked(each.occurred_at == old))
    return memory, base


@pytest.mark.parametrize("mode", ["full", "incremental"])
def test_entries_are_late_for_the_periods_that_were_closed_before_them(mode):
    memory, base = with_a_close(lambda is_late: "old" if is_late else None)

    report = audit(memory, outside=Outside(now=NOW), since=base if mode == "incremental" else None)

    assert report.findings == []


UNEXPLAINED = {
    "missing": (lambda _is_late: None, 350),
    "of-no-close": (lambda is_late: "old" if is_late else "new", 301),
    "of-another": (lambda is_late: "other" if is_late else None, 350),
}


@pytest.mark.parametrize("since", [0, 560])
@pytest.mark.parametrize("name", UNEXPLAINED)
def test_a_late_mark_that_no_close_explains_is_named(name, since):
    marked, first = UNEXPLAINED[name]
    memory, _ = with_a_close(marked)
    kept = [row.columns[HASH] for row in memory.rows[:since]]
    root = Frontier.empty().extend(kept).root() if since else None

    report = audit(memory, outside=Outside(now=NOW), since=(since, root) if since else None)

    assert (report.tamper, report.time) == ("ok", "bad")
    assert report.first_bad.check == "time.late"
    assert report.first_bad.seq == (
        first if not since else max(first, 512 if first == 301 else 550)
    )


def test_a_close_that_is_corrected_makes_nothing_late_any_more():
    memory = Memory()
    head = append(memory, Head.genesis(ledger=LEDGER, origin=ORIGIN), [close("old", days=(20, 10))])
    first = memory.rows[0].columns[1]
    head = append(memory, head, [close("old", days=(20, 18), supersedes=first)])
    append(memory, head, [effect(2, occurred_at=format_time(NOW - timedelta(days=15)))])

    assert verify(memory).findings == []


def test_effects_from_the_future_are_named():
    memory = Memory()
    head = Head.genesis(ledger=LEDGER, origin=ORIGIN)
    append(memory, head, [effect(0)], recorded_at=NOW - timedelta(days=1))
    assert verify(memory).first_bad.check == "time.occurred"

    memory = Memory()
    append(memory, head, [effect(0)], recorded_at=NOW + timedelta(days=1))
    assert verify(memory).first_bad.check == "time.future"


# ---- Derived tables -------------------------------------------------------------------


def damaged_tile(memory):
    tile = memory.tile_rows[1]
    memory.tile_rows[1] = replace(tile, hashes=tile.hashes[:32] + bytes(32) + tile.hashes[64:])


DERIVED = {
    "tile-edited": (damaged_tile, "tile.hashes", 257),
    "tile-gone": (lambda memory: memory.tile_rows.pop(1), "tile.missing", 256),
    "term-gone": (lambda memory: memory.term_rows.remove(("label:n:9", 9)), "term.missing", 9),
    "term-added": (lambda memory: memory.term_rows.append(("label:n:9", 8)), "term.extra", 8),
    "term-twice": (lambda memory: memory.term_rows.append(("label:n:9", 9)), "term.extra", 9),
    "term-of-nothing": (lambda m: m.term_rows.append(("label:n:9", 900)), "term.extra", 900),
    "position-added": (
        lambda m: m.position_rows.append(StoredPosition(str(UUID(int=1005)), "EUR", 1, 0, 0, 0, 0)),
        "position.extra",
        5,
    ),
    "no-head": (lambda memory: setattr(memory, "head", None), "head.missing", None),
    "short-head": (
        lambda memory: setattr(memory, "head", replace(memory.head, size=599)),
        "head.size",
        599,
    ),
    "long-head": (
        lambda memory: setattr(memory, "head", replace(memory.head, size=601)),
        "entry.missing",
        600,
    ),
    "hash-of-head": (
        lambda memory: setattr(memory, "head", replace(memory.head, last_hash=bytes(32))),
        "head.last_hash",
        None,
    ),
    "tree-of-head": (
        lambda memory: setattr(memory, "head", replace(memory.head, frontier=bytes(32 * 4))),
        "head.frontier",
        None,
    ),
}


@pytest.mark.parametrize("damage", DERIVED)
def test_a_derived_row_that_differs_is_named(damage):
    memory, _ = recorded(600)
    harm, check, seq = DERIVED[damage]
    harm(memory)

    report = verify(memory)

    assert (report.first_bad.check, report.first_bad.seq) == (check, seq)
    assert report.tamper == "bad"


def test_two_entries_under_one_key_are_named():
    memory, head = recorded(300)
    append(memory, head, [effect(300), effect(7, subject="again")])

    report = verify(memory)

    assert (report.first_bad.check, report.first_bad.seq) == ("key.twice", 301)


def test_what_writers_append_meanwhile_is_no_damage():
    memory, head = recorded(300)

    class Busy(Memory):
        def positions(self):
            append(self, head, [effect(at) for at in range(300, 600)])
            yield []

    busy = Busy(**{name: getattr(memory, name) for name in Memory.__dataclass_fields__})
    report = verify(busy)

    assert (report.findings, report.size) == ([], 600)


# ---- Corrections ----------------------------------------------------------------------


def money(amount, flow):
    return {"money": {"amount": amount, "currency": "EUR", "flow": flow}}


def refund(number, amount, of="k0"):
    said = {"kind": "refund", "corrects_key": of, "reason": "customer.request"}
    return effect(number, **said, **money(amount, "out"))


def position(refunded, *, original=1000, excess=0):
    return StoredPosition(str(UUID(int=1000)), "EUR", original, 0, refunded, 0, excess)


def test_positions_are_what_the_corrections_give():
    memory = Memory()
    head = Head.genesis(ledger=LEDGER, origin=ORIGIN)
    append(memory, head, [effect(0, **money("10.00", "in")), refund(1, "3.00"), refund(2, "4.00")])
    memory.position_rows.append(position(700))
    assert verify(memory).findings == []

    memory.position_rows[0] = position(300)
    report = verify(memory)
    assert (report.first_bad.check, report.first_bad.seq) == ("position.refunded", 0)

    memory.position_rows.clear()
    report = verify(memory)
    assert (report.first_bad.check, report.first_bad.seq) == ("position.missing", 0)


def test_a_correction_that_should_have_been_refused_is_named():
    memory = Memory()
    head = Head.genesis(ledger=LEDGER, origin=ORIGIN)
    append(memory, head, [effect(0, **money("10.00", "in")), refund(1, "8.00"), refund(2, "8.00")])
    memory.position_rows.append(position(800))

    report = verify(memory)

    assert (report.first_bad.check, report.first_bad.seq) == ("correction.rule", 2)


def test_what_is_referred_to_is_fetched_again_once_it_was_forgotten(monkeypatch):
    monkeypatch.setattr("ledger.verify.rules._KNOWN_MAX", 0)
    memory = Memory()
    head = Head.genesis(ledger=LEDGER, origin=ORIGIN)
    effects = [effect(0, **money("10.00", "in")), refund(1, "3.00")]
    effects += [effect(at) for at in range(2, PAGE + 5)]
    append(memory, head, [*effects, refund(PAGE + 5, "4.00")])
    memory.position_rows.append(position(700))

    assert verify(memory).findings == []


def test_a_correction_of_what_comes_later_is_named():
    memory = Memory()
    head = Head.genesis(ledger=LEDGER, origin=ORIGIN)
    append(memory, head, [refund(0, "1.00", of="k1"), effect(1, **money("10.00", "in"))])

    report = verify(memory)

    assert (report.first_bad.check, report.first_bad.seq) == ("correction.rule", 0)


def test_an_incremental_audit_recomputes_the_positions_that_moved():
    memory = Memory()
    head = Head.genesis(ledger=LEDGER, origin=ORIGIN)
    before = [effect(0, **money("10.00", "in")), refund(1, "3.00")]
    before += [effect(at) for at in range(2, 600)]
    head = append(memory, head, before)
    base = (head.size, head.root)
    append(memory, head, [refund(600, "4.00")])
    memory.position_rows.append(position(700))
    assert audit(memory, since=base).findings == []

    memory.position_rows[0] = position(400)
    report = audit(memory, since=base)
    assert (report.first_bad.check, report.first_bad.seq) == ("position.refunded", 0)


def test_positions_that_writers_move_meanwhile_are_no_damage():
    memory = Memory()
    start = Head.genesis(ledger=LEDGER, origin=ORIGIN)
    head = append(memory, start, [effect(0, **money("10.00", "in")), refund(1, "3.00")])
    memory.position_rows.append(position(300))

    class Busy(Memory):
        def positions(self):
            append(self, head, [refund(2, "4.00")])
            self.position_rows[0] = position(700)
            yield self.position_rows

    busy = Busy(**{name: getattr(memory, name) for name in Memory.__dataclass_fields__})
    report = verify(busy)

    assert (report.findings, report.size) == ([], 3)


# ---- Versions -------------------------------------------------------------------------


def test_the_content_of_a_later_version_is_reported_as_unchecked():
    memory, _ = recorded(1)
    row = memory.rows[0]
    body = row.body.replace(b'"v":1}', b'"v":2}')
    memory.rows[0] = row._replace(body=body, columns=(leaf_hash(body), *row.columns[1:]))
    head = Frontier.empty().extend([leaf_hash(body)])
    memory.head = replace(memory.head, last_hash=leaf_hash(body), frontier=head.to_bytes())
    publish(memory, 1, head.root())

    report = verify(memory)

    assert (report.findings, report.tamper) == ([], "ok")
    assert any("later version" in each for each in report.not_checked)


# ---- Incremental ----------------------------------------------------------------------


@pytest.mark.parametrize("size", [257, 300, 512, 513, 700])
def test_an_incremental_audit_reads_what_is_new(size):
    memory, head = recorded(size)
    base = (head.size, head.root)
    after = append(memory, head, [effect(at) for at in range(size, size + 300)])
    memory.reads.clear()

    report = audit(memory, outside=Outside(now=NOW), since=base)

    assert report.findings == []
    assert (report.mode, report.size, report.root) == ("incremental", size + 300, after.root)
    assert min(memory.reads) >= size - TILE_WIDTH
    assert any(f"entries before {report.start}" in each for each in report.not_checked)


def test_an_incremental_audit_finds_new_damage_and_a_changed_base():
    memory, head = recorded(700)
    base = (head.size, head.root)
    append(memory, head, [effect(at) for at in range(700, 900)])

    edited = replace(memory, rows=[*memory.rows])
    edited.rows[800] = rewritten(edited.rows[800])
    assert audit(edited, since=base).first_bad.seq == 800

    anew, anew_head = recorded(10)
    append(anew, anew_head, [effect(at, subject="order/2") for at in range(10, 900)])
    checks = {finding.check for finding in audit(anew, since=base).findings}
    assert checks == {"earlier.root"}


def test_an_incremental_audit_does_not_see_old_damage_and_says_so():
    memory, head = recorded(700)
    memory.rows[5] = rewritten(memory.rows[5])

    report = audit(memory, since=(head.size, head.root))

    assert report.findings == []
    assert any("verify in full" in each for each in report.not_checked)


def test_an_incremental_audit_without_the_stored_tree_says_so():
    memory, head = recorded(700)
    memory.tile_rows.clear()

    report = audit(memory, since=(head.size, head.root))

    assert (report.first_bad.check, report.tamper, report.root) == ("tile.missing", "bad", None)


@pytest.mark.parametrize("size", [0, 100, 600])
def test_an_incremental_audit_of_a_truncated_ledger_is_incomplete(size):
    _, longer = recorded(700)
    memory, _ = recorded(size)

    report = audit(memory, since=(longer.size, longer.root))

    assert report.completeness == "bad"
    assert ("earlier.ahead", size) in {(each.check, each.seq) for each in report.findings}


# ---- Its parts ------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(st.integers(0, 300), max_size=8))
def test_a_tree_grown_in_any_steps_is_the_frontier(steps):
    tree, frontier, count = Tree(), Frontier.empty(), 0
    for step in steps:
        leaves = [leaf_hash(b"%d" % at) for at in range(count, count + step)]
        count += step
        tree.extend(leaves)
        frontier = frontier.extend(leaves)
        assert tree.frontier() == frontier


@given(st.lists(st.text(max_size=3), max_size=200))
def test_no_second_coming_of_a_value_is_missed(values):
    seen = _Seen(len(values), whole=True)
    for value in values:
        seen.take([value])

    assert {value for value in values if values.count(value) > 1} <= set(seen.suspects)


def test_a_trusted_checkpoint_is_signed_by_the_ledgers_key():
    note = sign_checkpoint(Checkpoint(origin=ORIGIN, size=1, root=bytes(32)), KEY).decode()

    assert read_trusted(note, [VerifierKey.parse(VKEY)]).size == 1
    other = NoteKey(name=ORIGIN, private_key=Ed25519PrivateKey.from_private_bytes(b"1" * 32))
    with pytest.raises(SignatureError):
        read_trusted(note, [other.verifier])


def test_each_verdict_has_findings_of_its_own():
    assert verdicts_of("entry.bytes") == {"tamper"}
    assert verdicts_of("signer.ahead") == {"completeness"}
    assert verdicts_of("time.order") == {"time"}
    assert verdicts_of("entry.missing") == {"tamper", "completeness"}


def test_entries_are_what_they_say():
    memory, _ = recorded(1)

    assert parse_entry(memory.rows[0].body).seq == 0
    assert len(memory.rows[0].columns) == len(COLUMNS)
