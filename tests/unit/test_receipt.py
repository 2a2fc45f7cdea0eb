"""Laws of receipts: an entry, its place and a signature, and no bit of them can be changed."""

from __future__ import annotations

import base64
import json
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from ledger.canonical import canonical_bytes, parse_json
from ledger.checkpoint import SIZE_MAX, Checkpoint, sign_checkpoint
from ledger.errors import InclusionError, MalformedProofError, SignatureError, VerificationError
from ledger.merkle import BatchProver, Frontier, leaf_hash, root_of
from ledger.note import ED25519_COSIGNATURE, NoteKey, Signature, VerifierKey, key_id, parse_note
from ledger.receipt import (
    Receipt,
    TlogProof,
    parse_receipt,
    parse_receipt_text,
    parse_tlog_proof,
    verify_receipt,
    verify_tlog_proof,
)

LEDGER = "orders"
KEY = NoteKey(
    name=f"log.example/{LEDGER}", private_key=Ed25519PrivateKey.from_private_bytes(b"L" * 32)
)
LOG = KEY.verifier
HASH = base64.b64encode(bytes(32)).decode()


class Witness:
    """Signs checkpoints with a key of its own, which it may have several of."""

    def __init__(self, name, seed=b"W"):
        self._private_key = Ed25519PrivateKey.from_private_bytes(seed * 32)
        public_key = self._private_key.public_key().public_bytes_raw()
        self.verifier = VerifierKey(
            name=name,
            key_id=key_id(name, ED25519_COSIGNATURE, public_key),
            algorithm=ED25519_COSIGNATURE,
            public_key=public_key,
        )

    def cosign(self, note, at=5):
        message = f"cosignature/v1\ntime {at}\n{parse_note(note).text}".encode()
        line = Signature(
            name=self.verifier.name,
            key_id=self.verifier.key_id,
            signature=at.to_bytes(8) + self._private_key.sign(message),
        )
        return note + line.encode().encode()


WITNESS = Witness("witness.example/w1")
SECOND = Witness("witness.example/w2", b"X")
ROTATED = Witness("witness.example/w1", b"Y")


def entry(seq, /, **members):
    return canonical_bytes({"ledger": LEDGER, "seq": seq, "text": "Zoë", **members})


def receipt_of(seq=4, size=7, *, recorded=None, key=KEY, witnesses=()):
    """The receipt of an entry in a tree of `size`, with `recorded` at its place if given."""
    entries = [entry(at) for at in range(size)]
    if recorded is not None:
        entries[seq] = recorded
    leaves = [leaf_hash(each) for each in entries]
    checkpoint = Checkpoint(origin=key.name, size=size, root=root_of(leaves))
    note = sign_checkpoint(checkpoint, key)
    for witness in witnesses:
        note = witness.cosign(note)
    proof = TlogProof(
        index=seq,
        hashes=tuple(BatchProver(Frontier.empty(), leaves).inclusion_proof(seq)),
        checkpoint_note=note,
    )
    level = "cosigned" if witnesses else "log-signed"
    return Receipt(level=level, proof=proof.encode(), entry=entries[seq])


def verify(receipt, *witnesses, quorum=0):
    known = [witness.verifier for witness in witnesses]
    return verify_receipt(receipt, [LOG], witnesses=known, quorum=quorum)


# ---- What a receipt proves ------------------------------------------------------------


@given(st.integers(1, 40).flatmap(lambda size: st.tuples(st.integers(0, size - 1), st.just(size))))
def test_every_entry_of_every_tree_proves_its_place(place):
    seq, size = place
    receipt = receipt_of(seq, size)
    found = verify(receipt)

    assert (found.entry, found.ledger, found.seq) == (receipt.entry, LEDGER, seq)
    assert (found.place.checkpoint.size, found.level) == (size, "log-signed")


def test_a_receipt_in_any_of_its_forms_is_the_same():
    receipt = receipt_of(witnesses=[WITNESS])
    document = parse_json(canonical_bytes(receipt.to_document()))

    assert parse_receipt(document) == receipt
    assert verify(parse_receipt_text(receipt.to_text()), WITNESS) == verify(receipt, WITNESS)
    assert parse_tlog_proof(receipt.to_text()).extra == receipt.entry


def test_what_comes_along_is_kept_as_it_is():
    payload = {"name": "note", "media_type": "text/plain", "commitment": "00"}
    receipt = receipt_of()
    document = receipt.to_document() | {"payloads": [payload], "timestamp": "AAAA"}
    read = parse_receipt(document)

    assert (read.payloads, read.timestamp) == ((payload,), bytes(3))
    assert read.to_document() == document
    assert replace(verify(read), unproved=()) == verify(receipt)
    assert verify(read).unproved == ("its timestamp: no authority is trusted here",)


