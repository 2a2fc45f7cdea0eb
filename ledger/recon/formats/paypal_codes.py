"""
PayPal's transaction event codes: `T1107` is a refund.

PayPal says that the group, the first two digits, is enough to read a code by; new codes within
a known group are expected. Source: PayPal's page on T-codes.
"""

from __future__ import annotations

from ledger.recon.statement import LineKind

# What a credit and what a debit of a group are.
GROUPS = {
    "T00": (LineKind.PAYMENT, LineKind.PAYOUT),
    "T01": (LineKind.FEE, LineKind.FEE),
    "T02": (LineKind.CONVERSION, LineKind.CONVERSION),
    "T03": (LineKind.INTERNAL_TRANSFER, LineKind.INTERNAL_TRANSFER),
    "T04": (LineKind.PAYOUT_FAILED, LineKind.PAYOUT),
    "T05": (LineKind.MOVEMENT, LineKind.MOVEMENT),
    "T06": (LineKind.MOVEMENT, LineKind.MOVEMENT),
    "T07": (LineKind.INTERNAL_TRANSFER, LineKind.INTERNAL_TRANSFER),
    "T08": (LineKind.OTHER, LineKind.OTHER),
    "T09": (LineKind.OTHER, LineKind.OTHER),
    "T10": (LineKind.OTHER, LineKind.OTHER),
    "T11": (LineKind.REFUND_FAILED, LineKind.PAYMENT_REVERSED),
    "T12": (LineKind.OTHER, LineKind.OTHER),
    "T13": (LineKind.STATUS, LineKind.STATUS),
    "T14": (LineKind.OTHER, LineKind.OTHER),
    "T15": (LineKind.RESERVE, LineKind.RESERVE),
    "T16": (LineKind.OTHER, LineKind.OTHER),
    "T17": (LineKind.PAYOUT_FAILED, LineKind.PAYOUT),
    "T18": (LineKind.OTHER, LineKind.OTHER),
    "T19": (LineKind.OTHER, LineKind.OTHER),
    "T20": (LineKind.INTERNAL_TRANSFER, LineKind.INTERNAL_TRANSFER),
    "T21": (LineKind.RESERVE, LineKind.RESERVE),
    "T22": (LineKind.OTHER, LineKind.OTHER),
    "T30": (LineKind.OTHER, LineKind.OTHER),
    "T50": (LineKind.OTHER, LineKind.OTHER),
    "T97": (LineKind.OTHER, LineKind.OTHER),
    "T98": (LineKind.OTHER, LineKind.OTHER),
    "T99": (LineKind.OTHER, LineKind.OTHER),
}
CODES = {
    "T1105": (LineKind.RESERVE, LineKind.RESERVE),
    "T1107": (LineKind.REFUND, LineKind.REFUND),
    "T1108": (LineKind.FEE, LineKind.FEE),
    "T1110": (LineKind.RESERVE, LineKind.RESERVE),
    "T1111": (LineKind.RESERVE, LineKind.RESERVE),
    "T1201": (LineKind.CHARGEBACK_REVERSED, LineKind.CHARGEBACK),
    "T1202": (LineKind.CHARGEBACK_REVERSED, LineKind.CHARGEBACK),
}


def kind_of(code: str, *, credit: bool) -> LineKind | None:
    """What a line of this code is; None where not even its group is known."""
    found = CODES.get(code) or GROUPS.get(code[:3])
    if found is None:
        return None
    return found[0] if credit else found[1]
