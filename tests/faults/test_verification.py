"""Laws of verification jobs: they say how far they are, and go on where the last one ended."""

from __future__ import annotations

import itertools
import multiprocessing
import re
import threading
import time
from uuid import uuid4

import pytest

from ledger.errors import MalformedProofError, NotFoundError, OverloadedError, SignatureError
from ledger.registry.stops import Stops
from ledger.storage.database import driver_connection
from ledger.submission import Posting, Recorded
from ledger.verification import runs as verification
from ledger.verification.pace import paced
from ledger.verification.pages import verify_ledger
from ledger.verification.runs import STALE_AFTER_S, Verifications
from ledger.verification.verdicts import Verdicts
from tests.faults.attacks import EUR, LEDGER, OTHER, SIZE, submission


@pytest.fixture
def verifications(engine, attacked):
    jobs = Verifications(
        engine,
        vault=attacked.vault,
        read_signed=lambda _: attacked.signed,
        verdicts=Verdicts(engine, attacked.appender._signer, Stops(engine)),
    )
    yield jobs
    jobs.wait(60)


@pytest.fixture
def apart(engine, conninfo, attacked, monkeypatch):
    """Jobs that run in processes of their own, as those of large ledgers do."""
    monkeypatch.setattr(verification, "APART_FROM", 0)
    jobs = Verifications(
        engine, conninfo=conninfo, vault=attacked.vault, read_signed=lambda _: attacked.signed
    )
    yield jobs
    jobs.wait(60)


def done(verifications, job, ledger=LEDGER):
    verifications.wait(60)
    document = verifications.get(ledger, job)
    assert document["state"] == "done", document
    return document


def test_a_job_ends_with_a_report(verifications):
    job = verifications.start(LEDGER)

    document = done(verifications, job)
    report = document.pop("report")

    assert document == {
        "id": job,
        "ledger": LEDGER,
        "mode": "full",
        "state": "done",
        "progress": {"checked": SIZE, "size": SIZE, "makes_way": False},
    }
    assert report["verdicts"] == {"tamper": "ok", "completeness": "ok", "time": "ok"}
    assert (report["first_bad"], report["size"], report["level"]) == (None, SIZE, "log-signed")


def test_a_process_of_its_own_reports_the_same(verifications, apart):
    """Whatever the size of a ledger, its verification says the same."""
    here = done(verifications, verifications.start(LEDGER))["report"]
    there = done(apart, apart.start(LEDGER))["report"]

    assert there | {"seconds": 0} == here | {"seconds": 0}


def test_a_process_that_is_killed_is_a_failed_job(apart):
    """It never passes for a good one."""
    job = apart.start(LEDGER)
    while not (processes := multiprocessing.active_children()):
        time.sleep(0.005)
    for process in processes:
        process.kill()
    apart.wait(60)

    document = apart.get(LEDGER, job)

    assert document["state"] == "failed"
    # Which of the two processes is missed first, nobody can say.
    assert re.search("exit code -9|read ahead ended", document["report"]["error"])


def test_progress_never_goes_beyond_the_size(engine):
    told = []

    report = verify_ledger(engine, LEDGER, progress=lambda *at: told.append(at))

    assert told[-1][:2] == (SIZE, SIZE)
    assert all(checked <= size for checked, size, _ in told)
    assert told == sorted(told)
    assert report.entries == SIZE


def test_the_same_job_twice_is_one_and_another_has_to_wait(verifications, monkeypatch):
    go_on = threading.Event()

    def slowly(*_args, **_kwargs):
        go_on.wait(30)
        raise NotFoundError("enough")

    monkeypatch.setattr("ledger.verification.runs.verify_ledger", slowly)
    job = verifications.start(LEDGER)
    try:
        assert verifications.get(LEDGER, job)["state"] == "running"
        assert verifications.start(LEDGER) == job
        with pytest.raises(OverloadedError):
            verifications.start(LEDGER, "incremental")
        verifications.start(OTHER)
        with pytest.raises(OverloadedError):
            verifications.start("_registry")
    finally:
        go_on.set()
    verifications.wait(60)
    document = verifications.get(LEDGER, job)
    assert (document["state"], document["report"]) == ("failed", {"error": "enough"})


