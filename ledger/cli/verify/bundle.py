"""An audit bundle, in a directory or a .zip file: the code that is in the bundle judges it here."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from ledger.audit import verify as verifier
from ledger.cli.output import Output
from ledger.cli.verify.judgement import VERDICTS, Judgement
from ledger.cli.verify.trust import Trust
from ledger.errors import SettingsError
from ledger.forms.timestamps import format_time
from ledger.rfc3161 import Timestamp, verify_timestamp
from ledger.statement import Verdict

_FILES = ("manifest.json", "entries.jsonl")
_ZIP_START = b"PK\x03\x04"
_LEFT_OUT = ("entry.missing", "previous.", "tree.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """What an auditor holds beside a bundle, and it must agree with."""

    previous: Path | None
    """The bundle of the period before."""
    receipts: tuple[Path, ...]
    """Files of receipts whose entries must be in it."""

    def require_none(self, what: str) -> None:
        """
        Refuse what would not be looked at.

        Raises:
            SettingsError: Something was given beside evidence that is no bundle.
        """
        if self.previous is not None or self.receipts:
            raise SettingsError(f"--previous and --receipt go with a bundle, and {what} is none")


def is_bundle(path: Path) -> bool:
    """Whether this is meant to be an audit bundle."""
    if not path.is_file():
        return any((path / name).is_file() for name in _FILES)
    if not zipfile.is_zipfile(path):
        # Cut short or damaged: its index is at its end.
        with path.open("rb") as file:
            return file.read(len(_ZIP_START)) == _ZIP_START
    try:
        with zipfile.ZipFile(path) as packed:
            return any(PurePosixPath(name).name in _FILES for name in packed.namelist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        # With an end but no list that leads to it, with a list of nonsense, or of a kind of .zip
        # that the library does not read: what is wrong is for the verifier to say.
        return True


def check_bundle(path: Path) -> None:
    """
    Tell a bundle, also a damaged one, from files of other kinds.

    Raises:
        SettingsError: It is nothing that would be one.
    """
    if not path.exists():
        raise SettingsError(f"there is nothing at {path}")
    if not is_bundle(path):
        raise SettingsError(
            f"{path} is no audit bundle: expected the directory or .zip that `effect-ledger export "
            "LEDGER --period PERIOD --out PATH` made"
        )


def judge_bundle(output: Output, path: Path, trust: Trust, beside: Beside) -> Judgement:
    """
    What a bundle proves under the keys that are trusted; without any, under its own word.

    Raises:
        SettingsError: It is of another kind.
        TimestampError, MalformedProofError: The timestamp that came with it is not its word.
    """
    keys = [
        replace(verifier.Key.parse(each.encode()), final_size=each.final_size)
        for each in trust.logs
    ]
    with output.progress("Verifying the bundle", "entries") as tell:
        verdict, manifest = verifier.verify(
            path, keys, previous=beside.previous, receipts=beside.receipts, progress=tell
        )
    if verdict.is_other:
        raise SettingsError(f"not ours: {verdict.findings[0].message}")
    told = verifier.document(verdict, manifest)
    timestamp = _timestamp(verdict, trust)
    period, span = told["period"] or {}, told["range"] or {}
    first = verdict.first
    return Judgement(
        subject="the bundle",
        verdicts=_verdicts(verdict, complete=bool(told["complete"])),
        nothing="the selection has no entries" if verdict.empty else None,
        unrelated=told["unrelated"],
        level="log-signed" if verdict.code == verifier.GOOD else None,
        document={
            name: told[name]
            for name in (
                "ledger",
                "origin",
                "period",
                "range",
                "complete",
                "entries",
                "findings",
                "unrelated",
                "reviews",
            )
        }
        | {
            "checked": verdict.checked,
            "notes": verdict.notes,
            "timestamp": timestamp
            and {"at": format_time(timestamp.at), "authority": timestamp.authority},
        },
        told={
            "origin": told["origin"],
            "period": period.get("name"),
            "entries": f"{verdict.entries:,}, of seq {span.get('from_seq')} to "
            f"{span.get('to_seq')}, each read and hashed here",
            "reviewed by": ", ".join(each["reviewer"] for each in verdict.reviews) or None,
            "timestamped": timestamp and f"{format_time(timestamp.at)} by {timestamp.authority}",
            "notes": "; ".join(verdict.notes) or None,
        },
        not_checked=[
            each for each in told["not_checked"] if timestamp is None or each != verifier.STAMPED
        ],
        first_bad=None
        if first is None
        else {"check": first.code, "seq": None, "message": first.message},
        findings_total=len(verdict.findings),
        authenticated=verdict.trusted,
    )


def _timestamp(verdict: verifier.Verdict, trust: Trust) -> Timestamp | None:
    """
    What an authority that is trusted says of the manifest; None without it.

    Raises:
        TimestampError, MalformedProofError: What came with the bundle is not its word.
    """
    if verdict.token is None or trust.authorities is None:
        return None
    return verify_timestamp(verdict.token, verdict.manifest_bytes, trust.authorities)


def _verdicts(verdict: verifier.Verdict, *, complete: bool) -> dict[str, Verdict]:
    if verdict.empty and not verdict.findings:
        return dict.fromkeys(VERDICTS, "unchecked")
    if not verdict.findings:
        # Of times a bundle shows the order, and nothing of the clock.
        completeness: Verdict = "ok" if complete else "unchecked"
        return {"tamper": "ok", "completeness": completeness, "time": "unchecked"}
    codes = [each.code for each in verdict.findings]
    found: dict[str, Verdict] = dict.fromkeys(VERDICTS, "unchecked")
    found["tamper"] = "bad"
    if any(code.startswith(_LEFT_OUT) for code in codes):
        found["completeness"] = "bad"
    if "entry.time" in codes:
        found["time"] = "bad"
    return found
