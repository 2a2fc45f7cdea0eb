"""
Hostile proofs: whatever a forger does to evidence, it is refused, or still proves what is true.

Where it is accepted, what it was found to state is one of the statements that were really
signed; and nothing that is refused is refused by anything but an error of ours. Ten thousand of
each run are in the slow suite, a sample in the other one.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger import receipt as receipt_module
from ledger.canonical import canonical_bytes, parse_json
from ledger.checkpoint import open_checkpoint, parse_checkpoint
from ledger.cli.verify.receipt import read_receipt
from ledger.copies.continuity import Contradiction, check_shown, find_contradiction, tile_reader
from ledger.copies.log_copy import read_bundle, verify_copy
from ledger.cosignature import ed25519_cosigner
from ledger.entry import Admitted, Head, chain, parse_entry
from ledger.errors import ConsistencyError, LedgerError, MalformedProofError, SettingsError
from ledger.merkle import (
    BatchProver,
    Frontier,
    LeafIndex,
    TreeSize,
    leaf_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from ledger.note import VerifierKey, decode_base64, open_note, parse_note
from ledger.policy import parse_policy, verify_receipt_under
from ledger.receipt import Receipt, TlogProof, parse_tlog_proof, verify_receipt, verify_tlog_proof
from ledger.tiles import parse_tile_path, tile_path
from ledger.tree import Tree
from ledger.watch.evidence import KIND, verify_evidence
from ledger.witness.protocol import (
    AddCheckpoint,
    encode_answer,
    parse_add_checkpoint,
    parse_answer,
)
from tests.faults.mutations import CHANGES, forge
from tests.unit.plain_log import Log

TOTAL = 10_000
SAMPLE = 25
"""Of each kind of evidence, in the fast suite."""

# ---- What is true ---------------------------------------------------------------------

LEDGER, ELSEWHERE = "orders", "refunds"
ORIGIN = f"log.example/{LEDGER}"
VECTORS = json.loads((Path(__file__).parents[1] / "vectors/entry.json").read_text("utf-8"))
WORDS = [parse_entry(each["encoded"].encode()) for each in VECTORS["entries"]]
AT = "2026-03-02T12:00:00.000000Z"
SIZES = (1, 7, 255, 256, 300)


def recorded(ledger: str, start: int) -> list[bytes]:
    """Real entries, one chain."""
    admitted = [
        Admitted(
            effect=each.effect,
            id=each.id,
            poster=each.poster,
            payloads=each.payloads,
            signature=None,
        )
        for at in range(start, start + 300)
        if (each := WORDS[at % len(WORDS)])
    ]
    head = Head.genesis(ledger=ledger, origin=f"log.example/{ledger}")
    return [each.encoded for each in chain(head, admitted, recorded_at=AT)[0]]


LOG = Log.of(recorded(LEDGER, 0), origin=ORIGIN)
FORKED = Log.of(recorded(LEDGER, 1), origin=ORIGIN)
"""Another history under the same key."""
OTHER = Log.of(recorded(ELSEWHERE, 0), origin=f"log.example/{ELSEWHERE}")
KEYS = (LOG.key.verifier, OTHER.key.verifier)
WITNESS = ed25519_cosigner("witness.example/w1", Ed25519PrivateKey.from_private_bytes(b"w" * 32))
SEEN_AT = 1_772_400_000
POLICY_TEXT = (
    "".join(f"log {each.encode()}\n" for each in KEYS)
    + f"witness w1 {WITNESS.verifier.encode()} https://witness.example\n"
    + "group all all w1\nquorum all\n"
).encode()
POLICY = parse_policy(POLICY_TEXT)


def note_of(log: Log, size: int) -> bytes:
    return log.at(size).fetch("checkpoint")


def cosigned(note: bytes) -> bytes:
    opened = parse_note(note)
    line = WITNESS.sign(opened.text, time=SEEN_AT)
    return replace(opened, signatures=(*opened.signatures, line)).encode()


def statement(note: bytes) -> tuple[str, int, bytes]:
    stated = parse_checkpoint(parse_note(note).text)
    return stated.origin, stated.size, stated.root


LOGS = {LOG.origin: LOG, OTHER.origin: OTHER}
SIGNED = {statement(note_of(log, size)) for log in LOGS.values() for size in SIZES}
FORK_SIGNED = {statement(note_of(FORKED, size)) for size in SIZES}
SIGNED_TWICE = SIGNED | FORK_SIGNED


def proof_of(log: Log, seq: int, size: int, note: bytes) -> TlogProof:
    prover = BatchProver(Frontier.empty(), log.leaves[:size])
    return TlogProof(index=seq, hashes=tuple(prover.inclusion_proof(seq)), checkpoint_note=note)


def receipt_of(log: Log, seq: int, size: int, *, seen: bool = False) -> Receipt:
    note = note_of(log, size)
    proof = proof_of(log, seq, size, cosigned(note) if seen else note)
    level = "cosigned" if seen else "log-signed"
    return Receipt(level=level, proof=proof.encode(), entry=log.entries[seq])


# ---- Kinds of evidence ----------------------------------------------------------------


@dataclass(frozen=True)
class Evidence:
    """One kind: what of it there is, and whoever judges it."""

    there: Sequence[bytes]
    """Good ones; a forger begins with one and takes from the others."""
    check: Callable[[bytes], None]
    """Raises an error of ours where it refuses; fails where it accepts what is not true."""


def check_receipt(data: bytes) -> None:
    found, _ = read_receipt(Path("hostile"), data)
    proved = verify_receipt(found, KEYS)
    place = proved.place.checkpoint
    assert (place.origin, place.size, place.root) in SIGNED
    assert proved.seq < place.size
    assert proved.entry == LOGS[place.origin].entries[proved.seq]
    assert place.origin == f"log.example/{proved.ledger}"


def check_cosigned_receipt(data: bytes) -> None:
    found, _ = read_receipt(Path("hostile"), data)
    proved = verify_receipt_under(POLICY, found)
    place = proved.place.checkpoint
    assert (place.origin, place.size, place.root) in SIGNED
    assert proved.entry == LOGS[place.origin].entries[proved.seq]
    assert proved.place.witnesses == (WITNESS.name,)


def check_proof(data: bytes) -> None:
    proof = parse_tlog_proof(text_of(data))
    place = verify_tlog_proof(proof, LOG.leaves[4], KEYS)
    checkpoint = place.checkpoint
    assert (checkpoint.origin, checkpoint.size, checkpoint.root) in SIGNED
    assert (checkpoint.origin, place.index) == (ORIGIN, 4)


def check_note(data: bytes) -> None:
    opened = open_note(data, [*KEYS, WITNESS.verifier])
    assert statement(opened.encode()) in SIGNED
    assert opened.text in {parse_note(note_of(log, s)).text for log in LOGS.values() for s in SIZES}
    for line in opened.signatures:
        assert line.name in {LOG.origin, OTHER.origin, WITNESS.name}


def check_checkpoint(data: bytes) -> None:
    stated = open_checkpoint(data, KEYS)
    assert (stated.origin, stated.size, stated.root) in SIGNED


def check_cosignature(data: bytes) -> None:
    found = POLICY.verify(data)
    stated = found.checkpoint
    assert (stated.origin, stated.size, stated.root) in SIGNED
    assert (found.names, found.reached_at) == (("w1",), SEEN_AT)


def check_vkey(data: bytes) -> None:
    found = VerifierKey.parse(text_of(data))
    assert found in {*KEYS, WITNESS.verifier}
    assert found.encode() == text_of(data)


def check_policy(data: bytes) -> None:
    stated = parse_policy(data)
    known = {*KEYS, WITNESS.verifier}
    assert {each.verifier for each in (*stated.logs, *stated.witnesses)} <= known


TILE = tile_path(0, 0, 256)
TILE_OF_ENTRIES = tile_path("entries", 0, 256)


def check_tile(data: bytes) -> None:
    """Neither is a tile believed that was not signed, nor the log accused for one."""
    new = open_checkpoint(note_of(LOG, 300), KEYS)
    old = open_checkpoint(note_of(LOG, 7), KEYS)
    log = LOG.at(300)
    tree = Tree(tile_reader(lambda path: data if path == TILE else log.fetch(path)))
    assert find_contradiction(old, new, tree) is None
    check_shown(new, tree)
    place = LeafIndex(4), TreeSize(300)
    leaf = tree.leaf(*place)
    verify_inclusion(leaf, *place, tree.inclusion_proof(*place), new.root)
    assert leaf == LOG.leaves[4]


class Served:
    """A copy of the log with one bundle that is a forger's."""

    where = "hostile"

    def __init__(self, bundle: bytes) -> None:
        self._bundle = bundle

    def read(self, path: str) -> bytes | None:
        return self._bundle if path == TILE_OF_ENTRIES else LOG.at(300).fetch(path)


