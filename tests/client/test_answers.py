"""Whatever a service answers, the client knows what it knows, and sends again only what it may."""

from __future__ import annotations

import asyncio
import itertools
import socket
import time

import httpx
import orjson
import pytest

from api.problems import ACTIONS as TOLD
from api.problems import PROBLEMS
from ledger.client import (
    AsyncClient,
    BudgetSpent,
    Client,
    MemoryReceipts,
    NotSent,
    OutcomeUnknown,
    ReceiptInvalid,
    ReceiptUnsigned,
    Recorded,
    Refused,
    Retry,
    RetryBudget,
    Unreachable,
)
from ledger.client.judgement import ACTIONS, NOTHING_WRITTEN
from tests.client.fake import (
    CERTIFICATES,
    EFFECT,
    LEDGER,
    VKEY,
    Seen,
    answers,
    drips,
    drops,
    fake_service,
    halves,
    lies,
    problem,
    recorded_document,
    records,
    resets,
    sleeps,
)

ATTEMPT_S = 0.25
TRIES = 3
QUICK = Retry(tries=TRIES, base_s=0.001, cap_s=0.001, total_s=5.0, attempt_s=ATTEMPT_S)
ONCE = Retry(tries=1, attempt_s=ATTEMPT_S)
RECORDED = None
TOO_SLOW = sleeps(3 * ATTEMPT_S)
RETRY = "retry-with-backoff"

# Script -> what comes of a write under a key, and how often it was sent.
WRITES = {
    "records": ([records], RECORDED, 1),
    # Lost on the way there or back: the key makes it safe to send again.
    "drops-once": ([drops, records], RECORDED, 2),
    "drops": ([drops], OutcomeUnknown, TRIES),
    "resets-once": ([resets, records], RECORDED, 2),
    "resets": ([resets], OutcomeUnknown, TRIES),
    "half-an-answer-once": ([halves, records], RECORDED, 2),
    "half-an-answer": ([halves], OutcomeUnknown, TRIES),
    "too-slow-once": ([TOO_SLOW, records], RECORDED, 2),
    "drips-once": ([drips, records], RECORDED, 2),
    # Nothing that can be read as a hint: nobody acts on it.
    "garbage": ([answers(200, b"<html>hello</html>"), records], OutcomeUnknown, 1),
    "empty": ([answers(201, b""), records], OutcomeUnknown, 1),
    "other-json": ([answers(200, {"status": "ok"}), records], OutcomeUnknown, 1),
    "a-list": ([answers(200, [1]), records], OutcomeUnknown, 1),
    "proxy-502": ([answers(502, b"<html>Bad Gateway</html>"), records], OutcomeUnknown, 1),
    "proxy-503": ([answers(503, b"", Retry_After="0"), records], OutcomeUnknown, 1),
    "redirect": ([answers(307, b"", Location="http://127.0.0.1:9/"), records], OutcomeUnknown, 1),
    "problem-without-code": ([problem(RETRY, code=None), records], OutcomeUnknown, 1),
    # Hints.
    RETRY: ([problem(RETRY), records], RECORDED, 2),
    f"{RETRY}-for-ever": ([problem(RETRY)], BudgetSpent, TRIES),
    f"{RETRY}-429": ([problem(RETRY, 429, code="OVERLOADED"), records], RECORDED, 2),
    f"{RETRY}-unconfirmed": ([problem(RETRY, code="OUTCOME_UNKNOWN")], OutcomeUnknown, TRIES),
    f"{RETRY}-new-code": ([problem(RETRY, code="NOT_YET_INVENTED")], OutcomeUnknown, TRIES),
    f"{RETRY}-of-history": ([problem(RETRY, world="RML3"), records], Refused, 1),
    "start-compensation": ([problem("start-compensation", 409), records], Refused, 1),
    "escalate-history": ([problem("escalate-history", world="RML3"), records], Refused, 1),
    "fix-request": ([problem("fix-request", 422, world="RML1"), records], Refused, 1),
    "reconcile-first": ([problem("reconcile-first", 409), records], Refused, 1),
    "reconcile-first-503": ([problem("reconcile-first", 503), records], OutcomeUnknown, 1),
    "wait-for-human": ([problem("wait-for-human", 409), records], Refused, 1),
    "stop": ([problem("stop", 403), records], Refused, 1),
    "unknown-hint": ([problem("reboot", 409), records], OutcomeUnknown, 1),
    # A key that is not told hints is told `code` and `retryable`.
    "no-hint-retryable": ([problem(None, retryable=True), records], RECORDED, 2),
    "no-hint-refused": ([problem(None, 409, retryable=False), records], Refused, 1),
    "no-hint-503": ([problem(None, 503, retryable=False), records], OutcomeUnknown, 1),
    "no-hint-at-all": ([problem(None, 409, retryable=None), records], OutcomeUnknown, 1),
    # After doubt, only what was refused in any case is refused for certain.
    "drops-then-busy": ([drops, problem(RETRY)], OutcomeUnknown, TRIES),
    "drops-then-forbidden": ([drops, problem("stop", 403)], OutcomeUnknown, 2),
    "drops-then-over": ([drops, problem("escalate-history", 409)], OutcomeUnknown, 2),
    "drops-then-malformed": ([drops, problem("fix-request", 422)], Refused, 2),
    "drops-then-conflict": (
        [drops, problem("stop", 422, code="IDEMPOTENCY_CONFLICT")],
        Refused,
        2,
    ),
    # What was named may have been there when the first try arrived.
    "drops-then-no-such-target": (
        [drops, problem("fix-request", 422, code="BAD_REFERENCE", world="RML1")],
        OutcomeUnknown,
        2,
    ),
    # Evidence.
    "other-amount": ([lies(money={"amount": "1.00"})], ReceiptInvalid, 1),
    "other-key": ([lies(key="another")], ReceiptInvalid, 1),
    "one-label-more": ([lies(labels={"shop": "2"})], ReceiptInvalid, 1),
}

