"""
Reconciler: a reconciliation over pinned inputs, kept with its result, and what it means for breaks.

A run is pinned to a signed checkpoint of the ledger and to the imports that count; the same
again has the same digests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from uuid import uuid4

from ledger.checkpoint import parse_checkpoint
from ledger.dialog.intents import PAGE_MAX, IntentLine, Intents
from ledger.errors import NotFoundError
from ledger.note import parse_note
from ledger.period import build_period
from ledger.reader import Reader
from ledger.recon.account import Account, build_account, joined_rules
from ledger.recon.carrying import brought_forward, carry_forward
from ledger.recon.closing_times import measure_closing
from ledger.recon.imports import counting_imports, statements_of, waiting_imports
from ledger.recon.ledger_side import read_ledger
from ledger.recon.matching import ENGINE_VERSION, Decision, Item, Side
from ledger.recon.outcomes import record_outcome
from ledger.recon.reconciliation import reconcile
from ledger.recon.report import (
    StandingDocuments,
    measure,
    proof_documents,
    suggestion_documents,
)
from ledger.recon.scoping import coverage_of, providers_of, zones_of
from ledger.recon.sharing import Shared
from ledger.recon.shelf import DecisionRow, ImportRow, RunRow, Shelf
from ledger.recon.statement_side import LineFold
from ledger.recon.states import BREAKS, Scope, State
from ledger.recon.unknowns import conclude, covering_files, reasons_of

Tell = Callable[[str, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a run is to compare. All of it is kept with the result."""

    period: str
    today: date
    sources: tuple[str, ...]
    """Names; empty takes all of the ledger's."""
    by: str


class Reconciler:
    """Reconciles the ledgers of one database. Safe to share between threads."""

    def __init__(self, shelf: Shelf, reader: Reader, intents: Intents) -> None:
        self._shelf = shelf
        self._reader = reader
        self._intents = intents

    def check(self, ledger: str, asked: Asked) -> None:
        """
        Check that what is asked can be compared.

        Raises:
            NotFoundError: A source is not there, or the ledger has no signed checkpoint yet.
            PeriodError, MalformedEffectError: The period's name is none of the calendar.
        """
        self._accounts(ledger, asked.sources)
        period_days(asked.period)

    def size(self, ledger: str, asked: Asked) -> int:
        """How many lines and entries a run would read."""
        counting = counting_imports(self._shelf, ledger, asked.sources or None)
        return sum(row.lines for row in counting) + self._pin(ledger)[0]

    def run(self, ledger: str, asked: Asked, tell: Tell, run_id: str | None = None) -> RunRow:
        """
        Reconcile, keep the result, and tell the breaks.

        Raises:
            NotFoundError: As `check`.
        """
        started_at = datetime.now(UTC)
        accounts = self._accounts(ledger, asked.sources)
        names = [account.source.name for account, _ in accounts]
        # Before the ledger is pinned: what becomes an entry meanwhile is told by one of the two.
        waiting_intents = self._open_intents(ledger)
        size, root = self._pin(ledger)
        counting = counting_imports(self._shelf, ledger, names)
        decisions = self._shelf.decisions(ledger)

        first, last = period_days(asked.period)
        shared = Shared()
        lines, restated = self._lines(
            ledger, [each for each, _ in accounts], counting, shared, tell
        )
        told = read_ledger(
            self._reader,
            ledger,
            size,
            zones_of([each for each, _ in accounts]),
            shared=shared,
            tell=lambda done: tell("entries of the ledger", done),
        )
        del shared
        scope = Scope(
            today=asked.today,
            period_from=first,
            period_to=last,
            coverage=coverage_of(statements_of(counting)),
            providers=providers_of([each for each, _ in accounts]),
            banks=tuple(sorted(each.source.name for each, _ in accounts if each.side is Side.BANK)),
            restated=frozenset(restated),
            left_out=self._left_out(ledger, names),
        )
        rules = joined_rules([each for each, _ in accounts])
        found = reconcile([*told.items, *lines], rules, scope, decision_of(decisions), tell=tell)
        concluded = conclude(
            waiting_intents,
            lines,
            found.matching,
            rules,
            scope,
            zones=zones_of([each for each, _ in accounts]),
            files=covering_files(counting, [each for each, _ in accounts]),
            now=datetime.now(UTC),
        )

        waiting = [row.id for row in waiting_imports(self._shelf, ledger, names, (first, last))]
        standings = StandingDocuments(found, scope)
        known = self._shelf.breaks(ledger)
        row = RunRow(
            id=run_id or str(uuid4()),
            input={
                "period": asked.period,
                "period_from": first.isoformat(),
                "period_to": last.isoformat(),
                "today": asked.today.isoformat(),
                "sources": {each.source.name: version for each, version in accounts},
                "banks": list(scope.banks),
                "imports": [each.id for each in counting],
                "quarantined": waiting,
                "decisions": [each.id for each in decisions],
                "ledger": ledger,
                "size": size,
                "root": root,
                "rules": rules.to_document(),
                "engine": ENGINE_VERSION,
            },
            input_digest=found.input_digest,
            output={
                "statement": proof_documents(found.proofs),
                "measures": measure(found, scope, told.unnamed)
                | {"time_to_close": measure_closing(known)},
                "brought_forward": brought_forward(
                    known, standings.named({each.fingerprint for each in known}), scope
                ),
                "suggestions": suggestion_documents(found.matching.links),
                "standings": len(standings),
                "intents": [each.document for each in concluded],
                "reasons": [
                    *_reasons(found.matching.unasked_sums, standings, waiting, (first, last)),
                    *reasons_of(concluded),
                ],
                "unexplained": [
                    f"{proof.currency} {proof.heading.value}: {proof.unexplained}"
                    for proof in found.proofs
                    if proof.unexplained
                ],
            },
            output_digest=found.output_digest,
            started_at=started_at,
            started_by=asked.by,
        )
        self._shelf.add_run(ledger, row, standings, lambda done: tell("standings kept", done))
        record_outcome(self._shelf, ledger, row, standings.of(*BREAKS), found.standings)
        # What it found of periods that are closed already is carried like all the rest.
        carry_forward(self._shelf, self._reader, ledger, by=asked.by)
        return self._shelf.run(ledger, row.id)

    # ---- Parts ------------------------------------------------------------------------

    def _accounts(self, ledger: str, names: Sequence[str]) -> list[tuple[Account, int]]:
        rows = {row.name: row for row in self._shelf.sources(ledger)}
        for name in names:
            if name not in rows:
                raise NotFoundError(f"ledger {ledger} has no source {name[:63]}", ledger=ledger)
        if not rows:
            raise NotFoundError(f"ledger {ledger} has no sources: save one first", ledger=ledger)
        return [
            (build_account(rows[name].document), rows[name].version)
            for name in sorted(names or rows)
        ]

    def _left_out(self, ledger: str, names: Sequence[str]) -> tuple[str, ...]:
        return tuple(sorted({row.name for row in self._shelf.sources(ledger)} - set(names)))

    def _pin(self, ledger: str) -> tuple[int, str]:
        checkpoint = parse_checkpoint(parse_note(self._reader.checkpoint(ledger)).text)
        return checkpoint.size, checkpoint.root.hex()

    def _lines(
        self,
        ledger: str,
        accounts: Sequence[Account],
        counting: Sequence[ImportRow],
        shared: Shared,
        tell: Tell,
    ) -> tuple[list[Item], set[str]]:
        """Each line once, as the first file has it; and those that another file has otherwise."""
        by_name = {account.source.name: account for account in accounts}
        fold = LineFold(shared)
        read = 0
        for row in counting:
            for _, name, said, document in self._shelf.lines(ledger, row.id):
                fold.add(name, said, document, by_name[row.source])
                read += 1
            tell("lines of statements", read)
        return fold.items, fold.restated

    def _open_intents(self, ledger: str) -> list[IntentLine]:
        found: list[IntentLine] = []
        cursor: str | None = None
        while True:
            page, cursor = self._intents.page(
                ledger, {"state": "open"}, limit=PAGE_MAX, cursor=cursor
            )
            found += page
            if cursor is None:
                return found


