"""Finance's room over HTTP: files in, breaks out, forward entries close them."""

from __future__ import annotations

import hashlib
import io
import json
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import active_children
from typing import Any

import pytest

from ledger.canonical import canonical_bytes
from tests.api.desk import CHARGE, FAILURE, HEADING, REFUND, SOURCE, Desk, record


def test_a_refund_that_fails_later_is_a_break_and_a_forward_entry_closes_it(preparer, reviewer):
    """Matched; broken six days later; an entry that cites the break; matched again."""
    record(preparer.api)
    preparer.bring(CHARGE, REFUND)
    first = preparer.run(today="2026-03-05")
    assert (first["tied"], first["remaining"]) == (True, 0)
    assert {block["unexplained"] for block in first["statement"]} == {"0.00"}

    preparer.bring(CHARGE, REFUND, FAILURE)
    second = preparer.run(today="2026-03-10")
    [broken] = preparer.get("breaks")["items"]
    assert (second["tied"], second["remaining"]) == (False, 1)
    assert (broken["state"], broken["sub_state"]) == ("missing_in_ledger", "reversed_at_provider")
    assert broken["differences"] == {"EUR": "4500"}

    path = f"breaks/{broken['id']}"
    preparer.post(f"{path}/events", action="assign", to="fin")
    proposed = preparer.post(f"{path}/events", action="propose", resolution="entry")
    assert proposed["entry"]["type"] == "refund.failed"
    assert proposed["entry"]["money"] == {"amount": "-45.00", "currency": "EUR", "flow": "out"}

    # The amount is above what one person decides, and the preparer may not approve at all.
    status, refused = preparer.send(f"{path}/events", b'{"action": "approve"}')
    assert (status, refused["code"]) == (403, "FORBIDDEN")
    closed = reviewer.post(f"{path}/events", action="approve")
    entry = reviewer.api.with_key("entries:read").get(f"/entries/{closed['closed_by']['entry']}")
    causes = entry.json()["entry"]["effect"]["causes"]
    assert causes == [{"kind": "case", "ref": f"recon/break/{broken['id']}"}]

    third = preparer.run(today="2026-03-11")
    assert (third["tied"], third["remaining"]) == (True, 0)
    story = [event["action"] for event in preparer.get(path)["events"]]
    assert story == ["opened", "assigned", "proposed", "approved", "closed"]

    signed = reviewer.post("signoffs", run=third["id"])
    assert (signed["preparer"], signed["reviewer"]) == ("fin", "ben")


def test_the_same_inputs_give_the_same_digests(preparer):
    record(preparer.api)
    preparer.bring(CHARGE, REFUND)
    first, again = preparer.run(today="2026-03-05"), preparer.run(today="2026-03-05")

    assert first["id"] != again["id"]
    assert first["input_digest"] == again["input_digest"]
    assert first["output_digest"] == again["output_digest"]


def test_the_same_file_again_adds_nothing_and_says_who_brought_it(preparer):
    first = preparer.bring(CHARGE, REFUND)
    again = preparer.bring(CHARGE, REFUND)

    assert (again["id"], again["replayed"], again["received_by"]) == (first["id"], True, "fin")
    assert len(preparer.get("imports")["items"]) == 1


def test_a_file_that_overlaps_adds_only_what_is_new(preparer):
    assert preparer.bring(CHARGE, REFUND)["added"] == 2
    assert preparer.bring(REFUND, FAILURE)["added"] == 1


def test_splitting_a_file_changes_no_result(api, preparer):
    """Two files with the lines of one: the same standings, one by one."""
    record(preparer.api)
    preparer.bring(CHARGE, REFUND, FAILURE, complete=False)
    whole = preparer.run(today="2026-03-20")

    other = api.on(api.ledger)
    halves = Desk(other.with_key("recon:prepare", principal="fin"))
    halves.post("sources", **(SOURCE | {"name": "stripe-halves"}))
    for rows in ((CHARGE,), (REFUND, FAILURE)):
        content = "\n".join([HEADING, *rows, ""]).encode()
        halves.send("imports", content, source="stripe-halves")
    begun = halves.post("runs", period="2026-03", today="2026-03-20", sources=["stripe-halves"])
    while (found := halves.get(f"runs/{begun['id']}"))["state"] == "running":
        time.sleep(0.02)

    assert found["measures"]["states"] == whole["measures"]["states"]
    assert [block["unexplained"] for block in found["statement"]] == ["0.00"] * len(
        whole["statement"]
    )


