"""
Draft: a reading while its file is being read.

Readers put in what they find and go on, so that everything wrong with a file is told at once. A
cell that cannot be read leaves an error and a placeholder; a draft with such an error ends as
`rejected` without statements, so no placeholder ever leaves here.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any

from ledger.errors import LedgerError
from ledger.forms.money import exponent, format_amount
from ledger.recon.source import Control, Source
from ledger.recon.statement import (
    Finding,
    FindingCode,
    Line,
    LineKind,
    Reading,
    ReadingStatus,
    Severity,
    Statement,
    StatementRole,
)

FINDINGS_MAX = 1_000
"""More than this helps nobody; the rest is counted."""

QUARANTINING = frozenset(
    {
        FindingCode.BALANCE_DISAGREES,
        FindingCode.TOTAL_DISAGREES,
        FindingCode.COUNT_DISAGREES,
        FindingCode.ACCOUNT_DISAGREES,
    }
)
"""Errors of a file that can be read whole. Every other error rejects it."""

SHOWN_MAX = 63
DIGITS_MAX = 38
"""As many as a ledger's minor units have."""


class Draft:
    """What is known so far of one file."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.version = ""
        self.statements: list[StatementDraft] = []
        self._findings: list[Finding] = []
        self._unknown_currencies: set[str] = set()
        self._told: set[tuple[FindingCode, str]] = set()
        self._untold = 0
        self._rejected = False
        self._quarantined = False

    def error(self, code: FindingCode, locator: str, message: str) -> None:
        """Something that rejects or quarantines the file, by its code."""
        if code in QUARANTINING:
            self._quarantined = True
        else:
            self._rejected = True
        self._tell(Severity.ERROR, code, locator, message)

    def warn(self, code: FindingCode, locator: str, message: str) -> None:
        """Something that someone should know of a file that is taken."""
        self._tell(Severity.WARNING, code, locator, message)

    def note(self, code: FindingCode, locator: str, message: str) -> None:
        """Something worth saying that nobody needs to act on."""
        self._tell(Severity.INFO, code, locator, message)

    def once(self, code: FindingCode, locator: str, message: str, *, key: str) -> None:
        """Warn of something that many lines have in common, at the first of them."""
        if (code, key) not in self._told:
            self._told.add((code, key))
            self.warn(code, locator, message)

    @property
    def rejected(self) -> bool:
        """Whether something was found that cannot be read."""
        return self._rejected

    def exponent(self, currency: str, locator: str) -> int | None:
        """Decimals of `currency` as this source has it; None and an error where nobody knows."""
        try:
            return exponent(currency, self.source.exponents)
        except LedgerError:
            if currency not in self._unknown_currencies:
                self._unknown_currencies.add(currency)
                shown = _shown(currency)
                self.error(
                    FindingCode.CURRENCY_UNKNOWN,
                    locator,
                    f"no currency {shown} is known: give its decimals in the source's `exponents`",
                )
            return None

    def amount(
        self,
        text: str,
        currency: str,
        locator: str,
        name: str,
        *,
        decimal_separator: str = ".",
        thousands_separator: str = "",
    ) -> int:
        """A decimal amount in the smallest unit of `currency`, never rounded."""
        plain = text.strip()
        if thousands_separator and thousands_separator in plain:
            plain = self._without_thousands(plain, thousands_separator, decimal_separator)
        if decimal_separator != ".":
            plain = "?" if "." in plain else plain.replace(decimal_separator, ".")
        decimals = self.exponent(currency, locator)
        if decimals is None:
            return 0
        digits = plain.lstrip("+-").replace(".", "", 1)
        if not is_digits(digits):
            return self._unreadable(text, locator, name)
        try:
            scaled = Decimal(plain).scaleb(decimals)
        except InvalidOperation:
            return self._unreadable(text, locator, name)
        if scaled != scaled.to_integral_value():
            self.error(
                FindingCode.AMOUNT_TOO_PRECISE,
                locator,
                f"{name} {plain} has more than the {decimals} decimals of {currency}",
            )
            return 0
        return int(scaled)

    def count(self, text: str, locator: str, name: str) -> int:
        """A whole number, not negative."""
        if is_digits(text):
            return int(text)
        self.error(FindingCode.MALFORMED, locator, f"{name} is no whole number")
        return 0

    def no_date(self, text: str, locator: str, name: str) -> None:
        """Tell that a date cannot be read."""
        self.error(FindingCode.DATE_UNREADABLE, locator, f"{name} {_shown(text)} is no date")

    def show(self, minor: int, currency: str) -> str:
        """An amount for people."""
        return f"{format_amount(minor, self.exponent(currency, '') or 0)} {currency}"

    def statement(self, currency: str, **members: Any) -> StatementDraft:
        """Begin a statement; its account is the source's unless given."""
        started = StatementDraft(self, currency, **members)
        self.statements.append(started)
        return started

    def finish(self, format_name: str, parser: str, controls: Sequence[Control] = ()) -> Reading:
        """Compare what can be compared, and say what became of the file."""
        if not self.statements and not self._rejected:
            self.error(FindingCode.NO_STATEMENT, "", "the file has no statement and no line")
        statements: tuple[Statement, ...] = ()
        if not self._rejected:
            statements = tuple(draft.finish(controls) for draft in self.statements)
        if self._rejected:
            status, statements = ReadingStatus.REJECTED, ()
        elif self._quarantined:
            status = ReadingStatus.QUARANTINED
            statements = tuple(replace(each, complete=False) for each in statements)
        else:
            status = ReadingStatus.ACCEPTED
        return Reading(
            format=format_name,
            version=self.version,
            parser=parser,
            status=status,
            statements=statements,
            findings=self._all_findings(),
        )

    def _tell(self, severity: Severity, code: FindingCode, locator: str, message: str) -> None:
        if len(self._findings) >= FINDINGS_MAX:
            self._untold += 1
            return
        self._findings.append(
            Finding(severity=severity, code=code, locator=locator, message=message)
        )

    def _all_findings(self) -> tuple[Finding, ...]:
        if self._untold:
            more = f"and {self._untold:,} more findings"
            last = Finding(
                severity=Severity.INFO, code=FindingCode.MALFORMED, locator="", message=more
            )
            return (*self._findings, last)
        return tuple(self._findings)

    def _unreadable(self, text: str, locator: str, name: str) -> int:
        self.error(FindingCode.AMOUNT_UNREADABLE, locator, f"{name} {_shown(text)} is no amount")
        return 0

    @staticmethod
    def _without_thousands(text: str, separator: str, decimal_separator: str) -> str:
        """Only groups of three are thousands: 1.23 with a point for thousands is no amount."""
        whole, mark, rest = text.partition(decimal_separator)
        first, *groups = whole.lstrip("+-").split(separator)
        well = 1 <= len(first) <= 3 and all(len(group) == 3 for group in groups)  # noqa: PLR2004
        sign = whole[: len(whole) - len(whole.lstrip("+-"))]
        return f"{sign}{first}{''.join(groups)}{mark}{rest}" if well else "?"


