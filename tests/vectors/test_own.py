"""
Laws of our own vectors: the published files, run as another program would run them.

What a file says is computed a second time from primitives alone where that is short: a hash, a
signature, a seal. The rest is held against the code. The files are what the generators write.
"""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ledger import errors
from ledger.canonical import parse_json
from ledger.effect import Rules, build_effect, read_effect
from ledger.entry import UnreadEntry, genesis_hash, parse_entry, verify_chain
from ledger.errors import MalformedProofError, VerificationError
from ledger.forms.payload import build_payloads, commitment, open_sealed, unwrap_data_key
from ledger.forms.timestamps import parse_time
from ledger.merkle import (
    Frontier,
    build_consistency_proof,
    build_inclusion_proof,
    leaf_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from ledger.note import VerifierKey
from ledger.receipt import parse_receipt, parse_receipt_text, verify_receipt
from ledger.tiles import (
    completed_tiles,
    entry_bundle,
    parse_entry_bundle,
    parse_tile_path,
    partial_width,
    tile_path,
)
from tests.vectors import generate_entries, generate_proofs

HERE = Path(__file__).parent
GENERATORS = {
    **dict.fromkeys(["effect.json", "entry.json", "payload.json", "notice.json"], generate_entries),
    **dict.fromkeys(
        ["merkle.json", "frontier.json", "tiles.json", "receipt.json"], generate_proofs
    ),
}


def read(name):
    return json.loads((HERE / name).read_text("utf-8"))


EFFECTS, NOTICES = read("effect.json"), read("notice.json")
ENTRIES, PAYLOADS = read("entry.json"), read("payload.json")
MERKLE, FRONTIERS = read("merkle.json"), read("frontier.json")
TILES, RECEIPTS = read("tiles.json"), read("receipt.json")
LEAVES = [hashlib.sha256(b"\0entry %d" % at).digest() for at in range(600)]


def octets(hashes):
    return [bytes.fromhex(each) for each in hashes]


def by_name(cases):
    return [pytest.param(case, id=case["name"]) for case in cases]


def refused(case, attempt):
    """Assert that `attempt` fails by exactly the error the case names, at its pointer."""
    with pytest.raises(getattr(errors, case["error"])) as caught:
        attempt()
    assert type(caught.value).__name__ == case["error"]
    for name in ("pointer", "limit", "seq"):
        if name in case:
            assert caught.value.details[name] == case[name]


# ---- The files ------------------------------------------------------------------------


def test_every_published_file_has_a_generator():
    assert {path.name for path in HERE.glob("*.json")} == GENERATORS.keys()


@pytest.mark.parametrize("generator", [generate_entries, generate_proofs])
def test_generators_write_the_published_files_byte_for_byte(generator, tmp_path, monkeypatch):
    """Keys and signatures too: seeds are published, and Ed25519 draws nothing."""
    monkeypatch.setattr(generator, "HERE", tmp_path)
    generator.main()

    written = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert written.keys() == {name for name, by in GENERATORS.items() if by is generator}
    for name, content in written.items():
        assert content == (HERE / name).read_bytes(), f"{name} is not what is generated now"


# ---- Effects and notices --------------------------------------------------------------

RULES = {
    "effect": Rules(units=EFFECTS["units"]),
    "notice": Rules(notices=True),
}
WORDS = [
    pytest.param(kind, case, id=f"{kind}-{case['name']}")
    for kind, vectors in (("effect", EFFECTS), ("notice", NOTICES))
    for case in vectors["accepted"]
]
REFUSED_WORDS = [
    pytest.param(kind, case, id=f"{kind}-{case['name']}")
    for kind, vectors in (("effect", EFFECTS), ("notice", NOTICES))
    for case in vectors["refused"]
]


def build(kind, document):
    return build_effect(document, rules=RULES[kind], now=parse_time(EFFECTS["now"]))


@pytest.mark.parametrize(("kind", "case"), WORDS)
def test_words_have_their_one_encoding(kind, case):
    encoded = case["encoded"].encode()

    assert rfc8785.dumps(json.loads(encoded)) == encoded
    assert hashlib.sha256(encoded).hexdigest() == case["sha256"]
    assert build(kind, case["document"]).encoded == encoded
    assert read_effect(parse_json(encoded)).encoded == encoded


@pytest.mark.parametrize(("kind", "case"), REFUSED_WORDS)
def test_wrong_words_are_refused_where_they_are_wrong(kind, case):
    refused(case, lambda: build(kind, case["document"]))


# ---- Entries --------------------------------------------------------------------------


@pytest.mark.parametrize("case", ENTRIES["genesis"], ids=lambda case: case["origin"])
def test_a_chain_begins_with_its_origin(case):
    text = f"effect-ledger/genesis/v1\n{case['origin']}"

    assert hashlib.sha256(text.encode()).hexdigest() == case["hash"]
    assert genesis_hash(case["origin"]).hex() == case["hash"]


def test_the_published_chain_can_be_followed_with_a_hash_function_alone():
    prev = ENTRIES["genesis"][0]["hash"]
    for seq, case in enumerate(ENTRIES["entries"]):
        encoded = case["encoded"].encode()
        members = json.loads(encoded)
        assert rfc8785.dumps(members) == encoded
        assert (members["seq"], members["prev"]) == (seq, prev)
        assert hashlib.sha256(b"\0" + encoded).hexdigest() == case["hash"]
        prev = case["hash"]


def test_the_published_chain_verifies_to_its_root():
    encoded = [case["encoded"].encode() for case in ENTRIES["entries"]]
    head = verify_chain(encoded, ledger=ENTRIES["ledger"], origin=ENTRIES["origin"])

    assert (head.size, head.root.hex()) == (ENTRIES["size"], ENTRIES["root"])
    assert [parse_entry(each).hash.hex() for each in encoded] == [
        case["hash"] for case in ENTRIES["entries"]
    ]


def test_the_posters_signature_is_over_the_effect_bytes():
    signed = json.loads(ENTRIES["entries"][ENTRIES["poster_key"]["signed_seq"]]["encoded"])
    message = b"effect-ledger/effect/v1\n" + rfc8785.dumps(signed["effect"])

    assert signed["signature"]["key_id"] == ENTRIES["poster_key"]["key_id"]
    public_key = bytes.fromhex(ENTRIES["poster_key"]["public_key"])
    Ed25519PublicKey.from_public_bytes(public_key).verify(
        base64.b64decode(signed["signature"]["sig"]), message
    )


def test_a_later_version_has_a_hash_and_is_not_read():
    later = parse_entry(ENTRIES["later_version"]["encoded"].encode())

    assert isinstance(later, UnreadEntry)
    assert later.hash.hex() == ENTRIES["later_version"]["hash"]


@pytest.mark.parametrize("case", by_name(ENTRIES["refused"]))
def test_a_broken_chain_is_refused_at_its_first_bad_entry(case):
    encoded = [each.encode() for each in case["entries"]]

    refused(case, lambda: verify_chain(encoded, ledger=ENTRIES["ledger"], origin=ENTRIES["origin"]))


# ---- Payloads -------------------------------------------------------------------------


@pytest.mark.parametrize("case", PAYLOADS["commitments"])
def test_a_commitment_is_one_hash(case):
    salt, content = bytes.fromhex(case["salt"]), base64.b64decode(case["content"])
    preimage = b"effect-ledger/payload/v1\n" + salt + content

    assert hashlib.sha256(preimage).hexdigest() == case["commitment"]
    assert commitment(salt, content).hex() == case["commitment"]


@pytest.mark.parametrize("case", by_name(PAYLOADS["accepted"]))
def test_payloads_are_kept_in_these_octets(case):
    built = build_payloads(case["request"]["payloads"], note=case["request"].get("note"))

    assert [(each.name, each.media_type, each.content) for each in built] == [
        (each["name"], each["media_type"], base64.b64decode(each["content"]))
        for each in case["payloads"]
    ]


@pytest.mark.parametrize("case", by_name(PAYLOADS["refused"]))
def test_wrong_payloads_are_refused_where_they_are_wrong(case):
    request = case["request"]

    refused(case, lambda: build_payloads(request["payloads"], note=request.get("note")))


def test_a_seal_opens_with_aes_gcm_alone():
    case = PAYLOADS["sealed"]
    sealed, key = base64.b64decode(case["sealed"]), bytes.fromhex(case["data_key"])
    salt, content = bytes.fromhex(case["salt"]), base64.b64decode(case["content"])
    place = {name: case[name] for name in ("origin", "entry_id", "name")}

    plain = AESGCM(key).decrypt(sealed[:12], sealed[12:], case["aad"].encode())
    assert plain == salt + content
    assert open_sealed(sealed, data_key=key, **place) == (salt, content)


def test_a_wrapped_key_opens_with_aes_gcm_alone():
    case = PAYLOADS["wrapped"]
    wrapped, key = base64.b64decode(case["wrapped"]), bytes.fromhex(case["payload_key"])
    data_key = bytes.fromhex(case["data_key"])

    assert AESGCM(key).decrypt(wrapped[:12], wrapped[12:], case["aad"].encode()) == data_key
    assert unwrap_data_key(key, wrapped, case["ledger"], case["data_subject"]) == data_key


# ---- Trees ----------------------------------------------------------------------------


def read_node(level, index):
    return root_of(LEAVES[index << level : (index + 1) << level])


def run_inclusion(case):
    leaf, root, *proof = octets([case["leaf"], case["root"], *case["proof"]])
    verify_inclusion(leaf, case["index"], case["size"], proof, root)


def run_consistency(case):
    old_root, new_root, *proof = octets([case["old_root"], case["new_root"], *case["proof"]])
    verify_consistency(case["old"], case["new"], old_root, new_root, proof)


@pytest.mark.parametrize("case", MERKLE["roots"], ids=lambda case: str(case["size"]))
def test_trees_have_their_roots(case):
    assert leaf_hash(b"entry 7") == LEAVES[7]
    assert root_of(LEAVES[: case["size"]]).hex() == case["root"]


def test_inclusion_proofs_hold_and_are_the_ones_we_build():
    for case in MERKLE["inclusion"]:
        run_inclusion(case)
        built = build_inclusion_proof(case["index"], case["size"], read_node)
        assert built == octets(case["proof"])


def test_consistency_proofs_hold_and_are_the_ones_we_build():
    for case in MERKLE["consistency"]:
        run_consistency(case)
        built = build_consistency_proof(case["old"], case["new"], read_node)
        assert built == octets(case["proof"])


@pytest.mark.parametrize("case", by_name(MERKLE["refused_inclusion"]))
def test_damaged_inclusion_proofs_are_refused(case):
    refused(case, lambda: run_inclusion(case))


@pytest.mark.parametrize("case", by_name(MERKLE["refused_consistency"]))
def test_damaged_consistency_proofs_are_refused(case):
    refused(case, lambda: run_consistency(case))


@pytest.mark.parametrize("case", FRONTIERS["frontiers"], ids=lambda case: str(case["size"]))
def test_frontiers_are_read_written_grown_and_folded(case):
    frontier = Frontier.from_bytes(case["size"], bytes.fromhex(case["frontier"]))

    assert frontier == Frontier.empty().extend(LEAVES[: case["size"]])
    assert frontier.to_bytes().hex() == case["frontier"]
    assert frontier.root().hex() == case["root"]


@pytest.mark.parametrize("case", by_name(FRONTIERS["refused"]))
def test_frontiers_of_another_length_are_refused(case):
    with pytest.raises(MalformedProofError):
        Frontier.from_bytes(case["size"], bytes.fromhex(case["frontier"]))


# ---- Tiles ----------------------------------------------------------------------------


@pytest.mark.parametrize("case", TILES["paths"], ids=lambda case: case["path"])
def test_tiles_have_their_paths(case):
    found = parse_tile_path(case["path"])

    assert (found.level, found.index, found.width) == (case["level"], case["index"], case["width"])
    assert tile_path(case["level"], case["index"], case["width"]) == case["path"]


@pytest.mark.parametrize("case", by_name(TILES["refused_paths"]))
def test_other_paths_name_no_tile(case):
    refused(case, lambda: parse_tile_path(case["path"]))


def test_tiles_have_their_widths():
    for case in TILES["widths"]:
        assert partial_width(case["level"], case["index"], case["size"]) == case["width"]


@pytest.mark.parametrize("case", TILES["bundles"], ids=lambda case: str(len(case["entries"])))
def test_bundles_are_read_and_written(case):
    entries, bundle = octets(case["entries"]), bytes.fromhex(case["bundle"])

    assert parse_entry_bundle(bundle) == entries
    assert entry_bundle(entries) == bundle


@pytest.mark.parametrize("case", by_name(TILES["refused_bundles"]))
def test_damaged_bundles_are_refused(case):
    with pytest.raises(MalformedProofError):
        parse_entry_bundle(bytes.fromhex(case["bundle"]))


@pytest.mark.parametrize(
    "case", TILES["completed"], ids=lambda case: f"{case['before']}-to-{case['after']}"
)
def test_appends_complete_these_tiles(case):
    def read_partial(level, index):
        assert level == 0, "no tile above the entries is begun below 65,536 of them"
        return LEAVES[index * 256 : case["before"]]

    leaves = LEAVES[case["before"] : case["after"]]
    tiles = completed_tiles(case["before"], leaves, read_partial)

    assert [
        {"level": tile.level, "index": tile.index, "root": tile.root.hex()} for tile in tiles
    ] == case["tiles"]


# ---- Receipts -------------------------------------------------------------------------

LOG = VerifierKey.parse(RECEIPTS["log_vkey"])
WITNESS = VerifierKey.parse(RECEIPTS["witness_vkey"])


def verify(receipt, quorum=0):
    return verify_receipt(receipt, [LOG], witnesses=[WITNESS], quorum=quorum)


@pytest.mark.parametrize("case", by_name(RECEIPTS["accepted"]))
def test_receipts_reach_their_level(case):
    receipt = parse_receipt(case["receipt"])

    assert verify(receipt).level == case["reached"]
    assert receipt.to_document() == case["receipt"]


@pytest.mark.parametrize("case", RECEIPTS["one_file"])
def test_the_one_file_form_is_the_same_receipt(case):
    receipt = parse_receipt(case["receipt"])

    assert receipt.to_text() == case["text"]
    assert verify(parse_receipt_text(case["text"])) == verify(receipt)


@pytest.mark.parametrize("case", by_name(RECEIPTS["without_quorum"]))
def test_receipts_without_their_witnesses_are_refused(case):
    refused(case, lambda: verify(parse_receipt(case["receipt"]), case["quorum"]))


@pytest.mark.parametrize("case", by_name(RECEIPTS["refused"]))
def test_damaged_receipts_are_refused(case):
    assert issubclass(getattr(errors, case["error"]), VerificationError)
    refused(case, lambda: verify(parse_receipt(case["receipt"])))
