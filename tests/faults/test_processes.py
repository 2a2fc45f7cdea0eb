"""Several service processes on one database: one chain, one tree, one answer to each request."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from decimal import Decimal
from typing import Any

import pytest

from ledger.canonical import parse_json
from ledger.entry import verify_chain
from ledger.merkle import root_of
from tests.api import support
from tests.api.support import Api, capture, item
from tests.faults.house import all_at_once, callers_of, persistently, proven, verified
from tests.integration.commands import Shell, settled_directory

SERVICES = {"two-services": (1, 1), "two-workers": (2,), "two-services-of-two-workers": (2, 2)}
"""How many workers each service of the arrangement has."""
THREADS = 24

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=SERVICES.values(), ids=SERVICES)
def open_ledger(request) -> Iterator[Callable[[], list[Api]]]:
    """The first service owns the database, the second attaches to it."""
    with settled_directory() as base, ExitStack() as running:
        shell = Shell(data_dir=base / "data")
        urls = []
        for workers in request.param:
            _, announced = running.enter_context(shell.set(WORKERS=str(workers)).serving())
            urls.append(announced["url"])
        yield running.enter_context(callers_of(shell, *urls))


@pytest.fixture
def callers(open_ledger) -> list[Api]:
    """One caller per service, of a fresh ledger."""
    return open_ledger()


def posting(callers: list[Api], at: int, path: str, body: Any, key: str) -> Callable[[], Any]:
    """A post through one service after the other, until it has an answer."""
    api = callers[at % len(callers)]
    return lambda: persistently(lambda: api.post(path, body, key=key))


def history(api: Api) -> list[bytes]:
    """The bytes of all entries, as the feed has them."""
    size = api.get("").json()["size"]
    return [api.get(f"/entries/{seq}/bytes").content for seq in range(size)]


def test_posts_through_several_processes_build_one_chain(callers):
    """No gap, no fork; every receipt verifies, and no size has two roots."""
    posts = 300

    answers = all_at_once(
        [
            posting(callers, at, "/effects", capture(subject=f"order/{at}", note="x"), f"k-{at}")
            for at in range(posts)
        ],
        THREADS,
    )

    assert Counter(answer.status_code for answer in answers) == {201: posts}
    recorded = sorted((answer.json() for answer in answers), key=lambda each: each["seq"])
    assert [each["seq"] for each in recorded] == list(range(posts))
    api = callers[0]
    origin = api.get("").json()["origin"]
    entries = history(api)
    head = verify_chain(entries, ledger=api.ledger, origin=origin)
    assert head.size == posts
    hashes = [bytes.fromhex(each["entry_hash"]) for each in recorded]
    # Every root that was signed is the one of the history that stands.
    for size, root in proven(api, recorded).items():
        assert root == root_of(hashes[:size])
    for each in callers:
        assert verified(each)["size"] == posts


def test_one_key_through_several_processes_is_one_entry(callers):
    """Whichever process was first, all say the same."""
    body = capture(note="words")

    answers = all_at_once([posting(callers, at, "/effects", body, "k") for at in range(100)], 100)

    assert Counter(answer.status_code for answer in answers) == {201: 1, 200: 99}
    told = {
        tuple(answer.json()[name] for name in ("id", "seq", "entry_hash", "recorded_at"))
        for answer in answers
    }
    assert len(told) == 1
    assert len({answer.json()["payloads"][0]["salt"] for answer in answers}) == 1
    proven(callers[0], [answer.json() for answer in answers])
    assert callers[0].get("").json()["size"] == 1


def test_refunds_through_several_processes_never_take_more_than_there_is(callers):
    """The remainder is the ledger's, not a process's."""
    draw = random.Random(11)
    amounts = [Decimal(draw.randint(1, 300)).scaleb(-2) for _ in range(150)]
    effect = callers[0].post("/effects", capture("100.00"), key="effect").json()["id"]

    answers = all_at_once(
        [
            posting(
                callers, at, f"/effects/{effect}/refunds", support.refund(str(amount)), f"r-{at}"
            )
            for at, amount in enumerate(amounts)
        ],
        THREADS,
    )

    assert {answer.status_code for answer in answers} == {201, 409}
    taken = sum(
        amount for amount, answer in zip(amounts, answers, strict=True) if answer.status_code == 201
    )
    position = callers[-1].get(f"/effects/{effect}").json()["position"]
    assert Decimal(position["refunded"]) == taken
    assert Decimal(position["remaining"]) == 100 - taken >= 0
    for amount, answer in zip(amounts, answers, strict=True):
        if answer.status_code == 409:
            assert answer.json()["code"] == "OVER_REFUND"
            assert amount > 100 - taken
    verified(callers[0])


def test_batches_through_several_processes_stand_whole(callers):
    """The items of an atomic batch are neighbours, however many others write."""

    def batch(at: int) -> Any:
        items = [item(f"{at}-{n}") for n in range(5)]
        return {"mode": "atomic", "items": items}

    answers = all_at_once(
        [
            *(posting(callers, at, "/batch", batch(at), "") for at in range(20)),
            *(posting(callers, at, "/effects", capture(), f"single-{at}") for at in range(60)),
        ],
        THREADS,
    )

    assert {answer.status_code for answer in answers} == {200, 201}
    for answer in answers[:20]:
        seqs = [each["result"]["seq"] for each in answer.json()["items"]]
        assert seqs == list(range(seqs[0], seqs[0] + 5))
    keys = [parse_json(each)["effect"]["key"] for each in history(callers[-1])]
    assert len(set(keys)) == len(keys) == 20 * 5 + 60
    verified(callers[0])
