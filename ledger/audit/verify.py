"""
Verify an audit bundle of the Effect Ledger: alone, without network, database or installation.

    python3 verify.py BUNDLE --vkey VKEY [--previous BUNDLE] [--receipt FILE] [--json]

BUNDLE is a directory or a .zip file. VKEY is the ledger's verifier key, which you got by another
channel than the bundle. Exit code: 0 nothing bad was found; 1 something is bad, and the first bad
record is named; 2 nothing can be said, for example because nobody whose key you trust is named, or
because a receipt, or the bundle of the period before, is bad itself or of something else.

Needs Python 3.10 and nothing else; with the package `cryptography` signatures are checked by it.
This file is in every bundle, byte for byte as the service that made it runs it.

Formats: RFC 6962 (tree), RFC 8032 (Ed25519), C2SP signed-note and tlog-checkpoint.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import errno
import hashlib
import json
import os
import re
import stat
import struct
import sys
import tempfile
import unicodedata
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from typing import Self

try:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
except ImportError:
    # Where the package is absent, the name stands for that.
    Ed25519PublicKey = None  # type: ignore[assignment,misc]

FORMAT = "effect-ledger/audit-bundle/v1"
SIGNED = "effect-ledger/bundle/v1"
"""First line of the note that signs a manifest; its second is the origin, its third the hash."""
ENVELOPE = "envelope/"
"""What may be added to a bundle after it was signed: reviews of the close, timestamps, custody."""
REVIEWS = "reviews.jsonl"
PROOF = b"c2sp.org/tlog-proof@v1\n"
TIMESTAMP = "manifest.tsr"
UNSIGNED = ("manifest.json", "manifest.sig")
KEY_HISTORY = "keys/history.json"
ENDORSED = "effect-ledger/key/v1"
"""First line of what an older key signs of a newer one; then the origin, then the newer key."""
STATEMENTS = "statements/index.json"
STATEMENT = "effect-ledger/reconciliation-statement/v1"
ENTRY_BYTES_MAX = 65_535
LINE_BYTES_MAX = 4 * 1024 * 1024
SMALL_FILE_BYTES_MAX = 64 * 1024 * 1024
MEMBERS_MAX = 100_000
PART_BYTES_MAX = 255
"""Of one name in a path, as file systems have it."""
PATH_BYTES_MAX = 1024
PATH_PARTS_MAX = 16
"""Of a path within a bundle: far more than any has, and little enough for every system."""
TOLD_CHARACTERS_MAX = 300
UNPACKED_BYTES_MAX = 1024 * 1024 * 1024
UNPACKED_TIMES_MAX = 100
"""What a .zip file may unpack to: so many bytes, or so many times its own size if that is more."""
PROGRESS_EVERY = 1024
GOOD, BAD, UNKNOWN = 0, 1, 2

STAMPED = (
    "whose word the timestamp in manifest.tsr is: no certificate of an authority is known here. "
    "openssl ts -verify -data manifest.json -in envelope/manifest.tsr -CAfile ROOTS, or "
    "effect-ledger verify BUNDLE --tsa-certificates ROOTS"
)
UNRELATED = frozenset(
    {"receipt.bad", "receipt.other", "previous.gap", "previous.overlap", "previous.other"}
    | {"previous.bad"}
)
"""Of what was given beside the bundle: it is bad itself or of something else, and says nothing."""
JOINED = "that the previous bundle ends where this one begins"
NOT_JOINED = (
    "whether the previous bundle ends where this one begins: a selection has nothing that proves "
    "it, the complete bundle of this period has"
)
FIGURES = (
    "what statements of reconciliations were computed from: of files the bundle has the hashes",
    "lists and prints of these statements beyond their hashes: they show what the .json says",
)
NOT_CHECKED = (
    "whether anything was never given to the ledger: that is for your own samples and statements",
    "the clock: when entries were recorded is what the ledger says; only their order was checked",
    "what the entries mean to each other: remainders, repeats and rules of corrections",
    "witnesses and timestamps over the checkpoints",
    "workbook.xlsx beyond its hash: it shows what the tables show",
    "whether a key was stolen: of retired ones the bundle says up to which size they speak",
    "whose the posters' keys are, where posters sign: the bundle says so itself",
    "what else is in envelope/ but reviews and a timestamp: it was added after signing",
)

Json = Any

MALFORMED = (
    *(KeyError, TypeError, ValueError, IndexError, AttributeError, ArithmeticError),
    RecursionError,
)
"""What reading a record raises that is not in its form, however odd that is."""


class DamageError(Exception):
    """One thing that is bad, said so that it cannot be taken for another."""

    def __init__(self, code: str, message: str) -> None:
        message = shown(message)
        super().__init__(message)
        self.code = code
        self.message = message


def shown(text: str) -> str:
    """A text on one line, with nothing in it that a terminal obeys or a reader does not see."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


# Which of several findings is told first: the one that explains most.
RANKS = (
    *("bundle.too-large", "zip.doubled", "zip.contradiction", "zip.foreign", "zip.name"),
    *("zip.kind", "manifest.missing", "manifest.unreadable", "ledger.other", "key.other"),
    "key.retired",
    *("manifest.edited", "signature.bad", "manifest.format", "key.history"),
    *("entry.missing-first", "entry.missing", "entry.missing-last", "entry.order"),
    *("entry.added", "entry.changed", "entry.unreadable", "entry.other-ledger", "entry.time"),
    "entry.signature",
    *("close.wrong", "checkpoint.replaced", "checkpoint.bad", "tree.start", "tree.end"),
    *("tree.before", "inclusion.bad", "payload.changed", "payload.missing", "payload.added"),
    *("totals.wrong", "table.edited", "manifest.totals", "reference.bad"),
    *("statement.missing", "statement.forged", "statement.changed", "statement.checkpoint"),
    *("statement.people", "statement.sums", "statement.unreadable", "review.bad"),
    *("timestamp.bad", "receipt.forked", "previous.forked"),
    *("file.missing", "file.truncated", "file.changed", "file.rows", "file.added"),
    *sorted(UNRELATED),
)


# ---- Hashes and trees (RFC 6962 Section 2.1, RFC 9162 Section 2.1) ------------------------------


def leaf_hash(entry: bytes) -> bytes:
    """Hash of an entry: chain link and leaf in one."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of the node over two others."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Frontier:
    """The right edge of a tree: complete subtrees, largest first, one per set bit of the size."""

    def __init__(self, size: int, hashes: Iterable[bytes]) -> None:
        self.size = size
        self.hashes = list(hashes)
        if len(self.hashes) != size.bit_count():
            raise DamageError("tree.start", f"the start of the tree has not the hashes of {size}")

    def append(self, leaf: bytes) -> None:
        """Add one leaf."""
        size = self.size
        while size & 1:
            leaf = node_hash(self.hashes.pop(), leaf)
            size >>= 1
        self.hashes.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        """Root hash."""
        if not self.hashes:
            return hashlib.sha256().digest()
        folded = self.hashes[-1]
        for left in reversed(self.hashes[:-1]):
            folded = node_hash(left, folded)
        return folded


def root_from_inclusion(leaf: bytes, index: int, size: int, proof: list[bytes]) -> bytes | None:
    """The root that a proof leads to; None where it has another length. RFC 9162 2.1.3.2."""
    if not 0 <= index < size:
        return None
    node, last, root = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return None
        if node & 1 or node == last:
            root = node_hash(sibling, root)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            root = node_hash(root, sibling)
        node, last = node >> 1, last >> 1
    return root if last == 0 else None


def is_consistent(old: int, new: int, old_root: bytes, new_root: bytes, proof: list[bytes]) -> bool:
    """Whether the tree of `new` entries begins with that of `old`. RFC 9162 2.1.4.2."""
    if old == new:
        return old_root == new_root and not proof
    if not 0 < old < new:
        return old == 0 and not proof
    hashes = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    if not hashes:
        return False
    node, last = old - 1, new - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    first = second = hashes[0]
    for each in hashes[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            first, second = node_hash(each, first), node_hash(each, second)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            second = node_hash(second, each)
        node, last = node >> 1, last >> 1
    return last == 0 and first == old_root and second == new_root


# ---- Ed25519 (RFC 8032 Section 5.1.7), where the package `cryptography` is missing ------------

_P = 2**255 - 19
_L = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, _P - 2, _P) % _P
_I = pow(2, (_P - 1) // 4, _P)

_Point = tuple[int, int, int, int]


def _recover(data: bytes) -> _Point | None:
    number = int.from_bytes(data, "little")
    sign, y = number >> 255, number & (2**255 - 1)
    if y >= _P:
        return None
    square = (y * y - 1) * pow(_D * y * y + 1, _P - 2, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if (x * x - square) % _P:
        x = x * _I % _P
    if (x * x - square) % _P or (x == 0 and sign):
        return None
    x = _P - x if x & 1 != sign else x
    return x, y, 1, x * y % _P


def _add(a: _Point, b: _Point) -> _Point:
    e = (a[1] - a[0]) * (b[1] - b[0]) % _P
    f = (a[1] + a[0]) * (b[1] + b[0]) % _P
    g = 2 * a[3] * b[3] * _D % _P
    h = 2 * a[2] * b[2] % _P
    return (
        (f - e) * (h - g) % _P,
        (h + g) * (f + e) % _P,
        (h - g) * (h + g) % _P,
        (f - e) * (f + e) % _P,
    )


def _times(scalar: int, point: _Point) -> _Point:
    result: _Point = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            result = _add(result, point)
        point = _add(point, point)
        scalar >>= 1
    return result


_BASE = _recover((4 * pow(5, _P - 2, _P) % _P).to_bytes(32, "little"))


def is_signed_plainly(key: bytes, signature: bytes, message: bytes) -> bool:
    """Whether an Ed25519 signature is good, in plain Python: some milliseconds each."""
    public, r = _recover(key), _recover(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    if len(signature) != 64 or public is None or r is None or s >= _L or _BASE is None:
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % _L
    left, right = _times(s, _BASE), _add(r, _times(h, public))
    return not (
        (left[0] * right[2] - right[0] * left[2]) % _P
        or (left[1] * right[2] - right[1] * left[2]) % _P
    )


def is_signed(key: bytes, signature: bytes, message: bytes) -> bool:
    """Whether an Ed25519 signature is good."""
    if Ed25519PublicKey is None:
        return is_signed_plainly(key, signature, message)
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


# ---- Signed notes and checkpoints (C2SP) ---------------------------------------------------------


@dataclass(frozen=True)
class Key:
    """A verifier key: name, id, and the 32 bytes of an Ed25519 public key."""

    name: str
    id: bytes
    public: bytes
    final_size: int | None = None
    """It was retired: checkpoints of larger trees are not its word."""

    @classmethod
    def parse(cls, text: str) -> Key:
        """The key that `name+hash+base64` is; ValueError for anything else."""
        name, _, rest = text.strip().partition("+")
        key_id, _, encoded = rest.partition("+")
        data = base64.b64decode(encoded, validate=True)
        expected = hashlib.sha256(name.encode() + b"\n" + data).digest()[:4]
        if len(data) != 33 or data[0] != 1 or key_id != expected.hex():
            raise ValueError("not an Ed25519 verifier key")
        return cls(name, expected, data[1:])


@dataclass(frozen=True)
class Note:
    """A signed note: its text, and what stands under it as (name, key id, signature)."""

    text: str
    signatures: tuple[tuple[str, bytes, bytes], ...]

    @classmethod
    def parse(cls, data: bytes) -> Note:
        """The note that `data` is; ValueError for anything else."""
        text, blank, lines = data.decode().rpartition("\n\n")
        if not blank or not lines.endswith("\n"):
            raise ValueError("not a signed note")
        signatures = []
        for line in lines[:-1].split("\n"):
            mark, _, rest = line.partition(" ")
            name, _, encoded = rest.partition(" ")
            octets = base64.b64decode(encoded, validate=True)
            if mark != "\u2014" or not name or len(octets) < 5:
                raise ValueError("not a signature line")
            signatures.append((name, octets[:4], octets[4:]))
        return cls(text + "\n", tuple(signatures))

    def check(self, keys: list[Key], what: str, size: int = 0) -> Key:
        """
        The key of `keys` that signed it; a known key's bad signature makes it a forgery.

        Where it is a checkpoint, `size` is how many entries it is of.
        """
        good = retired = None
        for name, key_id, signature in self.signatures:
            for key in keys:
                if (key.name, key.id) == (name, key_id):
                    if not is_signed(key.public, signature, self.text.encode()):
                        raise DamageError("signature.bad", f"the signature of {what} is not good")
                    if key.final_size is not None and key.final_size < size:
                        retired = key
                    else:
                        good = good or key
        if good is None and retired is not None:
            raise DamageError(
                "key.retired",
                f"{what} is of {size} entries and signed by key {retired.id.hex()}, which was "
                f"retired at {retired.final_size}",
            )
        if good is None:
            raise DamageError(
                "key.other",
                f"{what} is signed by another key than the one you trust: expected "
                f"{', '.join(f'{key.name} ({key.id.hex()})' for key in keys)}, found "
                f"{', '.join(f'{name} ({key_id.hex()})' for name, key_id, _ in self.signatures)}",
            )
        return good


@dataclass(frozen=True)
class Checkpoint:
    """Origin, size and root of a tree."""

    origin: str
    size: int
    root: bytes

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """What the text of a checkpoint states; ValueError for anything else."""
        origin, size, root, end = text.split("\n")
        octets = base64.b64decode(root, validate=True)
        if not re.fullmatch("0|[1-9][0-9]{0,18}", size) or len(octets) != 32 or end:
            raise ValueError("not a checkpoint")
        return cls(origin, int(size), octets)


def read_proof(text: str) -> tuple[int, list[bytes], Note]:
    """Index, hashes and checkpoint of a proof (C2SP tlog-proof); ValueError for anything else."""
    head, _, note = text.partition("\n\n")
    first, *lines = head.split("\n")
    if lines and lines[0].startswith("extra "):
        del lines[0]
    if first != "c2sp.org/tlog-proof@v1" or not lines or not lines[0].startswith("index "):
        raise ValueError("no proof of inclusion")
    hashes = [base64.b64decode(each, validate=True) for each in lines[1:]]
    return int(lines[0].removeprefix("index ")), hashes, Note.parse(note.encode())


def read_token(reply: bytes) -> tuple[bytes, str]:
    """
    What a timestamp (RFC 3161 Section 2.4.2, DER) is over, and its time; its signature is not read.

    ValueError and IndexError for anything else, also for another hash than SHA-256.
    """
    response = _children(_children(reply)[0])
    signed = _children(_children(_children(response[1])[1])[0])
    told = _children(_children(_children(_children(signed[2])[1])[0])[0])
    algorithm, digest = _children(told[2])
    if _children(algorithm)[0] != bytes.fromhex("608648016503040201"):
        raise ValueError("not over a SHA-256")
    year, month, day, hour, minute, second = re.findall("^....|..", told[4].decode()[:14])
    return digest, f"{year}-{month}-{day}T{hour}:{minute}:{second}Z"


def _children(content: bytes) -> list[bytes]:
    """The contents of the elements that some content is made of (X.690)."""
    found, at = [], 0
    while at < len(content):
        length, at = content[at + 1], at + 2
        if length & 0x80:
            octets = length & 0x7F
            length, at = int.from_bytes(content[at : at + octets], "big"), at + octets
        if at + length > len(content):
            raise ValueError("an element is cut short")
        found.append(content[at : at + length])
        at += length
    return found


# ---- Totals and tables: written by the service and recomputed here by the same code -----------


def canonical(value: Json) -> bytes:
    """RFC 8785 JSON of texts, whole numbers, lists and objects with ASCII names."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


