"""
A ledger at its URL, judged by the service that keeps it and held to what is trusted here.

The service recomputes its own records with every rule. What it says is believed only as far as
a trusted key, witnesses and a checkpoint that was kept vouch for it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from ledger.checkpoint import Checkpoint
from ledger.cli.output import Output
from ledger.cli.remote import PATIENCE_S, Remote, key_for, open_remote
from ledger.cli.verify.judgement import VERDICTS, Judgement
from ledger.cli.verify.trust import Trust
from ledger.client import Refused
from ledger.client.requests import LEDGERS, ledger_path
from ledger.copies.continuity import find_contradiction, tile_reader
from ledger.copies.places import open_copy
from ledger.errors import ConsistencyError, SettingsError, SignatureError, VerificationError
from ledger.tree import Tree

POLL_S = 0.1

_NOT_CHECKED = (
    "whether the service tells the truth about itself: verify its log instead, URL/log, or take "
    "it away with `effect-ledger export --tiles DIR` and verify DIR"
)
_NO_KEY = (
    "who signed: the service vouched for itself. Give the ledger's key with --vkey, from its "
    "operator and not from the service"
)


def is_ledger(url: str) -> bool:
    """Whether it is the URL of a ledger, and not of the log below it or of any other."""
    _, found, rest = url.rstrip("/").partition(LEDGERS)
    return bool(found) and "/" not in rest


def judge_service(output: Output, url: str, trust: Trust) -> Judgement:
    """
    What the service at a ledger's URL says of it, and whether that fits what is trusted.

    Raises:
        VerificationError: What it signed is not good, or not what was kept.
        ClientError: As `Remote.send`.
        SettingsError: The URL is none of a ledger.
    """
    base, ledger = split_url(url)
    with open_remote(base) as remote:
        signed, cosigned, witnesses = _open(remote, url, ledger, trust)
        body = {} if trust.kept_note is None else {"checkpoint": trust.kept_note.decode()}
        report = run_verification(remote, ledger, body, output)
    if signed is not None:
        _check_report(signed, report)
    authenticated = signed is not None
    not_checked = [_NOT_CHECKED, *report["not_checked"], *trust.unasked()]
    if not authenticated:
        not_checked.insert(0, _NO_KEY)
    return Judgement(
        subject="the ledger",
        verdicts={name: report["verdicts"][name] for name in VERDICTS},
        level=_level(report, witnesses, is_newest=cosigned in (None, signed))
        if authenticated
        else None,
        document={
            **report,
            "origin": None if signed is None else signed.origin,
            "witnesses": list(witnesses),
            "cosigned_size": None if cosigned is None else cosigned.size,
        },
        told={
            "origin": None if signed is None else signed.origin,
            "entries": f"{report['entries']:,} read, {report['size']:,} there",
            "root": report["root"],
            "witnesses": ", ".join(witnesses) or None,
        },
        not_checked=not_checked,
        first_bad=report["first_bad"],
        findings_total=report["findings_total"],
        authenticated=authenticated,
    )


def run_verification(
    remote: Remote, ledger: str, body: Mapping[str, str], output: Output
) -> dict[str, Any]:
    """
    Have the service verify a ledger, and wait for its report.

    Raises:
        VerificationError: The job itself failed, so nothing is known.
        ClientError: As `Remote.send`.
    """
    path = ledger_path(ledger, "/verifications")
    job = remote.post(path, body, patience_s=PATIENCE_S)
    told = False
    with output.progress(f"Verifying {ledger}", "entries") as tell:
        while job["state"] == "running":
            time.sleep(POLL_S)
            job = remote.get(f"{path}/{job['id']}", patience_s=PATIENCE_S)
            tell(job["progress"]["checked"], job["progress"]["size"])
            if job["progress"].get("makes_way") and not told:
                told = True
                output.note("The service is busy with writes; its verification makes way for them.")
    report: dict[str, Any] = job["report"]
    if job["state"] != "done":
        raise VerificationError(f"the verification did not finish: {report.get('error')}")
    return report


def split_url(url: str) -> tuple[str, str]:
    """
    The URL of the service, and the name of the ledger, in the URL of a ledger.

    Raises:
        SettingsError: It is none.
    """
    base, found, rest = url.partition(LEDGERS)
    ledger = unquote(rest.split("/", 1)[0].split("?", 1)[0])
    if not found or not ledger:
        raise SettingsError(
            "the URL of a ledger ends in /v1/ledgers/NAME, such as "
            "http://127.0.0.1:8420/v1/ledgers/shop"
        )
    return base, ledger


def _open(
    remote: Remote, url: str, ledger: str, trust: Trust
) -> tuple[Checkpoint | None, Checkpoint | None, tuple[str, ...]]:
    """As `Trust.open_log`; without a key nothing is opened, and nobody vouches."""
    path = ledger_path(ledger, "/checkpoint")

    def read_note(cosigned: bool) -> bytes:
        query = {"level": "cosigned"} if cosigned else None
        final = frozenset({"NOT_COSIGNED_YET"})
        try:
            return remote.send("GET", path, query=query, patience_s=PATIENCE_S, final=final)
        except Refused as error:
            if cosigned and error.problem["code"] == "NOT_COSIGNED_YET":
                raise SignatureError(f"no quorum of witnesses has seen {ledger}") from error
            raise

    if not trust.logs:
        return None, None, ()
    signed, cosigned, witnesses = trust.open_log(read_note)
    if not signed.origin.endswith(f"/{ledger}"):
        raise SignatureError(
            f"the service shows a checkpoint of {signed.origin} for ledger {ledger}",
            found=signed.origin,
        )
    if cosigned is not None and cosigned != signed:
        with open_copy(url, key_for(url)) as copy:
            if find_contradiction(cosigned, signed, Tree(tile_reader(copy.read))) is not None:
                raise ConsistencyError(
                    f"what witnesses saw of {signed.origin} at {cosigned.size} entries is another "
                    f"history than the {signed.size} that are shown"
                )
    return signed, cosigned, witnesses


def _check_report(signed: Checkpoint, report: Mapping[str, Any]) -> None:
    """The signed checkpoint and the report of what is stored must not contradict each other."""
    # The checkpoint was read first, so the report is of as many entries or more.
    if report["size"] < signed.size:
        raise ConsistencyError(
            f"{signed.size} entries are signed, and only {report['size']} are stored",
            expected=signed.size,
            found=report["size"],
        )
    if report["size"] == signed.size and report["root"] != signed.root.hex():
        raise ConsistencyError(
            f"the stored entries lead to another root than the signed one at {signed.size}",
            expected=signed.root.hex(),
            found=report["root"],
        )


def _level(report: Mapping[str, Any], witnesses: tuple[str, ...], *, is_newest: bool) -> Any:
    return "cosigned" if witnesses and is_newest else report["level"]
