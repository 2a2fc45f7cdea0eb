"""
What the ledger itself records: one closed schema of `data` for each type of notice.

Notices stand in the ledger they are about, except those that the registry keeps about
other ledgers. When and why one is written is for others to say.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from ledger.canonical import check_text
from ledger.forms.grammar import (
    HASH,
    HASH_FORM,
    Parser,
    below,
    boolean,
    entries,
    form,
    integer,
    items,
    members,
    moment,
    one_of,
    text,
    uuid,
    wrong,
)
from ledger.forms.money import CURRENCY, EXPONENT_MAX
from ledger.forms.names import (
    check_key_id,
    check_ledger_name,
    check_origin,
    check_payload_name,
    check_period_name,
    check_principal_name,
)

ERASED_PER_NOTICE_MAX = 200
"""Payloads one `payload.erased` names; a larger erasure is several notices."""

SUMS_MAX = 200
"""Lines of sums one `period.closed` states; its hash of the totals covers more."""

ENDORSEMENTS_MAX = 8
"""Keys that vouch for a new one."""

_CURRENCY_FORM = "3 to 12 upper-case letters and digits"
# A sum of twenty-digit amounts has more digits than an amount.
_SUM = re.compile(r"(?!-0(?:\.0+)?\Z)-?(?:0|[1-9][0-9]{0,29})(?:\.[0-9]{1,18})?")
_VKEY = re.compile(r"[!-*,-~]+\+[0-9a-f]{8}\+[A-Za-z0-9+/]+={0,2}")
_SIGNATURE = re.compile("\u2014 [!-*,-~]+ [A-Za-z0-9+/]+={0,2}")
_KIND = re.compile("effect|refund|adjustment|explanation|notice")

_hash = form(HASH, HASH_FORM, 64)
_public_key = form(HASH, "an Ed25519 key as 64 lower-case hexadecimal digits", 64)
_vkey = form(_VKEY, "a verifier key (C2SP signed-note): name+hash+base64", 4_096)
_units = entries(CURRENCY, _CURRENCY_FORM, integer(0, EXPONENT_MAX), 64)
_word = text(255)

_line = form(_SIGNATURE, "a signature line (C2SP signed-note)", 4_096)

_created = members(
    {
        "origin": check_origin,
        "vkey": _vkey,
        "units": _units,
        "time_zone": form(re.compile("[A-Za-z0-9._+/-]+"), "an IANA time zone name", 63),
        "signer": _word,
        "public": boolean,
    }
)

_log_key_added = members(
    {
        "key_id": check_key_id,
        "purpose": one_of("log"),
        "public_key": _vkey,
        "origin": check_origin,
        "ledger": check_ledger_name,
        "endorsements": items(_line, ENDORSEMENTS_MAX, minimum=1),
    },
    optional=["ledger", "endorsements"],
)
_poster_key_added = members(
    {
        "key_id": check_key_id,
        "purpose": one_of("poster"),
        "public_key": _public_key,
        "principal": check_principal_name,
    }
)
_log_key_retired = members(
    {
        "key_id": check_key_id,
        "purpose": one_of("log"),
        "origin": check_origin,
        "ledger": check_ledger_name,
        "final_size": integer(0),
    },
    optional=["ledger"],
)
_poster_key_retired = members(
    {
        "key_id": check_key_id,
        "purpose": one_of("poster"),
        "principal": check_principal_name,
    }
)


def _by_purpose(schemas: Mapping[str, Parser]) -> Parser:
    check_purpose = one_of(*schemas)

    def parse(value: Any, pointer: str) -> Any:
        if not isinstance(value, dict):
            raise wrong(pointer, "must be an object")
        if "purpose" not in value:
            raise wrong(f"{pointer}/purpose", "is required")
        return schemas[check_purpose(value["purpose"], f"{pointer}/purpose")](value, pointer)

    return parse


_sums = members(
    {
        "kind": form(_KIND, "a kind of entry", 16),
        "currency": form(CURRENCY, _CURRENCY_FORM, 12),
        "flow": one_of("in", "out"),
        "count": integer(1),
        "amount": form(_SUM, "a decimal number", 50),
    }
)


def _list_or_empty(parser: Parser) -> Parser:
    # A period without money has no sums, and says so: the member is never absent.
    return lambda value, pointer: parser(value, pointer) or []


_closed_members = members(
    {
        "name": check_period_name,
        "from_at": moment,
        "to_at": moment,
        "from_seq": integer(0),
        "to_seq": integer(-1),
        "root": _hash,
        "counts": entries(_KIND, "a kind of entry", integer(0), 5),
        "sums": _list_or_empty(items(_sums, SUMS_MAX)),
        "totals_hash": _hash,
        "preparer": check_principal_name,
        "reviewer": check_principal_name,
        "supersedes": uuid,
    },
    # Sums of more lines than fit are left to the hash.
    optional=["from_at", "to_at", "sums", "totals_hash", "reviewer", "supersedes"],
)


def _closed(value: Any, pointer: str) -> Any:
    parsed = _closed_members(value, pointer)
    # A period without entries ends one before it begins.
    if parsed["to_seq"] < parsed["from_seq"] - 1:
        raise wrong(f"{pointer}/to_seq", "must not be more than one below from_seq")
    if "sums" not in parsed and "totals_hash" not in parsed:
        raise wrong(f"{pointer}/sums", "is required where there is no totals_hash")
    if parsed.get("reviewer") == parsed["preparer"]:
        raise wrong(f"{pointer}/reviewer", "must be somebody else than the preparer")
    return parsed


_reviewed = members(
    {
        "name": check_period_name,
        "close": uuid,
        "close_hash": _hash,
        "reviewer": check_principal_name,
    }
)

_erased = members(
    {
        "payloads": items(
            members(
                {
                    "entry": uuid,
                    "name": check_payload_name,
                }
            ),
            ERASED_PER_NOTICE_MAX,
            minimum=1,
        )
    }
)

_lost_members = members({"from_seq": integer(0), "to_seq": integer(0)})


def _lost(value: Any, pointer: str) -> Any:
    parsed = _lost_members(value, pointer)
    if parsed["to_seq"] < parsed["from_seq"]:
        raise wrong(f"{pointer}/to_seq", "must not be below from_seq")
    return parsed


# The data subject of a hold or an erasure is never hashed: storage knows whom an id means.
_placed = members({"hold_id": uuid, "entry": uuid}, optional=["entry"])
_released = members({"hold_id": uuid})

_recorded = members(
    {"ledger": check_ledger_name, "origin": check_origin, "size": integer(0), "root": _hash}
)

_issued = members(
    {
        "export_id": uuid,
        "ledger": check_ledger_name,
        "principal": check_principal_name,
        "period": check_period_name,
        "from_seq": integer(0),
        "to_seq": integer(-1),
        "root": _hash,
        "manifest_hash": _hash,
    },
    optional=["ledger", "period", "principal"],
)
_downloaded = members(
    {
        "export_id": uuid,
        "ledger": check_ledger_name,
        "principal": check_principal_name,
        "key_id": check_key_id,
        "bundle_hash": _hash,
        "manifest_hash": _hash,
    }
)

_decided = members(
    {
        "act": one_of("override", "discard", "match", "unmatch", "signoff"),
        "decision_id": uuid,
        "decision_hash": _hash,
        "principal": check_principal_name,
    }
)

SCHEMAS: Mapping[str, Callable[[Any, str], Any]] = {
    "ledger.created": _created,
    "key.added": _by_purpose({"log": _log_key_added, "poster": _poster_key_added}),
    "key.retired": _by_purpose({"log": _log_key_retired, "poster": _poster_key_retired}),
    "payload.erased": _erased,
    "payload.lost": _lost,
    "hold.placed": _placed,
    "hold.released": _released,
    "period.closed": _closed,
    "period.reviewed": _reviewed,
    "checkpoint.recorded": _recorded,
    "export.issued": _issued,
    "export.downloaded": _downloaded,
    "recon.decided": _decided,
}
"""
Type of notice -> parser of its `data`.

    ledger.created       {origin, vkey, units, time_zone, signer, public}
    key.added            {key_id, purpose: log, public_key: vkey, origin, ledger?,
                         endorsements?: [signature line]} or
                         {key_id, purpose: poster, public_key: 32 bytes, principal}
    key.retired          {key_id, purpose: log, origin, ledger?, final_size} or
                         {key_id, purpose: poster, principal}
    payload.erased       {payloads: [{entry, name}]}, 1 to 200
    payload.lost         {from_seq, to_seq}; the octets of these entries' payloads, which no
                         log has, were not brought back with the entries
    hold.placed          {hold_id, entry?}; without entry the hold is on a data subject
    hold.released        {hold_id}
    period.closed        {name, from_at?, to_at?, from_seq, to_seq, root, counts: {kind: n},
                         sums?: [{kind, currency, flow, count, amount}], totals_hash?, preparer,
                         reviewer?, supersedes?}; `to_seq` is one below the notice's own seq,
                         `totals_hash` is over the totals by type (see `audit.verify`), and
                         `sums` is absent only where they are too many
    period.reviewed      {name, close, close_hash, reviewer}: the principal whose own key confirmed
                         a close, never its preparer
    checkpoint.recorded  {ledger, origin, size, root}
    export.issued        {export_id, ledger?, principal?, period?, from_seq, to_seq, root,
                         manifest_hash}
    export.downloaded    {export_id, ledger, principal, key_id, bundle_hash, manifest_hash}
    recon.decided        {act: override|discard|match|unmatch|signoff, decision_id,
                         decision_hash, principal}; the hash is SHA-256 of what was decided, as
                         canonical JSON

