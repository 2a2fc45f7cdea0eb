"""
Watcher: looks at a log once, and holds it to every checkpoint that is remembered.

    unreachable   no checkpoint is to be had                                     3
    stale         no new signature for too long                                  4
    signature     what is shown is not signed by a key that counts               1
    swapped       a checkpoint of another log is shown                           1
    quorum        too few of the witnesses have cosigned                         1
    rollback      less is shown than was signed before                           1
    unproven      what is shown does not prove what is signed                    1
    fork          two histories were signed; the evidence is kept                1

The number is the exit code for it. Whom to tell and when to look again is for others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from ledger.checkpoint import Checkpoint, open_checkpoint
from ledger.copies.continuity import check_shown, find_contradiction, tile_reader
from ledger.copies.log_copy import LogCopy, LogUnreachableError, read_note
from ledger.errors import (
    ForbiddenError,
    InclusionError,
    MalformedProofError,
    SettingsError,
    SignatureError,
    VerificationError,
)
from ledger.forms.timestamps import format_time, from_posix, parse_time
from ledger.note import VerifierKey
from ledger.policy import Policy
from ledger.tree import Tree
from ledger.watch.evidence import keep_evidence
from ledger.watch.memory import Memory, MemoryFile, Sighting

Kind = Literal[
    "unreachable", "stale", "signature", "swapped", "quorum", "rollback", "unproven", "fork"
]

EXIT_CODES: dict[Kind, int] = {
    "unreachable": 3,
    "stale": 4,
    "signature": 1,
    "swapped": 1,
    "quorum": 1,
    "rollback": 1,
    "unproven": 1,
    "fork": 1,
}

CONCLUSIVE: frozenset[Kind] = frozenset({"fork", "swapped"})
"""Looked at again, these would still be so: signatures do not go away."""

# Witnesses' clocks are not ours; what they date later than this says nothing of today.
CLOCKS_APART = timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What was found, once."""

    at: str
    kind: Kind | None
    """What is wrong; None where nothing is."""
    message: str
    checkpoint: Checkpoint | None = None
    """The one that was shown, where its signature is good."""
    grown_from: int | None = None
    """The largest size that was remembered; None at first sight."""
    proved_from: tuple[int, ...] = ()
    """Sizes of the remembered checkpoints that the shown one was proved to continue."""
    cosigned_size: int | None = None
    """Of the newest checkpoint that enough witnesses saw, where a policy asks for them."""
    fresh_at: str | None = None
    evidence: str | None = None
    """File that proves it to anybody."""

    @property
    def code(self) -> int:
        """The exit code for it."""
        return 0 if self.kind is None else EXIT_CODES[self.kind]

    def document(self) -> dict[str, Any]:
        """As a program is told."""
        shown = self.checkpoint
        return {
            "at": self.at,
            "good": self.kind is None,
            "kind": self.kind,
            "message": self.message,
            "origin": None if shown is None else shown.origin,
            "size": None if shown is None else shown.size,
            "root": None if shown is None else shown.root.hex(),
            "grown_from": self.grown_from,
            "proved_from": list(self.proved_from),
            "cosigned_size": self.cosigned_size,
            "fresh_at": self.fresh_at,
            "evidence": self.evidence,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Trusted:
    """Whose signatures count for one log."""

    logs: tuple[VerifierKey, ...]
    policy: Policy | None
    on_first_use: bool = False
    """Whether `logs` are the log's own word."""


class _AlarmError(Exception):
    """Ends a look early."""

    def __init__(self, kind: Kind, message: str, **more: Any) -> None:
        super().__init__(message)
        self.kind, self.message, self.more = kind, message, more


class Watcher:
    """Looks at one log, on behalf of whoever holds its memory."""

    def __init__(
        self, copy: LogCopy, memory: MemoryFile, trusted: Trusted, *, stale_after: timedelta | None
    ) -> None:
        """
        Prepare; nothing is read yet.

        Args:
            copy: The log, asked once for each file.
            memory: Held by nobody else.
            trusted: Whose signatures count.
            stale_after: How long may pass without a new signature; None for as long as it takes.
        """
        self._copy = copy
        self._file = memory
        self._trusted = trusted
        self._stale_after = stale_after

    def look(self, now: datetime) -> Look:
        """
        Look once. What was found is remembered, on disk, when this returns.

        Raises:
            SettingsError: The memory cannot be used, or is of another log.
        """
        memory = self._file.load()
        if memory is not None and memory.log != self._copy.where:
            raise SettingsError(
                f"{self._file.path} is the memory of {memory.log}: give {self._copy.where} "
                "another --memory"
            )
        at = format_time(now)
        try:
            return self._look(memory, at, now)
        except _AlarmError as found:
            return Look(at=at, kind=found.kind, message=found.message, **found.more)

    def _look(self, memory: Memory | None, at: str, now: datetime) -> Look:
        # 1. The newest checkpoint, by a key that counts, of the log that is watched.
        note = self._read_note()
        shown = self._open(note, memory)
        memory = memory or self._first_memory(shown, at)
        largest = memory.seen[-1].checkpoint if memory.seen else None
        more: dict[str, Any] = {
            "checkpoint": shown,
            "grown_from": None if largest is None else largest.size,
        }

        # 2. One history: the tiles are what was signed, and what was seen before is in it.
        tree = Tree(tile_reader(self._read_tile))
        _check_edge(shown, tree, more)
        earlier = [each for each in memory.seen if each.checkpoint.size <= shown.size]
        for each in earlier:
            self._check_continued(each, shown, note, tree, more)
        if largest is not None and shown.size < largest.size:
            raise _AlarmError(
                "rollback",
                f"the log shows {shown.size} entries, and {largest.size} were signed and seen at "
                f"{memory.seen[-1].seen_at}: the newest are gone, or an older log is served",
                **more,
            )

        # 3. Enough witnesses saw it, or what it continues.
        reached_at, cosigned = self._check_quorum(shown, note, tree, more)

        # 4. Only what was proved is remembered.
        is_new = largest is None or shown.size > largest.size
        if is_new:
            memory.remember(Sighting(note=note.decode(), seen_at=at))
        memory.vkeys = tuple(each.encode() for each in self._trusted.logs)
        memory.trusted_on_first_use = self._trusted.on_first_use
        memory.fresh_at = _fresh_at(memory.fresh_at, at if is_new else None, reached_at, now)
        self._file.save(memory)
        more |= {
            "proved_from": tuple(each.checkpoint.size for each in earlier),
            "cosigned_size": None if cosigned is None else cosigned.size,
            "fresh_at": memory.fresh_at,
        }

        # 5. Signed lately.
        age = now - parse_time(memory.fresh_at)
        if self._stale_after is not None and age > self._stale_after:
            who = "witnesses have seen it" if cosigned is not None else "a new signature was seen"
            raise _AlarmError(
                "stale",
                f"the last time {who} was {memory.fresh_at}, longer ago than "
                f"{self._stale_after}: whether the log goes on nobody can tell",
                **more,
            )
        return Look(at=at, kind=None, message=_good(shown, largest, earlier), **more)

    # ---- Steps ----

    def _read_note(self, *, cosigned: bool = False) -> bytes:
        try:
            return read_note(self._copy, cosigned=cosigned)
        except (LogUnreachableError, ForbiddenError) as error:
            raise _AlarmError("unreachable", error.message) from error
        except MalformedProofError as error:
            raise _AlarmError("unreachable", error.message) from error

    def _read_tile(self, path: str) -> bytes | None:
        try:
            return self._copy.read(path)
        except (LogUnreachableError, ForbiddenError) as error:
            raise _AlarmError("unreachable", error.message) from error
        except MalformedProofError as error:
            raise _AlarmError("unproven", error.message) from error

    def _open(self, note: bytes, memory: Memory | None) -> Checkpoint:
        logs = self._trusted.logs
        try:
            shown = open_checkpoint(note, logs)
        except (SignatureError, MalformedProofError) as error:
            raise _AlarmError(
                "signature", f"what the log shows is not its own: {error.message}"
            ) from error
        if memory is not None and memory.origin != shown.origin:
            raise _AlarmError(
                "swapped",
                f"the log of {shown.origin} is shown in place of that of {memory.origin}",
                checkpoint=shown,
            )
        return shown

    def _first_memory(self, shown: Checkpoint, at: str) -> Memory:
        return Memory(
            log=self._copy.where,
            origin=shown.origin,
            vkeys=(),
            trusted_on_first_use=self._trusted.on_first_use,
            began_at=at,
            fresh_at=at,
        )

    def _check_continued(
        self, before: Sighting, shown: Checkpoint, note: bytes, tree: Tree, more: dict[str, Any]
    ) -> None:
        old = before.checkpoint
        try:
            contradiction = find_contradiction(old, shown, tree)
        except InclusionError as error:
            raise _AlarmError("unproven", error.message, **more) from error
        if contradiction is None:
            return
        evidence = keep_evidence(self._file.evidence, contradiction, before.note.encode(), note)
        raise _AlarmError(
            "fork",
            f"two histories of {shown.origin} were signed: the one shown now, of {shown.size} "
            f"entries, has at {old.size} another root than what was seen at {before.seen_at}; "
            f"{evidence} proves it to anybody who has the key",
            evidence=str(evidence),
            **more,
        )

    def _check_quorum(
        self, shown: Checkpoint, note: bytes, tree: Tree, more: dict[str, Any]
    ) -> tuple[datetime | None, Checkpoint | None]:
        """When enough witnesses had seen the newest checkpoint that they saw, and which it is."""
        policy = self._trusted.policy
        if policy is None or policy.quorum is None:
            return None, None
        try:
            found = policy.read(note, self._trusted.logs)
            if not policy.is_met_by(found.names):
                found = policy.verify(self._read_note(cosigned=True), self._trusted.logs)
        except VerificationError as error:
            raise _AlarmError(
                "quorum", f"too few witnesses have seen it: {error.message}", **more
            ) from error
        newest = found.checkpoint
        if newest.origin != shown.origin or newest.size > shown.size:
            raise _AlarmError(
                "quorum",
                f"witnesses have seen {newest.size} entries of {newest.origin}, and "
                f"{shown.size} of {shown.origin} are shown",
                **more,
            )
        seen = Sighting(note=found.encode().decode(), seen_at="the same time, by witnesses")
        self._check_continued(seen, shown, note, tree, more)
        assert found.reached_at is not None, "a quorum that is reached was reached at a time"
        return from_posix(found.reached_at), newest


def _check_edge(shown: Checkpoint, tree: Tree, more: dict[str, Any]) -> None:
    try:
        check_shown(shown, tree)
    except InclusionError as error:
        raise _AlarmError("unproven", error.message, **more) from error


def _fresh_at(before: str, seen: str | None, reached_at: datetime | None, now: datetime) -> str:
    """The later of what was known and what is: witnesses' word where there is one, else ours."""
    if reached_at is not None:
        return format_time(reached_at) if reached_at <= now + CLOCKS_APART else before
    return before if seen is None else max(before, seen)


def _good(shown: Checkpoint, largest: Checkpoint | None, earlier: Sequence[Sighting]) -> str:
    if largest is None:
        return f"{shown.size} entries are signed; this is the first look, and the past is not known"
    if shown.size == largest.size:
        return f"{shown.size} entries are signed, none of them new"
    return (
        f"{shown.size} entries are signed, and they continue each of the {len(earlier)} "
        "checkpoints that were kept"
    )


def memory_path(directory: Path, log: str) -> Path:
    """Where the memory of a log is by default: a name that people recognise."""
    plain = "".join(each if each.isalnum() or each in ".-" else "_" for each in log)
    return directory / "watch" / f"{plain.removeprefix('https___').removeprefix('http___')[:200]}"
