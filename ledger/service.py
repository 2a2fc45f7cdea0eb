"""
Service: the parts of the library, introduced to each other from the settings.

Opens database, keys and signer's record, and closes them again. What speaks to the outside,
HTTP or a terminal, is built on this; nothing here knows of it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Engine

from ledger.anchoring.anchors import Anchors
from ledger.anchoring.dating import Dating
from ledger.anchoring.recorder import Recorder
from ledger.anchoring.rounds import ANCHORING_LOCK, Anchoring, Duty
from ledger.anchoring.stamper import Stamper, ask_timestamp
from ledger.append import Appender
from ledger.audit.access import Accesses
from ledger.audit.closing import Closing
from ledger.audit.exports import Exports, Stamp
from ledger.clock import SystemClock
from ledger.copies.restore import Restorer
from ledger.dialog.intents import Intents
from ledger.dialog.steps import Dialog
from ledger.dry_run import DryRun
from ledger.errors import LedgerBrokenError, LedgerError, SettingsError
from ledger.forms.names import REGISTRY
from ledger.note import VerifierKey
from ledger.policy import Policy
from ledger.ports import LedgerRecord, NotAnswered
from ledger.reader import Reader
from ledger.recon.filing import filed_statements
from ledger.recon.office import Office, open_office
from ledger.registry.credentials import Credentials
from ledger.registry.ledgers import Registry
from ledger.registry.stops import Stops
from ledger.rfc3161 import Authorities, Timestamp, load_authorities
from ledger.rotation import Rotation
from ledger.sequencer import Sequencer
from ledger.settings import Settings
from ledger.signing.keyring import FileRing, Ring
from ledger.signing.keys import load_passphrase, load_payload_key, load_seed, load_signing_key
from ledger.signing.kms import AWS_KMS, KmsKey
from ledger.signing.signer import FileSigner
from ledger.storage.database import WRITER, Conninfo, database_errors, engine
from ledger.storage.embedded import open_server
from ledger.storage.leader import Leader
from ledger.storage.postgres import PostgresStorage
from ledger.storage.schema import check_version, migrate
from ledger.vault import Vault
from ledger.verification.rounds import ROUNDS_LOCK, Rounds
from ledger.verification.runs import Verifications
from ledger.verification.verdicts import Verdicts

# What speaks HTTP is imported where the settings ask for it: it takes as long to load as a
# command takes that lists keys.
if TYPE_CHECKING:
    from ledger.publisher import Publisher
    from ledger.signing.remote import RemoteSigner

logger = logging.getLogger(__name__)

POOL_SIZE = 8
# Ledgers that a process commits to at once, each on a connection of its own.
WRITERS = 3
# A verification that runs when the service stops is begun again by whoever asked for it.
VERIFICATIONS_PATIENCE_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """Everything an entrance works with. Its parts may be shared between threads, but one."""

    settings: Settings
    sequencer: Sequencer
    reader: Reader
    dry_run: DryRun
    dialog: Dialog
    intents: Intents
    verifications: Verifications
    closing: Closing
    exports: Exports
    office: Office
    """Finance's room."""
    credentials: Credentials
    registry: Registry
    """Used by one thread at a time."""
    appender: Appender
    """The registry's; used by the same thread."""
    restorer: Restorer
    """Likewise."""
    stops: Stops
    anchors: Anchors
    publisher: Publisher | None
    """None where no policy names witnesses."""
    authorities: Authorities | None
    """Whose timestamps are asked for; None where nobody is."""
    anchoring: Anchoring
    """Started by those who serve."""
    verdicts: Verdicts
    rotation: Rotation
    """Used by the thread of the registry."""
    rounds: Rounds
    """Started by those who serve."""

    def prepare(self) -> str:
        """
        Make sure that `_registry` exists, and sign what a crash left unsigned.

        Returns:
            The host part of the origins of new ledgers.

        Raises:
            DatabaseUnavailableError: The database does not answer.
        """
        registry = self.registry.ensure(self.settings.origin_host)
        for ledger in self.reader.sizes():
            try:
                self.appender.publish(ledger)
            except LedgerBrokenError as error:
                # Not fatal: this ledger takes no writes; reading it and all others goes on.
                logger.critical("ledger %s takes no writes: %s", ledger, error)
            except LedgerError as error:
                # Harmless: the next write signs these entries too.
                logger.warning("ledger %s is not signed to its end yet: %s", ledger, error)
        return origin_host(registry.origin)


