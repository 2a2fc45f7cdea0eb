"""A service and its witnesses: cosigned receipts, and a ledger that stops instead of lying."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Engine

from ledger import publisher as publisher_module
from ledger.anchoring import rounds as anchoring_module
from ledger.anchoring.anchors import Anchors
from ledger.anchoring.rounds import ANCHORING_LOCK, Anchoring
from ledger.checkpoint import open_checkpoint
from ledger.cosignature import ed25519_cosigner
from ledger.errors import (
    ForkedError,
    LedgerBrokenError,
    NotCosignedYetError,
    NotFoundError,
    RolledBackError,
    SettingsError,
)
from ledger.forms.names import REGISTRY
from ledger.note import NoteKey, VerifierKey
from ledger.policy import Policy, parse_policy, verify_receipt_under
from ledger.publisher import Publisher, load_policy
from ledger.reader import Reader
from ledger.receipt import parse_receipt
from ledger.registry import stops as stops_module
from ledger.registry.ledgers import Registry
from ledger.registry.stops import Stops
from ledger.storage.database import WRITER, connect
from ledger.storage.database import engine as make_engine
from ledger.storage.embedded import open_server
from ledger.storage.embedded.cluster import SUPERUSER
from ledger.storage.leader import Leader
from tests.integration.commands import (
    TIMEOUT_S,
    Done,
    Shell,
    free_port,
    passable_directory,
    settled_directory,
)
from tests.integration.witnesses import (
    LEDGER,
    SIGNING_KEY,
    House,
    Leaves,
    Running,
    house,
    wait_until,
    witness,
)

CAPTURE = (
    *("--type", "card.capture", "--occurred-at", "2026-03-01T09:30:00Z"),
    *("--amount", "10.00", "--currency", "EUR", "--flow", "in"),
)

# ---- Publishing, in this process ------------------------------------------------------


@pytest.fixture(scope="module")
def conninfo() -> Iterator[Callable[[str], str]]:
    with settled_directory() as base, open_server(base / "data") as server:
        yield server.conninfo


@pytest.fixture(scope="module")
def town(conninfo, tmp_path_factory) -> Iterator[House]:
    with house(conninfo, tmp_path_factory.mktemp("keys") / "signer") as built:
        registry = Registry(built.appender, built.storage, built.signer)
        for name in (LEDGER, "quiet", "rolled-back", "forked"):
            registry.create_ledger(name)
        built.grow(3)
        yield built


@pytest.fixture(scope="module")
def engine(conninfo) -> Iterator[Engine]:
    made = make_engine(conninfo, WRITER, pool_size=4)
    yield made
    made.dispose()


def vkey(town: House, ledger: str = LEDGER) -> str:
    return town.reader.ledger(ledger).vkey


@pytest.fixture(scope="module")
def witnesses(town, tmp_path_factory) -> Iterator[list[Running]]:
    homes = tmp_path_factory.mktemp("witnesses")
    names = (LEDGER, REGISTRY, "rolled-back", "forked")
    logs = [VerifierKey.parse(vkey(town, name)) for name in names]
    with ExitStack() as started:
        yield [started.enter_context(witness(homes / str(at), *logs)) for at in range(2)]


def policy_of(witnesses: list[Running], *logs: str, count: str = "all") -> Policy:
    return parse_policy(policy_text(witnesses, *logs, count=count).encode())


def policy_text(witnesses: list[Running], *logs: str, count: str = "all") -> str:
    lines = [f"log {each}" for each in logs]
    for at, running in enumerate(witnesses):
        lines.append(f"witness w{at} {running.vkeys[0]} {running.url}/")
    members = " ".join(f"w{at}" for at in range(len(witnesses)))
    lines += [f"group g {count} {members}", "quorum g"]
    return "".join(f"{line}\n" for line in lines)


@contextmanager
def publishing(engine: Engine, policy: Policy, every_s: float = 0.0) -> Iterator[Anchoring]:
    reader, stops = Reader(engine), Stops(engine)
    publisher = Publisher(
        reader=reader,
        anchors=Anchors(engine, reader),
        stops=stops,
        policy=policy,
        every_s=every_s,
    )
    leader = Leader(engine, ANCHORING_LOCK)
    made = Anchoring(leader=leader, stops=stops, duties=[publisher])
    try:
        yield made
    finally:
        made.stop()


def rows(engine: Engine, ledger: str = LEDGER) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        found = connection.exec_driver_sql(
            "select size, note, reached_at, cosigned_at from cosigned where ledger = %s"
            " order by cosigned_at",
            (ledger,),
        )
        return [tuple(row) for row in found]


def test_a_quorum_is_kept_and_receipts_are_proved_under_the_first_one(town, engine, witnesses):
    """Entry 0 is proved under the tree it was first seen in, whatever came after."""
    policy = policy_of(witnesses, vkey(town))
    with publishing(engine, policy) as anchoring:
        anchoring.turn()
        town.grow(8)
        with pytest.raises(NotCosignedYetError, match="no quorum of witnesses has seen entry 3"):
            town.anchors.receipt(LEDGER, 3, "cosigned")
        anchoring.turn()

    assert [row[0] for row in rows(engine)] == [3, 8]
    for seq, size in [(0, 3), (2, 3), (3, 8), (7, 8)]:
        receipt = town.anchors.receipt(LEDGER, seq, "cosigned")
        verified = verify_receipt_under(policy, receipt)
        assert (verified.level, verified.seq) == ("cosigned", seq)
        assert verified.place.checkpoint.size == size
    newest = town.anchors.newest(LEDGER, "cosigned")
    assert newest is not None
    assert policy.verify(newest.note).names == ("w0", "w1")
    assert 0 <= newest.age_s < TIMEOUT_S
    assert town.anchors.ages("cosigned") == {
        LEDGER: (8, pytest.approx(newest.age_s, abs=TIMEOUT_S))
    }
    with pytest.raises(NotFoundError):
        town.anchors.receipt(LEDGER, 99, "cosigned")


def test_a_stranger_verifies_a_cosigned_receipt_with_one_policy_file(
    town, engine, witnesses, tmp_path
):
    """Offline: a file says whom to trust, and the command says who was there."""
    with publishing(engine, policy_of(witnesses, vkey(town))) as anchoring:
        anchoring.turn()
    files = {
        "cosigned": json.dumps(town.anchors.receipt(LEDGER, 1, "cosigned").to_document()),
        "log-signed": json.dumps(town.reader.receipt(LEDGER, 1).to_document()),
        "policy": policy_text(witnesses, vkey(town)),
        "stranger": policy_text(witnesses, vkey(town, "quiet")),
        "without-log": policy_text(witnesses),
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    shell = Shell(data_dir=tmp_path / "unused")

    def verify(receipt: str, policy: str, *arguments: str) -> Done:
        options = ("--policy", tmp_path / policy, *arguments, "--json")
        return shell.run("verify", tmp_path / receipt, *options)

    good = verify("cosigned", "policy")
    assert (good.code, good.json["level"]) == (0, "cosigned")
    assert good.json["witnesses"] == [witnesses[0].verifiers[0].name]
    assert not any("witness" in each for each in good.json["not_checked"])
    assert verify("cosigned", "without-log", "--vkey", vkey(town)).code == 0

    for receipt, policy, says in [
        ("log-signed", "policy", "the quorum g is not reached by anybody"),
        ("cosigned", "stranger", "no signature by a key of"),
    ]:
        bad = verify(receipt, policy)
        assert bad.code == 1
        assert says in bad.json["error"]["message"]
    for policy, arguments, says in [
        ("without-log", [], "say whose signature you trust"),
        ("policy", ["--quorum", "1"], "leave --witness and --quorum out"),
        ("cosigned", [], "policy, line 1"),
        ("absent", [], "absent"),
    ]:
        wrong = verify("cosigned", policy, *arguments)
        assert wrong.code == 2
        assert says in wrong.err


def test_a_kept_checkpoint_says_when_an_entry_was_not_there_yet(town, engine, witnesses, tmp_path):
    """The lower bound: a tree without the entry, and when witnesses saw that."""
    with publishing(engine, policy_of(witnesses, vkey(town))) as anchoring:
        anchoring.turn()
        kept = town.anchors.newest(LEDGER, "cosigned")
        assert kept is not None
        town.grow(kept.size + 2)
        anchoring.turn()
    receipt = town.anchors.receipt(LEDGER, kept.size, "cosigned")
    older = town.anchors.receipt(LEDGER, 0, "cosigned")
    files = {
        "kept": kept.note.decode(),
        "receipt": json.dumps(receipt.to_document()),
        "older": json.dumps(older.to_document()),
        "policy": policy_text(witnesses, vkey(town)),
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    shell = Shell(data_dir=tmp_path / "unused")

    def verify(name: str, *options: str | Path) -> Any:
        return shell.good("verify", tmp_path / name, "--checkpoint", tmp_path / "kept", *options)

    for options in (
        ("--policy", tmp_path / "policy"),
        ("--vkey", vkey(town), "--witness", witnesses[0].vkeys[0], "--quorum", "1"),
    ):
        told = verify("receipt", *options)
        assert told["not_before"] <= told["recorded_at"]
        assert told["recorded_at"][:19] <= told["not_after"]
        assert told["verdicts"]["time"] == "ok"
        assert verify("older", *options)["not_before"] is None
    assert verify("receipt", "--vkey", vkey(town))["not_before"] is None


def test_what_is_cosigned_is_not_asked_again_before_its_time(town, engine, witnesses, monkeypatch):
    with publishing(engine, policy_of(witnesses, vkey(town))) as anchoring:
        anchoring.turn()
        before = rows(engine)
        anchoring.turn()
        assert rows(engine) == before

        monkeypatch.setattr(publisher_module, "REFRESH_S", -1.0)
        anchoring.turn()
        assert [row[0] for row in rows(engine)] == [*(row[0] for row in before), before[-1][0]]


def test_a_ledger_is_shown_no_more_often_than_agreed(town, engine, witnesses):
    with publishing(engine, policy_of(witnesses, vkey(town)), every_s=3_600.0) as anchoring:
        town.grow(10)
        anchoring.turn()
        town.grow(12)
        anchoring.turn()
    assert rows(engine)[-1][0] == 10


def test_without_the_quorum_nothing_is_kept(town, engine, witnesses):
    """One of two: the level is not reached, and nobody is told that it is."""
    with witness_that_is_away() as away:
        policy = policy_of([witnesses[0], away], vkey(town))
        town.grow(14)
        before = rows(engine)
        with publishing(engine, policy) as anchoring:
            anchoring.turn()
        assert rows(engine) == before

        with publishing(engine, policy_of([witnesses[0], away], vkey(town), count="any")) as other:
            other.turn()
        assert rows(engine)[-1][0] == 14


@contextmanager
def witness_that_is_away() -> Iterator[Running]:
    key = ed25519_cosigner("away.example", Ed25519PrivateKey.generate())
    yield Running(
        process=None,  # type: ignore[arg-type]
        url=f"http://127.0.0.1:{free_port()}",
        vkeys=[key.verifier.encode()],
        home=Path("/nowhere"),
    )


def test_without_log_lines_the_registry_is_the_one_that_is_witnessed(town, engine, witnesses):
    with publishing(engine, policy_of(witnesses)) as anchoring:
        anchoring.turn()

    [row] = rows(engine, REGISTRY)
    verifier = VerifierKey.parse(vkey(town, REGISTRY))
    assert open_checkpoint(row[1], [verifier]).size == town.reader.published_size(REGISTRY)


def test_one_process_publishes_and_another_takes_over(town, engine, witnesses):
    """By a lock of the database: it goes with whoever has it."""
    policy = policy_of(witnesses, vkey(town))
    with publishing(engine, policy) as first, publishing(engine, policy) as second:
        first.turn()
        town.grow(20)
        second.turn()
        assert rows(engine)[-1][0] < 20

        first.stop()
        second.turn()
        assert rows(engine)[-1][0] == 20


def test_a_leader_that_lost_its_connection_is_none(town, engine, witnesses, conninfo):
    policy = policy_of(witnesses, vkey(town))
    with publishing(engine, policy) as first, publishing(engine, policy) as second:
        first.turn()
        with connect(conninfo, SUPERUSER) as superuser:
            superuser.execute(
                "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory'"
            )
        town.grow(22)

        def taken_over() -> bool:
            # The server ends a session when it comes to it.
            second.turn()
            return rows(engine)[-1][0] == 22

        wait_until(taken_over)
        town.grow(23)
        first.turn()
        assert rows(engine)[-1][0] == 22


def test_the_thread_goes_on_whatever_befalls_a_turn(town, engine, witnesses, monkeypatch):
    monkeypatch.setattr(anchoring_module, "POLL_S", 0.01)
    with publishing(engine, policy_of(witnesses, vkey(town))) as anchoring:
        turns: list[int] = []
        turn = anchoring.turn

        def stumble() -> None:
            turns.append(len(turns))
            if len(turns) == 1:
                raise NotFoundError("the database is elsewhere")
            if len(turns) == 2:
                raise ZeroDivisionError
            turn()

        monkeypatch.setattr(anchoring, "turn", stumble)
        town.grow(30)
        anchoring.start()
        wait_until(lambda: rows(engine)[-1][0] == 30)


# ---- Alarms ---------------------------------------------------------------------------


def seen_by(witnesses: list[Running], town: House, ledger: str, size: int) -> Leaves:
    """A history of `ledger` that the witnesses cosigned and this database does not have."""
    name = town.reader.ledger(ledger).origin
    other = Leaves(key=NoteKey(name=name, private_key=SIGNING_KEY))
    other.grow(size)
    for running in witnesses:
        with running.client() as client:
            assert isinstance(client.cosign(*other.checkpoint(), other), tuple)
    return other


@pytest.fixture
def fresh_stops(monkeypatch) -> None:
    """What another process stopped is known here at once."""
    monkeypatch.setattr(stops_module, "FRESH_S", 0.0)


@pytest.mark.usefixtures("fresh_stops")
def test_a_witness_that_saw_more_stops_the_ledger_in_every_process(town, engine, witnesses):
    """Everything was restored together, the signer's record too: nobody else could tell."""
    name = "rolled-back"
    town.grow(3, "before", name)
    larger = seen_by(witnesses, town, name, 9)
    with publishing(engine, policy_of(witnesses, vkey(town, name))) as anchoring:
        anchoring.turn()
        anchoring.turn()

    assert rows(engine, name) == []
    # Another process, which has read nothing yet, refuses as well.
    for stops in (town.stops, Stops(engine)):
        with pytest.raises(RolledBackError, match="has cosigned 9 entries") as refused:
            stops.check(name)
    assert refused.value.details["size"] == 3
    assert refused.value.details["signed_size"] == 9
    shown = refused.value.details["shown"].encode()
    assert open_checkpoint(shown, [VerifierKey.parse(vkey(town, name))]) == larger.checkpoint()[0]

    with pytest.raises(RolledBackError):
        town.grow(4, "after", name)
    # History is read, and what was recorded before is answered again.
    assert town.reader.receipt(name, 2).level == "log-signed"
    town.stops.check(LEDGER)
    # Said once, however often the witness says it.
    assert [stop.ledger for stop in town.stops.standing] == [name]

    with pytest.raises(SettingsError, match="the reason is kept"):
        town.stops.lift(name, "  ")
    assert town.stops.lift(name, "restored from the other host") == ["rolled_back"]
    town.grow(4, "after", name)
    with pytest.raises(NotFoundError, match="is not stopped"):
        town.stops.lift(name, "again")


