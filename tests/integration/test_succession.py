"""Who looks after the embedded database when whoever did so ends: never nobody."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import psycopg
import pytest

from ledger.cli.serve import begin
from ledger.settings import read_settings
from ledger.storage.database import OWNER, Conninfo
from ledger.storage.embedded import EmbeddedServer, attach, open_server, supervision
from ledger.storage.schema import migrate
from tests.integration.commands import COMMAND, TIMEOUT_S, Shell, free_port, settled_directory

CAPTURE = (
    *("--type", "card.capture", "--occurred-at", "2026-03-01T09:30:00Z"),
    *("--amount", "10.00", "--currency", "EUR", "--flow", "in"),
)


@pytest.fixture
def data_dir() -> Iterator[Path]:
    with settled_directory() as base:
        yield base / "data"


def eventually(holds: Callable[[], bool]) -> None:
    ends_at = time.monotonic() + TIMEOUT_S
    while not holds():
        assert time.monotonic() < ends_at, "waited long enough"
        time.sleep(0.05)


def is_ready(url: str) -> bool:
    return httpx.get(f"{url}/readyz").status_code == 200


def test_a_service_does_not_build_on_the_server_of_a_command(data_dir):
    """It waits for the command to end, and then starts the server itself."""
    with ExitStack() as command:
        command.enter_context(open_server(data_dir))
        assert attach(data_dir) is not None
        ending = threading.Timer(0.5, command.close)
        ending.start()
        with open_server(data_dir, stays=True) as server:
            assert isinstance(server, EmbeddedServer)
            found = attach(data_dir)
            assert found is not None
            assert found.stays
        ending.join()


def test_a_service_begins_also_where_a_command_takes_its_server_away_meanwhile(
    data_dir, monkeypatch
):
    """`serve` beside a long command: it was attached, and then there was nothing."""
    monkeypatch.setattr(supervision, "COMMAND_PATIENCE_S", 0.0)
    monkeypatch.setenv("EFFECT_LEDGER_DATA_DIR", str(data_dir))
    command = ExitStack()
    command.enter_context(open_server(data_dir))

    def migrate_late(conninfo: Conninfo) -> None:
        command.close()
        migrate(conninfo)

    monkeypatch.setattr("ledger.service.migrate", migrate_late)
    with ExitStack() as opened:
        service, _ = begin(read_settings(), opened)

        assert service.reader.ledgers()


def test_a_command_beside_a_service_leaves_the_server_to_it(data_dir):
    """Others may attach to a service for as long as they like."""
    with open_server(data_dir, stays=True), open_server(data_dir) as beside:
        assert isinstance(beside, supervision.Attached)
        assert beside.stays


def test_a_service_succeeds_a_command_that_went_on(data_dir, monkeypatch):
    """What it was given to connect with stays good, whoever looks after the server."""
    monkeypatch.setattr(supervision, "COMMAND_PATIENCE_S", 0.0)

    def answers() -> bool:
        try:
            with psycopg.connect(beside.conninfo(OWNER)) as connection:
                return connection.execute("select 1").fetchone() == (1,)
        except psycopg.OperationalError:
            return False

    with ExitStack() as command, ExitStack() as service:
        command.enter_context(open_server(data_dir))
        beside = service.enter_context(open_server(data_dir, stays=True))
        assert isinstance(beside, supervision.Attached)
        assert not beside.stays

        command.close()
        eventually(answers)
        found = attach(data_dir)
        assert found is not None
        assert found.stays

        service.close()
        assert attach(data_dir) is None
        assert not answers()


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_second_service_goes_on_when_the_first_one_ends(data_dir, how):
    """However it ended: the other takes the database over, with everything in it."""
    alone = Shell(data_dir=data_dir)
    with alone.serving() as (first, _), alone.serving() as (_, announced):
        made = alone.good("key", "create", "--name", "x", "--scope", "*")
        vkey = alone.good("ledger", "create", "shop")["vkey"]
        client = alone.set(URL=announced["url"], KEY=made["key"])
        before = client.good("post", "shop", "--key", "before", *CAPTURE)

        first.send_signal(how)
        first.wait(TIMEOUT_S)
        eventually(lambda: is_ready(announced["url"]))

        after = client.good("post", "shop", "--key", "after", *CAPTURE)
        again = client.good("post", "shop", "--key", "before", *CAPTURE)
        assert (before["seq"], after["seq"]) == (0, 1)
        assert (again["id"], again["replayed"]) == (before["id"], True)
        ledger = f"{announced['url']}/v1/ledgers/shop"
        assert client.good("verify", ledger, "--vkey", vkey)["verified"] is True

    assert attach(data_dir) is None


@pytest.mark.slow
def test_commands_may_follow_a_service_that_was_just_started(data_dir):
    """In a script nobody waits: whoever comes first, the service has its database afterwards."""
    shell = Shell(data_dir=data_dir)
    url = f"http://127.0.0.1:{free_port()}"
    service = subprocess.Popen(
        [*COMMAND, "serve", "--port", url.rpartition(":")[2], "--json"],
        env=shell.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        encoding="utf-8",
    )
    try:
        shell.good("ledger", "create", "shop")
        made = shell.good("key", "create", "--name", "x", "--scope", "*")
        assert service.stdout is not None
        assert service.stdout.readline(), "the service ended"
        eventually(lambda: is_ready(url))
        client = shell.set(URL=url, KEY=made["key"])
        assert client.good("post", "shop", "--key", "k", *CAPTURE)["seq"] == 0
    finally:
        service.terminate()
        assert service.wait(TIMEOUT_S) == 0
        service.stdout.close()
