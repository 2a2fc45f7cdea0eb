"""
Unknowns: intents of unknown outcome, held against what providers and banks say.

A line with the intent's own reference, amount and currency says that it happened; files that
are complete for every day on which it could have, and have nothing of the kind, say that it did
not. Anything less says nothing, and a person asks. Pure: what is concluded here is only proposed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from ledger.dialog.intents import IntentLine
from ledger.effect import Kind
from ledger.forms.money import minor_units
from ledger.forms.timestamps import format_time
from ledger.intent import Outcome, State
from ledger.recon.account import Account
from ledger.recon.forward import evidence_of
from ledger.recon.imports import statements_of
from ledger.recon.ledger_side import PROVIDER_LABEL, REFERENCE_LABEL
from ledger.recon.matching import Item, Matching, Rules, Side, Strength
from ledger.recon.matching.identifiers import UNNAMED, family
from ledger.recon.matching.references import normalised
from ledger.recon.matching.rules import business_days_after
from ledger.recon.report import item_document
from ledger.recon.shelf import ImportRow
from ledger.recon.statement import LineKind
from ledger.recon.statement_side import spans_of
from ledger.recon.states import Scope

FILES_MAX = 15
"""Files that are cited for what is in none of them; an entry has room for little more."""


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
    asked = [_Asked(intent, rules, scope, zones) for intent in intents]
    claims = Counter(line.key for each in asked for line in lines.of(each))
    said = _Said(lines=lines, claims=claims, scope=scope, files=files, now=now)
    return [said.of(each) for each in asked if each.is_overdue]


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
    claims: Mapping[str, int]
    """Key of a line -> how many open intents it may be of."""
    scope: Scope
    files: Sequence[CoveringFile]
    now: datetime

    def of(self, asked: _Asked) -> Conclusion:
        """What they say of one intent."""
        if asked.amount is None:
            return Conclusion(
                intent=asked.intent, reason="it moves no money: no statement tells of it"
            )
        found = self.lines.of(asked)
        if asked.intent.outcome == Outcome.EXECUTED:
            return Conclusion(
                intent=asked.intent,
                outcome=Outcome.EXECUTED,
                reason="it happened, as was said, and waits for its hand-off",
                lines=tuple(found),
            )
        doubt, lines = self._doubt(asked, found)
        if doubt is not None:
            return Conclusion(intent=asked.intent, reason=doubt, lines=lines)
        return self._happened(asked, found[0]) if found else self._not_there(asked)

    def _happened(self, asked: _Asked, line: Item) -> Conclusion:
        return Conclusion(
            intent=asked.intent,
            outcome=Outcome.EXECUTED,
            reason=f"line {line.id} of {line.account} has its reference {line.merchant_ref} "
            "and amount",
            evidence=tuple(evidence_of(item_document(line))),
            occurred_at=_occurred_at(line, asked.intent, self.now),
            lines=(line,),
        )

    def _not_there(self, asked: _Asked) -> Conclusion:
        sources = asked.sources(self.scope)
        cited = [
            file
            for file in self.files
            if file.source in sources
            and file.currency == asked.currency
            and file.first <= asked.until
            and file.last >= asked.promised
        ]
        missing = self._missing(asked, sources, cited)
        if missing is not None:
            return Conclusion(intent=asked.intent, reason=missing)
        return Conclusion(
            intent=asked.intent,
            outcome=Outcome.NOT_EXECUTED,
            reason=f"nothing of it in complete files from {asked.promised} to {asked.until}",
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

    def _doubt(self, asked: _Asked, found: Sequence[Item]) -> tuple[str | None, tuple[Item, ...]]:
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
        other = None if found else self.lines.with_another_amount(asked)
        if other is not None:
            return f"line {other.id} has its reference and another amount", (other,)
        alike = None if found else self.lines.nameless_like(asked)
        if alike is not None:
            says = f"line {alike.id} of {alike.account} has its amount and nobody's reference"
            return says, (alike,)
        return None, ()

    def _missing(
        self, asked: _Asked, sources: Sequence[str], cited: Sequence[CoveringFile]
    ) -> str | None:
        """Why that nothing is there does not yet mean that nothing happened."""
        if self.scope.today <= asked.until:
            return f"no line yet; expected until {asked.until}"
        if not sources:
            return "no source tells of its provider"
        for source in sources:
            gap = self.scope.coverage.first_gap(source, asked.currency, asked.promised, asked.until)
            if gap is not None:
                return f"no complete file of {source} covers {gap} in {asked.currency}"
        if len(cited) > FILES_MAX:
            return f"{len(cited)} files have nothing of it, more than can be cited"
        return None


class _Asked:
    """An intent in the words of statements: what its line would have, and when."""

    def __init__(
        self, intent: IntentLine, rules: Rules, scope: Scope, zones: Mapping[str, str]
    ) -> None:
        content = intent.content
        labels: Mapping[str, str] = content.get("labels", {})
        money = content.get("money")
        only = next(iter(scope.providers)) if len(scope.providers) == 1 else None
        self.intent = intent
        self.provider = labels.get(PROVIDER_LABEL, only)
        self.currency: str = "" if money is None else money["currency"]
        self.amount: int | None = None
        self.kind = LineKind.PAYMENT
        if money is not None:
            amount = minor_units(money["amount"])
            self.amount = amount if money["flow"] == "in" else -amount
            if content.get("kind") == Kind.REFUND:
                self.kind = LineKind.REFUND
            elif money["flow"] == "out":
                self.kind = LineKind.PAYOUT
        named = [intent.id, intent.key, labels.get(REFERENCE_LABEL)]
        for text in (content.get("business_key"), content.get("subject")):
            # As in order/12345: the provider was given all of it, or what stands behind the slash.
            named += [text, text and text.rpartition("/")[2]]
        self.names = tuple(dict.fromkeys(normalised(each) for each in named if each))
        """What it may be called there; what names only this one comes first."""
        self._set_days(rules, ZoneInfo(zones.get(self.provider or "", "UTC")))

    def _set_days(self, rules: Rules, zone: ZoneInfo) -> None:
        self.promised = self.intent.promised_at.astimezone(zone).date()
        answered = self.intent.answer_by.astimezone(zone).date()
        window = rules.window(
            Item(
                side=Side.LEDGER,
                id=self.intent.id,
                account="",
                provider=self.provider,
                kind=self.kind,
                amount=self.amount or 0,
                currency=self.currency,
                day=self.promised,
            )
        )
        days = max(window.after, window.patience)
        self.first = self.promised - timedelta(days=window.before)
        # It may have been tried until it had to be answered.
        self.until = business_days_after(answered, days, rules.holidays)

    @property
    def is_overdue(self) -> bool:
        """Whether its outcome is unknown, or it happened and nobody made it history in time."""
        is_executed = self.intent.outcome == Outcome.EXECUTED
        return self.intent.state is State.UNKNOWN or (
            is_executed and self.intent.answer_by < self.intent.now
        )

    def sources(self, scope: Scope) -> tuple[str, ...]:
        """The sources in which it would be told."""
        if self.provider is not None and self.provider in scope.providers:
            return scope.providers[self.provider]
        if self.provider is not None:
            return ()
        return tuple(sorted(each for found in scope.providers.values() for each in found))

    def fits(self, line: Item) -> bool:
        """Whether a line may tell of it, whatever its amount and reference."""
        return (
            line.currency == self.currency
            and self.amount is not None
            and (line.amount > 0) == (self.amount > 0)
            and self.first <= line.day <= self.until
            and (self.provider is None or line.side is Side.BANK or line.provider == self.provider)
            and (line.kind in UNNAMED or family(line.kind) is self.kind)
        )


class _Lines:
    """Lines of statements, by what intents have in common with them."""

    def __init__(self, lines: Iterable[Item], matching: Matching) -> None:
        self.told = frozenset(
            item.key
            for link in matching.links
            if link.strength is not Strength.SUGGESTED
            and any(item.side is Side.LEDGER for item in link.items)
            for item in link.items
        )
        """Keys of lines that an entry answers to."""
        self._by_ref: dict[str, list[Item]] = defaultdict(list)
        self._nameless: dict[tuple[str, int], list[Item]] = defaultdict(list)
        for line in lines:
            if line.merchant_ref:
                self._by_ref[normalised(line.merchant_ref)].append(line)
            elif line.key not in self.told:
                self._nameless[line.currency, line.amount].append(line)

    def of(self, asked: _Asked) -> list[Item]:
        """Lines with its reference and amount, in order."""
        return [line for line in self._called(asked) if line.amount == asked.amount]

    def with_another_amount(self, asked: _Asked) -> Item | None:
        """A line with its reference, which no entry answers to."""
        called = self._called(asked)
        return next((line for line in called if line.key not in self.told), None)

    def _called(self, asked: _Asked) -> list[Item]:
        for name in asked.names:
            found = [line for line in self._by_ref.get(name, ()) if asked.fits(line)]
            if found:
                return sorted(found, key=lambda line: (line.day, line.key))
        return []

    def nameless_like(self, asked: _Asked) -> Item | None:
        """A line that has its amount and no reference, and that no entry answers to."""
        if asked.amount is None:
            return None
        alike = self._nameless.get((asked.currency, asked.amount), ())
        return next((line for line in alike if asked.fits(line)), None)


def _occurred_at(line: Item, intent: IntentLine, now: datetime) -> str:
    """Noon of the line's day, but not before the promise and not later than now."""
    noon = datetime.combine(line.day, time(12), UTC)
    return format_time(min(max(noon, intent.promised_at), now))
