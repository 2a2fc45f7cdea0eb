"""What finance's room refuses: keys without reach, one person alone, what is told already."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from ledger.service import POOL_SIZE
from tests.api.desk import CHARGE, FAILURE, HEADING, REFUND, SOURCE, Desk, record
from tests.api.support import refund

WHOLE = {"approval_above": {"EUR": 10_000_000}}
ANOTHER = "txn_B,2026-03-04 10:00:00,eur,-9.99,0,-9.99,refund,re_B,ch_A"


@pytest.fixture
def alone(api):
    """One person who may do everything, up to 100,000.00."""
    desk = Desk(api.with_key("*", principal="fin"))
    desk.post("sources", **(SOURCE | WHOLE))
    return desk


def only_break(desk: Desk) -> str:
    [broken] = desk.get("breaks")["items"]
    return f"breaks/{broken['id']}"


def act(desk: Desk, path: str, **words: object) -> tuple[int, dict]:
    return desk.send(f"{path}/events", json.dumps(words).encode())


# ---- Who reaches it -----------------------------------------------------------------------


def test_a_key_for_the_bundles_of_some_periods_reads_nothing_here(engine, preparer):
    preparer.bring(CHARGE)
    only = [preparer.api.ledger]
    key = engine.credentials.create("aud", ["export"], only, periods=["2026-03"]).key
    response = preparer.api.http.get(
        "/v1/recon/imports",
        headers={"Authorization": f"Bearer {key}"},
        params={"ledger": preparer.api.ledger},
    )

    assert (response.status_code, response.json()["code"]) == (403, "FORBIDDEN")


def test_nobody_writes_to_the_registry_through_this_room(api):
    status, refused = Desk(api.on("_registry")).send("sources", json.dumps(SOURCE).encode())

    assert (status, refused["code"]) == (403, "FORBIDDEN")


# ---- Two persons --------------------------------------------------------------------------


def test_one_person_alone_closes_what_is_drafted_and_small(alone):
    record(alone.api)
    alone.bring(CHARGE, REFUND, FAILURE)
    alone.run(today="2026-03-10")
    path = only_break(alone)
    act(alone, path, action="propose", resolution="entry")

    assert act(alone, path, action="approve")[0] == 201


def test_one_person_alone_records_no_entry_of_their_own(alone, reviewer):
    """Below the threshold too: the amount of the break says nothing about the entry."""
    record(alone.api)
    alone.bring(CHARGE, REFUND, FAILURE)
    alone.run(today="2026-03-10")
    path = only_break(alone)
    own = {
        "kind": "effect",
        "type": "wire.sent",
        "money": {"amount": "5.00", "currency": "EUR", "flow": "out"},
    }
    assert act(alone, path, action="propose", resolution="entry", entry=own)[0] == 201

    status, refused = act(alone, path, action="approve")
    assert (status, refused["code"]) == (409, "BREAK_NOT_SO")
    assert act(reviewer, path, action="approve")[0] == 201


# ---- What the ledger tells already --------------------------------------------------------


def told_meanwhile(api) -> None:
    """The refund that a run saw only at the provider, recorded by the shop itself."""
    [paid] = api.get("/entries", type="card.capture").json()["entries"]
    cited = [{"system": "stripe", "rel": "transaction", "ref": "re_B"}]
    told = refund("9.99", occurred_at="2026-03-04T10:00:00Z", evidence=cited)
    answer = api.post(f"/effects/{paid['entry']['id']}/refunds", told, key="told")
    assert answer.status_code == 201, answer.text


def test_a_draft_is_not_approved_once_the_ledger_told_it_itself(alone, reviewer):
    record(alone.api)
    alone.bring(CHARGE, REFUND, ANOTHER)
    alone.run(today="2026-03-20")
    path = only_break(alone)
    act(alone, path, action="propose", resolution="entry")
    told_meanwhile(alone.api)

    status, refused = act(reviewer, path, action="approve")
    assert (status, refused["code"]) == (409, "BREAK_NOT_SO")
    assert "run the reconciliation again" in refused["detail"]
    assert len(alone.api.get("/entries", type="provider.refund").json()["entries"]) == 0
    assert alone.run(today="2026-03-21")["tied"] is True


def test_nor_is_it_proposed(alone):
    record(alone.api)
    alone.bring(CHARGE, REFUND, ANOTHER)
    alone.run(today="2026-03-20")
    told_meanwhile(alone.api)

    assert act(alone, only_break(alone), action="propose", resolution="entry")[0] == 409


# ---- One request is answered once ---------------------------------------------------------


def sent(desk: Desk, path: str, words: dict, key: str) -> tuple[int, dict]:
    while True:
        status, answer = desk.send(path, json.dumps(words).encode(), key=key)
        if answer.get("code") != "OVERLOADED":
            return status, answer


def test_a_request_that_comes_several_times_at_once_is_acted_on_once(preparer):
    words = {"items": ["ledger:a", "provider:b"], "note": "Together."}
    with ThreadPoolExecutor(8) as several:
        answers = list(several.map(lambda _: sent(preparer, "matches", words, "k"), range(8)))

    assert sorted(status for status, _ in answers) == [200] * 7 + [201]
    assert len({answer["id"] for _, answer in answers}) == 1
    notices = preparer.api.with_key("entries:read").get("/entries", type="recon.decided").json()
    assert len(notices["entries"]) == 1


def test_the_key_of_an_approval_names_that_approval(alone):
    record(alone.api)
    alone.bring(CHARGE, REFUND, FAILURE)
    alone.run(today="2026-03-10")
    path = f"{only_break(alone)}/events"
    alone.post(path, action="propose", resolution="entry")
    first = sent(alone, path, {"action": "approve"}, "yes")
    again = sent(alone, path, {"action": "approve"}, "yes")
    other = sent(alone, path, {"action": "approve", "note": "x"}, "yes")

    assert (first[0], again[0], other[0]) == (201, 200, 422)
    assert again[1] == first[1] | {"replayed": True}
    assert other[1]["code"] == "IDEMPOTENCY_CONFLICT"


def test_files_that_are_read_keep_no_connection_from_others(engine, alone):
    """All that may be read at once are, and everything else is still answered."""
    office, ledger = engine.office, alone.api.ledger
    with ExitStack() as reading:
        for number in range(POOL_SIZE):
            reading.enter_context(office.imports.holds.hold(f"recon/{ledger}/{number}"))
        assert alone.get("imports")["items"] == []


def test_a_file_of_a_source_that_is_being_read_is_asked_for_again(engine, alone):
    content = f"{HEADING}\n{CHARGE}\n".encode()
    with engine.office.imports.holds.hold(f"recon/{alone.api.ledger}/stripe-eur"):
        status, busy = alone.send("imports", content, source="stripe-eur")
    assert (status, busy["code"], busy["action"]) == (429, "OVERLOADED", "retry-with-backoff")
    assert alone.send("imports", content, source="stripe-eur")[0] == 201


@pytest.mark.parametrize("value", ["True", "1", "yes", ""])
def test_a_preview_that_is_misspelt_is_no_import(preparer, value):
    content = f"{HEADING}\n{CHARGE}\n".encode()
    status, _ = preparer.send("imports", content, source="stripe-eur", dry_run=value)

    assert status == 422
    assert preparer.get("imports")["items"] == []


# ---- What is no text, no number, no id ----------------------------------------------------


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("imports/%00", {}),
        ("imports/%00/raw", {}),
        ("imports/%00/lines", {}),
        ("breaks/%00", {}),
        ("breaks/%00/events", {}),
        ("runs/%00", {}),
        ("runs/%00/breaks", {}),
        ("runs/%00/statement", {}),
        ("imports", {"source": "\0"}),
        ("imports", {"limit": "0" * 18 + "1" + "0" * 5_000}),
        ("imports", {"limit": "0" * 15 + "1000000"}),
        ("coverage", {"period": "9999"}),
        ("coverage", {"period": "9999-12"}),
        ("coverage", {"period": "9999-Q4"}),
        ("coverage", {"period": "0001"}),
    ],
)
def test_what_cannot_be_asked_for_is_said_so(preparer, path, query):
    response = preparer.api.http.get(
        f"/v1/recon/{path}",
        headers=preparer.api.headers(None),
        params={"ledger": preparer.api.ledger, **query},
    )

    assert response.status_code in {404, 422}, response.text


NUL = "a\0b"


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("matches", {"items": ["a", "b"], "note": NUL}),
        ("matches", {"items": ["a", NUL], "note": "x"}),
        ("matches/x/unmatch", {"run": NUL, "reason": "x"}),
        ("sources", SOURCE | {"provider": NUL}),
        ("sources", SOURCE | {"mapping": {NUL: 1}}),
        ("sources", SOURCE | {"decimal_separator": ";"}),
        ("sources", SOURCE | {"date_order": "ydm"}),
        ("sources", SOURCE | {"exponents": {"XYZ": 10**12}}),
        ("sources", SOURCE | {"windows": {"refund": {"after": 10**12}}}),
        ("sources", SOURCE | {"windows": {"refund": {"before": -1}}}),
        ("runs", {"period": "9999"}),
        ("signoffs", {"run": NUL}),
    ],
)
def test_what_cannot_be_kept_is_refused(api, path, words):
    desk = Desk(api)
    desk.post("sources", **SOURCE)
    status, answer = desk.send(path, json.dumps(words).encode())

    assert status in {404, 422}, answer
    assert answer["action"] == "fix-request"


@pytest.mark.parametrize("entry", [{"causes": 5}, {"causes": {}}, {"note": 5}, {"note": NUL}])
def test_an_entry_of_ones_own_has_the_types_of_one(alone, entry):
    record(alone.api)
    alone.bring(CHARGE, REFUND, FAILURE)
    alone.run(today="2026-03-10")
    own = {"kind": "effect", "type": "wire.sent"} | entry

    path = only_break(alone)
    assert act(alone, path, action="propose", resolution="entry", entry=own)[0] == 422


CONTROL = {"currency": "EUR", "period_from": "2026-03-01", "period_to": "2026-03-31"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"net_minor": "x"},
        {"lines": 1.5},
        {"currency": 5},
        {"opening_minor": True},
        {"period_to": "9999-12-31"},
    ],
)
def test_a_control_has_the_types_of_one(alone, wrong):
    content = f"{HEADING}\n{CHARGE}\n".encode()
    controls = json.dumps([CONTROL | wrong])
    status, answer = alone.send("imports", content, source="stripe-eur", controls=controls)

    assert (status, answer["code"]) == (422, "INVALID_PARAMETER"), answer


def test_a_file_with_a_nul_character_is_kept_and_says_so(alone):
    content = f"{HEADING}\n{CHARGE.replace('ch_A', NUL)}\n".encode()
    status, brought = alone.send("imports", content, source="stripe-eur")

    assert (status, brought["status"]) == (201, "rejected")
    assert [each["code"] for each in brought["findings"]] == ["malformed"]
    status, _ = alone.send("imports", content, source="stripe-eur", filename=NUL)
    assert status == 422
