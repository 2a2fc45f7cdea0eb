"""Periods over HTTP: closed once, corrected by a second close, and open to whatever comes late."""

from __future__ import annotations

import orjson
import pytest

from ledger.checkpoint import parse_checkpoint
from ledger.note import VerifierKey, open_note
from tests.api.support import Api, capture, refund

MARCH = "2026-03-02T09:15:00Z"
APRIL = "2026-04-02T09:15:00Z"


def post(api: Api, key: str, amount: str = "10.00", **members):
    answer = api.post("/effects", capture(amount, **members), key=key)
    assert answer.status_code == 201, answer.text
    return answer.json()


def close(api: Api, name: str, **members):
    answer = api.post(f"/periods/{name}/close", members)
    assert answer.status_code in {200, 201}, answer.text
    return answer.json()


def entry(api: Api, seq: int):
    return orjson.loads(api.get(f"/entries/{seq}/bytes").content)


def test_a_close_sums_up_all_that_stands_before_it(api):
    first = post(api, "a", "10.00", occurred_at=MARCH)
    post(api, "b", "0.05", occurred_at=MARCH)
    api.post(f"/effects/{first['id']}/refunds", refund("4.00"), key="c")
    api.post(
        f"/entries/{first['id']}/explanations",
        {"type": "note", "occurred_at": MARCH, "reason": "x", "note": "why"},
        key="d",
    )

    closed = close(api, "2026-03", reviewer="ben.audit")

    assert (closed["from_seq"], closed["to_seq"], closed["seq"]) == (0, 3, 4)
    assert closed["counts"] == {"effect": 2, "explanation": 1, "refund": 1}
    assert closed["sums"] == [
        {"kind": "effect", "currency": "EUR", "flow": "in", "count": 2, "amount": "10.05"},
        {"kind": "refund", "currency": "EUR", "flow": "out", "count": 1, "amount": "4.00"},
    ]
    assert (closed["preparer"], closed["reviewer"]) == ("tester", "ben.audit")
    assert (
        closed["root"] == api.get("/proofs/consistency", **{"from": 4, "to": 5}).json()["from_root"]
    )
    vkey = VerifierKey.parse(api.get("").json()["vkey"])
    opened = open_note(closed["checkpoint"].encode(), [vkey])
    assert parse_checkpoint(opened.text).size == 5
    told = entry(api, 4)
    assert told["effect"]["type"] == "period.closed"
    assert told["effect"]["data"].items() <= closed.items()


def test_closing_again_in_the_same_way_changes_nothing(api):
    post(api, "a")
    first = close(api, "2026-03", reviewer="ben.audit")
    again = api.post("/periods/2026-03/close", {"reviewer": "ben.audit"})

    assert again.status_code == 200
    assert again.json() == first | {"replayed": True}
    assert api.get("/periods").json()["periods"] == [
        {name: value for name, value in first.items() if name != "replayed"}
    ]


def test_what_comes_later_is_recorded_and_late(api):
    """Nothing is refused; the stamp is part of the hashed bytes."""
    effect = post(api, "a", occurred_at=MARCH)
    close(api, "2026-03")
    post(api, "b", occurred_at=MARCH)
    post(api, "c", occurred_at=APRIL)
    late = api.post(f"/effects/{effect['id']}/refunds", refund("1.00"), key="d")

    assert late.status_code == 201
    assert [entry(api, seq).get("late_for") for seq in range(5)] == [
        None,
        None,
        "2026-03",
        None,
        "2026-03",
    ]


def test_a_period_begins_with_the_close_before_it(api):
    post(api, "a")
    first = close(api, "2026-03")
    post(api, "b", occurred_at=APRIL)
    second = close(api, "2026-04")

    assert (second["from_seq"], second["to_seq"]) == (first["seq"], second["seq"] - 1)
    assert second["counts"] == {"effect": 1, "notice": 1}


def test_an_empty_ledger_closes(api):
    closed = close(api, "2026-03")

    assert (closed["from_seq"], closed["to_seq"]) == (0, -1)
    assert (closed["counts"], closed["sums"]) == ({}, [])


def test_a_close_is_corrected_by_a_second_one_that_cites_it(api):
    post(api, "a")
    first = close(api, "2026-03")
    post(api, "b")
    refused = api.post("/periods/2026-03/close", {"reviewer": "ben.audit"})
    second = close(api, "2026-03", reviewer="ben.audit", supersedes=first["id"])

    assert refused.status_code == 409
    assert refused.json()["code"] == "PERIOD_CLOSED"
    assert first["id"] in refused.json()["detail"]
    assert (second["from_seq"], second["to_seq"]) == (0, second["seq"] - 1)
    assert second["supersedes"] == first["id"]
    states = {each["id"]: each["state"] for each in api.get("/periods").json()["periods"]}
    assert states == {first["id"]: "superseded", second["id"]: "closed"}
    assert api.get("/periods/2026-03").json()["id"] == second["id"]
    assert api.get(f"/periods/{first['id']}").json()["superseded_by"] == second["id"]
    again = api.post("/periods/2026-03/close", {"reviewer": "ben.audit", "supersedes": first["id"]})
    assert (again.status_code, again.json()["id"]) == (200, second["id"])