def period_days(name: str) -> tuple[date, date]:
    """
    First and last day of a period of the calendar: a year, quarter, month or day.

    Raises:
        PeriodError, MalformedEffectError: It is none.
    """
    period = build_period(name, "UTC")
    first = datetime.fromisoformat(period.from_at).date()
    return first, datetime.fromisoformat(period.to_at).date() - timedelta(days=1)


def decision_of(decisions: Sequence[DecisionRow]) -> Decision:
    """What people put together and took apart, the later word over the earlier."""
    together: dict[frozenset[str], bool] = {}
    for row in decisions:
        if row.act in {"match", "unmatch"}:
            together[frozenset(row.document["items"])] = row.act == "match"
    return Decision(
        together=tuple(keys for keys, is_match in together.items() if is_match),
        apart=frozenset(keys for keys, is_match in together.items() if not is_match),
    )


def _reasons(
    unasked: int,
    standings: StandingDocuments,
    waiting: Sequence[str],
    period: tuple[date, date],
) -> list[str]:
    """Why what is told is not the whole truth, for the foot of the statement."""
    first, last = period
    uncovered = sum(
        first.isoformat() <= document["age_basis"] <= last.isoformat()
        for state, _, document in standings.of(State.NOT_YET_COVERED)
    )
    found = []
    if waiting:
        files = (
            "1 quarantined file counts"
            if len(waiting) == 1
            else f"{len(waiting)} quarantined files count"
        )
        found.append(
            f"{files} for nothing until a reviewer overrides or discards: {', '.join(waiting)}"
        )
    if uncovered:
        found.append(f"{uncovered} movements fall on days that no complete file covers")
    if unasked:
        found.append(f"{unasked} sets were too large to look for sums in")
    return found
