"""
Trust: whose signatures a client believes, and receipts held to them as they arrive.

    given     the caller names verifier keys or a policy: the only trust that needs nobody's word
    pinned    the store of receipts has the keys that were learned in an earlier life
    learned   neither: the ledger is asked for its keys once, and they are pinned

What is learned proves that the ledger did not change its story since, not that it was the right
ledger to begin with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ledger.canonical import parse_json
from ledger.client.agreement import Asked, check_agrees
from ledger.client.commitments import check_committed
from ledger.client.errors import ReceiptInvalid, ReceiptUnsigned
from ledger.client.judgement import Answer, GarbageError
from ledger.client.recorded import Recorded, TrustedBy
from ledger.errors import (
    InclusionError,
    MalformedJsonError,
    MalformedProofError,
    SignatureError,
    VerificationError,
)
from ledger.merkle import leaf_hash
from ledger.note import VerifierKey
from ledger.policy import Policy, verify_receipt_under
from ledger.receipt import (
    LEVELS,
    Receipt,
    ReceiptLevel,
    VerifiedEntry,
    parse_receipt,
    verify_receipt,
)
from ledger.signing.key_history import read_key


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Who is believed, and why."""

    keys: tuple[VerifierKey, ...]
    policy: Policy | None
    by: TrustedBy

    def verify(self, receipt: Receipt) -> VerifiedEntry:
        """
        What a receipt proves under these keys.

        Raises:
            VerificationError: Nothing.
        """
        if self.policy is not None:
            verified = verify_receipt_under(self.policy, receipt, self.keys)
        else:
            verified = verify_receipt(receipt, self.keys)
        if verified.overclaim is not None:
            raise SignatureError(f"{verified.overclaim}: it proves {verified.level}")
        return verified


def given_trust(vkey: str | Sequence[str] | None, policy: Policy | None) -> Trust | None:
    """
    The trust that a caller brings; None where none was brought.

    Raises:
        MalformedProofError: A key is none.
    """
    lines = [vkey] if isinstance(vkey, str) else list(vkey or ())
    if not lines and (policy is None or not policy.logs):
        # Such a policy says who has to agree, and not whose ledger it is.
        return None
    return Trust(keys=keys_of(lines), policy=policy, by="given")


def keys_of(lines: Sequence[str]) -> tuple[VerifierKey, ...]:
    """Verifier keys, each on its line; `until SIZE` behind one that was retired."""
    return tuple(map(read_key, lines))


def read_keys(answer: Answer) -> tuple[str, ...]:
    """The keys that a ledger says are its own; GarbageError where it says none."""
    document = answer.json()
    lines = document.get("keys") if isinstance(document, dict) else None
    try:
        if not isinstance(lines, list) or not keys_of(lines):
            raise GarbageError("the answer has no keys of the ledger")
    except (MalformedProofError, TypeError) as error:
        raise GarbageError("the answer has keys that are none") from error
    return tuple(lines)


def proved(
    recorded: Recorded,
    trust: Trust,
    *,
    ledger: str,
    asked: Asked | None = None,
    level: ReceiptLevel | None = None,
) -> Recorded:
    """
    `recorded`, with what its receipt was found to prove.

    Args:
        recorded: As the service answered, with a receipt.
        trust: Whose signatures count.
        ledger: The one it was sent to.
        asked: What was asked to be recorded; nothing was, without.
        level: Which level was asked for, if any was.

    Raises:
        ReceiptUnsigned: The receipt is of that entry, and nobody has signed it yet.
        ReceiptInvalid: The receipt proves nothing, or another entry than the answer tells, or an
            entry that says something else than was asked for; or is of a lower level than asked.
    """
    try:
        receipt = parse_receipt(recorded.receipt)
        _check_same(recorded, receipt, ledger, asked)
        _check_level(receipt, level)
        if receipt.level == "unsigned":
            raise ReceiptUnsigned(recorded)
        verified = trust.verify(receipt)
    except VerificationError as error:
        raise ReceiptInvalid(error, receipt=recorded.receipt, recorded=recorded) from error
    return replace(recorded, verified=verified, trusted_by=trust.by)


def _check_same(recorded: Recorded, receipt: Receipt, ledger: str, asked: Asked | None) -> None:
    """Refuse a receipt of another entry than the answer tells and the request asked for."""
    if (hashed := leaf_hash(receipt.entry).hex()) != recorded.entry_hash:
        raise InclusionError(
            f"the receipt is of entry {hashed}, the answer of {recorded.entry_hash}",
            expected=recorded.entry_hash,
            found=hashed,
        )
    entry = _members(receipt.entry)
    if recorded.ledger != ledger:
        raise InclusionError(
            f"the answer is of ledger {recorded.ledger}, not of {ledger}",
            expected=ledger,
            found=recorded.ledger,
        )
    expected = {
        "id": recorded.id,
        "ledger": ledger,
        "seq": recorded.seq,
        "recorded_at": recorded.recorded_at,
    }
    _check_says(entry, expected)
    # Of a version above 1, only what all versions share is known.
    if asked is not None and entry.get("v") == 1:
        check_agrees(entry.get("effect"), asked, replayed=recorded.replayed)
        check_committed(entry, recorded.body, asked, replayed=recorded.replayed)


def _check_level(receipt: Receipt, asked: ReceiptLevel | None) -> None:
    # An unsigned one has an error of its own; whether the others are what they say is verified.
    if asked is not None and LEVELS.index("unsigned") < LEVELS.index(receipt.level) < LEVELS.index(
        asked
    ):
        raise SignatureError(
            f"the receipt is {receipt.level}, and one that is {asked} was asked for",
            expected=asked,
            found=receipt.level,
        )


def _members(entry: bytes) -> dict[str, Any]:
    try:
        members = parse_json(entry)
    except MalformedJsonError as error:
        raise MalformedProofError(f"the entry is not JSON: {error.message}") from error
    if not isinstance(members, dict):
        raise MalformedProofError("the entry is not a JSON object")
    return members


def _check_says(found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    for name, value in expected.items():
        if found.get(name) != value:
            raise InclusionError(
                f"the receipt's entry has another {name} than was asked for",
                expected=value,
                found=found.get(name),
            )