@pytest.mark.usefixtures("fresh_stops")
def test_a_witness_that_saw_another_history_stops_the_ledger(town, engine, witnesses):
    """And a ledger that is stopped is not shown to anybody."""
    name = "forked"
    seen_by(witnesses, town, name, 3)
    town.grow(5, "ours", name)
    policy = policy_of(witnesses, vkey(town, name), count="any")
    with publishing(engine, policy) as anchoring:
        anchoring.turn()
        with pytest.raises(ForkedError, match="another history"):
            town.grow(6, "more", name)
        before = [running.shown(town.reader.ledger(name).origin).content for running in witnesses]
        anchoring.turn()

    assert rows(engine, name) == []
    assert [each.shown(town.reader.ledger(name).origin).content for each in witnesses] == before


def test_a_stop_of_any_kind_is_told_as_what_it_is(engine):
    """The three kinds, and what stands longest is told first."""
    stops = Stops(engine)
    for error in (LedgerBrokenError("first", size=1), ForkedError("second"), RolledBackError("x")):
        stops.stop("quiet", error)
        stops.stop("quiet", error)
    with pytest.raises(LedgerBrokenError, match="first") as told:
        stops.check("quiet")
    assert told.type is LedgerBrokenError
    assert told.value.details == {"size": 1}

    assert stops.lift("quiet", "an exercise") == ["broken", "forked", "rolled_back"]
    stops.check("quiet")