@dataclass(slots=True)
class StatementDraft:
    """One account in one currency, line by line."""

    draft: Draft
    currency: str
    account_ref: str = ""
    role: StatementRole = StatementRole.BOOKED
    statement_ref: str | None = None
    sequence: int | None = None
    page: int | None = None
    period_from: date | None = None
    period_to: date | None = None
    opening_minor: int | None = None
    closing_minor: int | None = None
    control_totals: dict[str, str] = field(default_factory=dict)
    provable: bool = False
    """Whether the format has something that betrays a missing part, and it was compared."""
    derived: bool = False
    """The balances come from the lines' own running balance: a cut would not show in them."""
    locator: str = ""
    lines: list[Line] = field(default_factory=list)
    _occurrences: Counter[str] = field(default_factory=Counter)
    _unknown_kinds: Counter[str] = field(default_factory=Counter)

    def add(
        self,
        *,
        locator: str,
        kind: LineKind,
        amount_minor: int,
        booked_date: date,
        booked_tz: str,
        identity: str | None = None,
        fee_minor: int = 0,
        **members: Any,
    ) -> None:
        """
        The next line.

        Args:
            locator: Where it stands in the file.
            kind: What it is.
            amount_minor: Gross, signed.
            booked_date: The day, in `booked_tz`.
            booked_tz: Zone of that day.
            identity: The provider's own id of the line; None where the format has none.
            fee_minor: What the provider took off it.
            members: Further members of Line.
        """
        key = (
            f"id:{identity}"
            if identity
            else fingerprint(
                self.account_ref or self.draft.source.account_ref,
                booked_date.isoformat(),
                str(amount_minor),
                self.currency,
                " ".join((members.get("remittance") or "").split()).casefold(),
                members.get("bank_ref") or "",
            )
        )
        if _has_nul((key, *members.values(), *members.get("raw", {}).values())):
            self.draft.error(
                FindingCode.MALFORMED, locator, "has a NUL character, which is no text"
            )
        self._occurrences[key] += 1
        self.lines.append(
            Line(
                ordinal=len(self.lines),
                locator=locator,
                identity_key=key,
                occurrence=self._occurrences[key],
                kind=kind,
                amount_minor=amount_minor,
                currency=self.currency,
                fee_minor=fee_minor,
                net_minor=amount_minor - fee_minor,
                booked_date=booked_date,
                booked_tz=booked_tz,
                **members,
            )
        )

    def unknown_kind(self, word: str) -> None:
        """Count a code that nobody here knows: such a statement is never called complete."""
        self._unknown_kinds[_shown(word)] += 1

    def cash(self) -> int:
        """What the lines so far moved the balance by."""
        return sum(line.net_minor for line in self.lines if line.is_cash)

    def compare(self, code: FindingCode, what: str, stated: int, found: int) -> None:
        """Hold a sum that the file states to its lines."""
        if stated != found:
            show = self.draft.show
            self.draft.error(
                code,
                self.locator,
                f"{what}: stated {show(stated, self.currency)}, "
                f"found {show(found, self.currency)}, "
                f"difference {show(stated - found, self.currency)}",
            )

    def compare_count(self, what: str, stated: int, found: int) -> None:
        """Hold a count that the file states to its lines."""
        if stated != found:
            self.draft.error(
                FindingCode.COUNT_DISAGREES,
                self.locator,
                f"{what}: stated {stated:,}, found {found:,}",
            )

    def finish(self, controls: Iterable[Control]) -> Statement:
        """Compare balances and controls; the statement as it is kept."""
        source = self.draft.source
        self._check_source(source)
        if _has_nul((self.account_ref, self.statement_ref, *self.control_totals.values())):
            self.draft.error(
                FindingCode.MALFORMED, self.locator, "has a NUL character, which is no text"
            )
        for control in controls:
            if control.currency == self.currency and self.role is StatementRole.BOOKED:
                self._hold_to(control)
        if self.opening_minor is not None and self.closing_minor is not None:
            self.compare(
                FindingCode.BALANCE_DISAGREES,
                "closing balance",
                self.closing_minor,
                self.opening_minor + self.cash(),
            )
            self.provable = self.provable or not self.derived
        for word, times in sorted(self._unknown_kinds.items()):
            self.draft.warn(
                FindingCode.UNKNOWN_KIND,
                self.locator,
                f"{word} on {times:,} lines is not known here; the lines are kept as `other`",
            )
        if not self.provable:
            self.draft.warn(
                FindingCode.COMPLETENESS_NOT_PROVABLE,
                self.locator,
                f"completeness not provable: nothing in this report would betray a missing part "
                f"({self.currency}, {len(self.lines):,} lines); give its totals from elsewhere",
            )
        if not self.lines:
            self.draft.note(FindingCode.NO_LINES, self.locator, f"no lines in {self.currency}")
        days = [line.booked_date for line in self.lines]
        ends = days if self.period_to is None else [*days, self.period_to]
        return Statement(
            account_ref=self.account_ref or source.account_ref,
            currency=self.currency,
            role=self.role,
            statement_ref=self.statement_ref,
            sequence=self.sequence,
            page=self.page,
            period_from=self.period_from or min(ends, default=None),
            period_to=self.period_to or max(days, default=None),
            stated_from=self.period_from,
            stated_to=self.period_to,
            opening_minor=self.opening_minor,
            closing_minor=self.closing_minor,
            control_totals=self.control_totals,
            lines=tuple(self.lines),
            complete=self.provable and not self._unknown_kinds,
        )

    def _check_source(self, source: Source) -> None:
        if source.currency and source.currency != self.currency:
            self.draft.error(
                FindingCode.ACCOUNT_DISAGREES,
                self.locator,
                f"the source is in {source.currency}, this statement in {self.currency}",
            )
        if source.account_ref and self.account_ref and source.account_ref != self.account_ref:
            self.draft.error(
                FindingCode.ACCOUNT_DISAGREES,
                self.locator,
                "the statement is of another account than its source",
            )

    def _hold_to(self, control: Control) -> None:
        self.period_from, self.period_to = control.period_from, control.period_to
        early = sum(line.booked_date < control.period_from for line in self.lines)
        late = sum(line.booked_date > control.period_to for line in self.lines)
        if early or late:
            self.draft.error(
                FindingCode.TOTAL_DISAGREES,
                self.locator,
                f"{early + late:,} lines are outside {control.period_from} to {control.period_to}",
            )
        if control.lines is not None:
            self.compare_count("lines", control.lines, len(self.lines))
        if control.net_minor is not None:
            self.compare(FindingCode.TOTAL_DISAGREES, "net sum", control.net_minor, self.cash())
            self.provable = True
        for name in ("opening_minor", "closing_minor"):
            stated, known = getattr(control, name), getattr(self, name)
            if stated is not None and known is not None:
                self.compare(FindingCode.TOTAL_DISAGREES, name.split("_")[0], stated, known)
            elif stated is not None:
                setattr(self, name, stated)


def _has_nul(values: Iterable[Any]) -> bool:
    return any(isinstance(each, str) and "\0" in each for each in values)


def is_digits(text: str) -> bool:
    """Whether `text` is a whole number in the digits 0 to 9, of a size that a number may have."""
    return text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX


def _shown(text: str) -> str:
    """A cell as a message may repeat it: short and visible, and of no use as markup."""
    return repr(text) if text.isprintable() and len(text) <= SHOWN_MAX else "(not shown)"


def fingerprint(*parts: str) -> str:
    """The identity of a line that has no id: a hash of what it says, each part set apart."""
    text = "\x1f".join(("statement-line/v1", *parts))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def without(row: Mapping[str, str], personal: frozenset[str]) -> dict[str, str]:
    """The filled cells of a row that are not personal."""
    return {name: cell for name, cell in row.items() if cell and name not in personal}
