"""
The classic: the provider succeeds, the answer is lost, the client dies, and somebody retries.

Each order is paid by processes of their own, killed at the worst moment, restarted, sent twice and
once more in other words, while others record. EFFECT_LEDGER_LOST_ANSWERS=1000 is the long run.
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import random
import signal
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ledger.client import Client
from tests.faults.customer import DIES, Job, pay
from tests.faults.psp import FATES, MAPPING, Provider, provider
from tests.integration.commands import Shell, passable_directory

RUNS = int(os.environ.get("EFFECT_LEDGER_LOST_ANSWERS", "16"))
ANSWER_WITHIN = timedelta(seconds=8)
AT_ONCE = 4
PROCESSES = multiprocessing.get_context("forkserver")
LEDGER = "shop"
# 255: the server of forks saw the child end before it could ask how.
KILLED = (-signal.SIGKILL, 255)


@dataclass(frozen=True, kw_only=True)
class Shop:
    """A service with a ledger and a key for those who pay, and finance."""

    url: str
    key: str
    finance: Shell
    base: Path

    def open(self) -> Client:
        """A client of the ledger."""
        return Client(self.url, key=self.key, ledger=LEDGER)


@pytest.fixture
def shop() -> Iterator[Shop]:
    with passable_directory() as base:
        shell = Shell(data_dir=base / "data")
        with shell.serving() as (_, announced):
            shell.good("ledger", "create", LEDGER)
            paying = shell.good("key", "create", "--name", "till", "--scope", "*")
            scopes = ("recon:prepare", "intents:write", "entries:read", "verify", "proofs:read")
            words = [word for scope in scopes for word in ("--scope", scope)]
            made = shell.good("key", "create", "--name", "fin", *words)
            finance = shell.set(KEY=made["key"], URL=announced["url"])
            source = {"name": "psp", "provider": "psp", "iana_tz": "UTC", "mapping": MAPPING}
            finance.good("recon", "sources", LEDGER, "--save", "-", stdin=json.dumps(source))
            yield Shop(url=announced["url"], key=paying["key"], finance=finance, base=base)


@pytest.mark.slow
def test_a_lost_answer_is_never_a_second_charge(shop):
    """Charged once at most; unknown until the provider's report; history once, or not at all."""
    began = datetime.now(UTC)
    with provider() as psp, shop.open() as ledger:
        with _others(shop):
            ended = _all_orders(shop, psp)
        _wait_until(max(each.answer_by for each in ended))

        # 1. Whatever died and whoever retried: nobody was charged twice.
        charged = Counter(each.order for each in psp.charges)
        assert set(charged.values()) <= {1}, charged.most_common(3)
        # 2. What is not history and was begun is unknown, and nothing else is.
        intents = _by_order(ledger)
        states = {
            order: Counter(each["state"] for each in found) for order, found in intents.items()
        }
        for order, found in states.items():
            assert found["handed_off"] + found["unknown"] <= 1, (order, found)
            assert found["executing"] + found["promised"] == 0, (order, found)
        lost = {order for order in charged if not states[order]["handed_off"]}
        assert lost
        assert all(states[order]["unknown"] for order in lost), lost
        unknown = {order for order, found in states.items() if found["unknown"]}

        # 3. The provider's report, brought by a person with commands, ends every one of them.
        concluded = _conclude(shop, psp, began)
        assert {each["state"] for each in concluded} <= {"handed_off", "failed"}
        assert len(concluded) == len(unknown)

        # 4. Each charge is history once, with the provider's own id; nothing else is.
        entries = defaultdict(list)
        for found in ledger.entries(type="card.capture"):
            entries[found.entry["effect"]["business_key"]].append(found.entry["effect"])
        assert {f"capture/{order}" for order in charged} == set(entries)
        for charge in psp.charges:
            [effect] = entries[f"capture/{charge.order}"]
            assert {"system": "psp", "rel": "transaction", "ref": charge.id} in effect["evidence"]
        assert not list(ledger.intents(state="open"))
    _tell(psp, ended, lost, unknown, concluded)


# ---- Paying -----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How the processes of one order ended."""

    order: str
    fate: str
    dies: str | None
    codes: Sequence[int]
    """Of its processes; see `customer`."""
    answer_by: datetime


def _all_orders(shop: Shop, psp: Provider) -> list[Ended]:
    PROCESSES.set_forkserver_preload(["tests.faults.customer"])
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda at: _order(shop, psp, at), range(RUNS)))


