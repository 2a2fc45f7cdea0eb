"""Lists, feeds and stories that are not what was asked for are an alarm, never an answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from ledger.canonical import canonical_bytes
from ledger.client import Client, ReceiptInvalid
from ledger.merkle import leaf_hash
from tests.client.fake import CERTIFICATES, EFFECT, LEDGER, VKEY, answers, fake_service

SAID = {
    **EFFECT,
    "kind": "effect",
    "actor": {"id": "till-7", "kind": "service"},
    "business_key": "invoice/1",
    "causes": [{"kind": "trace", "ref": "t-1"}],
    "evidence": [{"system": "psp", "rel": "transaction", "ref": "ch:1"}],
    "labels": {"shop": "berlin:1"},
    "occurred_at": "2026-03-02T09:15:00.000000Z",
    "subject": "order/1",
}
HTTP = httpx.Client(verify=CERTIFICATES)
Told = dict[str, Any]


def told(seq: int, prev: str, *, ledger: str = LEDGER, **members: Any) -> Told:
    """An entry as a service tells it, with a hash that is its own."""
    place = {
        "id": f"01890a5d-ac96-774b-bcce-b302099a80{seq:02}",
        "ledger": ledger,
        "recorded_at": "2026-03-02T09:15:01.000000Z",
        "seq": seq,
    }
    effect = {**SAID, "key": f"k-{seq}", **members}
    entry = {**place, "effect": effect, "poster": "shop", "prev": prev, "v": 1}
    hashed = leaf_hash(canonical_bytes(entry)).hex()
    return {**place, "entry_hash": hashed, "entry": entry}


def chain(count: int) -> list[Told]:
    found: list[Told] = []
    for seq in range(count):
        found.append(told(seq, found[-1]["entry_hash"] if found else "0" * 64))
    return found


CHAIN = chain(4)
OTHERS = told(1, CHAIN[0]["entry_hash"], ledger="shop2")
FORKED = told(2, "f" * 64)


def ask(what: Any, *documents: Mapping[str, Any]) -> Any:
    script = [answers(200, document) for document in documents]
    with (
        fake_service(*script) as service,
        Client(service.url, key="k", ledger=LEDGER, vkey=VKEY, http=HTTP) as client,
    ):
        return what(client)


# ---- Feeds ----------------------------------------------------------------------------


def fed(*entries: Told, after: int | None = None) -> Told:
    return {"entries": list(entries), "next_after": entries[-1]["seq"] if after is None else after}


END = fed(after=3)
FEEDS = {
    "another ledger's": [fed(CHAIN[0], OTHERS)],
    "a gap": [fed(CHAIN[0], CHAIN[2])],
    "a gap between parts": [fed(CHAIN[0]), fed(CHAIN[2])],
    "a first part that is not the first": [fed(*CHAIN[1:])],
    "the wrong order": [fed(CHAIN[1], CHAIN[0])],
    "one twice": [fed(CHAIN[0], CHAIN[0])],
    "another history": [fed(CHAIN[0], CHAIN[1], FORKED)],
    "another history in the next part": [fed(*CHAIN[:2]), fed(FORKED)],
    "an end beyond its entries": [fed(*CHAIN[:2], after=3)],
}


def test_a_feed_without_a_gap_is_told_whole():
    found = ask(lambda client: list(client.feed()), fed(*CHAIN[:2]), fed(*CHAIN[2:]), END)

    assert [each.seq for each in found] == [0, 1, 2, 3]


@pytest.mark.parametrize("name", FEEDS)
def test_a_feed_that_leaves_out_or_forks_is_an_alarm(name):
    with pytest.raises(ReceiptInvalid):
        ask(lambda client: list(client.feed()), *FEEDS[name], END)


# ---- Lists ----------------------------------------------------------------------------


def listed(*entries: Told, cursor: str | None = None) -> Told:
    return {"entries": list(entries), "next_cursor": cursor}


# Filter -> a value that the entries have, and one that they have not.
FILTERS = {
    "kind": ("effect", "refund"),
    "type": ("card.capture", "card.void"),
    "business_key": ("invoice/1", "invoice/2"),
    "subject": ("order/1", "order/2"),
    "actor": ("till-7", "till-8"),
    "poster": ("shop", "shop2"),
    "currency": ("EUR", "USD"),
    "label": ("shop:berlin:1", "shop:bonn"),
    "evidence": ("psp:ch:1", "psp:ch:2"),
    "cause": ("trace:t-1", "trace:t-2"),
    "occurred_from": ("2026-03-02T10:15:00+01:00", "2026-03-02T09:15:01Z"),
    "occurred_to": ("2026-03-02T09:15:01Z", "2026-03-02T09:15:00Z"),
    "recorded_from": ("2026-03-02T09:15:01Z", "2026-03-02T09:15:02Z"),
    "recorded_to": ("2026-03-02T09:15:02Z", "2026-03-02T09:15:01Z"),
}


@pytest.mark.parametrize("name", FILTERS)
def test_a_listed_entry_has_what_was_asked_for(name):
    has, has_not = FILTERS[name]

    found = ask(lambda client: list(client.entries(**{name: has})), listed(*CHAIN))
    assert [each.seq for each in found] == [0, 1, 2, 3]
    with pytest.raises(ReceiptInvalid):
        ask(lambda client: list(client.entries(**{name: has_not})), listed(*CHAIN))


def test_a_list_is_in_order_over_all_its_pages():
    def entries(client: Client, **filters: str) -> list[int]:
        return [each.seq for each in client.entries(**filters)]

    first, rest = listed(*CHAIN[:2], cursor="c"), listed(CHAIN[3])
    assert ask(entries, first, rest) == [0, 1, 3]
    backwards = listed(*reversed(CHAIN))
    assert ask(lambda client: entries(client, order="desc"), backwards) == [3, 2, 1, 0]
    for documents in ([backwards], [first, listed(CHAIN[1])], [listed(CHAIN[0], OTHERS)]):
        with pytest.raises(ReceiptInvalid):
            ask(entries, *documents)


# ---- Stories --------------------------------------------------------------------------


REFUND = told(1, CHAIN[0]["entry_hash"], kind="refund", corrects=CHAIN[0]["id"])


def story(original: Told = CHAIN[0], **corrects: Any) -> Told:
    correction = {**REFUND, "corrects": CHAIN[0]["id"], **corrects}
    return {"original": original, "corrections": [correction], "explanations": []}


def explained(*corrects: int) -> Told:
    """A story whose only corrections are explanations, each of the entry at such a seq."""
    entries = [CHAIN[0]]
    for seq, target in enumerate(corrects, start=1):
        id_ = told(target, "")["id"]
        entry = told(seq, entries[-1]["entry_hash"], kind="explanation", corrects=id_)
        entries.append({**entry, "corrects": id_})
    return {"original": CHAIN[0], "corrections": [], "explanations": entries[1:]}


STORIES = {
    "with an explanation of what came later": explained(2, 0),
    "with an explanation of itself": explained(1),
    "with one entry twice": {**story(), "explanations": story()["corrections"]},
    "another effect's": story(CHAIN[1]),
    "another ledger's": story(told(0, "0" * 64, ledger="shop2")),
    "with another's correction": story(corrects=CHAIN[2]["id"]),
    "with a correction that says another": story(
        **told(1, CHAIN[0]["entry_hash"], kind="refund", corrects=CHAIN[3]["id"])
    ),
    "with other words than were hashed": story({**CHAIN[0], "entry": CHAIN[1]["entry"]}),
}


def test_a_story_is_told_of_the_effect_that_was_asked_for():
    asked = CHAIN[0]["id"].upper()

    assert ask(lambda client: client.story(asked), story())["original"] == CHAIN[0]


def test_an_explanation_may_explain_an_explanation():
    found = ask(lambda client: client.story(CHAIN[0]["id"]), explained(0, 1, 2, 0))

    assert [each["seq"] for each in found["explanations"]] == [1, 2, 3, 4]


@pytest.mark.parametrize("name", STORIES)
def test_a_story_of_something_else_is_an_alarm(name):
    with pytest.raises(ReceiptInvalid):
        ask(lambda client: client.story(CHAIN[0]["id"]), STORIES[name])
