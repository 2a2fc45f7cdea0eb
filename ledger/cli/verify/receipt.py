"""A receipt, judged offline: one entry at its place in a tree that was signed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from ledger.canonical import parse_json
from ledger.checkpoint import Checkpoint
from ledger.cli.verify.judgement import Judgement
from ledger.cli.verify.trust import Trust
from ledger.cosignature import cosignatures_of
from ledger.entry import Entry, UnreadEntry, parse_entry
from ledger.errors import (
    ConsistencyError,
    MalformedJsonError,
    MalformedProofError,
    SettingsError,
    VerificationError,
)
from ledger.note import open_note
from ledger.policy import verify_receipt_under
from ledger.receipt import (
    Receipt,
    VerifiedEntry,
    parse_receipt,
    parse_receipt_text,
    parse_tlog_proof,
    verify_receipt,
)
from ledger.timestamps import format_time, from_posix, parse_time
from ledger.verify import Verdict

PROOF_HEADER = b"c2sp.org/tlog-proof"

CLOCKS_APART_S = 60
"""How far the clocks of honest parties may be from each other."""


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
            receipt, trust.logs, witnesses=trust.witnesses, quorum=trust.quorum
        )
    else:
        verified = verify_receipt_under(trust.policy, receipt, trust.logs)
    entry = parse_entry(verified.entry)
    _check_answer(answer, entry)
    if trust.kept is not None:
        _check_past(trust.kept, verified.place.checkpoint)
    seen_at = _seen_at(receipt, trust)
    document = {
        "origin": verified.place.checkpoint.origin,
        "ledger": verified.ledger,
        "seq": verified.seq,
        "size": verified.place.checkpoint.size,
        "root": verified.place.checkpoint.root.hex(),
        "id": entry.id,
        "entry_hash": entry.hash.hex(),
        "recorded_at": entry.recorded_at,
        "seen_at": None if seen_at is None else format_time(seen_at),
        "witnesses": list(verified.place.witnesses),
    }
    return Judgement(
        subject="the receipt",
        verdicts={
            "tamper": "ok",
            "completeness": "unchecked",
            "time": _time_verdict(entry, seen_at),
        },
        level=verified.level,
        document=document,
        told={
            "ledger": f"{document['origin']}, seq {document['seq']} of {document['size']}",
            "entry_hash": document["entry_hash"],
            "recorded_at": document["recorded_at"],
            "says": _says(entry),
            "witnesses": ", ".join(verified.place.witnesses) or None,
            "seen by them at": document["seen_at"],
        },
        not_checked=_not_checked(receipt, entry, verified, trust, seen_at),
        first_bad=_first_bad(entry, seen_at),
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


# ---- Time -----------------------------------------------------------------------------


def _seen_at(receipt: Receipt, trust: Trust) -> datetime | None:
    """When enough witnesses had seen the entry's tree, by their own clocks."""
    assert receipt.proof is not None, "a receipt that verifies has a proof"
    note = parse_tlog_proof(receipt.proof).checkpoint_note
    if trust.policy is not None:
        reached_at = trust.policy.read(note, trust.logs).reached_at
    else:
        opened = open_note(note, [*trust.logs, *trust.witnesses])
        first: dict[str, int] = {}
        for each in cosignatures_of(opened, trust.witnesses):
            name = each.witness.name
            first[name] = min(each.time, first.get(name, each.time))
        enough = max(trust.quorum, 1)
        reached_at = sorted(first.values())[enough - 1] if len(first) >= enough else None
    return None if reached_at is None else from_posix(reached_at)


def _is_dated_late(entry: Entry | UnreadEntry, seen_at: datetime) -> bool:
    after_s = (parse_time(entry.recorded_at) - seen_at).total_seconds()
    return after_s > CLOCKS_APART_S


def _time_verdict(entry: Entry | UnreadEntry, seen_at: datetime | None) -> Verdict:
    if seen_at is None:
        return "unchecked"
    return "bad" if _is_dated_late(entry, seen_at) else "ok"


def _first_bad(entry: Entry | UnreadEntry, seen_at: datetime | None) -> Mapping[str, Any] | None:
    if seen_at is None or not _is_dated_late(entry, seen_at):
        return None
    return {
        "check": "time.witnessed",
        "seq": entry.seq,
        "message": f"the entry says it was recorded at {entry.recorded_at}, and witnesses had "
        f"seen it at {format_time(seen_at)}: the ledger's clock was ahead",
    }


# ---- Words ----------------------------------------------------------------------------


def _not_checked(
    receipt: Receipt,
    entry: Entry | UnreadEntry,
    verified: VerifiedEntry,
    trust: Trust,
    seen_at: datetime | None,
) -> list[str]:
    missing = ["what else was recorded: a receipt is of one entry"]
    if seen_at is None:
        missing.append("the clock: when it was recorded is what the ledger says")
    if isinstance(entry, UnreadEntry):
        missing.append(f"the content: the entry is of version {entry.v}, which is unknown here")
    elif entry.payloads:
        missing.append("its payloads: only what they were committed to is in the receipt")
    if isinstance(entry, Entry) and entry.signature is not None:
        missing.append("the poster's own signature")
    if receipt.registry is not None:
        missing.append("the registry's proof")
    if trust.kept is not None and trust.kept.size != verified.place.checkpoint.size:
        missing.append(
            f"whether the trees of {trust.kept.size} entries, which was kept, and of "
            f"{verified.place.checkpoint.size} are one history: verify the ledger's URL with it"
        )
    return missing + trust.unasked()


def _says(entry: Entry | UnreadEntry) -> str | None:
    if isinstance(entry, UnreadEntry):
        return None
    effect = entry.effect
    money = effect.money
    amount = f", {money.amount} {money.currency} {money.flow}" if money else ""
    about = f", {effect.subject}" if effect.subject else ""
    return f"{effect.kind} {effect.type}{amount}{about}, posted by {entry.poster}"