@pytest.mark.parametrize("claimed", ["log-signed", "cosigned", "timestamped"])
def test_the_level_is_what_was_found_and_not_what_is_claimed(claimed):
    for witnesses, reached in (([], "log-signed"), ([WITNESS], "cosigned")):
        receipt = receipt_of(witnesses=witnesses)
        claim = Receipt(level=claimed, proof=receipt.proof, entry=receipt.entry)
        assert verify(claim, WITNESS).level == reached
        assert verify(claim).level == "log-signed"
        carries = claimed == "log-signed" or (claimed == "cosigned" and witnesses)
        assert (verify(claim).overclaim is None) is bool(carries)


def test_no_changed_bit_of_entry_or_proof_goes_unnoticed():
    """With a witness required, so that its line is not merely one of an unknown key."""
    good = receipt_of(2, 4, witnesses=[WITNESS])
    verify(good, WITNESS, quorum=1)
    for part in ("entry", "proof"):
        octets = good.entry if part == "entry" else good.proof.encode()
        for at in range(len(octets)):
            damaged = bytearray(octets)
            damaged[at] ^= 1 << at % 8
            changed = (
                Receipt(level=good.level, proof=good.proof, entry=bytes(damaged))
                if part == "entry"
                else Receipt(
                    level=good.level,
                    # What is no UTF-8 any more comes as from a careless reader.
                    proof=damaged.decode(errors="surrogateescape"),
                    entry=good.entry,
                )
            )
            with pytest.raises(VerificationError):
                verify(changed, WITNESS, quorum=1)


def test_no_truncated_proof_verifies():
    good = receipt_of(2, 4)
    for size in range(len(good.proof)):
        cut = Receipt(level=good.level, proof=good.proof[:size], entry=good.entry)
        with pytest.raises(VerificationError):
            verify(cut)


def test_an_unsigned_receipt_proves_nothing_and_says_where_the_signed_one_is():
    unsigned = Receipt(level="unsigned", proof=None, entry=entry(4))

    assert parse_receipt(unsigned.to_document()) == unsigned
    for use in (unsigned.to_text, lambda: verify(unsigned)):
        with pytest.raises(SignatureError, match=r"GET /v1/ledgers/.*/receipt"):
            use()


@pytest.mark.parametrize(("level", "proof"), [("unsigned", "x"), ("log-signed", None)])
def test_a_receipt_has_a_proof_exactly_when_it_is_signed(level, proof):
    with pytest.raises(AssertionError):
        Receipt(level=level, proof=proof, entry=entry(4))


# ---- Place ----------------------------------------------------------------------------

MISPLACED = {
    "other-seq": entry(3),
    "seq-as-text": entry(4, seq="4"),
    "seq-as-boolean": entry(4, seq=True),
    "no-seq": canonical_bytes({"ledger": LEDGER}),
    "seq-as-float": b'{"ledger":"orders","seq":4.0}',
    "other-ledger": entry(4, ledger="refunds"),
    "no-ledger": canonical_bytes({"seq": 4}),
    "ledger-as-list": entry(4, ledger=[LEDGER]),
}
NO_ENTRY = {
    "prose": b"entry 4",
    "nothing": b"",
    "list": b"[]",
    "text": b'"orders"',
    "not-utf-8": b"\xff",
    "seq-twice": b'{"ledger":"orders","seq":3,"seq":4}',
}


@pytest.mark.parametrize("recorded", MISPLACED.values(), ids=MISPLACED)
def test_an_entry_that_names_another_place_is_refused(recorded):
    """The log signed it there all the same: a receipt is held to what its entry says too."""
    with pytest.raises(InclusionError, match="the entry has"):
        verify(receipt_of(recorded=recorded))


@pytest.mark.parametrize("recorded", NO_ENTRY.values(), ids=NO_ENTRY)
def test_a_leaf_that_is_no_entry_is_refused(recorded):
    with pytest.raises(MalformedProofError, match="the entry is not"):
        verify(receipt_of(recorded=recorded))


def test_a_proof_speaks_of_any_leaf_and_a_receipt_of_entries_only():
    receipt = receipt_of(recorded=b"entry 4")
    place = verify_tlog_proof(parse_tlog_proof(receipt.proof), leaf_hash(b"entry 4"), [LOG])

    assert (place.index, place.level, place.witnesses) == (4, "log-signed", ())


