"""Laws of stopping: nobody who waits is left without words, or told what is not so."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import orjson
import pytest

from api import connection as module
from api.app import create_app
from api.door import Door
from api.errors import LateRequestError
from ledger.worlds.rml import PROBLEM_MEDIA_TYPE
from tests.api.conftest import started
from tests.api.octets import BODY, Whole, answered, raw
from tests.api.support import Api, capture, item

GRACE_S = 1


@pytest.fixture
def serve(engine, monkeypatch) -> Callable[[], object]:
    # Each application takes the hook of the one sequencer, and gives it up when it ends.
    monkeypatch.setattr(engine.sequencer, "on_batch", engine.sequencer.on_batch)
    return lambda: started(create_app(engine), http=Door, timeout_graceful_shutdown=GRACE_S)


def asking(port: int, api: Api, path: str, **headers: str) -> socket.socket:
    """A connection on which a question was asked."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=30)
    sent = {"host": "x", "authorization": f"Bearer {api.token}", **headers}
    lines = [f"GET {api.url(path)} HTTP/1.1", *(f"{k}: {v}" for k, v in sent.items())]
    connection.sendall("\r\n".join([*lines, "", ""]).encode())
    return connection


def posting(port: int, request: bytes) -> socket.socket:
    """A connection on which a request was sent."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=30)
    connection.sendall(request)
    return connection


def test_who_waits_for_news_is_answered_at_once(api: Api, serve) -> None:
    """A long poll says where it was; a stream ends as streams do. Neither is cut at the end."""
    with serve() as server:
        polling = asking(server.config.port, api, "/feed?wait=60")
        streaming = asking(server.config.port, api, "/feed", accept="text/event-stream")
        assert streaming.recv(1_000)
        time.sleep(0.1)
        server.should_exit = True
        with polling, streaming:
            status, headers, body = answered(polling)
            assert (status, headers["connection"]) == (200, "close")
            assert orjson.loads(body) == {"entries": [], "next_after": -1}
            heard = b""
            while piece := streaming.recv(1_000):
                heard += piece
        assert heard.endswith(b"0\r\n\r\n")


def test_a_request_that_is_not_here_in_time_is_sent_to_the_next_service(
    api: Api, serve, monkeypatch
) -> None:
    """Whichever way it would have gone: nothing was written, and it is said."""
    monkeypatch.setattr(module, "ENDS_WITHIN_S", 0.2)
    batch = orjson.dumps({"mode": "atomic", "items": [item("b")]})
    with serve() as server:
        port = server.config.port
        halves = [
            posting(port, raw(api, idempotency_key="half")[:-3]),
            posting(port, raw(api, batch, path="/batch", idempotency_key=None)[:-3]),
        ]
        time.sleep(0.1)
        server.should_exit = True
        for connection in halves:
            with connection:
                status, headers, body = answered(connection)
                assert (status, headers["content-type"]) == (503, PROBLEM_MEDIA_TYPE)
                assert orjson.loads(body)["code"] == "STOPPING"
                assert headers["rml-action"] == "retry-with-backoff"

    assert api.get("").json()["size"] == 0


def test_a_write_that_is_not_answered_in_time_is_told_that_nobody_knows(
    api: Api, serve, database
) -> None:
    """At the door, by the routes and in a batch; and the same key tells the outcome afterwards."""
    assert api.post("/effects", capture(), key="before").status_code == 201
    items = [item("c")]
    batch = orjson.dumps({"mode": "independent", "items": items})
    note = BODY[:-1] + b',"note":"words"}'
    with serve() as server:
        port = server.config.port
        with posting(port, raw(api, idempotency_key="before")) as connection:
            answered(connection)
        with database.transaction():
            database.execute("select from heads where ledger = %s for update", (api.ledger,))
            waiting = [
                posting(port, raw(api, idempotency_key="a")),
                posting(port, raw(api, note, idempotency_key="b")),
                posting(port, raw(api, batch, path="/batch", idempotency_key=None)),
            ]
            time.sleep(0.2)
            server.should_exit = True
            for connection in waiting:
                with connection:
                    status, headers, body = answered(connection)
                    assert (status, headers["content-type"]) == (503, PROBLEM_MEDIA_TYPE)
                    assert orjson.loads(body)["code"] == "OUTCOME_UNKNOWN"
                    assert headers["rml-world"] == "RML2"
                    assert int(headers["retry-after"]) >= 1

    assert api.send("/effects", BODY, key="a").status_code in (200, 201)
    assert api.post("/effects", orjson.loads(note), key="b").status_code in (200, 201)
    assert api.post("/batch", {"mode": "independent", "items": items}).status_code == 200
    assert api.get("").json()["size"] == 4


def test_what_waits_behind_a_write_when_the_service_stops_was_not_begun(
    api: Api, serve, database
) -> None:
    """The write is told that nobody knows, what is behind it that nothing was written."""
    assert api.post("/effects", capture(), key="before").status_code == 201
    note = BODY[:-1] + b',"note":"words"}'
    with serve() as server:
        port = server.config.port
        with posting(port, raw(api, idempotency_key="before")) as connection:
            answered(connection)
        with database.transaction():
            database.execute("select from heads where ledger = %s for update", (api.ledger,))
            sent = raw(api, idempotency_key="a") + raw(api, note, idempotency_key="b")
            with posting(port, sent) as connection:
                time.sleep(0.2)
                server.should_exit = True
                file = Whole(connection)
                told = [orjson.loads(answered(file)[2]) for _ in range(2)]

    assert [each["code"] for each in told] == ["OUTCOME_UNKNOWN", "STOPPING"]
    assert api.send("/effects", note, key="b").status_code == 201


def test_what_was_refused_is_not_begun_when_the_service_stops(api: Api, serve) -> None:
    """A request that was kept at the door, and came no further, is answered once."""
    with serve() as server:
        port = server.config.port
        with posting(port, raw(api, idempotency_key="a")[:-3]) as connection:
            time.sleep(0.1)
            [at_the_door] = server.server_state.connections
            at_the_door.loop.call_soon_threadsafe(
                at_the_door.refuse, LateRequestError("the rest does not come")
            )
            assert answered(connection)[0] == 408
            server.should_exit = True
            assert connection.recv(1_000) == b""
        assert not server.server_state.tasks