# What comes of a question: it leaves nothing behind, so nothing about it is unknown.
QUESTIONS = {
    "drops": ([drops], Unreachable, TRIES),
    "half": ([answers(200, {"entries": [], "next_cursor": None})], RECORDED, 1),
    "proxy-502-once": ([answers(502, b""), answers(200, {"entries": []})], RECORDED, 2),
    "proxy-502": ([answers(502, b"")], Unreachable, TRIES),
    "garbage": ([answers(200, b"hello"), answers(200, {"entries": []})], Unreachable, 1),
    RETRY: ([problem(RETRY), answers(200, {"entries": []})], RECORDED, 2),
    f"{RETRY}-for-ever": ([problem(RETRY)], BudgetSpent, TRIES),
    "fix-request": ([problem("fix-request", 404, code="NOT_FOUND")], Refused, 1),
    "unknown-hint": ([problem("reboot")], Refused, 1),
}


HTTP = httpx.Client(verify=CERTIFICATES)


def a_client(url, **more):
    """Quick, and with a budget of its own."""
    return Client(
        url,
        key="k",
        http=HTTP,
        **{"ledger": LEDGER, "vkey": VKEY, "retry": QUICK, "budget": ample(), **more},
    )


def sync_effect(url):
    with a_client(url) as client:
        return client.effect(key="k-1", **EFFECT)


def async_effect(url):
    async def run():
        budget = ample()
        async with (
            httpx.AsyncClient(verify=CERTIFICATES) as http,
            AsyncClient(
                url, key="k", ledger=LEDGER, vkey=VKEY, retry=QUICK, budget=budget, http=http
            ) as client,
        ):
            return await client.effect(key="k-1", **EFFECT)

    return asyncio.run(run())


def ample():
    return RetryBudget(reserve=100.0)


@pytest.mark.parametrize("colour", [sync_effect, async_effect])
@pytest.mark.parametrize("name", WRITES)
def test_a_write_ends_as_far_as_is_known(name, colour):
    script, expected, sends = WRITES[name]
    with fake_service(*script) as service:
        if expected is RECORDED:
            recorded = colour(service.url)
            assert recorded.verified.seq == 0
            assert recorded.trusted_by == "given"
        else:
            with pytest.raises(expected) as raised:
                colour(service.url)
            assert type(raised.value) is expected
            assert_says_what_to_do(raised.value)

    assert len(service.seen) == sends
    # Sending again is sending the very same.
    assert (
        len({(seen.line, seen.body, seen.headers["idempotency-key"]) for seen in service.seen}) == 1
    )


def assert_says_what_to_do(error):
    assert error.reason
    if isinstance(error, OutcomeUnknown):
        assert (error.world, error.action, error.key) == ("RML2", "reconcile-first", "k-1")
        assert "k-1" in str(error)
    elif not isinstance(error, Refused):
        assert error.world in ("RML1", "RML2", "RML3")
        assert error.action in ACTIONS


