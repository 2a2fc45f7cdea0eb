"""
Entry: an effect with its place in a ledger. Head: what the next entry must extend.

Gives effects their numbers and links, reads entries back, and replays a chain from its
bytes. The hash that links entries is also their Merkle leaf hash, so chain and tree cannot
disagree. Checkpoints, proofs and storage are for others.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ledger.canonical import INTEGER_MAX, canonical_bytes, parse_json
from ledger.effect import Effect, read_effect
from ledger.errors import ChainBreakError, MalformedProofError, RejectedError, SignatureError
from ledger.forms.grammar import (
    HASH,
    HASH_FORM,
    Parser,
    base64_text,
    form,
    integer,
    items,
    members,
    moment,
    uuid,
    wrong,
)
from ledger.forms.names import (
    REGISTRY,
    check_key_id,
    check_ledger_name,
    check_payload_name,
    check_period_name,
    check_principal_name,
)
from ledger.forms.payload import (
    PAYLOADS_MAX,
    Commitment,
    parse_media_type,
)
from ledger.merkle import Frontier, leaf_hash
from ledger.plain import PlainEntry, effect_of, payloads_of, read_plain
from ledger.plain_page import read_place
from ledger.values import make

VERSION = 1
ENTRY_BYTES_MAX = 65_535

_GENESIS_PURPOSE = b"effect-ledger/genesis/v1\n"
_EFFECT_PURPOSE = b"effect-ledger/effect/v1\n"
_SIGNATURE_BYTES = 64
# 74 bits of an id, and 6 to spare.
_RANDOM_BYTES = 10
_IDS_TOGETHER = 32
# Leaves are added to the tree in runs: one long run costs less than many short ones.
_LEAVES_PER_RUN = 1_024


@dataclass(frozen=True, slots=True, kw_only=True)
class PosterSignature:
    """The poster's own signature, so that the operator cannot invent its entries."""

    key_id: str
    sig: str
    """Padded base64 of an Ed25519 signature over `effect_signing_bytes`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """An effect that passed every rule and now gets a place."""

    effect: Effect
    id: str
    """UUIDv7, see `new_entry_id`."""
    poster: str
    payloads: tuple[Commitment, ...] = ()
    signature: PosterSignature | None = None


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An effect with its place in the ledger; immutable."""

    effect: Effect
    id: str
    ledger: str
    poster: str
    prev: bytes
    """Hash of the entry before it; of the origin for seq 0. 32 bytes."""
    recorded_at: str
    seq: int
    late_for: str | None = None
    """The closed period the effect belongs to."""
    payloads: tuple[Commitment, ...] = ()
    signature: PosterSignature | None = None
    v: int = VERSION
    encoded: bytes
    """Canonical JSON: the bytes that are hashed and stored."""
    hash: bytes
    """RFC 6962 leaf hash of `encoded`, 32 bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadEntry:
    """
    An entry of which only the place was read: one of a later version, or one of many.

    Its place is checked like any other's; what it says is not.
    """

    id: str
    ledger: str
    prev: bytes
    recorded_at: str
    seq: int
    v: int
    encoded: bytes
    hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What the next entry of a ledger must extend."""

    ledger: str
    origin: str
    size: int
    """Number of entries."""
    last_hash: bytes
    """Hash of the last entry; of the origin while there is none. 32 bytes."""
    last_recorded_at: str | None
    frontier: Frontier

    @classmethod
    def genesis(cls, *, ledger: str, origin: str) -> Head:
        """The head of a ledger without entries."""
        return cls(
            ledger=ledger,
            origin=origin,
            size=0,
            last_hash=genesis_hash(origin),
            last_recorded_at=None,
            frontier=Frontier.empty(),
        )

    @property
    def root(self) -> bytes:
        """Root hash of the tree over all entries, 32 bytes."""
        return self.frontier.root()


def genesis_hash(origin: str) -> bytes:
    """What the first entry of a ledger links to: it cannot be moved to another origin."""
    return hashlib.sha256(_GENESIS_PURPOSE + origin.encode()).digest()


