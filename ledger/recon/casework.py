"""
Casework: what people do about breaks, matches and statements, kept as events and decisions.

Nothing here writes to a ledger: what an approval posts is built here and recorded by the
ordinary way of every entry, and only then is the break closed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from ledger.effect import Rules, build_effect
from ledger.entry import Entry, parse_entry
from ledger.errors import (
    BreakError,
    IdempotencyConflictError,
    MalformedEffectError,
    NotFoundError,
    PossibleRepeatError,
    RejectedError,
)
from ledger.forms.grammar import wrong
from ledger.forms.payload import build_payloads
from ledger.forms.timestamps import format_time
from ledger.reader import EntryFilter, Reader
from ledger.recon.account import build_account
from ledger.recon.breaks import (
    Action,
    BreakState,
    Status,
    check_allowed,
    check_approver,
    fold,
)
from ledger.recon.carrying import carry_forward
from ledger.recon.decisions import Decisions
from ledger.recon.forward import check_untold, draft_entry, draft_explanation
from ledger.recon.shelf import FIRST, BreakFilter, BreakRow, Place, RunRow, Shelf
from ledger.recon.signoffs import statement_digest
from ledger.recon.tying import read_tie
from ledger.submission import Submission

CASE_PREFIX = "recon/break/"
"""What an entry cites as the cause of kind `case`."""
REASON = "recon.explained"
UNTIED_TOLD_MAX = 20
"""Reasons that a refusal names; the statement has them all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Approved:
    """An entry that was approved and is to be recorded."""

    submission: Submission
    resolution: str


