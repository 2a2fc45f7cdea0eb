"""Laws of connections: what is no request of ours is refused with words, after what came before."""

from __future__ import annotations

import asyncio
import io
import socket
import time
from typing import Any

import orjson
import pytest

from api import connection as module
from ledger.worlds.rml import PROBLEM_MEDIA_TYPE
from tests.api.conftest import started
from tests.api.octets import BODY, Whole, answered, raw
from tests.api.support import Api, capture

NOTE = BODY[:-1] + b',"note":"words"}'
CHUNKED = b"(a POST whose body comes in chunks)"


def asked(headers: bytes = b"", target: bytes = b"/healthz") -> bytes:
    """A question that anybody may ask."""
    return b"GET %b HTTP/1.1\r\nhost: x\r\n%b\r\n" % (target, headers)


def heard(api: Api, sent: bytes) -> list[tuple[int, dict[str, str], bytes]]:
    """Every answer to `sent`, until the service hangs up."""
    post = raw(api, b"", content_length=None, transfer_encoding="chunked")
    with socket.create_connection(("127.0.0.1", api.http.base_url.port or 0), 30) as connection:
        connection.sendall(sent.replace(CHUNKED, post))
        heard = _Heard(b"".join(iter(lambda: connection.recv(65_536), b"")))
    answers = []
    while heard.tell() < len(heard.getvalue()):
        answers.append(answered(heard))
    return answers


class _Heard(io.BytesIO):
    """All that was answered, read as a connection is."""

    def makefile(self, *_: object) -> io.BytesIO:
        return self

    def close(self) -> None:
        """Whoever reads one answer leaves the next."""


REFUSED = {
    "no method": (b"FOO / HTTP/1.1\r\n\r\n", 400),
    "line feeds alone": (b"GET /healthz HTTP/1.1\nhost: x\n\n", 400),
    "two lengths": (asked(b"content-length: 1\r\ncontent-length: 2\r\n"), 400),
    "a negative length": (asked(b"content-length: -1\r\n"), 400),
    "a bad size of a chunk": (CHUNKED + b"zz\r\n", 400),
    "a bad size of a later chunk": (CHUNKED + b"1\r\n{\r\nzz\r\n", 400),
    "another coding": (asked(b"transfer-encoding: gzip, chunked\r\n") + b"0\r\n\r\n", 400),
    "a coding twice": (asked(b"transfer-encoding: chunked\r\n" * 2) + b"0\r\n\r\n", 400),
    "a long header": (asked(b"a: %b\r\n" % (b"b" * module.HEAD_BYTES_MAX)), 431),
    "a header without end": (b"GET / HTTP/1.1\r\na: " + b"b" * 2_000_000, 431),
    "many headers": (asked(b"a: b\r\n" * module.HEADER_LINES_MAX), 431),
    "many small headers": (asked(b"a: b\r\n" * 100_000), 431),
    "a long trailer": (CHUNKED + b"0\r\na: " + b"b" * 2_000_000, 431),
    "a long path": (asked(target=b"/" + b"a" * module.HEAD_BYTES_MAX), 414),
    "a path without end": (b"GET /" + b"a" * 2_000_000, 414),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_taken_is_told_as_a_problem(api: Api, case: str) -> None:
    """The status, the world and what to do, as every other error has them; and the limit."""
    sent, expected = REFUSED[case]

    status, headers, body = heard(api, sent)[-1]

    assert (status, headers["content-type"]) == (expected, PROBLEM_MEDIA_TYPE)
    assert (headers["rml-world"], headers["connection"]) == ("RML1", "close")
    if status != 400:
        assert orjson.loads(body)["details"]["limit"] == module.HEAD_BYTES_MAX


def test_as_many_headers_as_the_limit_says_are_taken(api: Api) -> None:
    """The limits themselves are within them."""
    most = b"a: b\r\n" * (module.HEADER_LINES_MAX - 2)
    assert heard(api, asked(most + b"connection: close\r\n"))[0][0] == 200


@pytest.mark.parametrize("bodies", [[BODY], [NOTE], [BODY, NOTE, BODY]], ids=["hot", "not", "all"])
def test_what_was_recorded_is_answered_before_garbage_is_refused(api: Api, bodies) -> None:
    """Whichever way it went: each has its 201, in order; then comes the refusal, and the end."""
    assert api.post("/effects", capture(), key="before").status_code == 201
    sent = [raw(api, body, idempotency_key=f"k-{at}") for at, body in enumerate(bodies)]

    answers = heard(api, b"".join(sent) + b"GARBAGE\r\n\r\n")

    assert [status for status, _, _ in answers] == [*(201 for _ in bodies), 400]
    seqs = [orjson.loads(body)["seq"] for _, _, body in answers[:-1]]
    assert seqs == [*range(1, len(bodies) + 1)]
    assert api.get("").json()["size"] == 1 + len(bodies)


@pytest.mark.parametrize(
    ("sent", "limit"), [(b"GET /healthz HTTP/1.1\r\nho", "head"), (CHUNKED + b"5\r\n{", "body")]
)
def test_who_does_not_send_on_is_told_so(api: Api, monkeypatch, sent: bytes, limit: str) -> None:
    """And does not keep a connection from others."""
    monkeypatch.setattr(module, "COMES_WITHIN_S", 0.1)
    [(status, headers, body)] = heard(api, sent)

    assert (status, headers["content-type"]) == (408, PROBLEM_MEDIA_TYPE)
    assert orjson.loads(body)["retryable"] is True
    assert limit in orjson.loads(body)["detail"]


def test_who_sent_all_is_not_told_to_be_late(api: Api, monkeypatch) -> None:
    """What was sent behind questions that take their time waits for us, and not for its sender."""
    monkeypatch.setattr(module, "COMES_WITHIN_S", 0.2)
    feed = asked(b"authorization: Bearer %b\r\n" % (api.token or "").encode(), target=b"FEED")
    feed = feed.replace(b"FEED", api.url("/feed?wait=1").encode())
    last = asked(b"connection: close\r\n")
    with socket.create_connection(("127.0.0.1", api.http.base_url.port or 0), 30) as connection:
        file = Whole(connection)
        connection.sendall(feed + feed + last[:20])
        time.sleep(0.1)
        connection.sendall(last[20:])
        answers = [answered(file)[0] for _ in range(3)]

    assert answers == [200, 200, 200]


def test_a_slow_body_is_taken_while_it_comes(api: Api, monkeypatch) -> None:
    """It may take longer than the time in which some of it has to come."""
    monkeypatch.setattr(module, "COMES_WITHIN_S", 0.15)
    monkeypatch.setattr(module, "COMES_BYTES_MIN", 1)
    request = raw(api, NOTE)
    with socket.create_connection(("127.0.0.1", api.http.base_url.port or 0), 30) as connection:
        for at in range(-5, 0):
            connection.sendall(request[: len(request) - 5] if at == -5 else b"")
            connection.sendall(request[at:][:1])
            time.sleep(0.08)
        assert answered(connection)[0] == 201


# As the client of Java's own library sends them with every request in the clear.
JAVAS = {
    "connection": "Upgrade, HTTP2-Settings",
    "upgrade": "h2c",
    "http2_settings": "AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA",
}
WRONG = b'{"bogus":1}'
CHUNKS = {"content_length": None, "transfer_encoding": "chunked"}


@pytest.mark.parametrize(
    ("path", "body", "words", "status"),
    [
        ("/effects", BODY, {}, 201),
        ("/effects", b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY), CHUNKS, 201),
        ("/periods/2026-03/close", WRONG, {}, 422),
        ("/periods/2026-03/review", WRONG, {}, 422),
        ("/verifications", WRONG, {}, 422),
        ("/effects", b"", {}, 400),
    ],
    ids=["effect", "chunks", "close", "review", "verification", "nothing"],
)
def test_a_wish_for_another_protocol_is_passed_over(
    api: Api, path: str, body: bytes, words: dict, status: int
) -> None:
    """RFC 9110 Section 7.8: the body is read as without the wish, and so is what follows."""
    wishing = raw(api, body, path=path, **JAVAS, **words)
    sent = wishing + raw(api, idempotency_key="next", **JAVAS) + asked(b"connection: close\r\n")
    with socket.create_connection(("127.0.0.1", api.http.base_url.port or 0), 30) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        file = Whole(connection)
        for at in range(0, len(sent), 150):
            connection.sendall(sent[at : at + 150])
        answers = [answered(file) for _ in range(3)]

    assert [each for each, _, _ in answers] == [status, 201, 200]
    assert api.get("/periods").json()["periods"] == []