# ---- The policy of a service ----------------------------------------------------------

VA, VB = (
    ed25519_cosigner(f"{name}.example", Ed25519PrivateKey.generate()).verifier.encode()
    for name in "ab"
)
UNUSABLE = {
    "absent": (None, "cannot be read: No such file or directory"),
    "not-a-policy": ("quorum\n", "policy, line 1: expected `quorum NAME|none`"),
    "nobody-to-ask": ("quorum none\n", "the quorum None cannot be reached"),
    "quorum-without-urls": (
        f"witness a {VA} http://127.0.0.1/\nwitness b {VB}\ngroup g all a b\nquorum g\n",
        "the quorum g cannot be reached by those of its witnesses that have a URL",
    ),
}


@pytest.mark.parametrize(("text", "says"), UNUSABLE.values(), ids=UNUSABLE)
def test_a_policy_that_no_service_can_fulfil_is_refused(tmp_path, text, says):
    path = tmp_path / "policy"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SettingsError) as refused:
        load_policy(path)
    assert says in refused.value.message


def test_a_witness_with_two_keys_is_asked_once(town, engine, tmp_path):
    log = VerifierKey.parse(vkey(town, "quiet"))
    town.grow(2, "said", "quiet")
    with witness(tmp_path / "home", log, arguments=("--ml-dsa",)) as running:
        lines = [f"log {log.encode()}"]
        lines += [f"witness w{at} {each} {running.url}" for at, each in enumerate(running.vkeys)]
        text = "".join(f"{line}\n" for line in [*lines, "group g all w0 w1", "quorum g"])
        with publishing(engine, parse_policy(text.encode())) as anchoring:
            assert len(anchoring._duties[0]._clients) == 1  # type: ignore[attr-defined]
            anchoring.turn()
    newest = town.anchors.newest("quiet", "cosigned")
    assert newest is not None
    assert parse_policy(text.encode()).verify(newest.note).names == ("w0", "w1")


