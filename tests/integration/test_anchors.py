"""The registry and its anchors: what stands for `_registry` stands for every ledger."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine

from ledger.anchoring import anchors as anchors_module
from ledger.anchoring import stamper as stamper_module
from ledger.anchoring.dating import Dating
from ledger.anchoring.recorder import Recorder
from ledger.anchoring.rounds import ANCHORING_LOCK, Anchoring
from ledger.anchoring.stamper import Stamper
from ledger.anchoring.tsa import HttpAuthority
from ledger.checkpoint import log_part
from ledger.errors import (
    ForkedError,
    NotCosignedYetError,
    NotFoundError,
    NotTimestampedYetError,
    RolledBackError,
    TimestampError,
)
from ledger.forms.names import REGISTRY
from ledger.note import VerifierKey
from ledger.policy import parse_policy, verify_receipt_under
from ledger.ports import NotAnswered
from ledger.publisher import Publisher
from ledger.receipt import parse_receipt, verify_receipt
from ledger.registry.ledgers import Registry
from ledger.registry.stops import Stops
from ledger.rfc3161 import load_authorities, verify_timestamp
from ledger.storage.database import WRITER, connect
from ledger.storage.database import engine as make_engine
from ledger.storage.embedded import open_server
from ledger.storage.embedded.cluster import SUPERUSER
from ledger.storage.leader import Leader
from ledger.verification.pages import verify_ledger
from ledger.verify import Dated
from tests.integration.authorities import (
    DAY,
    Authority,
    authority,
    listening,
    openssl_verifies,
)
from tests.integration.commands import TIMEOUT_S, Shell, settled_directory
from tests.integration.witnesses import LEDGER, House, Running, house, witness

SECOND = "second"


@pytest.fixture(scope="module")
def conninfo() -> Iterator[Callable[[str], str]]:
    with settled_directory() as base, open_server(base / "data") as server:
        yield server.conninfo


@pytest.fixture(scope="module")
def town(conninfo, tmp_path_factory) -> Iterator[House]:
    with house(conninfo, tmp_path_factory.mktemp("keys") / "signer") as built:
        registry = Registry(built.appender, built.storage, built.signer)
        for name in (LEDGER, SECOND, "rolled-back", "forked"):
            registry.create_ledger(name)
        yield built


@pytest.fixture(scope="module")
def engine(conninfo) -> Iterator[Engine]:
    made = make_engine(conninfo, WRITER, pool_size=4)
    yield made
    made.dispose()


@pytest.fixture(scope="module")
def running(town, tmp_path_factory) -> Iterator[Running]:
    vkey = town.reader.ledger(REGISTRY).vkey
    with witness(tmp_path_factory.mktemp("witness") / "home", vkey) as started:
        yield started


@pytest.fixture(scope="module")
def tsa(tmp_path_factory) -> Authority:
    return authority(tmp_path_factory.mktemp("tsa") / "one")


@pytest.fixture(scope="module")
def url(tsa) -> Iterator[str]:
    with listening(tsa) as where:
        yield where


def recorder(town: House, engine: Engine) -> Recorder:
    return Recorder(
        reader=town.reader,
        anchors=town.anchors,
        stops=Stops(engine),
        post=lambda posting: town.appender.append(REGISTRY, [posting])[0],
        every_s=0.0,
    )


def publisher(town: House, running: Running) -> Publisher:
    return Publisher(
        reader=town.reader,
        anchors=town.anchors,
        stops=town.stops,
        policy=parse_policy(policy_text(running).encode()),
        every_s=0.0,
    )


def policy_text(running: Running, *logs: str) -> str:
    lines = [*(f"log {log}" for log in logs), f"witness w {running.vkeys[0]} {running.url}/"]
    return "".join(f"{line}\n" for line in [*lines, "quorum w"])


def stamper(town: House, tsa: Authority, url: str, every_s: float = 0.0) -> Stamper:
    return Stamper(
        reader=town.reader,
        anchors=town.anchors,
        stops=town.stops,
        transport=HttpAuthority(url),
        authorities=load_authorities(tsa.root),
        every_s=every_s,
    )


def keys(town: House, ledger: str = LEDGER) -> list[VerifierKey]:
    return [VerifierKey.parse(town.reader.ledger(ledger).vkey)]


def registered(engine: Engine, ledger: str) -> list[tuple[int, int]]:
    with engine.connect() as connection:
        found = connection.exec_driver_sql(
            "select size, registry_seq from registered where ledger = %s order by size", (ledger,)
        )
        return [tuple(row) for row in found]


# ---- Recording ------------------------------------------------------------------------


def test_the_registry_records_each_ledger_that_has_grown_and_no_other(town, engine):
    town.grow(3)
    duty = recorder(town, engine)
    duty.turn()
    before = town.reader.size(REGISTRY)
    duty.turn()
    assert town.reader.size(REGISTRY) == before

    town.grow(5)
    duty.turn()
    assert town.reader.size(REGISTRY) == before + 1
    assert [size for size, _ in registered(engine, LEDGER)] == [3, 5]
    assert registered(engine, SECOND) == []
    notice = town.reader.entry(REGISTRY, registered(engine, LEDGER)[-1][1])
    checkpoint, _ = town.published()
    assert (notice.effect.type, notice.poster) == ("checkpoint.recorded", "_ledger")
    assert notice.effect.data == {
        "ledger": LEDGER,
        "origin": checkpoint.origin,
        "size": 5,
        "root": checkpoint.root.hex(),
    }
    assert town.anchors.registered() == {LEDGER: 5}


def test_whoever_died_between_notice_and_row_is_followed_by_one_who_finds_it(
    town, engine, monkeypatch
):
    """The notice is there, nobody knows which it is: it is found, and not said twice."""
    town.grow(6)
    dying = recorder(town, engine)

    def dies(*_arguments: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(dying, "_keep", dies)
    with pytest.raises(ZeroDivisionError):
        dying.turn()
    said = town.reader.size(REGISTRY)
    assert registered(engine, LEDGER)[-1][0] == 5

    recorder(town, engine).turn()
    assert town.reader.size(REGISTRY) == said
    assert registered(engine, LEDGER)[-1] == (6, said - 1)


def test_one_process_of_two_records(town, engine):
    first, second = (
        Anchoring(
            leader=Leader(engine, ANCHORING_LOCK),
            stops=Stops(engine),
            duties=[recorder(town, engine)],
        )
        for _ in range(2)
    )
    try:
        first.turn()
        town.grow(7)
        second.turn()
        assert registered(engine, LEDGER)[-1][0] == 6
        first.stop()
        second.turn()
        assert registered(engine, LEDGER)[-1][0] == 7
    finally:
        first.stop()
        second.stop()


def test_a_ledger_behind_what_the_registry_recorded_is_stopped(town, engine, conninfo):
    town.grow(3, ledger="rolled-back")
    recorder(town, engine).turn()
    with as_superuser(conninfo) as superuser:
        superuser.execute(
            "insert into effect_ledger.registered values ('rolled-back', 9, 1, 'a later one')"
        )
    duty = recorder(town, engine)
    duty.turn()
    with pytest.raises(RolledBackError, match="has published 3 entries, and _registry recorded 9"):
        Stops(engine).check("rolled-back")
    # And is no more recorded, or asked about.
    town.stops.refresh()
    duty.turn()


def test_a_ledger_whose_registry_knows_another_root_is_stopped(town, engine, conninfo):
    """Whoever restored this ledger alone and let it grow to the same size again."""
    town.grow(3, ledger="forked")
    recorder(town, engine).turn()
    [(size, seq)] = registered(engine, "forked")
    with as_superuser(conninfo) as superuser:
        superuser.execute("delete from effect_ledger.registered where ledger = 'forked'")
        superuser.execute(
            "update effect_ledger.entries set body = convert_to(replace(convert_from(body, 'UTF8'),"
            f" '\"size\":{size}', '\"size\":4'), 'UTF8') where ledger = '_registry' and seq = {seq}"
        )
    recorder(town, engine).turn()
    with pytest.raises(ForkedError, match="there are two histories"):
        Stops(engine).check("forked")
    with as_superuser(conninfo) as superuser:
        superuser.execute(
            "update effect_ledger.entries set body = convert_to(replace(convert_from(body, 'UTF8'),"
            f" '\"size\":4', '\"size\":{size}'), 'UTF8') where ledger = '_registry' and seq = {seq}"
        )


@contextmanager
def as_superuser(conninfo: Callable[[str], str]) -> Iterator[Any]:
    """With all guards off, as nobody but whoever owns the machine."""
    with connect(conninfo, SUPERUSER) as superuser:
        tables = ("registered", "entries", "timestamped")
        for table in tables:
            superuser.execute(f"alter table effect_ledger.{table} disable trigger append_only")
        yield superuser
        for table in tables:
            superuser.execute(
                f"alter table effect_ledger.{table} enable always trigger append_only"
            )


# ---- Levels ---------------------------------------------------------------------------


def test_a_ledger_nobody_witnesses_inherits_from_the_registry(town, engine, running):
    town.grow(8)
    with pytest.raises(NotCosignedYetError):
        town.anchors.receipt(LEDGER, 7, "cosigned")
    recorder(town, engine).turn()
    with pytest.raises(NotCosignedYetError):
        town.anchors.receipt(LEDGER, 7, "cosigned")
    duty = publisher(town, running)
    duty.turn()
    duty.close()

    receipt = town.anchors.receipt(LEDGER, 7, "cosigned")
    assert receipt.level == "cosigned"
    assert parse_receipt(receipt.to_document()) == receipt
    verified = verify_receipt(receipt, keys(town), witnesses=running.verifiers, quorum=1)
    assert (verified.level, verified.seq, verified.ledger) == ("cosigned", 7, LEDGER)
    assert verified.witnesses == (running.verifiers[0].name,)
    assert verified.not_after is not None
    assert verified.registry is not None
    assert verified.registry.place.checkpoint.origin.endswith("/_registry")
    # Nobody's word but the log's, where no witness is trusted.
    assert verify_receipt(receipt, keys(town)).level == "log-signed"
    # By one policy file, which does not name the registry's key.
    vkey = town.reader.ledger(LEDGER).vkey
    policy = parse_policy(policy_text(running, vkey).encode())
    assert verify_receipt_under(policy, receipt).level == "cosigned"
    # And the registry's own are proved without anybody above them.
    own = town.anchors.receipt(REGISTRY, 0, "cosigned")
    assert own.registry is None
    assert verify_receipt(own, keys(town, REGISTRY), witnesses=running.verifiers).level == (
        "cosigned"
    )
    with pytest.raises(NotFoundError):
        town.anchors.receipt(LEDGER, 99, "cosigned")


def test_a_receipt_of_one_ledger_does_not_inherit_what_is_of_another(town, engine, running):
    town.grow(2, ledger=SECOND)
    recorder(town, engine).turn()
    duty = publisher(town, running)
    duty.turn()
    duty.close()
    own = town.anchors.receipt(LEDGER, 0, "cosigned")
    other = town.anchors.receipt(SECOND, 0, "cosigned")

    with pytest.raises(Exception, match="recorded another checkpoint"):
        verify_receipt(replace(own, registry=other.registry), keys(town))


def test_timestamps_of_the_registry_are_inherited_too(town, engine, running, tsa, url):
    town.grow(9)
    recorder(town, engine).turn()
    witnessed = publisher(town, running)
    witnessed.turn()
    witnessed.close()
    with pytest.raises(NotTimestampedYetError):
        town.anchors.receipt(LEDGER, 8, "timestamped")
    duty = stamper(town, tsa, url, every_s=3_600.0)
    duty.turn()
    asked = len(tsa.queries)
    duty.turn()
    assert len(tsa.queries) == asked
    duty.close()

    receipt = town.anchors.receipt(LEDGER, 8, "timestamped")
    authorities = load_authorities(tsa.root)
    verified = verify_receipt(receipt, keys(town), authorities=authorities)
    assert (verified.level, verified.witnesses) == ("timestamped", ())
    [timestamp] = verified.timestamps
    assert timestamp.authority == "CN=Authority of one"
    assert verified.not_after == timestamp.not_after
    # The checkpoint that witnesses had seen was the one to be timestamped.
    both = verify_receipt(
        receipt, keys(town), witnesses=running.verifiers, quorum=1, authorities=authorities
    )
    assert both.witnesses == (running.verifiers[0].name,)
    # Not trusted is not refused, and not believed.
    blind = verify_receipt(receipt, keys(town))
    assert (blind.level, blind.unproved) == (
        "log-signed",
        ("its timestamp: no authority is trusted here",),
    )
    newest = town.anchors.newest(REGISTRY, "timestamped")
    assert newest is not None
    assert town.anchors.ages("timestamped")[REGISTRY][0] == newest.size
    kept = town.anchors.timestamp(REGISTRY, newest.size)
    assert kept.note == log_part(newest.note)
    assert verify_timestamp(kept.token, kept.note, authorities).at == timestamp.at
    with pytest.raises(NotFoundError, match="no checkpoint of size 1 "):
        town.anchors.timestamp(REGISTRY, 1)


def test_an_authority_that_is_away_is_asked_later_and_later(town, engine, tsa, monkeypatch):
    town.grow(10)
    recorder(town, engine).turn()
    now = [1_000.0]
    monkeypatch.setattr(stamper_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    asked: list[float] = []

    class Away:
        def ask(self, _query: bytes) -> NotAnswered:
            asked.append(now[0])
            return NotAnswered(reason="it is away")

        def close(self) -> None:
            pass

    duty = Stamper(
        reader=town.reader,
        anchors=town.anchors,
        stops=town.stops,
        transport=Away(),
        authorities=load_authorities(tsa.root),
        every_s=60.0,
    )
    for _ in range(4_000):
        now[0] += 1
        duty.turn()
    waits = [after - before for before, after in pairwise(asked)]
    assert waits[:8] == [5, 10, 20, 40, 80, 160, 320, 600]
    assert set(waits[8:]) == {600}


@pytest.mark.parametrize("who", ["expired", "stranger"])
def test_a_token_that_does_not_verify_is_not_kept(town, engine, tsa, tmp_path, who):
    other = authority(tmp_path / who, until=-DAY if who == "expired" else DAY)
    town.grow({"expired": 11, "stranger": 12}[who])
    recorder(town, engine).turn()
    before = town.anchors.ages("timestamped")
    with listening(other) as where:
        duty = stamper(town, other if who == "expired" else tsa, where)
        with pytest.raises(TimestampError, match=r"expired|issuer"):
            duty.turn()
        duty.close()
    assert town.anchors.ages("timestamped")[REGISTRY][0] == before[REGISTRY][0]


def test_what_waits_for_its_signature_for_long_keeps_its_tree_from_being_timestamped(
    town, monkeypatch
):
    """An anchor over a tree that lacks an old entry would say that it was not there yet."""
    size = town.reader.published_size(LEDGER)
    assert town.anchors.is_current(LEDGER, size)
    time.sleep(0.01)
    monkeypatch.setattr(anchors_module, "WAITS_MAX", timedelta(0))
    assert not town.anchors.is_current(LEDGER, size - 1)
    assert town.anchors.is_current(LEDGER, size)


def test_a_stored_token_that_was_swapped_is_not_handed_out(town, conninfo):
    newest = town.anchors.newest(REGISTRY, "timestamped")
    with as_superuser(conninfo) as superuser:
        superuser.execute(
            "update effect_ledger.timestamped set note = note || 'x' where size = %s",
            (newest.size,),
        )
    with pytest.raises(TimestampError, match="over other octets"):
        town.anchors.timestamp(REGISTRY, newest.size)
    with as_superuser(conninfo) as superuser:
        superuser.execute(
            "update effect_ledger.timestamped set note = %s where size = %s",
            (log_part(newest.note), newest.size),
        )
    assert town.anchors.timestamp(REGISTRY, newest.size).size == newest.size


# ---- What an audit makes of it --------------------------------------------------------


def test_an_audit_holds_times_to_what_others_saw_through_the_registry(
    town, engine, running, tsa, url
):
    """Of the ledger itself nobody has seen anything."""
    duties = (recorder(town, engine), publisher(town, running), stamper(town, tsa, url))
    for grown in (14, 16):
        town.grow(grown)
        for duty in duties:
            duty.turn()
    for duty in duties:
        duty.close()
    dating = Dating(
        engine,
        town.reader,
        policy=parse_policy(policy_text(running).encode()),
        authorities=load_authorities(tsa.root),
    )
    dated = dating.trees(LEDGER, 0)
    assert dated.refused == 0
    assert [tree.size for tree in dated.trees][-2:] == [14, 16]
    # The earlier anchor of the registry bounds what came after the notice, and a later one it.
    last = dated.trees[-1]
    assert last.not_before is not None
    assert last.not_after is not None
    assert last.not_before <= last.not_after
    assert last.who.endswith("through _registry,")
    assert dating.trees(LEDGER, 14).trees == dated.trees[-1:]
    report = verify_ledger(engine, LEDGER, dated=dated)
    assert (report.time, report.findings_total) == ("ok", 0)
    assert not any("no authority has seen them yet" in each for each in report.not_checked)
    assert verify_ledger(engine, REGISTRY, dated=dating.trees(REGISTRY, 0)).time == "ok"

    lies = tuple(replace(tree, not_after=tree.not_after - DAY) for tree in dated.trees)
    told = verify_ledger(engine, LEDGER, dated=replace(dated, trees=lies))
    assert told.time == "bad"
    assert told.first_bad is not None
    assert (told.first_bad.check, told.first_bad.seq) == ("time.witnessed", 0)


def test_what_nobody_trusts_any_more_is_told_and_not_believed(town, engine, tmp_path):
    other = load_authorities(authority(tmp_path / "other").root)
    dating = Dating(engine, town.reader, policy=None, authorities=other)
    dated = dating.trees(REGISTRY, 0)
    assert dated.trees == ()
    assert dated.refused > 0
    report = verify_ledger(engine, REGISTRY, dated=dated)
    assert any("do not verify under" in each for each in report.not_checked)
    nobody = Dating(engine, town.reader, policy=None, authorities=None)
    assert nobody.trees(LEDGER, 0) == Dated()


# ---- The whole: a service, a witness and an authority as processes --------------------


@pytest.mark.slow
def test_a_poster_gets_a_receipt_that_others_stand_for_through_the_registry(tmp_path):
    """Two workers; neither witness nor authority sees the ledger itself; verified offline."""
    with settled_directory() as base:
        alone = Shell(data_dir=base / "data")
        made = alone.good("ledger", "create", LEDGER)
        key = alone.good("key", "create", "--name", "till", "--scope", "*")["key"]
        known = {each["ledger"]: each for each in alone.good("ledger", "list")["ledgers"]}
        tsa = authority(base / "tsa")
        with (
            witness(base / "w0", known[REGISTRY]["vkey"]) as running,
            listening(tsa) as where,
        ):
            (base / "policy").write_text(policy_text(running))
            (base / "trusted").write_text(policy_text(running, made["vkey"]))
            shell = alone.set(
                POLICY=str(base / "policy"),
                TSA_URL=where,
                TSA_CERTIFICATES=str(tsa.root),
                WORKERS="2",
                KEY=key,
                **{f"{name}_INTERVAL": "1" for name in ("WITNESS", "TSA", "REGISTRY")},
            )
            with shell.serving() as (_, announced):
                url = announced["url"]
                client = shell.set(URL=url)
                client.good("post", LEDGER, "--key", "a", "--type", "email.sent")
                receipts = {
                    level: get(url, key, f"/{LEDGER}/entries/0/receipt?level={level}")
                    for level in ("timestamped", "cosigned")
                }
                for level, answer in receipts.items():
                    assert answer.status_code == 200, answer.text
                    (tmp_path / level).write_bytes(answer.content)
                newest = get(url, key, f"/{REGISTRY}/checkpoint?level=timestamped")
                path = newest.headers["link"].removeprefix("<").partition(">")[0]
                token = get(url, key, path.removeprefix("/v1/ledgers"))
                assert token.headers["content-type"] == "application/timestamp-reply"
                (tmp_path / "note").write_bytes(newest.content)
                (tmp_path / "token").write_bytes(token.content)
                assert openssl_verifies(tmp_path / "token", tmp_path / "note", tsa.root)
                own = get(url, key, f"/{LEDGER}/checkpoint?level=timestamped")
                assert (own.status_code, own.json()["code"]) == (404, "NOT_TIMESTAMPED_YET")
                assert 0 <= httpx.get(f"{url}/readyz").json()["timestamp_age_s"] < TIMEOUT_S
                page = httpx.get(f"{url}/metrics", headers={"Authorization": f"Bearer {key}"}).text
                assert 'effect_ledger_timestamp_age_seconds{ledger="_registry"}' in page
                assert f'effect_ledger_registered_size{{ledger="{LEDGER}"}} 1.0' in page

        options = ("--policy", base / "trusted", "--tsa-certificates", tsa.root)
        good = alone.run("verify", tmp_path / "timestamped", *options, "--json")
        assert (good.code, good.json["level"]) == (0, "timestamped")
        assert good.json["verdicts"]["time"] == "ok"
        assert good.json["recorded_at"][:19] <= good.json["not_after"]
        assert good.json["timestamps"][0]["authority"] == "CN=Authority of tsa"
        assert good.json["registry"]["origin"] == known[REGISTRY]["origin"]
        blind = alone.run("verify", tmp_path / "timestamped", "--vkey", made["vkey"], "--json")
        assert (blind.code, blind.json["level"]) == (0, "log-signed")
        assert any("it is timestamped, as it says" in each for each in blind.json["not_checked"])

        forged = json.loads((tmp_path / "cosigned").read_text()) | {"level": "timestamped"}
        (tmp_path / "forged").write_text(json.dumps(forged))
        told = alone.run("verify", tmp_path / "forged", *options, "--json")
        assert told.code == 1
        assert "says it is timestamped, and carries no timestamp" in told.json["error"]["message"]


def get(url: str, key: str, path: str) -> httpx.Response:
    headers = {"Authorization": f"Bearer {key}", "Prefer": "wait=30"}
    return httpx.get(f"{url}/v1/ledgers{path}", headers=headers, timeout=TIMEOUT_S)