def check_bundle(data: bytes) -> None:
    served = Served(data)
    signed = open_checkpoint(note_of(LOG, 300), KEYS)
    head = verify_copy(served, signed)
    assert head.root == signed.root
    assert read_bundle(served, 0, 300) == LOG.entries[:256]


def consistency_of(log: Log, old: int, new: int) -> bytes:
    tree = Tree(tile_reader(log.at(new).fetch))
    hashes = tree.consistency_proof(TreeSize(old), TreeSize(new))
    ends = [base64_of(root_of(log.leaves[:at])) for at in (old, new)]
    return "".join(f"{each}\n" for each in (*ends, *map(base64_of, hashes))).encode()


def base64_of(octets: bytes) -> str:
    return base64.b64encode(octets).decode()


SIGNED_AT = {root: (origin, size) for origin, size, root in SIGNED_TWICE}


def check_consistency(data: bytes) -> None:
    """
    Both ends are of checkpoints that were signed, as its callers see to: sizes are signed too.

    Whatever the hashes between them, they prove only what is one history.
    """
    old_root, new_root, *proof = ends_and_proof(text_of(data).removesuffix("\n").split("\n"))
    if not {old_root, new_root} <= SIGNED_AT.keys():
        raise MalformedProofError("not signed")
    (_, old), (_, new) = SIGNED_AT[old_root], SIGNED_AT[new_root]
    verify_consistency(TreeSize(old), TreeSize(new), old_root, new_root, proof)
    assert any(
        (root_of(log.leaves[:old]), root_of(log.leaves[:new])) == (old_root, new_root)
        for log in (LOG, OTHER, FORKED)
    )