class Totals:
    """
    How many entries of each kind and type there are, and how much money they moved.

    Amounts are added as they were recorded, exactly, each currency for itself: those of
    adjustments are signed, and nothing is netted.
    """

    def __init__(self) -> None:
        self._sums: dict[tuple[str, str, str, str], tuple[int, int, int]] = {}

    def add(
        self,
        kind: str,
        type_: str,
        currency: str | None,
        flow: str | None,
        *,
        count: int,
        amount: str | None,
    ) -> None:
        """Add `count` entries that moved `amount` together; None where they moved no money."""
        key = (kind, type_, currency or "", flow or "")
        before, minor, places = self._sums.get(key, (0, 0, 0))
        more = len(amount.partition(".")[2]) if amount else 0
        # A currency has one number of decimals; should that ever change, nothing is rounded.
        wider = max(places, more)
        minor *= 10 ** (wider - places)
        if amount:
            minor += int(amount.replace(".", "")) * 10 ** (wider - more)
        self._sums[key] = (before + count, minor, wider)

    def add_effect(self, effect: dict[str, Json]) -> None:
        """Add one entry, by what was recorded of it."""
        money = effect.get("money") or {}
        self.add(
            effect["kind"],
            effect["type"],
            money.get("currency"),
            money.get("flow"),
            count=1,
            amount=money.get("amount"),
        )

    def copy(self) -> Totals:
        """The same so far."""
        copied = Totals()
        copied._sums = dict(self._sums)
        return copied

    @property
    def count(self) -> int:
        """Entries in all."""
        return sum(count for count, _, _ in self._sums.values())

    def counts(self) -> dict[str, int]:
        """Entries by kind."""
        found: dict[str, int] = {}
        for (kind, *_), (count, _, _) in sorted(self._sums.items()):
            found[kind] = found.get(kind, 0) + count
        return found

    def lines(self) -> list[dict[str, Json]]:
        """By kind, type, currency and flow, in this order; without money, without these members."""
        found = []
        for (kind, type_, currency, flow), (count, minor, places) in sorted(self._sums.items()):
            line: dict[str, Json] = {"kind": kind, "type": type_, "count": count}
            if currency:
                line |= {"currency": currency, "flow": flow, "amount": _decimal(minor, places)}
            found.append(line)
        return found

    def sums(self) -> list[dict[str, Json]]:
        """Money by kind, currency and flow, as a close states it."""
        by_kind = Totals()
        for line in self.lines():
            if "currency" in line:
                by_kind.add(
                    line["kind"],
                    "",
                    line["currency"],
                    line["flow"],
                    count=line["count"],
                    amount=line["amount"],
                )
        return [
            {name: value for name, value in line.items() if name != "type"}
            for line in by_kind.lines()
        ]

    def hash(self) -> str:
        """SHA-256 over the canonical JSON of all lines, hexadecimal."""
        return hashlib.sha256(canonical(self.lines())).hexdigest()


def _decimal(minor: int, places: int) -> str:
    digits = f"{abs(minor):0{places + 1}d}"
    point = "." if places else ""
    whole = len(digits) - places
    return f"{'-' if minor < 0 else ''}{digits[:whole]}{point}{digits[whole:]}"


def signoff_of(entry: dict[str, Json]) -> str | None:
    """The decision that an entry records, where that signs a statement of a reconciliation."""
    effect = entry["effect"]
    if effect["kind"] != "notice" or effect["type"] != "recon.decided":
        return None
    data = effect["data"]
    return str(data["decision_id"]) if data["act"] == "signoff" else None


Row = list[str]

COLUMNS: dict[str, tuple[str, ...]] = {
    "entries": (
        *("seq", "id", "recorded_at", "occurred_at", "kind", "type", "poster", "actor"),
        *("subject", "business_key", "amount", "currency", "flow", "applied", "corrects"),
        *("reason", "late_for", "key", "entry_hash"),
    ),
    "corrections": (
        *("seq", "id", "kind", "type", "recorded_at", "reason", "amount", "currency", "flow"),
        *("applied", "corrector", "actor", "approver", "corrects_seq", "corrects", "corrects_kind"),
        *("corrects_type", "original_amount", "original_currency", "original_poster"),
        *("original_recorded_at", "days_between", "self_corrected", "self_approved"),
    ),
    "cutoff": ("seq", "id", "cut", "occurred_at", "recorded_at", "late_for", "kind", "type"),
    "totals": ("kind", "type", "currency", "flow", "count", "amount"),
    "posters": ("poster", "kind", "count"),
    "segregation": (
        *("original_poster", "corrector", "approver", "corrections", "self_corrected"),
        "self_approved",
    ),
}
"""Table -> its columns. The first three have a row per entry, the others follow at the end."""
STREAMED = ("entries", "corrections", "cutoff")

_CORRECTIONS = ("refund", "adjustment", "explanation")
_ACTIVE = frozenset("=+-@\t\r")
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")


