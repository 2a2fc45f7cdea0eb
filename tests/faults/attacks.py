"""
Attacks by a database superuser, each one damage to a small ledger, and what finds it.

    python -m tests.faults.attacks

prints the table of attacks and findings in Markdown.
"""

from __future__ import annotations

import sys
import tempfile
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.append import Appender
from ledger.clock import SystemClock
from ledger.effect import Rules, build_effect
from ledger.entry import (
    Admitted,
    Entry,
    Head,
    PosterSignature,
    chain,
    effect_signing_bytes,
    parse_entry,
)
from ledger.errors import NotFoundError
from ledger.forms.names import REGISTRY
from ledger.forms.payload import build_payloads
from ledger.merkle import Frontier, leaf_hash
from ledger.ports import LedgerRecord
from ledger.registry.ledgers import Registry
from ledger.signing.signer import FileSigner
from ledger.storage.postgres import PostgresStorage
from ledger.storage.scan import PostgresScan
from ledger.submission import Posting, Recorded, Submission
from ledger.tiles import completed_tiles
from ledger.vault import Vault
from ledger.verification.pages import PayloadOpener
from ledger.verify import Finding, Outside, Report, audit

LEDGER = "attacked"
OTHER = "unharmed"
SIZE = 320
OLDER_SIZE = 300
"""Size of the older dump; nothing after it corrects anything before it."""
NO_ID = "00000000-0000-7000-8000-000000000000"

DERIVED = (
    "entries",
    "entry_terms",
    "tiles",
    "positions",
    "payloads",
    "heads",
    "published",
    "ledgers",
    "poster_keys",
)
"""Every table that verification holds against the entry bytes."""

UNDETECTED = {
    "ledgers.screen": "no notice records which personal-data checks are on; the report says so",
}
"""Columns whose edit is no damage to history, with the reason."""


@dataclass(frozen=True, kw_only=True)
class Attacked:
    """A ledger to be damaged, and what is needed to verify it."""

    record: LedgerRecord
    appender: Appender
    vault: Vault
    signed: tuple[int, bytes]
    """Size and root in the signer's record."""
    older_published: tuple[int, bytes, bytes]
    """Row of the published checkpoint as it was at the older size."""

    def verify(self, connection: psycopg.Connection[Any]) -> Report:
        """Audit through the connection that sees the damage."""
        return audit(
            PostgresScan(connection, LEDGER),
            outside=Outside(now=datetime.now(UTC), read_signed=lambda _origin: self.signed),
            open_payloads=PayloadOpener(connection, self.record, self.vault),
        )


# ---- The ledger -----------------------------------------------------------------------


