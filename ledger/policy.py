"""
Policy: which logs and witnesses a person trusts, and how many of them must agree.

The file is C2SP tlog-policy, which other programs read as well. Whether a tree is what a log
says it is, witnesses have checked; here it is only counted who did.
https://c2sp.org/tlog-policy
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property

from ledger.checkpoint import Checkpoint, read_checkpoint
from ledger.cosignature import Cosignature, cosignatures_of, is_checkable
from ledger.errors import MalformedProofError, SettingsError, SignatureError
from ledger.forms.timestamps import from_posix
from ledger.note import COSIGNATURES, ED25519, Note, Signature, VerifierKey, open_note
from ledger.receipt import (
    Receipt,
    TlogProof,
    VerifiedEntry,
    parse_receipt,
    parse_tlog_proof,
    proof_of,
    registry_keys,
    verify_receipt,
)
from ledger.rfc3161 import Authorities

POLICY_BYTES_MAX = 1_048_576
NONE = "none"
"""The quorum that asks for no witness; nothing else has this name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedLog:
    """A log whose checkpoints are accepted."""

    verifier: VerifierKey
    """Named like the log's origin."""
    url: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedWitness:
    """A witness whose cosignatures count."""

    name: str
    """Within the policy; the key has a name of its own."""
    verifier: VerifierKey
    url: str | None
    """Under it, the witness takes checkpoints."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Some that agree once enough of them do."""

    name: str
    threshold: int
    """How many of `members`, from 1 to all."""
    members: tuple[str, ...]
    """Names of witnesses, and of groups that stand before this one."""


# Without slots, which would leave no room for what is computed once.
@dataclass(frozen=True, kw_only=True)
class Policy:
    """What a checkpoint needs in order to be believed."""

    logs: tuple[TrustedLog, ...]
    """May be empty where the log is known from elsewhere."""
    witnesses: tuple[TrustedWitness, ...]
    groups: tuple[Group, ...]
    """Each after its members."""
    quorum: str | None
    """Name of the witness or group that must agree; None where nobody has to."""

    def is_met_by(self, names: Collection[str]) -> bool:
        """Whether these witnesses, by their names in the policy, are enough."""
        if self.quorum is None:
            return True
        agreed = {witness.name for witness in self.witnesses}.intersection(names)
        # One pass and no recursion: a group stands after what it counts.
        for group in self.groups:
            if len(agreed.intersection(group.members)) >= group.threshold:
                agreed.add(group.name)
        return self.quorum in agreed

    def verify(self, note: bytes, logs: Sequence[VerifierKey] = ()) -> Witnessed:
        """
        Check that a trusted log signed this checkpoint and that enough witnesses saw it.

        Args:
            note: The checkpoint as it was received, with whatever lines are under it.
            logs: Keys of logs that are trusted beside those of the policy.

        Raises:
            MalformedProofError: Not a signed note, or its text is not a checkpoint.
            SignatureError: No trusted log signed it, the quorum is not reached, or a line of
                a key that is known is not good.
        """
        found = self.read(note, logs)
        found.check_quorum()
        return found

    def read(self, note: bytes, logs: Sequence[VerifierKey] = ()) -> Witnessed:
        """As `verify`, and whoever reads it asks whether the witnesses are enough."""
        trusted = [*(log.verifier for log in self.logs), *logs]
        checkable, unchecked = self._by_checkable
        witnesses = [witness.verifier for witness in checkable]
        opened = open_note(note, [*trusted, *witnesses])
        checkpoint = read_checkpoint(opened, trusted)
        names = {witness.verifier: witness.name for witness in checkable}
        return Witnessed(
            checkpoint=checkpoint,
            lines=opened.signatures,
            cosignatures=tuple(
                (names[each.witness], each) for each in cosignatures_of(opened, witnesses)
            ),
            unchecked=tuple(witness.name for witness in unchecked),
            policy=self,
        )

    @cached_property
    def _by_checkable(self) -> tuple[list[TrustedWitness], list[TrustedWitness]]:
        """Those whose lines can be checked here, and the others, which never count."""
        checkable: list[TrustedWitness] = []
        unchecked: list[TrustedWitness] = []
        for witness in self.witnesses:
            (checkable if is_checkable(witness.verifier) else unchecked).append(witness)
        return checkable, unchecked