def test_a_period_that_is_closed_after_a_later_one_says_so(api):
    """What was recorded before is in the later one's bundle, whenever it occurred."""
    post(api, "a")
    assert close(api, "2026-03")["closed_before"] == []
    late = close(api, "2026-02")

    assert late["closed_before"] == ["2026-03"]
    assert api.get("/periods/2026-02").json()["closed_before"] == ["2026-03"]


def test_only_the_newest_close_is_corrected(api):
    first = close(api, "2026-03")
    close(api, "2026-04")
    refused = api.post("/periods/2026-03/close", {"supersedes": first["id"]})

    assert (refused.status_code, refused.json()["code"]) == (409, "PERIOD_CLOSED")


REFUSED = {
    "not-over": ("2999", {}, 422, "PERIOD_NOT_OVER"),
    "no-moments": ("autumn", {}, 422, "NO_SUCH_PERIOD"),
    "calendar-with-moments": ("2026-03", {"from_at": MARCH}, 422, "PERIOD_SPAN_INVALID"),
    "backwards": ("autumn", {"from_at": APRIL, "to_at": MARCH}, 422, "PERIOD_SPAN_INVALID"),
    "reviews-itself": ("2026-03", {"reviewer": "tester"}, 422, "SELF_REVIEW"),
    "reviewer-is-no-name": ("2026-03", {"reviewer": "Ben Audit"}, 422, "MALFORMED_EFFECT"),
    "moment-is-none": ("autumn", {"from_at": "soon", "to_at": MARCH}, 422, "MALFORMED_EFFECT"),
    "unknown-member": ("2026-03", {"force": True}, 422, "MALFORMED_EFFECT"),
    "supersedes-nothing": ("2026-03", {"supersedes": "x"}, 422, "MALFORMED_EFFECT"),
    "name-is-none": ("a b", {}, 422, "MALFORMED_EFFECT"),
    "year-without-end": ("9999", {}, 422, "NO_SUCH_PERIOD"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_closed_is_refused_and_leaves_nothing(api, case):
    name, body, status, code = REFUSED[case]
    answer = api.post(f"/periods/{name}/close", body)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert api.get("").json()["size"] == 0


def test_periods_do_not_overlap(api):
    close(api, "2026-03")
    answer = api.post("/periods/2026/close", {})
    beside = api.post(
        "/periods/spring/close",
        {"from_at": "2026-03-31T00:00:00Z", "to_at": "2026-05-01T00:00:00Z"},
    )

    assert answer.status_code == 422  # The year is not over.
    assert (beside.status_code, beside.json()["code"]) == (409, "PERIOD_CLOSED")


def test_a_name_of_ones_own_has_its_two_moments(api):
    closed = close(api, "spring", from_at=MARCH, to_at="2026-04-02T11:15:00+02:00")

    assert closed["from_at"] == "2026-03-02T09:15:00.000000Z"
    assert closed["to_at"] == "2026-04-02T09:15:00.000000Z"


def test_closing_needs_its_scope_and_listing_one_of_four(api):
    close(api, "2026-03")
    reader = api.with_key("entries:read")

    assert reader.post("/periods/2026-04/close", {}).status_code == 403
    assert api.with_key("payload:read").get("/periods").status_code == 403
    for scope in ("entries:read", "close", "export", "verify"):
        assert api.with_key(scope).get("/periods/2026-03").status_code == 200


def test_the_registry_has_no_periods_of_callers(api):
    assert api.on("_registry").post("/periods/2026-03/close", {}).status_code == 403


def test_a_reviewer_confirms_a_close_with_a_key_of_their_own(api):
    post(api, "a", occurred_at=MARCH)
    closed = close(api, "2026-03", reviewer="ben")
    ben = api.with_key("recon:review", "entries:read", principal="ben")
    first, again = (ben.post("/periods/2026-03/review", {}) for _ in range(2))

    assert (first.status_code, again.status_code) == (201, 200)
    [review] = again.json()["reviews"]
    told = entry(api, review["seq"])
    assert (told["effect"]["type"], told["effect"]["data"]) == (
        "period.reviewed",
        {
            "name": "2026-03",
            "close": closed["id"],
            "close_hash": closed["entry_hash"],
            "reviewer": "ben",
        },
    )
    [shown] = ben.get("/periods/2026-03").json()["reviews"]
    assert shown["receipt"]["level"] == "log-signed"
    assert closed["reviews"] == []


def test_nobody_reviews_what_they_prepared_or_may_not_or_is_superseded(api):
    closed = close(api, "2026-03")
    assert api.post("/periods/2026-03/review", {}).json()["code"] == "SELF_REVIEW"
    stranger = api.with_key("export", principal="ben")
    assert stranger.post("/periods/2026-03/review", {}).status_code == 403
    close(api, "2026-03", reviewer="eve", supersedes=closed["id"])
    ben = api.with_key("close", principal="ben")
    assert ben.post(f"/periods/{closed['id']}/review", {}).json()["code"] == "PERIOD_CLOSED"
    assert ben.post("/periods/2026-04/review", {}).status_code == 404
