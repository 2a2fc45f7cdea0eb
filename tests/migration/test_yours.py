"""
A database of yours: set up by deploy/roles.sql, reached over TCP with passwords.

Run against every PostgreSQL that is there: the one the package brings, and the system's.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from ledger.storage.database import OWNER, WRITER
from ledger.storage.embedded import account
from ledger.storage.embedded.binaries import MAJOR, reachable_binaries
from ledger.storage.embedded.layout import make_directory
from tests.integration.commands import TIMEOUT_S, Shell, free_port, passable_directory

pytestmark = pytest.mark.slow

ROLES_SQL = Path(__file__).resolve().parents[2] / "deploy" / "roles.sql"
SERVICE = "effect_ledger_service"
# Where Debian and Ubuntu install it; the oldest version that is supported.
SYSTEM = Path("/usr/lib/postgresql/15/bin")
STARTS_WITHIN_S = 30.0

CAPTURE = ("--type", "card.capture", "--amount", "100.00", "--currency", "EUR", "--flow", "in")
REFUND = ("--currency", "EUR", "--reason", "customer.request")
AT = ("--occurred-at", "2026-03-01T09:30:00Z")


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A PostgreSQL as a DBA would run it, and the passwords of its logins."""

    major: int
    binaries: Path
    port: int
    passwords: dict[str, str]
    log: Path

    def url(self, login: str, password: str | None = None) -> str:
        return (
            f"postgresql://{login}:{password or self.passwords[login]}"
            f"@127.0.0.1:{self.port}/effect_ledger"
        )


@pytest.fixture(scope="module", params=[MAJOR, 15], ids="PostgreSQL {}".format)
def cluster(request) -> Iterator[Cluster]:
    major = request.param
    if major != MAJOR and not (SYSTEM / "postgres").is_file():
        pytest.skip(f"NOT TESTED ON POSTGRESQL {major}: its server is not in {SYSTEM}")
    with passable_directory() as base:
        owner = account.choose_account(base / "data", base / "data" / "pgdata")
        make_directory(base / "data", owner.uid, owner.gid, 0o700)
        binaries = SYSTEM if major != MAJOR else reachable_binaries(owner, base / "runtime")
        passwords = {login: secrets.token_hex(12) for login in ("postgres", OWNER, SERVICE)}
        made = Cluster(
            major=major, binaries=binaries, port=free_port(), passwords=passwords, log=base / "log"
        )
        initialise(made, owner, base / "data")
        with running(made, owner, base / "data" / "pgdata"):
            set_up(made)
            yield made


def initialise(cluster: Cluster, owner: account.Account, directory: Path) -> None:
    password_file = directory / "password"
    password_file.write_text(cluster.passwords["postgres"])
    os.chown(password_file, owner.uid, owner.gid)
    made = account.run_as(
        owner,
        [
            *(cluster.binaries / "initdb", "--pgdata", directory / "pgdata"),
            *("--username", "postgres", "--pwfile", password_file),
            *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C.UTF-8"),
        ],
    )
    assert made.returncode == 0, made.stdout


class running:  # noqa: N801 - read as a verb of the block.
    """The server, for the length of a block."""

    def __init__(self, cluster: Cluster, owner: account.Account, pgdata: Path) -> None:
        self._cluster = cluster
        self._log = cluster.log.open("wb")
        self._process = subprocess.Popen(
            [
                *(cluster.binaries / "postgres", "-D", pgdata, "-p", str(cluster.port)),
                *("-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="),
            ],
            **owner.popen_arguments,
            stdout=self._log,
            stderr=self._log,
        )

    def __enter__(self) -> None:
        ends_at = time.monotonic() + STARTS_WITHIN_S
        while not self._answers():
            assert self._process.poll() is None, "PostgreSQL ended"
            assert time.monotonic() < ends_at
            time.sleep(0.05)

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(2)
        self._process.wait(TIMEOUT_S)
        self._log.close()

    def _answers(self) -> bool:
        try:
            superuser(self._cluster, "postgres").close()
        except psycopg.OperationalError:
            return False
        return True


def superuser(cluster: Cluster, database: str = "effect_ledger") -> psycopg.Connection[Any]:
    return psycopg.connect(
        host="127.0.0.1",
        port=cluster.port,
        dbname=database,
        user="postgres",
        password=cluster.passwords["postgres"],
        autocommit=True,
    )