def _order(shop: Shop, psp: Provider, at: int) -> Ended:
    """An order that is paid, dies, is restarted, and is asked for again in three ways."""
    dice = random.Random(at)
    order = f"order-{at}"
    # Each fate of the provider's in turn, and each moment of the client's own.
    fate = FATES[at % len(FATES)]
    dies = dice.choice(DIES) if fate in ("answers", "drops") and dice.random() < 0.7 else None
    psp.fates[order] = fate
    answer_by = datetime.now(UTC) + ANSWER_WITHIN
    job = Job(
        url=shop.url,
        key=shop.key,
        ledger=LEDGER,
        provider=psp.url,
        order=order,
        minor=1_000 + at,
        answer_by=answer_by.isoformat(),
        name=order,
        dies=dies,
    )
    first = _begin(job)
    if dice.random() < 0.5:
        first.join()
    again = replace(job, dies=None)
    # The queue delivers twice, and an agent says the same in other words.
    retries = [_begin(again), _begin(again), _begin(replace(again, name=f"rephrased-{at}"))]
    codes = [_end(process) for process in (first, *retries)]
    # Started once more when all are gone, as whoever finds them dead does.
    codes.append(_end(_begin(again)))
    return Ended(order=order, fate=fate, dies=dies, codes=codes, answer_by=answer_by)


def _begin(job: Job) -> Any:
    process = PROCESSES.Process(target=pay, args=(job,))
    process.start()
    return process


def _end(process: Any) -> int:
    process.join()
    code: int = process.exitcode
    process.close()
    return code


@contextmanager
def _others(shop: Shop) -> Iterator[None]:
    """Others who record meanwhile, without a pause."""
    is_over = threading.Event()
    thread = threading.Thread(target=_record, args=(shop, is_over))
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def _record(shop: Shop, is_over: threading.Event) -> None:
    said = {"kind": "effect", "type": "email.sent", "occurred_at": datetime.now(UTC).isoformat()}
    with shop.open() as ledger:
        for at in itertools.count():
            if is_over.is_set():
                return
            ledger.batch([{**said, "key": f"other-{at}-{n}"} for n in range(5)])


# ---- Looking ----------------------------------------------------------------------------


def _wait_until(moment: datetime) -> None:
    time.sleep(max(0.0, (moment - datetime.now(UTC)).total_seconds()) + 0.2)


def _by_order(ledger: Client) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for intent in ledger.intents():
        found[intent["business_key"].partition("/")[2]].append(intent)
    return found


def _conclude(shop: Shop, psp: Provider, began: datetime) -> list[dict[str, Any]]:
    """As finance does it, ten days later."""
    report, summary = shop.base / "psp.csv", shop.base / "summary.json"
    today = datetime.now(UTC).date()
    report.write_text(psp.report())
    summary.write_text(json.dumps(psp.summary(began.date(), today)))
    fin = shop.finance
    fin.good("recon", "import", LEDGER, report, "--source", "psp", "--controls", summary)
    asked = ("--period", str(began.year), "--today", str(today + timedelta(days=10)))
    fin.run("recon", "run", LEDGER, *asked)
    concluded = fin.good("recon", "conclude", LEDGER)
    again = fin.good("recon", "run", LEDGER, *asked)
    assert (again["tied"], again["intents"]) == (True, [])
    verified = fin.run("verify", f"{shop.url}/v1/ledgers/{LEDGER}", "--json").json
    assert verified["verdicts"]["tamper"] == "ok", verified
    assert concluded["left"] == 0
    found: list[dict[str, Any]] = concluded["intents"]
    return found


def _tell(
    psp: Provider,
    ended: Sequence[Ended],
    lost: set[str],
    unknown: set[str],
    concluded: Sequence[dict[str, Any]],
) -> None:
    """The figures of the run, for whoever looks at its output (`pytest -s`)."""
    codes = Counter(code for each in ended for code in each.codes)
    print(  # noqa: T201 - figures for whoever asked for the long run.
        f"\n{len(ended)} orders, {sum(codes.values())} processes, "
        f"{sum(codes[code] for code in KILLED)} killed; {psp.requests} requests to the provider, "
        f"{len(psp.charges)} charges; {len(lost)} lost answers, {len(unknown)} unknown; concluded "
        f"{Counter(each['state'] for each in concluded)}; exit codes {dict(codes)}"
    )