def test_a_quarantined_file_counts_for_nothing_until_a_reviewer_says_why(preparer, reviewer):
    """Its own sum is not what is known from elsewhere."""
    record(preparer.api)
    controls = [
        {
            "currency": "EUR",
            "period_from": "2026-03-01",
            "period_to": "2026-03-31",
            "net_minor": 1,
        }
    ]
    status, brought = preparer.send(
        "imports",
        f"{HEADING}\n{CHARGE}\n".encode(),
        source="stripe-eur",
        controls=json.dumps(controls),
    )
    assert (status, brought["status"], brought["counts"]) == (201, "quarantined", False)
    found = preparer.run(today="2026-03-05")
    assert found["input"]["imports"] == []
    assert found["input"]["quarantined"] == [brought["id"]]
    assert any("quarantined" in each for each in found["reasons"])

    path = f"imports/{brought['id']}/override"
    status, refused = preparer.send(path, b'{"reason": "fine"}')
    assert (status, refused["code"]) == (403, "FORBIDDEN")
    reviewer.post(path, reason="The summary was of another month.")
    assert preparer.run(today="2026-03-05")["input"]["imports"] == [brought["id"]]


def quarantined(preparer: Desk, day: str = "2026-03-01") -> Any:
    """A file whose sum is not what is known from elsewhere of the month of this day."""
    control = {"currency": "EUR", "period_from": day, "period_to": day, "net_minor": 1}
    status, brought = preparer.send(
        "imports",
        f"{HEADING}\n{CHARGE.replace('2026-03-02', day)}\n".encode(),
        source="stripe-eur",
        controls=json.dumps([control]),
    )
    assert (status, brought["status"]) == (201, "quarantined")
    return brought


def test_a_file_that_is_set_aside_no_longer_keeps_a_statement_from_being_tied(preparer, reviewer):
    """Who, why and by which file; said at once of a run that was, and by those that follow."""
    record(preparer.api)
    wrong = quarantined(preparer)
    right = preparer.bring(CHARGE, REFUND)
    before = preparer.run(today="2026-03-05")
    assert (before["tied"], before["remaining"]) == (False, 0)
    [because] = before["untied_because"]
    assert wrong["id"] in because

    path, words = f"imports/{wrong['id']}/discard", {"reason": "The file of another shop."}
    status, refused = preparer.send(path, json.dumps(words).encode())
    assert (status, refused["code"]) == (403, "FORBIDDEN")
    reviewer.post(path, **words, superseded_by=right["id"])

    assert preparer.get(f"runs/{before['id']}")["tied"]
    after = preparer.run(today="2026-03-05")
    assert (after["tied"], after["input"]["quarantined"]) == (True, [])
    shown = preparer.get(f"imports/{wrong['id']}")
    told = ("act", "by", "reason", "superseded_by")
    assert [shown["ruling"][name] for name in told] == [
        *("discard", "ben", words["reason"], right["id"])
    ]
    assert shown["counts"] is False
    page = preparer.api.with_key("entries:read").get("/entries", type="recon.decided").json()
    noticed = page["entries"][-1]["entry"]["effect"]["data"]
    assert (noticed["act"], noticed["principal"]) == ("discard", "ben")


def test_a_statement_is_not_tied_by_a_file_that_was_set_aside_since(preparer, reviewer):
    """The run counted it by an override; nobody signs what it proved until it runs again."""
    record(preparer.api)
    right = preparer.bring(CHARGE, REFUND)
    wrong = quarantined(preparer)
    reviewer.post(f"imports/{wrong['id']}/override", reason="The bank says so.")
    counted = preparer.run(today="2026-03-05")
    assert counted["input"]["imports"] == [right["id"], wrong["id"]]
    before = counted["untied_because"]

    reviewer.post(f"imports/{wrong['id']}/discard", reason="The bank took it back.")

    after = preparer.get(f"runs/{counted['id']}")
    [because] = [each for each in after["untied_because"] if each not in before]
    assert "discarded since this run: run it again" in because
    assert wrong["id"] in because
    assert after["tied"] is False
    status, refused = reviewer.send("signoffs", json.dumps({"run": counted["id"]}).encode())
    assert (status, refused["code"]) == (409, "BREAK_NOT_SO")
    assert preparer.run(today="2026-03-05")["tied"]