@pytest.mark.parametrize("name", QUESTIONS)
def test_nothing_about_a_question_is_unknown(name):
    script, expected, sends = QUESTIONS[name]
    with (
        fake_service(*script) as service,
        a_client(service.url) as client,
    ):
        if expected is RECORDED:
            assert client.find(key="k-1") is None
        else:
            with pytest.raises(expected) as raised:
                client.find(key="k-1")
            assert type(raised.value) is expected

    assert len(service.seen) == sends


@pytest.mark.parametrize("colour", [sync_effect, async_effect])
def test_where_nobody_listens_nothing_was_sent(colour):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(Unreachable) as raised:
        colour(f"http://127.0.0.1:{port}")

    assert isinstance(raised.value, NotSent)


def test_each_hint_of_the_service_is_understood_and_tried_here():
    tried = {name for name in WRITES if name in ACTIONS}

    assert set(TOLD) == ACTIONS == tried


def test_codes_that_wrote_nothing_are_those_the_service_says_so_of():
    """All that it asks to be sent again, but the one whose commit was not confirmed."""
    asked = {problem.code for problem in PROBLEMS.values() if problem.action == RETRY}

    assert asked - {"OUTCOME_UNKNOWN"} == NOTHING_WRITTEN


def test_the_budget_of_the_process_ends_retries_everywhere():
    budget = RetryBudget(share=0, per_second=0, reserve=2, clock=lambda: 0.0)
    with fake_service(problem(RETRY)) as service:
        for sends in (3, 4, 5):
            with (
                a_client(service.url, budget=budget) as client,
                pytest.raises(BudgetSpent) as raised,
            ):
                client.effect(key="k-1", **EFFECT)
            assert len(service.seen) == sends

    assert raised.value.reason == "retry.share"


def test_a_wait_that_is_longer_than_the_budget_is_not_begun():
    with (
        fake_service(problem(RETRY, retry_after_ms=60_000)) as service,
        a_client(service.url) as client,
        pytest.raises(BudgetSpent) as raised,
    ):
        client.effect(key="k-1", **EFFECT)

    assert (len(service.seen), raised.value.reason) == (1, "retry.time")
    assert raised.value.retry_after_s == 60


@pytest.mark.parametrize("in_header", [True, False])
def test_what_the_service_asks_for_is_waited_out(in_header):
    busy = {"code": "LEDGER_BUSY", "world": "RML2", "action": RETRY}
    asks = (
        answers(503, busy, Retry_After="1")
        if in_header
        else answers(503, busy | {"retry_after_ms": 400})
    )
    with fake_service(asks, records) as service:
        sync_effect(service.url)
    first, second = service.seen

    assert second.at - first.at >= (1.0 if in_header else 0.4)


def test_a_batch_tells_what_is_known_of_each_item():
    items = [{"kind": "effect", "key": f"k-{n}", **EFFECT} for n in range(3)]
    codes = [("OVER_REFUND", "escalate-history", 409), ("LEDGER_BUSY", RETRY, 503)]
    codes.append(("OUTCOME_UNKNOWN", RETRY, 503))
    told = [
        {"index": n, "key": f"k-{n}", "status": status, "problem": {"code": code, "action": action}}
        for n, (code, action, status) in enumerate(codes)
    ]
    with (
        fake_service(answers(200, {"items": told})) as service,
        a_client(service.url) as client,
    ):
        found = client.batch(items)

    assert [type(each) for each in found] == [Refused, Refused, OutcomeUnknown]
    assert found[2].key == "k-2"


@pytest.mark.parametrize("garbage", [{}, {"id": "x"}, {"intents": []}])
def test_nothing_is_executed_under_a_promise_that_cannot_be_read(garbage):
    with (
        fake_service(answers(201, garbage)) as service,
        a_client(service.url) as client,
        pytest.raises(OutcomeUnknown),
        client.intent(key="i-1", type="card.capture", answer_by="2026-03-02T09:15:00Z"),
    ):
        raise AssertionError("the block was entered")


def test_a_long_poll_may_be_silent_for_longer_than_a_try():
    page = answers(200, {"entries": [], "next_after": 7})

    def waits(connection, seen):
        time.sleep(1.5 * ATTEMPT_S)
        page(connection, seen)

    with (
        fake_service(waits, drops) as service,
        a_client(service.url, retry=ONCE) as client,
        pytest.raises(Unreachable),
    ):
        next(client.feed(after=7, wait_s=2 * ATTEMPT_S))

    assert [seen.line.split()[1].partition("?")[2] for seen in service.seen] == [
        f"after=7&limit=500&wait={2 * ATTEMPT_S:g}"
    ] * 2


