"""
Exports: bundles made as jobs with progress, kept for a day, and every one of them told of.

Jobs are rows of the table `exports`: any process can tell how one stands. A long one is written by
a process of its own, so that writers keep their interpreter; it is signed in this one.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

from psycopg.types.json import Jsonb
from sqlalchemy import Engine

from ledger.audit.access import Accesses, Accessor
from ledger.audit.bundle import SIGNATURE, Written, files_of
from ledger.audit.close import Close
from ledger.audit.closing import Closing
from ledger.audit.kept import PURGE_EVERY_S, KeptBundles
from ledger.audit.packing import pack
from ledger.audit.request import BundleRequest
from ledger.audit.selection import Selection
from ledger.audit.writing import Means, write
from ledger.errors import LedgerError, NotFoundError, OverloadedError
from ledger.forms.grammar import UUID
from ledger.forms.timestamps import format_time
from ledger.ports import FiledStatements, LedgerRecord, NotAnswered
from ledger.rfc3161 import Timestamp
from ledger.signing.key_history import current
from ledger.storage.database import WRITER, Conninfo, driver_connection
from ledger.vault import Vault
from ledger.verification.verdicts import KeysOf, first_key

logger = logging.getLogger(__name__)

JOBS_MAX = 2
"""Jobs one process runs at a time."""
PROGRESS_EVERY_S = 0.5
STALE_AFTER_S = 60
"""A running job that said nothing for so long has lost its process."""
SELECT_RUNNING = """
select id::text from exports
where ledger = %s and principal = %s and requested = %s and state = 'running'
    and updated_at > now() - make_interval(secs => %s)
order by started_at limit 1
"""

INSERT_JOB = """
insert into exports (ledger, id, principal, state, requested, entries)
values (%s, %s, %s, 'running', %s, %s)
"""

UPDATE_PROGRESS = """
update exports set done = %s, entries = %s, updated_at = now() where ledger = %s and id = %s
"""

UPDATE_RESULT = """
update exports set state = %s, result = %s, updated_at = now() where ledger = %s and id = %s
"""

SELECT_JOB = """
select principal, state, requested, done, entries, result,
    state = 'running' and updated_at <= now() - make_interval(secs => %s)
from exports where ledger = %s and id::text = %s
"""

# The first of its kind: what it said stays said, and the same request gives the same bytes.
SELECT_FIRST_MADE = """
select result from exports
where ledger = %s and requested = %s and state = 'done' order by started_at, id limit 1
"""


Stamp = Callable[[bytes], tuple[bytes, Timestamp] | NotAnswered]
"""Asks an authority for a timestamp over octets; see `anchoring.stamper.ask_timestamp`."""


class BundleSigner(Protocol):
    """Signs bundles with a ledger's own key."""

    def sign_bundle(self, origin: str, manifest_hash: bytes) -> bytes:
        """The signed note over the hash of a manifest."""


@dataclass(slots=True, kw_only=True)
class _Job:
    id: str
    request: BundleRequest
    requested: dict[str, Any]
    by: Accessor
    told_at: float = 0.0