@contextmanager
def recorded(conninfo: Callable[[str], str], directory: Path) -> Iterator[Attacked]:
    """A ledger with something of everything, recorded as the service does."""
    vault = Vault(bytes(32))
    signer = FileSigner(directory / "signer", Ed25519PrivateKey.generate())
    storage = PostgresStorage(conninfo)
    appender = Appender(storage, signer, vault, SystemClock())
    registry = Registry(appender, storage, signer)
    poster_key = Ed25519PrivateKey.generate()
    key_id = registry.enrol_poster_key("checkout", poster_key.public_key().public_bytes_raw())
    record = registry.create_ledger(LEDGER, units={"USDC": 6})
    registry.create_ledger(OTHER)

    def post(*submissions: Submission) -> list[Entry]:
        posting = Posting(
            ledger=LEDGER, principal="checkout", submissions=submissions, with_receipts=False
        )
        [outcomes] = appender.append(LEDGER, [posting])
        entries = []
        for outcome in outcomes:
            assert isinstance(outcome, Recorded), outcome
            entries.append(outcome.entry)
        return entries

    def signed(submission: Submission) -> Submission:
        signature = poster_key.sign(effect_signing_bytes(submission.effect))
        encoded = PosterSignature(key_id=key_id, sig=b64encode(signature).decode())
        return Submission(effect=submission.effect, signature=encoded)

    capture, repeated, *_ = post(
        submission("capture", business_key="invoice/1", subject="order/1", **EUR),
        submission("repeated", business_key="invoice/2", **EUR),
        submission("plain", labels={"shop": "berlin"}),
        submission("noted", note="words about a person"),
        signed(submission("signed")),
        submission(
            "external",
            kind="refund",
            reason="customer.request",
            corrects_external={"system": "old", "ref": "1"},
            observed=True,
            evidence=[{"system": "psp", "rel": "transaction", "ref": "re_1"}],
            money={"amount": "5.00", "currency": "EUR", "flow": "out"},
        ),
    )
    [refund, *_] = post(
        submission("refund", kind="refund", reason="customer.request", corrects=capture.id, **OUT),
        submission("again", business_key="invoice/2", repeat_of=repeated.id, **EUR),
        submission("adjusted", kind="adjustment", reason="fee", corrects_key="repeated", **MORE),
    )
    post(
        submission("why", kind="explanation", reason="asked", corrects=refund.id, note="because"),
        *(submission(f"fill-{at}") for at in range(250)),
    )
    post(*(submission(f"more-{at}") for at in range(OLDER_SIZE - 260)))
    older = storage.published(LEDGER)
    assert older is not None, "every append publishes a checkpoint"
    checkpoint, note = older
    assert checkpoint.size == OLDER_SIZE
    post(*(submission(f"last-{at}") for at in range(SIZE - OLDER_SIZE)))
    newest = storage.published(LEDGER)
    assert newest is not None
    yield Attacked(
        record=record,
        appender=appender,
        vault=vault,
        signed=(newest[0].size, newest[0].root),
        older_published=(checkpoint.size, checkpoint.root, note),
    )
    storage.close()


EUR = {"money": {"amount": "100.00", "currency": "EUR", "flow": "in"}}
OUT = {"money": {"amount": "30.00", "currency": "EUR", "flow": "out"}}
MORE = {"money": {"amount": "10.00", "currency": "EUR", "flow": "in"}}


def submission(key: str, *, note: str | None = None, **members: Any) -> Submission:
    """One effect of the ledger."""
    now = datetime.now(UTC)
    document = {
        "kind": "effect",
        "type": "card.capture",
        "key": key,
        "occurred_at": now.isoformat(),
        "actor": {"id": "till-1", "kind": "service"},
    }
    effect = build_effect(document | members, rules=Rules(units={"USDC": 6}), now=now)
    return Submission(effect=effect, payloads=build_payloads([], note=note))


# ---- The attacker ---------------------------------------------------------------------