def origin_host(registry_origin: str) -> str:
    """The first part of all origins of a service, from that of its registry."""
    return registry_origin.removesuffix(f"/{REGISTRY}")


@contextmanager
def open_database(settings: Settings, *, stays: bool = False) -> Iterator[Conninfo]:
    """
    The database the settings name, for the length of a block.

    The embedded one is that of a running service, or else is started and stopped here.

    Args:
        settings: As read at the start of the process.
        stays: Whether the caller is a service, which outlives others that share the database.

    Raises:
        SettingsError, DatabaseUnavailableError: As `embedded.open_server`.
    """
    if settings.database_url is not None:
        url = settings.database_url
        yield lambda _role: url
    else:
        with open_server(settings.data_dir, stays=stays) as server:
            yield server.conninfo


@contextmanager
def open_service(settings: Settings, *, stays: bool = False) -> Iterator[Service]:
    """
    The parts over the database the settings name, for the length of a block.

    The embedded database gets the newest schema; a database of yours must have it.

    Args:
        settings: As read at the start of the process.
        stays: As for `open_database`.

    Raises:
        SettingsError: A setting opens nothing, or the schema of your database is another.
        DatabaseUnavailableError: The database does not answer.
        SignerUnavailableError: The signer's record cannot be used.
    """
    _check_signer(settings)
    policy = None
    if settings.policy is not None:
        from ledger.publisher import load_policy

        policy = load_policy(settings.policy)
    authorities = _authorities(settings)
    with open_database(settings, stays=stays) as conninfo, ExitStack() as opened:
        pool = engine(conninfo, WRITER, pool_size=POOL_SIZE)
        opened.callback(pool.dispose)
        if settings.database_url is None:
            migrate(conninfo)
        else:
            with database_errors():
                check_version(pool)
        yield _compose(settings, conninfo, pool, opened, policy=policy, authorities=authorities)