# ---- Evidence -------------------------------------------------------------------------


def corrupted(change):
    def behave(connection, seen):
        document = recorded_document(seen)
        change(document)
        answers(201, document)(connection, seen)

    return behave


CORRUPTIONS = {
    "no-receipt": lambda d: d.pop("receipt"),
    "other-hash": lambda d: d.update(entry_hash="0" * 64),
    "other-id": lambda d: d.update(id="01890a5d-ac96-774b-bcce-b302099a8058"),
    "other-time": lambda d: d.update(recorded_at="2027-01-01T00:00:00.000000Z"),
    "other-ledger": lambda d: d.update(ledger="shop2"),
    "unsigned-and-edited": lambda d: d["receipt"].update(level="unsigned", proof=None, entry="{}"),
    "overclaimed": lambda d: d["receipt"].update(level="cosigned"),
    "broken-proof": lambda d: d["receipt"].update(proof=d["receipt"]["proof"][:-8]),
    "edited-entry": lambda d: d["receipt"].update(entry=d["receipt"]["entry"].replace("19", "29")),
    "unknown-member": lambda d: d["receipt"].update(more=1),
}


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_an_answer_that_does_not_prove_itself_is_an_alarm(name):
    with (
        fake_service(corrupted(CORRUPTIONS[name])) as service,
        pytest.raises(ReceiptInvalid) as raised,
    ):
        sync_effect(service.url)

    assert (raised.value.world, raised.value.action) == ("RML3", "escalate-history")
    assert raised.value.reason.startswith("evidence.")
    assert raised.value.recorded is not None
    assert len(service.seen) == 1


def unsigned(connection, seen):
    """Says that it is recorded, and that its signer is away."""
    document = recorded_document(seen)
    document["receipt"].update(level="unsigned", proof=None)
    answers(201, document)(connection, seen)


@pytest.mark.parametrize("colour", [sync_effect, async_effect])
def test_what_nobody_signed_is_not_taken_for_recorded_until_it_is_signed(colour):
    """Also where the service says so itself: it may be somebody else who says it."""
    with fake_service(unsigned, records) as service:
        with pytest.raises(ReceiptUnsigned) as raised:
            colour(service.url)
        assert colour(service.url).verified.level == "log-signed"

    assert isinstance(raised.value, ReceiptInvalid)
    assert (raised.value.world, raised.value.action) == ("RML2", "reconcile-first")
    assert raised.value.recorded.verified is None


def test_what_nobody_signed_is_not_kept():
    receipts = MemoryReceipts()
    with fake_service(unsigned) as service, a_client(service.url, receipts=receipts) as client:
        with pytest.raises(ReceiptUnsigned) as raised:
            client.effect(key="k-1", **EFFECT)
        place = f"{service.url}/v1/ledgers/{LEDGER}"

    assert receipts.get(place, raised.value.recorded.id) is None


def test_a_batch_is_proved_item_by_item_and_an_atomic_one_as_a_whole():
    items = [{"kind": "effect", "key": f"k-{n}", **EFFECT} for n in range(2)]
    results = [recorded_document(asking(key=item["key"])) for item in items]
    results[0]["receipt"].update(level="unsigned", proof=None)
    told = {"items": [{"status": 201, "result": result} for result in results]}
    with fake_service(answers(200, told)) as service, a_client(service.url) as client:
        found = client.batch(items)
        with pytest.raises(ReceiptUnsigned) as raised:
            client.batch(items, mode="atomic")

    assert [type(each) for each in found] == [ReceiptUnsigned, Recorded]
    assert raised.value.recorded.entry_hash == results[0]["entry_hash"]


def test_of_an_atomic_batch_the_worst_is_told():
    """Whoever waits for a signature waits in vain where another entry was never asked for."""
    items = [{"kind": "effect", "key": f"k-{n}", **EFFECT} for n in range(2)]
    results = [recorded_document(asking(key=key)) for key in ("k-0", "k-7")]
    results[0]["receipt"].update(level="unsigned", proof=None)
    told = {"items": [{"status": 201, "result": result} for result in results]}
    with (
        fake_service(answers(200, told)) as service,
        a_client(service.url) as client,
        pytest.raises(ReceiptInvalid) as raised,
    ):
        client.batch(items, mode="atomic")

    assert type(raised.value) is ReceiptInvalid