class Casework:
    """What is open, and what people make of it. Safe to share between threads."""

    def __init__(self, shelf: Shelf, reader: Reader, decisions: Decisions) -> None:
        self._shelf = shelf
        self._reader = reader
        self._decisions = decisions

    # ---- Reading ----------------------------------------------------------------------

    def breaks(
        self,
        ledger: str,
        *,
        today: date,
        status: str | None = None,
        state: str | None = None,
        owner: str | None = None,
        older_than: int | None = None,
        after: Place = FIRST,
        limit: int,
    ) -> list[tuple[BreakRow, dict[str, Any]]]:
        """
        A page of breaks, each also as JSON, oldest first.

        Args:
            ledger: Its name.
            today: The day to which their age counts.
            status: Which ones; those that are not closed where it is None.
            state: Such as missing_in_ledger.
            owner: Principal they are assigned to.
            older_than: Days; their age is above it.
            after: The page begins after this place.
            limit: Most rows.
        """
        wanted = BreakFilter(
            status=status,
            state=state,
            owner=owner,
            since_before=None if older_than is None else today - timedelta(days=older_than),
        )
        rows = self._shelf.page_of_breaks(ledger, wanted, after=after, limit=limit)
        return [(row, document_of(row, today)) for row in rows]

    def find(self, ledger: str, break_id: str, *, today: date, rules: Rules) -> dict[str, Any]:
        """
        One break with its events and, while it is open, the entry that would close it.

        Args:
            ledger: Its name.
            break_id: Which break.
            today: The day to which its age counts.
            rules: Of the ledger.

        Raises:
            NotFoundError: There is none with this id.
        """
        row = self._row(ledger, break_id)
        document = document_of(row, today)
        document["events"] = [
            {
                "ordinal": event.ordinal,
                "at": format_time(event.at),
                "actor": event.actor,
                "action": event.action.value,
                **{key: value for key, value in event.document.items() if key != "seen"},
            }
            for event in row.events
        ]
        if document["status"] != Status.CLOSED:
            try:
                seen = fold(row.events).seen
                document["draft"] = self._draft(ledger, seen, rules)
            except BreakError as error:
                document["draft"], document["no_draft_because"] = None, error.message
        return document

    # ---- Acting on breaks -------------------------------------------------------------

    def assign(self, ledger: str, break_id: str, *, by: str, to: str) -> None:
        """
        Give a break to somebody.

        Raises:
            NotFoundError, BreakError, PushbackError: As all acts here.
        """
        self._act(ledger, break_id, Action.ASSIGNED, by, {"to": to})

    def propose(
        self,
        ledger: str,
        break_id: str,
        *,
        by: str,
        rules: Rules,
        resolution: str,
        note: str | None = None,
        reason: str = REASON,
        entry: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """
        Propose how a break is closed, and return the entry that would be recorded.

        Args:
            ledger: Its name.
            break_id: Which break.
            by: Principal.
            rules: Of the ledger: the entry is held to them now, not only when it is approved.
            resolution: `entry`, which changes amounts, or `explanation`, which does not.
            note: The words of an explanation.
            reason: Dotted code of an explanation.
            entry: The entry, where another than the drafted one is meant.

        Raises:
            MalformedEffectError: The entry is against the rules, or an explanation has no words.
            BreakError: There is no draft, or the ledger tells it already.
        """
        row = self._row(ledger, break_id)
        found = fold(row.events)
        check_allowed(found, Action.PROPOSED)
        if resolution == "explanation":
            if not note:
                raise MalformedEffectError("/note is required in an explanation", pointer="/note")
            proposed = draft_explanation(found.seen, note, reason)
        else:
            proposed = dict(entry or self._draft(ledger, found.seen, rules))
            if note:
                proposed["note"] = note
        proposed.setdefault("occurred_at", format_time(datetime.now(UTC)))
        if not isinstance(proposed.get("causes", []), list):
            raise wrong("/entry/causes", "must be a list")
        if not isinstance(proposed.get("note", ""), str):
            raise wrong("/entry/note", "must be a string")
        causes = [*proposed.get("causes", ()), {"kind": "case", "ref": CASE_PREFIX + row.id}]
        proposed |= {"key": f"{CASE_PREFIX}{row.id}/{found.events}", "causes": causes}
        build_submission(proposed, rules)
        document = {
            "resolution": resolution,
            "entry": proposed,
            "note": note,
            "drafted": entry is None,
            "seen_at": self._shelf.seen_at(ledger, row.fingerprint),
        }
        check_untold(document, self._reader, ledger)
        self._add(ledger, row, found, Action.PROPOSED, by=by, document=document)
        return proposed

    def reject(self, ledger: str, break_id: str, *, by: str, note: str) -> None:
        """Refuse what was proposed; the break is open again."""
        self._act(ledger, break_id, Action.REJECTED, by, {"note": note})

    def approve(self, ledger: str, break_id: str, *, by: str, rules: Rules) -> Approved:
        """
        Approve what was proposed. The entry is recorded next, and then `close` is told.

        Safe to repeat until the break is closed: the entry has its key.

        Raises:
            BreakError: Also where the same person proposed it, above the threshold, and where
                the ledger told it itself since the run that the proposal goes by.
        """
        row = self._row(ledger, break_id)
        found = fold(row.events)
        check_allowed(found, Action.APPROVED)
        check_approver(found, by, self._threshold(ledger))
        assert found.proposal is not None, "what is proposed has a proposal"
        submission = build_submission(found.proposal["entry"], rules)
        check_untold(found.proposal, self._reader, ledger)
        if found.status is not Status.APPROVED:
            self._add(ledger, row, found, Action.APPROVED, by=by, document={})
        return Approved(submission=submission, resolution=found.proposal["resolution"])

    def refuse(
        self, ledger: str, break_id: str, *, by: str, approved: Approved, error: RejectedError
    ) -> Entry:
        """
        Say what it means that the ledger did not take an entry that was approved.

        Where the break's own key is taken, somebody else's approval recorded it: the entry, which
        `close` is told. Otherwise nothing is recorded, and the break is open again.

        Raises:
            BreakError: Another entry tells this already: of two breaks about one movement that
                were approved at once, or of two runs. It is named.
            RejectedError: Any other reason why it was not taken.
        """
        if isinstance(error, IdempotencyConflictError):
            page = self._reader.page(ledger, EntryFilter(key=approved.submission.effect.key))
            entry = parse_entry(page.entries[0].encoded)
            assert isinstance(entry, Entry), "keys of breaks are given to effects alone"
            return entry
        told_by = error.details.get("id") if isinstance(error, PossibleRepeatError) else None
        row = self._row(ledger, break_id)
        found = fold(row.events)
        if found.status is Status.APPROVED:
            document = {"note": error.message, "told_by": told_by}
            self._add(ledger, row, found, Action.REJECTED, by=by, document=document)
        if told_by is None:
            raise error
        raise BreakError(
            f"{told_by} tells this already, and this break is open again: run the reconciliation "
            "again; where both happened, propose an `entry` that names it in `repeat_of`",
            entry=told_by,
            seq=error.details.get("seq"),
        ) from error

    def close(
        self, ledger: str, break_id: str, *, by: str, approved: Approved, entry: Entry
    ) -> None:
        """Close a break by the entry that was recorded for it."""
        row = self._row(ledger, break_id)
        found = fold(row.events)
        if found.status is Status.CLOSED:
            return
        document = {"by": approved.resolution, "entry": entry.id, "seq": entry.seq}
        self._add(ledger, row, found, Action.CLOSED, by=by, document=document)

    def carry_forward(self, ledger: str, *, by: str) -> int:
        """Say of every open break of a closed period that it goes on in the next; how many."""
        return carry_forward(self._shelf, self._reader, ledger, by=by)

    # ---- Matches and statements -------------------------------------------------------

    def put_together(self, ledger: str, items: Sequence[str], *, by: str, note: str) -> str:
        """Decide that items belong together, from the next run on; the decision's id."""
        said = {"items": sorted(set(items)), "note": note}
        return self._decisions.decide(ledger, "match", said, by=by)

    def take_apart(self, ledger: str, run_id: str, match: str, *, by: str, reason: str) -> str:
        """
        Decide that the items of one match do not belong together; no other match is touched.

        Raises:
            NotFoundError: The run has no such match.
        """
        for _, _, _, document in self._shelf.all_standings(ledger, run_id):
            if document["match"] is not None and document["match"]["id"] == match:
                items = sorted(item["key"] for item in document["items"])
                said = {"items": items, "note": reason, "run": run_id, "match": match}
                return self._decisions.decide(ledger, "unmatch", said, by=by)
        raise NotFoundError(f"run {run_id[:63]} has no match {match[:63]}", ledger=ledger)

    def sign_off(
        self, ledger: str, run: RunRow, *, by: str, note: str | None, untied: bool = False
    ) -> dict[str, Any]:
        """
        Sign the statement of a run, which is prepared by whoever started it.

        Args:
            ledger: Its name.
            run: The run.
            by: Principal.
            note: Words of the reviewer.
            untied: Sign it also where it is not tied; what stood in the way is signed with it.

        Raises:
            BreakError: The same person prepared it, it does not prove to zero, or it is not tied
                and `untied` was not said.
        """
        if run.started_by == by:
            raise BreakError(f"{by} prepared this statement: another person signs it", preparer=by)
        if run.output["unexplained"]:
            raise BreakError("the statement does not prove to zero", left=run.output["unexplained"])
        because = read_tie(self._shelf, ledger, run).untied_because
        if because and not untied:
            raise BreakError(
                f"the statement is not tied: {'; '.join(because)[:500]}; to sign it all the same, "
                "say `untied`",
                untied_because=list(because[:UNTIED_TOLD_MAX]),
            )
        document: dict[str, Any] = {
            "run": run.id,
            "period": run.input["period"],
            "statement_digest": statement_digest(run),
            "output_digest": run.output_digest,
            "preparer": run.started_by,
            "reviewer": by,
            "note": note,
            "checkpoint": {"size": run.input["size"], "root": run.input["root"]},
        }
        if because:
            document["untied_because"] = list(because)
        decision = self._decisions.decide(ledger, "signoff", document, by=by)
        return {"id": decision, **document}

    # ---- Parts ------------------------------------------------------------------------

    def _draft(self, ledger: str, seen: Mapping[str, Any], rules: Rules) -> dict[str, Any]:
        """The entry that would close a break, unless an intent becomes that entry."""
        keys = {item["key"] for item in seen["items"]}
        newest = self._shelf.newest_run(ledger)
        run = None if newest is None else self._shelf.run(ledger, newest)
        for intent in () if run is None else run.output.get("intents", ()):
            if keys & set(intent["lines"]):
                raise BreakError(
                    f"this may be what became of intent {intent['intent']}, which would record it "
                    "once more: conclude that first (`effect-ledger recon conclude`), and run the "
                    "reconciliation again",
                    intent=intent["intent"],
                )
        return draft_entry(seen, self._reader, ledger, rules)

    def _act(
        self, ledger: str, break_id: str, action: Action, by: str, document: Mapping[str, Any]
    ) -> None:
        row = self._row(ledger, break_id)
        found = fold(row.events)
        check_allowed(found, action)
        self._add(ledger, row, found, action, by=by, document=document)

    def _add(
        self,
        ledger: str,
        row: BreakRow,
        found: BreakState,
        action: Action,
        *,
        by: str,
        document: Mapping[str, Any],
    ) -> None:
        self._shelf.add_event(
            ledger, row.id, ordinal=found.events, by=by, action=action, document=document
        )

    def _row(self, ledger: str, break_id: str) -> BreakRow:
        found = self._shelf.breaks(ledger, break_id)
        if not found:
            raise NotFoundError(f"ledger {ledger} has no break {break_id[:63]}", ledger=ledger)
        return found[0]

    def _threshold(self, ledger: str) -> dict[str, int]:
        """The smallest threshold of all sources: the strictest of them counts."""
        found: dict[str, int] = {}
        for row in self._shelf.sources(ledger):
            for currency, above in build_account(row.document).approval_above.items():
                found[currency] = min(above, found.get(currency, above))
        return found


def build_submission(proposed: Mapping[str, Any], rules: Rules) -> Submission:
    """
    An entry as it is proposed, held to the rules.

    Raises:
        RejectedError: A rule that needs no history is broken.
    """
    words = {key: value for key, value in proposed.items() if key != "note"}
    note = proposed.get("note")
    return Submission(
        effect=build_effect(words, rules=rules, now=datetime.now(UTC)),
        payloads=build_payloads((), note=note, screen=rules.screen) if note else (),
    )


def document_of(row: BreakRow, today: date) -> dict[str, Any]:
    """A break as JSON, without its events."""
    found = fold(row.events)
    age = today - date.fromisoformat(found.seen["age_basis"])
    return {
        "id": row.id,
        "fingerprint": row.fingerprint,
        "status": found.status.value,
        **found.seen,
        "age_days": max(0, age.days),
        "owner": found.owner,
        "proposal": found.proposal,
        "proposer": found.proposer,
        "closed_by": found.closed_by,
        "carried_forward": list(found.carried_into),
        "opened_at": format_time(row.events[0].at),
    }
