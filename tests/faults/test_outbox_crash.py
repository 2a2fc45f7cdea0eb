"""
Laws of outboxes under crashes: what the services did is what the ledger holds, in order, once.

Services, relays and the ledger are killed without warning, in random order, again and again. In the
end the effects in the services' database equal the effects in the ledger, no subject is out of
order, nothing is there twice, every receipt proves its entry, and the whole ledger verifies.

OUTBOX_RUNS says how many runs; OUTBOX_SEED where chance begins.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import orjson
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from ledger.canonical import canonical_bytes
from ledger.client import outbox
from ledger.entry import Entry, parse_entry
from ledger.note import VerifierKey
from ledger.receipt import parse_receipt, verify_receipt
from ledger.service import open_service
from ledger.settings import read_settings
from ledger.storage.embedded import open_server
from ledger.storage.embedded.cluster import SUPERUSER
from tests.api.support import Api
from tests.faults import outbox_players
from tests.faults.house import verified as verified_whole
from tests.integration.commands import Shell, free_port, passable_directory

pytestmark = pytest.mark.slow

RUNS = int(os.environ.get("OUTBOX_RUNS", "4"))
SEED = int(os.environ.get("OUTBOX_SEED", "1"))
SERVICES, RELAYS = 2, 2
LEASE_S = "2"
PATIENCE_S = 120.0
PAUSE_S = 0.05
BUSINESS = {
    "postgresql": "create table business (id bigint generated always as identity primary key,"
    " subject text not null, key text not null unique, kind text not null, seen text)",
    "sqlite": "create table business (id integer primary key autoincrement,"
    " subject text not null, key text not null unique, kind text not null, seen text)",
}


# Made from a process that has everything imported and nothing begun: as real as any other, and
# there at once, so that a run is killing and not waiting for imports.
_made = multiprocessing.get_context("forkserver")
_made.set_forkserver_preload(["tests.faults.outbox_players"])


@dataclass
class Player:
    """One process, as often as it is started."""

    play: Callable[..., None]
    arguments: tuple[Any, ...]
    said: Path
    """What it wrote."""
    _process: ForkServerProcess | None = None

    def start(self) -> None:
        """Start it, where it does not run."""
        if self._process is None:
            self._process = _made.Process(
                target=outbox_players.play, args=(self.play, self.arguments, str(self.said))
            )
            self._process.start()

    def kill(self) -> None:
        """End it where it stands."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in order."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            # One that had ended by itself would be no victim.
            assert process.exitcode is None, self.said.read_text("utf-8")[-2_000:]
            assert process.pid is not None
            os.kill(process.pid, how)
            process.join(PATIENCE_S)
            assert process.exitcode is not None
            process.close()


@dataclass(kw_only=True)
class Stage:
    """Everything that is killed, and the database that stays."""

    shell: Shell
    url: str
    ledger: str
    key: str
    vkey: str
    connect: Callable[[], Any]
    players: dict[str, Player] = field(default_factory=dict)
    seen: list[Entry] = field(default_factory=list)
    """Entries of the ledger, as far as they were read."""

    def rows(self, statement: str) -> list[Any]:
        connection = self.connect()
        try:
            return connection.execute(statement).fetchall()
        finally:
            connection.close()

    def await_business(self, more: int) -> None:
        """Until services did so much more."""
        before = self._count_business()
        self._await(lambda: self._count_business() >= before + more)

    def await_handed_off(self) -> None:
        """Until nothing in the outbox is left to do."""
        self._await(
            lambda: not self.rows("select 1 from effect_ledger_outbox where state <> 'handed_off'")
        )

    def _count_business(self) -> int:
        [(count,)] = self.rows("select count(*) from business")
        return int(count)

    def _await(self, condition: Callable[[], bool]) -> None:
        gives_up_at = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < gives_up_at, "\n".join(
                f"{name}: {each.said.read_text('utf-8')[-1_000:]}"
                for name, each in self.players.items()
            )
            time.sleep(PAUSE_S)


@dataclass(frozen=True, kw_only=True)
class House:
    """A ledger for each kind of database, and where services may have theirs."""

    base: Path
    shell: Shell
    key: str
    vkeys: dict[str, str]
    conninfo: str


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with ExitStack() as opened:
        base = opened.enter_context(passable_directory())
        shell = Shell(data_dir=base / "data")
        with open_service(read_settings(shell.environment)) as service:
            service.prepare()
            key = str(service.credentials.create("till", ["*"]).key)
            vkeys = {kind: service.registry.create_ledger(kind).vkey for kind in BUSINESS}
        conninfo = opened.enter_context(open_server(base / "service")).conninfo(SUPERUSER)
        yield House(base=base, shell=shell, key=key, vkeys=vkeys, conninfo=conninfo)


