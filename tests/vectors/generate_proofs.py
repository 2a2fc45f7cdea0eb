"""
Writes merkle.json, frontier.json, tiles.json and receipt.json: proofs by example.

Trees are computed by the recursive definitions of RFC 6962 Section 2.1, word for word and
slow, so that the fast code has something to be wrong against. Corruptions are named; what
each must be refused as is found by running it.

    python tests/vectors/generate_proofs.py
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.canonical import canonical_bytes
from ledger.checkpoint import Checkpoint, parse_checkpoint, sign_checkpoint
from ledger.errors import LedgerError
from ledger.forms.names import LEDGER_ITSELF, REGISTRY
from ledger.merkle import verify_consistency, verify_inclusion
from ledger.note import (
    ED25519_COSIGNATURE,
    NoteKey,
    Signature,
    VerifierKey,
    key_id,
    parse_note,
)
from ledger.receipt import Receipt, TlogProof, parse_receipt, parse_tlog_proof, verify_receipt
from ledger.tiles import TILE_WIDTH, parse_tile_path

HERE = Path(__file__).parent
HOST = "6f1d0c2a.effect-ledger.invalid"
LEDGER = "acme.payments"
ORIGIN = f"{HOST}/{LEDGER}"
# Seeds are published here: test only, never trust these keys.
LOG_KEY = NoteKey(name=ORIGIN, private_key=Ed25519PrivateKey.from_private_bytes(b"\x01" * 32))
WITNESS = "witness.example.org/w1"
WITNESS_PRIVATE = Ed25519PrivateKey.from_private_bytes(b"\x02" * 32)
RECORDED_AT = "2026-03-02T09:14:07.000000Z"
COSIGNED_AT = 1_772_452_800
TREE_SIZE = 7
SIZES = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 255, 256, 257, 300)
PATHS = {
    "tile/0/000": (0, 0, 256),
    "tile/0/000.p/1": (0, 0, 1),
    "tile/0/000.p/255": (0, 0, 255),
    "tile/0/999": (0, 999, 256),
    "tile/0/x001/000": (0, 1000, 256),
    "tile/63/x001/x234/067": (63, 1234067, 256),
    "tile/2/005.p/17": (2, 5, 17),
    "tile/entries/000": ("entries", 0, 256),
    "tile/entries/x999/x999/999.p/3": ("entries", 999999999, 3),
}
REFUSED_PATHS = {
    "level-with-leading-zero": "tile/00/000",
    "level-too-high": "tile/64/000",
    "level-negative": "tile/-1/000",
    "level-missing": "tile//000",
    "data-of-other-logs": "tile/data/000",
    "index-of-one-digit": "tile/0/0",
    "index-of-four-digits": "tile/0/1000",
    "index-with-empty-group": "tile/0/x000/000",
    "index-without-x": "tile/0/001/000",
    "index-ending-in-x": "tile/0/x001",
    "index-beyond-64-bits": "tile/0/x100/x000/x000/x000/x000/x000/000",
    "index-in-other-digits": "tile/0/\N{ARABIC-INDIC DIGIT ZERO}00",
    "width-zero": "tile/0/000.p/0",
    "width-of-a-full-tile": "tile/0/000.p/256",
    "width-with-leading-zero": "tile/0/000.p/01",
    "width-missing": "tile/0/000.p/",
    "trailing-slash": "tile/0/000/",
    "trailing-line-end": "tile/0/000\n",
    "leading-slash": "/tile/0/000",
    "parent": "tile/0/../0/000",
    "nothing": "",
}
WIDTHS = [
    (level, index, size)
    for size in (0, 1, 255, 256, 257, 70_000)
    for level, index in ((0, 0), (0, 1), (0, 272), (0, 273), (1, 0), (1, 1), (2, 0), (3, 0))
]
APPENDS = [(0, 255), (0, 256), (0, 513), (200, 300), (255, 256), (256, 511), (300, 301)]


# ---- RFC 6962 Section 2.1, word for word ----------------------------------------------


def leaf_hash(entry: bytes) -> bytes:
    """SHA-256 of 0x00 and the entry."""
    return hashlib.sha256(b"\x00" + entry).digest()


def split(size: int) -> int:
    """The largest power of two smaller than `size`, which is above 1."""
    return 1 << ((size - 1).bit_length() - 1)


def tree_root(leaves: Sequence[bytes]) -> bytes:
    """MTH(D[n]), from leaf hashes."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = split(len(leaves))
    return hashlib.sha256(b"\x01" + tree_root(leaves[:k]) + tree_root(leaves[k:])).digest()


