"""What goes wrong inside is told as its documented problem, and never claims more than is known."""

from __future__ import annotations

import inspect
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import orjson
import psycopg
import pytest

from api.app import ROUTES
from ledger import errors as domain
from ledger.errors import LedgerError
from tests.api.support import Api, capture, item

WHOLE_REQUEST = [
    domain.PushbackError,
    domain.OverloadedError,
    domain.DatabaseUnavailableError,
    domain.ClockUntrustedError,
    domain.SignerUnavailableError,
    domain.OutcomeUnknownError,
    domain.LedgerBrokenError,
    domain.RolledBackError,
    domain.ForkedError,
    domain.ForeignSignerError,
]


def broken(*_: object, **__: object) -> None:
    raise ZeroDivisionError


@pytest.mark.parametrize("kind", WHOLE_REQUEST)
@pytest.mark.parametrize("path", ["/effects", "/batch"])
def test_failure_of_the_sequencer_is_told(
    api: Api, engine, monkeypatch, kind: type[LedgerError], path: str
) -> None:
    """Single or batch: one problem for the whole request."""
    from api.problems import PROBLEMS

    monkeypatch.setattr(engine.sequencer, "queue", lambda _posting, tell: tell(kind("words")))
    body = capture() if path == "/effects" else {"mode": "independent", "items": [item("k1")]}

    response = api.post(path, body, key="k1")

    row = PROBLEMS[kind]
    assert (response.status_code, response.json()["code"]) == (row.status, row.code)
    assert response.headers["RML-Action"] == row.action
    assert ("Retry-After" in response.headers) is row.retryable


def test_overload_is_told_without_queueing(api: Api, engine, monkeypatch) -> None:
    """A full queue answers at once."""

    def full(_posting: object, _tell: object) -> None:
        raise domain.OverloadedError("too many wait", waiting=20_000)

    monkeypatch.setattr(engine.sequencer, "queue", full)

    response = api.post("/effects", capture(), key="k1")

    assert (response.status_code, response.json()["code"]) == (429, "OVERLOADED")
    assert int(response.headers["Retry-After"]) >= 1


def test_bug_in_a_write_never_claims_that_nothing_was_written(
    api: Api, engine, monkeypatch, caplog
) -> None:
    """Nor that sending it again is wise; the trace id finds it in the log."""
    monkeypatch.setattr(engine.sequencer, "queue", broken)

    response = api.post("/effects", capture(), key="k1")

    problem = response.json()
    assert (response.status_code, problem["code"]) == (503, "INTERNAL_OUTCOME_UNKNOWN")
    assert (problem["world"], problem["action"]) == ("RML2", "reconcile-first")
    assert "nothing" not in problem["detail"].lower() + problem["title"].lower()
    failed = [record for record in caplog.records if record.message == "a request failed"]
    assert [record.fields["trace_id"] for record in failed] == [problem["trace_id"]]


@pytest.mark.parametrize("query", ["", "?dry_run=true"])
def test_bug_in_a_read_or_dry_run_is_rml1(api: Api, engine, monkeypatch, query: str) -> None:
    """Nothing was to be written, so nothing was."""
    if query:
        monkeypatch.setattr(engine.dry_run, "run", broken)
        response = api.post("/effects" + query, capture(), key="k1")
    else:
        monkeypatch.setattr(engine.reader, "size", broken)
        response = api.get("")

    assert (response.status_code, response.json()["code"]) == (503, "INTERNAL")
    assert response.json()["world"] == "RML1"


def test_database_away_is_told_on_reads(api: Api, engine, monkeypatch) -> None:
    """503 with a time to come back, not a crash."""

    def away(*_: object, **__: object) -> None:
        raise domain.DatabaseUnavailableError("the database does not answer")

    monkeypatch.setattr(engine.reader, "size", away)
    monkeypatch.setattr(engine.reader, "page", away)

    for path in ("", "/entries"):
        response = api.get(path)
        assert (response.status_code, response.json()["code"]) == (503, "DATABASE_UNAVAILABLE")
        assert "Retry-After" in response.headers


def test_caller_that_hangs_up_does_not_stop_its_write(api: Api, database) -> None:
    """The connection goes while the write waits for the head; the entry is there all the same."""
    with database.transaction():
        database.execute("select from heads where ledger = %s for update", (api.ledger,))
        with raw_post(api, orjson.dumps(capture())):
            await_one_waiting(database)

    await_size(api, 1)
    assert api.post("/effects", capture(), key="k1").status_code == 200


