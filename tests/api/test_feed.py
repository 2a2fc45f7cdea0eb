"""A feed shows every entry after a position, in order, and resumes exactly where it was."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import httpx
import orjson
import pytest

from tests.api.support import Api, capture, item


def record(api: Api, count: int, prefix: str = "k") -> None:
    items = [item(f"{prefix}{at}") for at in range(count)]
    api.post("/batch", {"mode": "atomic", "items": items}).raise_for_status()


def events(response: httpx.Response) -> Iterator[tuple[int, dict[str, object]]]:
    seq, kind = -1, ""
    for line in response.iter_lines():
        name, _, value = line.partition(": ")
        if name == "id":
            seq = int(value)
        elif name == "event":
            kind = value
        elif name == "data":
            assert kind == "entry", value
            yield seq, orjson.loads(value)


def take(api: Api, count: int, path: str = "/feed", **headers: str) -> list[int]:
    sent = api.headers(None, {"Accept": "text/event-stream", **headers})
    with api.http.stream("GET", api.url(path), headers=sent, timeout=20) as response:
        assert response.status_code == 200
        assert response.headers["Content-Type"].startswith("text/event-stream")
        seen = []
        for seq, document in events(response):
            assert document["seq"] == seq
            seen.append(seq)
            if len(seen) == count:
                break
        return seen


def test_long_poll_begins_before_the_first_entry(api: Api) -> None:
    """`after` is the seq of the last entry seen; -1 has seen none."""
    record(api, 3)

    body = api.get("/feed", after=-1).json()

    assert [entry["seq"] for entry in body["entries"]] == [0, 1, 2]
    assert body["next_after"] == 2
    assert api.get("/feed", after=2).json() == {"entries": [], "next_after": 2}
    assert api.get("/feed", after=0, limit=1).json()["next_after"] == 1


def test_long_poll_waits_for_the_next_entry(api: Api) -> None:
    """The answer comes with the entry, not with the end of the wait."""
    threading.Timer(0.3, lambda: api.post("/effects", capture(), key="k1")).start()
    began = time.monotonic()

    body = api.get("/feed", after=-1, wait=10).json()

    assert [entry["seq"] for entry in body["entries"]] == [0]
    assert 0.2 < time.monotonic() - began < 5


def test_long_poll_ends_with_its_wait(api: Api) -> None:
    """Nothing new is an answer."""
    began = time.monotonic()

    assert api.get("/feed", after=-1, wait=0.3).json() == {"entries": [], "next_after": -1}
    assert 0.2 < time.monotonic() - began < 5


def test_stream_shows_what_is_there_and_what_comes(api: Api) -> None:
    """Old and new entries in one line, without a gap between them."""
    record(api, 3)
    threading.Timer(0.3, lambda: record(api, 2, "late")).start()

    assert take(api, 5) == [0, 1, 2, 3, 4]


def test_stream_resumes_after_the_last_event(api: Api) -> None:
    """What a browser sends by itself wins over the query."""
    record(api, 5)

    assert take(api, 2, "/feed?after=-1", **{"Last-Event-ID": "2"}) == [3, 4]
    assert take(api, 3, "/feed?after=1&limit=1") == [2, 3, 4]


def test_quiet_stream_has_a_heartbeat(api: Api) -> None:
    """Proxies and clients can tell quiet from dead."""
    sent = api.headers(None, {"Accept": "text/event-stream"})
    with api.http.stream("GET", api.url("/feed"), headers=sent, timeout=20) as response:
        lines = response.iter_lines()
        assert next(line for line in lines if line.startswith(":"))


@pytest.mark.parametrize(
    "query",
    [
        "after=-2",
        "after=x",
        "after=99999999999999999999",
        "limit=0",
        "limit=1001",
        "wait=61",
        "wait=nan",
        "from=0",
    ],
)
def test_wrong_position_is_refused(api: Api, query: str) -> None:
    """Before anything is streamed."""
    for accept in ("application/json", "text/event-stream"):
        response = api.get(f"/feed?{query}", headers={"Accept": accept})
        assert (response.status_code, response.json()["code"]) == (422, "INVALID_PARAMETER")


@pytest.mark.parametrize("last", ["x", "-1", "1.5", "٣", "9" * 40])
def test_wrong_last_event_is_refused(api: Api, last: str) -> None:
    """A stream that began elsewhere would hide entries."""
    headers = {"Accept": "text/event-stream", "Last-Event-ID": last.encode()}

    response = api.get("/feed", headers=headers)

    assert (response.status_code, response.json()["code"]) == (422, "INVALID_PARAMETER")


@pytest.mark.parametrize(
    ("query", "headers"),
    [("?after=5&wait=30", {}), ("", {"Accept": "text/event-stream", "Last-Event-ID": "5"})],
    ids=["poll", "stream"],
)
def test_who_has_seen_more_than_there_is_is_told(api: Api, query: str, headers) -> None:
    """Silence would hide that the ledger was set back; the newest entry itself is no such case."""
    record(api, 5)

    response = api.get(f"/feed{query}", headers)

    assert (response.status_code, response.json()["code"]) == (409, "AHEAD_OF_LEDGER")
    assert response.json()["world"] == "RML3"
    assert response.json()["details"] == {"size": 5, "after": 5}
    assert api.get("/feed?after=4").json() == {"entries": [], "next_after": 4}
    assert api.on(api.ledger).get("/feed?after=-1").status_code == 200