def inclusion_path(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    """PATH(m, D[n]) of Section 2.1.1."""
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if index < k:
        return [*inclusion_path(index, leaves[:k]), tree_root(leaves[k:])]
    return [*inclusion_path(index - k, leaves[k:]), tree_root(leaves[:k])]


def consistency_path(old: int, leaves: Sequence[bytes], *, known: bool = True) -> list[bytes]:
    """SUBPROOF(m, D[n], b) of Section 2.1.2."""
    if old == len(leaves):
        return [] if known else [tree_root(leaves)]
    k = split(len(leaves))
    if old <= k:
        return [*consistency_path(old, leaves[:k], known=known), tree_root(leaves[k:])]
    return [*consistency_path(old - k, leaves[k:], known=False), tree_root(leaves[:k])]


def entry(index: int) -> bytes:
    """What the leaves of these vectors are made of."""
    return f"entry {index}".encode()


LEAVES = [leaf_hash(entry(index)) for index in range(600)]


# ---- The files ------------------------------------------------------------------------


def vectors() -> dict[str, str]:
    """File name -> text, for every file this writes."""
    return {
        name: json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        for name, content in {
            "merkle.json": _merkle(),
            "frontier.json": _frontiers(),
            "tiles.json": _tiles(),
            "receipt.json": _receipts(),
        }.items()
    }


def _hex(hashes: Sequence[bytes]) -> list[str]:
    return [each.hex() for each in hashes]


def _refusal(attempt: Callable[[], object]) -> dict[str, str]:
    try:
        attempt()
    except LedgerError as error:
        return {"error": type(error).__name__}
    raise AssertionError("a case that must be refused passed")


def inclusion_case(index: int, size: int) -> dict[str, Any]:
    """A proof that holds."""
    leaves = LEAVES[:size]
    return {
        "index": index,
        "size": size,
        "leaf": leaves[index].hex(),
        "proof": _hex(inclusion_path(index, leaves)),
        "root": tree_root(leaves).hex(),
    }


def consistency_case(old: int, new: int) -> dict[str, Any]:
    """A proof that holds."""
    return {
        "old": old,
        "new": new,
        "proof": _hex(consistency_path(old, LEAVES[:new]) if old else []),
        "old_root": tree_root(LEAVES[:old]).hex(),
        "new_root": tree_root(LEAVES[:new]).hex(),
    }


def run_inclusion(case: dict[str, Any]) -> None:
    """Verify a case of `merkle.json`."""
    proof = [bytes.fromhex(each) for each in case["proof"]]
    leaf, root = bytes.fromhex(case["leaf"]), bytes.fromhex(case["root"])
    verify_inclusion(leaf, case["index"], case["size"], proof, root)


def run_consistency(case: dict[str, Any]) -> None:
    """Verify a case of `merkle.json`."""
    proof = [bytes.fromhex(each) for each in case["proof"]]
    old_root, new_root = bytes.fromhex(case["old_root"]), bytes.fromhex(case["new_root"])
    verify_consistency(case["old"], case["new"], old_root, new_root, proof)


def _damaged_inclusions() -> dict[str, dict[str, Any]]:
    good = inclusion_case(4, 7)
    proof = good["proof"]
    return {
        "other-index": good | {"index": 5},
        "index-at-size": good | {"index": 7},
        "index-negative": good | {"index": -1},
        "larger-size": good | {"size": 9},
        "size-zero": good | {"index": 0, "size": 0, "proof": []},
        "other-leaf": good | {"leaf": LEAVES[5].hex()},
        "other-root": good | {"root": tree_root(LEAVES[:8]).hex()},
        "empty-root": good | {"root": ""},
        "short-leaf": good | {"leaf": good["leaf"][:-2]},
        "truncated-proof": good | {"proof": proof[:-1]},
        "lengthened-proof": good | {"proof": [*proof, proof[-1]]},
        "empty-proof": good | {"proof": []},
        "swapped-hashes": good | {"proof": [proof[1], proof[0], *proof[2:]]},
        "short-hash": good | {"proof": [proof[0][:-2], *proof[1:]]},
        "root-as-leaf": inclusion_case(0, 1) | {"root": good["root"]},
        "node-as-leaf": good | {"index": 0, "size": 1, "leaf": good["root"], "proof": [proof[0]]},
    }


def _damaged_consistencies() -> dict[str, dict[str, Any]]:
    good = consistency_case(6, 9)
    proof = good["proof"]
    empty = consistency_case(0, 4)
    equal = consistency_case(5, 5)
    return {
        "shrunk": consistency_case(6, 9) | {"old": 9, "new": 6},
        "old-size-negative": good | {"old": -1},
        "other-old-size": good | {"old": 5},
        "other-new-size": good | {"new": 17},
        "other-old-root": good | {"old_root": tree_root(LEAVES[:5]).hex()},
        "other-new-root": good | {"new_root": tree_root(LEAVES[:10]).hex()},
        "truncated-proof": good | {"proof": proof[:-1]},
        "lengthened-proof": good | {"proof": [*proof, proof[-1]]},
        "empty-proof": good | {"proof": []},
        "swapped-hashes": good | {"proof": [proof[1], proof[0], *proof[2:]]},
        "short-hash": good | {"proof": [proof[0][:-2], *proof[1:]]},
        "equal-sizes-other-root": equal | {"new_root": tree_root(LEAVES[:6]).hex()},
        "equal-sizes-with-proof": equal | {"proof": proof[:1]},
        "from-nothing-with-proof": empty | {"proof": proof[:1]},
        "from-nothing-with-a-root": empty | {"old_root": LEAVES[0].hex()},
    }


def _merkle() -> dict[str, Any]:
    small = range(1, 10)
    return {
        "about": "leaf i is SHA-256(0x00 || 'entry i'); hashes in hexadecimal; refused cases "
        "say by which error",
        "roots": [{"size": size, "root": tree_root(LEAVES[:size]).hex()} for size in SIZES],
        "inclusion": [
            *(inclusion_case(index, size) for size in small for index in range(size)),
            *(inclusion_case(index, 300) for index in (0, 1, 127, 255, 256, 298, 299)),
        ],
        "refused_inclusion": [
            {"name": name, **case, **_refusal(lambda case=case: run_inclusion(case))}
            for name, case in _damaged_inclusions().items()
        ],
        "consistency": [
            *(consistency_case(old, new) for new in small for old in range(new + 1)),
            *(consistency_case(old, 300) for old in (1, 128, 255, 256, 257, 299)),
        ],
        "refused_consistency": [
            {"name": name, **case, **_refusal(lambda case=case: run_consistency(case))}
            for name, case in _damaged_consistencies().items()
        ],
    }


def frontier_hashes(size: int) -> list[bytes]:
    """Roots of the complete subtrees of a tree of the leaves of these vectors."""
    hashes, start = [], 0
    for bit in reversed(range(size.bit_length())):
        if size >> bit & 1:
            hashes.append(tree_root(LEAVES[start : start + (1 << bit)]))
            start += 1 << bit
    return hashes


def _frontiers() -> dict[str, Any]:
    return {
        "about": "the compact range [0, size) as 32 bytes per set bit of size, largest subtree "
        "first; leaves as in merkle.json",
        "frontiers": [
            {
                "size": size,
                "frontier": b"".join(frontier_hashes(size)).hex(),
                "root": tree_root(LEAVES[:size]).hex(),
            }
            for size in SIZES
        ],
        "refused": [
            {"name": "a-hash-too-few", "size": 3, "frontier": LEAVES[0].hex()},
            {"name": "a-hash-too-many", "size": 4, "frontier": (LEAVES[0] * 2).hex()},
            {"name": "a-byte-too-few", "size": 1, "frontier": LEAVES[0][1:].hex()},
            {"name": "something-of-nothing", "size": 0, "frontier": "00"},
            {"name": "size-negative", "size": -1, "frontier": LEAVES[0].hex()},
        ],
    }


def tile_width(level: int, index: int, size: int) -> int:
    """How many hashes a tile has, counted one by one."""
    return sum(
        (index * TILE_WIDTH + at + 1) * TILE_WIDTH**level <= size for at in range(TILE_WIDTH)
    )


def _appended(before: int, after: int) -> dict[str, Any]:
    whole = [
        tree_root(LEAVES[index * TILE_WIDTH : (index + 1) * TILE_WIDTH])
        for index in range(after // TILE_WIDTH)
    ]
    return {
        "before": before,
        "after": after,
        "tiles": [
            {"level": 0, "index": index, "root": root.hex()}
            for index, root in enumerate(whole)
            if (index + 1) * TILE_WIDTH > before
        ],
    }


def _tiles() -> dict[str, Any]:
    bundle = [b"", b"one", bytes(range(256))]
    encoded = b"".join(len(each).to_bytes(2, "big") + each for each in bundle)
    return {
        "about": "C2SP tlog-tiles; octets in hexadecimal; leaves as in merkle.json",
        "paths": [
            {"path": path, "level": level, "index": index, "width": width}
            for path, (level, index, width) in PATHS.items()
        ],
        "refused_paths": [
            {"name": name, "path": path, **_refusal(lambda path=path: parse_tile_path(path))}
            for name, path in REFUSED_PATHS.items()
        ],
        "widths": [
            {"level": level, "index": index, "size": size, "width": tile_width(level, index, size)}
            for level, index, size in WIDTHS
        ],
        "bundles": [
            {"entries": [], "bundle": ""},
            {"entries": _hex(bundle), "bundle": encoded.hex()},
        ],
        "refused_bundles": [
            {"name": "truncated-entry", "bundle": encoded[:-1].hex()},
            {"name": "truncated-length", "bundle": (encoded + b"\x00").hex()},
            {"name": "length-alone", "bundle": "0001"},
            {"name": "too-many-entries", "bundle": "0000" * 257},
        ],
        "completed": [_appended(before, after) for before, after in APPENDS],
    }


# ---- Receipts -------------------------------------------------------------------------


def ledger_entry(seq: int, /, **members: Any) -> bytes:
    """The least that a receipt's entry must say; what else it says is not the receipt's."""
    return canonical_bytes({"ledger": LEDGER, "seq": seq, "text": f"Zoë {seq}", "v": 1, **members})


def witness_verifier() -> VerifierKey:
    """The witness's public key."""
    public_key = WITNESS_PRIVATE.public_key().public_bytes_raw()
    return VerifierKey(
        name=WITNESS,
        key_id=key_id(WITNESS, ED25519_COSIGNATURE, public_key),
        algorithm=ED25519_COSIGNATURE,
        public_key=public_key,
    )


def cosign(note: bytes, *, at: int = COSIGNED_AT) -> bytes:
    """The note with the witness's line, per C2SP tlog-cosignature."""
    text = parse_note(note).text
    message = f"cosignature/v1\ntime {at}\n{text}".encode()
    line = Signature(
        name=WITNESS,
        key_id=witness_verifier().key_id,
        signature=at.to_bytes(8, "big") + WITNESS_PRIVATE.sign(message),
    )
    return note + line.encode().encode()


def make_receipt(
    seq: int = 4,
    *,
    recorded: bytes | None = None,
    key: NoteKey = LOG_KEY,
    cosigned: bool = False,
) -> Receipt:
    """A receipt of entry `seq` of seven, of which `recorded` may stand at its place."""
    entries = [ledger_entry(at) for at in range(TREE_SIZE)]
    entries[seq] = recorded or entries[seq]
    leaves = [leaf_hash(each) for each in entries]
    checkpoint = Checkpoint(origin=key.name, size=TREE_SIZE, root=tree_root(leaves))
    note = sign_checkpoint(checkpoint, key)
    proof = TlogProof(
        index=seq,
        hashes=tuple(inclusion_path(seq, leaves)),
        checkpoint_note=cosign(note) if cosigned else note,
    )
    return Receipt(
        level="cosigned" if cosigned else "log-signed", proof=proof.encode(), entry=entries[seq]
    )


def registry_receipt(
    of: Receipt,
    *,
    host: str = HOST,
    cosigned: bool = False,
    type_: str = "checkpoint.recorded",
    **said: Any,
) -> dict[str, Any]:
    """The registry's receipt of its entry 2, which records the checkpoint of a receipt."""
    note = parse_tlog_proof(str(of.proof)).checkpoint_note
    checkpoint = parse_checkpoint(parse_note(note).text)
    data = {
        "ledger": LEDGER,
        "origin": checkpoint.origin,
        "size": checkpoint.size,
        "root": checkpoint.root.hex(),
    }
    effect = {
        "kind": "notice",
        "type": type_,
        "key": f"_checkpoint.recorded/{LEDGER}/{TREE_SIZE}",
        "occurred_at": RECORDED_AT,
        "data": data | said,
    }
    notice = canonical_bytes(
        {
            "effect": effect,
            "id": "01957f5e-8c00-7006-8000-000000000000",
            "ledger": REGISTRY,
            "poster": LEDGER_ITSELF,
            "prev": "ab" * 32,
            "recorded_at": RECORDED_AT,
            "seq": 2,
            "v": 1,
        }
    )
    key = NoteKey(name=f"{host}/{REGISTRY}", private_key=LOG_KEY.private_key)
    return make_receipt(2, recorded=notice, key=key, cosigned=cosigned).to_document()


def inheriting(registry: dict[str, Any]) -> Receipt:
    """A receipt that its log alone signed, with what the registry says."""
    return replace(make_receipt(), level=registry["level"], registry=registry)


def damaged_receipts() -> dict[str, dict[str, Any]]:
    """Name of the attack or corruption -> the document after it."""
    good = make_receipt(cosigned=True).to_document()
    text = good["proof"]
    head, _, note = text.partition("\n\n")
    lines = head.split("\n")
    signature = parse_note(note.encode()).signatures[0].encode()
    stranger = NoteKey(name=f"{HOST}/acme.refunds", private_key=LOG_KEY.private_key)
    renamed = base64.b64encode(b"\x00" * 68).decode()

    def proof(changed: str) -> dict[str, Any]:
        return good | {"proof": changed}

    def entry_at(seq: int, recorded: bytes) -> dict[str, Any]:
        return make_receipt(seq, recorded=recorded).to_document()

    return {
        "unsigned": {"level": "unsigned", "proof": None, "entry": good["entry"]},
        "edited-entry": good | {"entry": good["entry"].replace("Zoë", "Zoe")},
        "entry-of-another-place": good | {"entry": ledger_entry(5).decode()},
        "entry-with-white-space": good | {"entry": good["entry"] + " "},
        "other-index": proof(text.replace("index 4", "index 5")),
        "index-beyond-the-tree": proof(text.replace("index 4", "index 7")),
        "index-with-leading-zero": proof(text.replace("index 4", "index 04")),
        "index-negative": proof(text.replace("index 4", "index -4")),
        "index-missing": proof(text.replace("index 4\n", "")),
        "other-version": proof(text.replace("@v1", "@v2")),
        "blank-line-missing": proof(text.replace("\n\n", "\n", 1)),
        "line-ends-of-windows": proof(text.replace("\n", "\r\n")),
        "truncated-proof": proof("\n".join(lines[:-1]) + "\n\n" + note),
        "lengthened-proof": proof(head + "\n" + lines[-1] + "\n\n" + note),
        "swapped-hashes": proof(
            "\n".join([*lines[:2], lines[3], lines[2], *lines[4:]]) + "\n\n" + note
        ),
        "hash-without-padding": proof(text.replace("=\n", "\n", 1)),
        "extra-not-base64": proof(text.replace("index", "extra ?\nindex")),
        "larger-tree": proof(text.replace(f"\n{TREE_SIZE}\n", f"\n{TREE_SIZE + 1}\n")),
        "rollback-to-a-smaller-tree": proof(
            text.replace(f"\n{TREE_SIZE}\n", f"\n{TREE_SIZE - 1}\n")
        ),
        "log-signature-dropped": proof(text.replace(signature, "")),
        "log-signature-of-a-stranger": make_receipt(key=stranger).to_document(),
        "log-signature-of-zeros": proof(text.replace(signature, f"— {ORIGIN} {renamed}\n")),
        "cosignature-time-changed": proof(_with_time(text, COSIGNED_AT + 1)),
        "cosignature-time-of-64-bits": proof(_with_time(text, 2**63)),
        "no-signatures": proof(text[: text.index("\n— ") + 1]),
        "entry-names-another-seq": entry_at(4, ledger_entry(3)),
        "entry-names-a-boolean-seq": entry_at(1, ledger_entry(1, seq=True)),
        "entry-names-no-seq": entry_at(4, canonical_bytes({"ledger": LEDGER})),
        "replay-of-another-ledger": entry_at(4, ledger_entry(4, ledger="acme.refunds")),
        "entry-not-json": entry_at(4, b"entry 4"),
        "entry-not-an-object": entry_at(4, b"[]"),
        "entry-with-a-member-twice": entry_at(4, b'{"ledger":"acme.payments","seq":3,"seq":4}'),
        "entry-missing": {name: good[name] for name in ("level", "proof")},
        "entry-an-object": good | {"entry": {}},
        "proof-missing": good | {"proof": None},
        "unsigned-with-proof": good | {"level": "unsigned"},
        "level-unknown": good | {"level": "notarised"},
        "member-unknown": good | {"colour": "red"},
        "payloads-an-object": good | {"payloads": {}},
        "registry-null": good | {"registry": None},
        "timestamp-null": good | {"timestamp": None},
        "registry-records-another-root": inheriting(
            registry_receipt(make_receipt(), cosigned=True, root="ab" * 32)
        ).to_document(),
        "registry-records-another-size": inheriting(
            registry_receipt(make_receipt(), cosigned=True, size=TREE_SIZE + 1)
        ).to_document(),
        "registry-records-another-ledger": inheriting(
            registry_receipt(make_receipt(), cosigned=True, ledger="acme.refunds")
        ).to_document(),
        "registry-says-something-else": inheriting(
            registry_receipt(make_receipt(), cosigned=True, type_="checkpoint.forgotten")
        ).to_document(),
        "registry-receipt-of-the-ledger-itself": inheriting(good).to_document(),
        "registry-under-another-registry": inheriting(
            registry_receipt(make_receipt()) | {"registry": registry_receipt(make_receipt())}
        ).to_document(),
    }


def _with_time(text: str, at: int) -> str:
    *before, line = text.removesuffix("\n").split("\n")
    name, _, blob = line.removeprefix("— ").partition(" ")
    octets = base64.b64decode(blob)
    changed = base64.b64encode(octets[:4] + at.to_bytes(8, "big") + octets[12:]).decode()
    return "\n".join([*before, f"— {name} {changed}", ""])


def run_receipt(document: dict[str, Any], *, quorum: int = 0) -> str:
    """Verify a document of `receipt.json` under its keys; the level reached."""
    return verify_receipt(
        parse_receipt(document),
        [LOG_KEY.verifier],
        witnesses=[witness_verifier()],
        quorum=quorum,
    ).level


def _receipts() -> dict[str, Any]:
    cosigned = make_receipt(cosigned=True)
    shown = {"name": "note", "media_type": "text/plain; charset=utf-8", "commitment": "ab" * 32}
    accepted = {
        "log-signed": make_receipt(),
        "cosigned": cosigned,
        "first-entry": make_receipt(0, cosigned=True),
        "last-entry": make_receipt(TREE_SIZE - 1, cosigned=True),
        "payloads-come-along": replace(cosigned, payloads=(shown,)),
        "inherits-from-the-registry": inheriting(registry_receipt(make_receipt(), cosigned=True)),
        "recorded-by-a-registry-without-witnesses": inheriting(registry_receipt(make_receipt())),
        "registry-of-another-host": inheriting(
            registry_receipt(make_receipt(), host="elsewhere.example", cosigned=True)
        ),
        "level-claimed-too-low": Receipt(
            level="log-signed", proof=cosigned.proof, entry=cosigned.entry
        ),
        "level-claimed-too-high": Receipt(
            level="timestamped", proof=make_receipt().proof, entry=cosigned.entry
        ),
    }
    documents = {name: receipt.to_document() for name, receipt in accepted.items()}
    return {
        "about": "under log_vkey and witness_vkey, accepted receipts reach `reached` and "
        "refused ones fail by `error`; keys have published seeds: never trust them",
        "log_vkey": LOG_KEY.verifier.encode(),
        "witness_vkey": witness_verifier().encode(),
        "accepted": [
            {"name": name, "receipt": document, "reached": run_receipt(document)}
            for name, document in documents.items()
        ],
        "one_file": [{"receipt": documents["cosigned"], "text": cosigned.to_text()}],
        "without_quorum": [
            {
                "name": "log-signed",
                "receipt": documents["log-signed"],
                "quorum": 1,
                **_refusal(lambda: run_receipt(documents["log-signed"], quorum=1)),
            }
        ],
        "refused": [
            {"name": name, "receipt": each, **_refusal(lambda each=each: run_receipt(each))}
            for name, each in damaged_receipts().items()
        ],
    }


def main() -> None:
    """Write the files beside this one."""
    for name, content in vectors().items():
        (HERE / name).write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
