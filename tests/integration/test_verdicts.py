"""A running service finds out by itself, stops, and stays stopped until a person has looked."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import httpx
import psycopg
import pytest

from ledger.storage.embedded import attach
from ledger.storage.embedded.cluster import SUPERUSER
from tests.api.support import capture
from tests.integration.commands import Shell, settled_directory

PATIENCE_S = 30.0
NUMBERS = itertools.count()
DAMAGE = "update positions set refunded = refunded - 1 where ledger = 'shop'"


def eventually(ask: Callable[[], bool]) -> None:
    ends_at = time.monotonic() + PATIENCE_S
    while not ask():
        assert time.monotonic() < ends_at
        time.sleep(0.1)


def damage(data_dir: Path) -> None:
    server = attach(data_dir)
    assert server is not None
    with psycopg.connect(server.conninfo(SUPERUSER), autocommit=True) as connection:
        assert connection.execute(
            DAMAGE.replace("positions", "effect_ledger.positions", 1)
        ).rowcount


@pytest.mark.slow
def test_a_service_stops_a_ledger_it_finds_broken(tmp_path):
    """Within an interval, in every process, over restarts; a person resumes it, or accepts it."""
    with settled_directory() as base:
        shell = Shell(data_dir=base / "data").set(
            VERIFY_INTERVAL="1", VERIFY_FULL_INTERVAL="1", WORKERS="2"
        )
        with shell.serving() as (_, told), ExitStack() as opened:
            key = shell.good("key", "create", "--name", "till", "--scope", "*")["key"]
            vkey = shell.good("ledger", "create", "shop")["vkey"]
            client = shell.set(URL=told["url"], KEY=key)
            http = opened.enter_context(
                httpx.Client(
                    base_url=f"{told['url']}/v1/ledgers/shop",
                    headers={"Authorization": f"Bearer {key}"},
                    timeout=PATIENCE_S,
                )
            )

            def post(name: str) -> httpx.Response:
                return http.post("/effects", json=capture(), headers={"Idempotency-Key": name})

            paid = post("paid").json()["id"]
            back = {"amount": "1.00", "currency": "EUR", "flow": "out"}
            http.post(
                f"/effects/{paid}/refunds",
                json=capture(type="card.refund", reason="asked", money=back),
                headers={"Idempotency-Key": "back"},
            )
            eventually(
                lambda: (
                    http.get("/verifications/latest", params={"mode": "full"})
                    .json()
                    .get("statement", {})
                    .get("size")
                    == 2
                )
            )
            kept = tmp_path / "verdict.json"
            kept.write_bytes(http.get("/verifications/latest").content)
            assert client.good("verify", kept, "--vkey", vkey)["verified"] is True

            damage(shell.data_dir)
            # Never the same key: what was recorded before the stop is replayed after it.
            eventually(lambda: post(f"more-{next(NUMBERS)}").status_code == 503)
            problem = post("refused").json()
            assert (problem["code"], problem["world"], problem["action"]) == (
                "LEDGER_BROKEN",
                "RML3",
                "escalate-history",
            )
            assert "position.refunded" in problem["detail"]
            assert http.get(f"/effects/{paid}").status_code == 200
            assert post("paid").status_code == 200
            eventually(lambda: httpx.get(f"{told['url']}/readyz").json()["ledgers_bad"] == 1)
            kept.write_bytes(http.get("/verifications/latest").content)
            bad = client.run("verify", kept, "--vkey", vkey, "--json")
            assert (bad.code, bad.json["verdicts"]["tamper"]) == (1, "bad")
            assert client.run("verify", kept, "--vkey", vkey).code == 1

        with shell.serving() as (_, told):
            url = f"{told['url']}/v1/ledgers/shop/effects"
            headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": "later"}
            assert (
                httpx.post(url, json=capture(), headers=headers, timeout=PATIENCE_S).status_code
                == 503
            )
            lifted = shell.good(
                *("ledger", "resume", "shop", "--because", "an exercise", "--acknowledge")
            )
            assert lifted == {"ledger": "shop", "lifted": ["broken"], "acknowledged": True}
            eventually(
                lambda: (
                    httpx.post(url, json=capture(), headers=headers, timeout=PATIENCE_S).status_code
                    in {200, 201}
                )
            )
            time.sleep(3)
            headers["Idempotency-Key"] = "much-later"
            assert (
                httpx.post(url, json=capture(), headers=headers, timeout=PATIENCE_S).status_code
                == 201
            )
