"""A house with its own database server: everything that records, over history of its own."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import httpx
import psycopg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Engine

from ledger.append import Appender
from ledger.checkpoint import Checkpoint
from ledger.clock import SystemClock
from ledger.dry_run import DryRun
from ledger.entry import Entry
from ledger.forms.payload import build_payloads
from ledger.merkle import leaf_hash
from ledger.note import VerifierKey
from ledger.reader import Reader
from ledger.receipt import Receipt, VerifiedEntry, parse_receipt, verify_receipt
from ledger.registry.ledgers import Registry
from ledger.sequencer import Sequencer
from ledger.service import open_service
from ledger.settings import read_settings
from ledger.signing.signer import FileSigner
from ledger.storage.database import WRITER
from ledger.storage.database import engine as make_engine
from ledger.storage.embedded import open_server
from ledger.storage.embedded.cluster import SUPERUSER
from ledger.storage.postgres import PostgresStorage
from ledger.submission import Outcome, Posting, Recorded, Submission
from ledger.vault import Vault
from ledger.verification.pages import verify_ledger
from ledger.verify import Report
from tests.api.support import Api
from tests.faults import attacks
from tests.integration.commands import Shell, settled_directory

T = TypeVar("T")
AT = "2026-03-01T09:30:00Z"


@dataclass(frozen=True, kw_only=True)
class House:
    """One registry and as many ledgers and writers as a test asks for."""

    conninfo: Callable[[str], str]
    engine: Engine
    storage: PostgresStorage
    signer: FileSigner
    vault: Vault
    appender: Appender
    registry: Registry
    reader: Reader
    dry_run: DryRun
    _opened: ExitStack
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    # ---- Writing ----

    def open_ledger(self, **properties: Any) -> str:
        """An empty ledger."""
        return self.registry.create_ledger(f"house-{next(self._numbers)}", **properties).name

    def open_appender(self) -> Appender:
        """One more writer, with a connection of its own."""
        storage = PostgresStorage(self.conninfo)
        self._opened.callback(storage.close)
        return Appender(storage, self.signer, self.vault, SystemClock())

    @contextmanager
    def sequencer(self) -> Iterator[Sequencer]:
        """The writing thread of one more process, for the length of a block."""
        sequencer = Sequencer([self.open_appender()])
        sequencer.start()
        try:
            yield sequencer
        finally:
            sequencer.stop()

    def post(
        self, ledger: str, *submissions: Submission, principal: str = "till", atomic: bool = False
    ) -> list[Outcome]:
        """What becomes of these submissions, posted as one request."""
        posting = asked(ledger, *submissions, principal=principal, atomic=atomic)
        [outcomes] = self.appender.append(ledger, [posting])
        return outcomes

    def record(self, ledger: str, *submissions: Submission, principal: str = "till") -> list[Entry]:
        """The entries these submissions become; all of them must."""
        outcomes = self.post(ledger, *submissions, principal=principal)
        return [recorded(outcome).entry for outcome in outcomes]

    # ---- Looking ----

    def verify(self, ledger: str, **options: Any) -> Report:
        """Audit the ledger as an operator does; it must be good in all three verdicts."""
        report = verify_ledger(
            self.engine, ledger, read_signed=self._read_signed, vault=self.vault, **options
        )
        assert report.good, report.findings
        assert "unchecked" not in (report.tamper, report.completeness, report.time), report
        return report

    def verify_receipt(self, receipt: Receipt | None, ledger: str) -> VerifiedEntry:
        """Check a receipt as whoever holds it does: with the ledger's key and nothing else."""
        assert receipt is not None
        return verify_receipt(receipt, [VerifierKey.parse(self.reader.ledger(ledger).vkey)])

    def positions(self, ledger: str) -> Mapping[str, tuple[str, int, int, int, int, int | None]]:
        """Entry id -> currency, original, adjusted, refunded, held, excess: as the row has them."""
        with self.engine.connect() as connection:
            rows = connection.exec_driver_sql(
                "select entry::text, currency, original, adjusted, refunded, held, excess"
                " from positions where ledger = %s",
                (ledger,),
            ).all()
        assert len({row[0] for row in rows}) == len(rows), "an entry has one currency"
        return {row[0]: (row[1], *(None if n is None else int(n) for n in row[2:])) for row in rows}

    def checkpoint(self, ledger: str) -> Checkpoint | None:
        """The newest published checkpoint."""
        published = self.storage.published(ledger)
        return None if published is None else published[0]

    @contextmanager
    def superuser(self) -> Iterator[psycopg.Connection[Any]]:
        """Somebody who may do everything in the database."""
        with psycopg.connect(self.conninfo(SUPERUSER), autocommit=True) as connection:
            connection.execute("set search_path = effect_ledger")
            yield connection

    @contextmanager
    def head_kept(self, ledger: str) -> Iterator[None]:
        """Keep the ledger's head, so that whoever writes now waits and is committed together."""
        with self.superuser() as connection, connection.transaction():
            connection.execute("select from heads where ledger = %s for update", (ledger,))
            yield

    def _read_signed(self, origin: str) -> tuple[int, bytes]:
        signed, _ = self.signer.checkpoint(origin)
        return signed.size, signed.root