@pytest.mark.parametrize("delay_ms", [0, 1, 2, 4, 8, 16])
def test_caller_that_hangs_up_at_any_moment_may_ask_again(api: Api, delay_ms: int) -> None:
    """Recorded or not, the same key ends with one entry."""
    with raw_post(api, orjson.dumps(capture())):
        time.sleep(delay_ms / 1000)

    assert api.post("/effects", capture(), key="k1").status_code in {200, 201}
    assert api.get("").json()["size"] == 1


def test_caller_that_hangs_up_before_the_end_writes_nothing(api: Api) -> None:
    """Half a body is no request."""
    with raw_post(api, b'{"type":"a"', length=1000):
        pass
    time.sleep(0.2)

    assert api.get("").json()["size"] == 0


@contextmanager
def raw_post(api: Api, raw: bytes, *, length: int | None = None) -> Iterator[None]:
    """A POST of an effect whose answer nobody reads; the connection closes with the block."""
    headers = api.headers("k1", {"Content-Type": "application/json"})
    lines = [f"POST {api.url('/effects')} HTTP/1.1", "Host: x"]
    lines += [f"Content-Length: {len(raw) if length is None else length}"]
    lines += [f"{name.decode()}: {value.decode()}" for name, value in headers]
    url = api.http.base_url
    with socket.create_connection((url.host, url.port)) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + raw)
        yield


def await_one_waiting(database: psycopg.Connection[tuple[int]]) -> None:
    """Until a writer waits for a lock."""
    for _ in range(200):
        row = database.execute("select count(*) from pg_locks where not granted").fetchone()
        if row != (0,):
            return
        time.sleep(0.005)
    pytest.fail("nobody waits")


def await_size(api: Api, size: int) -> None:
    """Until the ledger has so many entries."""
    for _ in range(200):
        if api.get("").json()["size"] == size:
            return
        time.sleep(0.01)
    pytest.fail(f"the ledger never had {size} entries")


def test_no_dependency_yields() -> None:
    """What comes after a yield runs when the answer has gone: nothing here waits so long."""
    called = {
        dependency.call
        for route in ROUTES
        for dependency in route.dependant.dependencies
        if dependency.call is not None
    }

    assert called
    assert not [
        each
        for each in called
        if inspect.isgeneratorfunction(each) or inspect.isasyncgenfunction(each)
    ]


def test_trace_id_is_the_callers_where_it_gave_one(api: Api) -> None:
    """W3C Trace Context."""
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"

    given = api.get("/entries/999", headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"})
    assert given.json()["trace_id"] == trace

    for wrong in (
        "nonsense",
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"ff-{trace}-00f067aa0ba902b7-01",
    ):
        made = api.get("/entries/999", headers={"traceparent": wrong}).json()["trace_id"]
        assert len(made) == 32
        assert made not in {trace, "0" * 32}


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    "path",
    ["", "/entries", "/entries/0", "/effects/x", "/effects", "/entries/0/bytes", "/log/checkpoint"],
)
def test_history_is_not_changed_or_deleted(api: Api, method: str, path: str) -> None:
    """405, and the way forward."""
    response = api.http.request(method, api.url(path), headers=api.headers(None))

    problem = response.json()
    assert (response.status_code, problem["code"]) == (405, "HISTORY_IS_PERMANENT")
    assert (problem["world"], problem["action"]) == ("RML3", "escalate-history")
    assert response.headers["Allow"]


def test_other_wrong_method_is_the_callers_to_fix(api: Api) -> None:
    """A POST where only GET is served is a mistake, not an attack on history."""
    response = api.http.post(api.url("/checkpoint"), headers=api.headers(None))

    assert (response.status_code, response.json()["code"]) == (405, "METHOD_NOT_ALLOWED")


@pytest.mark.parametrize(
    "path", ["/nowhere", "/v1", "/v1/ledgers/x/nowhere", "//", "/v1/ledgers/x/entries/"]
)
def test_unknown_path_has_the_same_shape(api: Api, path: str) -> None:
    """Even what is not there answers as a problem."""
    response = api.http.get(path, headers=api.headers(None))

    assert (response.status_code, response.json()["code"]) == (404, "NO_SUCH_PATH")
