"""
Verify: a receipt or a copy of a log, alone and offline; or a ledger by the service that keeps it.

Receipts and copies prove themselves under a key you trust. What a service says of itself proves
less: the report says what was checked, and a checkpoint you kept makes it a check against the past.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import unquote, urlsplit

import typer

from ledger.canonical import parse_json
from ledger.checkpoint import Checkpoint, open_checkpoint
from ledger.cli.output import BAD_EVIDENCE, JsonOption, Output, QuietOption, facts, table
from ledger.cli.remote import (
    PATIENCE_S,
    WORLDS,
    Remote,
    ledger_path,
    open_remote,
)
from ledger.cli.words import read_file
from ledger.cosignature import is_checkable
from ledger.entry import Entry, UnreadEntry, parse_entry
from ledger.errors import (
    MalformedJsonError,
    MalformedProofError,
    SettingsError,
    SignatureError,
    VerificationError,
)
from ledger.log_copy import open_copy, verify_copy
from ledger.note import VerifierKey
from ledger.policy import Policy, parse_policy, verify_receipt_under
from ledger.receipt import (
    Receipt,
    VerifiedEntry,
    parse_receipt,
    parse_receipt_text,
    verify_receipt,
)

PROOF_HEADER = b"c2sp.org/tlog-proof"
POLL_S = 0.1
VERDICTS = ("tamper", "completeness", "time")

VkeyOption = Annotated[
    list[str] | None,
    typer.Option(help="Verifier key of the ledger that you trust. Repeatable."),
]
VkeyFileOption = Annotated[Path | None, typer.Option(help="File with verifier keys, one per line.")]
WitnessOption = Annotated[
    list[str] | None, typer.Option(help="Verifier key of a witness that you trust. Repeatable.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trusted:
    """Whose signatures count."""

    logs: tuple[VerifierKey, ...]
    witnesses: tuple[VerifierKey, ...]
    quorum: int
    policy: Policy | None = None
    """Says who else counts, and how many; then there are no `witnesses` beside it."""


def verify(
    what: Annotated[
        str,
        typer.Argument(
            metavar="RECEIPT|DIR|URL",
            help="File of a receipt, directory that `export --tiles` made, or URL of a ledger.",
        ),
    ],
    *,
    vkey: VkeyOption = None,
    vkey_file: VkeyFileOption = None,
    witness: WitnessOption = None,
    quorum: Annotated[int, typer.Option(help="How many of the witnesses must agree.")] = 0,
    policy: Annotated[
        Path | None,
        typer.Option(help="C2SP tlog-policy file: the logs and witnesses that you trust."),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="For a URL: a checkpoint you kept, which the history must extend."),
    ] = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> int:
    """
    Verify a receipt or a copy of a log offline, or ask a service to verify a ledger.

    A receipt is the answer to a POST, the receipt in it, or the one-file form. A copy is read
    and hashed here, whole. A URL has the service verify itself: more is checked, and it is the
    service that says so. Exit code 1 where the evidence is bad.
    """
    output = Output(as_json, quiet)
    if policy is not None and (witness or quorum):
        raise SettingsError("--policy says which witnesses count; leave --witness and --quorum out")
    stated = None if policy is None else parse_policy(read_file(policy))
    trusted = Trusted(
        logs=(*trusted_keys(vkey, vkey_file), *_logs_of(stated)),
        witnesses=_keys(witness or []),
        quorum=quorum,
        policy=stated,
    )
    if urlsplit(what).scheme in {"http", "https"}:
        return _verify_ledger(output, what, trusted, checkpoint)
    if not trusted.logs:
        raise SettingsError(
            "say whose signature you trust: --vkey with the ledger's verifier key, as `effect-"
            "ledger ledger list` prints it. A receipt cannot vouch for the key itself"
        )
    if Path(what).is_dir():
        return _verify_copy(output, what, trusted)
    return _verify_receipt(output, Path(what), trusted)


# ---- A copy of a log, offline ---------------------------------------------------------

COPY_NOT_CHECKED = (
    "what entries say beside each other: remainders, repeats, references",
    "payloads: no copy of a log holds them",
    "the clock: when entries were recorded is what the ledger says",
    "what was recorded after this checkpoint",
)


def _verify_copy(output: Output, directory: str, trusted: Trusted) -> int:
    with open_copy(directory) as copy, output.progress("Verifying the copy", "entries") as tell:
        signed, head = verify_copy(copy, trusted.logs, tell)
    document = {
        "verified": True,
        "origin": signed.origin,
        "ledger": head.ledger,
        "size": signed.size,
        "root": signed.root.hex(),
        "last_recorded_at": head.last_recorded_at,
        "not_checked": list(COPY_NOT_CHECKED),
    }
    told = facts(
        origin=signed.origin,
        entries=f"{signed.size:,}, each read and hashed here",
        root=document["root"],
        last_recorded_at=head.last_recorded_at,
    )
    output.answer(
        document,
        f"{WORLDS['RML3']}: the copy is the history that was signed.\n{told}\nNot checked\n"
        + "\n".join(f"  {each}" for each in COPY_NOT_CHECKED),
    )
    return 0


# ---- A receipt, offline ---------------------------------------------------------------


def _verify_receipt(output: Output, path: Path, trusted: Trusted) -> int:
    receipt, answer = read_receipt(path)
    if trusted.policy is None:
        verified = verify_receipt(
            receipt, trusted.logs, witnesses=trusted.witnesses, quorum=trusted.quorum
        )
    else:
        verified = verify_receipt_under(trusted.policy, receipt, trusted.logs)
    entry = parse_entry(verified.entry)
    _check_answer(answer, entry)
    not_checked = _not_checked(receipt, entry, trusted)
    document = receipt_document(verified, entry, not_checked)
    told = facts(
        ledger=f"{document['origin']}, seq {document['seq']} of {document['size']}",
        level=document["level"],
        entry_hash=document["entry_hash"],
        recorded_at=document["recorded_at"],
        says=_says(entry),
        witnesses=", ".join(document["witnesses"]) or None,
    )
    output.answer(
        document,
        f"{WORLDS['RML3']}: the receipt is good.\n{told}\nNot checked\n"
        + "\n".join(f"  {each}" for each in not_checked),
    )
    return 0


def read_receipt(path: Path) -> tuple[Receipt, Mapping[str, Any]]:
    """
    The receipt in a file, and the answer around it where there is one.

    Raises:
        SettingsError: The file cannot be read.
        MalformedProofError: It holds no receipt.
    """
    content = read_file(path)
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


def receipt_document(
    verified: VerifiedEntry, entry: Entry | UnreadEntry, not_checked: list[str]
) -> dict[str, Any]:
    """What a good receipt proves, as JSON."""
    place = verified.place
    return {
        "verified": True,
        "level": verified.level,
        "origin": place.checkpoint.origin,
        "ledger": verified.ledger,
        "seq": verified.seq,
        "size": place.checkpoint.size,
        "root": place.checkpoint.root.hex(),
        "id": entry.id,
        "entry_hash": entry.hash.hex(),
        "recorded_at": entry.recorded_at,
        "witnesses": list(place.witnesses),
        "not_checked": not_checked,
    }


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


def _not_checked(receipt: Receipt, entry: Entry | UnreadEntry, trusted: Trusted) -> list[str]:
    missing = ["the clock: when it was recorded is what the ledger says"]
    if isinstance(entry, UnreadEntry):
        missing.append(f"the content: the entry is of version {entry.v}, which is unknown here")
    elif entry.payloads:
        missing.append("its payloads: only what they were committed to is in the receipt")
    if isinstance(entry, Entry) and entry.signature is not None:
        missing.append("the poster's own signature")
    if receipt.registry is not None:
        missing.append("the registry's proof")
    if trusted.policy is not None:
        missing += [
            f"witness {each.name}: its kind of signature cannot be checked here"
            for each in trusted.policy.witnesses
            if not is_checkable(each.verifier)
        ]
    elif not trusted.witnesses:
        missing.append("witnesses: give theirs with --witness to learn whether they saw it")
    return missing


def _says(entry: Entry | UnreadEntry) -> str | None:
    if isinstance(entry, UnreadEntry):
        return None
    effect = entry.effect
    money = effect.money
    amount = f", {money.amount} {money.currency} {money.flow}" if money else ""
    about = f", {effect.subject}" if effect.subject else ""
    return f"{effect.kind} {effect.type}{amount}{about}, posted by {entry.poster}"


# ---- A ledger, by its service ---------------------------------------------------------


SERVICE_NOT_CHECKED = (
    "whether the service tells the truth about itself: take the log away with `effect-ledger "
    "export --tiles DIR` and verify DIR"
)


def _verify_ledger(output: Output, url: str, trusted: Trusted, kept: Path | None) -> int:
    base, ledger = _split_url(url)
    with open_remote(base) as remote:
        note = remote.send("GET", ledger_path(ledger, "/checkpoint"), patience_s=PATIENCE_S)
        signed = _open_checkpoint(note, ledger, trusted) if trusted.logs else None
        body = {} if kept is None else {"checkpoint": read_file(kept).decode(errors="replace")}
        report = run_verification(remote, ledger, body, output)
    mismatch = None if signed is None else _mismatch(signed, report)
    not_checked = [SERVICE_NOT_CHECKED, *report["not_checked"]]
    if signed is None:
        not_checked.append("who signed the checkpoint: give the ledger's key with --vkey")
    good = mismatch is None and "bad" not in report["verdicts"].values()
    document = {
        "verified": good,
        **report,
        "not_checked": not_checked,
        "checkpoint_origin": None if signed is None else signed.origin,
        "mismatch": mismatch,
    }
    output.answer(document, _report_prose(report, not_checked, mismatch))
    return 0 if good else BAD_EVIDENCE


def _open_checkpoint(note: bytes, ledger: str, trusted: Trusted) -> Checkpoint:
    signed = open_checkpoint(note, trusted.logs)
    if not signed.origin.endswith(f"/{ledger}"):
        raise SignatureError(
            f"the service shows a checkpoint of {signed.origin} for ledger {ledger}",
            found=signed.origin,
        )
    return signed


def run_verification(
    remote: Remote, ledger: str, body: Mapping[str, str], output: Output
) -> dict[str, Any]:
    """
    Have the service verify a ledger, and wait for its report.

    Raises:
        VerificationError: The job itself failed, so nothing is known.
        ProblemError, UnreachableError: As `Remote.send`.
    """
    path = ledger_path(ledger, "/verifications")
    job = remote.post(path, body, patience_s=PATIENCE_S)
    with output.progress(f"Verifying {ledger}", "entries") as tell:
        while job["state"] == "running":
            time.sleep(POLL_S)
            job = remote.get(f"{path}/{job['id']}", patience_s=PATIENCE_S)
            tell(job["progress"]["checked"], job["progress"]["size"])
    report: dict[str, Any] = job["report"]
    if job["state"] != "done":
        raise VerificationError(f"the verification did not finish: {report.get('error')}")
    return report


def _mismatch(signed: Checkpoint, report: Mapping[str, Any]) -> str | None:
    """How the signed checkpoint and the report of what is stored contradict each other."""
    # The checkpoint was read first, so the report is of as many entries or more.
    if report["size"] < signed.size:
        return f"{signed.size} entries are signed, and only {report['size']} are stored"
    if report["size"] == signed.size and report["root"] != signed.root.hex():
        return f"the stored entries lead to another root than the signed one at {signed.size}"
    return None


def _report_prose(report: Mapping[str, Any], not_checked: list[str], mismatch: str | None) -> str:
    verdicts = report["verdicts"]
    good = mismatch is None and "bad" not in verdicts.values()
    head = "the ledger is as it was recorded" if good else "the ledger is NOT as it was recorded"
    lines = [
        f"{WORLDS['RML3']}: {head}.",
        table([(f"  {name}", verdicts[name]) for name in VERDICTS]),
        facts(
            entries=f"{report['entries']:,} read, {report['size']:,} there",
            level=report["level"],
            root=report["root"],
        ),
    ]
    if mismatch is not None:
        lines.append(f"Contradiction\n  {mismatch}")
    first = report["first_bad"]
    if first is not None:
        place = "" if first["seq"] is None else f"seq {first['seq']}: "
        lines.append(
            f"First bad\n  {place}{first['message']} ({first['check']}); "
            f"{report['findings_total']} findings in all"
        )
    if not_checked:
        lines.append("Not checked\n" + "\n".join(f"  {each}" for each in not_checked))
    return "\n".join(lines)


def _split_url(url: str) -> tuple[str, str]:
    base, found, rest = url.partition("/v1/ledgers/")
    ledger = unquote(rest.split("/", 1)[0].split("?", 1)[0])
    if not found or not ledger:
        raise SettingsError(
            "the URL of a ledger ends in /v1/ledgers/NAME, such as "
            "http://127.0.0.1:8420/v1/ledgers/shop"
        )
    return base, ledger


# ---- Keys -----------------------------------------------------------------------------


def trusted_keys(vkeys: list[str] | None, path: Path | None) -> tuple[VerifierKey, ...]:
    """
    The keys that were given as options, and those in a file, one per line.

    Raises:
        SettingsError: One is none, or the file cannot be read.
    """
    return _keys([*(vkeys or ()), *_lines(path)])


def _logs_of(policy: Policy | None) -> tuple[VerifierKey, ...]:
    return () if policy is None else tuple(log.verifier for log in policy.logs)


def _lines(path: Path | None) -> list[str]:
    if path is None:
        return []
    text = read_file(path).decode(errors="replace")
    return [line.strip() for line in text.splitlines() if line.strip() and line[0] != "#"]


def _keys(vkeys: list[str]) -> tuple[VerifierKey, ...]:
    try:
        return tuple(VerifierKey.parse(vkey) for vkey in vkeys)
    except MalformedProofError as error:
        # The key is the caller's word, not evidence.
        raise SettingsError(error.message) from error
