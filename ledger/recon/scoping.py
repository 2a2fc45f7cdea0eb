"""Scoping: what a set of accounts and their statements says about days, zones and providers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from ledger.recon.account import Account
from ledger.recon.continuity import find_breaks
from ledger.recon.coverage import Coverage, build_coverage
from ledger.recon.matching import Side
from ledger.recon.statement_side import Known, spans_of


def zones_of(accounts: Sequence[Account]) -> dict[str, str]:
    """Provider -> the zone in which its report counts days."""
    return {account.source.provider: account.source.iana_tz for account in accounts}


def providers_of(accounts: Sequence[Account]) -> dict[str, tuple[str, ...]]:
    """Provider -> the sources that tell of it."""
    found: dict[str, list[str]] = {}
    for account in accounts:
        if account.side is Side.PROVIDER:
            found.setdefault(account.source.provider, []).append(account.source.name)
    return {provider: tuple(sorted(names)) for provider, names in sorted(found.items())}


def coverage_of(statements: Sequence[Known]) -> Coverage:
    """What complete statements cover; a day on which balances do not follow is not covered."""
    gaps = {(each.source, each.currency, each.day) for each in find_breaks(statements)}
    return build_coverage(
        replace(span, first=span.first + timedelta(days=1))
        if (span.source, span.currency, span.first) in gaps
        else span
        for span in spans_of(statements)
    )
