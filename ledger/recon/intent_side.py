"""Intent side: an intent in the words of statements, so that lines can be held against it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from zoneinfo import ZoneInfo

from ledger.dialog.intents import IntentLine
from ledger.effect import Kind
from ledger.forms.money import minor_units
from ledger.intent import Outcome, State
from ledger.recon.ledger_side import PROVIDER_LABEL, REFERENCE_LABEL
from ledger.recon.matching import Item, Rules, Side, key_of
from ledger.recon.matching.identifiers import UNNAMED, family
from ledger.recon.matching.references import normalised
from ledger.recon.matching.rules import business_days_after
from ledger.recon.statement import LineKind
from ledger.recon.states import Scope


class Sought:
    """What the line of an intent would have, and when it would be booked."""

    def __init__(
        self, intent: IntentLine, rules: Rules, scope: Scope, zones: Mapping[str, str]
    ) -> None:
        content = intent.content
        labels: Mapping[str, str] = content.get("labels", {})
        money = content.get("money")
        only = next(iter(scope.providers)) if len(scope.providers) == 1 else None
        self.intent = intent
        self.provider_said = labels.get(PROVIDER_LABEL)
        self.provider = self.provider_said or only
        """The only one of the run where none is said: enough to look for a line, not to miss it."""
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
                key=key_of(Side.LEDGER, self.intent.id),
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
        """
        The sources in which it would be told, if it happened.

        Without a label that says its provider these are all there are, banks too, provided that
        they are of one provider; none, where it may be of any of several.
        """
        if self.provider is None:
            return ()
        told = scope.providers.get(self.provider, ())
        return told if self.provider_said or not told else (*told, *scope.banks)

    def fits(self, line: Item) -> bool:
        """Whether a line may tell of it, whatever its amount and reference."""
        return (
            line.currency == self.currency
            and self._is_possible(line)
            and (line.kind in UNNAMED or family(line.kind) is self.kind)
        )

    def may_be(self, line: Item) -> bool:
        """As `fits`, also where the provider calls it otherwise, or booked another currency."""
        return self._is_possible(line) and line.kind is not LineKind.FEE

    def is_named_by(self, line: Item) -> bool:
        """Whether a line has a name of it for its reference."""
        return line.merchant_ref is not None and normalised(line.merchant_ref) in self.names

    def _is_possible(self, line: Item) -> bool:
        return (
            self.amount is not None
            and (line.amount > 0) == (self.amount > 0)
            and self.first <= line.day <= self.until
            and (self.provider is None or line.side is Side.BANK or line.provider == self.provider)
        )
