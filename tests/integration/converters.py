"""
Converters: what a provider's files say, as items that `effect-ledger import` takes.

Each is what somebody with such a file would write in an afternoon: read by header, sign and
unit from the layout, the provider's own ids as keys and evidence, names and addresses left
behind. A file that does not add up is refused as a whole, before anything is posted.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

Item = dict[str, Any]
Row = dict[str, str]

# The two files are in dollars; a converter for more would look the decimals up.
DECIMALS = {"USD": 2}


class RefusedFileError(ValueError):
    """The file does not say what a file of its kind says; nothing of it was converted."""


def ndjson(items: Iterable[Item]) -> str:
    """One item per line."""
    return "".join(json.dumps(item) + "\n" for item in items)


def rows_of(path: Path) -> list[Row]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


# ---- Stripe, in the shape of its API --------------------------------------------------


def stripe_items(folder: Path) -> list[Item]:
    """
    Payments, fees, payouts and refunds that happened.

    Amounts are in minor units; a refund is positive. A balance transaction is money that has
    moved: `pending` says only when it can be paid out.
    """
    booked = rows_of(folder / "balance_transaction_data.csv")
    charges = rows_of(folder / "charge_data.csv")
    paid = {row["source"] for row in booked if row["type"] == "charge"}
    paid |= {row["id"] for row in charges if row["status"] == "succeeded"}
    return [
        *(item for row in booked for item in _stripe_booking(row)),
        *(_stripe_charge(row) for row in charges if row["status"] == "succeeded"),
        *(
            item
            for row in rows_of(folder / "refund_data.csv")
            for item in _stripe_refund(row, paid)
        ),
    ]


def _stripe_booking(row: Row) -> Iterator[Item]:
    amount, fee, net = (int(row[name]) for name in ("amount", "fee", "net"))
    if amount - fee != net:
        raise RefusedFileError(f"{row['id']}: {amount} less {fee} is not {net}")
    types = {"charge": "card.capture", "payout": "payout"}
    if row["type"] not in types:
        raise RefusedFileError(f"{row['id']}: {row['type']} is not a type that is known here")
    facts = _stripe_facts(row["id"], row)
    yield {
        "kind": "effect",
        "key": _stripe_key(row["source"]),
        "type": types[row["type"]],
        "subject": f"{row['type']}/{row['source']}",
        "money": _money(_major(amount, row), row),
        **facts,
    }
    if fee:
        yield {
            "kind": "effect",
            "key": f"{_stripe_key(row['source'])}/fee",
            "type": "provider.fee",
            "subject": f"{row['type']}/{row['source']}",
            "money": _money(_major(-fee, row), row),
            **facts,
        }


def _stripe_charge(row: Row) -> Item:
    return {
        "kind": "effect",
        "key": _stripe_key(row["id"]),
        "type": "card.capture",
        "subject": f"charge/{row['id']}",
        "money": _money(_major(int(row["amount"]), row), row),
        **_stripe_facts(row["id"], row),
    }


def _stripe_refund(row: Row, paid: set[str]) -> Iterator[Item]:
    if row["status"] not in {"succeeded", "failed"}:
        # Nothing has moved yet, or nothing ever will.
        return
    key = _stripe_key(row["id"])
    facts = _stripe_facts(row["id"], row)
    money = _money(_major(-int(row["amount"]), row), row)
    # The payment is in this file, or was recorded somewhere else: then that is what is said.
    target = (
        {"corrects_key": _stripe_key(row["charge_id"])}
        if row["charge_id"] in paid
        else {"corrects_external": {"system": "stripe", "ref": row["charge_id"]}}
    )
    yield {
        "kind": "refund",
        "key": key,
        "type": "card.refund",
        "reason": row["reason"].replace("_", ".") or "unknown",
        "money": money,
        **target,
        **facts,
    }
    if row["status"] == "failed":
        yield {
            "kind": "adjustment",
            "key": f"{key}/failed",
            "type": "refund.failed",
            "reason": row["failure_reason"].replace("_", ".") or "unknown",
            "corrects_key": key,
            "money": money | {"amount": f"-{money['amount']}"},
            **facts,
        }


def _stripe_facts(ref: str, row: Row) -> Item:
    at = datetime.fromisoformat(row["created"])
    return {
        # The columns have no zone: the pipeline that wrote them keeps UTC.
        "occurred_at": at.isoformat() + "Z",
        "observed": True,
        "evidence": [{"system": "stripe", "rel": "transaction", "ref": ref}],
    }


def _stripe_key(object_id: str) -> str:
    return f"stripe/{object_id}"


def _major(minor: int, row: Row) -> Decimal:
    return Decimal(minor).scaleb(-DECIMALS[row["currency"].upper()])


# ---- PayPal, the activity download ----------------------------------------------------

PAYPAL_TYPES = {
    "Mobile Payment": "payment",
    "Shopping Cart Payment": "payment",
    "Express Checkout Payment": "payment",
    "Send Money": "payment",
    "Bank Deposit to PP Account": "bank.deposit",
}
# The abbreviation of a zone is ambiguous: it confirms the one the account is set to.
PAYPAL_ZONE = ZoneInfo("America/Los_Angeles")


def paypal_items(path: Path) -> list[Item]:
    """Completed lines, each with its fee as an effect of its own."""
    return [item for row in rows_of(path) for item in _paypal_line(row)]


def _paypal_line(row: Row) -> Iterator[Item]:
    if row["Status"] != "Completed":
        return
    gross, fee, net = (Decimal(row[name]) for name in ("Gross", "Fee", "Net"))
    if gross - fee != net:
        raise RefusedFileError(f"{row['Transaction ID']}: {gross} less {fee} is not {net}")
    at = datetime.strptime(f"{row['Date']} {row['Time']}", "%m/%d/%Y %H:%M:%S")  # noqa: DTZ007 - given its zone below.
    at = at.replace(tzinfo=PAYPAL_ZONE)
    if at.tzname() != row["TimeZone"]:
        raise RefusedFileError(f"{row['Transaction ID']}: {at.tzname()} is not {row['TimeZone']}")
    facts = {
        "occurred_at": at.isoformat(),
        "observed": True,
        "evidence": [{"system": "paypal", "rel": "transaction", "ref": row["Transaction ID"]}],
        "subject": f"transaction/{row['Transaction ID']}",
    }
    key = f"paypal/{row['Transaction ID']}"
    yield {
        "kind": "effect",
        "key": key,
        "type": PAYPAL_TYPES[row["Type"].strip()],
        "money": _money(gross, {"currency": row["Currency"]}),
        **facts,
    }
    if fee:
        yield {
            "kind": "effect",
            "key": f"{key}/fee",
            "type": "provider.fee",
            "money": _money(-fee, {"currency": row["Currency"]}),
            **facts,
        }


# ---- Both -----------------------------------------------------------------------------


def _money(signed: Decimal, row: Row) -> Item:
    """From the merchant's side: what is negative flows out."""
    currency = row["currency"].upper()
    exact = signed.quantize(Decimal(1).scaleb(-DECIMALS[currency]))
    if exact != signed:
        raise RefusedFileError(f"{signed} has more decimals than {currency}")
    return {
        "amount": f"{abs(exact):f}",
        "currency": currency,
        "flow": "out" if signed < 0 else "in",
    }