def test_the_later_word_on_a_file_counts(preparer, reviewer):
    wrong = quarantined(preparer)
    path = f"imports/{wrong['id']}"
    for act, counts in (("discard", False), ("override", True), ("discard", False)):
        reviewer.post(f"{path}/{act}", reason="Looked at again.")
        assert preparer.get(path)["counts"] is counts
        status, refused = reviewer.send(f"{path}/{act}", b'{"reason": "Twice."}')
        assert (status, refused["code"]) == (409, "BREAK_NOT_SO")


def test_only_a_file_that_counts_and_is_of_the_same_source_supersedes_one(preparer, reviewer):
    wrong, other = quarantined(preparer), quarantined(preparer, "2026-03-04")
    path = f"imports/{wrong['id']}/discard"
    for id_, expected in ((other["id"], 409), ("none", 404)):
        words = {"reason": "Sent again.", "superseded_by": id_}
        assert reviewer.send(path, json.dumps(words).encode())[0] == expected
    right = preparer.bring(CHARGE)
    assert reviewer.send(f"imports/{right['id']}/discard", b'{"reason": "x"}')[0] == 409


def test_a_quarantined_file_stands_in_the_way_of_the_days_it_speaks_of_alone(preparer):
    wrong = quarantined(preparer)

    assert preparer.run(today="2026-07-01", period="2026-06")["untied_because"] == []
    assert preparer.run(today="2026-07-01", period="2026-Q1")["input"]["quarantined"] == [
        wrong["id"]
    ]


def test_a_statement_that_is_not_tied_is_signed_only_by_saying_so(preparer, reviewer):
    """And what stood in the way is signed with it, and printed."""
    wrong = quarantined(preparer)
    run = preparer.run(today="2026-03-05")

    status, refused = reviewer.send("signoffs", json.dumps({"run": run["id"]}).encode())
    assert (status, refused["code"]) == (409, "BREAK_NOT_SO")
    assert wrong["id"] in refused["detail"]
    signed = reviewer.post("signoffs", run=run["id"], untied=True)
    assert signed["untied_because"] == run["untied_because"]
    printed = preparer.get(f"runs/{run['id']}/statement", format="text").text
    assert "Although" in printed


def test_a_file_that_cannot_be_read_is_kept_and_says_why(preparer):
    status, brought = preparer.send("imports", b"no statement\n", source="stripe-eur")

    assert (status, brought["status"], brought["lines"]) == (201, "rejected", 0)
    assert brought["findings"]
    raw = preparer.get(f"imports/{brought['id']}/raw")
    assert raw.content == b"no statement\n"


def test_a_preview_keeps_nothing(preparer):
    status, shown = preparer.send(
        "imports", f"{HEADING}\n{CHARGE}\n".encode(), source="stripe-eur", dry_run="true"
    )

    assert (status, shown["provisional"], shown["lines"]) == (200, True, 1)
    assert shown["first"][0]["amount"] == "12000"
    assert preparer.get("imports")["items"] == []


def test_nothing_is_missing_at_a_provider_whose_report_proves_nothing(preparer):
    """An itemized report without a total covers no day."""
    record(preparer.api)
    preparer.bring(CHARGE, complete=False)
    found = preparer.run(today="2026-04-20")

    assert found["measures"]["states"] == {"matched": 1, "not_yet_covered": 1}
    assert preparer.get("breaks")["items"] == []
    assert found["tied"] is False


def test_what_no_file_covers_keeps_only_its_own_period_open(preparer):
    """A month that came before the first report does not keep the next one from being tied."""
    record(preparer.api)
    preparer.bring(CHARGE, complete=False)

    assert preparer.run(today="2026-04-20")["tied"] is False
    assert preparer.run(today="2026-05-20", period="2026-04")["tied"] is True


