"""An auditor's room over a house: periods to close, bundles to take away, and who takes them."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledger.audit.access import Accesses, Accessor
from ledger.audit.closing import Closing
from ledger.audit.exports import Exports, Stamp
from ledger.audit.selection import Selection
from ledger.recon.filing import filed_statements
from tests.faults.house import House, asks, eur, refund

AUDITOR = Accessor(principal="ben.audit", key_id="aaaabbbbccccdddd")
EVERYTHING = Selection(payloads="shown")


@dataclass(frozen=True, kw_only=True)
class Room:
    """Closes and exports of a house."""

    house: House
    closing: Closing
    exports: Exports

    def made(
        self, ledger: str, period: str, selection: Selection = EVERYTHING
    ) -> tuple[dict[str, Any], Path]:
        """A bundle, made: what the job says, and the packed file."""
        record = self.house.reader.ledger(ledger)
        job = self.exports.start(record, period, selection, by=AUDITOR)
        self.exports.wait()
        told = self.exports.get(ledger, job)
        assert told["state"] == "done", told
        return told, self.exports.packed(ledger, job)

    def unpacked(
        self, ledger: str, period: str, into: Path, selection: Selection = EVERYTHING
    ) -> Path:
        """The bundle as a directory."""
        told, path = self.made(ledger, period, selection)
        with zipfile.ZipFile(path) as packed:
            packed.extractall(into)
        return into / told["bundle"]["name"]


def open_room(house: House, directory: Path, stamp: Stamp | None = None) -> Room:
    """A room whose bundles are made in `directory`."""
    closing = Closing(house.engine, house.open_appender())
    exports = Exports(
        house.engine,
        directory=directory,
        closing=closing,
        accesses=Accesses(house.engine, house.open_appender()),
        signer=house.signer,
        vault=house.vault,
        conninfo=house.conninfo,
        statements=filed_statements,
        stamp=stamp,
    )
    return Room(house=house, closing=closing, exports=exports)


def record_march(house: House, ledger: str) -> None:
    """A month with everything in it that a bundle tells of."""
    [capture] = house.record(
        ledger,
        asks(
            "capture",
            type="card.capture",
            money=eur("100.00"),
            subject="order/1",
            business_key="invoice/1",
            note="a secret",
            actor={"id": "checkout", "kind": "service"},
        ),
    )
    house.record(ledger, refund("refund", "30.00", corrects=capture.id), principal="till")
    house.record(
        ledger,
        refund(
            "approved",
            "5.00",
            corrects_key="capture",
            approval={"by": "till", "at": "2026-03-01T09:00:00Z", "digest": "ab" * 32},
        ),
        principal="desk",
    )
    house.record(
        ledger,
        asks(
            "explained",
            kind="explanation",
            type="note",
            reason="customer.request",
            corrects=capture.id,
            note="because",
        ),
        principal="desk",
    )
    house.record(ledger, asks("mail", type="email.sent", subject="=cmd|' /C calc'!A0"))
    house.record(ledger, asks("early", occurred_at="2026-05-01T00:00:00Z", money=eur("1.00")))
    house.record(ledger, *(asks(f"fill-{at}", money=eur("2.50")) for at in range(12)))


def record_april(house: House, ledger: str) -> None:
    """The month after: late entries, and corrections of March."""
    house.record(ledger, refund("late-refund", "10.00", corrects_key="capture"))
    house.record(
        ledger,
        *(
            asks(f"april-{at}", occurred_at="2026-04-02T00:00:00Z", money=eur("3.00"))
            for at in range(5)
        ),
    )
