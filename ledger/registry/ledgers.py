"""
Registry: the ledger that knows all ledgers of one service.

`_registry` is a ledger like any other, with its own origin and chain. A ledger is announced
there before it takes entries, and so are the keys that may sign; what a registry row says
can therefore always be recomputed from hashed bytes.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ledger.append import Appender
from ledger.checkpoint import Checkpoint
from ledger.effect import Effect, Kind, Rules, build_effect
from ledger.entry import Entry, genesis_hash, parse_entry
from ledger.errors import (
    IdempotencyConflictError,
    LedgerBrokenError,
    LedgerError,
    LedgerExistsError,
    NotFoundError,
    SettingsError,
)
from ledger.forms.money import check_units
from ledger.forms.names import LEDGER_ITSELF, REGISTRY, check_ledger_name, check_principal_name
from ledger.forms.timestamps import format_time
from ledger.note import ED25519, VerifierKey, key_id
from ledger.ports import LedgerRecord, Signer
from ledger.signing.key_history import ADDED, RETIRED, notice_key
from ledger.submission import Posting, Recorded, Submission

logger = logging.getLogger(__name__)

# Checks applied to hashed text unless a ledger is created without them.
SCREEN = frozenset({"at-sign", "iban", "card"})


class Shelf(Protocol):
    """Where rows that follow from registry entries are kept. `PostgresStorage` is one."""

    def ledger(self, name: str) -> LedgerRecord:
        """The ledger of this name; NotFoundError where there is none."""

    def replays(self, ledger: str, keys: list[str]) -> Mapping[str, bytes]:
        """Entry bytes by idempotency key."""

    def add_ledger(self, record: LedgerRecord, last_hash: bytes, registry_seq: int | None) -> None:
        """Open a ledger; harmless where it stands already."""

    def published(self, ledger: str) -> tuple[Checkpoint, bytes] | None:
        """The newest published checkpoint and its note; None before the first."""

    def add_poster_key(
        self, key_id: str, principal: str, public_key: bytes, registry_seq: int
    ) -> None:
        """Let effects be signed with this key."""

    def retire_poster_key(self, key_id: str, registry_seq: int) -> None:
        """Let nothing more be signed with this key."""


class Registry:
    """Announces ledgers and keys. Used by one thread at a time."""

    def __init__(self, appender: Appender, shelf: Shelf, signer: Signer) -> None:
        self._appender = appender
        self._shelf = shelf
        self._signer = signer

    def ensure(self, origin_host: str | None = None) -> LedgerRecord:
        """
        Make sure `_registry` exists; its origin fixes the default host of all ledgers.

        Args:
            origin_host: Host part of new origins; None draws one that resolves nowhere.
        """
        try:
            standing = self._shelf.ledger(REGISTRY)
        except NotFoundError:
            host = origin_host or f"{secrets.token_hex(4)}.effect-ledger.invalid"
            record = self._record(REGISTRY, f"{host}/{REGISTRY}", {}, "UTC", public=False)
            self._signer.register(record.origin)
            self._shelf.add_ledger(record, genesis_hash(record.origin), None)
            # Two processes may start at once: whichever row was first is the registry.
            standing = self._shelf.ledger(REGISTRY)
        try:
            # Also where the row was there: whoever made it may have died before its notice.
            self._announce("ledger.created", f"_ledger.created/{REGISTRY}", _created(standing))
        except LedgerBrokenError as error:
            # Harmless here: whatever else is announced meets the same, and reading goes on.
            logger.critical("ledger %s takes no writes: %s", REGISTRY, error)
        return standing

    def reopen(self, notice: Entry) -> str | None:
        """
        Put back the row that follows from a notice, where a restored database lacks it.

        Args:
            notice: An entry of `_registry`, of any type.

        Returns:
            Name of the ledger that was opened again; None where there was none to open.
        """
        if notice.effect.kind is not Kind.NOTICE:
            return None
        data: Mapping[str, Any] = notice.effect.data or {}
        if notice.effect.type == "key.added" and data["purpose"] == "poster":
            public_key = bytes.fromhex(data["public_key"])
            self._shelf.add_poster_key(data["key_id"], data["principal"], public_key, notice.seq)
        if notice.effect.type == "key.retired" and data["purpose"] == "poster":
            self._shelf.retire_poster_key(data["key_id"], notice.seq)
        if notice.effect.type != "ledger.created":
            return None
        record = announced_ledger(notice)
        try:
            self._shelf.ledger(record.name)
        except NotFoundError:
            registry_seq = None if record.name == REGISTRY else notice.seq
            self._shelf.add_ledger(record, genesis_hash(record.origin), registry_seq)
            return record.name
        return None

    def create_ledger(
        self,
        name: str,
        *,
        origin: str | None = None,
        units: Mapping[str, int] | None = None,
        time_zone: str = "UTC",
        public: bool = False,
        screen: frozenset[str] = SCREEN,
    ) -> LedgerRecord:
        """
        Create a ledger: announced in `_registry` first, then opened. Safe to repeat.

        Args:
            name: Name in URLs and entries.
            origin: Identity of the ledger for ever; by default `<host>/<name>`.
            units: Units beyond ISO 4217, name to exponent.
            time_zone: IANA zone its periods are counted in.
            public: Whether its log may be read without a key. Cannot be taken back.
            screen: Personal-data checks on hashed text.

        Raises:
            LedgerExistsError: It exists with other properties.
            MalformedEffectError, SettingsError: A property is not acceptable.
        """
        check_ledger_name(name, "ledger")
        check_units(units or {}, "unit")
        if name == REGISTRY:
            raise SettingsError(f"{REGISTRY} exists from the first migration; nobody creates it")
        _check_time_zone(time_zone)
        registry = self.ensure()
        host = registry.origin.removesuffix(f"/{REGISTRY}")
        record = self._record(
            name, origin or f"{host}/{name}", units or {}, time_zone, public=public, screen=screen
        )
        if not record.origin.endswith(f"/{name}"):
            raise SettingsError(f"origin {record.origin} must end in /{name}: receipts rely on it")
        notice = self._announce("ledger.created", f"_ledger.created/{name}", _created(record))
        announced: Mapping[str, Any] = notice.effect.data or {}
        # The key it was created with: another one may sign by now.
        record = replace(record, vkey=announced["vkey"])
        if announced != _created(record):
            raise LedgerExistsError(
                f"ledger {name} exists with other properties", ledger=name, standing=announced
            )
        self._signer.register(record.origin)
        self._shelf.add_ledger(record, genesis_hash(record.origin), notice.seq)
        if self._shelf.published(name) is None:
            # Whoever reads a log begins with its checkpoint: the empty tree has one too.
            self._appender.publish(name)
        standing = self._shelf.ledger(name)
        if standing.screen != screen:
            raise LedgerExistsError(
                f"ledger {name} exists with other personal-data checks",
                ledger=name,
                standing=sorted(standing.screen),
            )
        return standing

    def ml_dsa_vkey(self, origin: str) -> str | None:
        """The verifier key of the second line under checkpoints of `origin`; None without one."""
        verifier = self._signer.ml_dsa_verifier(origin)
        return None if verifier is None else verifier.encode()

    def enrol_poster_key(self, principal: str, public_key: bytes) -> str:
        """
        Let `principal` sign its effects with this Ed25519 key.

        Returns:
            The key id posters name in their signatures.

        Raises:
            SettingsError: The key was retired: a new one takes its place, never the same again.
        """
        check_principal_name(principal, "principal")
        self.ensure()
        # C2SP signed-note's key id: the name takes part, so one key serves one principal.
        poster_key = key_id(principal, ED25519, public_key).hex()
        if self._notice(f"_key.retired/{poster_key}") is not None:
            raise SettingsError(
                f"key {poster_key} was retired, and that stands for ever: enrol a new one"
            )
        notice = self._announce(
            "key.added",
            f"_key.added/{poster_key}",
            {
                "key_id": poster_key,
                "purpose": "poster",
                "principal": principal,
                "public_key": public_key.hex(),
            },
        )
        self._shelf.add_poster_key(poster_key, principal, public_key, notice.seq)
        return poster_key

    def announce_log_key(self, record: LedgerRecord, key: VerifierKey) -> None:
        """
        Say that this key signs a ledger's checkpoints too; safe to repeat.

        The keys beside which it signs vouch for it, so that whoever trusts one of them follows.
        """
        data: dict[str, Any] = {
            "key_id": key.key_id.hex(),
            "purpose": "log",
            "public_key": key.encode(),
            "origin": record.origin,
            "ledger": record.name,
        }
        endorsements = self._signer.endorse(record.origin, key.encode())
        if endorsements:
            data["endorsements"] = endorsements
        self._announce("key.added", notice_key(ADDED, record.name, key), data)

    def retire_log_key(self, record: LedgerRecord, key: VerifierKey, final_size: int) -> None:
        """Say that this key speaks for no larger tree; safe to repeat, the first size stands."""
        self._announce(
            "key.retired",
            notice_key(RETIRED, record.name, key),
            {
                "key_id": key.key_id.hex(),
                "purpose": "log",
                "origin": record.origin,
                "ledger": record.name,
                "final_size": final_size,
            },
        )

    def retire_poster_key(self, key_id: str) -> tuple[str, str]:
        """
        Let nothing more be signed with this key; safe to repeat.

        What it signed before stays signed: the notice says when that ended.

        Returns:
            Whose key it was, and when it was retired first.

        Raises:
            NotFoundError: No poster's key has this id.
        """
        self.ensure()
        added = self._notice(f"_key.added/{key_id}")
        if added is None or (added.effect.data or {}).get("purpose") != "poster":
            raise NotFoundError(f"no poster's key has the id {key_id[:80]}", key_id=key_id[:80])
        principal: str = (added.effect.data or {})["principal"]
        notice = self._announce(
            "key.retired",
            f"_key.retired/{key_id}",
            {"key_id": key_id, "purpose": "poster", "principal": principal},
        )
        self._shelf.retire_poster_key(key_id, notice.seq)
        return principal, notice.recorded_at

    def _notice(self, key: str) -> Entry | None:
        """The notice under `key`; None where there is none."""
        standing = self._shelf.replays(REGISTRY, [key])
        if key not in standing:
            return None
        entry = parse_entry(standing[key])
        if not isinstance(entry, Entry):
            raise LedgerError(f"{REGISTRY} entry {key} is of a version this program cannot read")
        return entry

    def _announce(self, type_: str, key: str, data: dict[str, Any]) -> Entry:
        """The notice under `key`, appended if it is not there."""
        standing = self._notice(key)
        if standing is None:
            posting = Posting(
                ledger=REGISTRY,
                principal=LEDGER_ITSELF,
                submissions=(Submission(effect=build_notice(type_, key, data)),),
                with_receipts=False,
            )
            [[outcome]] = self._appender.append(REGISTRY, [posting])
            if isinstance(outcome, Recorded):
                return outcome.entry
            if not isinstance(outcome, IdempotencyConflictError):
                raise outcome
            # Another process announced it between our look and our append.
            standing = self._notice(key)
        assert standing is not None, "whose key is taken stands"
        return standing

    def _record(
        self,
        name: str,
        origin: str,
        units: Mapping[str, int],
        time_zone: str,
        *,
        public: bool,
        screen: frozenset[str] = SCREEN,
    ) -> LedgerRecord:
        return LedgerRecord(
            name=name,
            origin=origin,
            vkey=self._signer.verifiers(origin)[0].encode(),
            signer=self._signer.identity,
            units=units,
            time_zone=time_zone,
            public=public,
            screen=screen,
        )


def announced_ledger(notice: Entry) -> LedgerRecord:
    """
    The ledger whose creation `notice` announces.

    Its personal-data checks are all on: no notice records which are.
    """
    data: Mapping[str, Any] = notice.effect.data or {}
    return LedgerRecord(
        name=notice.effect.key.removeprefix("_ledger.created/"),
        origin=data["origin"],
        vkey=data["vkey"],
        signer=data["signer"],
        units=data["units"],
        time_zone=data["time_zone"],
        public=data["public"],
        screen=SCREEN,
    )


def build_notice(type_: str, key: str, data: Mapping[str, Any]) -> Effect:
    """What the ledger itself has to say, now."""
    now = datetime.now(UTC)
    return build_effect(
        {
            "kind": str(Kind.NOTICE),
            "type": type_,
            "key": key,
            "occurred_at": format_time(now),
            "data": dict(data),
        },
        rules=Rules(units={}, screen=frozenset(), notices=True),
        now=now,
    )


def _created(record: LedgerRecord) -> dict[str, Any]:
    return {
        "origin": record.origin,
        "vkey": record.vkey,
        "signer": record.signer,
        "units": dict(record.units),
        "time_zone": record.time_zone,
        "public": record.public,
    }


def _check_time_zone(name: str) -> None:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise SettingsError(f"there is no time zone {name}") from error