def new_entry_id(now_ms: int) -> str:
    """
    A new id for an entry that is admitted `now_ms` milliseconds after 1970.

    Source: RFC 9562 Section 5.7, UUID version 7; all other bits are random.
    """
    return next(new_entry_ids(now_ms))


def new_entry_ids(now_ms: int) -> Iterator[str]:
    """As many ids as are asked for, as `new_entry_id` has them."""
    first = f"{now_ms:012x}"
    first = f"{first[:8]}-{first[8:]}-7"
    while True:
        # The system is asked for the bits of many at once.
        digits = os.urandom(_RANDOM_BYTES * _IDS_TOGETHER).hex()
        for at in range(0, len(digits), 2 * _RANDOM_BYTES):
            # Of one digit two bits are the variant, 0b10.
            variant = "89ab"[int(digits[at], 16) & 3]
            yield (
                f"{first}{digits[at + 1 : at + 4]}-{variant}{digits[at + 4 : at + 7]}"
                f"-{digits[at + 7 : at + 19]}"
            )


def chain(
    head: Head,
    admitted: Sequence[Admitted],
    *,
    recorded_at: str,
    late_for: Callable[[Effect], str | None] = lambda _effect: None,
) -> tuple[list[Entry], Head]:
    """
    Number, link and hash what was admitted, in order, from `head` on.

    Args:
        head: Read under the lock that keeps every other writer away.
        admitted: What gets a place.
        recorded_at: One time for all, as `format_time` gives it; not before the last entry's.
        late_for: The closed period an effect belongs to, None for all others.

    Returns:
        The entries, and the head after them.
    """
    assert head.last_recorded_at is None or head.last_recorded_at <= recorded_at, (
        f"recorded_at must not decrease: {head.last_recorded_at} then {recorded_at}"
    )
    chained = []
    prev = head.last_hash
    for seq, item in enumerate(admitted, start=head.size):
        period = late_for(item.effect)
        encoded = _encode(
            item, late_for=period, ledger=head.ledger, prev=prev, recorded_at=recorded_at, seq=seq
        )
        # An effect has at most 32,768 bytes, and eight payloads, a signature and every name
        # at its longest stay below 4,096: no admitted effect is too large for its place.
        assert len(encoded) <= ENTRY_BYTES_MAX, f"entry {seq} has {len(encoded)} bytes"
        entry = make(
            Entry,
            {
                "effect": item.effect,
                "id": item.id,
                "ledger": head.ledger,
                "poster": item.poster,
                "prev": prev,
                "recorded_at": recorded_at,
                "seq": seq,
                "late_for": period,
                "payloads": item.payloads,
                "signature": item.signature,
                "encoded": encoded,
                "hash": leaf_hash(encoded),
            },
        )
        chained.append(entry)
        prev = entry.hash
    if not chained:
        return [], head
    after = Head(
        ledger=head.ledger,
        origin=head.origin,
        size=head.size + len(chained),
        last_hash=prev,
        last_recorded_at=recorded_at,
        frontier=head.frontier.extend([entry.hash for entry in chained]),
    )
    return chained, after


def _encode(
    item: Admitted,
    *,
    late_for: str | None,
    ledger: str,
    prev: bytes,
    recorded_at: str,
    seq: int,
) -> bytes:
    # Spliced in the order of RFC 8785 Section 3.2.3 from texts whose grammars leave nothing
    # to escape; the effect, which is most of it, was encoded before the lock.
    late = b',"late_for":"%b"' % late_for.encode() if late_for else b""
    payloads = signature = b""
    if item.payloads:
        payloads = b',"payloads":' + canonical_bytes(
            [
                {"commitment": each.commitment, "media_type": each.media_type, "name": each.name}
                for each in item.payloads
            ]
        )
    if item.signature:
        signature = b',"signature":' + canonical_bytes(
            {"key_id": item.signature.key_id, "sig": item.signature.sig}
        )
    return (
        b'{"effect":%b,"id":"%b"%b,"ledger":"%b"%b,"poster":"%b","prev":"%b",'
        b'"recorded_at":"%b","seq":%d%b,"v":%d}'
    ) % (
        item.effect.encoded,
        item.id.encode(),
        late,
        ledger.encode(),
        payloads,
        item.poster.encode(),
        prev.hex().encode(),
        recorded_at.encode(),
        seq,
        signature,
        VERSION,
    )


