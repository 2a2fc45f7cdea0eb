"""
Laws of rollbacks and forks, as operators meet them: real dumps, real services, real commands.

A database that is older than its receipts is perfectly consistent, and lies. It takes no writes
and says why; it is read as before; and it can be brought back from any copy of its log.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from psycopg.conninfo import conninfo_to_dict

from ledger.note import VerifierKey
from ledger.receipt import parse_receipt, verify_receipt
from ledger.service import Service, open_service
from ledger.settings import read_settings
from ledger.storage.embedded import find_binaries, open_server
from ledger.storage.embedded.cluster import DATABASE, SUPERUSER
from ledger.submission import Recorded, Submission
from ledger.tiles import partial_width, tile_path
from tests.api.support import capture, item, refund
from tests.faults.house import asked, asks
from tests.integration.commands import COMMAND, Shell, passable_directory, settled_directory

pytestmark = pytest.mark.slow

LEDGER = "shop"
LATE = "late"
"""A ledger that was created after the backup."""
BEFORE, AFTER = 40, 300
"""Entries at the time of the backup, and when the database was lost."""


# ---- A house with a past --------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Client:
    """Whoever posts to a running service, and keeps what it is answered."""

    http: httpx.Client

    def post(self, key: str, ledger: str = LEDGER, **members: Any) -> httpx.Response:
        return self.http.post(
            f"/v1/ledgers/{ledger}/effects",
            json=capture(**members),
            headers={"Idempotency-Key": key},
        )

    def batch(self, items: Sequence[Any], ledger: str = LEDGER) -> list[Any]:
        """What became of each item."""
        answer = self.http.post(
            f"/v1/ledgers/{ledger}/batch",
            json={"mode": "independent", "items": items},
            headers={"Prefer": "return=receipt"},
        )
        return [each.get("result") or each["problem"] for each in answer.json()["items"]]

    def get(self, path: str, ledger: str = LEDGER) -> httpx.Response:
        return self.http.get(f"/v1/ledgers/{ledger}{path}")

    def bodies(self, ledger: str = LEDGER) -> list[bytes]:
        """The bytes of all entries."""
        size = self.get("", ledger).json()["size"]
        return [self.get(f"/entries/{seq}/bytes", ledger).content for seq in range(size)]

    def keep_log(self, ledger: str, directory: Path) -> Path:
        """A copy of the log, file by file, as any client of tiles makes one."""
        log = f"/v1/ledgers/{ledger}/log"
        note = self.http.get(f"{log}/checkpoint").raise_for_status().text
        size = int(note.split("\n")[1])
        paths = ["checkpoint"]
        for level in (0, 1, "entries"):
            width = partial_width(level, at := 0, size)
            while width:
                paths.append(tile_path(level, at, width))
                width = partial_width(level, at := at + 1, size)
        for path in paths:
            file = directory / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(self.http.get(f"{log}/{path}").raise_for_status().content)
        return directory


@contextmanager
def serving(shell: Shell) -> Iterator[Client]:
    """The service, and a client of it, for the length of a block."""
    with (
        shell.serving() as (_, announced),
        httpx.Client(
            base_url=announced["url"],
            headers={"Authorization": f"Bearer {shell.variables['EFFECT_LEDGER_KEY']}"},
            timeout=60,
        ) as http,
    ):
        yield Client(http=http)


@dataclass(frozen=True, kw_only=True)
class Past:
    """What was, in files: a house, backups of its database, and what others have kept of it."""

    base: Path
    key: str
    vkey: str
    answers: dict[str, Any]
    """What posters were answered, by key."""
    bodies: dict[str, list[bytes]] = field(repr=False)
    """Bytes of all entries by ledger, when the database was lost."""
    copies: dict[str, Path]
    """Copies of the logs, made then."""

    @contextmanager
    def house(self, database: str | None = None, *, signer: str = "signer") -> Iterator[Shell]:
        """The house as it was when the database was lost, with an older one put back."""
        with passable_directory() as base:
            data = base / "data"
            data.mkdir()
            shutil.copytree(self.base / "keys", data / "keys")
            shutil.copytree(self.base / signer, data / "signer")
            if database is not None:
                (data / "postgres").mkdir()
                shutil.copytree(self.base / database, data / "postgres" / "18")
            yield Shell(data_dir=data).set(KEY=self.key)


def items(start: int, stop: int) -> list[Any]:
    """Captures with labels, and refunds that reach far back."""
    return [
        item(f"k{at}", labels={"n": str(at)}, business_key=f"invoice/{at}")
        if at % 3 != 2
        else item(f"k{at}", kind="refund", corrects_key=f"k{at // 9 * 3}", **refund("0.01"))
        for at in range(start, stop)
    ]


@pytest.fixture(scope="module")
def past() -> Iterator[Past]:
    with settled_directory() as base:
        data = base / "data"
        shell = Shell(data_dir=data)
        answers: list[Any] = []
        bodies, copies = {}, {}
        with shell.serving():
            made = shell.good("ledger", "create", LEDGER)
            key = shell.good("key", "create", "--name", "till", "--scope", "*")["key"]
        shell = shell.set(KEY=key)
        with serving(shell) as client:
            answers += client.batch(items(0, BEFORE))
            with open_server(data) as server:
                dump(server.conninfo(SUPERUSER), base / "dump")
        shutil.copytree(data / "postgres" / "18", base / "older")
        shutil.copytree(data / "signer", base / "older-signer")
        with serving(shell) as client:
            shell.good("ledger", "create", LATE)
            answers += client.batch(items(BEFORE, AFTER))
            client.batch(items(0, 9), LATE)
            for ledger in (LEDGER, LATE, "_registry"):
                bodies[ledger] = client.bodies(ledger)
                copies[ledger] = client.keep_log(ledger, base / "copies" / ledger)
        shutil.copytree(data / "postgres" / "18", base / "newest")
        shutil.copytree(data / "signer", base / "signer")
        shutil.copytree(data / "keys", base / "keys")
        yield Past(
            base=base,
            key=key,
            vkey=made["vkey"],
            answers={f"k{at}": answer for at, answer in enumerate(answers)},
            bodies=bodies,
            copies=copies,
        )


def run(*command: str | Path) -> None:
    subprocess.run(list(map(str, command)), check=True, capture_output=True)


def address(conninfo: str) -> list[str]:
    words = conninfo_to_dict(conninfo)
    return ["--host", str(words["host"]), "--port", str(words["port"]), "--username", SUPERUSER]


def dump(conninfo: str, path: Path) -> None:
    """A backup as every operator of PostgreSQL makes one."""
    command = [find_binaries() / "pg_dump", *address(conninfo), "--format", "custom"]
    run(*command, "--file", path, DATABASE)


def bring_back(conninfo: str, path: Path) -> None:
    command = [find_binaries() / "pg_restore", *address(conninfo), "--exit-on-error"]
    run(*command, "--dbname", DATABASE, path)


# ---- Rolled back ----------------------------------------------------------------------


def check_is_read_only(client: Client, code: str) -> Any:
    """Writes are refused with a plain reason, and reading goes on."""
    refused = client.post("another")
    problem = refused.json()
    assert (refused.status_code, problem["code"]) == (503, code)
    assert (problem["world"], problem["action"]) == ("RML3", "escalate-history")
    assert client.get("").json()["size"] >= BEFORE
    assert client.get("/entries?limit=10").status_code == 200
    assert client.get("/checkpoint").status_code == 200
    assert client.get("/entries/3/receipt").json()["level"] == "log-signed"
    again = client.http.post(
        f"/v1/ledgers/{LEDGER}/effects",
        json={k: v for k, v in items(1, 2)[0].items() if k not in ("kind", "key")},
        headers={"Idempotency-Key": "k1"},
    )
    assert (again.status_code, again.json()["replayed"]) == (200, True)
    return problem


def check_is_back(shell: Shell, client: Client, past: Past) -> None:
    """Byte for byte, with all that was ever answered; and it takes writes."""
    assert client.bodies()[:AFTER] == past.bodies[LEDGER]
    vkey = VerifierKey.parse(past.vkey)
    size = client.get("").json()["size"]
    for at, (key, answer) in enumerate(past.answers.items()):
        # Kept by its poster since, and asked for anew.
        assert verify_receipt(parse_receipt(answer["receipt"]), [vkey]).seq == answer["seq"]
        if at % 37 == 0:
            fresh = client.get(f"/entries/{answer['seq']}/receipt").json()
            assert verify_receipt(parse_receipt(fresh), [vkey]).seq == answer["seq"]
            [replay] = client.batch(items(at, at + 1))
            assert (replay["replayed"], replay["id"]) == (True, answer["id"]), key
    assert client.get("").json()["size"] == size
    # Refunded before the backup, and after it.
    over = item("over", kind="refund", corrects_key="k3", **refund("19.97"))
    assert client.batch([over])[0]["code"] == "OVER_REFUND"
    assert client.post("after").status_code == 201
    report = shell.good(
        "verify", f"{client.http.base_url}/v1/ledgers/{LEDGER}", "--vkey", past.vkey
    )
    assert report["verified"]
    assert report["verdicts"] == dict.fromkeys(("tamper", "completeness", "time"), "ok")


@pytest.mark.parametrize("backup", ["dump", "files"])
def test_a_restored_backup_takes_no_writes_until_it_is_whole(past, backup):
    """A dump in a fresh database, or the files of a stopped one: each is older than it was."""
    with past.house("older" if backup == "files" else None) as shell:
        if backup == "dump":
            with open_server(shell.data_dir) as server:
                bring_back(server.conninfo(SUPERUSER), past.base / "dump")
        with serving(shell) as client:
            problem = check_is_read_only(client, "LEDGER_ROLLED_BACK")
            assert "effect-ledger restore" in problem["detail"]
            assert client.bodies() == past.bodies[LEDGER][:BEFORE]

            answer = shell.good("restore", LEDGER, "--entries", past.copies[LEDGER])

            assert (answer["restored"], answer["size"]) == (AFTER - BEFORE, AFTER)
            assert [each["ledger"] for each in answer["behind"]] == ["_registry"]
            check_is_back(shell, client, past)


def test_a_database_with_another_history_takes_no_writes(past):
    """Database and signer were both put back, and went on; then the true record returned."""
    with past.house("older", signer="older-signer") as shell:
        with serving(shell) as client:
            for at in range(3):
                assert client.post(f"other-{at}").status_code == 201
        shutil.rmtree(shell.data_dir / "signer")
        shutil.copytree(past.base / "signer", shell.data_dir / "signer")
        with serving(shell) as client:
            # Shorter than what was signed: it may still be only old, until a copy shows more.
            check_is_read_only(client, "LEDGER_ROLLED_BACK")
            done = shell.run("restore", LEDGER, "--entries", past.copies[LEDGER], "--json")

            assert done.code == 1
            assert done.json["error"]["code"] == "FORKED"
            assert done.json["error"]["details"]["seq"] == BEFORE
            assert "of the database is not the one that was signed" in done.err
            assert client.get("").json()["size"] == BEFORE + 3


def test_a_longer_database_with_another_history_is_a_fork(past):
    with past.house("older", signer="older-signer") as shell:
        with serving(shell) as client:
            client.batch([item(f"other-{at}") for at in range(AFTER)])
        shutil.rmtree(shell.data_dir / "signer")
        shutil.copytree(past.base / "signer", shell.data_dir / "signer")
        with serving(shell) as client:
            problem = check_is_read_only(client, "LEDGER_FORKED")
            assert "another history" in problem["detail"]
            done = shell.run("restore", LEDGER, "--entries", past.copies[LEDGER], "--json")
            assert (done.code, done.json["error"]["code"]) == (1, "FORKED")


def test_another_signer_takes_no_writes(past):
    """The database came with another house's record: nobody knows what it signed."""
    with past.house("newest") as shell:
        shutil.rmtree(shell.data_dir / "signer")
        with serving(shell) as client:
            problem = check_is_read_only(client, "FOREIGN_SIGNER")
            assert "is signed by" in problem["detail"]
            done = shell.run("restore", LEDGER, "--entries", past.copies[LEDGER], "--json")
            assert (done.code, done.json["error"]["code"]) == (2, "FOREIGN_SIGNER")


