"""
The tables as the reading side sees them.

The migrations define the schema; a test holds these definitions against it. Writers do not pass
here: their statements are written out in `postgres`, `questions` and `rows`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    SmallInteger,
    Table,
    Text,
    Uuid,
)
from sqlalchemy.dialects.postgresql import JSONB

from ledger.ports import LedgerRecord

metadata = MetaData(schema="effect_ledger")

_Time = DateTime(timezone=True)
_Id = Uuid(as_uuid=False)

ledgers = Table(
    "ledgers",
    metadata,
    Column("ledger", Text, primary_key=True),
    Column("origin", Text, nullable=False),
    Column("vkey", Text, nullable=False),
    Column("signer", Text, nullable=False),
    Column("units", JSONB, nullable=False),
    Column("time_zone", Text, nullable=False),
    Column("public", Boolean, nullable=False),
    Column("screen", ARRAY(Text), nullable=False),
    Column("registry_seq", BigInteger),
)


def ledger_record(row: Iterable[Any]) -> LedgerRecord:
    """What a row of `ledgers` says, its columns in their order."""
    name, origin, vkey, signer, units, time_zone, public, screen, *_ = row
    return LedgerRecord(
        name=name,
        origin=origin,
        vkey=vkey,
        signer=signer,
        units=units,
        time_zone=time_zone,
        public=public,
        screen=frozenset(screen),
    )


heads = Table(
    "heads",
    metadata,
    Column("ledger", Text, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("last_hash", LargeBinary, nullable=False),
    Column("last_recorded_at", _Time),
    Column("frontier", LargeBinary, nullable=False),
    Column("closes", BigInteger, nullable=False),
)

published = Table(
    "published",
    metadata,
    Column("ledger", Text, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("root", LargeBinary, nullable=False),
    Column("note", LargeBinary, nullable=False),
)

entries = Table(
    "entries",
    metadata,
    Column("ledger", Text, primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("id", _Id, nullable=False),
    Column("key", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("poster", Text, nullable=False),
    Column("subject", Text),
    Column("business_key", Text),
    Column("actor", Text),
    Column("currency", Text),
    Column("corrects", _Id),
    Column("repeat_of", _Id),
    Column("occurred_at", _Time, nullable=False),
    Column("recorded_at", _Time, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("body", LargeBinary, nullable=False),
)

entry_terms = Table(
    "entry_terms",
    metadata,
    Column("ledger", Text, primary_key=True),
    Column("term", Text, primary_key=True),
    Column("seq", BigInteger, primary_key=True),
)

tiles = Table(
    "tiles",
    metadata,
    Column("ledger", Text, primary_key=True),
    Column("level", SmallInteger, primary_key=True),
    Column("idx", BigInteger, primary_key=True),
    Column("hashes", LargeBinary, nullable=False),
    Column("root", LargeBinary, nullable=False),
)

payloads = Table(
    "payloads",
    metadata,
    Column("ledger", Text, primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("media_type", Text, nullable=False),
    Column("commitment", LargeBinary, nullable=False),
    Column("data_subject", Text, nullable=False),
    Column("sealed", LargeBinary),
)

data_keys = Table(
    "data_keys",
    metadata,
    Column("ledger", Text, primary_key=True),
    Column("data_subject", Text, primary_key=True),
    Column("wrapped", LargeBinary, nullable=False),
    schema="effect_ledger_keys",
)

positions = Table(
    "positions",
    metadata,
    Column("ledger", Text, primary_key=True),
    Column("entry", _Id, primary_key=True),
    Column("currency", Text, primary_key=True),
    Column("original", Numeric(38, 0), nullable=False),
    Column("adjusted", Numeric(38, 0), nullable=False),
    Column("refunded", Numeric(38, 0), nullable=False),
    Column("held", Numeric(38, 0), nullable=False),
    Column("excess", Numeric(38, 0)),
)

principals = Table(
    "principals",
    metadata,
    Column("principal", Text, primary_key=True),
    Column("since", _Time, nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("principal", Text, nullable=False),
    Column("secret_hash", LargeBinary, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("ledgers", ARRAY(Text)),
    Column("created_at", _Time, nullable=False),
    Column("expires_at", _Time),
    Column("revoked_at", _Time),
    Column("periods", ARRAY(Text)),
    Column("labels", Text, nullable=False),
)

poster_keys = Table(
    "poster_keys",
    metadata,
    Column("key_id", Text, primary_key=True),
    Column("principal", Text, nullable=False),
    Column("public_key", LargeBinary, nullable=False),
    Column("registry_seq", BigInteger, nullable=False),
)

retired_poster_keys = Table(
    "retired_poster_keys",
    metadata,
    Column("key_id", Text, primary_key=True),
    Column("registry_seq", BigInteger, nullable=False),
)

verifications = Table(
    "verifications",
    metadata,
    Column("ledger", Text, primary_key=True),
    Column("id", _Id, primary_key=True),
    Column("mode", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("requested", JSONB, nullable=False),
    Column("checked", BigInteger, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("report", JSONB),
    Column("started_at", _Time, nullable=False),
    Column("updated_at", _Time, nullable=False),
    Column("makes_way", Boolean, nullable=False),
)

cosigned = Table(
    "cosigned",
    metadata,
    Column("ledger", Text, primary_key=True),
    Column("size", BigInteger, primary_key=True),
    Column("cosigned_at", _Time, primary_key=True),
    Column("reached_at", _Time, nullable=False),
    Column("note", LargeBinary, nullable=False),
)

registered = Table(
    "registered",
    metadata,
    Column("ledger", Text, primary_key=True),
    Column("size", BigInteger, primary_key=True),
    Column("registry_seq", BigInteger, nullable=False),
    Column("note", LargeBinary, nullable=False),
)

timestamped = Table(
    "timestamped",
    metadata,
    Column("ledger", Text, primary_key=True),
    Column("size", BigInteger, primary_key=True),
    Column("timestamped_at", _Time, primary_key=True),
    Column("stated_at", _Time, nullable=False),
    Column("note", LargeBinary, nullable=False),
    Column("token", LargeBinary, nullable=False),
)

stops = Table(
    "stops",
    metadata,
    Column("ledger", Text, primary_key=True),
    Column("stopped_at", _Time, primary_key=True),
    Column("code", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("details", JSONB, nullable=False),
    Column("lifted_at", _Time),
    Column("lifted_because", Text),
    Column("acknowledged", Boolean, nullable=False),
)

statements = Table(
    "statements",
    metadata,
    Column("ledger", Text, primary_key=True),
    Column("finished_at", _Time, primary_key=True),
    Column("id", _Id, primary_key=True),
    Column("mode", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("good", Boolean, nullable=False),
    Column("note", LargeBinary, nullable=False),
)

periods = Table(
    "periods",
    metadata,
    Column("ledger", Text, primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("id", _Id, nullable=False),
    Column("name", Text, nullable=False),
    Column("from_at", _Time, nullable=False),
    Column("to_at", _Time, nullable=False),
    Column("from_seq", BigInteger, nullable=False),
    Column("supersedes", _Id),
)

period_checkpoints = Table(
    "period_checkpoints",
    metadata,
    Column("ledger", Text, primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("note", LargeBinary, nullable=False),
)

exports = Table(
    "exports",
    metadata,
    Column("ledger", Text, primary_key=True),
    Column("id", _Id, primary_key=True),
    Column("principal", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("requested", JSONB, nullable=False),
    Column("done", BigInteger, nullable=False),
    Column("entries", BigInteger, nullable=False),
    Column("result", JSONB),
    Column("started_at", _Time, nullable=False),
    Column("updated_at", _Time, nullable=False),
)

accesses = Table(
    "accesses",
    metadata,
    Column("ledger", Text, primary_key=True),
    Column("id", _Id, primary_key=True),
    Column("accessed_at", _Time, nullable=False),
    Column("principal", Text, nullable=False),
    Column("key_id", Text, nullable=False),
    Column("act", Text, nullable=False),
    Column("data", JSONB, nullable=False),
    Column("because", Text, nullable=False),
)

intent_events = Table(
    "intent_events",
    metadata,
    Column("ledger", Text, primary_key=True),
    Column("intent", _Id, primary_key=True),
    Column("number", SmallInteger, primary_key=True),
    Column("body", LargeBinary, nullable=False),
)

intents = Table(
    "intents",
    metadata,
    Column("ledger", Text, primary_key=True),
    Column("id", _Id, primary_key=True),
    Column("key", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("subject", Text),
    Column("business_key", Text),
    Column("state", Text, nullable=False),
    Column("outcome", Text),
    Column("on_silence", Text, nullable=False),
    Column("promised_at", _Time, nullable=False),
    Column("answer_by", _Time, nullable=False),
    Column("is_reserving", Boolean, nullable=False),
    Column("target", _Id),
    Column("held", Numeric(38, 0), nullable=False),
    Column("events", SmallInteger, nullable=False),
)

recon_sources = Table(
    "recon_sources",
    metadata,
    Column("ledger", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("document", JSONB, nullable=False),
    Column("created_at", _Time, nullable=False),
    Column("created_by", Text, nullable=False),
)

recon_imports = Table(
    "recon_imports",
    metadata,
    Column("ledger", Text, primary_key=True),
    Column("id", _Id, primary_key=True),
    Column("source", Text, nullable=False),
    Column("source_version", Integer, nullable=False),
    Column("filename", Text, nullable=False),
    Column("sha256", LargeBinary, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("status", Text, nullable=False),
    Column("document", JSONB, nullable=False),
    Column("lines", BigInteger, nullable=False),
    Column("added", BigInteger, nullable=False),
    Column("received_at", _Time, nullable=False),
    Column("received_by", Text, nullable=False),
)

recon_lines = Table(
    "recon_lines",
    metadata,
    Column("ledger", Text, primary_key=True),
    Column("import", _Id, primary_key=True),
    Column("ordinal", BigInteger, primary_key=True),
    Column("line", Text, nullable=False),
    Column("said", LargeBinary, nullable=False),
    Column("booked", Date, nullable=False),
    Column("document", JSONB, nullable=False),
)

recon_decisions = Table(
    "recon_decisions",
    metadata,
    Column("ledger", Text, primary_key=True),
    Column("id", _Id, primary_key=True),
    Column("made_at", _Time, nullable=False),
    Column("made_by", Text, nullable=False),
    Column("act", Text, nullable=False),
    Column("document", JSONB, nullable=False),
)

recon_runs = Table(
    "recon_runs",
    metadata,
    Column("ledger", Text, primary_key=True),
    Column("id", _Id, primary_key=True),
    Column("input", JSONB, nullable=False),
    Column("input_digest", LargeBinary, nullable=False),
    Column("output", JSONB, nullable=False),
    Column("output_digest", LargeBinary, nullable=False),
    Column("started_at", _Time, nullable=False),
    Column("started_by", Text, nullable=False),
)

recon_standings = Table(
    "recon_standings",
    metadata,
    Column("ledger", Text, primary_key=True),
    Column("run", _Id, primary_key=True),
    Column("ordinal", BigInteger, primary_key=True),
    Column("state", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("document", JSONB, nullable=False),
)

recon_breaks = Table(
    "recon_breaks",
    metadata,
    Column("ledger", Text, primary_key=True),
    Column("id", _Id, primary_key=True),
    Column("fingerprint", Text, nullable=False),
    Column("created_at", _Time, nullable=False),
)

recon_events = Table(
    "recon_events",
    metadata,
    Column("ledger", Text, primary_key=True),
    Column("break", _Id, primary_key=True),
    Column("ordinal", Integer, primary_key=True),
    Column("at", _Time, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("document", JSONB, nullable=False),
)

recon_break_states = Table(
    "recon_break_states",
    metadata,
    Column("ledger", Text, primary_key=True),
    Column("break", _Id, primary_key=True),
    Column("created_at", _Time, nullable=False),
    Column("status", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("owner", Text),
    Column("age_basis", Date, nullable=False),
)

recon_requests = Table(
    "recon_requests",
    metadata,
    Column("ledger", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("asked", LargeBinary, nullable=False),
    Column("answer", JSONB, nullable=False),
)

recon_jobs = Table(
    "recon_jobs",
    metadata,
    Column("ledger", Text, primary_key=True),
    Column("id", _Id, primary_key=True),
    Column("state", Text, nullable=False),
    Column("step", Text, nullable=False),
    Column("done", BigInteger, nullable=False),
    Column("error", Text),
    Column("started_at", _Time, nullable=False),
    Column("updated_at", _Time, nullable=False),
)
