"""The command: which kind of evidence it was given, and the judgement told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from ledger.canonical import parse_json
from ledger.checkpoint import parse_checkpoint
from ledger.cli.files import read_file
from ledger.cli.output import JsonOption, Output, QuietOption
from ledger.cli.verify.bundle import Beside, is_bundle, judge_bundle
from ledger.cli.verify.fork import judge_fork
from ledger.cli.verify.judgement import Judgement, refuted
from ledger.cli.verify.receipt import is_receipt, judge_receipt
from ledger.cli.verify.statement import judge_statement, note_of
from ledger.cli.verify.trust import (
    KeysOption,
    PolicyOption,
    Trust,
    TsaCertificatesOption,
    VkeyOption,
    read_trust,
)
from ledger.errors import MalformedJsonError, MalformedProofError, SettingsError, VerificationError
from ledger.note import parse_note
from ledger.watch.evidence import is_evidence

KINDS = (
    "a receipt, a signed verdict, evidence of a fork, an audit bundle, a directory that `export "
    "--tiles` made, or the URL of a ledger or of a log"
)
_STARTS = {b"%PDF": "a PDF", b"PK": "a .zip that is no bundle", b"\x89PNG": "a picture"}


def verify(
    what: Annotated[
        str,
        typer.Argument(
            metavar="RECEIPT|BUNDLE|DIR|URL",
            help="File of a receipt, of a signed verdict or of a fork's evidence, audit bundle "
            "(directory or .zip), directory that `export --tiles` made, or URL of a ledger or of "
            "a log.",
        ),
    ],
    *,
    vkey: VkeyOption = None,
    keys: KeysOption = None,
    witness: Annotated[
        list[str] | None,
        typer.Option(help="Verifier key of a witness that you trust. Repeatable."),
    ] = None,
    quorum: Annotated[int, typer.Option(help="How many of the witnesses must agree.")] = 0,
    policy: PolicyOption = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="A checkpoint you kept, which the history must extend."),
    ] = None,
    tsa_certificates: TsaCertificatesOption = None,
    previous: Annotated[
        Path | None,
        typer.Option(help="For a bundle: that of the period before, which must join it."),
    ] = None,
    receipt: Annotated[
        list[Path] | None,
        typer.Option(help="For a bundle: a receipt whose entry must be in it. Repeatable."),
    ] = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> int:
    """
    Verify a receipt, a bundle, a copy of a log, or a ledger: tamper, completeness and time.

    A receipt is the answer to a POST, the receipt in it, or the one-file form; a verdict the
    answer of `GET .../verifications/latest`. A copy, and a log
    at its URL (such as .../v1/ledgers/shop/log), is read and hashed here, whole. At the URL of a
    ledger the service verifies itself: more is checked, and it is the service that says so.
    """
    output = Output(as_json, quiet)
    trust = read_trust(
        vkeys=vkey,
        keys=keys,
        witnesses=witness,
        quorum=quorum,
        policy=policy,
        checkpoint=checkpoint,
        tsa_certificates=tsa_certificates,
    )
    beside = Beside(previous=previous, receipts=tuple(receipt or ()))
    return _judge(output, what, trust, beside).tell(output)


def _judge(output: Output, what: str, trust: Trust, beside: Beside) -> Judgement:
    """The judgement of evidence by the kind it is of; each kind has its module."""
    if urlsplit(what).scheme in {"http", "https"}:
        beside.require_none(what)
        return _judge_url(output, what, trust)
    path = Path(what)
    if is_bundle(path):
        return _judged("the bundle", what, lambda: judge_bundle(output, path, trust, beside))
    beside.require_none(what)
    trust.require_logs()
    if not path.is_dir():
        return _judged("the receipt", what, lambda: _judge_file(path, trust))
    # Here and below: what speaks HTTP takes longer to load than a receipt to verify.
    from ledger.cli.verify.copy import is_copy, judge_copy

    if not is_copy(path):
        raise SettingsError(f"{what} is a directory of another kind; expected {KINDS}")
    return _judged("the log", what, lambda: judge_copy(output, what, trust))


def _judge_url(output: Output, url: str, trust: Trust) -> Judgement:
    from ledger.cli.verify.copy import judge_copy
    from ledger.cli.verify.service import is_ledger, judge_service

    if is_ledger(url):
        return _judged("the ledger", url, lambda: judge_service(output, url, trust))
    trust.require_logs()
    return _judged("the log", url, lambda: judge_copy(output, url, trust))


def _judge_file(path: Path, trust: Trust) -> Judgement:
    """A file is told by what is in it; where it is nothing else, it should be a receipt."""
    content = read_file(path)
    try:
        document = parse_json(content)
    except MalformedJsonError:
        document = None
    if is_evidence(document):
        return judge_fork(document, trust)
    verdict = note_of(content, document)
    if verdict is not None:
        return judge_statement(verdict, trust)
    if not is_receipt(content):
        raise SettingsError(f"{path} is {_kind_of(content, document)}; expected {KINDS}")
    return judge_receipt(path, content, trust)


def _is_checkpoint(content: bytes) -> bool:
    try:
        parse_checkpoint(parse_note(content).text)
    except MalformedProofError:
        return False
    return True


def _kind_of(content: bytes, document: object) -> str:
    """What a file that is no evidence seems to be."""
    if not content:
        return "empty"
    if _is_checkpoint(content):
        return "a checkpoint, which --checkpoint takes"
    if document is not None:
        return "JSON of another kind"
    known = next((kind for start, kind in _STARTS.items() if content.startswith(start)), None)
    return known or "a file of another kind"


def _judged(subject: str, what: str, judge: Callable[[], Judgement]) -> Judgement:
    try:
        return judge()
    except VerificationError as error:
        return refuted(subject, error, {"evidence": what})