def test_what_people_put_together_and_take_apart_is_precise(preparer):
    record(preparer.api)
    preparer.bring(CHARGE, REFUND)
    first = preparer.run(today="2026-03-05")
    matches = preparer.get(f"runs/{first['id']}/matches")["items"]
    back = next(each for each in matches if each["items"][0]["kind"] == "refund")

    preparer.post(f"matches/{back['match']['id']}/unmatch", run=first["id"], reason="Other order.")
    apart = preparer.run(today="2026-04-20")
    assert apart["measures"]["states"]["matched"] == 1

    keys = sorted(item["key"] for item in back["items"])
    decided = preparer.post("matches", items=keys, note="It was right.")
    said = {"items": keys, "note": "It was right."}
    page = preparer.api.with_key("entries:read").get("/entries", type="recon.decided").json()
    notice = page["entries"][-1]["entry"]["effect"]["data"]
    assert notice == {
        "act": "match",
        "decision_id": decided["id"],
        "decision_hash": hashlib.sha256(canonical_bytes(said)).hexdigest(),
        "principal": "fin",
    }
    together = preparer.run(today="2026-04-20")
    assert together["measures"]["states"] == {"matched": 2}
    assert together["measures"]["strengths"] == {"auto": 1, "manual": 1}


def test_an_explained_break_stays_closed_while_it_is_the_same(preparer, reviewer):
    record(preparer.api)
    preparer.bring(CHARGE, REFUND, "txn_B,2026-03-04 10:00:00,eur,-9.99,0,-9.99,refund,re_B,ch_B")
    preparer.run(today="2026-03-20")
    [broken] = preparer.get("breaks")["items"]
    path = f"breaks/{broken['id']}"
    preparer.post(
        f"{path}/events", action="propose", resolution="explanation", note="Paid by another shop."
    )
    reviewer.post(f"{path}/events", action="approve")

    again = preparer.run(today="2026-03-21")
    assert (again["tied"], again["remaining"]) == (True, 0)
    assert preparer.get(path)["status"] == "closed"


def test_of_two_breaks_about_one_refund_that_are_approved_at_once_one_is_recorded(
    preparer, reviewer
):
    """Two sources tell of it, each in a run of its own; the ledger's lock decides."""
    record(preparer.api)
    preparer.post("sources", **(SOURCE | {"name": "stripe-again"}))
    missing = "txn_B,2026-03-04 10:00:00,eur,-9.99,0,-9.99,refund,re_B,ch_A"
    content = f"{HEADING}\n{CHARGE}\n{REFUND}\n{missing}\n".encode()
    for source in ("stripe-eur", "stripe-again"):
        preparer.send("imports", content, source=source)
        preparer.run(today="2026-03-20", sources=[source])
    paths = [f"breaks/{each['id']}/events" for each in preparer.get("breaks")["items"]]
    assert len(paths) == 2
    for path in paths:
        preparer.post(path, action="propose", resolution="entry")

    others = Desk(preparer.api.with_key("recon:review", principal="ann"))
    desks, start = (reviewer, others), threading.Barrier(2)

    def approve(at: int) -> tuple[int, Any]:
        start.wait()
        return desks[at].send(paths[at], b'{"action": "approve"}')

    with ThreadPoolExecutor(2) as pool:
        answers = sorted(pool.map(approve, (0, 1)), key=lambda answer: answer[0])

    refunds = preparer.api.with_key("entries:read").get("/entries", type="provider.refund").json()
    [entry] = refunds["entries"]
    assert [status for status, _ in answers] == [201, 409]
    assert answers[0][1]["closed_by"]["entry"] == entry["entry"]["id"]
    assert answers[1][1]["details"]["entry"] == entry["entry"]["id"], answers[1]
    # The other break waits for evidence, which the next run has.
    [waiting] = preparer.get("breaks")["items"]
    assert waiting["status"] in {"open", "proposed"}