@contextmanager
def open_house() -> Iterator[House]:
    """A house for the length of a block."""
    with ExitStack() as opened:
        base = opened.enter_context(settled_directory())
        conninfo = opened.enter_context(open_server(base / "data")).conninfo
        engine = make_engine(conninfo, WRITER, pool_size=4)
        opened.callback(engine.dispose)
        signer = FileSigner(base / "signer", Ed25519PrivateKey.generate())
        opened.callback(signer.close)
        storage, snapshot = PostgresStorage(conninfo), PostgresStorage(conninfo)
        opened.callback(storage.close)
        opened.callback(snapshot.close)
        vault, clock = Vault(bytes(32)), SystemClock()
        appender = Appender(storage, signer, vault, clock)
        yield House(
            conninfo=conninfo,
            engine=engine,
            storage=storage,
            signer=signer,
            vault=vault,
            appender=appender,
            registry=Registry(appender, storage, signer),
            reader=Reader(engine, vault),
            dry_run=DryRun(snapshot, vault, clock),
            _opened=opened,
        )


def asks(
    key: str, *, note: str | None = None, payloads: Sequence[Any] = (), **members: Any
) -> Submission:
    """One effect as its poster asks for it: the same words each time."""
    effect = attacks.submission(key, **{"occurred_at": AT} | members).effect
    return replace(Submission(effect=effect), payloads=build_payloads(payloads, note=note))


def asked(
    ledger: str, *submissions: Submission, principal: str = "till", atomic: bool = False
) -> Posting:
    """What one request asks."""
    return Posting(ledger=ledger, principal=principal, submissions=submissions, atomic=atomic)


def eur(amount: str, flow: str = "in") -> dict[str, str]:
    """Money in EUR."""
    return {"amount": amount, "currency": "EUR", "flow": flow}


def refund(key: str, amount: str, **members: Any) -> Submission:
    """Money given back."""
    more = {"kind": "refund", "type": "card.refund", "reason": "customer.request"}
    return asks(key, money=eur(amount, "out"), **more | members)


def recorded(outcome: Outcome) -> Recorded:
    """The outcome, which must be an entry."""
    assert isinstance(outcome, Recorded), outcome
    return outcome


# ---- A running service ----------------------------------------------------------------

CONNECTIONS = 128
COMES_BACK_MAX = 100
COMES_BACK_AFTER_S = 0.05


@contextmanager
def callers_of(shell: Shell, *urls: str) -> Iterator[Callable[[], list[Api]]]:
    """
    Callers of services that run on the data directory of `shell`.

    Gives a function that opens a fresh ledger and returns one caller of it per service.
    """
    with ExitStack() as opened:
        service = opened.enter_context(open_service(read_settings(shell.environment)))
        limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
        clients = [
            # Patient: where all callers come at once, the last one waits for a connection.
            opened.enter_context(httpx.Client(base_url=url, limits=limits, timeout=120))
            for url in urls
        ]
        numbers = itertools.count()

        def make_key(*scopes: str, principal: str = "tester", ledgers: Any = None) -> str:
            return str(service.credentials.create(principal, scopes, ledgers).key)

        token = make_key("*")

        def open_ledger() -> list[Api]:
            ledger = service.registry.create_ledger(f"raced-{next(numbers)}").name
            return [
                Api(http=http, ledger=ledger, token=token, make_key=make_key) for http in clients
            ]

        yield open_ledger


def persistently(ask: Callable[[], httpx.Response]) -> httpx.Response:
    """The answer, for a caller that comes back as often as it is told to."""
    for _ in range(COMES_BACK_MAX):
        answer = ask()
        if answer.headers.get("RML-Action") != "retry-with-backoff":
            return answer
        time.sleep(COMES_BACK_AFTER_S)
    raise AssertionError(f"told to come back {COMES_BACK_MAX} times: {answer.text}")


def verified(api: Api) -> Mapping[str, Any]:
    """The report of a verification of the whole ledger; it must be good."""
    started = api.post("/verifications", {"mode": "full"})
    assert started.status_code == 202, started.text
    while (job := api.get(f"/verifications/{started.json()['id']}").json())["state"] == "running":
        time.sleep(COMES_BACK_AFTER_S)
    assert job["state"] == "done", job
    report: Mapping[str, Any] = job["report"]
    assert report["verdicts"] == {"tamper": "ok", "completeness": "ok", "time": "ok"}, report
    return report


def proven(api: Api, answers: Sequence[Mapping[str, Any]]) -> Mapping[int, bytes]:
    """
    Check the receipts of these answers with the ledger's key and nothing else.

    Returns:
        Size -> root of every checkpoint they cite; one size has one root.
    """
    vkey = VerifierKey.parse(api.get("").json()["vkey"])
    roots: dict[int, bytes] = {}
    for answer in answers:
        receipt = verify_receipt(parse_receipt(answer["receipt"]), [vkey])
        assert (receipt.seq, leaf_hash(receipt.entry).hex()) == (
            answer["seq"],
            answer["entry_hash"],
        )
        checkpoint = receipt.place.checkpoint
        assert roots.setdefault(checkpoint.size, checkpoint.root) == checkpoint.root
    return roots


def all_at_once(asks_of: Sequence[Callable[[], T]], threads: int) -> list[T]:
    """What each call gives; as many as there are threads begin in the same moment."""
    gate = threading.Barrier(min(threads, len(asks_of)))
    turns = itertools.count()

    def run(call: Callable[[], T]) -> T:
        if next(turns) < gate.parties:
            gate.wait()
        return call()

    with ThreadPoolExecutor(gate.parties) as pool:
        return list(pool.map(run, asks_of))