def test_a_lost_ledger_is_opened_and_filled_from_another_house(past):
    """A replica serves the logs; the registry comes first, and the commands say so."""
    with (
        past.house("newest") as elsewhere,
        serving(elsewhere) as replica,
        past.house("older") as shell,
    ):
        url = f"{replica.http.base_url}/v1/ledgers"
        done = shell.run("restore", LATE, "--entries", f"{url}/{LATE}/log")
        assert (done.code, "restore _registry first" in done.err) == (2, True)

        registry = shell.good("restore", "_registry", "--entries", f"{url}/_registry/log/")
        assert registry["reopened"] == [LATE]
        assert {each["ledger"] for each in registry["behind"]} == {LEDGER, LATE}
        refused = shell.set(KEY="no-such-key").run("restore", LATE, "--entries", f"{url}/{LATE}")
        assert (refused.code, "proofs:read" in refused.err) == (2, True)
        told = shell.run("restore", LATE, "--entries", f"{url}/{LATE}")
        assert (told.code, "9 entries of late are back" in told.out) == (0, True)
        assert f"{LEDGER}: {BEFORE} of {AFTER} entries" in told.out
        last = shell.good("restore", LEDGER, "--entries", f"{url}/{LEDGER}/log")
        assert last["behind"] == []

        with serving(shell) as client:
            assert client.bodies("_registry") == past.bodies["_registry"]
            assert client.bodies(LATE) == past.bodies[LATE]
            assert client.post("after", LATE).status_code == 201
            check_is_back(shell, client, past)


