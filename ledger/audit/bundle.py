"""
Bundle: a closed period as files that prove themselves, written in one pass and constant memory.

The same close, selection and rights give the same bytes: every time in it comes from the close, and
who fetched it when is told beside it. What has been erased since is a difference, and declared.
`verify.py`, which reads all this, is in the bundle and writes the tables here too.
"""

from __future__ import annotations

import base64
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from ledger.audit import verify
from ledger.audit.bundle_file import BundleFile
from ledger.audit.guide import guide
from ledger.audit.request import BundleRequest
from ledger.audit.source import Source, SourceEntry
from ledger.audit.workbook import TablesWorkbook
from ledger.canonical import canonical_bytes
from ledger.errors import ChainBreakError
from ledger.forms.timestamps import parse_time
from ledger.merkle import Frontier, LeafIndex, TreeSize, leaf_hash
from ledger.ports import FiledStatement, StatementsAsked

Progress = Callable[[int, int], None]
Statements = Callable[[StatementsAsked], Iterator[FiledStatement]]
"""Reads the statements of reconciliations that go with a period."""

JSON, JSON_LINES, CSV, TEXT = (
    "application/json",
    "application/jsonl",
    "text/csv; charset=utf-8; header=present",
    "text/plain; charset=utf-8",
)
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
MANIFEST, SIGNATURE = verify.UNSIGNED


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A bundle that is written, but for its signature."""

    manifest: bytes
    entries: int
    omissions: Mapping[str, int]


def write_bundle(
    source: Source,
    request: BundleRequest,
    directory: Path,
    progress: Progress = lambda _done, _total: None,
    *,
    statements: Statements = lambda _asked: iter(()),
) -> Written:
    """
    Write all files of a bundle but the signature over its manifest.

    Args:
        source: Reads the ledger.
        request: What is asked for.
        directory: Empty; the files are made in it.
        progress: Told how many entries were written, of how many.
        statements: Reads the statements that go with the period.

    Raises:
        ChainBreakError: The entries that are stored are not those that were closed.
        CommitmentError: A payload or a sign-off is not the one that was committed to.
    """
    return _Writer(source, request, directory, progress, statements).write()


@dataclass(slots=True)
class _Chain:
    """Holds what is read to what was closed, so that no false bundle leaves the house."""

    frontier: Frontier
    previous: bytes | None = None

    def extend(self, page: Sequence[SourceEntry], first: int) -> None:
        leaves = []
        for expected, entry in enumerate(page, first):
            if entry.seq != expected:
                raise ChainBreakError(f"entry {expected} is not stored any more", seq=expected)
            leaves.append(leaf_hash(entry.body))
        self.frontier = self.frontier.extend(leaves)


@dataclass(slots=True)
class _Counts:
    omissions: dict[str, int] = field(default_factory=dict)
    poster_keys: set[str] = field(default_factory=set)
    signoffs: dict[str, int] = field(default_factory=dict)
    """Decisions that sign statements -> the entries that record them."""
    entries: int = 0


class _Writer:
    def __init__(
        self,
        source: Source,
        request: BundleRequest,
        directory: Path,
        progress: Progress,
        statements: Statements,
    ) -> None:
        self._source = source
        self._statements = statements
        self._request = request
        self._directory = directory
        self._progress = progress
        self._outs: list[BundleFile] = []
        self._opened = ExitStack()
        self._counts = _Counts()
        data = request.close.data
        self._data = data
        self._first, self._last = data["from_seq"], data["to_seq"]
        self._complete = request.selection.is_complete
        self._selected = array("Q")
        assert request.close.checkpoint_size is not None, "a bundle is of a close with its proof"
        self._after = TreeSize(request.close.checkpoint_size)
        self._tables = verify.Tables(data["from_at"], data["to_at"])

    def write(self) -> Written:
        total = self._source.count(self._request.selection, self._first, self._last)
        with self._opened, self._workbook() as workbook:
            self._write_entries(workbook, total)
            self._write_final_tables(workbook)
        self._small("close.json", self._request.close.entry.encoded, "the close", JSON)
        checkpoints = self._write_checkpoints()
        self._write_proofs()
        if self._complete:
            self._write_statements()
        self._write_keys()
        verifier = Path(verify.__file__).read_bytes()
        self._small("verify.py", verifier, "the verifier", "text/x-python; charset=utf-8")
        self._small(
            "VERIFY.md",
            guide(self._request, self._counts.entries, verifier).encode(),
            "how to verify",
            TEXT,
        )
        self._state_workbook()
        manifest = canonical_bytes(self._manifest(checkpoints)) + b"\n"
        (self._directory / MANIFEST).write_bytes(manifest)
        return Written(
            manifest=manifest, entries=self._counts.entries, omissions=self._counts.omissions
        )

    # ---- Entries and what goes along with them ----

    def _write_entries(self, workbook: TablesWorkbook, total: int) -> None:
        entries = self._rows("entries.jsonl", "the evidence: entries as they were hashed")
        payloads = self._rows("payloads.jsonl", "payloads with their salts")
        omissions = self._rows("omissions.jsonl", "payloads that are left out, and why")
        references = self._rows("references.jsonl", "entries that corrections point at")
        inclusion = None
        if not self._complete:
            inclusion = self._rows("proofs/inclusion.jsonl", "proof of each entry")
        tables = {table: self._table(table) for table in verify.STREAMED}
        chain = _Chain(self._source.tree.frontier(TreeSize(self._first)))
        first = self._first
        for page in self._source.pages(self._request.selection, self._first, self._last):
            if self._complete:
                chain.extend(page, first)
                first = page[-1].seq + 1
            else:
                self._selected.extend(each.seq for each in page)
            parsed = [orjson.loads(each.body) for each in page]
            originals = self._originals(page)
            for stored, entry in zip(page, parsed, strict=True):
                entries.row(stored.body + b"\n")
                if inclusion is not None:
                    inclusion.row(self._inclusion(stored.seq))
                original = self._write_reference(references, stored, originals)
                for table, row in self._tables.add(entry, leaf_hash(stored.body).hex(), original):
                    tables[table].row(verify.csv_line(row).encode())
                    workbook.add(table, row)
                if "signature" in entry:
                    self._counts.poster_keys.add(entry["signature"]["key_id"])
                decision = verify.signoff_of(entry)
                if decision is not None:
                    self._counts.signoffs[decision] = stored.seq
            self._write_payloads(parsed, payloads, omissions)
            self._counts.entries += len(page)
            self._progress(self._counts.entries, total)
        self._check_root(chain)

    def _check_root(self, chain: _Chain) -> None:
        if self._complete and chain.frontier.root().hex() != self._data["root"]:
            raise ChainBreakError(
                f"entries {self._first} to {self._last} are not stored as they were closed: verify "
                "the ledger, which names the first that was changed",
                expected=self._data["root"],
                found=chain.frontier.root().hex(),
            )

    def _originals(self, page: Sequence[SourceEntry]) -> dict[str, SourceEntry]:
        wanted = list(dict.fromkeys(each.corrects for each in page if each.corrects is not None))
        return self._source.by_id(wanted)

    def _write_reference(
        self, references: BundleFile, stored: SourceEntry, originals: Mapping[str, SourceEntry]
    ) -> dict[str, Any] | None:
        """Say what a correction points at; the entry it corrects, None for others."""
        if stored.corrects is None:
            return None
        target = originals.get(stored.corrects)
        if target is None:
            raise ChainBreakError(
                f"what entry {stored.seq} corrects is not stored any more", seq=stored.seq
            )
        record: dict[str, Any] = {"name": "original", "original": target.seq, "seq": stored.seq}
        if not self._holds(target.seq, below=stored.seq):
            record["entry"] = target.body.decode()
            record["hashes"] = self._proof(target.seq)
        references.row(canonical_bytes(record) + b"\n")
        original: dict[str, Any] = orjson.loads(target.body)
        return original

    def _holds(self, seq: int, *, below: int) -> bool:
        """Whether entry `seq` has a line of its own before that of `below`."""
        if self._complete:
            return bool(self._first <= seq < below)
        at = bisect_left(self._selected, seq)
        return at < len(self._selected) and int(self._selected[at]) == seq

    def _inclusion(self, seq: int) -> bytes:
        return canonical_bytes({"hashes": self._proof(seq), "seq": seq}) + b"\n"

    def _proof(self, seq: int) -> list[str]:
        hashes = self._source.tree.inclusion_proof(LeafIndex(seq), self._after)
        return [each.hex() for each in hashes]

    def _write_payloads(
        self, parsed: Sequence[dict[str, Any]], payloads: BundleFile, omissions: BundleFile
    ) -> None:
        bearing = {entry["seq"]: entry for entry in parsed if "payloads" in entry}
        if not bearing:
            return
        mode = self._request.selection.payloads
        if mode != "shown":
            erased = self._source.erased(list(bearing))
            for seq, entry in bearing.items():
                for stated in entry["payloads"]:
                    place = (seq, stated["name"])
                    self._omit(omissions, *place, "erased" if place in erased else mode)
            return
        ids = {seq: entry["id"] for seq, entry in bearing.items()}
        for seq, opened in self._source.payloads(ids):
            for each in opened:
                if each.content is None or each.salt is None:
                    self._omit(omissions, seq, each.name, "erased")
                    continue
                payloads.row(
                    canonical_bytes(
                        {
                            "content": base64.b64encode(each.content).decode(),
                            "media_type": each.media_type,
                            "name": each.name,
                            "salt": each.salt.hex(),
                            "seq": seq,
                        }
                    )
                    + b"\n"
                )

    def _omit(self, omissions: BundleFile, seq: int, name: str, reason: str) -> None:
        record = {"name": name, "reason": reason, "seq": seq}
        omissions.row(canonical_bytes(record) + b"\n")
        self._counts.omissions[reason] = self._counts.omissions.get(reason, 0) + 1

    # ---- Statements of reconciliations ----

    def _write_statements(self) -> None:
        """Each with the proof that its checkpoint is of this tree; what is lost is declared."""
        data, zone = self._data, ZoneInfo(self._request.record.time_zone)
        asked = StatementsAsked(
            ledger=self._request.record.name,
            from_seq=self._first,
            to_seq=self._last,
            days=(
                parse_time(data["from_at"]).astimezone(zone).date(),
                (parse_time(data["to_at"]) - timedelta(microseconds=1)).astimezone(zone).date(),
            ),
            closed_at=parse_time(self._request.close.entry.recorded_at),
        )
        shown = []
        lost = dict(self._counts.signoffs)
        for filed in self._statements(asked):
            path = f"statements/{filed.name}"
            self._small(f"{path}.json", filed.content, "a statement of a reconciliation", JSON)
            for view in filed.views:
                view_path = f"{path}{view.suffix}"
                role = "the statement, for people"
                with BundleFile(
                    self._directory, view_path, role=role, media_type=view.media_type
                ) as out:
                    for part in view.parts:
                        out.write(part)
                self._outs.append(out)
            proof = self._source.tree.consistency_proof(TreeSize(filed.size), self._after)
            shown.append(
                {
                    "path": f"{path}.json",
                    "run": filed.run,
                    "period": filed.period,
                    "state": "signed" if filed.decisions else "unsigned",
                    "consistency": _hexed(proof),
                }
            )
            for decision in filed.decisions:
                lost.pop(decision, None)
        index = {
            "statements": shown,
            "lost": [{"decision": each, "seq": seq} for each, seq in sorted(lost.items())],
        }
        self._small(verify.STATEMENTS, canonical_bytes(index), "which statements there are", JSON)

    # ---- Tables ----

    def _table(self, table: str) -> BundleFile:
        out = self._open(f"tables/{table}.csv", "a table for people", CSV)
        out.head(verify.csv_line(verify.COLUMNS[table]))
        return out

    def _write_final_tables(self, workbook: TablesWorkbook) -> None:
        for table, rows in self._tables.final():
            out = self._table(table)
            for row in rows:
                out.row(verify.csv_line(row).encode())
                workbook.add(table, row)

    def _workbook(self) -> TablesWorkbook:
        request, data = self._request, self._data
        return TablesWorkbook(
            self._directory / "workbook.xlsx",
            about=[
                ("Ledger", request.record.name),
                ("Origin", request.record.origin),
                ("Period", data["name"]),
                ("From", data["from_at"]),
                ("To", data["to_at"]),
                ("Time zone", request.record.time_zone),
                ("Closed at", request.close.entry.recorded_at),
                ("Prepared by", data["preparer"]),
                ("Reviewed by", data.get("reviewer", "nobody")),
                ("Entries", f"{self._first} to {self._last}"),
                ("Complete", "yes" if self._complete else "no: a selection"),
                ("Evidence", "entries.jsonl; this workbook is a view. Verify with verify.py"),
            ],
            made_at=parse_time(request.close.entry.recorded_at),
        )

    def _state_workbook(self) -> None:
        data = (self._directory / "workbook.xlsx").read_bytes()
        self._small("workbook.xlsx", data, "the tables as a workbook", XLSX)

    # ---- Checkpoints, proofs, keys ----

    def _write_checkpoints(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for which, close in (("before", self._request.before), ("after", self._request.close)):
            found[which] = None
            if close is not None:
                assert close.checkpoint_note is not None, "closes come with their checkpoints"
                path = f"checkpoints/{which}.txt"
                self._small(path, close.checkpoint_note, f"the checkpoint {which}", TEXT)
                found[which] = {"path": path, "size": close.checkpoint_size}
        return found

    def _write_proofs(self) -> None:
        tree, closed = self._source.tree, TreeSize(self._last + 2)
        proofs: dict[str, Any]
        if self._complete:
            frontier = tree.frontier(TreeSize(self._first))
            proofs = {
                "after": _hexed(tree.consistency_proof(closed, self._after)),
                "frontier": _hexed(frontier.hashes),
            }
            before = self._request.before
            if before is not None and (before.checkpoint_size or 0) > closed:
                # Signed late: that checkpoint covers this period's close too.
                later = TreeSize(before.checkpoint_size or 0)
                proofs["before"] = _hexed(tree.consistency_proof(closed, later))
        else:
            proofs = {"close": self._proof(self._last + 1)}
        self._small("proofs/range.json", canonical_bytes(proofs), "proofs of the range", JSON)

    def _write_keys(self) -> None:
        record = self._request.record
        keys = {
            "log": [{"origin": record.origin, "vkey": record.vkey}],
            "posters": self._source.poster_keys(sorted(self._counts.poster_keys)),
        }
        self._small("keys/keys.json", canonical_bytes(keys), "public keys", JSON)
        notices = self._source.key_notices()
        if notices:
            history = {
                "first": self._request.first_vkey,
                "notices": [each.decode() for each in notices],
            }
            self._small(
                verify.KEY_HISTORY, canonical_bytes(history), "how one key followed another", JSON
            )
        # C2SP tlog-policy: other programs verify the checkpoints under it.
        policy = f"log {record.vkey}\nquorum none\n"
        self._small("policy.txt", policy.encode(), "the policy to verify under", TEXT)

    # ---- The manifest ----

    def _manifest(self, checkpoints: dict[str, Any]) -> dict[str, Any]:
        request, data, totals = self._request, self._data, self._tables.totals
        close = request.close.entry
        stated = {
            "id": close.id,
            "seq": close.seq,
            "entry_hash": close.hash.hex(),
            "recorded_at": close.recorded_at,
        }
        people = {
            name: data[name] for name in ("preparer", "reviewer", "supersedes") if name in data
        }
        return {
            "format": verify.FORMAT,
            "ledger": request.record.name,
            "origin": request.record.origin,
            "vkey": request.record.vkey,
            "time_zone": request.record.time_zone,
            "period": {name: data[name] for name in ("name", "from_at", "to_at")},
            "close": stated | people,
            "range": {"from_seq": self._first, "to_seq": self._last},
            "root": data["root"],
            "complete": self._complete,
            "filter": request.selection.filter(),
            "payloads": request.selection.payloads,
            "entries": self._counts.entries,
            "totals": totals.lines(),
            "totals_hash": totals.hash(),
            "omissions": dict(sorted(self._counts.omissions.items())),
            "checkpoints": checkpoints,
            "previous": self._previous(),
            "created_at": close.recorded_at,
            "files": sorted((out.stated() for out in self._outs), key=lambda each: each["path"]),
        }

    def _previous(self) -> dict[str, Any] | None:
        before = self._request.before
        if before is None:
            return None
        return {
            "name": before.data["name"],
            "close": before.entry.id,
            "entry_hash": before.entry.hash.hex(),
            "seq": before.entry.seq,
            "manifest_hash": self._request.previous_manifest,
        }

    # ---- Files ----

    def _open(self, path: str, role: str, media_type: str) -> BundleFile:
        out = BundleFile(self._directory, path, role=role, media_type=media_type)
        self._outs.append(out)
        return self._opened.enter_context(out)

    def _rows(self, path: str, role: str) -> BundleFile:
        return self._open(path, role, JSON_LINES).without_rows()

    def _small(self, path: str, data: bytes, role: str, media_type: str) -> None:
        with BundleFile(self._directory, path, role=role, media_type=media_type) as out:
            out.write(data)
        self._outs.append(out)


def _hexed(hashes: Iterable[bytes]) -> list[str]:
    return [each.hex() for each in hashes]


def files_of(manifest: bytes) -> Iterator[str]:
    """The paths of a bundle in the order in which they are packed: the manifest first."""
    yield from (MANIFEST, SIGNATURE)
    for stated in orjson.loads(manifest)["files"]:
        yield stated["path"]