class Superuser:
    """Somebody who can do everything in the database, and nothing outside it."""

    def __init__(self, connection: psycopg.Connection[Any], attacked: Attacked) -> None:
        self.connection = connection
        self.attacked = attacked

    def disarm(self) -> None:
        """Take away what the database guards itself with: triggers, checks, keys."""
        for table in DERIVED:
            self.run(f"alter table {table} disable trigger all")
        constraints = self.rows(
            "select conrelid::regclass, quote_ident(conname) from pg_constraint "
            "where connamespace = 'effect_ledger'::regnamespace and contype in ('c', 'p', 'u') "
            "and conrelid::regclass::text = any(%s)",
            list(DERIVED),
        )
        for table, name in constraints:
            self.run(f"alter table {table} drop constraint {name} cascade")

    def run(self, statement: str, *parameters: Any) -> int:
        """Run a statement; how many rows it touched."""
        return self.connection.execute(statement, parameters or None).rowcount

    def damage(self, statement: str, *parameters: Any) -> None:
        """Run a statement that must touch a row, or the attack is none."""
        assert self.run(statement, *parameters) > 0, statement

    def rows(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """What a query gives."""
        return self.connection.execute(statement, parameters or None).fetchall()

    def columns(self) -> list[tuple[str, str, str]]:
        """(table, column, type) of everything that can be edited."""
        return [
            (str(table), str(column), str(type_))
            for table, column, type_ in self.rows(
                "select table_name, column_name, udt_name from information_schema.columns "
                "where table_schema = 'effect_ledger' and table_name = any(%s) "
                "order by table_name, ordinal_position",
                list(DERIVED),
            )
        ]

    def rewrite(self, start: int, bodies: list[Admitted], *, recorded_at: list[str]) -> None:
        """Make history anew from `start` on, consistent in everything the database holds."""
        kept = self.rows(
            "select hash from entries where ledger = %s and seq < %s order by seq", LEDGER, start
        )
        leaves = [row[0] for row in kept]
        head = Head(
            ledger=LEDGER,
            origin=self.attacked.record.origin,
            size=start,
            last_hash=leaves[-1],
            last_recorded_at=None,
            frontier=Frontier.empty().extend(leaves),
        )
        entries: list[Entry] = []
        for admitted, time in zip(bodies, recorded_at, strict=True):
            [entry], head = chain(head, [admitted], recorded_at=time)
            entries.append(entry)
        for entry in entries:
            self.damage(
                "update entries set body = %s, hash = %s, poster = %s "
                "where ledger = %s and seq = %s",
                entry.encoded,
                entry.hash,
                entry.poster,
                LEDGER,
                entry.seq,
            )
        self.rebuild(head, leaves + [entry.hash for entry in entries])

    def rebuild(self, head: Head, leaves: list[bytes]) -> None:
        """Tiles and head that fit a history."""
        self.run("delete from tiles where ledger = %s", LEDGER)
        for tile in completed_tiles(0, leaves, lambda _level, _index: []):
            self.run(
                "insert into tiles values (%s, %s, %s, %s, %s)",
                LEDGER,
                tile.level,
                tile.index,
                tile.hashes,
                tile.root,
            )
        self.damage(
            "update heads set size = %s, last_hash = %s, last_recorded_at = %s, frontier = %s "
            "where ledger = %s",
            head.size,
            head.last_hash,
            head.last_recorded_at,
            head.frontier.to_bytes(),
            LEDGER,
        )

    def truncate(self, size: int) -> None:
        """Drop the newest entries and all that speaks of them."""
        for table in ("entries", "entry_terms", "payloads"):
            self.run(f"delete from {table} where ledger = %s and seq >= %s", LEDGER, size)
        rows = self.rows("select hash, body from entries where ledger = %s order by seq", LEDGER)
        leaves = [row[0] for row in rows]
        last = parse_entry(rows[-1][1])
        self.rebuild(
            Head(
                ledger=LEDGER,
                origin=self.attacked.record.origin,
                size=size,
                last_hash=leaves[-1],
                last_recorded_at=last.recorded_at,
                frontier=Frontier.empty().extend(leaves),
            ),
            leaves,
        )

    def admitted(self, start: int) -> tuple[list[Admitted], list[str]]:
        """Entries from `start` on, as they were before they had a place, and their times."""
        found = []
        times = []
        for (body,) in self.rows(
            "select body from entries where ledger = %s and seq >= %s order by seq", LEDGER, start
        ):
            entry = parse_entry(body)
            assert isinstance(entry, Entry)
            found.append(
                Admitted(
                    effect=entry.effect,
                    id=entry.id,
                    poster=entry.poster,
                    payloads=entry.payloads,
                    signature=entry.signature,
                )
            )
            times.append(entry.recorded_at)
        return found, times


# ---- The attacks ----------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Attack:
    """One damage and what must find it."""

    harm: Callable[[Superuser], None]
    check: str
    seq: int | None
    """The entry that must be named first."""


OTHER_VALUE = {
    "text": "{0} || 'x'",
    "bytea": "set_byte({0}, 0, get_byte({0}, 0) # 1)",
    "int2": "{0} + 1",
    "int8": "{0} + 1",
    "numeric": "{0} + 1",
    "timestamptz": "{0} + interval '1 second'",
    "uuid": f"'{NO_ID}'::uuid",
    "bool": "not {0}",
    "jsonb": """'{{"USDC": 2}}'::jsonb""",
    "_text": "array['iban']",
}
"""Type -> expression of a value that is another one."""

# Rows of the ledger that has something of everything: see `recorded`.
ROWS = {
    "entries": "seq = 2",
    "entry_terms": "seq = 2",
    "tiles": "level = 0 and idx = 0",
    "positions": "entry = (select id from entries where ledger = '{0}' and seq = 0)",
    "payloads": "seq = 3",
    "poster_keys": None,
}

COLUMN_ROWS = {
    "entries.subject": "seq = 0",
    "entries.business_key": "seq = 0",
    "entries.currency": "seq = 0",
    "entries.corrects": "seq = 6",
    "entries.repeat_of": "seq = 7",
}
"""Where the column is not null."""

COLUMN_FINDINGS: Mapping[str, tuple[str, int | None]] = {
    "entries.ledger": ("entry.missing", 2),
    # It stands twice beside the next one, and its own place is empty.
    "entries.seq": ("entry.missing", 2),
    "entries.id": ("index.id", 2),
    "entries.key": ("index.key", 2),
    "entries.kind": ("index.kind", 2),
    "entries.type": ("index.type", 2),
    "entries.poster": ("index.poster", 2),
    "entries.subject": ("index.subject", 0),
    "entries.business_key": ("index.business_key", 0),
    "entries.actor": ("index.actor", 2),
    "entries.currency": ("index.currency", 0),
    "entries.corrects": ("index.corrects", 6),
    "entries.repeat_of": ("index.repeat_of", 7),
    "entries.occurred_at": ("index.occurred_at", 2),
    "entries.recorded_at": ("index.recorded_at", 2),
    "entries.hash": ("index.hash", 2),
    "entries.body": ("entry.malformed", 2),
    "entry_terms.ledger": ("term.missing", 2),
    "entry_terms.term": ("term.missing", 2),
    "entry_terms.seq": ("term.missing", 2),
    "tiles.ledger": ("tile.missing", 0),
    "tiles.level": ("tile.missing", 0),
    "tiles.idx": ("tile.missing", 0),
    "tiles.hashes": ("tile.hashes", 0),
    "tiles.root": ("tile.root", 0),
    "positions.ledger": ("position.missing", 0),
    "positions.entry": ("position.missing", 0),
    "positions.currency": ("position.extra", 0),
    "positions.original": ("position.original", 0),
    "positions.adjusted": ("position.adjusted", 0),
    "positions.refunded": ("position.refunded", 0),
    "positions.held": ("position.held", 0),
    "positions.excess": ("position.excess", 0),
    "payloads.ledger": ("payload.missing", 3),
    "payloads.seq": ("payload.missing", 3),
    "payloads.name": ("payload.missing", 3),
    "payloads.media_type": ("payload.media_type", 3),
    "payloads.commitment": ("payload.commitment", 3),
    "payloads.data_subject": ("payload.content", 3),
    "payloads.sealed": ("payload.content", 3),
    "heads.ledger": ("head.missing", None),
    "heads.size": ("entry.missing", SIZE),
    "heads.last_hash": ("head.last_hash", None),
    "heads.last_recorded_at": ("head.last_recorded_at", None),
    "heads.frontier": ("head.frontier", None),
    "heads.closes": ("head.closes", None),
    "published.ledger": ("checkpoint.missing", None),
    "published.size": ("checkpoint.size", None),
    "published.root": ("checkpoint.row_root", None),
    "published.note": ("checkpoint.signature", None),
    "ledgers.ledger": ("ledger.unknown", None),
    "ledgers.origin": ("ledger.origin", None),
    "ledgers.vkey": ("ledger.vkey", None),
    "ledgers.signer": ("ledger.signer", None),
    "ledgers.units": ("ledger.units", None),
    "ledgers.time_zone": ("ledger.time_zone", None),
    "ledgers.public": ("ledger.public", None),
    "ledgers.registry_seq": ("ledger.registry_seq", None),
    "poster_keys.key_id": ("poster.key", 4),
    "poster_keys.principal": ("poster.key", 4),
    "poster_keys.public_key": ("poster.key", 4),
    "poster_keys.registry_seq": ("poster.key", 4),
}
"""Column -> check that finds its edit, and the entry named."""


def edit(table: str, column: str, type_: str) -> Callable[[Superuser], None]:
    """Change one column of one row."""
    row = COLUMN_ROWS.get(f"{table}.{column}", ROWS.get(table))
    where = "true" if table == "poster_keys" else f"ledger = '{LEDGER}'"
    if row is not None:
        where += f" and {row.format(LEDGER)}"
    value = OTHER_VALUE[type_].format(column)
    return lambda attacker: attacker.damage(f"update {table} set {column} = {value} where {where}")


def delete(table: str, where: str) -> Callable[[Superuser], None]:
    """Delete rows."""
    return lambda attacker: attacker.damage(
        f"delete from {table} where ledger = %s and {where}", LEDGER
    )


def replace_bytes(seq: int, old: str, new: str, *, with_hash: bool) -> Callable[[Superuser], None]:
    """Edit an entry's bytes, and the hash stored beside them."""

    def harm(attacker: Superuser) -> None:
        [(body,)] = attacker.rows(
            "select body from entries where ledger = %s and seq = %s", LEDGER, seq
        )
        assert old.encode() in body
        changed = body.replace(old.encode(), new.encode())
        attacker.damage(
            "update entries set body = %s where ledger = %s and seq = %s", changed, LEDGER, seq
        )
        if with_hash:
            attacker.damage(
                "update entries set hash = %s where ledger = %s and seq = %s",
                leaf_hash(changed),
                LEDGER,
                seq,
            )

    return harm


def permute(order: Mapping[int, int]) -> Callable[[Superuser], None]:
    """Give entries each other's places: all columns but the number."""

    def harm(attacker: Superuser) -> None:
        for here in order:
            attacker.damage(
                "update entries set seq = %s where ledger = %s and seq = %s",
                -here - 1,
                LEDGER,
                here,
            )
        for here, there in order.items():
            attacker.damage(
                "update entries set seq = %s where ledger = %s and seq = %s",
                there,
                LEDGER,
                -here - 1,
            )

    return harm


def insert_between(attacker: Superuser) -> None:
    """An entry of another ledger's form is pushed in, and those after it move up."""
    attacker.damage("update entries set seq = seq + 1 where ledger = %s and seq >= 50", LEDGER)
    attacker.damage(
        "insert into entries select ledger, 50, gen_random_uuid(), 'invented', kind, type, poster, "
        "subject, business_key, actor, currency, corrects, repeat_of, occurred_at, recorded_at, "
        "hash, body from entries where ledger = %s and seq = 49",
        LEDGER,
    )
    attacker.damage("update heads set size = size + 1 where ledger = %s", LEDGER)


def insert_at_end(attacker: Superuser) -> None:
    """An entry is added behind the head."""
    attacker.damage(
        "insert into entries select ledger, seq + 1, gen_random_uuid(), 'invented', kind, type, "
        "poster, subject, business_key, actor, currency, corrects, repeat_of, occurred_at, "
        "recorded_at, hash, body from entries where ledger = %s and seq = %s",
        LEDGER,
        SIZE - 1,
    )


def rechain(start: int, *, keep_checkpoint: bool) -> Callable[[Superuser], None]:
    """One entry gets another poster, and everything after it is made anew to fit."""

    def harm(attacker: Superuser) -> None:
        bodies, times = attacker.admitted(start)
        first = bodies[0]
        bodies[0] = Admitted(
            effect=first.effect, id=first.id, poster="somebody", payloads=first.payloads
        )
        attacker.rewrite(start, bodies, recorded_at=times)
        if not keep_checkpoint:
            attacker.damage("delete from published where ledger = %s", LEDGER)

    return harm


def drop_newest(*, checkpoint: str) -> Callable[[Superuser], None]:
    """The tail is gone and nothing in the database speaks of it, but perhaps the checkpoint."""

    def harm(attacker: Superuser) -> None:
        attacker.truncate(OLDER_SIZE)
        if checkpoint == "older":
            size, root, note = attacker.attacked.older_published
            attacker.damage(
                "update published set size = %s, root = %s, note = %s where ledger = %s",
                size,
                root,
                note,
                LEDGER,
            )
        elif checkpoint == "gone":
            attacker.damage("delete from published where ledger = %s", LEDGER)

    return harm


def swap_ids(attacker: Superuser) -> None:
    """Two entries change their ids in the index."""
    attacker.damage(
        "update entries e set id = o.id from entries o where e.ledger = %s and o.ledger = e.ledger "
        "and (e.seq, o.seq) in ((20, 21), (21, 20))",
        LEDGER,
    )


def same_key(attacker: Superuser) -> None:
    """The newest entry is made anew with a key that is taken."""
    bodies, times = attacker.admitted(SIZE - 1)
    bodies[0] = Admitted(
        effect=submission("plain").effect, id=bodies[0].id, poster=bodies[0].poster
    )
    attacker.rewrite(SIZE - 1, bodies, recorded_at=times)
    attacker.damage(
        "update entries set key = 'plain', occurred_at = %s where ledger = %s and seq = %s",
        bodies[0].effect.occurred_at,
        LEDGER,
        SIZE - 1,
    )


def run(statement: str) -> Callable[[Superuser], None]:
    """One statement."""
    return lambda attacker: attacker.damage(statement, LEDGER)


NAMED: Mapping[str, Attack] = {
    "delete the first entry": Attack(
        harm=delete("entries", "seq = 0"), check="entry.missing", seq=0
    ),
    "delete an entry in the middle": Attack(
        harm=delete("entries", "seq = 150"), check="entry.missing", seq=150
    ),
    "delete the last entry": Attack(
        harm=delete("entries", f"seq = {SIZE - 1}"), check="entry.missing", seq=SIZE - 1
    ),
    "delete a run of entries": Attack(
        harm=delete("entries", "seq between 100 and 120"), check="entry.missing", seq=100
    ),
    "delete every entry": Attack(harm=delete("entries", "true"), check="entry.missing", seq=0),
    "insert an entry in the middle": Attack(harm=insert_between, check="entry.place", seq=50),
    "insert an entry at the end": Attack(harm=insert_at_end, check="entry.place", seq=SIZE),
    "repeat an entry": Attack(
        harm=run("insert into entries select * from entries where ledger = %s and seq = 30"),
        check="entry.twice",
        seq=30,
    ),
    "swap two entries": Attack(harm=permute({40: 41, 41: 40}), check="entry.place", seq=40),
    "reorder three entries": Attack(
        harm=permute({60: 61, 61: 62, 62: 60}), check="entry.place", seq=60
    ),
    "swap the ids of two entries": Attack(harm=swap_ids, check="index.id", seq=20),
    "edit the bytes of an entry": Attack(
        harm=replace_bytes(7, '"100.00"', '"100.01"', with_hash=False), check="entry.bytes", seq=7
    ),
    "edit the bytes of an entry, and its hash": Attack(
        harm=replace_bytes(7, '"100.00"', '"100.01"', with_hash=True),
        check="chain.rewritten",
        seq=7,
    ),
    "edit the bytes of the last entry, and its hash": Attack(
        harm=replace_bytes(SIZE - 1, '"till-1"', '"till-2"', with_hash=True),
        check="chain.rewritten",
        seq=SIZE - 1,
    ),
    "move an entry to another ledger": Attack(
        harm=replace_bytes(9, f'"ledger":"{LEDGER}"', f'"ledger":"{OTHER}"', with_hash=True),
        check="entry.ledger",
        seq=9,
    ),
    "record an entry under a key that is taken": Attack(
        harm=same_key, check="key.twice", seq=SIZE - 1
    ),
    "make history anew from entry 200 on": Attack(
        harm=rechain(200, keep_checkpoint=True), check="checkpoint.root", seq=None
    ),
    "make history anew, and take the checkpoint away": Attack(
        harm=rechain(200, keep_checkpoint=False), check="signer.root", seq=None
    ),
    "make the last entry anew": Attack(
        harm=rechain(SIZE - 1, keep_checkpoint=True), check="checkpoint.root", seq=None
    ),
    "delete the newest entries": Attack(
        harm=delete("entries", f"seq >= {OLDER_SIZE}"), check="entry.missing", seq=OLDER_SIZE
    ),
    "drop the newest entries and mend the head": Attack(
        harm=drop_newest(checkpoint="kept"), check="checkpoint.ahead", seq=OLDER_SIZE
    ),
    "drop the newest entries, mend the head, take the checkpoint away": Attack(
        harm=drop_newest(checkpoint="gone"), check="signer.ahead", seq=OLDER_SIZE
    ),
    "restore an older dump": Attack(
        harm=drop_newest(checkpoint="older"), check="signer.ahead", seq=OLDER_SIZE
    ),
    "delete a search term": Attack(
        harm=delete("entry_terms", "seq = 2"), check="term.missing", seq=2
    ),
    "add a search term": Attack(
        harm=run("insert into entry_terms values (%s, 'label:shop:berlin', 33)"),
        check="term.extra",
        seq=33,
    ),
    "end a search term in the byte that joins terms as they are read": Attack(
        harm=run("update entry_terms set term = term || E'\\x01' where ledger = %s and seq = 2"),
        check="term.missing",
        seq=2,
    ),
    "delete a tile": Attack(harm=delete("tiles", "true"), check="tile.missing", seq=0),
    "add a tile": Attack(
        harm=run(
            "insert into tiles select ledger, level, idx + 1, hashes, root from tiles "
            "where ledger = %s"
        ),
        check="tile.extra",
        seq=None,
    ),
    "repeat a tile": Attack(
        harm=run("insert into tiles select * from tiles where ledger = %s"),
        check="tile.twice",
        seq=0,
    ),
    "delete a position": Attack(
        harm=delete("positions", ROWS["positions"].format(LEDGER)),
        check="position.missing",
        seq=0,
    ),
    "add a position": Attack(
        harm=run(
            "insert into positions select ledger, id, 'EUR', 1 from entries "
            "where ledger = %s and seq = 12"
        ),
        check="position.extra",
        seq=12,
    ),
    "delete a payload": Attack(harm=delete("payloads", "seq = 3"), check="payload.missing", seq=3),
    "add a payload": Attack(
        harm=run(
            "insert into payloads select ledger, 10, name, media_type, commitment, data_subject, "
            "sealed from payloads where ledger = %s and seq = 3"
        ),
        check="payload.extra",
        seq=10,
    ),
    "repeat a payload": Attack(
        harm=run("insert into payloads select * from payloads where ledger = %s and seq = 3"),
        check="payload.twice",
        seq=3,
    ),
    "empty a payload without a notice": Attack(
        harm=run("update payloads set sealed = null where ledger = %s and seq = 3"),
        check="payload.erased",
        seq=3,
    ),
    "give a payload the octets of another": Attack(
        harm=run(
            "update payloads p set sealed = o.sealed from payloads o "
            "where p.ledger = %s and o.ledger = p.ledger and p.seq = 3 and o.seq = 9"
        ),
        check="payload.content",
        seq=3,
    ),
    "delete the data keys": Attack(
        harm=run("delete from effect_ledger_keys.data_keys where ledger = %s"),
        check="payload.content",
        seq=3,
    ),
    "edit a data key": Attack(
        harm=run(
            "update effect_ledger_keys.data_keys set wrapped = "
            "set_byte(wrapped, 20, get_byte(wrapped, 20) # 1) where ledger = %s"
        ),
        check="payload.content",
        seq=3,
    ),
    "delete the head": Attack(harm=delete("heads", "true"), check="head.missing", seq=None),
    "shorten the head": Attack(
        harm=run("update heads set size = size - 1 where ledger = %s"),
        check="head.size",
        seq=SIZE - 1,
    ),
    "delete the published checkpoint": Attack(
        harm=delete("published", "true"), check="checkpoint.missing", seq=None
    ),
    "publish another ledger's checkpoint": Attack(
        harm=run(
            "update published p set note = o.note from published o "
            "where p.ledger = %s and o.ledger = '_registry'"
        ),
        check="checkpoint.signature",
        seq=None,
    ),
    "delete the ledger": Attack(harm=delete("ledgers", "true"), check="ledger.unknown", seq=None),
    "delete the notice that announced the ledger": Attack(
        harm=lambda attacker: attacker.damage(
            "delete from entries where ledger = %s and key = %s",
            REGISTRY,
            f"_ledger.created/{LEDGER}",
        ),
        check="ledger.announced",
        seq=None,
    ),
    "delete a poster's key": Attack(
        harm=lambda attacker: attacker.damage("delete from poster_keys"), check="poster.key", seq=4
    ),
}


def attacks(columns: list[tuple[str, str, str]]) -> Iterator[tuple[str, Attack]]:
    """All attacks by name: an edit of every column there is, and the named ones."""
    for table, column, type_ in columns:
        place = f"{table}.{column}"
        if place not in UNDETECTED:
            check, seq = COLUMN_FINDINGS[place]
            yield f"edit {place}", Attack(harm=edit(table, column, type_), check=check, seq=seq)
    yield from NAMED.items()


@contextmanager
def attack(
    connection: psycopg.Connection[Any], attacked: Attacked, harm: Callable[[Superuser], None]
) -> Iterator[None]:
    """Damage the ledger, and put it back."""
    attacker = Superuser(connection, attacked)
    with connection.transaction(force_rollback=True):
        attacker.disarm()
        harm(attacker)
        yield


def first_finding(attacked: Attacked, connection: psycopg.Connection[Any]) -> Finding | None:
    """What verification says first; a ledger that is not there is a finding too."""
    try:
        return attacked.verify(connection).first_bad
    except NotFoundError as error:
        return Finding(check="ledger.unknown", seq=None, message=error.message)


def first_findings(
    connection: psycopg.Connection[Any], attacked: Attacked
) -> Iterator[tuple[str, Finding | None]]:
    """Every attack by name, and what verification says first once it is made."""
    for name, each in attacks(Superuser(connection, attacked).columns()):
        with attack(connection, attacked, each.harm):
            yield name, first_finding(attacked, connection)


def table(findings: Mapping[str, Finding | None]) -> Iterator[str]:
    """The matrix as a Markdown table."""
    yield "| A superuser would | found by | first bad entry | the report says |"
    yield "|---|---|---|---|"
    for name, found in findings.items():
        assert found is not None, name
        seq = "the ledger" if found.seq is None else found.seq
        yield f"| {name} | `{found.check}` | {seq} | {found.message} |"


def superuser(conninfo: Callable[[str], str], role: str) -> psycopg.Connection[Any]:
    """A connection that may do everything."""
    connection = psycopg.connect(conninfo(role), autocommit=True)
    connection.execute("set search_path = effect_ledger, pg_catalog")
    connection.execute("set timezone = 'UTC'")
    return connection


def main() -> None:
    """Print the table."""
    from ledger.storage.embedded import open_server
    from ledger.storage.embedded.cluster import SUPERUSER
    from ledger.storage.schema import migrate

    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o711)
        with open_server(Path(directory) / "data") as server:
            migrate(server.conninfo)
            with (
                recorded(server.conninfo, Path(directory)) as attacked,
                superuser(server.conninfo, SUPERUSER) as connection,
            ):
                findings = dict(first_findings(connection, attacked))
                sys.stdout.writelines(f"{line}\n" for line in table(findings))


if __name__ == "__main__":
    main()
