"""Finance's lists: a page costs what it shows, and pages together are the list."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.recon.breaks import Action, Status
from ledger.recon.casework import Casework, document_of
from ledger.recon.shelf import FIRST, Place, Shelf
from ledger.recon.shelf.breaks import SELECT_IN_STATUS, SELECT_UNCLOSED
from ledger.recon.shelf.files import (
    SELECT_PAGE,
    SELECT_PAGE_IN_STATUS,
    SELECT_PAGE_OF_BOTH,
    SELECT_PAGE_OF_SOURCE,
)

TODAY = date(2026, 4, 2)

seen = st.builds(
    lambda state, day: {"seen": {"state": state, "age_basis": day.isoformat()}},
    st.sampled_from(["missing_in_ledger", "amount_mismatch"]),
    st.dates(date(2026, 3, 25), TODAY),
)
acts = st.one_of(
    st.tuples(st.sampled_from([Action.CHANGED, Action.REOPENED]), seen),
    st.tuples(st.just(Action.ASSIGNED), st.sampled_from([{"to": "ben"}, {"to": "fin"}])),
    st.tuples(
        st.sampled_from([Action.PROPOSED, Action.REJECTED, Action.APPROVED, Action.CLOSED]),
        st.just({}),
    ),
    st.just((Action.CARRIED_FORWARD, {"period": "2026-03"})),
)
lives = st.lists(st.tuples(seen, st.lists(acts, max_size=6)), min_size=1, max_size=6)
filters = st.fixed_dictionaries(
    {
        "status": st.none() | st.sampled_from(list(Status)),
        "state": st.none() | st.just("missing_in_ledger"),
        "owner": st.none() | st.just("ben"),
        "older_than": st.none() | st.integers(1, 5),
    }
)


@given(lives=lives, wanted=filters, limit=st.integers(1, 3))
@settings(max_examples=25)
def test_pages_of_breaks_are_the_breaks_whose_events_say_what_is_asked(
    engine, lives, wanted, limit
):
    """Whatever happened to them, in whatever order."""
    shelf, casework = engine.office.shelf, engine.office.casework
    ledger = f"lists-{uuid4()}"
    for opened, happened in lives:
        keep_break(shelf, ledger, opened, happened)

    told = [document_of(row, TODAY) for row in shelf.breaks(ledger)]
    expected = [each for each in told if is_wanted(each, **wanted)]

    assert list(walk(casework, ledger, wanted, limit)) == expected


def keep_break(shelf: Shelf, ledger: str, opened: Any, happened: Any) -> None:
    id_ = str(uuid4())
    shelf.open_break(ledger, id_, id_, "fin", opened)
    for ordinal, (action, document) in enumerate(happened, start=1):
        shelf.add_event(ledger, id_, ordinal=ordinal, by="fin", action=action, document=document)


def is_wanted(
    told: Any, *, status: str | None, state: str | None, owner: str | None, older_than: int | None
) -> bool:
    return (
        (told["status"] == status if status else told["status"] != Status.CLOSED)
        and (state is None or told["state"] == state)
        and (owner is None or told["owner"] == owner)
        and (older_than is None or told["age_days"] > older_than)
    )


def walk(casework: Casework, ledger: str, wanted: Any, limit: int) -> Iterator[Any]:
    after = FIRST
    while found := casework.breaks(ledger, today=TODAY, after=after, limit=limit, **wanted):
        yield from (document for _, document in found)
        after = Place(at=found[-1][0].created_at, id=found[-1][0].id)


def test_a_list_of_imports_is_whole_where_several_came_at_one_moment(api, preparer, database):
    """Also by source and status; the last page says that it is the last."""
    add_imports(database, api.ledger, 12)
    whole = preparer.get("imports", limit=1000)
    assert (len(whole["items"]), whole["next_cursor"]) == (12, None)
    order = [(each["received_at"], each["id"]) for each in whole["items"]]
    assert order == sorted(order)
    assert len({at for at, _ in order}) == 4

    for asked in (
        {},
        {"source": "s1"},
        {"status": "rejected"},
        {"source": "s1", "status": "accepted"},
    ):
        wanted = [each for each in whole["items"] if all(each[key] == asked[key] for key in asked)]
        assert wanted
        assert walk_over_http(preparer, "imports", **asked) == wanted


def test_a_list_of_breaks_goes_on_where_its_page_ended_when_one_was_closed_since(engine, preparer):
    """A row number would skip one."""
    opened = {"seen": {"state": "amount_mismatch", "age_basis": "2026-03-01"}}
    for _ in range(3):
        keep_break(engine.office.shelf, preparer.api.ledger, opened, ())
    whole = preparer.get("breaks")["items"]
    first = preparer.get("breaks", limit=1)
    assert first["items"] == whole[:1]

    closed = {"ordinal": 1, "by": "fin", "action": Action.CLOSED, "document": {"by": "evidence"}}
    engine.office.shelf.add_event(preparer.api.ledger, whole[0]["id"], **closed)
    rest = preparer.get("breaks", cursor=first["next_cursor"])

    assert rest == {"items": whole[1:], "next_cursor": None}


@pytest.mark.parametrize("cursor", ["MTI=", "!", "MjAyNiB4", "AAAA"])
def test_a_cursor_that_no_list_gave_is_refused(preparer, cursor):
    for path in ("breaks", "imports"):
        response = preparer.api.http.get(
            f"/v1/recon/{path}",
            headers=preparer.api.headers(None),
            params={"ledger": preparer.api.ledger, "cursor": cursor},
        )
        assert (response.status_code, response.json()["code"]) == (422, "INVALID_PARAMETER")


def walk_over_http(desk: Any, path: str, **asked: Any) -> list[Any]:
    found = desk.get(path, limit=2, **asked)
    items = found["items"]
    while found["next_cursor"] is not None:
        found = desk.get(path, limit=2, cursor=found["next_cursor"], **asked)
        items += found["items"]
    return items


def add_imports(database: psycopg.Connection[Any], ledger: str, count: int) -> None:
    """Three at each moment, of two sources, every fourth refused."""
    database.execute(
        """
        insert into recon_imports (ledger, id, source, source_version, filename, sha256, content,
            status, document, lines, added, received_at, received_by)
        select %s, gen_random_uuid(), 's' || (n %% 2), 1, n || '.csv', sha256(n::text::bytea), '',
            case when n %% 4 = 0 then 'rejected' else 'accepted' end, '{}', 0, 0,
            timestamptz '2026-03-01' + interval '1 second' * (n / 3), 'fin'
        from generate_series(0, %s - 1) n
        """,
        (ledger, count),
    )


# ---- Cost -----------------------------------------------------------------------------

DEEP = 3_000
PAGE = 20


@pytest.fixture(scope="module")
def many(database) -> str:
    """A ledger of many imports and many breaks, one in a hundred of which is not closed."""
    ledger = f"deep-{uuid4()}"
    add_imports(database, ledger, DEEP)
    database.execute(
        """
        with made as (
            insert into recon_breaks (ledger, id, fingerprint, created_at)
            select %(ledger)s, gen_random_uuid(), n::text,
                timestamptz '2026-03-01' + interval '1 second' * n
            from generate_series(1, %(count)s) n returning id, fingerprint)
        insert into recon_events (ledger, break, ordinal, actor, action, document)
        select %(ledger)s, id, ordinal, 'fin', action, document from made,
            (values (0, 'opened', '{"seen": {"state": "s", "age_basis": "2026-03-01"}}'::jsonb),
                (1, 'closed', '{"by": "evidence"}')) acts (ordinal, action, document)
        where ordinal = 0 or fingerprint::int %% 100 > 0
        """,
        {"ledger": ledger, "count": DEEP},
    )
    for table in ("recon_break_states", "recon_breaks", "recon_events", "recon_imports"):
        database.execute(f"analyze {table}")
    return ledger


@pytest.mark.parametrize(
    ("select", "rows_each"),
    [
        # A break of the page, with its name and its two events.
        (SELECT_UNCLOSED, 3),
        (SELECT_IN_STATUS, 4),
        (SELECT_PAGE, 1),
        (SELECT_PAGE_OF_SOURCE, 1),
        # Of what most of them are, the plain order with a look at each is as good.
        (SELECT_PAGE_IN_STATUS, 2),
        (SELECT_PAGE_OF_BOTH, 2),
    ],
    ids=["unclosed", "closed", "imports", "of a source", "in a status", "of both"],
)
@pytest.mark.parametrize("depth_s", [0, 900])
def test_a_page_reads_the_rows_it_shows(database, many, select, rows_each, depth_s):
    """At any depth, whatever else the list has."""
    at = datetime.fromtimestamp(datetime(2026, 3, 1, tzinfo=UTC).timestamp() + depth_s, UTC)
    asked = {
        "ledger": many,
        "status": "closed" if "recon_break_states" in select else "accepted",
        "source": "s1",
        "state": None,
        "owner": None,
        "since_before": None,
        "at": at,
        "id": FIRST.id,
        "limit": PAGE,
    }

    [(explained,)] = database.execute(f"explain (analyze, format json) {select}", asked).fetchall()

    assert rows_read(explained[0]["Plan"]) <= rows_each * PAGE


def rows_read(plan: Any) -> int:
    """Rows that the scans of a plan looked at."""
    own = 0
    if ("Scan" in plan["Node Type"] and "Index Name" in plan) or plan["Node Type"] == "Seq Scan":
        looked = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)
        own = round(looked * plan["Actual Loops"])
    return own + sum(rows_read(each) for each in plan.get("Plans", []))
