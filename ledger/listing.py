"""
Listing: which entries a page has. Filters, cursors, and the statements that find the entries.

Pages run in seq order, so page n costs as page 1 and none changes when history grows. Each
filter has an index in that order; of several filters the narrowest is walked and the others
are checked on the way, on at most `CANDIDATES_MAX` entries per page. Running the statements
and reading the entries is for `reader`.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Select,
    Subquery,
    bindparam,
    func,
    literal_column,
    select,
    true,
)
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from ledger.canonical import canonical_bytes
from ledger.effect import KEY_MAX, SYSTEM_MAX, TEXT_MAX, TYPE_MAX, Kind
from ledger.forms.grammar import KEY, KEY_FORM, Parser, form, moment, one_of, text, uuid, wrong
from ledger.forms.timestamps import parse_time
from ledger.storage.tables import entries, entry_terms

PAGE_MAX = 1_000

CANDIDATES_MAX = 20_000
"""Entries that one page looks at where several filters must hold; some 30 ms."""

OCCURRED_AHEAD_MAX = timedelta(hours=1)
"""No entry occurred later than this after it was recorded: posting allows 5 minutes, measured by
a clock that is held within seconds of the one that records."""

_CURSOR_PURPOSE = b"effect-ledger/cursor/v1\n"
_CURSOR = re.compile("[A-Za-z0-9_-]{32}")
_SEQ_BYTES = 8
_SEQ_MAX = 2**63 - 1
# There are 2^16 combinations of filters, and callers choose.
_STATEMENTS_MAX = 512
# The type checker has no types of dialects.
_DIALECT = PGDialect_psycopg(paramstyle="pyformat")  # type: ignore[no-untyped-call]
_CHECK_BYTES = 16

_pair_text = text(SYSTEM_MAX + 1 + TEXT_MAX)


def _pair(value: Any, pointer: str) -> str:
    pair: str = _pair_text(value, pointer)
    left, _, right = pair.partition(":")
    if not (left and right):
        raise wrong(pointer, "must be two words with a colon between them")
    return pair


_text = text(TEXT_MAX)
_PARSERS: dict[str, Parser] = {
    "kind": one_of(*Kind),
    "type": text(TYPE_MAX),
    "key": form(KEY, KEY_FORM, KEY_MAX),
    "business_key": _text,
    "subject": _text,
    "actor": _text,
    "poster": _text,
    "currency": _text,
    "label": _pair,
    "evidence": _pair,
    "cause": _pair,
    "corrects": uuid,
    "recorded_from": moment,
    "recorded_to": moment,
    "occurred_from": moment,
    "occurred_to": moment,
}

# One entry has at most one of the first; nearly all entries may have one of the last.
_NARROWEST_FIRST = (
    "key",
    "business_key",
    "corrects",
    "evidence",
    "cause",
    "subject",
    "label",
    "actor",
    "type",
    "currency",
    "poster",
    "kind",
)
_TERMS = frozenset({"label", "evidence", "cause"})
_HASHED = frozenset({"kind", "type", "poster", "subject", "actor", "currency"})


class Question(NamedTuple):
    """A statement as the driver takes it, and its parameters; some may go unused."""

    statement: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryFilter:
    """
    What an entry must have to be listed; all that is given must hold.

    Values are taken as callers write them and held to their form: times become UTC, ids lower
    case. Ranges are [from, to).

    Raises:
        MalformedEffectError, TooLargeError: A value is one that no entry could have.
    """

    kind: str | None = None
    type: str | None = None
    key: str | None = None
    business_key: str | None = None
    subject: str | None = None
    actor: str | None = None
    """Id of the actor."""
    poster: str | None = None
    currency: str | None = None
    label: str | None = None
    """`key:value`."""
    evidence: str | None = None
    """`system:ref`."""
    cause: str | None = None
    """`kind:ref`."""
    corrects: str | None = None
    """Id of the entry corrected."""
    recorded_from: str | None = None
    recorded_to: str | None = None
    occurred_from: str | None = None
    occurred_to: str | None = None

    def __post_init__(self) -> None:
        for name, parse in _PARSERS.items():
            value = getattr(self, name)
            if value is not None:
                # Frozen for everyone else: this is where the value becomes what it is.
                object.__setattr__(self, name, parse(value, name))

    @property
    def given(self) -> dict[str, str]:
        """The filters there are, by name."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in named.items() if value is not None}


