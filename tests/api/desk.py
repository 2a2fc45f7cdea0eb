"""Finance of one ledger as the tests of its room are: files, requests, and the ledger's own say."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

from tests.api.support import Api, capture, refund

SOURCE = {
    "name": "stripe-eur",
    "provider": "stripe",
    "side": "provider",
    "iana_tz": "Europe/Berlin",
    "approval_above": {"EUR": 1_000},
}
HEADING = (
    "balance_transaction_id,created_utc,currency,gross,fee,net,reporting_category,source_id,"
    "charge_id"
)
CHARGE = "txn_A1,2026-03-02 09:14:07,eur,120.00,2.05,117.95,charge,ch_A,ch_A"
REFUND = "txn_A2,2026-03-03 16:40:00,eur,-45.00,0.00,-45.00,refund,re_A1,ch_A"
FAILURE = "txn_A3,2026-03-09 02:11:31,eur,45.00,0.00,45.00,refund_failure,re_A1,ch_A"


@dataclass
class Desk:
    """Finance of one ledger: a preparer, a reviewer, and files."""

    api: Api
    keys: int = 0

    def get(self, path: str, **query: Any) -> Any:
        response = self.api.http.get(
            f"/v1/recon/{path}",
            headers=self.api.headers(None),
            params={"ledger": self.api.ledger, **query},
        )
        assert response.status_code == 200, response.text
        return response.json() if "json" in response.headers["Content-Type"] else response

    def send(
        self, path: str, content: bytes, key: str | None = None, **query: Any
    ) -> tuple[int, Any]:
        self.keys += 1
        response = self.api.http.post(
            f"/v1/recon/{path}",
            content=content,
            headers=self.api.headers(key or f"k{id(self)}-{self.keys}"),
            params={"ledger": self.api.ledger, **query},
        )
        return response.status_code, response.json()

    def post(self, path: str, **words: Any) -> Any:
        status, answer = self.send(path, json.dumps(words).encode())
        assert status in {200, 201, 202}, answer
        return answer

    def bring(self, *rows: str, complete: bool = True) -> Any:
        """A report with these rows, and what its sum is known to be from elsewhere."""
        net = sum(round(float(row.split(",")[5]) * 100) for row in rows)
        controls = {
            "currency": "EUR",
            "period_from": "2026-03-01",
            "period_to": "2026-03-31",
            "net_minor": net,
            "lines": len(rows),
        }
        asked = {"controls": json.dumps([controls])} if complete else {}
        content = "\n".join([HEADING, *rows, ""]).encode()
        status, answer = self.send("imports", content, source="stripe-eur", **asked)
        assert status in {200, 201}, answer
        return answer

    def run(self, today: str, period: str = "2026-03", **asked: Any) -> Any:
        begun = self.post("runs", period=period, today=today, **asked)
        ends_at = time.monotonic() + 30
        while True:
            found = self.get(f"runs/{begun['id']}")
            if found["state"] != "running":
                assert found["state"] == "done", found
                return found
            assert time.monotonic() < ends_at
            time.sleep(0.02)


def record(api: Api) -> None:
    """A payment of 120.00 and a refund of 45.00, as the service recorded them."""
    cited = {"system": "stripe", "rel": "transaction"}
    paid = api.post(
        "/effects",
        capture("120.00", occurred_at="2026-03-02T09:14:07Z", evidence=[{**cited, "ref": "ch_A"}]),
        key="pay",
    ).json()
    api.post(
        f"/effects/{paid['id']}/refunds",
        refund("45.00", occurred_at="2026-03-03T16:40:00Z", evidence=[{**cited, "ref": "re_A1"}]),
        key="back",
    )