@pytest.mark.parametrize("rest", [b"ZZ\r\n", b"1\r\n{\r\nZZ\r\n"])
@pytest.mark.parametrize("pause", [0, 0.1])
def test_who_is_refused_for_a_bad_body_has_changed_nothing(
    api: Api, rest: bytes, pause: float
) -> None:
    """Also where the request asks for nothing but what its path says."""
    close = api.post("/periods/2026-03/close", {}).json()
    ben = api.with_key("*", principal="ben")
    head = raw(ben, b"", path="/periods/2026-03/review", **CHUNKS)
    with socket.create_connection(("127.0.0.1", api.http.base_url.port or 0), 30) as connection:
        connection.sendall(head)
        time.sleep(pause)
        connection.sendall(rest)
        status, headers, _ = answered(connection)

    assert (status, headers["rml-world"]) == (400, "RML1")
    time.sleep(0.1)
    assert api.get(f"/periods/{close['id']}").json()["reviews"] == []


def test_what_acts_before_its_body_is_here_is_not_said_to_have_done_nothing() -> None:
    """Who is refused meanwhile is told that nobody knows; who only reads is told what is wrong."""
    told = {}

    async def eager(_scope: Any, _receive: Any, send: Any) -> None:
        await asyncio.sleep(0.3)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    with started(eager, http=module.Connection, lifespan="off") as server:
        for method in (b"POST", b"GET"):
            with socket.create_connection(("127.0.0.1", server.config.port), 30) as connection:
                connection.sendall(b"%b / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n" % method)
                time.sleep(0.1)
                connection.sendall(b"ZZ\r\n")
                told[method] = orjson.loads(answered(connection)[2])["code"]

    assert told == {b"POST": "OUTCOME_UNKNOWN", b"GET": "MALFORMED_REQUEST"}