def test_one_break_that_two_approve_at_once_is_closed_for_both(preparer, reviewer):
    record(preparer.api)
    preparer.bring(CHARGE, REFUND, FAILURE)
    preparer.run(today="2026-03-20")
    [broken] = preparer.get("breaks")["items"]
    path = f"breaks/{broken['id']}/events"
    preparer.post(path, action="propose", resolution="entry")
    others = Desk(preparer.api.with_key("recon:review", principal="ann"))
    start = threading.Barrier(2)

    def approve(desk: Desk) -> tuple[int, Any]:
        start.wait()
        return desk.send(path, b'{"action": "approve"}')

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(approve, (reviewer, others)))

    again = others.post(path, action="approve")
    assert {status for status, _ in answers} <= {200, 201, 503}
    closed = [answer for status, answer in answers if status < 300]
    assert {answer["closed_by"]["entry"] for answer in closed} == {again["closed_by"]["entry"]}
    entries = preparer.api.with_key("entries:read").get("/entries", type="refund.failed").json()
    assert len(entries["entries"]) == 1


def test_what_the_ledger_does_not_take_opens_the_break_again(preparer, reviewer):
    """An adjustment that takes more than is left: it was approved, and is not recorded."""
    record(preparer.api)
    preparer.bring(CHARGE, REFUND, FAILURE)
    preparer.run(today="2026-03-20")
    [broken] = preparer.get("breaks")["items"]
    path = f"breaks/{broken['id']}/events"
    drafted = preparer.get(f"breaks/{broken['id']}")["draft"]
    drafted |= {"observed": False, "money": drafted["money"] | {"amount": "-900.00"}}
    preparer.post(path, action="propose", resolution="entry", entry=drafted)
    status, refused = reviewer.send(path, b'{"action": "approve"}')

    found = preparer.get(f"breaks/{broken['id']}")
    assert (status, refused["code"]) == (409, "OVER_REFUND"), refused
    assert (found["status"], found["events"][-1]["action"]) == ("open", "rejected")


def test_an_open_break_of_a_closed_period_goes_on_in_the_next(api, preparer, reviewer):
    """With the day it was first seen and its age; the second time nothing is added."""
    record(preparer.api)
    preparer.bring(CHARGE, REFUND, FAILURE)
    preparer.run(today="2026-03-20")
    closer = api.with_key("close")
    for status in (201, 200):
        assert closer.post("/periods/2026-03/close", {}, key=None).status_code == status
    [broken] = preparer.get("breaks")["items"]
    path = f"breaks/{broken['id']}"
    [carried] = [e for e in preparer.get(path)["events"] if e["action"] == "carried_forward"]
    assert (carried["period"], carried["age_days"]) == ("2026-03", 22)
    assert broken["carried_forward"] == ["2026-03"]

    april = preparer.run(today="2026-04-20", period="2026-04")
    [brought] = april["brought_forward"]
    assert (brought["break"], brought["since"]) == (broken["id"], "2026-03-09")
    assert (brought["age_days"], brought["first_seen"]) == (42, carried["first_seen"])
    assert (april["tied"], april["remaining"]) == (False, 1)
    text = preparer.get(f"runs/{april['id']}/statement", format="text").text
    assert "Brought forward from earlier periods" in text
    assert "since 2026-03-09" in text

    preparer.post(f"{path}/events", action="propose", resolution="entry")
    reviewer.post(f"{path}/events", action="approve")
    again = preparer.run(today="2026-04-21", period="2026-04")
    assert again["brought_forward"] == []
    assert [each["state"] for each in again["measures"]["time_to_close"]] == ["missing_in_ledger"]


@pytest.mark.slow
def test_a_run_whose_process_dies_has_failed_and_can_be_begun_again(preparer, monkeypatch):
    """Long runs have a process of their own; killed, it is not waited for."""
    monkeypatch.setattr("ledger.recon.runs.APART_FROM", 0)
    record(preparer.api)
    preparer.bring(CHARGE, REFUND)
    begun = preparer.post("runs", period="2026-03", today="2026-03-05")
    ends_at = time.monotonic() + 20
    name = f"recon {begun['id']}"
    while not (found := [each for each in active_children() if each.name == name]):
        assert time.monotonic() < ends_at
    found[0].kill()
    while (failed := preparer.get(f"runs/{begun['id']}"))["state"] == "running":
        assert time.monotonic() < ends_at
        time.sleep(0.02)

    assert failed["state"] == "failed"
    assert "begin another one" in failed["error"]
    assert preparer.get("runs")["items"] == []
    again = preparer.run(today="2026-03-05")
    assert (again["tied"], again["input"]["size"]) == (True, 2)