def _compose(
    settings: Settings,
    conninfo: Conninfo,
    pool: Engine,
    opened: ExitStack,
    *,
    policy: Policy | None,
    authorities: Authorities | None,
) -> Service:
    signer = _open_signer(settings)
    opened.callback(signer.close)
    vault = Vault(load_payload_key(settings.payload_key, settings.data_dir / "keys/payload-key"))
    clock = SystemClock()

    def storage() -> PostgresStorage:
        made = PostgresStorage(conninfo)
        opened.callback(made.close)
        return made

    def read_signed(origin: str) -> tuple[int, bytes] | None:
        try:
            signed, _ = signer.checkpoint(origin)
        except LedgerError:
            # Then there is nothing from outside the database to hold it against.
            return None
        return signed.size, signed.root

    # Of its own: writers must not wait for a connection that readers keep.
    stops_pool = engine(conninfo, WRITER, pool_size=1)
    opened.callback(stops_pool.dispose)
    stops = Stops(stops_pool)
    # Before the first write: a ledger that was stopped does not go on with a new process.
    stops.refresh()
    registry_storage = storage()
    appender = Appender(registry_storage, signer, vault, clock, stops)
    reader = Reader(pool, vault)

    def keys(record: LedgerRecord) -> Sequence[VerifierKey]:
        return reader.keys(record.name)

    verdicts = Verdicts(pool, signer, stops, keys)
    dating = Dating(pool, reader, policy=policy, authorities=authorities)
    verifications = Verifications(
        pool,
        conninfo=conninfo,
        read_signed=read_signed,
        vault=vault,
        verdicts=verdicts,
        read_dated=dating.trees,
        keys=keys,
    )
    opened.callback(verifications.wait, VERIFICATIONS_PATIENCE_S)
    closing = Closing(pool, Appender(storage(), signer, vault, clock, stops))
    exports = Exports(
        pool,
        directory=settings.data_dir / "exports",
        closing=closing,
        accesses=Accesses(pool, Appender(storage(), signer, vault, clock, stops)),
        signer=signer,
        vault=vault,
        keys=keys,
        conninfo=conninfo,
        statements=filed_statements,
        stamp=_stamp_of(settings, authorities, opened),
    )
    exports.begin()
    opened.callback(exports.end, VERIFICATIONS_PATIENCE_S)
    dry_run_storage, dialog_storage = storage(), storage()
    sequencer = Sequencer(
        [Appender(storage(), signer, vault, clock, stops) for _ in range(WRITERS)]
    )
    sequencer.start()
    # Of its own: files are large, and nobody else waits for them.
    office_pools = [engine(conninfo, WRITER, pool_size=POOL_SIZE) for _ in range(3)]
    for each in office_pools:
        opened.callback(each.dispose)
    rows, requests, files = office_pools
    notices = Appender(storage(), signer, vault, clock, stops)
    office = open_office(
        rows,
        requests,
        files,
        reader=reader,
        intents=Intents(pool),
        appender=notices,
        conninfo=conninfo,
    )
    opened.callback(office.runs.stop, VERIFICATIONS_PATIENCE_S)
    registry = Registry(appender, registry_storage, signer)
    # Taken back in reverse: what waits is committed first, while everything is still there.
    opened.callback(sequencer.stop)
    rounds = Rounds(
        reader=reader,
        stops=stops,
        verifications=verifications,
        leader=Leader(pool, ROUNDS_LOCK),
        publish=Appender(storage(), signer, vault, clock, stops).publish,
        every_s=settings.verify_interval,
        full_every_s=settings.verify_full_interval,
    )
    opened.callback(rounds.stop)
    anchors = Anchors(pool, reader)
    duties: list[Duty] = [
        Recorder(
            reader=reader,
            anchors=anchors,
            stops=stops,
            post=lambda posting: sequencer.submit(posting).result(),
            every_s=settings.registry_interval,
        )
    ]
    publisher = None
    if policy is not None:
        publisher = _open_publisher(settings, policy, reader, anchors, stops)
        duties.append(publisher)
    if authorities is not None:
        duties.append(_open_stamper(settings, authorities, reader, anchors, stops))
    anchoring = Anchoring(leader=Leader(pool, ANCHORING_LOCK), stops=stops, duties=duties)
    opened.callback(anchoring.stop)
    return Service(
        settings=settings,
        sequencer=sequencer,
        reader=reader,
        dry_run=DryRun(dry_run_storage, vault, clock, stops),
        dialog=Dialog(dialog_storage, clock, stops),
        intents=Intents(pool),
        verifications=verifications,
        closing=closing,
        exports=exports,
        office=office,
        credentials=Credentials(pool),
        registry=registry,
        appender=appender,
        restorer=Restorer(
            shelf=registry_storage,
            signer=signer,
            appender=appender,
            registry=registry,
            reader=reader,
            clock=clock,
        ),
        stops=stops,
        anchors=anchors,
        publisher=publisher,
        verdicts=verdicts,
        authorities=authorities,
        anchoring=anchoring,
        rotation=Rotation(
            registry=registry, reader=reader, signer=signer, appender=appender, anchors=anchors
        ),
        rounds=rounds,
    )


def _open_publisher(
    settings: Settings, policy: Policy, reader: Reader, anchors: Anchors, stops: Stops
) -> Publisher:
    from ledger.publisher import Publisher

    return Publisher(
        reader=reader,
        anchors=anchors,
        stops=stops,
        policy=policy,
        every_s=settings.witness_interval,
    )


def _open_stamper(
    settings: Settings, authorities: Authorities, reader: Reader, anchors: Anchors, stops: Stops
) -> Stamper:
    from ledger.anchoring.tsa import HttpAuthority

    assert settings.tsa_url is not None, "who trusts authorities has one to ask"
    return Stamper(
        reader=reader,
        anchors=anchors,
        stops=stops,
        transport=HttpAuthority(settings.tsa_url),
        authorities=authorities,
        every_s=settings.tsa_interval,
    )