def inert(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula; numbers stay numbers."""
    return "'" + cell if cell[:1] in _ACTIVE and not _NUMBER.fullmatch(cell) else cell


def csv_line(row: Iterable[str]) -> str:
    """One line of a table (RFC 4180, but for the line end)."""
    cells = [inert(cell) if cell else cell for cell in row]
    line = ",".join(cells)
    if line.count(",") >= len(cells) or '"' in line or "\r" in line or "\n" in line:
        line = ",".join(map(_quoted, cells))
    return line + "\n"


def _quoted(cell: str) -> str:
    if any(each in cell for each in '",\r\n'):
        return '"' + cell.replace('"', '""') + '"'
    return cell


class Tables:
    """What the tables of a bundle say of entries that are shown in order."""

    def __init__(self, from_at: str, to_at: str) -> None:
        self.totals = Totals()
        self._from_at = from_at
        self._to_at = to_at
        self._posters: dict[tuple[str, str], int] = {}
        self._segregation: dict[tuple[str, str, str, bool, bool], int] = {}

    def add(
        self, entry: dict[str, Json], entry_hash: str, original: dict[str, Json] | None
    ) -> list[tuple[str, Row]]:
        """
        The rows that follow from one entry, as (table, row).

        Args:
            entry: As it was recorded.
            entry_hash: Hexadecimal.
            original: The entry it corrects, where that stands in this ledger.
        """
        effect = entry["effect"]
        self.totals.add_effect(effect)
        poster = (entry["poster"], effect["kind"])
        self._posters[poster] = self._posters.get(poster, 0) + 1
        rows = [("entries", _entry_row(entry, effect, entry_hash))]
        if effect["kind"] in _CORRECTIONS:
            rows.append(("corrections", self._correction(entry, effect, original)))
        cut = self._cut(entry, effect)
        if cut:
            rows.append(("cutoff", _cut_row(entry, effect, cut)))
        return rows

    def final(self) -> list[tuple[str, list[Row]]]:
        """The tables that sum up, as (table, rows)."""
        posters = [[poster, kind, str(n)] for (poster, kind), n in sorted(self._posters.items())]
        totals = [
            [str(line.get(column, "")) for column in COLUMNS["totals"]]
            for line in self.totals.lines()
        ]
        segregation = [
            [original, corrector, approver, str(count), _yes(corrected), _yes(approved)]
            for (original, corrector, approver, corrected, approved), count in sorted(
                self._segregation.items()
            )
        ]
        return [("totals", totals), ("posters", posters), ("segregation", segregation)]

    def _correction(
        self, entry: dict[str, Json], effect: dict[str, Json], original: dict[str, Json] | None
    ) -> Row:
        money, corrector = effect.get("money") or {}, entry["poster"]
        approver = (effect.get("approval") or {}).get("by", "")
        said = (original or {}).get("effect") or {}
        poster = (original or {}).get("poster", "")
        corrected, approved = poster == corrector, approver in {corrector, poster} - {""}
        key = (poster, corrector, approver, corrected, approved)
        self._segregation[key] = self._segregation.get(key, 0) + 1
        was = said.get("money") or {}
        return [
            *(str(entry["seq"]), entry["id"], effect["kind"], effect["type"], entry["recorded_at"]),
            *(effect.get("reason", ""), money.get("amount", ""), money.get("currency", "")),
            *(money.get("flow", ""), money.get("applied", ""), corrector),
            *((effect.get("actor") or {}).get("id", ""), approver),
            *("" if original is None else str(original["seq"]), _target(effect)),
            *(said.get("kind", ""), said.get("type", "")),
            *(was.get("amount", ""), was.get("currency", ""), poster),
            *((original or {}).get("recorded_at", ""), _days(original, entry)),
            *(_yes(corrected), _yes(approved)),
        ]

    def _cut(self, entry: dict[str, Json], effect: dict[str, Json]) -> str:
        if effect["kind"] == "notice":
            return ""
        if "late_for" in entry:
            return "late"
        if effect["occurred_at"] >= self._to_at:
            return "early"
        return "earlier" if effect["occurred_at"] < self._from_at else ""


def _entry_row(entry: dict[str, Json], effect: dict[str, Json], entry_hash: str) -> Row:
    money = effect.get("money") or {}
    return [
        *(str(entry["seq"]), entry["id"], entry["recorded_at"], effect["occurred_at"]),
        *(effect["kind"], effect["type"], entry["poster"]),
        *((effect.get("actor") or {}).get("id", ""), effect.get("subject", "")),
        *(effect.get("business_key", ""), money.get("amount", ""), money.get("currency", "")),
        *(money.get("flow", ""), money.get("applied", ""), _target(effect)),
        *(effect.get("reason", ""), entry.get("late_for", ""), effect["key"], entry_hash),
    ]


def _cut_row(entry: dict[str, Json], effect: dict[str, Json], cut: str) -> Row:
    times = (effect["occurred_at"], entry["recorded_at"], entry.get("late_for", ""))
    return [str(entry["seq"]), entry["id"], cut, *times, effect["kind"], effect["type"]]


def _target(effect: dict[str, Json]) -> str:
    external = effect.get("corrects_external")
    if external:
        return f"{external['system']}:{external['ref']}"
    return str(effect.get("corrects") or effect.get("corrects_key") or "")


def _days(original: dict[str, Json] | None, entry: dict[str, Json]) -> str:
    if original is None:
        return ""
    first, second = (
        datetime.fromisoformat(each["effect"]["occurred_at"][:19]) for each in (original, entry)
    )
    return str((second - first).days)


def _yes(value: bool) -> str:
    return "yes" if value else "no"


# ---- A bundle on disk ----------------------------------------------------------------------------


@dataclass
class Bundle:
    """A directory that says it is a bundle."""

    base: Path
    manifest: dict[str, Json]
    manifest_bytes: bytes
    files: dict[str, dict[str, Json]] = field(default_factory=dict)
    packed: Path | None = None
    """The .zip file that it was unpacked from; its envelope is beside it."""

    @classmethod
    def open(cls, base: Path, packed: Path | None = None) -> Bundle:
        """Read the manifest; nothing of it is checked yet."""
        path = base / "manifest.json"
        if not path.is_file():
            raise DamageError("manifest.missing", f"there is no manifest.json in {base}")
        data = _read_small(path)
        manifest = _parse(data, "manifest.unreadable", "manifest.json")
        bundle = cls(base, manifest, data, packed=packed)
        if manifest.get("format") != FORMAT:
            raise DamageError(
                "manifest.format",
                f"manifest.json is of format {str(manifest.get('format'))[:80]!r}; this verifier "
                f"reads {FORMAT!r}: use the verify.py that came with the bundle",
            )
        try:
            for each in manifest["files"]:
                bundle.files[_safe(each["path"])] = each
        except MALFORMED as error:
            raise DamageError("manifest.unreadable", "manifest.json lists no files") from error
        return bundle

    def read(self, path: str) -> bytes:
        """A small file of the bundle, whole."""
        if path not in self.files:
            raise DamageError("file.missing", f"manifest.json does not list {path}")
        found = self.base / path
        if not found.is_file() or found.is_symlink():
            raise DamageError("file.missing", f"{path} is missing")
        return _read_small(found)

    def added(self, name: str) -> bytes | None:
        """A file that was added after signing: in envelope/, or beside the .zip; None without."""
        found = self.base / ENVELOPE / name
        if self.packed is not None and not found.exists():
            found = self.packed.with_name(f"{self.packed.stem}.{name}")
        return _read_small(found) if found.is_file() and not found.is_symlink() else None

    def lines(self, path: str) -> Iterator[bytes]:
        """The lines of a file of the bundle, without their ends."""
        found = self.base / path
        if not found.is_file() or found.is_symlink():
            raise DamageError("file.missing", f"{path} is missing")
        with found.open("rb") as file:
            while line := file.readline(LINE_BYTES_MAX + 1):
                if len(line) > LINE_BYTES_MAX:
                    raise DamageError("file.changed", f"{path} has a line of over 4 MiB")
                yield line.removesuffix(b"\n")


def _safe(path: Json) -> str:
    if not isinstance(path, str) or not _is_path(path):
        raise DamageError("manifest.unreadable", f"manifest.json names {str(path)[:80]!r}: no path")
    return path


def _is_path(path: str) -> bool:
    """Whether it leads to a place below where it begins, on every system the same."""
    # Before anything is made of it: of a path of 64 KiB the directories alone fill a memory.
    if len(path.encode()) > PATH_BYTES_MAX:
        return False
    parts = PurePosixPath(path).parts
    return (
        0 < len(parts) <= PATH_PARTS_MAX
        and all(len(part.encode()) <= PART_BYTES_MAX for part in parts)
        and not path.startswith("/")
        and not any(each in path for each in "\\:\0")
        and not any(part in {"..", "."} for part in parts)
        and str(PurePosixPath(path)) == path
    )


def _read_small(path: Path) -> bytes:
    if path.stat().st_size > SMALL_FILE_BYTES_MAX:
        raise DamageError("file.changed", f"{path.name} has over 64 MiB")
    return path.read_bytes()


def _parse(data: bytes, code: str, what: str) -> dict[str, Json]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DamageError(code, f"{what} cannot be read as JSON") from error
    if not isinstance(value, dict):
        raise DamageError(code, f"{what} is no JSON object")
    return value


def _hashes(value: Json, code: str, what: str) -> list[bytes]:
    try:
        hashes = [bytes.fromhex(each) for each in value]
    except (TypeError, ValueError) as error:
        raise DamageError(code, f"{what} is no list of hashes") from error
    if any(len(each) != 32 for each in hashes):
        raise DamageError(code, f"{what} has a hash that is not of 32 bytes")
    return hashes


# ---- The verification ----------------------------------------------------------------------------


@dataclass
class Verdict:
    """What was found."""

    findings: list[DamageError] = field(default_factory=list)
    unrelated: list[DamageError] = field(default_factory=list)
    """Why a receipt or another bundle that was given beside this one says nothing of it."""
    checked: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    """What was asked for and cannot be said of this bundle."""
    entries: int = 0
    reviews: list[dict[str, Json]] = field(default_factory=list)
    """Who confirmed the close with a key of their own: reviewer, seq, recorded_at."""
    token: bytes | None = None
    """RFC 3161 timestamp of the manifest, where there is one."""
    manifest_bytes: bytes = b""
    trusted: bool = False
    complete: bool = False
    """All entries of the period are there, as its manifest says."""
    empty: bool = False
    """A selection of no entries: nothing in it speaks for anything."""

    @property
    def first(self) -> DamageError | None:
        """The finding that explains most."""
        return min(self.findings, key=lambda each: RANKS.index(each.code), default=None)

    @property
    def is_other(self) -> bool:
        """Whether this is no bundle of a format that is known here, and nothing else was found."""
        return [each.code for each in self.findings] == ["manifest.format"]

    @property
    def code(self) -> int:
        """Exit code."""
        if self.findings and not self.is_other:
            return BAD
        is_shown = self.trusted and not (self.empty or self.is_other or self.unrelated)
        return GOOD if is_shown else UNKNOWN


class Verification:
    """One bundle, looked at from every side; what is bad is collected and does not end it."""

    def __init__(
        self,
        bundle: Bundle,
        keys: list[Key],
        *,
        progress: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> None:
        """
        Look at `bundle`.

        Args:
            bundle: As it was opened.
            keys: Of the ledger, got by another channel; without any, the bundle's own is taken,
                and the verdict says so.
            progress: Told how many entries were read, of how many.
        """
        self.bundle = bundle
        self.manifest = bundle.manifest
        complete = bundle.manifest.get("complete") is True
        self.verdict = Verdict(trusted=bool(keys), complete=complete)
        self.keys = list(keys)
        self._progress = progress
        self.offsets = array("Q")
        """Where each line of entries.jsonl begins: eight bytes for each that was read."""
        self._signoffs: dict[str, dict[str, Json]] = {}
        """Decisions that sign statements -> the entries that record them."""

    def run(
        self, previous: Bundle | None = None, receipts: Iterable[tuple[str, bytes]] = ()
    ) -> Verdict:
        """Check everything, and say what was found."""
        steps: list[tuple[str | None, Callable[[], object]]] = [
            ("the signature over the manifest", self._signature),
            ("every file's size and hash, and that there is no other", self._files),
            ("the close of the period", self._close),
            (None, self._evidence),
            (None, self._reviews),
            (None, self._timestamp),
        ]
        if previous is not None:
            steps.append((JOINED, partial(self._previous, previous)))
        for name, receipt in receipts:
            said = f"that the bundle has the entry of {name}"
            steps.append((said, partial(self._receipt, name, receipt)))
        for what, step in steps:
            left = len(self.verdict.left)
            if self._try_all(step) and what and len(self.verdict.left) == left:
                self.verdict.checked.append(what)
        return self.verdict

    def _try_all(self, step: Callable[[], object]) -> bool:
        """Whether nothing was found by a step that may find several things."""
        before = len(self.verdict.findings) + len(self.verdict.unrelated)
        self._try(step)
        return len(self.verdict.findings) + len(self.verdict.unrelated) == before

    def _try(self, step: Callable[[], object]) -> bool:
        try:
            step()
        except DamageError as damage:
            self._bad(damage)
            return False
        except (*MALFORMED, OSError) as error:
            # A record that is not in its form; which one, the file hashes tell as well.
            self._bad(
                DamageError(
                    "manifest.unreadable" if isinstance(error, KeyError) else "file.changed",
                    f"a record is not in its form ({type(error).__name__}: {str(error)[:120]})",
                )
            )
            return False
        return True

    def _bad(self, damage: DamageError) -> None:
        told = self.verdict.unrelated if damage.code in UNRELATED else self.verdict.findings
        # A file that is missing is met from more than one side.
        if all(damage.message != each.message for each in told):
            told.append(damage)

    # ---- Signature and files ----

    def _signature(self) -> None:
        origin = str(self.manifest.get("origin"))
        if not self.keys:
            self.keys = [Key.parse(str(self.manifest["vkey"]))]
        elif all(key.name != origin for key in self.keys):
            raise DamageError(
                "ledger.other",
                f"this bundle is of ledger {origin}, and the key you trust is of "
                f"{', '.join(key.name for key in self.keys)}",
            )
        history = self._read_history()
        self._follow(history)
        path = self.bundle.base / "manifest.sig"
        if not path.is_file():
            raise DamageError("file.missing", "manifest.sig is missing: nobody signed this")
        try:
            note = Note.parse(_read_small(path))
        except (ValueError, UnicodeDecodeError) as error:
            raise DamageError("signature.bad", "manifest.sig is no signed note") from error
        note.check(self.keys, "the manifest")
        digest = hashlib.sha256(self.bundle.manifest_bytes).hexdigest()
        if note.text != f"{SIGNED}\n{origin}\n{digest}\n":
            raise DamageError(
                "manifest.edited", "manifest.json is not the one that was signed: it was edited"
            )
        self._look_back(history)

    def _read_history(self) -> list[tuple[Key, Note | None]]:
        """The keys of the log as the bundle tells them, oldest first, and who vouched for each."""
        if KEY_HISTORY not in self.bundle.files:
            return []
        try:
            told = _parse(self.bundle.read(KEY_HISTORY), "key.history", KEY_HISTORY)
            found = {told["first"]: (Key.parse(told["first"]), None)}
            vkeys = {found[told["first"]][0].id.hex(): told["first"]}
            keys: dict[str, tuple[Key, Note | None]] = dict(found)
            for notice in told["notices"]:
                effect = json.loads(notice)["effect"]
                data = effect["data"]
                if data["purpose"] != "log" or data["origin"] != self.manifest["origin"]:
                    continue
                if effect["type"] == "key.added":
                    vkey = vkeys.setdefault(data["key_id"], data["public_key"])
                    text = f"{ENDORSED}\n{data['origin']}\n{vkey}\n"
                    lines = "".join(f"{line}\n" for line in data.get("endorsements", ()))
                    note = Note.parse(f"{text}\n{lines}".encode()) if lines else None
                    keys.setdefault(vkey, (Key.parse(vkey), note))
                elif effect["type"] == "key.retired" and data["key_id"] in vkeys:
                    key, note = keys[vkeys[data["key_id"]]]
                    # The first word stands: a key that was retired is not retired later.
                    if key.final_size is None:
                        key = replace(key, final_size=data["final_size"])
                        keys[vkeys[data["key_id"]]] = (key, note)
        except MALFORMED as error:
            raise DamageError("key.history", f"{KEY_HISTORY} is no history of keys") from error
        return list(keys.values())

    def _follow(self, history: list[tuple[Key, Note | None]]) -> None:
        """From the keys that are trusted to those they vouched for; nothing else is believed."""
        for key, endorsement in history:
            known = [each for each in self.keys if each.id == key.id and each.name == key.name]
            if known:
                bound = key.final_size if known[0].final_size is None else known[0].final_size
                self.keys[self.keys.index(known[0])] = replace(known[0], final_size=bound)
            elif endorsement is not None and self._is_vouched(endorsement):
                self.keys.append(key)
                self.verdict.checked.append(
                    f"that key {key.id.hex()} followed: a key you trust signed that it does"
                )

    def _is_vouched(self, endorsement: Note) -> bool:
        trusted = {(key.name, key.id): key for key in self.keys}
        return any(
            (name, key_id) in trusted
            and is_signed(trusted[name, key_id].public, signature, endorsement.text.encode())
            for name, key_id, signature in endorsement.signatures
        )

    def _look_back(self, history: list[tuple[Key, Note | None]]) -> None:
        """The manifest is signed by a key that is trusted, and names the keys before it."""
        older = [key for key, _ in history if all(key.id != each.id for each in self.keys)]
        if not older:
            return
        stated = self.bundle.files[KEY_HISTORY]["sha256"]
        if hashlib.sha256(self.bundle.read(KEY_HISTORY)).hexdigest() != stated:
            # Told with the files; what it says is not believed.
            return
        self.keys += older
        self.verdict.checked += [
            f"that key {key.id.hex()} came before: a manifest signed by a key you trust says so"
            for key in older
        ]

    def _files(self) -> None:
        for path, stated in sorted(self.bundle.files.items()):
            self._try(partial(self._file, path, stated))
        for path in sorted(_walk(self.bundle.base)):
            if (
                path not in self.bundle.files
                and path not in UNSIGNED
                and not path.startswith(ENVELOPE)
            ):
                self._bad(
                    DamageError("file.added", f"{path[:200]} is not in the manifest: it was added")
                )

    def _file(self, path: str, stated: dict[str, Json]) -> None:
        found = self.bundle.base / path
        if found.is_symlink() or not found.is_file():
            raise DamageError("file.missing", f"{path} is missing")
        size, rows, digest = 0, 0, hashlib.sha256()
        with found.open("rb") as file:
            while chunk := file.read(1 << 20):
                size += len(chunk)
                rows += chunk.count(b"\n")
                digest.update(chunk)
        if size < stated["bytes"]:
            raise DamageError(
                "file.truncated",
                f"{path} is cut short: {size} of {stated['bytes']} bytes are there",
            )
        if digest.hexdigest() != stated["sha256"]:
            raise DamageError("file.changed", f"{path} was changed: its hash is not the signed one")
        if "rows" in stated and rows != stated["rows"] + stated.get("heading", 0):
            raise DamageError("file.rows", f"{path} has not the {stated['rows']} rows it states")

    # ---- The close, checkpoints, the tree ----

    def _close(self) -> None:
        self.close_bytes = self.bundle.read("close.json")
        entry = _parse(self.close_bytes, "close.wrong", "close.json")
        stated, period, span = (
            self.manifest["close"],
            self.manifest["period"],
            self.manifest["range"],
        )
        data = entry["effect"]["data"]
        self.close, self.data = entry, data
        expected = {
            "the manifest's close": (stated["entry_hash"], leaf_hash(self.close_bytes).hex()),
            "its number": (span["to_seq"] + 1, entry["seq"]),
            "its ledger": (self.manifest["ledger"], entry["ledger"]),
            "its type": ("period.closed", entry["effect"]["type"]),
            "its kind": ("notice", entry["effect"]["kind"]),
            "the period": (
                (period["name"], period["from_at"], period["to_at"]),
                (data["name"], data["from_at"], data["to_at"]),
            ),
            "the range": ((span["from_seq"], span["to_seq"]), (data["from_seq"], data["to_seq"])),
            "the root": (self.manifest["root"], data["root"]),
        }
        for what, (wanted, found) in expected.items():
            if wanted != found:
                raise DamageError(
                    "close.wrong", f"close.json is not the close this bundle is of: {what} differs"
                )

    def _find_checkpoint(self, which: str, found: dict[str, Checkpoint | None]) -> None:
        found[which] = self._checkpoint(which)

    def _checkpoint(self, which: str) -> Checkpoint | None:
        stated = self.manifest["checkpoints"][which]
        if stated is None:
            return None
        data = self.bundle.read(stated["path"])
        if hashlib.sha256(data).hexdigest() != self.bundle.files[stated["path"]]["sha256"]:
            raise DamageError(
                "checkpoint.replaced",
                f"{stated['path']} is not the checkpoint that was signed with this bundle: it was "
                "replaced",
            )
        try:
            note = Note.parse(data)
            checkpoint = Checkpoint.parse(note.text)
        except (ValueError, UnicodeDecodeError) as error:
            raise DamageError(
                "checkpoint.bad", f"{stated['path']} is no signed checkpoint"
            ) from error
        note.check(self.keys, stated["path"], checkpoint.size)
        if (checkpoint.origin, checkpoint.size) != (self.manifest["origin"], stated["size"]):
            raise DamageError(
                "checkpoint.bad",
                f"{stated['path']} is of {checkpoint.origin} at {checkpoint.size}, not of "
                f"{self.manifest['origin']} at {stated['size']}",
            )
        return checkpoint

    def _evidence(self) -> None:
        found: dict[str, Checkpoint | None] = {}
        for which in ("before", "after"):
            self._try(partial(self._find_checkpoint, which, found))
        if len(found) == 2 and hasattr(self, "close"):
            self.verdict.checked.append("the checkpoints before and after, and who signed them")
        if not hasattr(self, "close"):
            self.verdict.notes.append("entries were not checked: the close is not readable")
            return
        proofs = _parse(self.bundle.read("proofs/range.json"), "tree.start", "proofs/range.json")
        if self.manifest["complete"]:
            self._whole(found, proofs)
        else:
            self._selected(found, proofs)

    def _whole(self, found: dict[str, Checkpoint | None], proofs: dict[str, Json]) -> None:
        span = self.manifest["range"]
        frontier = Frontier(
            span["from_seq"], _hashes(proofs["frontier"], "tree.start", "the start of the tree")
        )
        before, after = found.get("before"), found.get("after")
        place = _InOrder(self.manifest, self.close, frontier, before)
        if not self._try(partial(self._stream, place)):
            self.verdict.notes.append(
                "tables and totals were not compared: the entries are damaged"
            )
            return
        root = frontier.root()
        if root.hex() != self.data["root"]:
            raise DamageError(
                "tree.start",
                "the entries do not lead to the root in the close: the start of the tree is wrong",
            )
        place.append(leaf_hash(self.close_bytes))
        end, size = frontier.root(), frontier.size
        if after is not None and not is_consistent(
            size, after.size, end, after.root, _hashes(proofs["after"], "tree.end", "proof after")
        ):
            raise DamageError(
                "tree.end", "the checkpoint after the period is not of a tree with these entries"
            )
        if before is not None:
            joined = place.root_before == before.root or (
                is_consistent(
                    size,
                    before.size,
                    end,
                    before.root,
                    _hashes(proofs.get("before", []), "tree.before", "proof before"),
                )
                and before.size > size
            )
            if not joined:
                raise DamageError(
                    "tree.before",
                    "the checkpoint before the period is not of a tree that these entries continue",
                )
        self.verdict.checked.append(
            "every entry's hash, the chain, and the tree at both ends: nothing was left out"
        )
        if after is not None:
            self._try(partial(self._statements, after))

    def _selected(self, found: dict[str, Checkpoint | None], proofs: dict[str, Json]) -> None:
        after = found.get("after")
        if after is None:
            raise DamageError("checkpoint.bad", "there is no checkpoint to prove the entries under")
        close = _hashes(proofs["close"], "inclusion.bad", "proof of the close")
        if (
            root_from_inclusion(leaf_hash(self.close_bytes), self.close["seq"], after.size, close)
            != after.root
        ):
            raise DamageError("inclusion.bad", "the close is not in the tree that was signed")
        self.verdict.empty = self.manifest["entries"] == 0
        if self._try(partial(self._stream, _Selected(self.bundle, after))):
            self.verdict.checked.append("every entry's hash and its proof of inclusion")
        self.verdict.notes.append(
            "completeness is not claimed: this is a selection, by "
            + json.dumps(self.manifest["filter"])
        )

    # ---- Who reviewed the close ----

    def _reviews(self) -> None:
        """Entries after the close by which others confirmed it, each with its own proof."""
        for number, line in enumerate((self.bundle.added(REVIEWS) or b"").splitlines(), 1):
            try:
                self.verdict.reviews.append(self._review(line))
            except MALFORMED as error:
                raise DamageError(
                    "review.bad", f"line {number} of {REVIEWS} is no receipt of a review"
                ) from error
        confirmed = {each["reviewer"] for each in self.verdict.reviews}
        self.verdict.checked += [
            f"that {each['reviewer']} confirmed the close with a key of their own: entry "
            f"{each['seq']}, at {each['recorded_at']}"
            for each in self.verdict.reviews
        ]
        named = self.manifest["close"].get("reviewer")
        if named is not None and named not in confirmed:
            self.verdict.notes.append(
                f"{named} reviewed the close by the word of its preparer; nothing here shows that "
                "they confirmed it with a key of their own"
            )

    def _review(self, line: bytes) -> dict[str, Json]:
        receipt = json.loads(line)
        encoded = receipt["entry"].encode()
        entry = json.loads(encoded)
        effect, close = entry["effect"], self.manifest["close"]
        data = effect["data"]
        about = (data["close"], data["close_hash"], entry["ledger"])
        if (effect["kind"], effect["type"]) != ("notice", "period.reviewed") or about != (
            close["id"],
            close["entry_hash"],
            self.manifest["ledger"],
        ):
            raise DamageError("review.bad", "a review in envelope/ is of another close")
        if data["reviewer"] == close["preparer"]:
            raise DamageError(
                "review.bad", f"{data['reviewer']} prepared the close, and reviewed it too"
            )
        index, hashes, note = read_proof(receipt["proof"])
        checkpoint = Checkpoint.parse(note.text)
        note.check(self.keys, "the checkpoint of a review", checkpoint.size)
        root = root_from_inclusion(leaf_hash(encoded), index, checkpoint.size, hashes)
        if (
            root != checkpoint.root
            or index != entry["seq"]
            or checkpoint.origin != self.manifest["origin"]
        ):
            raise DamageError(
                "review.bad", f"the review by {data['reviewer']} is not in the tree that was signed"
            )
        told = {name: entry[name] for name in ("seq", "recorded_at")}
        return {"reviewer": data["reviewer"], **told}

    def _timestamp(self) -> None:
        """A timestamp that was added is of this manifest; whose it is, others say."""
        token = self.bundle.added(TIMESTAMP)
        if token is None:
            return
        try:
            digest, at = read_token(token)
        except MALFORMED as error:
            raise DamageError("timestamp.bad", f"{TIMESTAMP} is no timestamp (RFC 3161)") from error
        if digest != hashlib.sha256(self.bundle.manifest_bytes).digest():
            raise DamageError(
                "timestamp.bad", f"{TIMESTAMP} is a timestamp of something else than this manifest"
            )
        self.verdict.token, self.verdict.manifest_bytes = token, self.bundle.manifest_bytes
        self.verdict.notes.append(f"{TIMESTAMP} says that this manifest was there at {at}")
        self.verdict.left.append(STAMPED)

    # ---- Statements of reconciliations ----

    def _statements(self, after: Checkpoint) -> None:
        """Every statement proves to zero under a checkpoint of this tree, and who signed it."""
        if STATEMENTS not in self.bundle.files:
            if self._signoffs:
                self.verdict.notes.append(
                    f"{len(self._signoffs)} statements of reconciliations were signed in this "
                    "period, and the bundle was made without them"
                )
            return
        index = _parse(self.bundle.read(STATEMENTS), "statement.unreadable", STATEMENTS)
        lost = {each["decision"] for each in index["lost"]}
        shown: set[str] = set()
        good = 0
        for stated in index["statements"]:
            statement = _Statement(self.bundle, stated, self._signoffs)
            good += self._try(partial(statement.check, after))
            shown |= statement.decisions
            if not statement.decisions:
                self.verdict.notes.append(
                    f"{stated['path']} is unsigned: nobody had reviewed it when the period was "
                    "closed"
                )
        for decision, entry in self._signoffs.items():
            if decision in lost:
                self.verdict.notes.append(
                    f"entry {entry['seq']} records that a statement was signed, and what was "
                    "signed is declared lost"
                )
            elif decision not in shown:
                self._bad(
                    DamageError(
                        "statement.missing",
                        f"the statement whose signature entry {entry['seq']} records is missing",
                    )
                )
        if good:
            self.verdict.left += FIGURES
        if good and good == len(index["statements"]):
            self.verdict.checked.append(
                f"{good} statements of reconciliations: their sums, the tree they are about, and "
                "who signed them"
            )

    # ---- Entries, with everything that goes along with them ----

    def _stream(self, place: _InOrder | _Selected) -> None:
        period, total = self.manifest["period"], self.manifest["entries"]
        tables = Tables(period["from_at"], period["to_at"])
        with ExitStack() as opened:
            compared = opened.enter_context(_Compared(self.bundle))
            attached = _Attached(self.bundle)
            originals = opened.enter_context(_Originals(self, place))
            posters = _Posters(self.bundle)
            lines = self.bundle.lines("entries.jsonl")
            number, offset = 0, 0
            for number, line in enumerate(lines, 1):
                entry, digest = self._entry(line, number), leaf_hash(line)
                place.check(entry, digest, number, lines)
                posters.check(entry)
                decision = signoff_of(entry)
                if decision is not None:
                    self._signoffs[decision] = entry | {"hash": digest.hex()}
                self.offsets.append(offset)
                offset += len(line) + 1
                if attached.active:
                    attached.active = self._try(partial(attached.check, entry))
                compared.rows(tables.add(entry, digest.hex(), originals.of(entry)))
                self._take(compared)
                self.verdict.entries = number
                if number % PROGRESS_EVERY == 0:
                    self._progress(number, total)
            place.end(number)
            self._progress(number, total)
            if attached.active and self._try(attached.end) and attached.count:
                self.verdict.checked.append(f"{attached.count} payloads against their commitments")
            if compared.active:
                compared.end(tables.final())
                self._take(compared)
            if compared.active:
                self.verdict.checked.append("every table, row by row, against the entries")
            self._try(partial(self._totals, tables.totals))
            self.verdict.checked += posters.checked()
            self.verdict.notes += posters.notes()

    def _take(self, compared: _Compared) -> None:
        """Keep what a table differs in; after the first difference nothing more is compared."""
        if compared.damage is not None:
            self._bad(compared.damage)
            compared.damage, compared.active = None, False

    def _entry(self, line: bytes, number: int) -> dict[str, Json]:
        if len(line) > ENTRY_BYTES_MAX:
            raise DamageError("entry.unreadable", f"line {number} of entries.jsonl is too long")
        entry = _parse(line, "entry.unreadable", f"line {number} of entries.jsonl")
        seq = entry.get("seq")
        if type(seq) is not int or not isinstance(entry.get("effect"), dict):
            raise DamageError("entry.unreadable", f"line {number} of entries.jsonl is no entry")
        if entry.get("ledger") != self.manifest["ledger"]:
            raise DamageError(
                "entry.other-ledger",
                f"entry {seq} is of ledger {str(entry.get('ledger'))[:63]}, not of "
                f"{self.manifest['ledger']}",
            )
        return entry

    def _totals(self, totals: Totals) -> None:
        stated = self.manifest["totals"]
        if stated != totals.lines():
            raise DamageError(
                "manifest.totals", "the totals in the manifest are not those of the entries"
            )
        if self.manifest["complete"]:
            told = (
                self.data["counts"],
                self.data.get("sums", totals.sums()),
                self.data["totals_hash"],
            )
            if told != (totals.counts(), totals.sums(), totals.hash()):
                raise DamageError(
                    "close.wrong", "the close states other totals than the entries have"
                )
        self.verdict.checked.append("totals, added up anew from the entries")

    # ---- Other bundles, receipts ----

    def _previous(self, other: Bundle) -> None:
        before = Verification(other, list(self.keys))
        for step in (before._signature, before._close):
            if not before._try(step):
                raise DamageError(
                    "previous.bad", f"the previous bundle: {before.verdict.findings[0].message}"
                )
        mine, theirs = self.manifest["range"], other.manifest["range"]
        stated = self.manifest["previous"] or {}
        if other.manifest["origin"] != self.manifest["origin"]:
            raise DamageError(
                "previous.other", f"the previous bundle is of {other.manifest['origin']}"
            )
        is_named = stated.get("entry_hash") == other.manifest["close"]["entry_hash"]
        if is_named and theirs["to_seq"] + 1 != mine["from_seq"]:
            raise DamageError(
                "previous.forked",
                "the histories differ: this bundle names the close of the previous one, which "
                f"ends with entry {theirs['to_seq']}, and begins with {mine['from_seq']}",
            )
        if theirs["to_seq"] + 1 < mine["from_seq"]:
            raise DamageError(
                "previous.gap",
                f"there is a gap: the previous bundle ends with entry {theirs['to_seq']} and its "
                f"close, this one begins with {mine['from_seq']}",
            )
        if theirs["to_seq"] + 1 > mine["from_seq"]:
            raise DamageError(
                "previous.overlap",
                f"the bundles overlap: the previous one ends with entry {theirs['to_seq']}, this "
                f"one begins with {mine['from_seq']}",
            )
        if not is_named:
            raise DamageError(
                "previous.forked",
                "the histories differ: the previous bundle ends with another close than the one "
                "that this bundle names",
            )
        if self.manifest["complete"]:
            self._joint(other)
        else:
            self.verdict.left.append(NOT_JOINED)
        digest = hashlib.sha256(other.manifest_bytes).hexdigest()
        if stated.get("manifest_hash") not in {None, digest}:
            self.verdict.notes.append(
                "the previous bundle is not the copy whose manifest this one names: it was made "
                "again, after an erasure or for another reader; both are joined by the close"
            )

    def _joint(self, other: Bundle) -> None:
        """The close before is the first entry here, and its tree is the one that is continued."""
        start = self.manifest["range"]["from_seq"]
        first = leaf_hash(next(self.bundle.lines("entries.jsonl"), b"")).hex()
        if first != other.manifest["close"]["entry_hash"]:
            raise DamageError(
                "previous.forked",
                f"the histories differ: entry {start}, with which this bundle begins, is not the "
                "close with which the previous one ends",
            )
        proofs = _parse(self.bundle.read("proofs/range.json"), "tree.start", "proofs/range.json")
        hashes = _hashes(proofs["frontier"], "tree.start", "the start of the tree")
        if Frontier(start, hashes).root().hex() != other.manifest["root"]:
            raise DamageError(
                "previous.forked",
                f"the histories differ: this bundle continues another tree of {start} entries than "
                "the one with which the previous one ends",
            )

    def _receipt(self, name: str, data: bytes) -> None:
        """A receipt that proves itself has its entry here; any other says nothing of the bundle."""
        try:
            entry, seq = self._proved_receipt(data)
        except DamageError as damage:
            raise DamageError("receipt.bad", f"{name} is bad: {damage.message}") from damage
        except MALFORMED as error:
            raise DamageError("receipt.bad", f"{name} is no receipt") from error
        span = self.manifest["range"]
        if not span["from_seq"] <= seq <= span["to_seq"] + 1:
            raise DamageError("receipt.other", f"{name} is of entry {seq}, outside this period")
        is_there, mark = self.manifest["complete"], f'"seq":{seq},'.encode()
        lines = self.bundle.lines("entries.jsonl")
        for line in lines if seq <= span["to_seq"] else [self.bundle.read("close.json")]:
            if line == entry:
                return
            # The mark may stand in an effect's own data too.
            is_there = is_there or (mark in line and json.loads(line)["seq"] == seq)
        if not is_there:
            self.verdict.left.append(f"{name}: entry {seq} is not in this selection")
            return
        raise DamageError(
            "receipt.forked",
            f"{name} proves another entry {seq} than this bundle has: the ledger signed two",
        )

    def _proved_receipt(self, data: bytes) -> tuple[bytes, int]:
        """The entry of a receipt, and its number, after its own proof and signature held."""
        if data.startswith(PROOF):
            proof = data.decode()
            extra = proof.split("\n")[1].removeprefix("extra ")
            entry = base64.b64decode(extra, validate=True)
        else:
            told = json.loads(data)
            told = told.get("receipt", told)
            proof, entry = told["proof"], told["entry"].encode()
        if not proof:
            raise DamageError("receipt.bad", "nobody signed it, so it proves nothing")
        index, hashes, note = read_proof(proof)
        checkpoint = Checkpoint.parse(note.text)
        origin = self.manifest["origin"]
        if checkpoint.origin != origin:
            raise DamageError("receipt.bad", f"it is of {checkpoint.origin}, not of {origin}")
        note.check(self.keys, "its checkpoint", checkpoint.size)
        root = root_from_inclusion(leaf_hash(entry), index, checkpoint.size, hashes)
        seq: int = json.loads(entry)["seq"]
        if root != checkpoint.root or index != seq:
            raise DamageError("receipt.bad", "its entry is not in the tree that was signed")
        return entry, seq


class _InOrder:
    """All entries of a period: each follows the one before it, and all lead to one tree."""

    def __init__(
        self,
        manifest: dict[str, Json],
        close: dict[str, Json],
        frontier: Frontier,
        before: Checkpoint | None,
    ) -> None:
        self.root_before: bytes | None = None
        """Root at the size of the checkpoint before, once that was passed."""
        self.first = self._expected = manifest["range"]["from_seq"]
        self._last = manifest["range"]["to_seq"]
        self._close = close
        self._frontier = frontier
        self._before = before
        self._previous: bytes | None = None
        self._recorded_at = ""

    def check(
        self, entry: dict[str, Json], digest: bytes, number: int, rest: Iterator[bytes]
    ) -> None:
        """The next entry."""
        seq = entry["seq"]
        if seq != self._expected:
            raise self._misplaced(seq, number, rest)
        if self._previous is not None and entry["prev"] != self._previous.hex():
            raise _changed(seq - 1, seq)
        if entry["recorded_at"] < self._recorded_at:
            raise DamageError("entry.time", f"entry {seq} was recorded before the one before it")
        self._expected, self._previous = seq + 1, digest
        self._recorded_at = entry["recorded_at"]
        self.append(digest)

    def append(self, digest: bytes) -> None:
        """Add a hash to the tree."""
        self._frontier.append(digest)
        if self._before is not None and self._frontier.size == self._before.size:
            self.root_before = self._frontier.root()

    def end(self, _number: int) -> None:
        """No entry is missing at the end, and the close follows the last one."""
        if self._expected <= self._last:
            raise DamageError(
                "entry.missing-last",
                f"entries {self._expected} to {self._last} are missing at the end: the last one "
                f"here is {self._expected - 1}",
            )
        if self._previous is not None and self._close["prev"] != self._previous.hex():
            raise _changed(self._expected - 1, self._expected)

    def index(self, seq: int) -> int:
        """On which line, from 0, entry `seq` stands."""
        return int(seq - self.first)

    def _misplaced(self, seq: int, number: int, rest: Iterator[bytes]) -> DamageError:
        """Why entry `seq` stands on a line where another should."""
        expected = self._expected
        if not expected < seq <= self._last:
            return DamageError("entry.added", f"entry {seq} on line {number} does not belong there")
        if f'"seq":{expected},'.encode() in next(rest, b""):
            return DamageError(
                "entry.order",
                f"entries {expected} and {seq} stand in the wrong order (line {number})",
            )
        if number == 1:
            return DamageError(
                "entry.missing-first",
                f"entry {expected}, the first of the period, is missing: the bundle begins with "
                f"entry {seq}",
            )
        missing = f"{expected} is" if seq == expected + 1 else f"{expected} to {seq - 1} are"
        return DamageError("entry.missing", f"entry {missing} missing (before line {number})")


def _changed(seq: int, following: int) -> DamageError:
    return DamageError(
        "entry.changed",
        f"entry {seq} was changed: entry {following} follows an entry with another hash",
    )


class _Selected:
    """Some entries of a period, each proved to be in the signed tree by itself."""

    def __init__(self, bundle: Bundle, after: Checkpoint) -> None:
        self._manifest = bundle.manifest
        self._after = after
        self._proofs = bundle.lines("proofs/inclusion.jsonl")
        self._seqs = array("Q")

    def check(
        self, entry: dict[str, Json], digest: bytes, _number: int, _rest: Iterator[bytes]
    ) -> None:
        """The next entry."""
        seq, span = entry["seq"], self._manifest["range"]
        least = self._seqs[-1] + 1 if self._seqs else span["from_seq"]
        if not least <= seq <= span["to_seq"]:
            raise DamageError("entry.order", f"entry {seq} does not stand in its order")
        proof = _parse(next(self._proofs, b""), "inclusion.bad", "a line of proofs/inclusion.jsonl")
        hashes = _hashes(proof.get("hashes"), "inclusion.bad", "a proof of inclusion")
        root = root_from_inclusion(digest, seq, self._after.size, hashes)
        if proof.get("seq") != seq or root != self._after.root:
            raise DamageError("inclusion.bad", f"entry {seq} is not in the tree that was signed")
        self._seqs.append(seq)

    def end(self, number: int) -> None:
        """As many are there as were selected."""
        total = self._manifest["entries"]
        if number != total:
            raise DamageError("entry.missing", f"{number} of {total} selected entries are there")

    def index(self, seq: int) -> int:
        """On which line, from 0, entry `seq` stands."""
        return bisect_left(self._seqs, seq)


class _Compared:
    """Tables of a bundle, compared row by row with what the entries say."""

    def __init__(self, bundle: Bundle) -> None:
        self.active = True
        self.damage: DamageError | None = None
        self._bundle = bundle
        self._lines: dict[str, Iterator[bytes]] = {}
        self._numbers: dict[str, int] = {}

    def __enter__(self) -> Self:
        for table, columns in COLUMNS.items():
            self._lines[table] = self._bundle.lines(f"tables/{table}.csv")
            self._numbers[table] = 0
            try:
                self._row(table, list(columns))
            except DamageError as damage:
                self.damage = self.damage or damage
        return self

    def __exit__(self, *_: object) -> None:
        for lines in self._lines.values():
            # All of them are generators, and the protocol of iterators has no end.
            lines.close()  # type: ignore[attr-defined]

    def rows(self, rows: list[tuple[str, Row]]) -> None:
        """The next rows of some tables."""
        for table, row in rows:
            if self.active and self.damage is None:
                self._row(table, row)

    def end(self, final: list[tuple[str, list[Row]]]) -> None:
        """The tables that sum up, and that there are no rows beyond."""
        for table, rows in final:
            self.rows([(table, row) for row in rows])
        for table, lines in self._lines.items():
            if self.damage is None and next(lines, None) is not None:
                self._differs(table, "is more than the entries say")

    def _row(self, table: str, row: Row) -> None:
        self._numbers[table] += 1
        wanted = csv_line(row)[:-1]
        found = next(self._lines[table], b"").decode(errors="replace")
        if found != wanted:
            self._differs(table, f"is {found[:120]!r}, and the entries say {wanted[:120]!r}")

    def _differs(self, table: str, how: str) -> None:
        code = "totals.wrong" if table == "totals" else "table.edited"
        what = "the totals were edited" if table == "totals" else "the table was edited"
        line = self._numbers[table] + how.startswith("is more")
        self.damage = DamageError(code, f"{what}: tables/{table}.csv line {line} {how}")


class _Attached:
    """Payloads and declared omissions, in the order of the entries that commit to them."""

    def __init__(self, bundle: Bundle) -> None:
        self._payloads = _Ahead(bundle.lines("payloads.jsonl"), "payloads.jsonl")
        self._omissions = _Ahead(bundle.lines("omissions.jsonl"), "omissions.jsonl")
        self.active = True
        """Until one of them is bad: those after it would be taken for others."""
        self.count = 0
        """Payloads that are what was committed to."""

    def check(self, entry: dict[str, Json]) -> None:
        """Every payload of the entry is there and right, or declared to be left out."""
        for stated in entry.get("payloads", ()):
            place = (entry["seq"], stated["name"])
            omitted = self._omissions.take(place)
            if omitted is not None:
                if omitted.get("reason") not in {"erased", "withheld", "denied"}:
                    raise DamageError(
                        "payload.missing", f"an omission of entry {place[0]} has no reason"
                    )
                continue
            payload = self._payloads.take(place)
            if payload is None:
                raise DamageError(
                    "payload.missing",
                    f"payload {place[1]} of entry {place[0]} is missing, and not declared omitted",
                )
            try:
                octets = bytes.fromhex(payload["salt"]) + base64.b64decode(
                    payload["content"], validate=True
                )
            except (KeyError, TypeError, ValueError) as error:
                raise DamageError(
                    "payload.changed", f"payload {place[1]} of entry {place[0]} cannot be read"
                ) from error
            digest = hashlib.sha256(b"effect-ledger/payload/v1\n" + octets).hexdigest()
            if digest != stated["commitment"] or payload.get("media_type") != stated["media_type"]:
                raise DamageError(
                    "payload.changed",
                    f"payload {place[1]} of entry {place[0]} is not the one that was committed to",
                )
            self.count += 1

    def end(self) -> None:
        """There is none that no entry commits to."""
        for each in (self._payloads, self._omissions):
            rest = each.peek()
            if rest is not None:
                raise DamageError(
                    "payload.added", f"{each.name} has a line that no entry commits to"
                )


class _Posters:
    """Signatures that posters put under what they sent, by the keys that come with the bundle."""

    def __init__(self, bundle: Bundle) -> None:
        keys = _parse(bundle.read("keys/keys.json"), "entry.signature", "keys/keys.json")
        self._keys = {
            each["key_id"]: (each["principal"], bytes.fromhex(each["public_key"]))
            for each in keys["posters"]
        }
        self._good = self._left = 0

    def check(self, entry: dict[str, Json]) -> None:
        """The poster's own signature, where there is one."""
        signature = entry.get("signature")
        if signature is None:
            return
        if Ed25519PublicKey is None:
            # In plain Python each takes longer than everything else of an entry together.
            self._left += 1
            return
        principal, key = self._keys.get(signature["key_id"], ("", b""))
        message = b"effect-ledger/effect/v1\n" + canonical(entry["effect"])
        signed = base64.b64decode(signature["sig"], validate=True)
        if principal != entry["poster"] or not is_signed(key, signed, message):
            raise DamageError(
                "entry.signature",
                f"entry {entry['seq']} is not signed by {entry['poster']}, whom it names as poster",
            )
        self._good += 1

    def checked(self) -> list[str]:
        """What was checked."""
        return [f"{self._good} signatures of posters"] if self._good else []

    def notes(self) -> list[str]:
        """What was left."""
        if not self._left:
            return []
        return [f"{self._left} signatures of posters were not checked: install `cryptography`"]


class _Statement:
    """A statement of a reconciliation: figures that add up, and the people who stand for them."""

    def __init__(
        self, bundle: Bundle, stated: dict[str, Json], recorded: dict[str, dict[str, Json]]
    ) -> None:
        self.decisions: set[str] = set()
        """Those that signed it, as it says."""
        self._bundle = bundle
        self._stated = stated
        self._recorded = recorded
        self._path = str(stated["path"])

    def check(self, after: Checkpoint) -> None:
        """Everything that the bundle tells of it."""
        try:
            self._check(after)
        except MALFORMED as error:
            raise DamageError(
                "statement.unreadable", f"{self._path[:200]} is not in the form of a statement"
            ) from error

    def _check(self, after: Checkpoint) -> None:
        record = _parse(
            self._bundle.read(self._path), "statement.unreadable", f"{self._path[:200]}"
        )
        told, signoffs = record["statement"], record["signoffs"]
        self.decisions = {each["decision"] for each in signoffs}
        is_signed = self._stated["state"] == "signed"
        if told.get("format") != STATEMENT or is_signed != bool(signoffs):
            raise DamageError(
                "statement.unreadable", f"{self._path} is not the statement the index says it is"
            )
        for signoff in signoffs:
            self._check_signoff(signoff, told)
        if (told["run"], told["input"]["period"]) != (self._stated["run"], self._stated["period"]):
            raise DamageError("statement.changed", f"{self._path} is of another run or period")
        self._check_tree(told["input"], after)
        for block in told["statement"]:
            self._check_block(block, is_signed=is_signed)

    def _check_signoff(self, signoff: dict[str, Json], told: dict[str, Json]) -> None:
        entry = self._recorded.get(signoff["decision"])
        if entry is None:
            raise DamageError(
                "statement.forged",
                f"{self._path} says that it is signed, and no entry of the period records that",
            )
        data, said = entry["effect"]["data"], signoff["document"]
        place = (signoff["notice"]["seq"], signoff["notice"]["entry_hash"])
        if (
            data["decision_hash"] != hashlib.sha256(canonical(said)).hexdigest()
            or place != (entry["seq"], entry["hash"])
            or data["principal"] != said["reviewer"]
        ):
            raise DamageError(
                "statement.forged",
                f"the signature in {self._path} is not the one that entry {entry['seq']} records",
            )
        if (
            said["statement_digest"] != hashlib.sha256(canonical(told)).hexdigest()
            or said["output_digest"] != told["output_digest"]
        ):
            raise DamageError(
                "statement.changed",
                f"{self._path} was changed: it is not the statement that {said['reviewer']} "
                f"signed, as entry {entry['seq']} records",
            )
        if said["reviewer"] == told["prepared_by"]:
            raise DamageError(
                "statement.people",
                f"{self._path} is signed by {said['reviewer']}, who prepared it",
            )

    def _check_tree(self, asked: dict[str, Json], after: Checkpoint) -> None:
        root, size = bytes.fromhex(asked["root"]), asked["size"]
        proof = _hashes(self._stated["consistency"], "statement.checkpoint", "a proof")
        empty = hashlib.sha256().digest()
        if not is_consistent(size, after.size, root, after.root, proof) or (
            size == 0 and root != empty
        ):
            raise DamageError(
                "statement.checkpoint",
                f"{self._path} is about a tree of {size} entries that this ledger does not begin "
                "with",
            )

    def _check_block(self, block: dict[str, Json], *, is_signed: bool) -> None:
        """Total and differences make what is expected; what is left is told, and signed at zero."""
        what = f"{self._path}, {block['currency']} {block['heading']}"
        figures = [block["total"], *(each["amount"] for each in block["differences"])]
        expected = sum(map(_parts, figures))
        if expected != _parts(block["expected"]):
            raise DamageError(
                "statement.sums",
                f"{what}: total and differences do not make what is expected, {block['expected']}",
            )
        left = _parts(block["answered"]) - expected
        if left != _parts(block["unexplained"]) or (is_signed and left):
            raise DamageError(
                "statement.sums",
                f"{what}: what is left unexplained is not {block['unexplained']}"
                if left != _parts(block["unexplained"])
                else f"{what}: {block['unexplained']} is unexplained, and it is signed",
            )


def _parts(amount: str) -> int:
    """An amount in parts of 10^-18, in which every currency is whole."""
    whole, _, decimals = amount.lstrip("-").partition(".")
    minor = int(whole + decimals.ljust(18, "0")[:18])
    return -minor if amount.startswith("-") else minor


class _Ahead:
    """A file of JSON lines that is read along with the entries."""

    def __init__(self, lines: Iterator[bytes], name: str) -> None:
        self.name = name
        self._lines = lines
        self._next: dict[str, Json] | None = None
        self._begun = False

    def peek(self) -> dict[str, Json] | None:
        """The next record; None at the end."""
        if not self._begun:
            self._begun, line = True, next(self._lines, None)
            self._next = None if line is None else _parse(line, "payload.changed", self.name)
        return self._next

    def take(self, place: tuple[int, str]) -> dict[str, Json] | None:
        """The next record, if it is of this place."""
        record = self.peek()
        if record is None or (record.get("seq"), record.get("name")) != place:
            return None
        self._begun = False
        return record


class _Originals:
    """The entries that corrections point at: earlier lines, or proved one by one."""

    def __init__(self, verification: Verification, place: _InOrder | _Selected) -> None:
        self._bundle = verification.bundle
        self._offsets = verification.offsets
        self._place = place
        stated = self._bundle.manifest["checkpoints"]["after"]["path"]
        self._after = Checkpoint.parse(Note.parse(self._bundle.read(stated)).text)
        self._references = _Ahead(self._bundle.lines("references.jsonl"), "references.jsonl")

    def __enter__(self) -> Self:
        self._file = (self._bundle.base / "entries.jsonl").open("rb")
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def of(self, entry: dict[str, Json]) -> dict[str, Json] | None:
        """The entry that `entry` corrects; None where it corrects none of this ledger."""
        effect = entry["effect"]
        wanted = effect.get("corrects") or effect.get("corrects_key")
        if wanted is None:
            return None
        record = self._references.take((entry["seq"], "original"))
        if record is None:
            raise DamageError(
                "reference.bad", f"references.jsonl does not say what entry {entry['seq']} corrects"
            )
        seq = record["original"]
        found = self._line(seq) if "entry" not in record else self._proved(record, seq)
        if found["seq"] != seq or wanted not in {found["id"], found["effect"]["key"]}:
            raise DamageError(
                "reference.bad", f"entry {seq} is not the one that entry {entry['seq']} corrects"
            )
        return found

    def _line(self, seq: int) -> dict[str, Json]:
        self._file.seek(self._offsets[self._place.index(seq)])
        return _parse(self._file.readline(LINE_BYTES_MAX), "reference.bad", f"entry {seq}")

    def _proved(self, record: dict[str, Json], seq: int) -> dict[str, Json]:
        encoded = record["entry"].encode()
        hashes = _hashes(record["hashes"], "reference.bad", "a proof of inclusion")
        root = root_from_inclusion(leaf_hash(encoded), seq, self._after.size, hashes)
        if root != self._after.root:
            raise DamageError(
                "reference.bad", f"entry {seq}, which is corrected, is not in the tree"
            )
        return _parse(encoded, "reference.bad", f"entry {seq}")


def _walk(base: Path) -> Iterator[str]:
    for directory, names, files in os.walk(base):
        for name in files:
            yield Path(directory, name).relative_to(base).as_posix()
        for name in names:
            if Path(directory, name).is_symlink():
                yield Path(directory, name).relative_to(base).as_posix()


# ---- A bundle in a .zip file (APPNOTE.TXT 4.3) ---------------------------------------------------

_LISTED = struct.Struct("<4s6H3L5H2L")
_HEADER = struct.Struct("<4s5H3L2H")
_END = struct.Struct("<4s4H2LH")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_END_64_AT = struct.Struct("<4sLQL")
_PLAIN, _DEFLATED = 0, 8
_SEALED_FLAGS = 1 << 0 | 1 << 6 | 1 << 13
_DESCRIBED_FLAG, _UTF_8_FLAG = 1 << 3, 1 << 11
_DIRECTORY_ATTRIBUTE = 0x10
_EXTRA_64 = 0x0001
_EXTRAS = {_EXTRA_64: 28, 0x000A: 32, 0x5455: 13, 0x5855: 12, 0x7855: 4, 0x7875: 19}
"""Fields that packers add, and how long: wide sizes, times, owners. Others give other names."""
_CHUNK = 1 << 20
_NO_PLACE = {errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST}
"""Why a name has no place in the directory that was made for its bundle alone."""


@dataclass
class _Member:
    """One file or directory, as the list at the end of a .zip has it."""

    raw: bytes
    name: str
    """Without the / at the end of a directory's."""
    is_directory: bool
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    """In bytes, as it states."""
    offset: int
    """Of its header."""


class _Zip:
    """
    A .zip file that is made of its members and of nothing else.

    Not read by `zipfile`, which passes over what stands before, between and after members, and
    takes the last of two that have one name: others who unpack the same file take the first, and
    see what was never verified.
    """

    def __init__(self, path: Path, file: BinaryIO) -> None:
        """
        Read the list of members; nothing is unpacked yet.

        Raises:
            DamageError: There are octets that belong to no member, or members of no bundle.
        """
        self.path = path
        self._file = file
        self._length = file.seek(0, os.SEEK_END)
        self._listed_at, listed, count = self._read_end()
        self.members = self._read_list(listed, count)
        self._check_names()
        self._check_sizes()

    def unpack(self, base: Path) -> None:
        """Put every member below `base`, each checked against its header and its list."""
        at = 0
        members = sorted(self.members, key=lambda each: each.offset)
        ends = [*(each.offset for each in members), self._listed_at][1:]
        for member, end in zip(members, ends, strict=True):
            if member.offset != at:
                raise self._foreign(at)
            at = self._unpack(member, base, end)
        if at != self._listed_at:
            raise self._foreign(at)

    def wrapper(self) -> str:
        """The directory that everything is in; empty where it is in none."""
        names = [each.name for each in self.members if not each.is_directory]
        inside = {name.partition("/")[0] for name in names if name.endswith("/manifest.json")}
        tops = sorted(top for top in inside if f"{top}/manifest.json" in names)
        if "manifest.json" in names or not tops:
            return ""
        for name in names:
            if not name.startswith(f"{tops[0]}/"):
                raise DamageError(
                    "file.added",
                    f"{name} is beside the bundle {tops[0]} in this .zip: it was added",
                )
        return tops[0]

    # ---- The list ----

    def _read_end(self) -> tuple[int, int, int]:
        """Where the list begins, how long it is, and of how many members."""
        end = self._length - _END.size
        if end < 0 or self._read(end, 4) != b"PK\x05\x06":
            if self._ends_before():
                raise DamageError(
                    "zip.foreign", "this .zip goes on behind its end: something was added to it"
                )
            raise DamageError("file.truncated", f"{self.path} is cut short, or no .zip")
        _, disk, other, here, count, length, at, comment = _END.unpack(self._read(end, _END.size))
        told = (count, length, at)
        if comment or disk or other or here != count:
            raise DamageError("zip.foreign", "this .zip has a comment, or is a part of several")
        at_64 = end - _END_64_AT.size
        if at_64 >= 0 and self._read(at_64, 4) == b"PK\x06\x07":
            _, _, where, disks = _END_64_AT.unpack(self._read(at_64, _END_64_AT.size))
            end = at_64 - _END_64.size
            if end < 0 or where != end or disks > 1 or self._read(end, 4) != b"PK\x06\x06":
                raise self._foreign(max(end, 0))
            _, rest, _, _, disk, other, here, count, length, at = _END_64.unpack(
                self._read(end, _END_64.size)
            )
            most = (0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF)
            agrees = all(
                short in {long, limit}
                for short, long, limit in zip(told, (count, length, at), most, strict=True)
            )
            if rest != _END_64.size - 12 or disk or other or here != count or not agrees:
                raise DamageError("zip.contradiction", "the ends of this .zip differ")
        if at + length != end:
            # Its own positions are counted from the first octet, and up to the list.
            raise self._foreign(0)
        if length > SMALL_FILE_BYTES_MAX or count > MEMBERS_MAX:
            raise DamageError(
                "bundle.too-large",
                f"{self.path} lists {count:,} files, and {MEMBERS_MAX:,} are the most: where you "
                "know why, unpack it yourself and verify the directory",
            )
        return at, length, count

    def _ends_before(self) -> bool:
        """Whether the mark of an end stands anywhere; parts overlap, or it could be between two."""
        return any(
            b"PK\x05\x06" in self._read(at, _CHUNK + 3) for at in range(0, self._length, _CHUNK)
        )

    def _read_list(self, length: int, count: int) -> list[_Member]:
        listed, at = self._read(self._listed_at, length), 0
        members = []
        for _ in range(count):
            if at + _LISTED.size > length or listed[at : at + 4] != b"PK\x01\x02":
                raise DamageError("zip.contradiction", "this .zip lists fewer files than it states")
            fields = _LISTED.unpack_from(listed, at)
            flags, method, crc, packed, size = fields[3], fields[4], *fields[7:10]
            named, extra, comment, disk = fields[10:14]
            attributes, offset = fields[15:]
            at += _LISTED.size
            raw = listed[at : at + named]
            wide = self._wide(listed[at + named : at + named + extra], (size, packed, offset))
            at += named + extra + comment
            name = _member_name(raw, flags)
            if comment or disk:
                raise DamageError("zip.foreign", f"{name} has a comment, which no bundle has")
            is_directory = raw.endswith(b"/")
            _check_kind(name, attributes, flags, method, is_directory=is_directory)
            size, packed, offset = wide
            if is_directory and (size or packed):
                raise DamageError("zip.foreign", f"{name} is a directory with octets of its own")
            members.append(
                _Member(raw, name, is_directory, flags, method, crc, packed, size, offset)
            )
        if at != length:
            raise self._foreign(self._listed_at + at)
        return members

    def _wide(self, extra: bytes, values: tuple[int, ...]) -> tuple[int, ...]:
        """Sizes and places that do not fit into 32 bits are in a field of their own (4.5.3)."""
        field, at = b"", 0
        while at < len(extra):
            kind, length = struct.unpack_from("<2H", extra.ljust(at + 4, b"\0"), at)
            if length > _EXTRAS.get(kind, -1) or at + 4 + length > len(extra):
                raise DamageError(
                    "zip.foreign", f"this .zip has a field of kind {kind:#06x}, which no bundle has"
                )
            if kind == _EXTRA_64:
                field = extra[at + 4 : at + 4 + length]
            at += 4 + length
        found, wide = [], field
        for value in values:
            if value == 0xFFFFFFFF and len(wide) >= 8:
                found.append(int.from_bytes(wide[:8], "little"))
                wide = wide[8:]
            else:
                found.append(value)
        # Some packers repeat there what did fit, as Python 3.11.2 does for what `packing` makes.
        repeated = b"".join(value.to_bytes(8, "little") for value in found)
        if wide.strip(b"\0") and field != repeated[: len(field)]:
            raise DamageError("zip.contradiction", "this .zip states two sizes of one file")
        return tuple(found)

    def _check_names(self) -> None:
        """No name twice, also where capitals and composed letters are not told apart."""
        seen: dict[str, str] = {}
        for each in self.members:
            alike = unicodedata.normalize("NFC", each.name).casefold()
            if alike in seen:
                raise DamageError(
                    "zip.doubled",
                    f"{each.name} is in this .zip twice: what is unpacked depends on the program",
                )
            seen[alike] = each.name
        listed = {each.name for each in self.members}
        parents = {
            str(parent)
            for each in self.members
            if not each.is_directory
            for parent in PurePosixPath(each.name).parents
            if str(parent) in listed
        }
        for each in self.members:
            if each.is_directory is not (each.name in parents):
                raise DamageError(
                    "zip.name", f"{each.name} is a directory without files, or a file with some"
                )

    def _check_sizes(self) -> None:
        # No member gives more than it states.
        size = sum(each.size for each in self.members)
        most = max(UNPACKED_BYTES_MAX, UNPACKED_TIMES_MAX * self._length)
        if size > most:
            raise DamageError(
                "bundle.too-large",
                f"{self.path} would unpack to {size:,} bytes, and {most:,} are the most for its "
                "size: where you know why, unpack it yourself and verify the directory",
            )

    # ---- A member ----

    def _unpack(self, member: _Member, base: Path, end: int) -> int:
        """Where the octets of the member end, which `end` bounds."""
        at: int = member.offset
        head = self._read(at, _HEADER.size)
        if len(head) < _HEADER.size or head[:4] != b"PK\x03\x04":
            raise self._foreign(at)
        _, _, flags, method, _, _, crc, packed, size, named, extra = _HEADER.unpack(head)
        at += _HEADER.size
        raw = self._read(at, named)
        size, packed = self._wide(self._read(at + named, extra), (size, packed))
        at += named + extra
        stated = (member.crc, member.packed, member.size)
        # A packer that could not go back has a zero for what it did not know yet.
        unknown = 0 if flags & _DESCRIBED_FLAG else None
        told = zip((crc, packed, size), stated, strict=True)
        if (raw, flags, method) != (member.raw, member.flags, member.method) or not all(
            here in {there, unknown} for here, there in told
        ):
            raise DamageError(
                "zip.contradiction",
                f"{member.name} is called or measured otherwise in the list of this .zip than "
                "where it stands: what is unpacked depends on the program",
            )
        if at + member.packed > end:
            raise DamageError("zip.contradiction", f"{member.name} goes on into another file")
        if member.is_directory:
            (base / member.name).mkdir(parents=True, exist_ok=True)
        else:
            self._write(member, at, base / member.name)
        at += member.packed
        if flags & _DESCRIBED_FLAG:
            at += self._described(at, end, stated)
        return at

    def _write(self, member: _Member, at: int, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        deflated = zlib.decompressobj(-zlib.MAX_WBITS) if member.method == _DEFLATED else None
        crc = size = 0
        with target.open("xb") as to:
            for octets in self._unpacked(member, at, deflated):
                size, crc = size + len(octets), zlib.crc32(octets, crc)
                if size > member.size:
                    raise DamageError(
                        "bundle.too-large", f"{member.name} unpacks to more than it states"
                    )
                to.write(octets)
        if (size, crc) != (member.size, member.crc) or (deflated is not None and not deflated.eof):
            raise DamageError("file.truncated", f"{member.name} is damaged in this .zip")
        if deflated is not None and deflated.unused_data:
            raise self._foreign(at + member.packed - len(deflated.unused_data))

    def _unpacked(self, member: _Member, at: int, deflated: Any) -> Iterator[bytes]:
        """In small parts: a few octets may stand for a thousand times as many."""
        end = at + member.packed
        while at < end:
            chunk = self._read(at, min(_CHUNK, end - at))
            at += len(chunk)
            while chunk and deflated is not None:
                yield deflated.decompress(chunk, _CHUNK)
                chunk = deflated.unconsumed_tail
            yield chunk
        if deflated is not None:
            yield deflated.flush()

    def _described(self, at: int, end: int, stated: tuple[int, int, int]) -> int:
        """How long the description behind a member is (4.3.9), which states what the list does."""
        for shape in ("<L2L", "<4sL2L", "<L2Q", "<4sL2Q"):
            length = struct.calcsize(shape)
            if length == end - at:
                found = struct.unpack(shape, self._read(at, length))
                if found[-3:] == stated and found[:-3] in {(), (b"PK\x07\x08",)}:
                    return length
        raise self._foreign(at)

    def _foreign(self, at: int) -> DamageError:
        return DamageError(
            "zip.foreign", f"this .zip has octets that belong to no file of it, at {at:,}"
        )

    def _read(self, at: int, length: int) -> bytes:
        self._file.seek(at)
        return self._file.read(length)


def _member_name(raw: bytes, flags: int) -> str:
    try:
        name = raw.decode("utf-8" if flags & _UTF_8_FLAG else "ascii").removesuffix("/")
    except UnicodeDecodeError as error:
        raise DamageError("zip.name", f"this .zip names {raw[:80]!r}, which is no text") from error
    if not _is_path(name) or not name.isprintable():
        raise DamageError(
            "zip.name", f"this .zip names {name[:80]!r}, which is no path within a bundle"
        )
    return name


def _check_kind(name: str, attributes: int, flags: int, method: int, *, is_directory: bool) -> None:
    """A plain file or directory, packed as any program can unpack it."""
    kind = stat.S_IFMT(attributes >> 16)
    is_told_apart = is_directory or not attributes & _DIRECTORY_ATTRIBUTE
    if kind not in {0, stat.S_IFDIR if is_directory else stat.S_IFREG} or not is_told_apart:
        raise DamageError("zip.kind", f"{name} is a link or no plain file: no bundle has that")
    if flags & _SEALED_FLAGS or method not in {_PLAIN, _DEFLATED}:
        raise DamageError(
            "zip.kind", f"{name} is encrypted, or packed as no bundle is (method {method})"
        )


# ---- The command ---------------------------------------------------------------------------------


def open_bundle(path: Path, opened: ExitStack) -> Bundle:
    """The bundle in a directory, or in a .zip file, which is unpacked beside it for the while."""
    if path.is_dir():
        return Bundle.open(path)
    if not path.is_file():
        raise DamageError("manifest.missing", f"there is nothing at {path}")
    base = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="effect-ledger-bundle-")))
    try:
        with path.open("rb") as file:
            packed = _Zip(path, file)
            wrapper = packed.wrapper()
            packed.unpack(base)
    except (zlib.error, struct.error) as error:
        raise DamageError(
            "file.truncated", f"{path} is cut short or damaged as a .zip: {error}"
        ) from error
    except OSError as error:
        if error.errno not in _NO_PLACE:
            raise
        raise DamageError(
            "zip.name", f"{path} names a file that cannot be unpacked: {error.strerror}"
        ) from error
    return Bundle.open(base / wrapper, path)


