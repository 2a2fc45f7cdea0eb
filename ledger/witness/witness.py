"""
Witness: cosigns a checkpoint exactly when it extends the largest one cosigned before.

Knows the logs it may speak about, its keys, and through `store` what it said. HTTP is for others.
https://c2sp.org/tlog-witness
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from ledger.checkpoint import Checkpoint, parse_checkpoint
from ledger.cosignature import CosignerKey
from ledger.errors import (
    ClockUntrustedError,
    ConsistencyError,
    MalformedProofError,
    NotFoundError,
    SettingsError,
    SignatureError,
)
from ledger.merkle import EMPTY_ROOT, TreeSize, verify_consistency
from ledger.note import ED25519, Note, VerifierKey, open_note, parse_note
from ledger.ports import Clock
from ledger.witness.protocol import (
    AddCheckpoint,
    Answer,
    Conflict,
    Cosigned,
    Ground,
    Refused,
    parse_add_checkpoint,
)
from ledger.witness.store import Latest, Turn, WitnessStore

logger = logging.getLogger(__name__)

# Clocks are set back a little now and then; more is a clock nobody should believe.
TOLERANCE_S = 5

Logs = Mapping[str, Sequence[VerifierKey]]
"""Origin -> keys, one of which must have signed."""


class Witness:
    """One witness, under one name. Safe to share between threads."""

    def __init__(
        self, *, keys: Sequence[CosignerKey], logs: Logs, store: WitnessStore, clock: Clock
    ) -> None:
        """
        Begin to answer.

        Args:
            keys: Each adds a line; all have the witness's name.
            logs: Those whose checkpoints are cosigned.
            store: What was cosigned before.
            clock: Tells the time that is cosigned.

        Raises:
            SettingsError: A log signs with the witness's own key.
        """
        assert keys, "a witness has a key"
        own = {key.verifier.public_key for key in keys}
        for origin, verifiers in logs.items():
            if any(verifier.public_key in own for verifier in verifiers):
                raise SettingsError(
                    f"{origin} signs with the key of this witness, which would be its own witness"
                )
        self._keys = keys
        self._logs = logs
        self._store = store
        self._clock = clock

    def add_checkpoint(self, body: bytes) -> Answer:
        """
        Judge one submission. What it is cosigned for is on disk when this returns.

        Args:
            body: Of the request.

        Raises:
            PushbackError: The memory cannot be used now.
            ClockUntrustedError: The clock went back. Nothing was cosigned.
        """
        # 1. Is it such a request, and about a checkpoint whose every line is cosigned?
        try:
            request = parse_add_checkpoint(body)
            checkpoint = parse_checkpoint(parse_note(request.note).text)
        except MalformedProofError as error:
            return Refused(ground=Ground.MALFORMED, reason=error.message)
        if checkpoint.extensions:
            # A reader would take them for witnessed, and nobody looked at them.
            return Refused(ground=Ground.MALFORMED, reason="extension lines are not cosigned")
        # 2. Is the log known here, and did it sign?
        verifiers = self._logs.get(checkpoint.origin)
        if verifiers is None:
            return Refused(ground=Ground.UNKNOWN_LOG, reason="this log is not known here")
        try:
            opened = open_note(request.note, verifiers)
        except SignatureError as error:
            return Refused(ground=Ground.UNSIGNED, reason=error.message)
        # 3. Does it say that it extends something?
        if request.old_size > checkpoint.size:
            reason = f"the old size {request.old_size} is above the new one {checkpoint.size}"
            return Refused(ground=Ground.MALFORMED, reason=reason)
        # 4. Does it, and is it what was cosigned last?
        with self._store.turn(checkpoint.origin) as turn:
            answer = self._judge(turn, request, checkpoint, opened)
        _tell(answer, request, checkpoint)
        # Only past the commit: what was said must not be forgotten.
        return answer

    def checkpoint(self, origin_hash: str) -> bytes:
        """
        The checkpoint that was cosigned last, with the log's lines and ours.

        Args:
            origin_hash: SHA-256 of the log's origin, in lower-case hexadecimal.

        Raises:
            NotFoundError: Nothing of this log was cosigned.
        """
        note = self._store.note(origin_hash)
        if note is None:
            raise NotFoundError("nothing of such a log was cosigned here")
        return note

    def _judge(
        self, turn: Turn, request: AddCheckpoint, checkpoint: Checkpoint, opened: Note
    ) -> Answer:
        latest = turn.latest()
        size, root = (latest.size, latest.root) if latest else (0, EMPTY_ROOT)
        if request.old_size != size:
            return Conflict(size=size)
        time = self._time(latest)
        try:
            _check_follows(request, checkpoint, root)
        except ConsistencyError as error:
            turn.keep_refusal(
                size=checkpoint.size,
                root=checkpoint.root,
                old_size=size,
                received_at=time,
                note=opened.encode(),
            )
            return Refused(ground=Ground.INCONSISTENT, reason=error.message)
        lines = tuple(key.sign(opened.text, time=time) for key in self._keys)
        turn.keep(
            Latest(size=checkpoint.size, root=checkpoint.root, time=time),
            Note(text=opened.text, signatures=(*opened.signatures, *lines)).encode(),
        )
        return Cosigned(signatures=lines)

    def _time(self, latest: Latest | None) -> int:
        now = int(self._clock.now().timestamp())
        if latest is None:
            return now
        if latest.time - now > TOLERANCE_S:
            raise ClockUntrustedError(
                f"the clock says {now}, and something was cosigned at {latest.time}"
            )
        return max(now, latest.time)


def _check_follows(request: AddCheckpoint, checkpoint: Checkpoint, root: bytes) -> None:
    """Raise ConsistencyError unless the tree extends that of the old size under `root`."""
    if checkpoint.size == 0 and checkpoint.root != EMPTY_ROOT:
        raise ConsistencyError("the tree without entries has one root, and this is another")
    verify_consistency(
        TreeSize(request.old_size),
        TreeSize(checkpoint.size),
        root,
        checkpoint.root,
        request.proof,
    )


def _tell(answer: Answer, request: AddCheckpoint, checkpoint: Checkpoint) -> None:
    origin, old, new = checkpoint.origin, request.old_size, checkpoint.size
    if isinstance(answer, Refused):
        logger.critical(
            "%s shows another history: from %d to %d: %s", origin, old, new, answer.reason
        )
    elif isinstance(answer, Conflict):
        logger.debug("%s: from %d to %d, and %s is here", origin, old, new, answer.size)
    else:
        logger.debug("%s is cosigned from %d to %d", origin, old, new)


# ---- Which logs -----------------------------------------------------------------------


def read_logs(lines: Sequence[str]) -> dict[str, list[VerifierKey]]:
    """
    Logs to speak about, each from a line: its vkey, and its origin where that is another name.

    A log whose key is replaced has two lines. Empty lines and those that begin with # are none.

    Raises:
        SettingsError: A line is none of these.
    """
    logs: dict[str, list[VerifierKey]] = {}
    for number, line in enumerate(lines, start=1):
        vkey, _, origin = line.strip().partition(" ")
        if not vkey or vkey.startswith("#"):
            continue
        try:
            verifier = VerifierKey.parse(vkey)
        except MalformedProofError as error:
            # The list is the operator's own word, and no evidence.
            raise SettingsError(f"log {number}: {error.message}") from error
        if verifier.algorithm != ED25519:
            raise SettingsError(
                f"log {number}: expected a log's key, of type {ED25519:#04x}, found "
                f"{verifier.algorithm:#04x}"
            )
        # The rest of the line as it is: an origin may have spaces.
        logs.setdefault(origin.strip() or verifier.name, []).append(verifier)
    return logs