def _stamp_of(
    settings: Settings, authorities: Authorities | None, opened: ExitStack
) -> Stamp | None:
    """How manifests of bundles are timestamped: one after another, by the authority that is set."""
    if authorities is None or settings.tsa_url is None:
        return None
    from ledger.anchoring.tsa import HttpAuthority

    transport, lock = HttpAuthority(settings.tsa_url), threading.Lock()
    opened.callback(transport.close)

    def stamp(octets: bytes) -> tuple[bytes, Timestamp] | NotAnswered:
        with lock:
            return ask_timestamp(transport, octets, authorities)

    return stamp


def _authorities(settings: Settings) -> Authorities | None:
    """Whose timestamps are asked for."""
    if settings.tsa_url is None:
        return None
    if settings.tsa_certificates is None:
        raise SettingsError(
            "EFFECT_LEDGER_TSA_URL is set, and EFFECT_LEDGER_TSA_CERTIFICATES is not: give a PEM "
            "file with the root that the authority's tokens are held to",
            setting="EFFECT_LEDGER_TSA_CERTIFICATES",
        )
    return load_authorities(settings.tsa_certificates)


def _check_signer(settings: Settings) -> None:
    if settings.signer_url is None:
        return
    if settings.signer_token is None:
        raise SettingsError(
            "EFFECT_LEDGER_SIGNER_URL names a signer, and it answers only those who know its "
            "token: set EFFECT_LEDGER_SIGNER_TOKEN, here and there",
            setting="EFFECT_LEDGER_SIGNER_TOKEN",
        )
    if settings.signing_key is not None:
        raise SettingsError(
            "the signer at EFFECT_LEDGER_SIGNER_URL has the key: unset EFFECT_LEDGER_SIGNING_KEY "
            "here, and keep it there alone",
            setting="EFFECT_LEDGER_SIGNING_KEY",
        )


def _open_signer(settings: Settings) -> FileSigner | RemoteSigner:
    if settings.signer_url is None:
        return open_file_signer(settings)
    assert settings.signer_token is not None, "who names a signer knows its token"
    from ledger.signing.remote import RemoteSigner

    return RemoteSigner(settings.signer_url, settings.signer_token)


def open_file_signer(settings: Settings) -> FileSigner:
    """
    The signer of this host: its record and its key, in the data directory or as set.

    Raises:
        SettingsError: There is no key, or it cannot be used.
        SignerUnavailableError: The record cannot be used.
    """
    ring = open_ring(settings)
    return FileSigner(
        settings.data_dir / "signer",
        ring()[0],
        load_seed(settings.data_dir / "keys/signing-key-ml-dsa-44") if settings.ml_dsa_44 else None,
        ring=ring,
    )


def open_ring(settings: Settings) -> Ring:
    """
    The keys that sign on this host: those that are set, or those in the data directory.

    Raises:
        SettingsError: A key cannot be used, or a second one is set beside those of the directory.
    """
    passphrase = load_passphrase(
        settings.signing_key_passphrase, settings.signing_key_passphrase_file
    )
    path = settings.data_dir / "keys/signing-key.pem"
    if settings.signing_key is None:
        if settings.signing_key_next is not None:
            raise SettingsError(
                "EFFECT_LEDGER_SIGNING_KEY_NEXT takes the place of EFFECT_LEDGER_SIGNING_KEY: the "
                "key in the data directory is rotated by `effect-ledger key rotate-signing`",
                setting="EFFECT_LEDGER_SIGNING_KEY_NEXT",
            )
        return FileRing(path, passphrase)
    keys = tuple(
        KmsKey(each.removeprefix(AWS_KMS))
        if each.startswith(AWS_KMS)
        else load_signing_key(each, path, passphrase)
        for each in (settings.signing_key, settings.signing_key_next)
        if each is not None
    )
    return lambda: keys
