"""
Payouts: each week's balance goes to the bank, and arrives there two days later.

Every batch has a line on its first and its payout on its last day, so that batches cover the
days between them.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, date, datetime, time, timedelta

from ledger.recon.statement import LineKind
from ledger.recon.synthetic.ordinary import pay
from ledger.recon.synthetic.world import ADYEN, BANK_CAMT, BANK_MT940, STRIPE, Shown, World

WEEK = timedelta(days=7)
DAY = timedelta(days=1)
WAY_TO_BANK = timedelta(days=2)
LEAST = 50_000
"""A batch is paid out with at least this."""
PAID_OUT_AT = time(20, 30, tzinfo=UTC)


def pay_out(world: World) -> None:
    """Put every line that is in no batch yet into the one of its week, and pay that out."""
    for provider in (STRIPE, ADYEN):
        waiting: dict[date, list[Shown]] = defaultdict(list)
        for shown in world.shown:
            if shown.provider == provider and shown.currency == "EUR" and shown.batch is None:
                waiting[_week(world, shown.day)].append(shown)
        for begins, ends in _weeks(world, provider):
            batch = _name(world, provider, begins)
            _close(world, provider, batch, (begins, ends), waiting[begins])


def _week(world: World, day: date) -> date:
    return day - (day - world.plan.first) % WEEK


def _weeks(world: World, provider: str) -> list[tuple[date, date]]:
    """First and last days. One provider pays out what there is; the other only whole weeks."""
    until = world.plan.provider_until
    found, begins = [], world.plan.first
    while begins <= until:
        ends = begins + WEEK - DAY
        if ends <= until or provider == ADYEN:
            found.append((begins, min(ends, until)))
        begins += WEEK
    return found


def _name(world: World, provider: str, begins: date) -> str:
    number = (begins - world.plan.first) // WEEK + 1
    return f"po_{begins:%Y%m%d}{number:04}" if provider == STRIPE else str(number)


def _close(
    world: World, provider: str, batch: str, days: tuple[date, date], lines: list[Shown]
) -> None:
    begins, ends = days
    # A week of refunds only could not be paid out; a large order on its first day sees to it.
    missing = LEAST - min(0, sum(line.net for line in lines))
    lines.append(pay(world, provider, missing, begins).shown)
    for line in lines:
        line.batch = batch
        line.value_day = ends + DAY
    amount = sum(line.net for line in lines)
    ref = batch if provider == STRIPE else f"TX{batch}{begins:%Y%m%d}"
    shown = world.show(provider, LineKind.PAYOUT, -amount, ends, ref=ref, batch=batch)
    shown.at = datetime.combine(ends, PAID_OUT_AT)
    shown.value_day = ends + DAY
    account = BANK_CAMT if provider == STRIPE else BANK_MT940
    world.arrive(account, amount, ends + WAY_TO_BANK, f"{provider.upper()} PAYOUT {ref}")