def set_up(cluster: Cluster) -> None:
    """As the head of the file says it, word for word."""
    done = subprocess.run(
        [
            *(cluster.binaries / "psql", "--set=ON_ERROR_STOP=1", f"--file={ROLES_SQL}"),
            f"--set=owner_password={cluster.passwords[OWNER]}",
            f"--set=writer_password={cluster.passwords[SERVICE]}",
        ],
        env={
            "PATH": os.environ["PATH"],
            "PGHOST": "127.0.0.1",
            "PGPORT": str(cluster.port),
            "PGUSER": "postgres",
            "PGPASSWORD": cluster.passwords["postgres"],
            "PGDATABASE": "postgres",
        },
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def owner(cluster) -> Iterator[Shell]:
    """Whoever migrates: nothing else of theirs is used."""
    with passable_directory() as base:
        yield Shell(data_dir=base / "owner").set(DATABASE_URL=cluster.url(OWNER))


@pytest.fixture(scope="module")
def service(cluster, owner) -> Iterator[Shell]:
    """A running service on that database, as its own login, and a key for everything."""
    assert owner.good("migrate") == owner.good("migrate")
    with passable_directory() as base:
        alone = Shell(data_dir=base / "service").set(DATABASE_URL=cluster.url(SERVICE))
        with alone.serving() as (_, announced):
            assert cluster.passwords[SERVICE] not in announced["database"]
            made = alone.good("key", "create", "--name", "tester", "--scope", "*")
            yield alone.set(URL=announced["url"], KEY=made["key"])


def test_the_server_is_the_version_it_is_taken_for(cluster):
    with superuser(cluster) as connection:
        assert connection.info.server_version // 10_000 == cluster.major


def test_a_payment_is_recorded_refunded_and_verified(service, tmp_path):
    """The main job, from the first entry to the auditor, by the service's login alone."""
    ledger = service.good("ledger", "create", "shop")
    receipt = tmp_path / "receipt.json"
    paid = service.good("post", "shop", "--key", "pay", *CAPTURE, *AT, "--receipt", receipt)
    service.good(
        *("refund", "shop", paid["id"], "--key", "r", "--amount", "30.00", *REFUND, *AT),
        *("--note", "Kept apart, and sealed."),
    )
    over = service.run("refund", "shop", paid["id"], "--key", "o", "--amount", "70.01", *REFUND)
    again = service.good("post", "shop", "--key", "pay", *CAPTURE, *AT)

    assert over.code == 2
    assert "OVER_REFUND" in over.err
    assert (again["id"], again["replayed"]) == (paid["id"], True)
    story = service.good("show", "shop", "--key", "pay")["story"]
    assert story["position"]["remaining"] == "70.00"
    assert service.good("verify", receipt, "--vkey", ledger["vkey"])["level"] == "log-signed"
    url = service.variables["EFFECT_LEDGER_URL"]
    vkeys = {each["ledger"]: each["vkey"] for each in service.good("ledger", "list")["ledgers"]}
    for name in ("shop", "_registry"):
        report = service.good("verify", f"{url}/v1/ledgers/{name}", "--vkey", vkeys[name])
        assert (report["verified"], report["findings_total"]) == (True, 0)


def test_the_database_holds_what_verification_read(service, cluster):
    """Not somewhere else: the rows are there, by the superuser's own look."""
    service.good("ledger", "create", "rows")
    service.good("post", "rows", "--key", "k", *CAPTURE, *AT)

    with superuser(cluster) as connection:
        [row] = connection.execute(
            "select seq, poster from effect_ledger.entries where ledger = 'rows'"
        ).fetchall()
    assert row == (0, "tester")


FORBIDDEN = {
    "delete": "delete from effect_ledger.entries",
    "update": "update effect_ledger.entries set poster = 'x'",
    "truncate": "truncate effect_ledger.entries",
    "drop": "drop table effect_ledger.entries",
    "disarm": "alter table effect_ledger.entries disable trigger append_only",
    "replica": "set session_replication_role = replica",
    "erase": "delete from effect_ledger_keys.data_keys",
    "become the owner": f"set role {OWNER}",
    "make a table": "create table effect_ledger.other ()",
    "make a table elsewhere": "create table public.other ()",
    "read files": "select pg_read_file('/etc/passwd')",
}


@pytest.mark.usefixtures("service")
@pytest.mark.parametrize("deed", FORBIDDEN)
@pytest.mark.parametrize("role", [SERVICE, WRITER])
def test_the_services_login_cannot_touch_history(cluster, role, deed):
    """Neither as itself nor with the rights it takes on."""
    with psycopg.connect(cluster.url(SERVICE), autocommit=True) as connection:
        connection.execute(f"set role {role}")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(FORBIDDEN[deed])


@pytest.mark.usefixtures("service")
def test_values_stay_out_of_the_servers_log(cluster):
    """An error quotes what was sent; the client hears it, and the log file does not."""
    value = f"Jane-Doe-{secrets.token_hex(4)}"
    for login in (SERVICE, OWNER):
        with (
            psycopg.connect(cluster.url(login)) as connection,
            pytest.raises(psycopg.DataError, match=value),
        ):
            connection.execute("select %s::text::int", [value])
    with superuser(cluster) as connection, pytest.raises(psycopg.DataError):
        connection.execute("select 'nothing to hide'::int")

    logged = cluster.log.read_text()
    assert "nothing to hide" in logged
    assert value not in logged


def test_a_wrong_password_is_told_and_none_is_shown(service, cluster):
    """One line says what the database said; neither password is in it."""
    wrong = secrets.token_hex(12)
    done = service.set(DATABASE_URL=cluster.url(SERVICE, wrong)).run("ledger", "list")

    assert done.code == 2
    assert "password authentication failed" in done.err
    said = done.out + done.err + service.run("settings").out
    assert wrong not in said
    assert cluster.passwords[SERVICE] not in said


def test_another_data_directory_may_not_sign_on(service, cluster):
    """The signer's record is elsewhere: writes are refused and say why, reads go on."""
    service.good("ledger", "create", "owned")
    service.good("post", "owned", "--key", "k", *CAPTURE, *AT)
    with passable_directory() as base:
        elsewhere = Shell(data_dir=base / "other").set(
            DATABASE_URL=cluster.url(SERVICE), KEY=service.variables["EFFECT_LEDGER_KEY"]
        )
        with elsewhere.serving() as (_, announced):
            stranger = elsewhere.set(URL=announced["url"])
            refused = stranger.run("post", "owned", "--key", "k2", *CAPTURE, *AT, "--json")
            assert refused.json["error"]["code"] == "FOREIGN_SIGNER"
            assert len(stranger.good("tail", "owned", "--after", "-1")["entries"]) == 1
            assert httpx.get(f"{announced['url']}/readyz").status_code == 200

    assert service.good("post", "owned", "--key", "k2", *CAPTURE, *AT)["seq"] == 1