class Listing:
    """One question about one ledger: its cursors and its statements."""

    def __init__(self, ledger: str, filters: EntryFilter, *, descending: bool) -> None:
        self._ledger = ledger
        self._given = filters.given
        self._descending = descending
        words = [name for name in _NARROWEST_FIRST if name in self._given]
        self._walked = words[0] if words else None
        self._checked = words[1:]

    @property
    def is_checked(self) -> bool:
        """Whether an entry that is walked over may be none of the listing."""
        return bool(
            self._checked
            or self._walked in _HASHED
            or self._given.keys() & {"occurred_from", "occurred_to"}
        )

    # ---- Cursors ----------------------------------------------------------------------

    def cursor(self, seq: int) -> str:
        """What leads to the page after entry `seq`; opaque, and of use to this listing only."""
        place = seq.to_bytes(_SEQ_BYTES)
        return base64.urlsafe_b64encode(place + self._check(place)).decode()

    def parse_cursor(self, cursor: str) -> int:
        """
        The seq that `cursor` was given for.

        Raises:
            MalformedEffectError: Another listing gave it, or nobody did.
        """
        if _CURSOR.fullmatch(cursor):
            octets = base64.urlsafe_b64decode(cursor)
            place, check = octets[:_SEQ_BYTES], octets[_SEQ_BYTES:]
            if check == self._check(place):
                return int.from_bytes(place)
        raise wrong(
            "cursor",
            "is not of this listing: send next_cursor back as it came, with the same ledger, "
            "filters and order",
        )

    def _check(self, place: bytes) -> bytes:
        # Not a signature: who forges a cursor begins elsewhere in what they may read anyway.
        question = canonical_bytes(
            {"ledger": self._ledger, "filters": self._given, "descending": self._descending}
        )
        return sha256(_CURSOR_PURPOSE + place + question).digest()[:_CHECK_BYTES]

    # ---- Questions --------------------------------------------------------------------

    @property
    def is_bounded(self) -> bool:
        """Whether the listing begins or ends at a time of recording, see `select_bounds`."""
        return bool(self._given.keys() & {"recorded_from", "recorded_to", "occurred_from"})

    def select_bounds(self) -> Question:
        """
        The seqs where the recorded range and the rest of the ledger begin.

        One row: the first seq that may be listed and the first that may not, each None where no
        entry is that late, or nothing was asked.
        """
        since, until = self._recorded_from(), self._moment("recorded_to")
        return Question(
            _bounds(since is not None, until is not None),
            {"ledger": self._ledger, "since": since, "until": until},
        )

    def range(self, first: int | None, end: int | None) -> tuple[int, int]:
        """The seqs [start, stop) that the answer to `select_bounds` leaves."""
        start = 0 if self._recorded_from() is None else first
        stop = None if self._moment("recorded_to") is None else end
        return (_SEQ_MAX if start is None else start, _SEQ_MAX if stop is None else stop)

    def after(self, seq: int, start: int, stop: int) -> tuple[int, int]:
        """What is left of [start, stop) after the page that ended with `seq`."""
        return (start, min(stop, seq)) if self._descending else (max(start, seq + 1), stop)

    def select_page(self, start: int, stop: int, limit: int) -> Question:
        """Seq and bytes of the first `limit` entries of the listing within [start, stop)."""
        occurred = ("occurred_from" in self._given, "occurred_to" in self._given)
        return Question(
            _page(self._walked, tuple(self._checked), *occurred, self._descending),
            self._parameters(start, stop)
            | {name: self._value(name) for name in self._checked}
            | {name: self._moment(name) for name in ("occurred_from", "occurred_to")}
            | {"candidates": CANDIDATES_MAX if self.is_checked else limit, "page": limit},
        )

    def select_walked(self, start: int, stop: int) -> Question:
        """Where `select_page` ceased to look within [start, stop); no row if it saw all."""
        return Question(
            _walked(self._walked, self._descending),
            self._parameters(start, stop) | {"candidates": CANDIDATES_MAX - 1},
        )

    def _parameters(self, start: int, stop: int) -> dict[str, Any]:
        walked = None if self._walked is None else self._value(self._walked)
        return {"ledger": self._ledger, "start": start, "stop": stop, "walked": walked}

    def _recorded_from(self) -> datetime | None:
        """The latest time before which nothing can be listed."""
        recorded, occurred = self._moment("recorded_from"), self._moment("occurred_from")
        if occurred is None:
            return recorded
        # What was recorded long before the range cannot have occurred in it.
        occurred -= OCCURRED_AHEAD_MAX
        return occurred if recorded is None else max(recorded, occurred)

    def _moment(self, name: str) -> datetime | None:
        return parse_time(self._given[name]) if name in self._given else None

    def _value(self, name: str) -> str:
        value = self._given[name]
        return f"{name}:{value}" if name in _TERMS else value


# ---- Statements ---------------------------------------------------------------------------
# Composed and rendered once for each combination of filters: that takes as long as the answer.


@lru_cache(maxsize=_STATEMENTS_MAX)
def _bounds(since: bool, until: bool) -> str:
    return _rendered(
        select(
            _first_recorded("since") if since else literal_column("null::bigint"),
            _first_recorded("until") if until else literal_column("null::bigint"),
        )
    )