def test_a_receipt_of_another_log_is_refused():
    stranger = NoteKey(name="elsewhere.example/orders", private_key=KEY.private_key)
    with pytest.raises(SignatureError):
        verify(receipt_of(key=stranger))


def test_an_origin_without_a_host_is_the_name_of_its_ledger():
    bare = NoteKey(name=LEDGER, private_key=KEY.private_key)

    assert verify_receipt(receipt_of(key=bare), [bare.verifier]).ledger == LEDGER


# ---- Witnesses ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cosigned_by", "known", "names"),
    [
        ([], [WITNESS], ()),
        ([WITNESS], [], ()),
        ([WITNESS], [WITNESS, SECOND], ("witness.example/w1",)),
        ([SECOND, WITNESS], [WITNESS, SECOND], ("witness.example/w1", "witness.example/w2")),
        ([WITNESS, ROTATED], [WITNESS, ROTATED], ("witness.example/w1",)),
    ],
    ids=["none", "unknown", "one-of-two", "both", "one-with-two-keys"],
)
def test_a_quorum_counts_known_witnesses_by_name(cosigned_by, known, names):
    receipt = receipt_of(witnesses=cosigned_by)
    for quorum in range(4):
        if quorum <= len(names):
            assert verify(receipt, *known, quorum=quorum).place.witnesses == names
        else:
            with pytest.raises(SignatureError, match=f"expected {quorum} of {len(known)}"):
                verify(receipt, *known, quorum=quorum)


def test_the_log_is_no_witness_of_itself():
    receipt = receipt_of()
    with pytest.raises(SignatureError, match="expected 1 of 1 witnesses, found 0"):
        verify_receipt(receipt, [LOG], witnesses=[LOG], quorum=1)
    assert verify_receipt(receipt, [LOG], witnesses=[LOG]).level == "log-signed"


def test_a_witness_alone_does_not_make_a_receipt():
    good = receipt_of(witnesses=[WITNESS])
    log_line = parse_note(parse_tlog_proof(good.proof).checkpoint_note).signatures[0].encode()
    alone = Receipt(level="cosigned", proof=good.proof.replace(log_line, ""), entry=good.entry)
    with pytest.raises(SignatureError, match="no signature by a key of"):
        verify(alone, WITNESS)


# ---- Proof text -----------------------------------------------------------------------

PROOF = receipt_of().proof
HEAD, _, NOTE = PROOF.partition("\n\n")
HASHES = HEAD.split("\n")[2:]
NOT_A_PROOF = {
    "nothing": "",
    "header-alone": "c2sp.org/tlog-proof@v1\n",
    "other-version": PROOF.replace("@v1", "@v2"),
    "space-before-header": " " + PROOF,
    "no-blank-line": HEAD + "\n" + NOTE,
    "index-missing": PROOF.replace("index 4\n", ""),
    "index-missing-and-no-hashes": f"c2sp.org/tlog-proof@v1\n\n{NOTE}",
    "index-empty": PROOF.replace("index 4", "index "),
    "index-negative": PROOF.replace("index 4", "index -4"),
    "index-with-leading-zero": PROOF.replace("index 4", "index 04"),
    "index-with-space": PROOF.replace("index 4", "index 4 "),
    "index-in-other-digits": PROOF.replace("index 4", "index \N{ARABIC-INDIC DIGIT FOUR}"),
    "index-of-64-bits": PROOF.replace("index 4", f"index {2**63}"),
    "index-twice": PROOF.replace("index 4", "index 4\nindex 4"),
    "extra-after-index": PROOF.replace("index 4", "index 4\nextra AA=="),
    "extra-twice": PROOF.replace("index 4", "extra AA==\nextra AA==\nindex 4"),
    "extra-not-base64": PROOF.replace("index 4", "extra ?\nindex 4"),
    "extra-not-text": PROOF.replace("index 4", "extra \ud800\nindex 4"),
    "hash-not-base64": PROOF.replace(HASHES[0], "?" * 44),
    "hash-without-padding": PROOF.replace(HASHES[0], HASHES[0].rstrip("=")),
    "hash-of-31-bytes": PROOF.replace(HASHES[0], base64.b64encode(bytes(31)).decode()),
    "hash-with-space": PROOF.replace(HASHES[0], HASHES[0] + " "),
    "sixty-four-hashes": PROOF.replace(HASHES[0], "\n".join([HASH] * 62)),
    "note-missing": HEAD + "\n\n",
    "note-without-signature": PROOF[: PROOF.index("\n\N{EM DASH}") + 1],
    "note-with-a-surrogate": PROOF.replace("orders\n", "orders\ud800\n"),
}


