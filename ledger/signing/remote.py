"""
Remote signer: the signer of another host, asked over HTTP, for services that share its record.

While it is away, a process goes on that knows what was signed last: it holds bases against that
memory, and answers with receipts at level `unsigned`. One that starts without it writes nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx

from ledger.checkpoint import Checkpoint, parse_checkpoint
from ledger.errors import (
    LedgerBrokenError,
    MalformedProofError,
    SettingsError,
    SignerUnavailableError,
)
from ledger.merkle import Frontier
from ledger.note import VerifierKey, parse_note
from ledger.signing.desk import REFUSALS, LeavesNeededError, read_frontier, write_hashes
from ledger.signing.signer import CATCH_UP_LEAVES, ReadLeaves, follow_base

logger = logging.getLogger(__name__)

# The head is locked meanwhile, and others wait for it for 2 s.
CONNECT_TIMEOUT_S = 0.5
ANSWER_TIMEOUT_S = 1.0
# Who did not answer is not asked again before this: writers go on without.
AWAY_S = 2.0
CONNECTIONS_MAX = 16


class RemoteSigner:
    """Speaks to a signer on another host. Safe to share between threads."""

    def __init__(self, url: str, token: str) -> None:
        """
        Prepare; nothing is asked before the first use.

        Args:
            url: `http://` or `https://`, or `unix://` with the path of a socket.
            token: What the signer knows its askers by.

        Raises:
            SettingsError: The URL names no host or socket.
        """
        parts = urlsplit(url)
        socket = None
        if parts.scheme == "unix":
            socket, url = unquote(parts.netloc + parts.path), "http://signer"
        elif not parts.hostname:
            raise SettingsError("EFFECT_LEDGER_SIGNER_URL names no host")
        self._http = httpx.Client(
            base_url=url.rstrip("/"),
            headers={"Authorization": f"Bearer {token}"},
            timeout=httpx.Timeout(ANSWER_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            # Whatever proxy the environment names is for others: it would see the token.
            trust_env=False,
            transport=httpx.HTTPTransport(
                uds=socket,
                trust_env=False,
                limits=httpx.Limits(max_connections=CONNECTIONS_MAX),
            ),
        )
        self._identity: str | None = None
        self._known: dict[str, Frontier] = {}
        """What was signed last, as far as this process was told."""
        self._followed: dict[str, Frontier] = {}
        """What was committed since, while the signer was away."""
        self._away_until = 0.0

    @property
    def identity(self) -> str:
        """
        Names the signer's record.

        Raises:
            SignerUnavailableError: The signer did not answer yet.
        """
        if self._identity is None:
            self._identity = _text(self._ask("identity", None), "identity")
        return self._identity

    def verifiers(self, origin: str) -> Sequence[VerifierKey]:
        """The keys that sign `origin` now, oldest first; see `ports.Signer`."""
        vkeys = self._ask("verifiers", {"origin": origin}).get("vkeys")
        if not isinstance(vkeys, list) or not vkeys:
            raise SignerUnavailableError("the signer names no keys")
        return [VerifierKey.parse(str(vkey)) for vkey in vkeys]

    def ml_dsa_verifier(self, origin: str) -> VerifierKey | None:
        """The public half of the second key, where there is one; see `ports.Signer`."""
        answer = self._ask("verifiers", {"origin": origin})
        # A signer of an earlier version has none, and does not say so.
        if answer.get("ml_dsa_vkey") is None:
            return None
        return VerifierKey.parse(_text(answer, "ml_dsa_vkey"))

    def register(self, origin: str) -> None:
        """Begin the record of a new origin; see `ports.Signer`."""
        self._ask("register", {"origin": origin})

    def show_base(self, origin: str, size: int, root: bytes, read_leaves: ReadLeaves) -> None:
        """
        Show the tree that is about to be extended; see `ports.Signer`.

        Raises:
            RolledBackError, ForkedError, LedgerBrokenError: As the signer says, or the memory of
                what it said last.
            SignerUnavailableError: It does not answer, and this process knows nothing it signed.
        """
        asked = {"origin": origin, "size": size, "root": write_hashes([root])}
        try:
            answer = self._show(origin, asked, size, read_leaves)
        except SignerUnavailableError:
            if origin not in self._known:
                raise
            self._hold_against_memory(origin, size, root, read_leaves)
        else:
            self._remember(origin, answer)

    def sign(
        self, origin: str, start: int, leaves: Sequence[bytes], read_leaves: ReadLeaves
    ) -> tuple[Checkpoint, bytes]:
        """Have the tree signed that `leaves` extend from `start`; see `ports.Signer`."""
        while True:
            try:
                return self._sign(origin, start, leaves)
            except LeavesNeededError as needed:
                if not needed.start < start:
                    raise SignerUnavailableError("the signer asks for what it was told") from needed
                self._catch_up(origin, needed.start, start, read_leaves)

    def checkpoint(self, origin: str) -> tuple[Checkpoint, bytes]:
        """The largest tree of the record, and its signed note; see `ports.Signer`."""
        return self._take(origin, self._ask("checkpoint", {"origin": origin}))

    def attest(self, text: str) -> bytes:
        """Have a verdict signed; see `ports.Signer`."""
        return _text(self._ask("attest", {"text": text}), "note").encode()

    def sign_bundle(self, origin: str, manifest_hash: bytes) -> bytes:
        """Have a bundle's manifest signed; see `FileSigner.sign_bundle`."""
        asked = {"origin": origin, "manifest_hash": write_hashes([manifest_hash])}
        return _text(self._ask("bundle", asked), "note").encode()

    def endorse(self, origin: str, vkey: str) -> list[str]:
        """Have a key vouched for by the others that sign; see `FileSigner.endorse`."""
        lines = self._ask("endorse", {"origin": origin, "vkey": vkey}).get("lines")
        if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
            raise SignerUnavailableError("the signer's answer has no lines")
        return lines

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    # ---- Bases ----

    def _show(
        self, origin: str, asked: Mapping[str, Any], size: int, read_leaves: ReadLeaves
    ) -> Mapping[str, Any]:
        while True:
            try:
                return self._ask("base", asked)
            except LeavesNeededError as needed:
                # What comes before is committed, and may be signed on the way there.
                start = max(needed.start, size - CATCH_UP_LEAVES)
                if "leaves" in asked or not needed.start < size:
                    raise SignerUnavailableError("the signer asks for what it was told") from needed
                self._catch_up(origin, needed.start, start, read_leaves)
                leaves = write_hashes(read_leaves(start, size))
                asked = {**asked, "leaves_from": start, "leaves": leaves}

    def _catch_up(self, origin: str, start: int, stop: int, read_leaves: ReadLeaves) -> None:
        for first in range(start, stop, CATCH_UP_LEAVES):
            last = min(stop, first + CATCH_UP_LEAVES)
            self._sign(origin, first, read_leaves(first, last))

    def _hold_against_memory(
        self, origin: str, size: int, root: bytes, read_leaves: ReadLeaves
    ) -> None:
        known = self._known[origin]
        followed = self._followed.get(origin, known)
        base = followed if known.size <= followed.size <= size else known
        self._followed[origin] = follow_base(origin, base, size, root, read_leaves)

    # ---- Signatures ----

    def _sign(self, origin: str, start: int, leaves: Sequence[bytes]) -> tuple[Checkpoint, bytes]:
        asked = {"origin": origin, "start": start, "leaves": write_hashes(leaves)}
        return self._take(origin, self._ask("sign", asked))

    def _take(self, origin: str, answer: Mapping[str, Any]) -> tuple[Checkpoint, bytes]:
        note = _text(answer, "note").encode()
        try:
            checkpoint = parse_checkpoint(parse_note(note).text)
        except MalformedProofError as error:
            raise SignerUnavailableError("the signer answers with no checkpoint") from error
        if checkpoint.origin != origin:
            raise SignerUnavailableError(f"the signer answers for {checkpoint.origin[:80]}")
        self._remember(origin, answer)
        return checkpoint, note

    def _remember(self, origin: str, answer: Mapping[str, Any]) -> None:
        try:
            frontier = read_frontier(answer)
        except MalformedProofError as error:
            raise SignerUnavailableError("the signer does not say what it signed") from error
        known = self._known.get(origin)
        # Answers to two threads may overtake each other.
        if known is None or frontier.size >= known.size:
            self._known[origin] = frontier
        self._followed.pop(origin, None)

    # ---- The wire ----

    def _ask(self, question: str, document: Mapping[str, Any] | None) -> Mapping[str, Any]:
        if time.monotonic() < self._away_until:
            raise SignerUnavailableError("the signer did not answer a moment ago")
        try:
            response = self._send(question, document)
        except httpx.HTTPError as error:
            self._away_until = time.monotonic() + AWAY_S
            logger.warning("the signer does not answer: %s", error or type(error).__name__)
            raise SignerUnavailableError("the signer does not answer") from error
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise SignerUnavailableError(f"the signer answers {response.status_code}")
        if response.status_code == httpx.codes.OK:
            return answer
        raise _refused(response.status_code, answer)

    def _send(self, question: str, document: Mapping[str, Any] | None) -> httpx.Response:
        def send() -> httpx.Response:
            if document is None:
                return self._http.get(f"/v1/{question}")
            return self._http.post(f"/v1/{question}", json=document)

        try:
            return send()
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
            # The signer closed an idle connection just then, or was started anew. Each question
            # may be asked twice: the record knows what it was told.
            return send()


def _refused(status: int, answer: Mapping[str, Any]) -> Exception:
    code, message = answer.get("code"), str(answer.get("message", ""))
    details = answer.get("details")
    values = details if isinstance(details, dict) else {}
    if code == "leaves_needed" and type(values.get("start")) is int:
        return LeavesNeededError(values["start"])
    kind = REFUSALS.get(str(code))
    if kind is not None:
        return _broken(kind, message, values)
    if code == "malformed":
        return MalformedProofError(message)
    return SignerUnavailableError(f"the signer answers {status}: {message[:200]}")


def _broken(
    kind: type[LedgerBrokenError], message: str, values: Mapping[str, Any]
) -> LedgerBrokenError:
    error = kind(message)
    error.details.update(values)
    return error


def _text(answer: Mapping[str, Any], name: str) -> str:
    value = answer.get(name)
    if not isinstance(value, str):
        raise SignerUnavailableError(f"the signer's answer has no {name}")
    return value