def test_statements_come_in_every_format(preparer):
    record(preparer.api)
    preparer.bring(CHARGE, REFUND, FAILURE)
    run = preparer.run(today="2026-03-20")
    path = f"runs/{run['id']}/statement"

    text = preparer.get(path, format="text").text
    assert "Unexplained difference" in text
    assert "taken back at provider, not yet in ledger" in text
    assert preparer.get(path, format="csv").text.startswith("block,line,amount,count,list\r\n")
    assert "EUR refunds A" in preparer.get(path, format="lists").text
    book = preparer.get(path, format="xlsx").content
    assert b"<f>" not in zipfile.ZipFile(io.BytesIO(book)).read("xl/worksheets/sheet2.xml")
    assert book == preparer.get(path, format="xlsx").content
    pdf = preparer.get(path, format="pdf").content
    assert pdf.startswith(b"%PDF")
    assert pdf == preparer.get(path, format="pdf").content


def test_the_month_board_tells_every_day(preparer):
    record(preparer.api)
    preparer.bring(CHARGE, REFUND, FAILURE)
    preparer.run(today="2026-03-20")
    [row] = preparer.get("coverage", period="2026-03")["sources"]
    colours = {day["day"]: day["colour"] for day in row["days"]}

    assert colours["2026-03-02"] == "green"
    assert colours["2026-03-09"] == "red"


def test_the_same_request_is_answered_as_it_was(preparer):
    key, body = "run-1", b'{"period": "2026-03", "today": "2026-03-05"}'
    preparer.bring(CHARGE)
    status, first = preparer.send("runs", body, key=key)
    again_status, again = preparer.send("runs", body, key=key)
    other_status, other = preparer.send("runs", b'{"period": "2026-02"}', key=key)

    assert (status, again_status, other_status) == (202, 200, 422)
    assert (again["id"], again["replayed"]) == (first["id"], True)
    assert other["code"] == "IDEMPOTENCY_CONFLICT"


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("breaks", {"limit": "0"}),
        ("breaks", {"cursor": "x"}),
        ("breaks", {"wrong": "1"}),
        ("coverage", {"period": "soon"}),
        ("runs/none", {}),
        ("breaks/none", {}),
        ("imports/none", {}),
        ("imports/none/raw", {}),
    ],
)
def test_bad_questions_get_a_clear_answer(preparer, path, query):
    response = preparer.api.http.get(
        f"/v1/recon/{path}",
        headers=preparer.api.headers(None),
        params={"ledger": preparer.api.ledger, **query},
    )

    assert response.status_code in {404, 422}, response.text


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("sources", {"name": "x"}),
        ("sources", SOURCE | {"iana_tz": "Nowhere/Else"}),
        ("sources", SOURCE | {"tolerances": [{"kind": "tea"}]}),
        ("sources", SOURCE | {"mapping": {"version": 1}}),
        ("runs", {"period": "soon"}),
        ("runs", {"period": "2026-03", "sources": ["none"]}),
        ("runs", {"period": "2026-03", "today": "tomorrow"}),
        ("breaks/none/events", {"action": "approve"}),
        ("matches", {"items": ["one"], "note": "x"}),
        ("matches/none/unmatch", {"run": "none", "reason": "x"}),
        ("signoffs", {"run": "none"}),
        ("imports/none/override", {"reason": "x"}),
    ],
)
def test_bad_requests_get_a_clear_answer(api, path, words):
    desk = Desk(api)
    desk.post("sources", **SOURCE)
    status, answer = desk.send(path, json.dumps(words).encode())

    assert status in {404, 409, 422}, answer
    assert answer["action"] in {"fix-request", "wait-for-human"}


def test_an_auditor_reads_everything_and_writes_nothing(api, preparer):
    preparer.bring(CHARGE)
    auditor = Desk(api.with_key("entries:read", principal="audit"))

    assert auditor.get("imports")["items"]
    status, refused = auditor.send("runs", b'{"period": "2026-03"}')
    assert (status, refused["code"]) == (403, "FORBIDDEN")