@dataclass(frozen=True, slots=True, kw_only=True)
class Witnessed:
    """A checkpoint that a trusted log signed, and who cosigned it."""

    checkpoint: Checkpoint
    lines: tuple[Signature, ...]
    """The log's and the witnesses', all of them good."""
    cosignatures: tuple[tuple[str, Cosignature], ...]
    """Name in the policy, and what that witness says; one may speak more than once."""
    unchecked: tuple[str, ...]
    """Witnesses of the policy whose lines, if there are any, cannot be checked here."""
    policy: Policy

    def check_quorum(self) -> None:
        """
        Refuse it where too few of the policy's witnesses cosigned.

        Raises:
            SignatureError: The quorum is not reached.
        """
        if self.policy.is_met_by(self.names):
            return
        quorum = self.policy.quorum
        by = ", ".join(map(_shown, self.names)) or "anybody"
        message = f"the quorum {_shown(quorum or NONE)} is not reached by {by}"
        if self.unchecked:
            message += f"; not to be checked here: {', '.join(map(_shown, self.unchecked))}"
        raise SignatureError(
            message, expected=quorum, found=list(self.names), unchecked=list(self.unchecked)
        )

    def encode(self) -> bytes:
        """The checkpoint with the lines that are good, and no others."""
        return Note(text=self.checkpoint.encode(), signatures=self.lines).encode()

    @property
    def names(self) -> tuple[str, ...]:
        """Witnesses of the policy that cosigned, in the order of their lines."""
        return tuple(dict.fromkeys(name for name, _ in self.cosignatures))

    @property
    def reached_at(self) -> int | None:
        """
        POSIX seconds from which on enough witnesses had seen the tree, by their own clocks.

        None where the quorum is not reached, or asks for nobody.
        """
        if self.policy.quorum is None:
            return None
        seen: set[str] = set()
        for name, cosignature in sorted(self.cosignatures, key=lambda each: each[1].time):
            seen.add(name)
            if self.policy.is_met_by(seen):
                return cosignature.time
        return None


# ---- Proofs under a policy ------------------------------------------------------------


def verify_receipt_under(
    policy: Policy,
    receipt: Receipt,
    logs: Sequence[VerifierKey] = (),
    authorities: Authorities | None = None,
) -> VerifiedEntry:
    """
    As `verify_receipt`, for a tree that the policy accepts, or that a registry recorded whose
    tree the policy accepts.

    Args:
        policy: Whom the caller trusts.
        receipt: As received.
        logs: Keys of the ledger that are trusted beside the policy's.
        authorities: Timestamp authorities that are trusted.

    Raises:
        SignatureError: As `Policy.verify`, or the receipt is unsigned.
        InclusionError, TimestampError, MalformedProofError: As `verify_receipt`.
    """
    trusted = [*(log.verifier for log in policy.logs), *logs]
    proof = parse_tlog_proof(proof_of(receipt))
    found = [policy.read(proof.checkpoint_note, trusted)]
    if receipt.registry is not None:
        recorded = parse_tlog_proof(proof_of(parse_receipt(receipt.registry)))
        if keys := registry_keys(proof.origin, recorded.origin, trusted):
            found.append(policy.read(recorded.checkpoint_note, keys))
    if not any(policy.is_met_by(each.names) for each in found):
        # The last one is what the level would come from.
        found[-1].check_quorum()
    witnesses = [each.witness for seen in found for _, each in seen.cosignatures]
    verified = verify_receipt(receipt, trusted, witnesses=witnesses, authorities=authorities)
    return _dated(verified, found)


