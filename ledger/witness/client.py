"""
Client: has one witness cosign a checkpoint of ours, and understands what a refusal means.

What becomes of the cosignatures, and of a ledger whose witness raises the alarm, is for the
caller. Nothing here is kept beyond the life of the process: a witness says what it has.
https://c2sp.org/tlog-witness
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

import httpx

from ledger.checkpoint import Checkpoint, open_checkpoint
from ledger.cosignature import Cosignature, cosignatures_of
from ledger.errors import (
    ForkedError,
    LedgerBrokenError,
    MalformedProofError,
    RolledBackError,
    SettingsError,
    VerificationError,
)
from ledger.merkle import TreeSize, verify_consistency
from ledger.note import VerifierKey, open_note, parse_note
from ledger.witness.protocol import (
    ADD_CHECKPOINT,
    ANSWER_BYTES_MAX,
    TEXT_TYPE,
    AddCheckpoint,
    Answer,
    Conflict,
    Cosigned,
    Ground,
    Refused,
    checkpoint_path,
    parse_answer,
)

logger = logging.getLogger(__name__)

# A cosignature is worth having for minutes; what takes longer than this is asked again later.
TIMEOUT = httpx.Timeout(10.0, connect=5.0)
# The first attempt learns the size, the second uses it; more were lost to another process that
# feeds the same witness.
ATTEMPTS_MAX = 4

# What is compressed may be larger than anybody meant to read.
_HEADERS = {"Content-Type": TEXT_TYPE, "Accept-Encoding": "identity"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Extension:
    """That a tree extends an older one."""

    old_root: bytes
    """32 bytes, as are the others."""
    hashes: Sequence[bytes]


class Log(Protocol):
    """One of our logs, as a witness is told about it."""

    def size(self) -> int:
        """Entries under the newest published checkpoint, read anew."""

    def extension(self, old: int, new: int) -> Extension:
        """The proof that the published tree of `new` entries extends that of `old`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotCosigned:
    """This time there is no cosignature, and nothing is known to be wrong with the log."""

    reason: str
    """For people; one line."""
    ground: Ground | None
    """What the witness refused; None where it did not answer, or not as a witness does."""


