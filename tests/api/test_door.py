"""Laws of the door: whichever way a write comes in, it is answered alike, and answered once."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from api.app import create_app
from api.dependencies import Skin
from api.door import Door
from ledger.canonical import parse_json
from ledger.receipt import parse_receipt
from tests.api.conftest import started
from tests.api.octets import BODY, Whole, answered, raw, told
from tests.api.support import Api, capture


@pytest.fixture(scope="module")
def ports(engine) -> Iterator[tuple[int, int]]:
    """The same service twice: with the door, and as the server has it."""
    with (
        started(create_app(engine), http=Door, lifespan="off") as one,
        started(create_app(engine), lifespan="off") as other,
    ):
        yield one.config.port, other.config.port


REQUESTS: dict[str, list[tuple[bytes, dict[str, Any]]]] = {
    "first and again": [(BODY, {}), (BODY, {}), (BODY, {"prefer": "return=minimal"})],
    "another under the key": [(BODY, {}), (orjson.dumps(capture()), {})],
    "spelled loosely": [(BODY.replace(b":", b" : "), {})],
    "without a type": [(BODY, {"content_type": None})],
    "with a charset": [(BODY, {"content_type": "application/json; charset=utf-8"})],
    "another type": [(BODY, {"content_type": "text/plain"})],
    "without a key": [(BODY, {"idempotency_key": None})],
    "two keys": [(BODY, {"idempotency_key": ["a", "b"]})],
    "an empty key": [(BODY, {"idempotency_key": ""})],
    "a key of the ledger": [(BODY, {"idempotency_key": "_k"})],
    "a key with a space": [(BODY, {"idempotency_key": "a b"})],
    "no credential": [(BODY, {"authorization": None})],
    "a bad credential": [(BODY, {"authorization": "Bearer nobody"})],
    "another scheme": [(BODY, {"authorization": "Basic eDp5"})],
    "two credentials": [(BODY, {"authorization": ["Bearer nobody", "Bearer nobody"]})],
    "a range": [(BODY, {"range": "bytes=0-1"})],
    "two ranges": [(BODY, {"range": ["bytes=0-1", "bytes=0-1"]})],
    "two conditions": [(BODY, {"if_range": ["a", "a"]})],
    "two last events": [(BODY, {"last_event_id": ["1", "1"]})],
    "in gzip": [(BODY, {"content_encoding": "gzip"})],
    "traced": [(BODY, {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"})],
    "observed": [(BODY[:-1] + b',"observed":true}', {})],
    "with a payload": [(BODY[:-1] + b',"note":"words"}', {})],
    "no JSON": [(b"{", {})],
    "nothing": [(b"", {})],
    "a list": [(b"[]", {})],
    "a member twice": [(BODY[:-1] + b',"subject":"b"}', {})],
    "another member": [(BODY[:-1] + b',"kind":"refund"}', {})],
    "an address": [(BODY.replace(b"order/1", b"a@example.com"), {})],
    "too much": [(b" " * 70_000 + BODY, {})],
    "a question": [(BODY, {"path": "/effects?dry_run=true"})],
    "a strange question": [(BODY, {"path": "/effects?x=1"})],
    "nowhere": [(BODY, {"path": "/no/effects"})],
    "the last one": [(BODY, {"connection": "close"})],
    "in the old way": [(BODY, {"version": "1.0"})],
    "expecting": [(BODY, {"content_length": None, "transfer_encoding": "chunked"})],
}


@pytest.mark.parametrize("case", REQUESTS)
def test_both_ways_are_answered_alike(api: Api, engine, ports, case: str) -> None:
    """Each on a ledger of its own, written before, by a credential that was good before."""
    answers = []
    for port in ports:
        ledger = engine.registry.create_ledger(f"{api.ledger}-{port}").name
        mine = api.on(ledger)
        assert told(port, raw(mine, idempotency_key="before"))[0][0] == 201
        requests = []
        for body, words in REQUESTS[case]:
            if "transfer_encoding" in words:
                body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)  # noqa: PLW2901
            requests.append(raw(mine, body, **words))
        given = told(port, *requests)
        answers.append(
            orjson.dumps(given, option=orjson.OPT_SORT_KEYS).replace(ledger.encode(), b"LEDGER")
        )

    assert answers[0] == answers[1]


def test_the_usual_effect_goes_around_the_routes(api: Api, ports, monkeypatch) -> None:
    """Else the law above would say nothing of the door."""
    assert told(ports[0], raw(api, idempotency_key="before"))[0][0] == 201
    monkeypatch.setattr(Skin, "record", None)

    assert told(ports[0], raw(api), raw(api))[1][0] == 200


def test_requests_that_do_not_wait_for_answers_are_answered_in_order(api: Api, ports) -> None:
    """Also where one that is not taken at the door stands between two that are."""
    keys = [f"k-{at}" for at in range(12)]
    sent = [
        raw(api, idempotency_key=key, prefer="return=minimal" if at % 4 == 1 else None)
        for at, key in enumerate(keys)
    ]
    assert told(ports[0], raw(api, idempotency_key="before"))[0][0] == 201

    with socket.create_connection(("127.0.0.1", ports[0]), timeout=30) as connection:
        connection.sendall(b"".join(sent))
        file = Whole(connection)
        answers = [answered(file) for _ in sent]

    seqs = [orjson.loads(body)["seq"] for _, _, body in answers]
    assert [status for status, _, _ in answers] == [201] * len(sent)
    assert seqs == sorted(seqs)
    for key, (_, _, body) in zip(keys, answers, strict=True):
        receipt = orjson.loads(body).get("receipt")
        if receipt is not None:
            assert parse_json(parse_receipt(receipt).entry)["effect"]["key"] == key


@pytest.mark.parametrize("pieces", [2, 7, 100])
def test_a_request_may_come_in_pieces(api: Api, ports, pieces: int) -> None:
    """Cut anywhere."""
    assert told(ports[0], raw(api, idempotency_key="before"))[0][0] == 201
    request = raw(api)
    width = -(-len(request) // pieces)

    with socket.create_connection(("127.0.0.1", ports[0]), timeout=30) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(0, len(request), width):
            connection.sendall(request[at : at + width])
        assert answered(connection)[0] == 201


def test_a_service_that_stops_answers_what_it_has_taken(api: Api, engine, database) -> None:
    """Both what waits to be committed and what is half here; then it closes the connection."""
    request = raw(api)
    with started(create_app(engine), http=Door, lifespan="off") as server:
        port = server.config.port
        assert told(port, raw(api, idempotency_key="before"))[0][0] == 201
        waiting = socket.create_connection(("127.0.0.1", port), timeout=30)
        half = socket.create_connection(("127.0.0.1", port), timeout=30)
        with database.transaction():
            database.execute("select from heads where ledger = %s for update", (api.ledger,))
            waiting.sendall(request)
            half.sendall(raw(api, idempotency_key="half")[:-10])
            time.sleep(0.1)
            server.should_exit = True
            time.sleep(0.3)
        half.sendall(request[-10:])
        for connection in (waiting, half):
            with connection:
                status, headers, _ = answered(connection)
                assert (status, headers["connection"]) == (201, "close")
                assert connection.recv(1) == b""
