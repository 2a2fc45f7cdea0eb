"""
Stamper: has the registry's checkpoints timestamped, now and then.

Of each query a token is kept that verifies under the certificates that are trusted, or nothing. All
other ledgers inherit: the registry records their checkpoints.
"""

from __future__ import annotations

import logging
import math
import time

from ledger.anchoring.anchors import Anchors
from ledger.checkpoint import log_part, parse_checkpoint
from ledger.forms.names import REGISTRY
from ledger.note import parse_note
from ledger.ports import NotAnswered, TimestampTransport
from ledger.reader import Reader
from ledger.registry.stops import Stops
from ledger.rfc3161 import Authorities, Timestamp, build_query, verify_timestamp

logger = logging.getLogger(__name__)

# An authority that is away is asked again, later each time, and at least so often.
PATIENCE_MIN_S = 5.0
PATIENCE_MAX_S = 600.0
# A registry in which nothing happens is timestamped again: that it stood there an hour ago says
# nothing about the hour.
REFRESH_S = 3_600.0


class Stamper:
    """A duty of the anchoring; see `anchoring.Duty`."""

    def __init__(
        self,
        *,
        reader: Reader,
        anchors: Anchors,
        stops: Stops,
        transport: TimestampTransport,
        authorities: Authorities,
        every_s: float,
    ) -> None:
        """
        Prepare; nothing is sent before the first turn.

        Args:
            reader: Of what is published.
            anchors: Where tokens are kept, and what witnesses have seen is found.
            stops: A registry that is stopped is not timestamped.
            transport: Carries queries to an authority.
            authorities: Whose tokens are kept.
            every_s: Shortest time between two tokens.
        """
        self._reader = reader
        self._anchors = anchors
        self._stops = stops
        self._transport = transport
        self._authorities = authorities
        self._every_s = every_s
        self._at = -math.inf
        self._patience_s = PATIENCE_MIN_S
        # From memory, and not what is kept: a new process asks once.
        self._stamped_size = 0
        self._stamped_at = -math.inf

    def turn(self) -> None:
        """
        Ask for a token, once its time has come and there is something to be said.

        Raises:
            TimestampError, MalformedProofError: What the authority replies is no token to keep.
            PushbackError: The database does not answer.
        """
        now = time.monotonic()
        if now < self._at or any(stop.ledger == REGISTRY for stop in self._stops.standing):
            return
        found = self._due(now)
        if found is None:
            return
        # Before it is tried: whatever becomes of it, the authority is not asked in a hurry.
        self._at = now + self._patience_s
        self._patience_s = min(2 * self._patience_s, PATIENCE_MAX_S)
        if self._stamp(*found):
            self._stamped_size, self._stamped_at = found[0], time.monotonic()
            self._at, self._patience_s = self._stamped_at + self._every_s, PATIENCE_MIN_S

    def close(self) -> None:
        """Let go of the connection to the authority."""
        self._transport.close()

    def _due(self, now: float) -> tuple[int, bytes] | None:
        """
        Size and note of what is to be timestamped; None where there is nothing new to say.

        The one that witnesses saw last, where no token covers it yet: one receipt then has both.
        """
        candidates = [self._reader.checkpoint(REGISTRY)]
        seen = self._anchors.newest(REGISTRY, "cosigned")
        if seen is not None and seen.size > self._stamped_size:
            candidates.insert(0, seen.note)
        for note in candidates:
            size = parse_checkpoint(parse_note(note).text).size
            grown = size > self._stamped_size or now - self._stamped_at >= REFRESH_S
            if size and grown and self._anchors.is_current(REGISTRY, size):
                return size, log_part(note)
        return None

    def _stamp(self, size: int, octets: bytes) -> bool:
        answer = ask_timestamp(self._transport, octets, self._authorities)
        if isinstance(answer, NotAnswered):
            logger.warning("%s is not timestamped: %s", REGISTRY, answer.reason)
            return False
        token, timestamp = answer
        self._anchors.keep_timestamped(REGISTRY, size, octets, token, timestamp)
        logger.info("%s is timestamped at size %d by %s", REGISTRY, size, timestamp.authority)
        return True


def ask_timestamp(
    transport: TimestampTransport, octets: bytes, authorities: Authorities
) -> tuple[bytes, Timestamp] | NotAnswered:
    """
    A token over `octets` that verifies, and what it says; NotAnswered where nobody answers.

    Raises:
        TimestampError, MalformedProofError: What the authority replies is no token to keep.
    """
    query = build_query(octets)
    token = transport.ask(query.encoded)
    if isinstance(token, NotAnswered):
        return token
    return token, verify_timestamp(token, octets, authorities, nonce=query.nonce)