# ---- Answers about something else -----------------------------------------------------


def asking(key="k-1"):
    return Seen(line="", headers={"idempotency-key": key}, body=orjson.dumps(EFFECT), at=0.0)


RESULT = recorded_document(asking())
ENTRY = {
    **{name: RESULT[name] for name in ("id", "ledger", "seq", "entry_hash", "recorded_at")},
    "entry": orjson.loads(RESULT["receipt"]["entry"]),
}
OTHER_ID = "01890a5d-ac96-774b-bcce-b302099a8058"
# What is asked -> whether the entry above is an answer to it.
ASKED = {
    "id": (lambda client: client.entry(RESULT["id"]), True),
    "upper-case-id": (lambda client: client.entry(RESULT["id"].upper()), True),
    "other-id": (lambda client: client.entry(OTHER_ID), False),
    "seq": (lambda client: client.entry(0), True),
    "other-seq": (lambda client: client.entry(1), False),
    "receipt-of-id": (lambda client: client.receipt(RESULT["id"]), True),
    "receipt-of-other-id": (lambda client: client.receipt(OTHER_ID), False),
    "receipt-of-level": (lambda client: client.receipt(0, level="log-signed"), True),
    "receipt-of-higher-level": (lambda client: client.receipt(0, level="cosigned"), False),
    "receipt-of-highest-level": (lambda client: client.receipt(0, level="timestamped"), False),
    "key": (lambda client: client.find(key="k-1"), True),
    "other-key": (lambda client: client.find(key="k-2"), False),
}


@pytest.mark.parametrize("name", ASKED)
def test_an_answer_about_something_else_than_was_asked_is_an_alarm(name):
    ask, is_answer = ASKED[name]

    def tells(connection, seen):
        path = seen.line.split()[1]
        document = {"entries": [ENTRY]} if "?limit" in path else ENTRY
        document = RESULT["receipt"] if "/receipt" in path else document
        answers(200, document)(connection, seen)

    with fake_service(tells) as service, a_client(service.url) as client:
        if is_answer:
            assert ask(client).seq == 0
        else:
            with pytest.raises(ReceiptInvalid):
                ask(client)


def test_an_entry_of_another_ledger_is_no_answer():
    with (
        fake_service(answers(200, ENTRY)) as service,
        a_client(service.url, ledger="shop2") as client,
        pytest.raises(ReceiptInvalid),
    ):
        client.entry(0)


BAD_ARGUMENTS = {
    "no-key": lambda client: client.effect(key="", **EFFECT),
    "a-space": lambda client: client.effect(key="k 1", **EFFECT),
    "too-long": lambda client: client.effect(key="k" * 256, **EFFECT),
    "no-zone": lambda client: client.effect(key="k", type="x", occurred_at=_naive()),
    "no-json": lambda client: client.effect(key="k", type="x", occurred_at=object()),
    "no-id": lambda client: client.refund("../x", key="k"),
    "empty-batch": lambda client: client.batch([]),
    "long-batch": lambda client: client.batch(itertools.repeat({"key": "k"}, 1_001)),
    "large-batch": lambda client: client.batch([{"key": "k", "note": "n" * 9_000_000}]),
    "keyless-item": lambda client: client.batch([{"kind": "effect"}]),
    "long-intent": lambda client: client.intent(key="k" * 250, type="x", answer_by="x"),
}


def _naive():
    from datetime import datetime

    return datetime(2026, 3, 2)  # noqa: DTZ001 - that is what is wrong with it.


@pytest.mark.parametrize("name", BAD_ARGUMENTS)
def test_what_cannot_be_right_is_not_sent(name):
    with (
        fake_service(drops) as service,
        a_client(service.url) as client,
        pytest.raises(NotSent) as raised,
    ):
        BAD_ARGUMENTS[name](client)

    assert raised.value.action == "fix-request"
    assert service.seen == []


@pytest.mark.parametrize(
    "url",
    [
        *("", "ftp://x", "http://", "localhost:1", "http://[::1", "http://x:y"),
        *("http://svc:hunter2@x", "https://hunter2@x", "http://x/?token=hunter2", "http://x#a"),
    ],
)
def test_a_url_that_is_none_or_has_a_secret_is_refused_at_once_and_not_repeated(url):
    with pytest.raises(NotSent) as raised:
        Client(url, key="k", ledger=LEDGER)

    assert "hunter2" not in f"{raised.value} {raised.value.details}"