def ends_and_proof(lines: Sequence[str]) -> list[bytes]:
    if len(lines) < 2:
        raise MalformedProofError("no ends")
    return [decode_base64(each) for each in lines]


def fork_of(old: int, new: int) -> bytes:
    tree = Tree(tile_reader(FORKED.at(new).fetch))
    found = find_contradiction(
        open_checkpoint(note_of(LOG, old), KEYS), open_checkpoint(note_of(FORKED, new), KEYS), tree
    )
    assert found is not None
    return json.dumps(
        {
            "kind": KIND,
            "old": note_of(LOG, old).decode(),
            "new": note_of(FORKED, new).decode(),
            "old_root": base64_of(found.old_root),
            "proof": [base64_of(each) for each in found.hashes],
        },
        ensure_ascii=False,
    ).encode()


def check_fork(data: bytes) -> None:
    """Nobody is accused whose signatures do not contradict each other."""
    document = parse_json(data)
    if not isinstance(document, dict):
        raise MalformedProofError("no object")
    found: Contradiction = verify_evidence(document, KEYS)
    stated = [(each.origin, each.size, each.root) for each in (found.old, found.new)]
    assert set(stated) <= SIGNED_TWICE
    assert not set(stated) <= SIGNED
    assert not set(stated) <= FORK_SIGNED


def check_entry(data: bytes) -> None:
    """Accepted only in its one spelling."""
    found = parse_entry(data)
    assert canonical_bytes(parse_json(data)) == data
    assert found.hash == leaf_hash(data)


def check_tile_path(data: bytes) -> None:
    found = parse_tile_path(text_of(data))
    assert tile_path(found.level, found.index, found.width) == text_of(data)


def check_request(data: bytes) -> None:
    assert parse_add_checkpoint(data).encode() == data


def check_answer(data: bytes) -> None:
    status, _, body = data.partition(b"\n")
    if not (status.isdigit() and len(status) == 3):
        raise MalformedProofError("no status")
    for media_type in ("text/plain; charset=utf-8", "text/x.tlog.size"):
        encode_answer(parse_answer(int(status), media_type, body))


def text_of(data: bytes) -> str:
    # As whoever reads a file does; what is not UTF-8 is refused before.
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise MalformedProofError("not UTF-8") from error


PLACES = ((LOG, 4, 7), (LOG, 0, 1), (LOG, 255, 256), (LOG, 299, 300), (OTHER, 4, 7))
NOTES = [note_of(log, size) for log in LOGS.values() for size in SIZES]

KINDS: dict[str, Evidence] = {
    "receipt": Evidence(
        [canonical_bytes(receipt_of(*place).to_document()) for place in PLACES], check_receipt
    ),
    "receipt in one file": Evidence(
        [receipt_of(*place).to_text().encode() for place in PLACES], check_receipt
    ),
    "cosigned receipt": Evidence(
        [receipt_of(*place, seen=True).to_text().encode() for place in PLACES],
        check_cosigned_receipt,
    ),
    "proof": Evidence(
        [
            proof_of(log, 4, size, note_of(log, size)).encode().encode()
            for log in LOGS.values()
            for size in SIZES[1:]
        ],
        check_proof,
    ),
    "note": Evidence([cosigned(each) for each in NOTES], check_note),
    "checkpoint": Evidence(NOTES, check_checkpoint),
    "cosignature": Evidence([cosigned(each) for each in NOTES], check_cosignature),
    "verifier key": Evidence(
        [each.encode().encode() for each in (*KEYS, WITNESS.verifier)], check_vkey
    ),
    "policy": Evidence([POLICY_TEXT], check_policy),
    "tile": Evidence([LOG.fetch(TILE), FORKED.fetch(TILE), OTHER.fetch(TILE)], check_tile),
    "bundle": Evidence([log.fetch(TILE_OF_ENTRIES) for log in (LOG, FORKED, OTHER)], check_bundle),
    "consistency": Evidence(
        [
            consistency_of(log, old, new)
            for log in (LOG, FORKED, OTHER)
            for old, new in ((7, 300), (1, 7), (256, 300), (255, 256))
        ],
        check_consistency,
    ),
    "fork": Evidence([fork_of(7, 300), fork_of(7, 7), fork_of(256, 300)], check_fork),
    "entry": Evidence(LOG.entries[:9], check_entry),
    "path of a tile": Evidence(
        [b"tile/0/x001/x234/067.p/5", b"tile/entries/000", b"tile/63/000.p/255"], check_tile_path
    ),
    "request to a witness": Evidence(
        [
            AddCheckpoint(old_size=7, proof=(bytes(32), b"x" * 32), note=NOTES[4]).encode(),
            AddCheckpoint(old_size=0, proof=(), note=NOTES[1]).encode(),
        ],
        check_request,
    ),
    "answer of a witness": Evidence(
        [b"200\n" + cosigned(NOTES[0]).rpartition(b"\n\n")[2], b"409\n7\n", b"422\nno\n"],
        check_answer,
    ),
}

