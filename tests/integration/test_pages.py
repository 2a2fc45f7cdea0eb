"""Laws of pages as the auditor reads them: whole where all is right, by row where it is not."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.append import Appender
from ledger.bench.filling import members, submissions
from ledger.clock import SystemClock
from ledger.registry.ledgers import Registry
from ledger.signing.signer import FileSigner
from ledger.storage.embedded.cluster import SUPERUSER
from ledger.storage.postgres import PostgresStorage
from ledger.storage.scan import PostgresScan
from ledger.submission import Posting
from ledger.vault import Vault
from ledger.verify import COLUMNS, audit, read_page
from ledger.verify.sift import Run
from tests.integration.commands import migrated_database

LEDGER, SIZE = "plain", 300
"""More than a tile, with a correction now and then."""
EDITS = {
    "hash": "sha256('x')",
    "id": "gen_random_uuid()",
    "key": "key || 'x'",
    "kind": "'adjustment'",
    "type": "type || 'x'",
    "poster": "null",
    "subject": "''",
    "business_key": "''",
    "actor": "null",
    "currency": "'XXX'",
    "corrects": "gen_random_uuid()",
    "repeat_of": "id",
    "occurred_at": "occurred_at - interval '1 microsecond'",
    "recorded_at": "recorded_at + interval '100 microseconds'",
}

TEXTS = ("key", "kind", "type", "poster", "subject", "business_key", "actor", "currency")
SPLICES = {
    "at the end": "{0} || E'\\x01'",
    "at the end, doubled": "{0} || E'\\x01\\x01'",
    "at the start": "E'\\x01' || {0}",
    "at the start, doubled": "E'\\x01\\x01' || {0}",
    "in the middle": "overlay({0} placing E'\\x01' from 3 for 0)",
    "in the middle, doubled": "overlay({0} placing E'\\x01\\x01' from 3 for 0)",
}
"""Where a value is given the separator of joined ones -> SQL."""


@pytest.fixture(scope="module")
def connection(tmp_path_factory) -> Iterator[psycopg.Connection]:
    """Of a superuser, who sees copies of entries and terms that anything may be done to."""
    with migrated_database() as conninfo:
        storage = PostgresStorage(conninfo)
        signer = FileSigner(
            tmp_path_factory.mktemp("keys") / "signer", Ed25519PrivateKey.generate()
        )
        appender = Appender(storage, signer, Vault(bytes(32)), SystemClock())
        rules = Registry(appender, storage, signer).create_ledger(LEDGER).rules
        appender.append(
            LEDGER,
            [
                Posting(
                    ledger=LEDGER,
                    principal="till",
                    submissions=tuple(submissions(rules, 0, SIZE)),
                    with_receipts=False,
                )
            ],
        )
        storage.close()
        with psycopg.connect(conninfo(SUPERUSER), autocommit=True) as superuser:
            superuser.execute("set search_path = effect_ledger, pg_catalog")
            superuser.execute("set timezone = 'UTC'")
            for table in ("entries", "entry_terms"):
                superuser.execute(f"create temporary table {table} as select * from {table}")
            yield superuser


@pytest.fixture
def scan(connection) -> PostgresScan:
    return PostgresScan(connection, LEDGER)


def test_a_page_of_plain_entries_is_read_whole(scan):
    [page] = read_page(scan, 0, SIZE, ledger=LEDGER)

    assert isinstance(page, Run)
    assert (page.start, page.stop) == (0, SIZE)
    assert page.others == []
    assert [correction.seq for correction in page.corrections] == [
        number for number in range(SIZE) if members(number)["kind"] != "effect"
    ]
    assert audit(scan).good


def test_an_entry_in_another_spelling_leaves_its_page_to_be_read_by_row(connection, scan):
    with connection.transaction(force_rollback=True):
        connection.execute(
            "update entries set body = convert_to(replace(convert_from(body, 'UTF8'), 'psp', 'pßp')"
            ", 'UTF8') where ledger = %s and seq = 7",
            (LEDGER,),
        )
        page = read_page(scan, 0, SIZE, ledger=LEDGER)

    assert len(page) > 1


def test_a_byte_of_a_hash_that_went_over_to_the_next_row_is_found(connection, scan):
    """Joined, the two are the same bytes: only a superuser without constraints can do it."""
    with connection.transaction(force_rollback=True):
        moved = "select substring(hash from 32) from entries where ledger = %s and seq = 206"
        connection.execute(
            f"update entries set hash = ({moved}) || hash where ledger = %s and seq = 207",
            (LEDGER, LEDGER),
        )
        connection.execute(
            "update entries set hash = substring(hash for 31) where ledger = %s and seq = 206",
            (LEDGER,),
        )
        report = audit(scan)

    assert {("index.hash", 206), ("index.hash", 207)} <= {
        (each.check, each.seq) for each in report.findings
    }


def test_every_column_has_an_edit():
    assert set(EDITS) == set(COLUMNS)


@pytest.mark.parametrize("seq", [205, 208])
@pytest.mark.parametrize("column", COLUMNS)
def test_a_column_that_differs_in_a_page_that_is_read_whole_is_named(connection, scan, column, seq):
    with connection.transaction(force_rollback=True):
        connection.execute(
            f"update entries set {column} = {EDITS[column]} where ledger = %s and seq = %s",
            (LEDGER, seq),
        )
        report = audit(scan)

    # Entry 205 is a refund and 208 an explanation: their targets are judged in a whole page.
    assert (f"index.{column}", seq) in {(each.check, each.seq) for each in report.findings}


@pytest.mark.parametrize("splice", SPLICES.values(), ids=SPLICES)
@pytest.mark.parametrize("column", TEXTS)
def test_a_text_that_holds_the_separator_is_named(connection, scan, column, splice):
    with connection.transaction(force_rollback=True):
        spliced = splice.format(f"coalesce({column}, '')")
        connection.execute(
            f"update entries set {column} = {spliced} where ledger = %s and seq = 205", (LEDGER,)
        )
        report = audit(scan)

    assert (f"index.{column}", 205) in {(each.check, each.seq) for each in report.findings}


@pytest.mark.parametrize("column", TEXTS)
def test_a_text_that_went_over_to_the_row_before_is_found(connection, scan, column):
    """Joined, a value that is null would leave no trace beside one that holds the separator."""
    with connection.transaction(force_rollback=True):
        connection.execute(
            f"update entries e set {column} = case seq when 206 then coalesce({column}, '') || "
            f"E'\\x01' || (select coalesce({column}, 'x') from entries "
            "where ledger = e.ledger and seq = 207) end where ledger = %s and seq in (206, 207)",
            (LEDGER,),
        )
        report = audit(scan)

    assert (f"index.{column}", 206) in {(each.check, each.seq) for each in report.findings}


@pytest.mark.parametrize("splice", SPLICES.values(), ids=SPLICES)
def test_a_term_that_holds_the_separator_is_named(connection, scan, splice):
    with connection.transaction(force_rollback=True):
        [(term, seq)] = connection.execute(
            "select term, seq from entry_terms where ledger = %s and seq >= 20 "
            "order by seq, term limit 1",
            (LEDGER,),
        ).fetchall()
        connection.execute(
            f"update entry_terms set term = {splice.format('term')} "
            "where ledger = %s and term = %s and seq = %s",
            (LEDGER, term, seq),
        )
        report = audit(scan)

    assert {(each.check, each.seq) for each in report.findings} == {
        ("term.missing", seq),
        ("term.extra", seq),
    }


@pytest.mark.parametrize("seq", [20, SIZE, SIZE + 7, -1])
@pytest.mark.parametrize("term", ["\x01", "label:a:b\x01", "\x01\x01label:a:b", "label:a\x01:b"])
def test_a_term_too_many_that_holds_the_separator_is_named(connection, scan, term, seq):
    with connection.transaction(force_rollback=True):
        connection.execute("insert into entry_terms values (%s, %s, %s)", (LEDGER, term, seq))
        report = audit(scan)

    assert [(each.check, each.seq) for each in report.findings] == [("term.extra", seq)]
