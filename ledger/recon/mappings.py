"""
Mappings that ship with the product, for reports that are plain tables.

Braintree's follows the heading of its transaction-level fee report. No real file was at hand, so
its dates are to be confirmed with one; interchange figures are estimates and are not read.
"""

from __future__ import annotations

from collections.abc import Mapping

from ledger.recon.mapping import CsvMapping, Direction
from ledger.recon.statement import LineKind

BRAINTREE = CsvMapping(
    version=1,
    date="Settlement Date",
    value_date="Disbursement Date",
    amount="Settlement Amount",
    direction=Direction(
        column="Transaction Type", incoming=frozenset({"sale"}), outgoing=frozenset({"credit"})
    ),
    fee="Total Fee Amount",
    currency="Settlement Currency",
    account="Merchant Account ID",
    kind="Transaction Type",
    kinds={"sale": LineKind.PAYMENT, "credit": LineKind.REFUND},
    provider_txn_id="Transaction ID",
    provider_ref_id="Original Transaction ID",
    merchant_ref="Order ID",
    batch_ref="Disbursement Date",
    keep=frozenset(
        {
            "Transaction Type", "Presentment Currency", "Payment Instrument", "Card Brand",
            "Refund Type", "Exchange Rate", "Acquirer Reference Number", "Total Fee Amount",
        }
    ),
)  # fmt: skip

SHIPPED: Mapping[str, CsvMapping] = {"braintree": BRAINTREE}
"""Name -> mapping."""