# ---- The whole: services and witnesses as processes -----------------------------------


@contextmanager
def witnessed_town(base: Path) -> Iterator[tuple[Shell, list[Running]]]:
    """A data directory with one ledger, and two witnesses that look after it."""
    alone = Shell(data_dir=base / "data")
    made = alone.good("ledger", "create", LEDGER)
    key = alone.good("key", "create", "--name", "till", "--scope", "*")
    with (
        witness(base / "w0", made["vkey"]) as first,
        witness(base / "w1", made["vkey"]) as second,
    ):
        lines = [f"log {made['vkey']}"]
        lines += [f"witness w{at} {w.vkeys[0]} {w.url}" for at, w in enumerate((first, second))]
        text = "".join(f"{line}\n" for line in [*lines, "group g all w0 w1", "quorum g"])
        (base / "policy").write_text(text)
        shell = alone.set(POLICY=str(base / "policy"), WITNESS_INTERVAL="1", KEY=key["key"])
        yield shell, [first, second]


def get(url: str, shell: Shell, path: str, **headers: str) -> httpx.Response:
    token = shell.variables["EFFECT_LEDGER_KEY"]
    return httpx.get(
        f"{url}{path}", headers={"Authorization": f"Bearer {token}", **headers}, timeout=TIMEOUT_S
    )


