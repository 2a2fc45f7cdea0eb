"""Decisions: what people decided about files, matches and statements."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from ledger.recon.shelf.rows import Rows

SELECT_DECISIONS = """
select id::text, made_at, made_by, act, document from recon_decisions
where ledger = %s order by made_at, id
"""
# Only those that history tells of: the notice of a decision comes before its row.
SELECT_SIGNOFFS = """
select d.id::text, d.document, e.body
from recon_decisions d
join entries e on e.ledger = d.ledger and e.key = '_recon.decided/' || d.id::text
where d.ledger = %s and d.act = 'signoff' order by e.seq
"""
# The later word counts.
_RULINGS = """
select distinct on (document->>'import') id::text, made_at, made_by, act, document
from recon_decisions where ledger = %s and act in ('override', 'discard')
"""
_NEWEST = "order by document->>'import', made_at desc, id desc"
SELECT_RULINGS = f"{_RULINGS} {_NEWEST}"
SELECT_RULINGS_ON = f"{_RULINGS} and document->>'import' = any(%s) {_NEWEST}"
INSERT_DECISION = """
insert into recon_decisions (ledger, id, made_by, act, document) values (%s, %s, %s, %s, %s)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRow:
    """What somebody decided."""

    id: str
    made_at: datetime
    made_by: str
    act: str
    document: Mapping[str, Any]


class DecisionRows(Rows):
    """The rows of decisions."""

    def decisions(self, ledger: str) -> list[DecisionRow]:
        """All decisions, oldest first."""
        return [_row(row) for row in self._rows(SELECT_DECISIONS, (ledger,))]

    def rulings(self, ledger: str, imports: Iterable[str] | None = None) -> dict[str, DecisionRow]:
        """
        What was decided last about quarantined files: all, or these.

        Returns:
            Id of the import -> `override`, by which it counts, or `discard`.
        """
        if imports is None:
            rows = self._rows(SELECT_RULINGS, (ledger,))
        else:
            rows = self._rows(SELECT_RULINGS_ON, (ledger, list(imports)))
        return {row.document["import"]: row for row in map(_row, rows)}

    def add_decision(
        self, ledger: str, decision_id: str, by: str, act: str, document: Mapping[str, Any]
    ) -> None:
        """Keep a decision."""
        self._write(INSERT_DECISION, (ledger, decision_id, by, act, Jsonb(document)))

    def signoffs(self, ledger: str) -> list[tuple[str, Mapping[str, Any], bytes]]:
        """(id, document, bytes of its notice) of sign-offs, as history has them in order."""
        return [
            (id_, document, bytes(body))
            for id_, document, body in self._rows(SELECT_SIGNOFFS, (ledger,))
        ]


def _row(row: Sequence[Any]) -> DecisionRow:
    id_, at, by, act, document = row
    return DecisionRow(id=id_, made_at=at, made_by=by, act=act, document=document)