class Exports:
    """Jobs, each in a thread of its own; safe to share between threads."""

    def __init__(
        self,
        engine: Engine,
        *,
        directory: Path,
        closing: Closing,
        accesses: Accesses,
        signer: BundleSigner,
        keys: KeysOf = first_key,
        vault: Vault,
        conninfo: Conninfo,
        statements: FiledStatements,
        stamp: Stamp | None = None,
    ) -> None:
        """
        Make bundles in `directory`.

        Args:
            engine: With the rights of the writer.
            directory: Made where needed, and closed to others: payloads are in it for a day.
            closing: Finds closes.
            accesses: Told of each bundle.
            signer: Signs manifests.
            keys: The keys of a ledger, of which the newest is named.
            vault: Opens payloads.
            conninfo: How jobs connect.
            statements: Reads the statements of reconciliations that go with a period.
            stamp: Has manifests timestamped; None where no authority is asked.
        """
        self._engine = engine
        self._kept = KeptBundles(directory)
        self._closing = closing
        self._accesses = accesses
        self._signer = signer
        self._keys = keys
        self._vault = vault
        self._conninfo = conninfo
        self._statements = statements
        self._stamp = stamp
        self._lock = threading.Lock()
        self._threads: set[threading.Thread] = set()

    def begin(self, *, every_s: float = PURGE_EVERY_S) -> None:
        """Remove now, and again each `every_s` seconds, what is kept no longer."""
        self._kept.begin(every_s)

    def end(self, timeout_s: float | None = None) -> None:
        """Remove nothing more; return when jobs are done, or after so many seconds."""
        self._kept.end()
        self.wait(timeout_s)

    def start(self, record: LedgerRecord, named: str, selection: Selection, *, by: Accessor) -> str:
        """
        Begin to make the bundle of a closed period.

        Args:
            record: The ledger.
            named: Name of the period, or id of a close.
            selection: Which entries, and what is seen of them.
            by: Who asks.

        Returns:
            Id of the job; of the one that runs already where the same asks for the same.

        Raises:
            NotFoundError: There is no such close.
            PushbackError: It is not signed yet.
            OverloadedError: Too many are being made.
        """
        close = self._closing.proved(record.name, named)
        before = self._close_before(record.name, close)
        requested = {
            "close": close.entry.id,
            "period": close.data["name"],
            "filter": selection.filter(),
            "payloads": selection.payloads,
        }
        with self._lock, driver_connection(self._engine) as connection:
            running = connection.execute(
                SELECT_RUNNING, (record.name, by.principal, Jsonb(requested), STALE_AFTER_S)
            ).fetchone()
            if running is not None:
                return str(running[0])
            if len(self._threads) >= JOBS_MAX:
                raise OverloadedError(f"{JOBS_MAX} bundles are being made already")
            job = _Job(
                id=str(uuid4()),
                request=BundleRequest(
                    record=replace(record, vkey=current(self._keys(record)).encode()),
                    first_vkey=record.vkey,
                    close=close,
                    before=before,
                    selection=selection,
                    previous_manifest=self._previous_manifest(record.name, requested, before),
                ),
                requested=requested,
                by=by,
            )
            entries = close.data["to_seq"] - close.data["from_seq"] + 1
            connection.execute(
                INSERT_JOB, (record.name, job.id, by.principal, Jsonb(requested), entries)
            )
            # A daemon: a process that ends does not wait for it, and the job shows as failed.
            thread = threading.Thread(
                target=self._run, args=(job,), name=f"export {record.name}", daemon=True
            )
            self._threads.add(thread)
            thread.start()
        return job.id

    def get(self, ledger: str, id: str) -> dict[str, Any]:  # noqa: A002 - the word of the table.
        """
        How a job stands.

        Returns:
            `{id, ledger, principal, state, period, close, filter, payloads, progress: {done,
            entries}, bundle, error}`; `state` is `running`, `done` or `failed`, and `bundle`
            `{name, bytes, bundle_hash, manifest_hash, entries, omissions, complete, available,
            custody}` once it is done.

        Raises:
            NotFoundError: No job of this ledger has this id.
        """
        row = None
        if UUID.fullmatch(id):
            with driver_connection(self._engine) as connection:
                row = connection.execute(SELECT_JOB, (STALE_AFTER_S, ledger, id)).fetchone()
        if row is None:
            raise NotFoundError(f"ledger {ledger} has no export {id[:36]}", ledger=ledger)
        principal, state, requested, done, entries, result, is_stale = row
        if is_stale:
            state, result = "failed", {"error": "the process that ran it ended before it was done"}
        result = result or {}
        bundle = None
        if state == "done":
            bundle = {name: value for name, value in result.items() if name != "previous_manifest"}
            bundle.setdefault("timestamp", None)
            bundle["available"] = self._kept.has(id)
        return {
            "id": id,
            "ledger": ledger,
            "principal": principal,
            "state": state,
            **requested,
            "progress": {"done": done, "entries": entries},
            "bundle": bundle,
            "error": result.get("error"),
        }

    def packed(self, ledger: str, id: str) -> Path:  # noqa: A002 - as above.
        """
        The file of a bundle that is done.

        Raises:
            NotFoundError: There is no such job, it is not done, or its file is kept no longer.
        """
        job = self.get(ledger, id)
        if job["state"] != "done":
            raise NotFoundError(f"export {id[:36]} is {job['state']}, not done", ledger=ledger)
        if not self._kept.has(id):
            raise NotFoundError(
                f"the bundle of export {id[:36]} is kept for a day, by the host that made it: ask "
                "for it again, and it has the same bytes",
                ledger=ledger,
            )
        return self._kept.packed(id)

    def downloaded(self, ledger: str, id: str, *, by: Accessor) -> None:  # noqa: A002 - as above.
        """Tell of a download; one of each key and day, for a resumed one is the same."""
        bundle = self.get(ledger, id)["bundle"]
        day = time.strftime("%Y-%m-%d", time.gmtime())
        self._accesses.record(
            "export.downloaded",
            f"{id}/{by.key_id}/{day}",
            {
                "export_id": id,
                "ledger": ledger,
                "principal": by.principal,
                "key_id": by.key_id,
                "bundle_hash": bundle["bundle_hash"],
                "manifest_hash": bundle["manifest_hash"],
            },
            ledger=ledger,
            by=by,
        )

    def wait(self, timeout_s: float | None = None) -> None:
        """Return when the jobs of this process are done, or after so many seconds."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        for thread in list(self._threads):
            thread.join(None if deadline is None else max(0.0, deadline - time.monotonic()))

    # ---- One job ----

    def _run(self, job: _Job) -> None:
        ledger = job.request.record.name
        try:
            state, result = self._make(job)
            with driver_connection(self._engine) as connection:
                connection.execute(UPDATE_RESULT, (state, Jsonb(result), ledger, job.id))
        except LedgerError:
            # Nowhere to write the result to: the job goes stale and shows as failed.
            logger.exception("the result of export %s is lost", job.id)
        finally:
            with self._lock:
                self._threads.discard(threading.current_thread())

    def _make(self, job: _Job) -> tuple[str, dict[str, Any]]:
        means = Means(
            conninfo=self._conninfo(WRITER), vault=self._vault, statements=self._statements
        )
        try:
            with self._kept.building(job.id) as building:
                written = write(
                    means, job.request, building, lambda done, total: self._tell(job, done, total)
                )
                return "done", self._finish(job, building, written)
        except LedgerError as error:
            logger.warning("export %s failed: %s", job.id, error)
            return "failed", {"error": error.message}
        except OSError as error:
            logger.exception("export %s failed", job.id)
            return "failed", {"error": f"the bundle could not be written: {error.strerror}"}
        except Exception:
            logger.exception("export %s failed", job.id)
            return "failed", {"error": "the export itself failed; the log says why"}

    def _finish(self, job: _Job, building: Path, written: Written) -> dict[str, Any]:
        """Sign, pack, and tell of it; only then can it be fetched."""
        request = job.request
        digest = hashlib.sha256(written.manifest).digest()
        signature = self._signer.sign_bundle(request.record.origin, digest)
        (building / SIGNATURE).write_bytes(signature)
        packing = building / "packed.zip"
        bundle_hash, size = pack(building, files_of(written.manifest), packing, name=request.name)
        data = request.close.data
        issued = {
            "export_id": job.id,
            "ledger": request.record.name,
            "principal": job.by.principal,
            "period": data["name"],
            "from_seq": data["from_seq"],
            "to_seq": data["to_seq"],
            "root": data["root"],
            "manifest_hash": digest.hex(),
        }
        told = self._accesses.record(
            "export.issued", job.id, issued, ledger=request.record.name, by=job.by
        )
        packing.replace(self._kept.packed(job.id))
        self._tell(job, written.entries, written.entries, least_s=0.0)
        return {
            "name": request.name,
            "bytes": size,
            "bundle_hash": bundle_hash,
            "manifest_hash": digest.hex(),
            "entries": written.entries,
            "complete": request.selection.is_complete,
            "omissions": dict(written.omissions),
            "custody": [told | {"digest": digest.hex()}],
            "timestamp": self._timestamp(job.id, written.manifest),
            "previous_manifest": request.previous_manifest,
        }

    def _timestamp(self, job: str, manifest: bytes) -> dict[str, str] | None:
        """An authority's token over the manifest; a bundle is as good without it."""
        if self._stamp is None:
            return None
        try:
            answer = self._stamp(manifest)
        except LedgerError as error:
            answer = NotAnswered(reason=error.message)
        if isinstance(answer, NotAnswered):
            logger.warning("the manifest of export %s is not timestamped: %s", job, answer.reason)
            return {"error": answer.reason}
        token, timestamp = answer
        return {
            "at": format_time(timestamp.at),
            "authority": timestamp.authority,
            "token": base64.b64encode(token).decode(),
        }

    def _tell(self, job: _Job, done: int, total: int, *, least_s: float = PROGRESS_EVERY_S) -> None:
        now = time.monotonic()
        if now - job.told_at >= least_s:
            job.told_at = now
            where = (done, total, job.request.record.name, job.id)
            with driver_connection(self._engine) as connection:
                connection.execute(UPDATE_PROGRESS, where)

    # ---- What a bundle is made from ----

    def _close_before(self, ledger: str, close: Close) -> Close | None:
        first = close.data["from_seq"]
        for each in self._closing.closes(ledger):
            if each.entry.seq == first and each.entry.id != close.entry.id:
                return self._closing.proved(ledger, each.entry.id)
        return None

    def _previous_manifest(
        self, ledger: str, requested: dict[str, Any], before: Close | None
    ) -> str | None:
        """What the first bundle of this kind named; else the first of the period before."""
        made = self._first_made(ledger, requested)
        if made is not None:
            named: str | None = made["previous_manifest"]
            return named
        if before is None:
            return None
        asked = requested | {"close": before.entry.id, "period": before.data["name"]}
        found = self._first_made(ledger, asked)
        return None if found is None else str(found["manifest_hash"])

    def _first_made(self, ledger: str, requested: dict[str, Any]) -> dict[str, Any] | None:
        with driver_connection(self._engine) as connection:
            row = connection.execute(SELECT_FIRST_MADE, (ledger, Jsonb(requested))).fetchone()
        return None if row is None else row[0]