def _first_recorded(moment: str) -> ColumnElement[Any]:
    # Times of recording never decrease with seq: the first in time is the first in seq.
    return (
        select(entries.c.seq)
        .where(entries.c.ledger == bindparam("ledger"), entries.c.recorded_at >= bindparam(moment))
        .order_by(entries.c.recorded_at, entries.c.seq)
        .limit(literal_column("1"))
        .scalar_subquery()
    )


@lru_cache(maxsize=_STATEMENTS_MAX)
def _page(
    walked: str | None,
    checked: tuple[str, ...],
    occurred_from: bool,
    occurred_to: bool,
    descending: bool,
) -> str:
    columns = [entries.c.body, entries.c.occurred_at]
    columns += [entries.c[name] for name in checked if name not in _TERMS]
    if walked in _HASHED:
        columns += [entries.c.ledger, entries.c[walked]]
    walk = _walk(walked, columns, descending).limit(bindparam("candidates")).subquery("walk")
    page = select(walk.c.seq, walk.c.body)
    if walked in _HASHED:
        # Beyond the limit and not beside the hash: the planner would take the three for three
        # independent conditions, expect no row at all, and read and sort the whole ledger.
        page = page.where(
            walk.c.ledger == bindparam("ledger"), walk.c[walked] == bindparam("walked")
        )
    for name in checked:
        if name in _TERMS:
            page = page.join_from(walk, _with_term(walk, name), true())
        else:
            page = page.where(walk.c[name] == bindparam(name))
    if occurred_from:
        page = page.where(walk.c.occurred_at >= bindparam("occurred_from"))
    if occurred_to:
        page = page.where(walk.c.occurred_at < bindparam("occurred_to"))
    return _rendered(page.order_by(_in_order(walk.c.seq, descending)).limit(bindparam("page")))


@lru_cache(maxsize=_STATEMENTS_MAX)
def _walked(walked: str | None, descending: bool) -> str:
    walk = _walk(walked, [], descending)
    return _rendered(walk.offset(bindparam("candidates")).limit(literal_column("1")))


def _walk(name: str | None, columns: Sequence[ColumnElement[Any]], descending: bool) -> Select[Any]:
    """Seqs in the order of an index, with these columns of their entries."""
    if name in _TERMS:
        return _walk_terms(columns, descending)
    seqs = _in_range(select(entries.c.seq, *columns), entries, descending)
    if name in _HASHED:
        hashed = _hash(bindparam("walked"), bindparam("ledger"))
        return seqs.where(_hash(entries.c[name], entries.c.ledger) == hashed)
    seqs = seqs.where(entries.c.ledger == bindparam("ledger"))
    return seqs if name is None else seqs.where(entries.c[name] == bindparam("walked"))


def _walk_terms(columns: Sequence[ColumnElement[Any]], descending: bool) -> Select[Any]:
    seqs = _in_range(select(entry_terms.c.seq), entry_terms, descending).where(
        entry_terms.c.ledger == bindparam("ledger"), entry_terms.c.term == bindparam("walked")
    )
    if not columns:
        return seqs
    # OFFSET 0 keeps it a look-up per entry that was walked over: without it the planner may
    # read and sort the whole ledger where it takes the term for a frequent one.
    entry = (
        select(*columns)
        .where(entries.c.ledger == bindparam("ledger"), entries.c.seq == entry_terms.c.seq)
        .offset(literal_column("0"))
        .lateral("entry")
    )
    return seqs.add_columns(*entry.c).join_from(entry_terms, entry, true())


def _in_range(seqs: Select[Any], table: FromClause, descending: bool) -> Select[Any]:
    return seqs.where(table.c.seq >= bindparam("start"), table.c.seq < bindparam("stop")).order_by(
        _in_order(table.c.seq, descending)
    )


def _hash(value: ColumnElement[Any], ledger: ColumnElement[Any]) -> ColumnElement[int]:
    """What the indexes of migration 0007 hold."""
    return func.hashtextextended(value, func.hashtextextended(ledger, literal_column("0")))


def _with_term(walk: Subquery, name: str) -> Any:
    return (
        select(entry_terms.c.seq)
        .where(
            entry_terms.c.ledger == bindparam("ledger"),
            entry_terms.c.term == bindparam(name),
            entry_terms.c.seq == walk.c.seq,
        )
        .offset(literal_column("0"))
        .lateral(name)
    )


def _in_order(seq: ColumnElement[int], descending: bool) -> ColumnElement[int]:
    return seq.desc() if descending else seq.asc()


def _rendered(statement: Select[Any]) -> str:
    return str(statement.compile(dialect=_DIALECT))