MUTATIONS = st.lists(
    st.tuples(st.sampled_from([*CHANGES, "splice"]), st.integers(0, 2**16), st.integers(0, 2**16)),
    min_size=1,
    max_size=3,
)


def hold(kind: str, which: int, mutations: Sequence[tuple[str, int, int]]) -> bool:
    """Whether the forged evidence was accepted; fails where it should not have been."""
    evidence = KINDS[kind]
    genuine = evidence.there[which % len(evidence.there)]
    forged = forge(genuine, mutations, evidence.there)
    try:
        evidence.check(forged)
    except LedgerError:
        return False
    return True


# ---- Laws -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_genuine_evidence_is_accepted(kind):
    """Or nothing below would mean anything."""
    evidence = KINDS[kind]
    genuine = {"proof": 4, "tile": 1, "bundle": 1}.get(kind, len(evidence.there))
    for each in evidence.there[:genuine]:
        evidence.check(each)


@pytest.mark.parametrize("kind", KINDS)
@given(which=st.integers(0, 9), mutations=MUTATIONS)
@settings(max_examples=SAMPLE, deadline=None)
def test_forged_evidence_proves_nothing_that_is_not_true(kind, which, mutations):
    hold(kind, which, mutations)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@given(which=st.integers(0, 9), mutations=MUTATIONS)
@settings(
    max_examples=-(-TOTAL // len(KINDS)),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
def test_ten_thousand_forgeries_prove_nothing_that_is_not_true(kind, which, mutations):
    hold(kind, which, mutations)


SIGNED_TEXT = {
    "receipt in one file",
    "cosigned receipt",
    "proof",
    "note",
    "checkpoint",
    "cosignature",
}


@pytest.mark.parametrize("kind", sorted(SIGNED_TEXT))
def test_lines_of_unknown_signers_change_nothing(kind):
    """Anyone may add one, and nobody has to know them."""
    for each in KINDS[kind].there[:4]:
        KINDS[kind].check(each + "— stranger.example/x AAAAAAAAAAA=\n".encode())


@pytest.fixture
def _blind(monkeypatch) -> None:
    monkeypatch.setattr(receipt_module, "verify_inclusion", lambda *_parts: None)


@pytest.mark.usefixtures("_blind")
def test_a_verifier_that_looks_away_is_found_out():
    """The forgeries are good enough to deceive whoever does not check."""
    names = list(CHANGES)
    forgeries = [[(names[at % len(names)], 37 * at, 11 * at)] for at in range(400)]
    with pytest.raises(AssertionError):
        all(hold("receipt", at, each) or True for at, each in enumerate(forgeries))


def test_a_policy_is_refused_as_its_readers_own_word():
    """It is no evidence: whoever wrote it is told what is wrong."""
    with pytest.raises(SettingsError):
        parse_policy(POLICY_TEXT[:-1])


@pytest.mark.parametrize("sizes", [(7, 255, 256, 300), (1,), (300, 300, 7)])
def test_a_copy_extends_every_checkpoint_that_is_trusted(sizes):
    """Those that were kept and those that witnesses saw, wherever they fall in a bundle."""
    served, signed = Served(LOG.fetch(TILE_OF_ENTRIES)), open_checkpoint(note_of(LOG, 300), KEYS)
    genuine = [open_checkpoint(note_of(LOG, size), KEYS) for size in sizes]
    forged = [open_checkpoint(note_of(FORKED, size), KEYS) for size in sizes]

    assert verify_copy(served, signed, earlier=genuine).root == signed.root
    for each in forged:
        with pytest.raises(ConsistencyError, match="not the one that was kept"):
            verify_copy(served, signed, earlier=[*genuine, each])