@pytest.mark.parametrize("text", NOT_A_PROOF.values(), ids=NOT_A_PROOF)
def test_what_is_not_proof_text_is_refused(text):
    assert text != PROOF
    with pytest.raises(MalformedProofError):
        parse_tlog_proof(text)


proofs = st.builds(
    TlogProof,
    index=st.integers(0, SIZE_MAX),
    hashes=st.lists(st.binary(min_size=32, max_size=32), max_size=63).map(tuple),
    checkpoint_note=st.just(NOTE.encode()),
    extra=st.none() | st.binary(max_size=50),
)


@given(proofs)
def test_a_proof_reads_back(proof):
    assert parse_tlog_proof(proof.encode()) == proof


def test_a_proof_has_a_hash_per_level_of_the_largest_tree_at_most():
    largest = TlogProof(index=SIZE_MAX, hashes=(bytes(32),) * 63, checkpoint_note=NOTE.encode())

    assert parse_tlog_proof(largest.encode()) == largest
    with pytest.raises(MalformedProofError, match="has 64 hashes, the limit is 63"):
        parse_tlog_proof(replace(largest, hashes=(bytes(32),) * 64).encode())


LINES = st.sampled_from(
    [
        "c2sp.org/tlog-proof@v1",
        "index 4",
        "index 0",
        "extra AA==",
        "extra ",
        HASH,
        "",
        *NOTE.split("\n"),
    ]
)


@given(st.lists(LINES | st.text(st.characters(), max_size=4), max_size=9).map("\n".join))
def test_any_text_is_a_proof_of_one_spelling_or_refused_by_our_error(text):
    for each in (text, f"c2sp.org/tlog-proof@v1\n{text}", f"{text}\n\n{NOTE}"):
        try:
            proof = parse_tlog_proof(each)
        except MalformedProofError:
            continue
        assert proof.encode() == each


# ---- Documents ------------------------------------------------------------------------

DOCUMENT = receipt_of().to_document()
NOT_A_RECEIPT = {
    "list": [],
    "text": "receipt",
    "nothing": {},
    "level-missing": {name: DOCUMENT[name] for name in ("proof", "entry")},
    "level-unknown": DOCUMENT | {"level": "notarised"},
    "level-a-list": DOCUMENT | {"level": ["log-signed"]},
    "entry-missing": {name: DOCUMENT[name] for name in ("level", "proof")},
    "entry-an-object": DOCUMENT | {"entry": {}},
    "proof-missing": DOCUMENT | {"proof": None},
    "proof-an-object": DOCUMENT | {"proof": {}},
    "unsigned-with-proof": DOCUMENT | {"level": "unsigned"},
    "payloads-an-object": DOCUMENT | {"payloads": {}},
    "payloads-of-text": DOCUMENT | {"payloads": ["note"]},
    "registry-null": DOCUMENT | {"registry": None},
    "registry-a-list": DOCUMENT | {"registry": []},
    "unknown-member": DOCUMENT | {"colour": "red"},
}


@pytest.mark.parametrize("document", NOT_A_RECEIPT.values(), ids=NOT_A_RECEIPT)
def test_what_is_not_a_receipt_is_refused(document):
    with pytest.raises(MalformedProofError, match="receipt"):
        parse_receipt(document)


def test_the_first_unknown_member_is_named():
    strange = dict.fromkeys(["zebra", "yak", "xerus", "wolf", "vole", "aardvark"], 1)
    with pytest.raises(MalformedProofError, match="aardvark is not a member known here"):
        parse_receipt(DOCUMENT | strange)


def test_an_entry_that_has_no_octets_is_refused():
    with pytest.raises(MalformedProofError, match="the entry has an unpaired surrogate"):
        parse_receipt(DOCUMENT | {"entry": "\ud800"})


@pytest.mark.parametrize("extra", [None, b"\xff", b"{\xc3"], ids=["absent", "octets", "cut-short"])
def test_a_proof_that_carries_no_entry_is_no_receipt(extra):
    proof = parse_tlog_proof(PROOF)
    text = TlogProof(
        index=proof.index, hashes=proof.hashes, checkpoint_note=proof.checkpoint_note, extra=extra
    ).encode()
    with pytest.raises(MalformedProofError, match="entry"):
        parse_receipt_text(text)


def test_a_receipt_that_was_read_can_be_written_in_either_form():
    """Whatever the proof carries: what has no second form is refused in reading."""
    read = parse_receipt_text(receipt_of(recorded=b"not an entry").to_text())

    assert parse_receipt(json.loads(json.dumps(read.to_document()))) == read