def test_a_job_whose_process_died_shows_as_failed(verifications, as_superuser):
    job = str(uuid4())
    as_superuser.execute(
        "insert into verifications (ledger, id, mode, state, requested, size, updated_at) "
        "values (%s, %s, 'full', 'running', '{}', 1, now() - make_interval(secs => %s))",
        (LEDGER, job, STALE_AFTER_S + 1),
    )

    document = verifications.get(LEDGER, job)

    assert document["state"] == "failed"
    assert "ended" in document["report"]["error"]
    assert done(verifications, verifications.start(LEDGER))["state"] == "done"


def test_an_incremental_job_goes_on_where_the_last_good_one_ended(verifications):
    done(verifications, verifications.start(LEDGER))

    report = done(verifications, verifications.start(LEDGER, "incremental"))["report"]

    assert (report["mode"], report["start"], report["size"]) == ("incremental", 256, SIZE)
    assert report["verdicts"]["tamper"] == "ok"


def test_an_incremental_job_begins_at_the_checkpoint_that_is_trusted(verifications, attacked):
    note = attacked.older_published[2].decode()

    report = done(verifications, verifications.start(LEDGER, "incremental", note))["report"]

    assert (report["start"], report["verdicts"]["completeness"]) == (256, "ok")


def test_a_checkpoint_that_is_not_the_ledgers_begins_nothing(verifications, attacked):
    note = attacked.older_published[2].decode()

    with pytest.raises(SignatureError):
        verifications.start(OTHER, "full", note)
    with pytest.raises(MalformedProofError):
        verifications.start(LEDGER, "full", "not a note")


def test_what_is_not_there_is_not_found(verifications):
    with pytest.raises(NotFoundError):
        verifications.start("nowhere")
    with pytest.raises(NotFoundError):
        verifications.get(LEDGER, str(uuid4()))
    with pytest.raises(NotFoundError):
        verifications.get(LEDGER, "not an id")


def test_the_registry_verifies_like_any_other_ledger(engine, attacked):
    report = verify_ledger(engine, "_registry")

    assert (report.findings, report.tamper) == ([], "ok")
    assert attacked.record.name == LEDGER


def test_a_report_says_when_it_knows_no_signer(engine):
    report = verify_ledger(engine, LEDGER)

    assert report.completeness == "unchecked"
    assert any("left out" in each for each in report.not_checked)
    assert any("payloads contain" in each for each in report.not_checked)


def test_a_verification_goes_on_where_activity_cannot_be_read(engine, as_superuser):
    told = []
    as_superuser.execute("revoke select on pg_catalog.pg_stat_database from public")
    try:
        report = verify_ledger(engine, LEDGER, progress=lambda *at: told.append(at))
    finally:
        as_superuser.execute("grant select on pg_catalog.pg_stat_database to public")

    assert (report.findings, report.entries) == ([], SIZE)
    assert told[-1] == (SIZE, SIZE, False)


def test_a_count_that_cannot_be_read_spoils_no_transaction(engine, as_superuser):
    as_superuser.execute("revoke select on pg_catalog.pg_stat_database from public")
    try:
        with driver_connection(engine) as connection, connection.transaction():
            progress = paced(lambda *_at: None, connection)
            progress(0, SIZE)
            answer = connection.execute("select 1").fetchone()
    finally:
        as_superuser.execute("grant select on pg_catalog.pg_stat_database to public")

    assert answer == (1,)


def test_writers_are_no_damage_to_the_ledger_they_extend(engine, attacked):
    """Positions, head, tiles and checkpoint move while the auditor reads; nothing is found."""
    stop = threading.Event()
    written = []

    def write():
        for number in itertools.count():
            if stop.is_set():
                return
            items = [submission(f"{number}-{at}", **EUR) for at in range(20)]
            items += [
                submission(
                    f"{number}-{at}-back",
                    kind="refund",
                    reason="customer.request",
                    corrects_key=f"{number if at else max(number - 1, 0)}-{at}",
                    money={"amount": "1.00", "currency": "EUR", "flow": "out"},
                )
                for at in range(20)
            ]
            posting = Posting(
                ledger=OTHER,
                principal="checkout",
                submissions=tuple(items),
                with_receipts=False,
            )
            [outcomes] = attacked.appender.append(OTHER, [posting])
            assert all(isinstance(outcome, Recorded) for outcome in outcomes)
            written.append(len(outcomes))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        reports = [verify_ledger(engine, OTHER) for _ in range(5)]
    finally:
        stop.set()
        writer.join(30)

    assert [report.findings for report in reports] == [[]] * 5
    assert verify_ledger(engine, OTHER).size == sum(written)