def verify(
    path: Path,
    keys: list[Key],
    *,
    previous: Path | None = None,
    receipts: Iterable[Path] = (),
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> tuple[Verdict, dict[str, Json]]:
    """
    Verify the bundle at `path`.

    Returns:
        What was found, and the manifest; an empty one where it could not be read.
    """
    with ExitStack() as opened:
        told, refused = _read_receipts(receipts)
        try:
            bundle = open_bundle(path, opened)
        except DamageError as damage:
            return Verdict(findings=[damage], unrelated=refused, trusted=bool(keys)), {}
        verification = Verification(bundle, keys, progress=progress)
        verification.verdict.unrelated += refused
        other = None
        try:
            other = None if previous is None else open_bundle(previous, opened)
        except DamageError as damage:
            message = f"the previous bundle: {damage.message}"
            verification.verdict.unrelated.append(DamageError("previous.bad", message))
        return verification.run(other, told), bundle.manifest


def _read_receipts(
    paths: Iterable[Path],
) -> tuple[list[tuple[str, bytes]], list[DamageError]]:
    """Receipts by the names of their files, and why others cannot be any."""
    told, refused = [], []
    for path in paths:
        try:
            told.append((path.name, _read_small(path)))
        except DamageError as damage:
            refused.append(DamageError("receipt.bad", f"it is no receipt: {damage.message}"))
    return told, refused


def document(verdict: Verdict, manifest: dict[str, Json]) -> dict[str, Json]:
    """What was found, for programs."""
    first = verdict.first
    others = [each for each in verdict.findings if each is not first]
    return {
        "verified": verdict.code == GOOD,
        "authenticated": verdict.trusted,
        "ledger": manifest.get("ledger"),
        "origin": manifest.get("origin"),
        "period": _object(manifest, "period"),
        "range": _object(manifest, "range"),
        "complete": manifest.get("complete"),
        "empty": verdict.empty,
        "entries": verdict.entries,
        "reviews": verdict.reviews,
        "first_bad": None if first is None else {"code": first.code, "message": first.message},
        "findings": [
            {"code": each.code, "message": each.message} for each in [first, *others] if each
        ],
        "unrelated": [{"code": each.code, "message": each.message} for each in verdict.unrelated],
        "checked": verdict.checked,
        "notes": verdict.notes,
        "not_checked": [*NOT_CHECKED, *_also_not_checked(verdict)],
    }


def _object(manifest: dict[str, Json], name: str) -> dict[str, Json] | None:
    """A member of a manifest that nobody may have signed, where it is an object."""
    value = manifest.get(name)
    return value if isinstance(value, dict) else None


def prose(verdict: Verdict, manifest: dict[str, Json]) -> str:
    """What was found, for people."""
    told = document(verdict, manifest)
    lines = [_headline(verdict)]
    if manifest:
        period, span = told["period"] or {}, told["range"] or {}
        lines += [
            shown(f"  ledger   {told['origin']}"),
            shown(
                f"  period   {period.get('name')}: {period.get('from_at')} to {period.get('to_at')}"
            ),
            shown(
                f"  entries  {verdict.entries:,} (seq {span.get('from_seq')} to "
                f"{span.get('to_seq')})"
            ),
        ]
    if told["first_bad"]:
        lines.append(f"First bad\n  {told['first_bad']['message']} [{told['first_bad']['code']}]")
        also = told["findings"][1:]
        if also:
            lines.append(
                "Also\n" + "\n".join(f"  {each['message']} [{each['code']}]" for each in also)
            )
    beside = [f"{each['message']} [{each['code']}]" for each in told["unrelated"]]
    for title, each in (
        ("Bad or of something else", beside),
        ("Checked", told["checked"]),
        ("Notes", told["notes"]),
        ("Not checked", told["not_checked"]),
    ):
        if each:
            lines.append(f"{title}\n" + "\n".join(f"  {shown(line)}" for line in each))
    return "\n".join(lines)


def _headline(verdict: Verdict) -> str:
    if verdict.is_other:
        return "NOT OURS: this is no bundle of a format that is known here."
    if verdict.findings:
        return "BAD: this bundle is not what was recorded and signed."
    if verdict.unrelated:
        return (
            "NOT COMPARED: nothing bad was found in this bundle, and what was given beside it is "
            "bad or of something else."
        )
    if verdict.empty:
        return "NOTHING SHOWN: the selection has no entries, so there is nothing to be good."
    if not verdict.trusted:
        return "NOT AUTHENTICATED: the bundle agrees with itself, under a key that it names itself."
    left_out = " or left out" if verdict.complete else ""
    return f"GOOD: nothing in this bundle was changed{left_out}."


def _also_not_checked(verdict: Verdict) -> list[str]:
    missing = []
    if not verdict.trusted:
        missing.append("whose key it is: give the ledger's with --vkey, from another channel")
    if JOINED not in verdict.checked and NOT_JOINED not in verdict.left:
        missing.append("the period before: give its bundle with --previous")
    return missing + verdict.left


def main(arguments: list[str] | None = None) -> int:
    """Run as a command; the exit code."""
    parser = argparse.ArgumentParser(
        prog="verify.py",
        description="Verify an audit bundle, offline.",
        epilog="Exit code: 0 good, 1 bad, 2 nothing can be said.",
    )
    parser.add_argument("bundle", nargs="?", type=Path, default=Path(__file__).resolve().parent)
    parser.add_argument("--vkey", action="append", default=[], help="the ledger's verifier key")
    parser.add_argument("--previous", type=Path, help="the bundle of the period before")
    parser.add_argument(
        "--receipt",
        type=Path,
        action="append",
        default=[],
        help="a receipt, whose entry must be in the bundle",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    asked = parser.parse_args(arguments)
    try:
        keys = [Key.parse(each) for each in asked.vkey]
    except (ValueError, binascii.Error):
        print("verify.py: --vkey is no verifier key (name+hash+base64)", file=sys.stderr)
        return UNKNOWN
    try:
        verdict, manifest = verify(
            asked.bundle, keys, previous=asked.previous, receipts=asked.receipt
        )
    except OSError as error:
        # Of the machine, as where its disk is full: nothing is said of the bundle.
        print(f"verify.py: {shown(str(error))[:TOLD_CHARACTERS_MAX]}", file=sys.stderr)
        return UNKNOWN
    told = json.dumps(document(verdict, manifest)) if asked.json else prose(verdict, manifest)
    try:
        print(told, flush=True)
    except BrokenPipeError:
        # Who reads has read enough, and the verdict stands: what is still buffered goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return verdict.code


if __name__ == "__main__":
    sys.exit(main())