RECEIPT = f"/v1/ledgers/{LEDGER}/entries/{{}}/receipt"


@pytest.mark.slow
def test_a_poster_waits_for_a_receipt_that_witnesses_stand_for():
    """With two workers: one publishes, any answers; and a stranger verifies it offline."""
    with (
        settled_directory() as base,
        witnessed_town(base) as (shell, witnesses),
        shell.set(WORKERS="2").serving() as (_, announced),
    ):
        url = announced["url"]
        client = shell.set(URL=url)
        client.good("post", LEDGER, "--key", "a", *CAPTURE)

        early = get(url, shell, RECEIPT.format(1) + "?level=cosigned")
        assert (early.status_code, early.json()["code"]) == (404, "NOT_FOUND")
        wrong = get(url, shell, RECEIPT.format(0) + "?level=golden")
        assert wrong.status_code == 422

        answer = get(url, shell, RECEIPT.format(0) + "?level=cosigned", Prefer="wait=30")
        assert answer.status_code == 200, answer.text
        assert answer.headers["preference-applied"] == "wait=30"
        assert "immutable" in answer.headers["cache-control"]
        receipt = parse_receipt(answer.json())
        assert receipt.level == "cosigned"
        policy = parse_policy((base / "policy").read_bytes())
        assert verify_receipt_under(policy, receipt).place.witnesses == (
            witnesses[0].verifiers[0].name,
        )
        again = get(url, shell, RECEIPT.format(0) + "?level=cosigned")
        assert again.content == answer.content

        ready = httpx.get(f"{url}/readyz").json()
        assert 0 <= ready["quorum_age_s"] < TIMEOUT_S
        assert ready["ledgers_stopped"] == 0
        page = get(url, shell, "/metrics").text
        assert f'effect_ledger_cosigned_size{{ledger="{LEDGER}"}} 1.0' in page
        assert f'effect_ledger_quorum_age_seconds{{ledger="{LEDGER}"}}' in page
        assert f'effect_ledger_stopped{{ledger="{LEDGER}"}} 0.0' in page

        posted = httpx.post(
            f"{url}/v1/ledgers/{LEDGER}/effects",
            headers={
                "Authorization": f"Bearer {shell.variables['EFFECT_LEDGER_KEY']}",
                "Idempotency-Key": "waited-for",
                "Prefer": "wait=30",
            },
            json={"type": "email.sent", "occurred_at": "2026-03-01T09:30:00Z"},
            timeout=TIMEOUT_S,
        )
        assert posted.status_code == 201
        assert posted.json()["receipt"]["level"] == "cosigned"
        assert verify_receipt_under(policy, parse_receipt(posted.json()["receipt"])).seq == 1

        for running in witnesses:
            running.process.kill()
        client.good("post", LEDGER, "--key", "b", *CAPTURE)
        late = get(url, shell, RECEIPT.format(2) + "?level=cosigned", Prefer="wait=2")
        assert (late.status_code, late.json()["code"]) == (404, "NOT_COSIGNED_YET")
        assert (late.json()["retryable"], late.json()["action"]) == (True, "retry-with-backoff")
        assert get(url, shell, RECEIPT.format(2)).json()["level"] == "log-signed"