class WitnessClient:
    """One witness. Used by one thread at a time."""

    def __init__(self, url: str, verifiers: Sequence[VerifierKey]) -> None:
        """
        Speak to the witness at `url`; nothing is sent yet.

        Args:
            url: Its submission prefix.
            verifiers: Its keys. Lines of others are left out.

        Raises:
            SettingsError: Not a URL of HTTP.
        """
        try:
            parts = httpx.URL(url)
        except (httpx.InvalidURL, UnicodeError) as error:
            raise _no_url(url) from error
        if parts.scheme not in {"http", "https"} or not parts.host:
            raise _no_url(url)
        self.url = url.rstrip("/")
        self._verifiers = verifiers
        # Origin -> what the witness said it has of it. Only a hint: it is asked with each call.
        self._sizes: dict[str, int] = {}
        # Redirects are not followed: a signed request goes where the policy says.
        self._http = httpx.Client(timeout=TIMEOUT)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def cosign(
        self, checkpoint: Checkpoint, note: bytes, log: Log
    ) -> tuple[Cosignature, ...] | NotCosigned:
        """
        Have the witness cosign a published checkpoint.

        Args:
            checkpoint: What `note` states.
            note: Signed by our log.
            log: Asked for proofs between any two sizes up to the checkpoint's.

        Returns:
            What the witness says of it, verified; at least one cosignature.

        Raises:
            RolledBackError: The witness has cosigned a larger tree of ours than we published:
                the database is older than what was signed.
            ForkedError: Our tree does not extend the one that the witness cosigned.
            LedgerBrokenError: Our stored tree does not lead to the checkpoint.
        """
        origin = checkpoint.origin
        for _ in range(ATTEMPTS_MAX):
            old = self._sizes.get(origin, 0)
            if old > checkpoint.size:
                return self._ahead(checkpoint, log, old)
            request = AddCheckpoint(
                old_size=old, proof=self._prove(checkpoint, log, old), note=note
            )
            answer = self._send(request)
            if isinstance(answer, Cosigned):
                self._sizes[origin] = checkpoint.size
                return self._verify(answer, note)
            if isinstance(answer, Conflict) and answer.size is not None:
                if answer.size == old:
                    return self._strange(f"it has {old} entries and refuses that there are {old}")
                self._sizes[origin] = answer.size
            elif isinstance(answer, NotCosigned):
                return answer
            else:
                return self._refused(checkpoint, log, old, answer)
        return self._strange("its size changed with every attempt")

    def latest(self, origin: str, verifiers: Sequence[VerifierKey]) -> bytes | None:
        """
        The checkpoint of a log that the witness shows as the last it cosigned.

        Args:
            origin: Of the log.
            verifiers: Keys of the log.

        Returns:
            The note as it was received, which `verifiers` signed for this log; None where the
            witness shows none such.
        """
        try:
            wire = self._fetch("GET", checkpoint_path(origin))
            if wire[0] != httpx.codes.OK:
                return None
            shown = open_checkpoint(wire[2], verifiers)
        except (httpx.HTTPError, VerificationError):
            # Older witnesses do not have the path, and an alarm is one without evidence too.
            return None
        return wire[2] if shown.origin == origin else None

    # ---- Asking -----------------------------------------------------------------------

    def _prove(self, checkpoint: Checkpoint, log: Log, old: int) -> tuple[bytes, ...]:
        if old == 0:
            return ()
        extension = log.extension(old, checkpoint.size)
        try:
            verify_consistency(
                TreeSize(old),
                TreeSize(checkpoint.size),
                extension.old_root,
                checkpoint.root,
                extension.hashes,
            )
        except VerificationError as error:
            # Whatever the witness thinks: this is not the tree that was signed.
            raise LedgerBrokenError(
                f"the stored tree of {checkpoint.origin} does not lead to its checkpoint of "
                f"{checkpoint.size} entries: {error.message}",
                origin=checkpoint.origin,
                size=checkpoint.size,
            ) from error
        return tuple(extension.hashes)

    def _send(self, request: AddCheckpoint) -> Answer | NotCosigned:
        try:
            return parse_answer(*self._fetch("POST", ADD_CHECKPOINT, request.encode()))
        except httpx.HTTPError as error:
            return NotCosigned(
                reason=f"{self.url} does not answer: {type(error).__name__}", ground=None
            )
        except MalformedProofError as error:
            return self._strange(error.message)

    def _fetch(
        self, method: str, path: str, content: bytes | None = None
    ) -> tuple[int, str, bytes]:
        """Status, media type and body, of which no more is read than an answer may have."""
        with self._http.stream(
            method,
            f"{self.url}/{path}",
            content=content,
            headers=_HEADERS,
        ) as response:
            body = b""
            for chunk in response.iter_raw():
                body += chunk
                if len(body) > ANSWER_BYTES_MAX:
                    break
            return response.status_code, response.headers.get("content-type", ""), body

    # ---- Understanding ----------------------------------------------------------------

    def _verify(self, answer: Cosigned, note: bytes) -> tuple[Cosignature, ...] | NotCosigned:
        text = parse_note(note).text
        lines = "".join(signature.encode() for signature in answer.signatures)
        try:
            opened = open_note(f"{text}\n{lines}".encode(), self._verifiers)
        except VerificationError as error:
            return self._strange(error.message)
        cosignatures = cosignatures_of(opened, self._verifiers)
        return cosignatures or self._strange("its cosignature names no time")

    def _refused(
        self, checkpoint: Checkpoint, log: Log, old: int, answer: Conflict | Refused
    ) -> NotCosigned:
        """What is left to say where sending again would not help."""
        if isinstance(answer, Conflict):
            # Older witnesses tell so of equal sizes with other roots.
            if old == checkpoint.size:
                raise self._forked(checkpoint, log, old, "its root at this size is another")
            return self._strange("409 without the size it has")
        if answer.ground is Ground.INCONSISTENT and old > 0:
            raise self._forked(checkpoint, log, old, answer.reason)
        # From nothing on, every tree is consistent: a 422 is not a witness's word about ours.
        return NotCosigned(
            reason=f"{self.url} refuses {checkpoint.origin} with {int(answer.ground)}: "
            f"{answer.reason}",
            ground=answer.ground,
        )

    def _ahead(self, checkpoint: Checkpoint, log: Log, size: int) -> NotCosigned:
        """The witness has a larger tree than the one we asked for."""
        # Forgotten first: what it has is asked again, and a person may have set it right.
        del self._sizes[checkpoint.origin]
        ours = log.size()
        if size <= ours:
            # Another process of ours fed it since this checkpoint was read.
            return NotCosigned(
                reason=f"{self.url} has {size} entries already, more than {checkpoint.size}",
                ground=None,
            )
        raise RolledBackError(
            f"the witness at {self.url} has cosigned {size} entries of {checkpoint.origin}, and "
            f"{ours} are published here: the database is older than what was signed. Bring the "
            "missing entries back with effect-ledger restore --entries, or let a successor with "
            "a new origin cite the last good checkpoint",
            origin=checkpoint.origin,
            witness=self.url,
            size=ours,
            signed_size=size,
        )

    def _forked(self, checkpoint: Checkpoint, log: Log, old: int, reason: str) -> ForkedError:
        root = log.extension(old, checkpoint.size).old_root if old else checkpoint.root
        return ForkedError(
            f"the witness at {self.url} refuses {checkpoint.origin} as another history than it "
            f"cosigned at size {old}: {reason}. Keep what the witness shows, and find out which "
            "history is true before a successor with a new origin cites the last good checkpoint",
            origin=checkpoint.origin,
            witness=self.url,
            size=old,
            root=root.hex(),
        )

    def _strange(self, says: str) -> NotCosigned:
        return NotCosigned(
            reason=f"{self.url} does not answer as the witness it should be: {says}", ground=None
        )


def _no_url(url: str) -> SettingsError:
    return SettingsError(f"a witness is reached by a URL of http or https, not {url[:80]}")