def _dated(verified: VerifiedEntry, found: Sequence[Witnessed]) -> VerifiedEntry:
    """The same, seen by witnesses when the policy says so, and not when any one of them does."""
    own, *above = (_seen_at(each) for each in found)
    registry = verified.registry
    if registry is not None and above:
        registry = replace(registry, place=replace(registry.place, seen_at=above[0]))
    return replace(verified, place=replace(verified.place, seen_at=own), registry=registry)


def _seen_at(found: Witnessed) -> tuple[datetime, ...]:
    moment = None if found.reached_at is None else from_posix(found.reached_at)
    return () if moment is None else (moment,)


def _agreed(policy: Policy, proof: TlogProof, logs: Sequence[VerifierKey]) -> list[VerifierKey]:
    """Keys of the witnesses under the proof's checkpoint, which are enough."""
    found = policy.verify(proof.checkpoint_note, logs)
    return [cosignature.witness for _, cosignature in found.cosignatures]


# ---- The file -------------------------------------------------------------------------


def parse_policy(data: bytes) -> Policy:
    """
    The policy that a file states.

    Args:
        data: The whole file.

    Raises:
        SettingsError: It is not tlog-policy; the message begins with the line that is wrong.
    """
    if len(data) > POLICY_BYTES_MAX:
        raise SettingsError(f"a policy has at most {POLICY_BYTES_MAX} bytes, found {len(data)}")
    _check_octets(data)
    reading = _Reading()
    for number, line in enumerate(data.removesuffix(b"\n").split(b"\n"), start=1):
        # Octets that are not UTF-8 stay apart from each other and from any that are.
        items = [item.decode(errors="surrogateescape") for item in line.split()]
        if items and not items[0].startswith("#"):
            reading.take(number, *items)
    return reading.policy()


_REFUSED_OCTET = re.compile(rb"[^\t\n\x20-\x7e\x80-\xff]")
_COUNT = re.compile("[1-9][0-9]{0,8}")
_SHOWN = 80


def _wrong(line: int, says: str) -> SettingsError:
    return SettingsError(f"policy, line {line}: {says}", line=line)


def _check_octets(data: bytes) -> None:
    refused = _REFUSED_OCTET.search(data)
    if refused:
        raise _wrong(
            data.count(b"\n", 0, refused.start()) + 1,
            f"octet 0x{refused[0][0]:02x} is not allowed; lines end in 0x0a alone",
        )
    if data and not data.endswith(b"\n"):
        # Cut short, a policy may ask for less: `quorum a-and-b` and `quorum a` are both one.
        raise _wrong(data.count(b"\n") + 1, "has no line end: the file may have been cut short")


