"""Bundles: asked of a running service, fetched with resume, and put where somebody wants them."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
import time
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import orjson

from ledger.audit.drawing import FORMATS as SAMPLE_FORMATS
from ledger.audit.parquet import check_parquet, write_parquet
from ledger.cli.files import read_file
from ledger.cli.output import Output, facts
from ledger.cli.remote import PATIENCE_S, Remote
from ledger.client.requests import ledger_path
from ledger.errors import CommitmentError, LedgerError, MalformedProofError, SettingsError

POLL_S = 0.2
PACKED = ".zip"
ENVELOPE = "envelope"
NOTHING_SELECTED = "No entry of the period is selected: the bundle shows nothing.\n"
_NUMBERS = re.compile("[0-9]+(?:[ ,\\n]+[0-9]+)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which bundle, and where to."""

    ledger: str
    period: str
    out: Path
    filter: Mapping[str, Any]
    payloads: bool
    parquet: bool


def read_sample(text: str) -> list[int]:
    """
    Numbers of entries: as they are, or from a file that `@` names, also one of `sample --out`.

    Raises:
        SettingsError: They are none.
    """
    said = read_file(Path(text[1:])).decode(errors="replace") if text.startswith("@") else text
    drawn = _drawn(said)
    if drawn is not None:
        return drawn
    if not _NUMBERS.fullmatch(said.strip()):
        raise SettingsError(
            "--sample is numbers of entries (3,17,39), or @FILE with them, or @FILE.json as "
            "`effect-ledger sample --out` wrote it"
        )
    return [int(each) for each in re.split("[ ,\n]+", said.strip())]


def _drawn(said: str) -> list[int] | None:
    """The entries of a sample, as its JSON has them; None where it is no such JSON."""
    try:
        document = orjson.loads(said)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(document, dict) or document.get("format") not in SAMPLE_FORMATS:
        return None
    if not document["items"]:
        raise SettingsError("the sample has no entries, so there is nothing to take")
    return [item["seq"] for item in document["items"]]