# ---- Reading back ---------------------------------------------------------------------


def parse_signature(value: Any, pointer: str = "/signature") -> PosterSignature:
    """
    A poster's signature as it is sent: `{key_id, sig}`. Whether it is good is not checked.

    Raises:
        MalformedEffectError: Another form.
    """
    words = _signature(value, pointer)
    return PosterSignature(key_id=words["key_id"], sig=words["sig"])


_signature = members(
    {"key_id": check_key_id, "sig": base64_text(88, size=_SIGNATURE_BYTES)},
)
_hash = form(HASH, HASH_FORM, 64)
_commitment = members(
    {"commitment": _hash, "media_type": parse_media_type, "name": check_payload_name}
)


def _parse_object(value: Any, pointer: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise wrong(pointer, "must be an object")
    return value


_PLACE: Mapping[str, Parser] = {
    "id": uuid,
    "ledger": check_ledger_name,
    "prev": _hash,
    "recorded_at": moment,
    "seq": integer(0),
    "v": integer(VERSION),
}
"""What every version of an entry has, with the same meaning."""

_words = members(
    {
        "effect": _parse_object,
        "late_for": check_period_name,
        "payloads": items(_commitment, PAYLOADS_MAX, minimum=1),
        "poster": check_principal_name,
        "signature": parse_signature,
        **_PLACE,
    },
    optional=["late_for", "payloads", "signature"],
)


def parse_entry(encoded: bytes) -> Entry | UnreadEntry:
    """
    The entry that `encoded` is, in the one spelling it can have.

    Raises:
        MalformedProofError: Not canonical JSON, over 65,535 bytes, or not an entry: a
            member is missing, unknown or wrong. Of a version above 1 only the members that
            all versions share are read.
    """
    if len(encoded) > ENTRY_BYTES_MAX:
        raise MalformedProofError(
            f"the entry has {len(encoded)} bytes, the limit is {ENTRY_BYTES_MAX}",
            limit=ENTRY_BYTES_MAX,
            found=len(encoded),
        )
    plain = read_plain(encoded)
    if plain is not None:
        return entry_of(plain, encoded)
    return _parse_by_grammar(encoded)


def entry_of(plain: PlainEntry, encoded: bytes, effect: Effect | None = None) -> Entry:
    """The entry `encoded`, of which `plain` was read, and `effect` where that is known."""
    return Entry(
        effect=effect or effect_of(plain, encoded),
        id=plain.id,
        ledger=plain.ledger,
        poster=plain.poster,
        prev=bytes.fromhex(plain.prev),
        recorded_at=plain.recorded_at,
        seq=int(plain.seq),
        late_for=plain.late_for,
        payloads=() if plain.payloads is None else payloads_of(plain.payloads),
        encoded=encoded,
        hash=leaf_hash(encoded),
    )


def _parse_by_grammar(encoded: bytes) -> Entry | UnreadEntry:
    try:
        document = _parse_object(parse_json(encoded), "")
        if document.get("v") == VERSION:
            return _parse_v1(document, encoded)
        return _parse_later(document, encoded)
    except RejectedError as error:
        raise MalformedProofError(f"not an entry: {error.message}", **error.details) from error


def parse_place(encoded: bytes) -> UnreadEntry:
    """
    The place of the entry that `encoded` is; what it says is not read, whatever its version.

    Raises:
        MalformedProofError: Not canonical JSON, or without a place.
    """
    place = read_place(encoded)
    if place is not None:
        return UnreadEntry(
            id=place.id,
            ledger=place.ledger,
            prev=bytes.fromhex(place.prev),
            recorded_at=place.recorded_at,
            seq=int(place.seq),
            v=VERSION,
            encoded=encoded,
            hash=leaf_hash(encoded),
        )
    try:
        document = orjson.loads(encoded)
        if isinstance(document, dict):
            # In ASCII both order names alike, so this is RFC 8785 at a fraction of the cost.
            is_canonical = (
                encoded.isascii() and orjson.dumps(document, option=orjson.OPT_SORT_KEYS) == encoded
            )
            return _parse_later(document, encoded, is_canonical=is_canonical)
    except (orjson.JSONDecodeError, RejectedError) as error:
        raise MalformedProofError("not an entry in the spelling that is hashed") from error
    raise MalformedProofError("not an entry: a JSON object was expected")


def _parse_v1(document: dict[str, Any], encoded: bytes) -> Entry:
    words = _words(document, "")
    admitted = Admitted(
        effect=read_effect(words["effect"]),
        id=words["id"],
        poster=words["poster"],
        payloads=tuple(Commitment(**each) for each in words.get("payloads", ())),
        signature=words.get("signature"),
    )
    names = {payload.name for payload in admitted.payloads}
    if len(names) != len(admitted.payloads):
        raise wrong("/payloads", "must have different names")
    prev = bytes.fromhex(words["prev"])
    rebuilt = _encode(
        admitted,
        late_for=words.get("late_for"),
        ledger=words["ledger"],
        prev=prev,
        recorded_at=words["recorded_at"],
        seq=words["seq"],
    )
    # Everything was normalised on the way in, so only the one right spelling comes back.
    if rebuilt != encoded:
        raise wrong("", "is not in the spelling that is hashed")
    return Entry(
        effect=admitted.effect,
        id=admitted.id,
        ledger=words["ledger"],
        poster=admitted.poster,
        prev=prev,
        recorded_at=words["recorded_at"],
        seq=words["seq"],
        late_for=words.get("late_for"),
        payloads=admitted.payloads,
        signature=admitted.signature,
        encoded=encoded,
        hash=leaf_hash(encoded),
    )


def _parse_later(
    document: dict[str, Any], encoded: bytes, *, is_canonical: bool = False
) -> UnreadEntry:
    if not _is_place(document.get):
        # Told member by member, in the order in which they are documented.
        for name, parse in _PLACE.items():
            if name not in document:
                raise wrong("/" + name, "is required")
            if parse(document[name], "/" + name) != document[name]:
                raise wrong("/" + name, "is not in the spelling that is hashed")
    if not is_canonical and canonical_bytes(document) != encoded:
        raise wrong("", "is not in the spelling that is hashed")
    return UnreadEntry(
        id=document["id"],
        ledger=document["ledger"],
        prev=bytes.fromhex(document["prev"]),
        recorded_at=document["recorded_at"],
        seq=document["seq"],
        v=document["v"],
        encoded=encoded,
        hash=leaf_hash(encoded),
    )


_PLACES = re.compile(
    "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\n"
    f"(?:{REGISTRY}|[a-z0-9][a-z0-9._-]{{0,61}})\n"
    "[0-9a-f]{64}"
)
# What `format_time` gives for most days; all others are read as the calendar has them.
_TIME = re.compile(
    "20[0-9]{2}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])"
    "T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\\.[0-9]{6}Z"
)


def _is_place(get: Callable[[str], Any]) -> bool:
    """Whether a document surely has a place in it; pages and audits look at many."""
    seq, v, recorded_at = get("seq"), get("v"), get("recorded_at")
    texts = (get("id"), get("ledger"), get("prev"))
    return (
        type(seq) is int
        and type(v) is int
        and 0 <= seq <= INTEGER_MAX
        and VERSION <= v <= INTEGER_MAX
        and type(recorded_at) is str
        and _TIME.fullmatch(recorded_at) is not None
        and all(type(text) is str for text in texts)
        and _PLACES.fullmatch("\n".join(texts)) is not None
    )


def recorded_entry(encoded: bytes, effect: Effect) -> Entry:
    """
    The entry that `encoded` is, where its bytes are ours and `effect` is known to be in it.

    Raises:
        MalformedProofError: Not an entry, or one of another effect.
    """
    plain = read_plain(encoded)
    if plain is not None and begins_with(encoded, effect):
        return entry_of(plain, encoded, effect)
    entry = parse_entry(encoded)
    if not isinstance(entry, Entry) or entry.effect.encoded != effect.encoded:
        raise MalformedProofError("the entry does not hold the effect it was found by")
    return entry


def begins_with(encoded: bytes, effect: Effect) -> bool:
    """Whether an entry in the spelling that is hashed has this very effect."""
    # "effect" is the first member and its text ends where the next begins.
    return encoded.startswith(b'{"effect":' + effect.encoded + b',"id":')


def verify_chain(
    recorded: Iterable[bytes], *, ledger: str, origin: str, start: Head | None = None
) -> Head:
    """
    Replay a run of entries from their bytes alone.

    Every entry must be one (see `parse_entry`), be of `ledger`, have the next number, link
    to the hash before it, not be recorded before it, and not have a lower version than the
    entries of the run before it.

    Args:
        recorded: Bytes of the entries, in order.
        ledger: The ledger they must name.
        origin: Its origin, which the first entry links to.
        start: The head before the run; None for a run from the first entry.

    Returns:
        The head after the run. Its root is to be compared with a signed one: a chain that
        was made anew from some entry on replays as well as the right one.

    Raises:
        ChainBreakError: Names the seq of the first entry that does not follow.
    """
    head = start or Head.genesis(ledger=ledger, origin=origin)
    if (head.ledger, head.origin) != (ledger, origin):
        raise ChainBreakError(
            f"expected ledger {ledger} of {origin}, found a head of {head.ledger} of {head.origin}",
            seq=head.size,
        )
    size, prev, recorded_at = head.size, head.last_hash, head.last_recorded_at or ""
    frontier, leaves, version = head.frontier, list[bytes](), VERSION
    for encoded in recorded:
        try:
            entry = parse_entry(encoded)
        except MalformedProofError as error:
            raise ChainBreakError(f"entry {size}: {error.message}", seq=size) from error
        _check_follows(entry, ledger=ledger, seq=size, prev=prev, recorded_at=recorded_at)
        if entry.v < version:
            raise _broken(size, "v", f"{version} or above", entry.v)
        size, prev, recorded_at, version = size + 1, entry.hash, entry.recorded_at, entry.v
        leaves.append(entry.hash)
        if len(leaves) == _LEAVES_PER_RUN:
            frontier = frontier.extend(leaves)
            leaves.clear()
    return Head(
        ledger=ledger,
        origin=origin,
        size=size,
        last_hash=prev,
        last_recorded_at=recorded_at or None,
        frontier=frontier.extend(leaves) if leaves else frontier,
    )


def _check_follows(
    entry: Entry | UnreadEntry, *, ledger: str, seq: int, prev: bytes, recorded_at: str
) -> None:
    if entry.ledger != ledger:
        raise _broken(seq, "ledger", ledger, entry.ledger)
    if entry.seq != seq:
        raise _broken(seq, "seq", seq, entry.seq)
    if entry.prev != prev:
        raise _broken(seq, "prev", prev.hex(), entry.prev.hex())
    if entry.recorded_at < recorded_at:
        raise _broken(seq, "recorded_at", f"{recorded_at} or later", entry.recorded_at)


def _broken(seq: int, member: str, expected: object, found: object) -> ChainBreakError:
    return ChainBreakError(
        f"entry {seq}: expected {member} {expected}, found {found}",
        seq=seq,
        member=member,
        expected=expected,
        found=found,
    )


# ---- The poster's own signature -------------------------------------------------------


def effect_signing_bytes(effect: Effect) -> bytes:
    """What a poster signs: the effect's bytes under a name nothing else is signed under."""
    return _EFFECT_PURPOSE + effect.encoded


def verify_poster_signature(effect: Effect, signature: PosterSignature, public_key: bytes) -> None:
    """
    Check a poster's signature over an effect.

    Args:
        effect: The effect of the entry the signature stands in.
        signature: From the entry or the request.
        public_key: Ed25519, 32 bytes, of `signature.key_id`.

    Raises:
        SignatureError: The signature or the key is not good.
    """
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(
            base64.b64decode(signature.sig, validate=True), effect_signing_bytes(effect)
        )
    except (InvalidSignature, ValueError) as error:
        raise SignatureError(
            f"the signature of key {signature.key_id} is not good for this effect",
            key_id=signature.key_id,
        ) from error