Hashes and posters' keys are hexadecimal; entry, close, supersedes, hold_id, export_id and
decision_id are UUIDs.
Why something was done is the effect's `reason`; who did it, its `actor`.
"""


def parse_notice(type_: str, data: Any, *, recorded: bool) -> Any:
    """
    Hold a notice's `data` to the schema of its type.

    Args:
        type_: The effect's type.
        data: The effect's data.
        recorded: It is read from a ledger. A type that is not known here then passes: a
            later release may have added it, and the entry is no less proven for that.

    Returns:
        The data as it is hashed.

    Raises:
        MalformedEffectError: The data does not fit the type, or nobody knows the type.
    """
    schema = SCHEMAS.get(type_)
    if schema is None:
        if not recorded:
            raise wrong("/type", "is not a type of notice known here")
        if not isinstance(data, dict):
            raise wrong("/data", "must be an object")
        _check_texts(data, "/data")
        return data
    return schema(data, "/data")


def _check_texts(value: Any, pointer: str) -> None:
    # The text rules hold for what is hashed, known here or not.
    if isinstance(value, str):
        check_text(value, pointer)
    elif isinstance(value, dict):
        for name, member in value.items():
            check_text(name, pointer)
            _check_texts(member, below(pointer, name))
    elif isinstance(value, list):
        for at, item in enumerate(value):
            _check_texts(item, f"{pointer}/{at}")
