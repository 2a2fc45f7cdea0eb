"""An entry commits to the words and documents that were sent with it, or there is an alarm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import orjson
import pytest

from ledger.client import Client, ReceiptInvalid
from tests.client.fake import (
    CERTIFICATES,
    EFFECT,
    LEDGER,
    VKEY,
    Seen,
    answers,
    fake_service,
    recorded_document,
)

HTTP = httpx.Client(verify=CERTIFICATES)
LETTER = {"name": "letter", "text": "Dear customer, ..."}
SCAN = {"name": "scan", "base64": "AAEC", "media_type": "image/png"}


def post(tell: Callable[[Any], Any], sent_on: dict[str, Any], **kept: Any) -> Any:
    """Post payloads to a service that is sent something else, and that tells of it as it likes."""

    def behave(connection: Any, seen: Seen) -> None:
        words = {**orjson.loads(seen.body), **sent_on}
        document = recorded_document(replace(seen, body=orjson.dumps(words)))
        answers(201, tell(document))(connection, seen)

    with (
        fake_service(behave) as service,
        Client(service.url, key="k", ledger=LEDGER, vkey=VKEY, http=HTTP) as client,
    ):
        return client.effect(key="k-1", **EFFECT, **kept)


def as_it_is(document: Any) -> Any:
    return document


def with_first(**members: Any) -> Callable[[Any], Any]:
    def tell(document: Any) -> Any:
        document["payloads"][0] |= members
        return document | {"replayed": bool(members.get("erased"))}

    return tell


@pytest.mark.parametrize(
    "kept", [{}, {"note": "By hand."}, {"payloads": [SCAN, LETTER], "note": "By hand."}]
)
def test_what_was_sent_is_what_is_committed_to(kept):
    assert post(as_it_is, {}, **kept).verified is not None


def test_of_what_was_erased_since_a_replay_tells_no_salt():
    assert post(with_first(salt=None, erased=True), {}, payloads=[LETTER]).replayed


LIES = {
    "another text": (as_it_is, {"payloads": [{**LETTER, "text": "Dear customer! ..."}, SCAN]}),
    "another name": (as_it_is, {"payloads": [{**LETTER, "name": "brief"}, SCAN]}),
    "another media type": (as_it_is, {"payloads": [{**LETTER, "media_type": "text/html"}, SCAN]}),
    "one less": (as_it_is, {"payloads": [LETTER]}),
    "one more": (as_it_is, {"note": "By nobody."}),
    "no salt": (with_first(salt=None), {}),
    "another salt": (with_first(salt="AAAAAAAAAAAAAAAAAAAAAA=="), {}),
    "half a salt": (with_first(salt="AAAAAAAAAAA="), {}),
    "no payloads told": (lambda document: document | {"payloads": []}, {}),
    "payloads that are none": (lambda document: document | {"payloads": "two"}, {}),
}


@pytest.mark.parametrize("name", LIES)
def test_what_was_not_sent_and_is_committed_to_is_an_alarm(name):
    tell, sent_on = LIES[name]

    with pytest.raises(ReceiptInvalid):
        post(tell, sent_on, payloads=[LETTER, SCAN])
