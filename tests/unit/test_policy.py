"""Laws of policies: a file has one meaning or an exact error, and a quorum is what it counts."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import mldsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import assume, given
from hypothesis import strategies as st

from ledger.checkpoint import Checkpoint, sign_checkpoint
from ledger.cosignature import ed25519_cosigner, ml_dsa_44_cosigner
from ledger.errors import InclusionError, MalformedProofError, SettingsError, SignatureError
from ledger.merkle import leaf_hash, node_hash
from ledger.note import NoteKey
from ledger.policy import (
    POLICY_BYTES_MAX,
    Group,
    Policy,
    TrustedWitness,
    parse_policy,
    verify_receipt_under,
)
from ledger.receipt import Receipt, TlogProof

LOG = NoteKey(name="log.example/shop", private_key=Ed25519PrivateKey.from_private_bytes(b"L" * 32))
STRANGER = NoteKey(
    name="log.example/shop", private_key=Ed25519PrivateKey.from_private_bytes(b"S" * 32)
)
A, B, C = (
    ed25519_cosigner(f"{name}.example", Ed25519PrivateKey.from_private_bytes(name.encode() * 32))
    for name in "abc"
)
Q = ml_dsa_44_cosigner("q.example", b"q" * 32)
VKEY = LOG.verifier.encode()
VA, VB, VC, VQ = (key.verifier.encode() for key in (A, B, C, Q))
TIME = 1_772_452_800

ENTRY = b'{"ledger":"shop","seq":0}'
LEAVES = [leaf_hash(ENTRY), leaf_hash(b"another")]
CHECKPOINT = Checkpoint(origin=LOG.name, size=2, root=node_hash(*LEAVES))
NOTE = sign_checkpoint(CHECKPOINT, LOG)


def cosigned(*cosigners, note=NOTE):
    """The note with a line of each, a second later each time."""
    text = CHECKPOINT.encode()
    lines = (key.sign(text, time=TIME + at).encode() for at, key in enumerate(cosigners))
    return note + "".join(lines).encode()


def policy_of(*lines: str) -> Policy:
    return parse_policy("".join(f"{line}\n" for line in lines).encode())


TWO_OF_THREE = (
    f"log {VKEY}",
    f"witness a {VA} https://a.example/",
    f"witness b {VB}",
    f"witness c {VC}",
    "group all-of-us 2 a b c",
    "quorum all-of-us",
)

# ---- The file -------------------------------------------------------------------------


def test_a_file_says_whom_to_trust():
    policy = policy_of(*TWO_OF_THREE)

    assert [(log.verifier, log.url) for log in policy.logs] == [(LOG.verifier, None)]
    assert [(each.name, each.verifier, each.url) for each in policy.witnesses] == [
        ("a", A.verifier, "https://a.example/"),
        ("b", B.verifier, None),
        ("c", C.verifier, None),
    ]
    assert policy.groups == (Group(name="all-of-us", threshold=2, members=("a", "b", "c")),)
    assert policy.quorum == "all-of-us"


def test_space_comments_and_order_mean_nothing():
    """Tabs and spaces part items; what is defined must stand above what refers to it."""
    spread = (
        "\t # a comment",
        "",
        f"  witness\tc   {VC}\t",
        f"witness b {VB}",
        "#quorum none",
        f"witness a {VA} https://a.example/",
        " group all-of-us  2 a b\tc ",
        "quorum all-of-us",
        f"log\t{VKEY}",
    )
    found, expected = policy_of(*spread), policy_of(*TWO_OF_THREE)

    assert set(found.witnesses) == set(expected.witnesses)
    assert (found.logs, found.groups, found.quorum) == (
        expected.logs,
        expected.groups,
        expected.quorum,
    )


@pytest.mark.parametrize(("count", "threshold"), [("any", 1), ("all", 3), ("1", 1), ("3", 3)])
def test_a_group_counts_any_all_or_some(count, threshold):
    policy = policy_of(*TWO_OF_THREE[:4], f"group g {count} a b c", "quorum g")
    assert policy.groups[0].threshold == threshold


def test_names_are_octets_and_nothing_is_made_equal():
    """The letter K and the sign for kelvin are two names; so are two octets that are no text."""
    lines = [
        f"witness K {VA}".encode(),
        f"witness \N{KELVIN SIGN} {VB}".encode(),
        b"witness \xff " + VC.encode(),
        b"witness \xfe " + VQ.encode(),
        "group g all K \N{KELVIN SIGN} ".encode() + b"\xff \xfe",
        b"quorum g",
    ]
    policy = parse_policy(b"".join(line + b"\n" for line in lines))

    names = [witness.name for witness in policy.witnesses]
    assert len(set(names)) == 4
    assert policy.is_met_by(names)
    for left_out in names:
        assert not policy.is_met_by([name for name in names if name != left_out])


def test_no_file_that_was_cut_short_is_a_policy():
    """It might ask for less than its author did."""
    whole = "".join(f"{line}\n" for line in TWO_OF_THREE).encode()
    parse_policy(whole)
    for size in range(len(whole)):
        with pytest.raises(SettingsError, match=r"cut short|has no quorum line"):
            parse_policy(whole[:size])


OTHER_NAME = ed25519_cosigner("z.example", A.private_key).verifier.encode()
WRONG = {
    "nothing": ([], "policy: has no quorum line; `quorum none` asks for no witness"),
    "no-quorum": ([f"witness a {VA}"], "policy: has no quorum line; `quorum none`"),
    "two-quorums": (
        ["quorum none", "", "quorum none"],
        "policy, line 3: the quorum stands in line 1 already",
    ),
    "unknown-word": (
        ["quorum none", "witnes a"],
        "policy, line 2: witnes is none of log, witness, group, quorum",
    ),
    "word-in-capitals": (["Quorum none"], "policy, line 1: Quorum is none of"),
    "log-without-key": (["log"], "policy, line 1: expected `log VKEY [URL]`"),
    "log-with-too-much": ([f"log {VKEY} u x"], "policy, line 1: expected `log VKEY [URL]`"),
    "log-not-a-key": (["log x"], "policy, line 1: not a verifier key: 'x'"),
    "log-with-wrong-key-id": (
        [f"log {VKEY.replace(LOG.verifier.key_id.hex(), '00000000')}"],
        "policy, line 1: key log.example/shop: expected key id",
    ),
    "log-with-a-witness-s-key": (
        [f"log {VA}"],
        "policy, line 1: expected a log's key, of type 0x01, found 0x04",
    ),
    "log-twice": (
        [f"log {VKEY}", f"log {VKEY} https://log.example"],
        "policy, line 2: the public key is that of log.example/shop above",
    ),
    "witness-without-key": (["witness a"], "policy, line 1: expected `witness NAME VKEY [URL]`"),
    "witness-with-a-log-s-key": (
        [f"witness a {VKEY}"],
        "policy, line 1: expected a witness's key, of type 0x04 or 0x06, found 0x01",
    ),
    "witness-name-twice": (
        [f"witness a {VA}", "# b", f"witness a {VB}"],
        "policy, line 3: a is defined in line 1 already",
    ),
    "witness-key-twice-under-another-name": (
        [f"witness a {VA}", f"witness b {OTHER_NAME}"],
        "policy, line 2: the public key is that of a.example above",
    ),
    "witness-called-none": (
        [f"witness none {VA}"],
        "policy, line 1: none is the name of no witness and no group",
    ),
    "group-called-none": (
        [f"witness a {VA}", "group none any a"],
        "policy, line 2: none is the name of no witness and no group",
    ),
    "group-of-nobody": (
        ["group g any"],
        "policy, line 1: expected `group NAME all|any|COUNT MEMBER...`",
    ),
    "group-of-none": (["group g any none"], "policy, line 1: none is not defined above"),
    "group-of-itself": (["group g any g"], "policy, line 1: g is not defined above"),
    "group-of-what-comes-later": (
        ["group g any a", f"witness a {VA}"],
        "policy, line 1: a is not defined above",
    ),
    "group-named-like-a-witness": (
        [f"witness a {VA}", "group a any a"],
        "policy, line 2: a is defined in line 1 already",
    ),
    "group-with-a-member-twice": (
        [f"witness a {VA}", "group g 2 a a"],
        "policy, line 2: a is a member of g already, and would count twice",
    ),
    "member-of-two-groups": (
        [f"witness a {VA}", "group g any a", "group h any a"],
        "policy, line 3: a is a member of g already, and would count twice",
    ),
    "quorum-not-defined": (["quorum a"], "policy, line 1: a is not defined above"),
    "quorum-defined-below": (
        ["quorum a", f"witness a {VA}"],
        "policy, line 1: a is not defined above",
    ),
    "quorum-of-two": (["quorum a b"], "policy, line 1: expected `quorum NAME|none`"),
    **{
        f"count-{count}": (
            [f"witness a {VA}", f"witness b {VB}", f"group g {count} a b"],
            f"policy, line 3: expected all, any or a count from 1 to 2, found {count}",
        )
        for count in ("0", "3", "-1", "+1", "01", "1.0", "ALL", "9" * 12)
    },
}


@pytest.mark.parametrize(("lines", "says"), WRONG.values(), ids=WRONG)
def test_what_is_no_policy_is_told_by_its_line(lines, says):
    with pytest.raises(SettingsError) as refused:
        policy_of(*lines)
    assert refused.value.message.startswith(says)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"quorum none\r\n", "policy, line 1: octet 0x0d is not allowed; lines end in 0x0a alone"),
        (b"#\nquorum\x00none\n", "policy, line 2: octet 0x00 is not allowed"),
        (b"quorum\x0bnone\n", "policy, line 1: octet 0x0b is not allowed"),
        (b"quorum none # \x7f\n", "policy, line 1: octet 0x7f is not allowed"),
        (b"#\n#\nquorum none", "policy, line 3: has no line end: the file may have been cut short"),
        (b"#" * POLICY_BYTES_MAX + b"\n", "a policy has at most 1048576 bytes, found 1048577"),
    ],
    ids=["windows", "zero", "vertical-tab", "delete", "no-line-end", "too-large"],
)
def test_octets_that_no_policy_has_are_refused(data, says):
    with pytest.raises(SettingsError) as refused:
        parse_policy(data)
    assert refused.value.message.startswith(says)


words = st.sampled_from(
    ["log", "witness", "group", "quorum", "none", "any", "all", "2", "a", "b", "#", VKEY, VA, VB]
)


@given(st.lists(st.lists(words, max_size=5), max_size=6) | st.binary(max_size=40))
def test_any_file_is_a_policy_or_refused_by_our_error(lines):
    """And a policy that was accepted can be counted with."""
    data = (
        lines
        if isinstance(lines, bytes)
        else "".join(f"{' '.join(line)}\n" for line in lines).encode()
    )
    try:
        policy = parse_policy(data)
    except SettingsError:
        return
    everyone = [witness.name for witness in policy.witnesses]
    assert policy.is_met_by(everyone)
    assert policy.is_met_by([]) == (policy.quorum is None)


# ---- Counting -------------------------------------------------------------------------

Tree = str | tuple[int, tuple["Tree", ...]]
"""A witness, or how many of which members must agree."""


def trees(names: st.SearchStrategy[str]) -> st.SearchStrategy[Tree]:
    return st.recursive(
        names,
        lambda below: st.lists(below, min_size=1, max_size=4).flatmap(
            lambda members: st.tuples(st.integers(1, len(members)), st.just(tuple(members)))
        ),
        max_leaves=12,
    )


def leaves(tree: Tree) -> list[str]:
    return [tree] if isinstance(tree, str) else [leaf for each in tree[1] for leaf in leaves(each)]


def agrees(tree: Tree, names: set[str]) -> bool:
    """What the words of the standard say, spelt out."""
    if isinstance(tree, str):
        return tree in names
    threshold, members = tree
    return sum(agrees(member, names) for member in members) >= threshold


def flattened(tree: Tree, groups: list[Group]) -> str:
    if isinstance(tree, str):
        return tree
    threshold, members = tree
    names = tuple(flattened(member, groups) for member in members)
    groups.append(Group(name=f"g{len(groups)}", threshold=threshold, members=names))
    return groups[-1].name


@given(
    tree=trees(st.sampled_from([f"w{at}" for at in range(12)])),
    names=st.sets(st.sampled_from([f"w{at}" for at in range(13)])),
)
def test_a_quorum_is_met_exactly_when_enough_of_its_members_agree(tree, names):
    assume(len(set(leaves(tree))) == len(leaves(tree)))
    groups: list[Group] = []
    quorum = flattened(tree, groups)
    policy = Policy(
        logs=(),
        witnesses=tuple(
            TrustedWitness(name=name, verifier=A.verifier, url=None) for name in leaves(tree)
        ),
        groups=tuple(groups),
        quorum=quorum,
    )

    assert policy.is_met_by(names) == agrees(tree, names)


def test_groups_may_stand_on_groups_as_deep_as_a_file_goes():
    depth = 5_000
    lines = [f"witness g0 {VA}", *(f"group g{at + 1} any g{at}" for at in range(depth))]
    policy = policy_of(*lines, f"quorum g{depth}")

    assert policy.is_met_by(["g0"])
    # Nobody cosigns as a group.
    assert not policy.is_met_by([f"g{depth}"])


# ---- A checkpoint under a policy ------------------------------------------------------


@pytest.mark.parametrize(
    ("cosigners", "names"),
    [
        ([A, B], ("a", "b")),
        ([C, A], ("c", "a")),
        ([A, B, C], ("a", "b", "c")),
        ([A, A, B], ("a", "b")),
    ],
    ids=["two", "two-others", "three", "one-twice"],
)
def test_a_checkpoint_is_accepted_with_its_quorum(cosigners, names):
    found = policy_of(*TWO_OF_THREE).verify(cosigned(*cosigners))

    assert found.checkpoint == CHECKPOINT
    assert found.names == names
    assert found.unchecked == ()
    assert {line.name for line in found.lines} == {LOG.name, *(key.name for key in cosigners)}


@pytest.mark.parametrize(
    ("cosigners", "says"),
    [
        ([], "the quorum all-of-us is not reached by anybody"),
        ([A], "the quorum all-of-us is not reached by a"),
        ([A, A], "the quorum all-of-us is not reached by a"),
        ([A, Q], "the quorum all-of-us is not reached by a"),
    ],
    ids=["none", "one", "one-twice", "one-and-a-stranger"],
)
def test_a_checkpoint_without_its_quorum_is_refused(cosigners, says):
    policy = policy_of(*TWO_OF_THREE)
    with pytest.raises(SignatureError) as refused:
        policy.verify(cosigned(*cosigners))
    assert refused.value.message == says
    assert policy.read(cosigned(*cosigners)).checkpoint == CHECKPOINT


def test_witnesses_alone_do_not_speak_for_a_log():
    text = CHECKPOINT.encode()
    unsigned = f"{text}\n".encode()
    by_stranger = sign_checkpoint(CHECKPOINT, STRANGER)
    policy = policy_of(*TWO_OF_THREE)
    for note in (unsigned, by_stranger):
        with pytest.raises(SignatureError, match=r"no signature by a key of log\.example/shop"):
            policy.verify(cosigned(A, B, note=note))


def test_the_log_may_be_known_from_elsewhere():
    policy = policy_of(*TWO_OF_THREE[1:])

    assert policy.verify(cosigned(A, B), [LOG.verifier]).checkpoint == CHECKPOINT
    with pytest.raises(SignatureError, match="no signature by a key of"):
        policy.verify(cosigned(A, B))


def test_a_forged_line_of_a_known_witness_refuses_all():
    """Also where the others would have been enough."""
    other = Checkpoint(origin=LOG.name, size=3, root=bytes(32)).encode()
    forged = C.sign(other, time=TIME).encode().encode()
    with pytest.raises(SignatureError, match=r"c\.example.* did not sign this text"):
        policy_of(*TWO_OF_THREE).verify(cosigned(A, B) + forged)


def test_a_text_that_is_no_checkpoint_is_refused():
    note = f"hello\n\n{LOG.sign('hello' + chr(10))}".encode()
    with pytest.raises(MalformedProofError):
        policy_of(f"log {VKEY}", "quorum none").verify(note)


def test_a_quorum_is_reached_when_the_last_of_the_first_enough_has_seen_it():
    policy = policy_of(*TWO_OF_THREE)

    assert policy.verify(cosigned(A, B, C)).reached_at == TIME + 1
    assert policy.verify(cosigned(C, A)).reached_at == TIME + 1
    # Whoever cosigned once more later had seen it when it did so first.
    assert policy.verify(cosigned(A, B, A, B)).reached_at == TIME + 1
    assert policy.read(cosigned(A)).reached_at is None
    assert policy_of(f"log {VKEY}", "quorum none").verify(NOTE).reached_at is None


def test_a_witness_that_cannot_be_checked_here_never_counts(monkeypatch):
    """Nor does its line refuse what others are enough for."""
    lines = (f"log {VKEY}", f"witness a {VA}", f"witness q {VQ}")
    either = (*lines, "group g any a q", "quorum g")
    both = (*lines, "group g all a q", "quorum g")
    assert policy_of(*both).verify(cosigned(A, Q)).names == ("a", "q")
    monkeypatch.setitem(sys.modules, mldsa.__name__, None)

    found = policy_of(*either).verify(cosigned(A, Q))

    assert (found.names, found.unchecked) == (("a",), ("q",))
    for policy, note in ((both, cosigned(A, Q)), (either, cosigned(Q))):
        with pytest.raises(SignatureError, match="not to be checked here: q"):
            policy_of(*policy).verify(note)


# ---- Proofs under a policy ------------------------------------------------------------


def receipt_of(*cosigners) -> Receipt:
    proof = TlogProof(index=0, hashes=(LEAVES[1],), checkpoint_note=cosigned(*cosigners))
    return Receipt(level="log-signed", proof=proof.encode(), entry=ENTRY)


def test_a_receipt_is_good_under_a_policy_with_its_quorum():
    policy = policy_of(*TWO_OF_THREE)

    verified = verify_receipt_under(policy, receipt_of(A, B))

    assert (verified.level, verified.place.witnesses) == ("cosigned", ("a.example", "b.example"))
    with pytest.raises(SignatureError, match="not reached by a"):
        verify_receipt_under(policy, receipt_of(A))


def test_a_policy_that_asks_for_nobody_takes_what_the_log_signed():
    policy = policy_of("quorum none")

    assert verify_receipt_under(policy, receipt_of(A), [LOG.verifier]).level == "log-signed"
    with pytest.raises(SignatureError):
        verify_receipt_under(policy, receipt_of(A))


def test_a_quorum_does_not_make_up_for_a_proof():
    policy = policy_of(*TWO_OF_THREE)
    receipt = receipt_of(A, B)

    assert verify_receipt_under(policy, receipt).level == "cosigned"
    with pytest.raises(InclusionError):
        verify_receipt_under(policy, replace(receipt, entry=b"another"))
    with pytest.raises(SignatureError, match="this receipt is unsigned"):
        verify_receipt_under(policy, Receipt(level="unsigned", proof=None, entry=ENTRY))
    with pytest.raises(MalformedProofError):
        verify_receipt_under(policy, Receipt(level="log-signed", proof="", entry=ENTRY))