@pytest.fixture(params=BUSINESS)
def stage(house, request) -> Iterator[Stage]:
    kind = request.param
    file = str(house.base / "service.db")
    where, database = {
        "postgresql": (house.conninfo, as_url(house.conninfo)),
        "sqlite": (file, f"sqlite:///{file}"),
    }[kind]
    port = free_port()
    made = Stage(
        shell=house.shell,
        url=f"http://127.0.0.1:{port}",
        ledger=kind,
        key=house.key,
        vkey=house.vkeys[kind],
        connect=lambda: sqlite3.connect(where) if kind == "sqlite" else psycopg.connect(where),
    )
    connection = made.connect()
    with connection:
        outbox.create(connection)
        connection.execute(BUSINESS[kind])
    connection.close()

    environment = house.shell.set(URL=made.url, KEY=house.key).environment
    ledger = ["serve", "--port", str(port)]
    relay = ["--database-url", database, "--lease", LEASE_S, "--vkey", made.vkey]
    casts = {"ledger": (outbox_players.serve, (ledger, environment))}
    for at in range(SERVICES):
        casts[f"service-{at}"] = (outbox_players.service, (kind, where, kind, f"{SEED}-{at}"))
    for at in range(RELAYS):
        casts[f"relay-{at}"] = (outbox_players.relay, (relay, environment))
    for name, (play, arguments) in casts.items():
        made.players[name] = Player(play, arguments, house.base / f"{kind}-{name}.log")
    try:
        yield made
    finally:
        # Whoever is killed leaves its database running; whoever is stopped does not.
        ledger = made.players.pop("ledger")
        for player in made.players.values():
            player.kill()
        ledger.start()
        await_answer(made.url)
        ledger.stop()


def as_url(conninfo: str) -> str:
    """The same as people write it."""
    words = conninfo_to_dict(conninfo)
    options = urlencode({name: words[name] for name in ("host", "port", "user")})
    return f"postgresql:///{words['dbname']}?{options}"


def await_answer(url: str) -> None:
    """Until the ledger answers."""
    gives_up_at = time.monotonic() + PATIENCE_S
    while time.monotonic() < gives_up_at:
        with suppress(httpx.HTTPError):
            if httpx.get(f"{url}/readyz", timeout=5).is_success:
                return
        time.sleep(PAUSE_S)
    raise AssertionError("the ledger does not answer")


def test_what_services_did_is_what_the_ledger_holds_whoever_is_killed(stage):
    chance = random.Random(SEED)
    for _ in range(RUNS):
        for player in stage.players.values():
            player.start()
        kill_each(stage, chance)
        stage.await_handed_off()
        # The outbox may have been empty while the ledger was on its way back.
        await_answer(stage.url)
        check_history(stage)
    check_receipts(stage)


def kill_each(stage: Stage, chance: random.Random) -> None:
    """
    Kill everything once, in any order, with work being done in between.

    Relays and the ledger come back, some before the next is killed and some later; services do
    not: what they did is compared with history next.
    """
    victims = list(stage.players.items())
    chance.shuffle(victims)
    left, away = SERVICES, []
    for name, player in victims:
        if left:
            stage.await_business(chance.randrange(1, 12))
        time.sleep(chance.random() * 0.3)
        player.kill()
        if name.startswith("service"):
            left -= 1
        elif chance.random() < 0.5:
            player.start()
        else:
            away.append(player)
    for player in away:
        player.start()


def check_history(stage: Stage) -> None:
    """Nothing is missing, nothing twice, and no subject is out of order."""
    stage.seen += entries_after(stage, len(stage.seen))
    keys = [entry.effect.key for entry in stage.seen]
    business = stage.rows("select key, seen, subject from business")
    assert Counter(keys) == Counter(key for key, _, _ in business)
    # A run in which nothing happened shows nothing.
    assert business
    at = {key: seq for seq, key in enumerate(keys)}
    for key, seen, _ in business:
        assert seen is None or at[seen] < at[key]
    rows = stage.rows("select key, seq, subject from effect_ledger_outbox order by id")
    assert {key: seq for key, seq, _ in rows} == at
    for subject in {subject for _, _, subject in rows}:
        seqs = [seq for _, seq, about in rows if about == subject]
        assert seqs == sorted(seqs)


def entries_after(stage: Stage, size: int) -> list[Entry]:
    """Entries of the ledger from this seq on, by its feed."""
    found: list[Entry] = []
    headers = {"Authorization": f"Bearer {stage.key}"}
    with httpx.Client(base_url=stage.url, headers=headers, timeout=30) as http:
        while True:
            answer = http.get(
                f"/v1/ledgers/{stage.ledger}/feed",
                params={"after": size + len(found) - 1, "limit": 1_000, "wait": 0},
            )
            page = answer.raise_for_status().json()["entries"]
            if not page:
                return found
            for each in page:
                entry = parse_entry(canonical_bytes(each["entry"]))
                assert isinstance(entry, Entry)
                found.append(entry)


def check_receipts(stage: Stage) -> None:
    """Every row has the receipt of its entry, and the ledger verifies from end to end."""
    verifier = [VerifierKey.parse(stage.vkey)]
    bytes_of = {entry.id: entry.encoded for entry in stage.seen}
    receipts = stage.rows("select entry_id, seq, receipt from effect_ledger_outbox")
    assert len(receipts) == len(bytes_of)
    for entry_id, seq, receipt in receipts:
        verified = verify_receipt(parse_receipt(orjson.loads(receipt)), verifier)
        assert (verified.seq, verified.entry) == (seq, bytes_of[str(entry_id)])
    with httpx.Client(base_url=stage.url, timeout=30) as http:
        api = Api(http=http, ledger=stage.ledger, token=stage.key, make_key=lambda: "")
        assert verified_whole(api)["size"] == len(stage.seen)