@pytest.mark.slow
def test_a_data_directory_that_was_restored_whole_is_caught_by_its_witnesses():
    """Database and signer's record of the same old backup: only somebody else remembers."""
    with settled_directory() as base, witnessed_town(base) as (shell, _):
        with shell.serving() as (_, announced):
            client = shell.set(URL=announced["url"])
            client.good("post", LEDGER, "--key", "a", *CAPTURE)
            wait = {"Prefer": "wait=30"}
            get(announced["url"], shell, RECEIPT.format(0) + "?level=cosigned", **wait)
        # With owners: the database has its own user where the tests run as root.
        subprocess.run(["cp", "-a", base / "data", base / "backup"], check=True)
        with shell.serving() as (_, announced):
            client = shell.set(URL=announced["url"])
            for key in "bcd":
                client.good("post", LEDGER, "--key", key, *CAPTURE)
            kept = get(announced["url"], shell, RECEIPT.format(3) + "?level=cosigned", **wait)
            assert kept.status_code == 200

        shutil.rmtree(base / "data")
        shutil.move(base / "backup", base / "data")
        with shell.serving() as (_, announced):
            url = announced["url"]
            client = shell.set(URL=url)
            wait_until(lambda: httpx.get(f"{url}/readyz").json()["ledgers_stopped"] == 1)

            refused = client.run("post", LEDGER, "--key", "e", *CAPTURE)
            assert refused.code == 2
            assert "RML-3 history" in refused.err
            assert "LEDGER_ROLLED_BACK" in refused.err
            assert get(url, shell, RECEIPT.format(0)).status_code == 200
            again = client.good("post", LEDGER, "--key", "a", *CAPTURE)
            assert again["replayed"] is True
            page = get(url, shell, "/metrics").text
            assert f'effect_ledger_stopped{{ledger="{LEDGER}"}} 1.0' in page

        # A new process does not forget it, and a person lets it go on, and says why.
        with shell.serving() as (_, announced):
            client = shell.set(URL=announced["url"])
            assert client.run("post", LEDGER, "--key", "e", *CAPTURE).code == 2
            lifted = client.good("ledger", "resume", LEDGER, "--because", "an exercise")
            assert lifted == {"ledger": LEDGER, "lifted": ["rolled_back"], "acknowledged": False}
            # The witnesses still say it, so it does not go on for long.
            url = announced["url"]
            wait_until(lambda: httpx.get(f"{url}/readyz").json()["ledgers_stopped"] == 1)


def test_a_service_with_a_policy_it_cannot_fulfil_does_not_start():
    with passable_directory() as base:
        (base / "policy").write_text("quorum none\n")
        shell = Shell(data_dir=base / "data").set(POLICY=str(base / "policy"))
        done = shell.run("serve", "--port", str(free_port()))

        assert done.code == 2
        assert "cannot be reached by those of its witnesses that have a URL" in done.err
        # Told before anything is started.
        assert not (base / "data").exists()