@pytest.fixture
def damaged(past, tmp_path) -> Path:
    copy = shutil.copytree(past.copies[LEDGER], tmp_path / "copy")
    bundle = copy / tile_path("entries", 1, AFTER - 256)
    bundle.write_bytes(bundle.read_bytes().replace(b"invoice/270", b"invoice/271", 1))
    return copy


def test_exit_codes_tell_bad_evidence_from_bad_input(past, damaged):
    with past.house("older") as shell:
        evidence = shell.run("restore", LEDGER, "--entries", damaged, "--json")
        assert (evidence.code, evidence.json["error"]["details"]["seq"]) == (1, 270)
        assert "entry 270 of the copy is not the one that was signed" in evidence.err
        for code, arguments in (
            (2, [LEDGER, "--entries", "/nonexistent"]),
            (3, [LEDGER, "--entries", "http://127.0.0.1:1/log"]),
            (2, ["no-such-ledger", "--entries", damaged]),
            (2, ["Not A Name", "--entries", damaged]),
            (2, [LEDGER]),
        ):
            done = shell.run("restore", *arguments, "--json")
            assert done.code == code, done.err
            assert set(done.json["error"]) == {"message", "code", "details"}

        # Nothing was written by any of these.
        assert shell.good("restore", LEDGER, "--entries", past.copies[LEDGER])["from_seq"] == BEFORE
        again = shell.run("restore", LEDGER, "--entries", past.copies[LEDGER])
        assert (again.code, "Nothing of shop was missing" in again.out) == (0, True)


