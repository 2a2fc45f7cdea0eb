"""A receipt, judged offline: one entry at its place in a tree that was signed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from ledger.canonical import parse_json
from ledger.checkpoint import Checkpoint
from ledger.cli.verify.bounds import Bounds
from ledger.cli.verify.judgement import Judgement
from ledger.cli.verify.trust import Trust
from ledger.entry import Entry, UnreadEntry, parse_entry
from ledger.errors import (
    ConsistencyError,
    MalformedJsonError,
    MalformedProofError,
    SettingsError,
    SignatureError,
    VerificationError,
)
from ledger.forms.timestamps import format_time
from ledger.policy import verify_receipt_under
from ledger.receipt import (
    LEVELS,
    Receipt,
    VerifiedEntry,
    parse_receipt,
    parse_receipt_text,
    verify_receipt,
)
from ledger.rfc3161 import Timestamp

PROOF_HEADER = b"c2sp.org/tlog-proof"


def is_receipt(content: bytes) -> bool:
    """Whether a file is meant to be a receipt, or to hold one, however damaged it is."""
    return content.startswith(PROOF_HEADER) or b'"proof"' in content or b'"receipt"' in content


def judge_receipt(path: Path, content: bytes, trust: Trust) -> Judgement:
    """
    What the receipt in a file proves.

    Args:
        path: Of the file.
        content: What is in it.
        trust: Whose signatures count.

    Raises:
        VerificationError: It does not prove what it claims.
        SettingsError: The checkpoint that was kept is of another log.
    """
    receipt, answer = read_receipt(path, content)
    if trust.policy is None:
        verified = verify_receipt(
            receipt,
            trust.logs,
            witnesses=trust.witnesses,
            quorum=trust.quorum,
            authorities=trust.authorities,
        )
    else:
        verified = verify_receipt_under(trust.policy, receipt, trust.logs, trust.authorities)
    if verified.overclaim is not None:
        raise SignatureError(f"{verified.overclaim}: it proves {verified.level}")
    entry = parse_entry(verified.entry)
    _check_answer(answer, entry)
    if trust.kept is not None:
        _check_past(trust.kept, verified.place.checkpoint)
    bounds = Bounds(
        not_before=trust.kept_at if trust.kept and trust.kept.size <= verified.seq else None,
        not_after=verified.not_after,
    )
    document = {
        "origin": verified.place.checkpoint.origin,
        "ledger": verified.ledger,
        "seq": verified.seq,
        "size": verified.place.checkpoint.size,
        "root": verified.place.checkpoint.root.hex(),
        "id": entry.id,
        "entry_hash": entry.hash.hex(),
        "recorded_at": entry.recorded_at,
        "not_before": _spelled(bounds.not_before),
        "not_after": _spelled(bounds.not_after),
        "witnesses": list(verified.witnesses),
        "timestamps": [_timestamp(each) for each in verified.timestamps],
        "registry": _registry(verified.registry),
        "claimed": receipt.level,
    }
    return Judgement(
        subject="the receipt",
        verdicts={
            "tamper": "ok",
            "completeness": "unchecked",
            "time": bounds.verdict(entry.recorded_at),
        },
        level=verified.level,
        document=document,
        told={
            "ledger": f"{document['origin']}, seq {document['seq']} of {document['size']}",
            "entry_hash": document["entry_hash"],
            "recorded_at": document["recorded_at"],
            "says": _says(entry),
            "witnesses": ", ".join(verified.witnesses) or None,
            "timestamped by": "; ".join(each.authority for each in verified.timestamps) or None,
            "through": _through(verified.registry),
            "not before": document["not_before"],
            "not after": document["not_after"],
        },
        not_checked=_not_checked(receipt, entry, verified, trust, bounds),
        first_bad=bounds.first_bad(entry.seq, entry.recorded_at),
    )


def read_receipt(path: Path, content: bytes) -> tuple[Receipt, Mapping[str, Any]]:
    """
    The receipt that is the content of a file, and the answer around it where there is one.

    Raises:
        MalformedProofError: It is none.
    """
    if content.startswith(PROOF_HEADER):
        try:
            return parse_receipt_text(content.decode()), {}
        except UnicodeDecodeError as error:
            raise MalformedProofError(f"{path} is not UTF-8 at byte {error.start}") from error
    try:
        document = parse_json(content)
    except MalformedJsonError as error:
        raise MalformedProofError(
            f"{path} is neither JSON nor tlog-proof text, so it holds no receipt"
        ) from error
    if isinstance(document, dict) and "receipt" in document:
        return parse_receipt(document["receipt"]), document
    return parse_receipt(document), {}


def _check_answer(answer: Mapping[str, Any], entry: Entry | UnreadEntry) -> None:
    """What an answer says beside its receipt must be what the entry says."""
    expected = {
        "id": entry.id,
        "ledger": entry.ledger,
        "seq": entry.seq,
        "entry_hash": entry.hash.hex(),
        "recorded_at": entry.recorded_at,
    }
    for name, value in expected.items():
        if name in answer and answer[name] != value:
            raise VerificationError(
                f"the answer says {name} {str(answer[name])[:80]}, the proven entry says {value}",
                expected=value,
                found=answer[name],
            )


def _check_past(kept: Checkpoint, found: Checkpoint) -> None:
    if kept.origin != found.origin:
        raise SettingsError(
            f"the checkpoint that was kept is of {kept.origin}, the receipt of {found.origin}"
        )
    if kept.size == found.size and kept.root != found.root:
        raise ConsistencyError(
            f"two histories of {kept.origin} were signed: at {kept.size} entries the checkpoint "
            f"that was kept has the root {kept.root.hex()}, the receipt's {found.root.hex()}",
            expected=kept.root.hex(),
            found=found.root.hex(),
        )


# ---- Words ----------------------------------------------------------------------------


def _not_checked(
    receipt: Receipt,
    entry: Entry | UnreadEntry,
    verified: VerifiedEntry,
    trust: Trust,
    bounds: Bounds,
) -> list[str]:
    missing = ["what else was recorded: a receipt is of one entry"]
    missing += bounds.unknown()
    missing += verified.unproved
    if LEVELS.index(receipt.level) > LEVELS.index(verified.level):
        missing.append(
            f"that it is {receipt.level}, as it says: whoever stands for that is not trusted here"
        )
    if isinstance(entry, UnreadEntry):
        missing.append(f"the content: the entry is of version {entry.v}, which is unknown here")
    elif entry.payloads:
        missing.append("its payloads: only what they were committed to is in the receipt")
    if isinstance(entry, Entry) and entry.signature is not None:
        missing.append("the poster's own signature")
    if trust.kept is not None and trust.kept.size != verified.place.checkpoint.size:
        missing.append(
            f"whether the trees of {trust.kept.size} entries, which was kept, and of "
            f"{verified.place.checkpoint.size} are one history: verify the ledger's URL with it"
        )
    return missing + trust.unasked()


def _spelled(time: datetime | None) -> str | None:
    return None if time is None else format_time(time)


def _timestamp(timestamp: Timestamp) -> dict[str, Any]:
    return {
        "authority": timestamp.authority,
        "at": format_time(timestamp.at),
        "serial": str(timestamp.serial),
    }


def _registry(recorded: VerifiedEntry | None) -> dict[str, Any] | None:
    if recorded is None:
        return None
    checkpoint = recorded.place.checkpoint
    return {"origin": checkpoint.origin, "seq": recorded.seq, "size": checkpoint.size}


def _through(recorded: VerifiedEntry | None) -> str | None:
    if recorded is None:
        return None
    return f"entry {recorded.seq} of {recorded.place.checkpoint.origin}, which records its tree"


def _says(entry: Entry | UnreadEntry) -> str | None:
    if isinstance(entry, UnreadEntry):
        return None
    effect = entry.effect
    money = effect.money
    amount = f", {money.amount} {money.currency} {money.flow}" if money else ""
    about = f", {effect.subject}" if effect.subject else ""
    return f"{effect.kind} {effect.type}{amount}{about}, posted by {entry.poster}"