def fetch_bundle(remote: Remote, wanted: Wanted, output: Output) -> None:
    """
    Have the service make a bundle, fetch it, and tell where it is.

    Raises:
        SettingsError: The place is taken.
        LedgerError: The bundle could not be made.
        CommitmentError: What was fetched is not what was made.
        ClientError: As `Remote.send`.
    """
    packed_only = wanted.out.suffix == PACKED
    if wanted.parquet:
        if packed_only:
            raise SettingsError("Parquet goes into a bundle's envelope: give --out a directory")
        check_parquet()
    _check_free(wanted.out, packed_only)
    job = _make(remote, wanted, output)
    bundle = job["bundle"]
    part = wanted.out.with_name(f".{wanted.out.name}.{bundle['bundle_hash'][:16]}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    with output.progress("Fetching the bundle", "bytes") as tell:
        remote.download(
            ledger_path(wanted.ledger, f"/exports/{job['id']}/bundle"),
            part,
            size=bundle["bytes"],
            etag=f'"{bundle["bundle_hash"]}"',
            tell=tell,
            patience_s=PATIENCE_S,
        )
    _check_hash(part, bundle["bundle_hash"])
    if packed_only:
        part.replace(wanted.out)
    else:
        _unpack(part, wanted.out)
    custody = _add(wanted.out, "custody.jsonl", _custody(job))
    reviews = _reviews(remote, wanted.ledger, job["close"])
    if reviews:
        _add(wanted.out, "reviews.jsonl", _lines(each["receipt"] for each in reviews))
    timestamp = bundle["timestamp"] or {}
    if "token" in timestamp:
        _add(wanted.out, "manifest.tsr", base64.b64decode(timestamp["token"]))
    if wanted.parquet:
        write_parquet(wanted.out, wanted.out / ENVELOPE / "parquet")
    document = {
        "ledger": wanted.ledger,
        "export": job["id"],
        "out": str(wanted.out),
        "custody": str(custody),
        "period": job["period"],
        "close": job["close"],
        "reviewed_by": [each["reviewer"] for each in reviews],
        "payloads": job["payloads"],
        **{name: value for name, value in bundle.items() if name not in {"custody", "available"}},
    }
    output.answer(document, _prose(document))


def _check_free(out: Path, packed_only: bool) -> None:
    if packed_only and out.exists():
        raise SettingsError(f"{out} is there already: name another file, or remove it")
    if not packed_only and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SettingsError(f"{out} is not empty: name another directory, or remove it")


def _make(remote: Remote, wanted: Wanted, output: Output) -> dict[str, Any]:
    path = ledger_path(wanted.ledger, "/exports")
    body: dict[str, Any] = {"period": wanted.period, "payloads": wanted.payloads}
    if wanted.filter:
        body["filter"] = dict(wanted.filter)
    job: dict[str, Any] = remote.post(path, body, patience_s=PATIENCE_S)
    with output.progress(f"Making the bundle of {wanted.period}", "entries") as tell:
        while job["state"] == "running":
            time.sleep(POLL_S)
            job = remote.get(f"{path}/{job['id']}", patience_s=PATIENCE_S)
            tell(job["progress"]["done"], job["progress"]["entries"])
    if job["state"] != "done":
        raise LedgerError(f"the bundle could not be made: {job['error']}")
    return job


def _check_hash(part: Path, expected: str) -> None:
    with part.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        part.unlink()
        raise CommitmentError(
            "what was fetched is not what the service made: fetch it again",
            expected=expected,
            found=found,
        )


def _unpack(part: Path, out: Path) -> None:
    """Everything below the one directory of the packed file, into `out`."""
    unpacking = part.with_suffix(".unpacked")
    shutil.rmtree(unpacking, ignore_errors=True)
    with zipfile.ZipFile(part) as packed:
        for each in packed.infolist():
            parts = PurePosixPath(each.filename).parts[1:]
            if not parts or ".." in parts:
                raise MalformedProofError(f"the bundle names {each.filename[:80]!r}: no path of it")
            target = unpacking.joinpath(*parts)
            target.parent.mkdir(parents=True, exist_ok=True)
            with packed.open(each) as source, target.open("wb") as file:
                shutil.copyfileobj(source, file)
    if out.exists():
        out.rmdir()
    unpacking.rename(out)
    part.unlink()


def _add(out: Path, name: str, data: bytes) -> Path:
    """Put a file beside what was signed: into the directory's envelope, or beside the .zip."""
    path = out.with_name(f"{out.stem}.{name}") if out.suffix == PACKED else out / ENVELOPE / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def _custody(job: Mapping[str, Any]) -> bytes:
    return _lines({"export_id": job["id"], **each} for each in job["bundle"]["custody"])


def _reviews(remote: Remote, ledger: str, close: str) -> list[dict[str, Any]]:
    """Those who confirmed the close with a key of their own, as far as a checkpoint covers it."""
    told = remote.get(ledger_path(ledger, f"/periods/{close}"), patience_s=PATIENCE_S)
    return [each for each in told["reviews"] if each["receipt"]["level"] != "unsigned"]


def _lines(documents: Iterable[Mapping[str, Any]]) -> bytes:
    return b"".join(orjson.dumps(each) + b"\n" for each in documents)


def _prose(document: Mapping[str, Any]) -> str:
    omitted = ", ".join(f"{count} {reason}" for reason, count in document["omissions"].items())
    told = facts(
        period=document["period"],
        entries=f"{document['entries']:,}"
        + ("" if document["complete"] else " selected; completeness is not claimed"),
        reviewed_by=", ".join(document["reviewed_by"]) or None,
        payloads=document["payloads"],
        left_out=omitted or None,
        manifest=f"sha256 {document['manifest_hash']}",
        timestamped=_timestamped(document["timestamp"]),
        packed=f"{document['bytes']:,} bytes, sha256 {document['bundle_hash']}",
    )
    nothing = "" if document["entries"] or document["complete"] else NOTHING_SELECTED
    return (
        f"{document['out']} is the bundle.\n{told}\n{nothing}"
        f"Verify it: effect-ledger verify {document['out']} --vkey VKEY"
    )


def _timestamped(timestamp: Mapping[str, str] | None) -> str | None:
    if timestamp is None:
        return None
    if "error" in timestamp:
        return f"no: {timestamp['error']}"
    return f"{timestamp['at']} by {timestamp['authority']}"
