"""
Publisher: has the newest checkpoints cosigned by the witnesses of a policy, and stops a ledger
whose witness has seen another one.

    newest published checkpoint  ->  every witness, at once  ->  quorum?  ->  kept, for receipts
                                             |__ larger, or another history  ->  the ledger stops

Which checkpoint is published is for `append`, and who may read a cosigned one for the entrances.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ledger.anchoring.anchors import Anchors
from ledger.checkpoint import Checkpoint, open_checkpoint
from ledger.cosignature import Cosignature
from ledger.errors import LedgerBrokenError, LedgerError, NotFoundError, SettingsError
from ledger.forms.names import REGISTRY
from ledger.note import VerifierKey
from ledger.policy import Policy, Witnessed, parse_policy
from ledger.ports import LedgerRecord
from ledger.reader import Reader
from ledger.registry.stops import Stops
from ledger.witness.client import Extension, NotCosigned, WitnessClient

logger = logging.getLogger(__name__)

# A quorum is looked for again, later each time, and at least so often.
PATIENCE_MAX_S = 60.0
# A ledger in which nothing happens is cosigned again: that its newest checkpoint is an hour old
# tells nobody whether it was cut off.
REFRESH_S = 3_600.0


def load_policy(path: Path) -> Policy:
    """
    The policy in a file, which names a witness to ask for every one it counts.

    Raises:
        SettingsError: The file cannot be read, is no policy, or the quorum cannot be reached by
            witnesses that have a URL.
    """
    try:
        policy = parse_policy(path.read_bytes())
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error
    reachable = [witness.name for witness in policy.witnesses if witness.url is not None]
    if not reachable or not policy.is_met_by(reachable):
        raise SettingsError(
            f"{path}: the quorum {policy.quorum} cannot be reached by those of its witnesses "
            "that have a URL",
            path=str(path),
        )
    return policy


class LedgerLog:
    """One of our ledgers, as a witness is told about it."""

    def __init__(self, reader: Reader, ledger: str) -> None:
        self._reader = reader
        self._ledger = ledger

    def size(self) -> int:
        """Entries under the newest published checkpoint, read anew."""
        return self._reader.published_size(self._ledger)

    def extension(self, old: int, new: int) -> Extension:
        """The proof that the published tree of `new` entries extends that of `old`."""
        proof = self._reader.consistency(self._ledger, old, new)
        return Extension(old_root=proof.old_root, hashes=proof.hashes)


@dataclass(slots=True, kw_only=True)
class _Turn:
    """When a ledger is looked at again, and what came of the last time; by the monotonic clock."""

    at: float = -math.inf
    patience_s: float
    cosigned_size: int = -1
    """Of the checkpoint that had its quorum last, in the life of this process."""
    cosigned_at: float = -math.inf


class Publisher:
    """Feeds witnesses: a duty of the anchoring, see `anchoring.Duty`."""

    def __init__(
        self,
        *,
        reader: Reader,
        anchors: Anchors,
        stops: Stops,
        policy: Policy,
        every_s: float,
    ) -> None:
        """
        Prepare; nothing is sent before the first turn.

        Args:
            reader: Of what is published.
            anchors: Where checkpoints that had their quorum are kept.
            stops: Where an alarm is raised.
            policy: Its `log` lines name the ledgers; where it has none, `_registry` is meant.
            every_s: Shortest time between two checkpoints of one ledger, for a witness counts
                what it is asked.

        Raises:
            SettingsError: A witness has no URL of HTTP.
        """
        self._reader = reader
        self._stops = stops
        self._anchors = anchors
        self._policy = policy
        self._every_s = every_s
        self._clients = [
            WitnessClient(url, verifiers) for url, verifiers in _by_url(policy).items()
        ]
        self._threads = ThreadPoolExecutor(len(self._clients), "ask-witness")
        self._turns: dict[str, _Turn] = {}

    def turn(self) -> None:
        """
        Show witnesses each ledger whose time has come.

        Raises:
            PushbackError: The database does not answer.
        """
        for record in self._reader.ledgers():
            if self.is_witnessed(record) and self._is_due(record.name):
                try:
                    self._publish(record)
                except LedgerError as error:
                    # The others are none the worse for it.
                    logger.warning("ledger %s is not witnessed now: %s", record.name, error)

    def close(self) -> None:
        """Let go of the connections to the witnesses."""
        self._threads.shutdown()
        for client in self._clients:
            client.close()

    # ---- One ledger -------------------------------------------------------------------

    def is_witnessed(self, record: LedgerRecord) -> bool:
        """Whether witnesses are shown this ledger."""
        if any(stop.ledger == record.name for stop in self._stops.standing):
            return False
        origins = {log.verifier.name for log in self._policy.logs}
        return record.origin in origins if origins else record.name == REGISTRY

    def _is_due(self, ledger: str) -> bool:
        turn = self._turns.setdefault(ledger, _Turn(patience_s=self._every_s))
        return time.monotonic() >= turn.at

    def _publish(self, record: LedgerRecord) -> None:
        try:
            note = self._reader.checkpoint(record.name)
        except NotFoundError:
            # Nothing is published yet, and nothing is to be witnessed.
            return
        keys = self._reader.keys(record.name)
        checkpoint = open_checkpoint(note, keys)
        turn, now = self._turns[record.name], time.monotonic()
        # From memory, and not what is kept: a database that was restored would say that it was
        # witnessed just now, and the question that finds it out would not be asked.
        if turn.cosigned_size == checkpoint.size and (
            now - turn.cosigned_at < REFRESH_S
            # Seen once more, it would say that entries which wait for a signature are not there.
            or not self._anchors.is_current(record.name, checkpoint.size)
        ):
            return
        found = self._ask(record, keys, checkpoint, note)
        if found is None:
            turn.at = time.monotonic() + turn.patience_s
            turn.patience_s = min(2 * turn.patience_s, max(PATIENCE_MAX_S, self._every_s))
            return
        self._keep(record.name, found)
        turn.cosigned_size, turn.cosigned_at = checkpoint.size, time.monotonic()
        turn.at, turn.patience_s = turn.cosigned_at + self._every_s, self._every_s

    def _ask(
        self, record: LedgerRecord, keys: Sequence[VerifierKey], checkpoint: Checkpoint, note: bytes
    ) -> Witnessed | None:
        """What the witnesses say, where they are enough."""
        log = LedgerLog(self._reader, record.name)

        def ask(client: WitnessClient) -> tuple[Cosignature, ...] | NotCosigned | LedgerError:
            try:
                return client.cosign(checkpoint, note, log)
            except LedgerError as error:
                return error

        lines = b""
        answers = self._threads.map(ask, self._clients)
        for client, answer in zip(self._clients, answers, strict=True):
            if isinstance(answer, tuple):
                lines += b"".join(each.line.encode().encode() for each in answer)
            elif isinstance(answer, LedgerBrokenError):
                self._raise(record, keys, client, answer)
            else:
                reason = answer.reason if isinstance(answer, NotCosigned) else answer.message
                logger.warning("%s is not cosigned: %s", record.name, reason)
        found = self._policy.read(note + lines, keys)
        if not found.cosignatures or not self._policy.is_met_by(found.names):
            logger.warning(
                "%s has no quorum at size %d, only %s",
                record.name,
                checkpoint.size,
                ", ".join(found.names) or "nobody",
            )
            return None
        return found

    def _raise(
        self,
        record: LedgerRecord,
        keys: Sequence[VerifierKey],
        client: WitnessClient,
        alarm: LedgerBrokenError,
    ) -> None:
        """Stop the ledger, and keep what the witness has to show for it."""
        shown = client.latest(record.origin, list(keys))
        evidence = {} if shown is None else {"shown": shown.decode()}
        try:
            self._stops.stop(record.name, alarm, **evidence)
        except LedgerError:
            # The witness says the same when it is asked again.
            logger.exception("the stop of ledger %s could not be written down", record.name)

    def _keep(self, ledger: str, found: Witnessed) -> None:
        reached_at = found.reached_at
        if reached_at is None:
            # A quorum of nobody: what the first one says who came along.
            reached_at = min(each.time for _, each in found.cosignatures)
        self._anchors.keep_cosigned(
            ledger, found.checkpoint.size, found.encode(), _moment(reached_at)
        )
        logger.info(
            "%s is cosigned at size %d by %s",
            ledger,
            found.checkpoint.size,
            ", ".join(found.names),
        )


def _by_url(policy: Policy) -> dict[str, list[VerifierKey]]:
    """A witness that cosigns with several keys has a line for each, and is asked once."""
    verifiers: dict[str, list[VerifierKey]] = {}
    for witness in policy.witnesses:
        if witness.url is not None:
            verifiers.setdefault(witness.url.rstrip("/"), []).append(witness.verifier)
    return verifiers


def _moment(time_s: int) -> datetime:
    """A witness's time, as far as the calendar goes: it may say anything."""
    return datetime.fromtimestamp(min(time_s, _CALENDAR_END), UTC)


_CALENDAR_END = int(datetime(9999, 12, 31, tzinfo=UTC).timestamp())