class _Reading:
    """What the lines so far have defined."""

    def __init__(self) -> None:
        self._logs: list[TrustedLog] = []
        self._witnesses: list[TrustedWitness] = []
        self._groups: list[Group] = []
        self._quorum: str | None = None
        self._quorum_line: int | None = None
        self._defined_on: dict[str, int] = {}
        self._member_of: dict[str, str] = {}

    def policy(self) -> Policy:
        """
        The whole.

        Raises:
            SettingsError: There was no quorum line.
        """
        if self._quorum_line is None:
            raise SettingsError(f"policy: has no quorum line; `quorum {NONE}` asks for no witness")
        return Policy(
            logs=tuple(self._logs),
            witnesses=tuple(self._witnesses),
            groups=tuple(self._groups),
            quorum=self._quorum,
        )

    def take(self, line: int, keyword: str, *items: str) -> None:
        """Take in one line."""
        if keyword == "log" and len(items) in (1, 2):
            self._take_log(line, *items)
        elif keyword == "witness" and len(items) in (2, 3):
            self._take_witness(line, *items)
        elif keyword == "group" and len(items) >= 3:  # noqa: PLR2004 - name, count, a member.
            self._take_group(line, *items)
        elif keyword == "quorum" and len(items) == 1:
            self._take_quorum(line, *items)
        else:
            form = _FORMS.get(keyword)
            raise _wrong(
                line,
                f"expected `{form}`"
                if form
                else f"{_shown(keyword)} is none of {', '.join(_FORMS)}",
            )

    def _take_log(self, line: int, vkey: str, url: str | None = None) -> None:
        verifier = _parse_key(line, vkey)
        if verifier.algorithm != ED25519:
            raise _wrong(line, _other_type("log", verifier, [ED25519]))
        self._refuse_twice(line, verifier, [log.verifier for log in self._logs])
        self._logs.append(TrustedLog(verifier=verifier, url=url))

    def _take_witness(self, line: int, name: str, vkey: str, url: str | None = None) -> None:
        self._define(line, name)
        verifier = _parse_key(line, vkey)
        if verifier.algorithm not in COSIGNATURES:
            raise _wrong(line, _other_type("witness", verifier, sorted(COSIGNATURES)))
        self._refuse_twice(line, verifier, [witness.verifier for witness in self._witnesses])
        self._witnesses.append(TrustedWitness(name=name, verifier=verifier, url=url))

    def _take_group(self, line: int, name: str, count: str, *members: str) -> None:
        # Its own members come first: a group is no member of itself.
        for member in members:
            self._refer(line, member)
            if member in self._member_of:
                raise _wrong(
                    line,
                    f"{_shown(member)} is a member of {_shown(self._member_of[member])} already, "
                    "and would count twice",
                )
            self._member_of[member] = name
        self._define(line, name)
        self._groups.append(
            Group(name=name, threshold=_threshold(line, count, len(members)), members=members)
        )

    def _take_quorum(self, line: int, name: str) -> None:
        if self._quorum_line is not None:
            raise _wrong(line, f"the quorum stands in line {self._quorum_line} already")
        self._quorum_line = line
        if name != NONE:
            self._refer(line, name)
            self._quorum = name

    def _define(self, line: int, name: str) -> None:
        if name == NONE:
            raise _wrong(line, f"{NONE} is the name of no witness and no group")
        if name in self._defined_on:
            raise _wrong(
                line, f"{_shown(name)} is defined in line {self._defined_on[name]} already"
            )
        self._defined_on[name] = line

    def _refer(self, line: int, name: str) -> None:
        if name not in self._defined_on:
            raise _wrong(line, f"{_shown(name)} is not defined above")

    def _refuse_twice(self, line: int, key: VerifierKey, known: Sequence[VerifierKey]) -> None:
        for each in known:
            # Under another name it would still be the same party, counted twice.
            if each.public_key == key.public_key:
                raise _wrong(line, f"the public key is that of {each.name} above")


_FORMS = {
    "log": "log VKEY [URL]",
    "witness": "witness NAME VKEY [URL]",
    "group": "group NAME all|any|COUNT MEMBER...",
    "quorum": f"quorum NAME|{NONE}",
}


def _parse_key(line: int, vkey: str) -> VerifierKey:
    try:
        return VerifierKey.parse(vkey)
    except MalformedProofError as error:
        # A policy is its reader's own word, and no evidence.
        raise _wrong(line, error.message) from error


def _other_type(whose: str, verifier: VerifierKey, expected: list[int]) -> str:
    types = " or ".join(f"{each:#04x}" for each in expected)
    return f"expected a {whose}'s key, of type {types}, found {verifier.algorithm:#04x}"


def _threshold(line: int, count: str, members: int) -> int:
    if count == "all":
        return members
    if count == "any":
        return 1
    if not _COUNT.fullmatch(count) or int(count) > members:
        raise _wrong(line, f"expected all, any or a count from 1 to {members}, found {count[:20]}")
    return int(count)


def _shown(name: str) -> str:
    """A name as a message may show it: octets that are no text are replaced."""
    return name.encode(errors="surrogateescape").decode(errors="replace")[:_SHOWN]
