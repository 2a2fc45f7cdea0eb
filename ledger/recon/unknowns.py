"""
Unknowns: intents of unknown outcome, held against what providers and banks say.

A line with the intent's own reference, amount and currency says that it happened. Files that are
complete for every day on which it could have, of each source that would tell of it, and have no
line that could be it under whatever reference, say that it did not. Anything less says nothing, and
a person asks. Pure: what is concluded here is only proposed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any

from ledger.dialog.intents import IntentLine
from ledger.forms.timestamps import format_time
from ledger.intent import Outcome
from ledger.recon.account import Account
from ledger.recon.forward import evidence_of
from ledger.recon.imports import statements_of
from ledger.recon.intent_side import Sought
from ledger.recon.ledger_side import PROVIDER_LABEL
from ledger.recon.matching import Item, Matching, Rules, Side, Strength, Verdict
from ledger.recon.matching.references import normalised
from ledger.recon.report import item_document
from ledger.recon.shelf import ImportRow
from ledger.recon.statement_side import spans_of
from ledger.recon.states import Scope

FILES_MAX = 15
"""Files that are cited for what is in none of them; an entry has room for little more."""
LINES_MAX = 15
"""Lines that are told of one intent where none of them says that it is its."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CoveringFile:
    """A complete file that counts in a run."""

    source: str
    provider: str
    import_id: str
    sha256: str
    currency: str
    first: date
    last: date
    """Inclusive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conclusion:
    """What statements say became of one intent."""

    intent: IntentLine
    outcome: Outcome | None = None
    """None where they say too little; `reason` tells what is missing."""
    reason: str
    evidence: tuple[Mapping[str, str], ...] = ()
    occurred_at: str | None = None
    lines: tuple[Item, ...] = ()
    """Lines that may be of it: one where it happened."""

    @property
    def document(self) -> dict[str, Any]:
        """As JSON, with the words that `intents/{id}/evidence` takes, where there are any."""
        content = self.intent.content
        said = {
            "outcome": None if self.outcome is None else self.outcome.value,
            "evidence": list(self.evidence),
            "occurred_at": self.occurred_at,
        }
        return {
            "intent": self.intent.id,
            "key": self.intent.key,
            "type": content["type"],
            "subject": content.get("subject"),
            "business_key": content.get("business_key"),
            "money": content.get("money"),
            "promised_at": format_time(self.intent.promised_at),
            "promised_by": self.intent.promised_by,
            "reason": self.reason,
            "lines": [line.key for line in self.lines],
            "conclusion": None
            if self.outcome is None
            else {name: value for name, value in said.items() if value},
        }


def conclude(
    intents: Iterable[IntentLine],
    items: Iterable[Item],
    matching: Matching,
    rules: Rules,
    scope: Scope,
    *,
    zones: Mapping[str, str],
    files: Sequence[CoveringFile],
    now: datetime,
) -> list[Conclusion]:
    """
    What became of each intent of unknown outcome, as far as statements say it.

    Those that happened, so far as somebody said, and wait for their hand-off past their time are
    among them: they are to become history too.

    Args:
        intents: All that are open: a line that may be another's says nothing of an unknown one.
        items: Lines of statements; movements of the ledger among them are passed over.
        matching: What these came to, so that a line the ledger tells already is not told twice.
        rules: Windows.
        scope: The day of the question, providers, and what files cover.
        zones: Provider -> the zone in which its report counts days.
        files: Files that are complete for some days.
        now: Wall clock; nothing occurred later.
    """
    lines = _Lines((item for item in items if item.side is not Side.LEDGER), matching)
    sought = [Sought(intent, rules, scope, zones) for intent in intents]
    claims = Counter(line.key for each in sought for line in lines.of(each))
    said = _Said(lines=lines, claims=claims, scope=scope, files=files, now=now)
    return [said.of(each) for each in sought if each.is_overdue]


def covering_files(rows: Sequence[ImportRow], accounts: Sequence[Account]) -> list[CoveringFile]:
    """What each import that counts is complete for."""
    providers = {account.source.name: account.source.provider for account in accounts}
    return [
        CoveringFile(
            source=row.source,
            provider=providers[row.source],
            import_id=row.id,
            sha256=row.sha256,
            currency=span.currency,
            first=span.first,
            last=span.last,
        )
        for row in rows
        for span in spans_of(statements_of([row]))
    ]


def reasons_of(concluded: Sequence[Conclusion]) -> list[str]:
    """What unknown outcomes leave untold, for the foot of a statement."""
    happened = sum(each.outcome is Outcome.EXECUTED for each in concluded)
    found = []
    if happened:
        found.append(f"{happened} effects happened and are not history: conclude their intents")
    if len(concluded) > happened:
        found.append(f"the outcome of {len(concluded) - happened} more intents is unknown")
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """What statements say, and how far it goes."""

    lines: _Lines
    claims: Counter[str]
    """Key of a line -> how many open intents it may be of."""
    scope: Scope
    files: Sequence[CoveringFile]
    now: datetime

    def of(self, sought: Sought) -> Conclusion:
        """What they say of one intent."""
        if sought.amount is None:
            return Conclusion(
                intent=sought.intent, reason="it moves no money: no statement tells of it"
            )
        found = self.lines.of(sought)
        if sought.intent.outcome == Outcome.EXECUTED:
            return Conclusion(
                intent=sought.intent,
                outcome=Outcome.EXECUTED,
                reason="it happened, as was said, and waits for its hand-off",
                lines=tuple(found),
            )
        doubt, lines = self._doubt(sought, found)
        if doubt is not None:
            return Conclusion(intent=sought.intent, reason=doubt, lines=lines)
        return self._happened(sought, found[0]) if found else self._not_there(sought)

    def _happened(self, sought: Sought, line: Item) -> Conclusion:
        return Conclusion(
            intent=sought.intent,
            outcome=Outcome.EXECUTED,
            reason=f"line {line.id} of {line.account} has its reference {line.merchant_ref} "
            "and amount",
            evidence=tuple(evidence_of(item_document(line))),
            occurred_at=_occurred_at(line, sought.intent, self.now),
            lines=(line,),
        )

    def _not_there(self, sought: Sought) -> Conclusion:
        sources = sought.sources(self.scope)
        cited = [
            file
            for file in self.files
            if file.source in sources
            and file.currency == sought.currency
            and file.first <= sought.until
            and file.last >= sought.promised
        ]
        missing = self._missing(sought, sources, cited)
        if missing is not None:
            return Conclusion(intent=sought.intent, reason=missing)
        return Conclusion(
            intent=sought.intent,
            outcome=Outcome.NOT_EXECUTED,
            reason=f"nothing of it in complete files from {sought.promised} to {sought.until}",
            evidence=tuple(
                {
                    "system": file.provider,
                    "rel": "result",
                    "ref": f"recon/import/{file.import_id}",
                    "digest": file.sha256,
                }
                for file in sorted(
                    cited, key=lambda each: (each.source, each.first, each.import_id)
                )
            ),
        )

    def _doubt(self, sought: Sought, found: Sequence[Item]) -> tuple[str | None, tuple[Item, ...]]:
        """Why lines that may be of an intent prove nothing, and which they are."""
        if len(found) > 1:
            says = f"{len(found)} lines have its reference: it may have happened more than once"
            return says, tuple(found)
        for line in found:
            if line.key in self.lines.told:
                return f"the ledger tells line {line.id} already, by another entry", ()
            if self.claims[line.key] > 1:
                says = f"line {line.id} may be that of any of {self.claims[line.key]} open intents"
                return says, (line,)
        alike = [] if found else self.lines.alike(sought, self.claims)
        if alike:
            return _why_alike(alike[0], sought), tuple(alike[:LINES_MAX])
        return None, ()

    def _missing(
        self, sought: Sought, sources: Sequence[str], cited: Sequence[CoveringFile]
    ) -> str | None:
        """Why that nothing is there does not yet mean that nothing happened."""
        if self.scope.today <= sought.until:
            return f"no line yet; expected until {sought.until}"
        if self.scope.left_out:
            return f"the run leaves out source {self.scope.left_out[0]}: run it with all of them"
        if not sources:
            return self._nowhere(sought)
        for source in sources:
            gap = self.scope.coverage.first_gap(
                source, sought.currency, sought.promised, sought.until
            )
            if gap is not None:
                return f"no complete file of {source} covers {gap} in {sought.currency}"
        if len(cited) > FILES_MAX:
            return f"{len(cited)} files have nothing of it, more than can be cited"
        return None

    def _nowhere(self, sought: Sought) -> str:
        if sought.provider_said is None and self.scope.providers:
            several = ", ".join(self.scope.providers)
            return f"its promise has no label `{PROVIDER_LABEL}`: it may be any of {several}"
        return "no source tells of its provider"


class _Lines:
    """Lines of statements, by what intents have in common with them."""

    def __init__(self, lines: Iterable[Item], matching: Matching) -> None:
        with_entries = [
            link
            for link in matching.links
            if link.strength is not Strength.SUGGESTED and link.side(Side.LEDGER)
        ]
        self.told = frozenset(key for link in with_entries for key in link.keys)
        """Keys of lines that an entry may answer to."""
        self._settled = frozenset(
            key
            for link in with_entries
            if link.strength is Strength.MANUAL or link.verdict not in _UNSETTLED
            for key in link.keys
        )
        """Keys of lines that an entry answers to, and that nothing else can be told by."""
        self._by_ref: dict[str, list[Item]] = defaultdict(list)
        self._by_money: dict[tuple[str | None, int | None], list[Item]] = defaultdict(list)
        for line in lines:
            if line.merchant_ref:
                self._by_ref[normalised(line.merchant_ref)].append(line)
            if line.key not in self._settled:
                for money in dict.fromkeys([(line.currency, line.amount), _as_customer(line)]):
                    self._by_money[money].append(line)

    def of(self, sought: Sought) -> list[Item]:
        """Lines with its amount and the most exact of its names that any such line has."""
        for name in sought.names:
            found = [
                line
                for line in self._by_ref.get(name, ())
                if line.amount == sought.amount and sought.fits(line)
            ]
            if found:
                return _ordered(found)
        return []

    def alike(self, sought: Sought, claims: Counter[str]) -> list[Item]:
        """
        Lines that may be of an intent although they do not say so, in order.

        They have a name of it or its amount, a day on which it is possible, no entry that
        answers to them for certain, and no other intent whose reference and amount they have.
        """
        named = [line for name in sought.names for line in self._by_ref.get(name, ())]
        of_amount = self._by_money.get((sought.currency, sought.amount), ())
        found = {
            line.key: line
            for line in (*named, *of_amount)
            if line.key not in self._settled and not claims[line.key] and sought.may_be(line)
        }
        return _ordered(found.values())


_UNSETTLED = frozenset(
    {
        Verdict.AMBIGUOUS,
        Verdict.AMOUNT_DIFFERS,
        Verdict.CURRENCY_DIFFERS,
        Verdict.DUPLICATE,
    }
)
"""What leaves open whether a line is the entry's, or whether it is that of one more."""


def _as_customer(line: Item) -> tuple[str | None, int | None]:
    return line.customer_currency, line.customer_amount


def _ordered(lines: Iterable[Item]) -> list[Item]:
    return sorted(lines, key=lambda line: (line.day, line.key))


def _why_alike(line: Item, sought: Sought) -> str:
    says = f"line {line.id} of {line.account} has its"
    if (line.currency, line.amount) != (sought.currency, sought.amount):
        shared = "reference" if sought.is_named_by(line) else "amount as the customer saw it"
        return f"{says} {shared} and another amount"
    if sought.is_named_by(line):
        return f"{says} reference and amount, and is of another kind"
    whose = f"the reference {line.merchant_ref}, which is no intent's"
    return f"{says} amount and {whose if line.merchant_ref else 'no reference'}"


def _occurred_at(line: Item, intent: IntentLine, now: datetime) -> str:
    """Noon of the line's day, but not before the promise and not later than now."""
    noon = datetime.combine(line.day, time(12), UTC)
    return format_time(min(max(noon, intent.promised_at), now))