def test_a_restore_that_is_killed_goes_on_where_it_was():
    """Every time it is killed the database holds more of what was signed, and nothing else."""
    lost, kills = 12_000, 4
    with passable_directory() as base:
        shell = Shell(data_dir=base / "data")
        settings = read_settings(shell.environment)
        postgres, older = shell.data_dir / "postgres", base / "older"
        with open_service(settings) as service:
            service.prepare()
            service.registry.create_ledger(LEDGER)
            record(service, [asks(f"k{at}", note="words") for at in range(5)])
        shutil.copytree(postgres, older)
        with open_service(settings) as service:
            for start in range(0, lost, 500):
                record(service, [asks(f"late-{at}") for at in range(start, start + 499)])
                record(service, [asks(f"noted-{start}", note="gone")])
            copy = keep_log(service, base / "copy")
            hashes = service.appender._storage.leaf_hashes(LEDGER, 0, 5 + lost)
        shutil.rmtree(postgres)
        shutil.copytree(older, postgres)

        with open_service(settings) as service:
            sizes = [5]
            while len(sizes) <= kills and sizes[-1] < 5 + lost:
                command = [*COMMAND, "restore", LEDGER, "--entries", str(copy), "--quiet"]
                with subprocess.Popen(command, env=shell.environment) as process:
                    while process.poll() is None and service.reader.size(LEDGER) == sizes[-1]:
                        time.sleep(0.001)
                    process.kill()
                sizes.append(service.reader.size(LEDGER))
                assert sizes[-1] > sizes[-2]
                there = service.appender._storage.leaf_hashes(LEDGER, 0, sizes[-1])
                assert there == hashes[: sizes[-1]]
            # At least one was in the middle of it, or this shows nothing.
            assert any(5 < size < 5 + lost for size in sizes)

            answer = shell.good("restore", LEDGER, "--entries", copy)

            assert answer["restored"] == max(0, 5 + lost - sizes[-1])
            assert answer["size"] == 5 + lost + 1
            assert service.appender._storage.leaf_hashes(LEDGER, 0, 5 + lost) == hashes
            report = service.verifications
            job = report.start(LEDGER)
            report.wait()
            verified = report.get(LEDGER, job)["report"]
            assert set(verified["verdicts"].values()) == {"ok"}
            assert [each for each in verified["not_checked"] if each.startswith("what 24 payloads")]
            record(service, [asks("after")])


def record(service: Service, submissions: list[Submission]) -> None:
    [outcomes] = service.appender.append(LEDGER, [asked(LEDGER, *submissions)])
    assert {type(outcome) for outcome in outcomes} == {Recorded}


def keep_log(service: Service, directory: Path) -> Path:
    """A copy of the log's entries."""
    size = service.reader.published_size(LEDGER)
    at = 0
    while width := partial_width("entries", at, size):
        file = directory / tile_path("entries", at, width)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(service.reader.tile(LEDGER, tile_path("entries", at, width)))
        at += 1
    return directory
