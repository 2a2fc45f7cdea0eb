"""Export: the bundle of a closed period, or a log as plain files that tools of others read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ledger.checkpoint import parse_checkpoint
from ledger.cli.bundles import Wanted, fetch_bundle, read_sample
from ledger.cli.files import read_file
from ledger.cli.output import JsonOption, Output, QuietOption, facts
from ledger.cli.remote import KEY_VARIABLE, PATIENCE_S, Remote, open_remote
from ledger.cli.verify.trust import KeysOption, VkeyOption, trusted_keys
from ledger.client import Refused
from ledger.client.requests import ledger_path
from ledger.copies.export import CHECKPOINT, Exported, Fetch, export_log
from ledger.copies.log_copy import COSIGNED
from ledger.errors import MalformedProofError, SettingsError
from ledger.note import VerifierKey, parse_note

THE_RULES = "what the entries say: effect-ledger verify holds them to the rules"
THE_KEY = "whose key it is: it was the service's word. Give one you trust with --vkey"


def export(
    ledger: Annotated[
        str | None,
        typer.Argument(
            metavar="LEDGER",
            help="Name of the ledger; with --tiles by default that of the log there.",
        ),
    ] = None,
    *,
    period: Annotated[
        str | None, typer.Option(help="Closed period whose bundle is taken, or id of a close.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR|FILE.zip", help="Where the bundle goes; nothing may be there."),
    ] = None,
    type_: Annotated[
        str | None, typer.Option("--type", help="Only entries of this type; with their proofs.")
    ] = None,
    poster: Annotated[str | None, typer.Option(help="Only entries that it posted.")] = None,
    subject: Annotated[str | None, typer.Option(help="Only entries about it.")] = None,
    sample: Annotated[
        str | None, typer.Option(help="Only these: numbers of entries (3,17,39), or @FILE.")
    ] = None,
    parquet: Annotated[
        bool,
        typer.Option("--parquet", help="Also the tables as Parquet, in DIR/envelope/parquet."),
    ] = False,
    payloads: Annotated[
        bool, typer.Option(help="Whether words and documents come along where they may.")
    ] = True,
    tiles: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Directory for the log; an older export goes on."),
    ] = None,
    vkey: VkeyOption = None,
    keys: KeysOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """
    Take the bundle of a closed period away, or keep a copy of a ledger's log (--tiles).

    A bundle is what an auditor verifies without the service: `effect-ledger verify`, or the
    verify.py in it. The same request gives the same bytes; what broke off goes on.

    A log is kept in the layout of C2SP tlog-tiles. Every file is held to the signed checkpoint,
    also those that are there already; what is right is not fetched again. A public log needs no
    key.
    """
    output = Output(as_json, quiet)
    if tiles is not None:
        if period is not None or out is not None:
            raise SettingsError("take the log (--tiles), or a bundle (--period and --out)")
        _export_log(output, tiles, ledger, trusted_keys(vkey, keys))
        return
    if ledger is None or period is None or out is None:
        raise SettingsError(
            "say what to take: LEDGER --period 2026-10 --out DIR for a bundle, --tiles DIR for "
            "the log"
        )
    words = {"type": type_, "poster": poster, "subject": subject}
    chosen: dict[str, Any] = {key: word for key, word in words.items() if word is not None}
    if sample is not None:
        chosen["seqs"] = read_sample(sample)
    wanted = Wanted(
        ledger=ledger, period=period, out=out, filter=chosen, payloads=payloads, parquet=parquet
    )
    with open_remote() as remote:
        fetch_bundle(remote, wanted, output)


def _export_log(
    output: Output, tiles: Path, ledger: str | None, trusted: Sequence[VerifierKey]
) -> None:
    name = ledger or _ledger_in(tiles)
    with open_remote(as_stranger=True) as remote:
        believed = trusted or _keys_by_word(remote, name)
        fetch = _fetch_from(remote, name)
        # Before the newest one: then it is no larger.
        cosigned = _cosigned(remote, name)
        with output.progress(f"Exporting {name}", "entries") as tell:
            exported = export_log(name, fetch, tiles, believed, tell, cosigned=cosigned)
    not_checked = [THE_RULES, *([] if trusted else [THE_KEY])]
    output.answer(
        _document(exported, name, tiles, not_checked), _prose(exported, tiles, not_checked)
    )


def _ledger_in(directory: Path) -> str:
    """The ledger whose log a directory says it holds; whether it does is checked later."""
    file = directory / CHECKPOINT
    if not file.is_file():
        raise SettingsError(
            f"{directory} holds no export yet: say which ledger: export LEDGER --tiles {directory}"
        )
    try:
        origin = parse_checkpoint(parse_note(read_file(file)).text).origin
    except MalformedProofError as error:
        raise MalformedProofError(f"{file} is no checkpoint: {error.message}") from error
    return origin.rpartition("/")[2]


def _fetch_from(remote: Remote, ledger: str) -> Fetch:
    log = ledger_path(ledger, "/log")

    def fetch(path: str) -> bytes:
        try:
            return remote.send("GET", f"{log}/{path}", patience_s=PATIENCE_S)
        except Refused as error:
            if remote.is_stranger and error.problem["code"] == "UNAUTHENTICATED":
                raise SettingsError(
                    f"the log of {ledger} is not public: set {KEY_VARIABLE} to a key with scope "
                    "proofs:read"
                ) from error
            raise

    return fetch


def _cosigned(remote: Remote, ledger: str) -> bytes | None:
    """The newest checkpoint that witnesses saw; None where none has."""
    path = f"{ledger_path(ledger, '/log')}/{COSIGNED}"
    try:
        # Where nobody is asked to cosign, waiting would end in the same answer.
        final = frozenset({"NOT_COSIGNED_YET"})
        return remote.send("GET", path, patience_s=PATIENCE_S, final=final)
    except Refused as error:
        if error.problem["code"] in {"NOT_COSIGNED_YET", "UNAUTHENTICATED"}:
            # Whoever may not read the log is told where it is asked for.
            return None
        raise


def _keys_by_word(remote: Remote, ledger: str) -> list[VerifierKey]:
    """The key of a ledger as its service says, to those who may ask."""
    if remote.is_stranger:
        raise SettingsError(
            f"say whose signature you trust: --vkey with the verifier key of {ledger}; or set "
            f"{KEY_VARIABLE} and the service is asked, which proves less"
        )
    record = remote.get(ledger_path(ledger), patience_s=PATIENCE_S)
    return [VerifierKey.parse(record["vkey"])]


def _document(
    exported: Exported, ledger: str, directory: Path, not_checked: list[str]
) -> dict[str, Any]:
    checkpoint = exported.checkpoint
    return {
        "ledger": ledger,
        "origin": checkpoint.origin,
        "size": checkpoint.size,
        "root": checkpoint.root.hex(),
        "directory": str(directory),
        "grown_from": exported.grown_from,
        "files": {
            "kept": exported.kept,
            "written": exported.written,
            "repaired": exported.repaired,
        },
        "not_checked": not_checked,
    }


def _prose(exported: Exported, directory: Path, not_checked: list[str]) -> str:
    checkpoint = exported.checkpoint
    before = "" if exported.grown_from is None else f", {exported.grown_from:,} of them before"
    if exported.grown_from == checkpoint.size:
        before = ", none of them new"
    repaired = f", {exported.repaired:,} of them in place of damaged ones"
    told = facts(
        log=checkpoint.origin,
        entries=f"{checkpoint.size:,}{before}",
        root=checkpoint.root.hex(),
        files=f"{exported.kept:,} were there and right, {exported.written:,} written"
        + (repaired if exported.repaired else ""),
    )
    return (
        f"{directory} holds the log, and every file of it is under the signed "
        f"root.\n{told}\nNot checked\n" + "\n".join(f"  {each}" for each in not_checked)
    )
