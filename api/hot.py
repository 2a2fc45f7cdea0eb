"""
Hot: single effects in the usual form, from their bytes to the bytes of their answer.

Takes what nearly all writes are: an effect in the plain spelling, under a key, by a credential
that was good a moment ago, to a ledger that was written before. Whatever is not so is left to the
routes, which know every case; so nothing is decided here, only sooner. How requests arrive and
answers leave is for `door`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from api.answers import JSON, recorded_document
from api.auth import check_ledger, check_scope, check_unlimited
from api.dependencies import Skin
from api.errors import UnexpectedWriteError
from api.framing import ONCE
from api.observation import STOPS_UNCONFIRMED, note, trace_id_of
from api.problems import problem_response
from api.routes.writes import PARSED_ON_LOOP_BYTES_MAX, WRITE_SCOPES, location, post_effect, router
from api.schemas import (
    plain_submission,
)
from ledger.canonical import parse_json
from ledger.effect import Kind
from ledger.errors import LedgerError, OutcomeUnknownError
from ledger.forms.names import REGISTRY
from ledger.ports import LedgerRecord
from ledger.registry.credentials import Credential
from ledger.submission import Posting, Recorded
from ledger.waiting import Answer

logger = logging.getLogger(__name__)

Headers = Sequence[tuple[bytes, bytes]]
"""As sent, names in lower case."""
Send = Callable[[int, Headers, bytes], None]
"""Takes status, headers and body of an answer."""

METHOD = "POST"
BODY_BYTES_MAX = PARSED_ON_LOOP_BYTES_MAX

_BEFORE, _BEHIND = b"/v1/ledgers/", b"/effects"
# A router types its routes as what they have in common; all of these have an endpoint.
[_ROUTE] = [route.path for route in router.routes if route.endpoint is post_effect]  # type: ignore[attr-defined]
_PLACE = {"kind": Kind.EFFECT.value}
_JSON = JSON.encode()
# What these ask for is for the routes. All others change nothing, but for those in `_READ`: of
# these one is read, and twice would be another question.
_ASKING = frozenset({b"prefer", b"content-encoding"})
_READ = (ONCE | {b"idempotency-key"}) - _ASKING


@dataclass(slots=True, kw_only=True, eq=False)
class _Asked:
    """One request on its way."""

    headers: Headers
    credential: Credential
    began: float
    send: Send
    is_answered: bool = False
    state: dict[str, Any] = field(default_factory=dict)


class HotWrites:
    """The way of the usual effect. Belongs to one event loop."""

    def __init__(self, skin: Skin) -> None:
        self._skin = skin
        self._waiting: set[_Asked] = set()

    def may_take(self, path: bytes) -> bool:
        """Whether a POST to `path`, with its query, could be one of these."""
        return path.startswith(_BEFORE) and path.endswith(_BEHIND)

    def take(self, path: bytes, headers: Headers, body: bytes, send: Send) -> bool:
        """
        Have an effect recorded, and `send` its answer once it is durable, chained and proved.

        Returns:
            Whether it was taken: if not, nothing has happened and the routes should have it.
        """
        began = time.perf_counter()
        try:
            found = self._read(path, headers, body)
            if found is None:
                return False
            credential, posting = found
            asked = _Asked(headers=headers, credential=credential, began=began, send=send)
            tell = self._skin.arrivals.bringing(lambda answer: self._answer(asked, answer))
            self._skin.engine.sequencer.queue(posting, tell)
        except Exception:  # noqa: BLE001 - the routes meet it again and say so as they do.
            return False
        if not asked.is_answered:
            self._waiting.add(asked)
        return True

    def give_up(self) -> None:
        """Tell all who wait that the service ends before they can be answered."""
        for asked in list(self._waiting):
            self._answer(asked, OutcomeUnknownError(STOPS_UNCONFIRMED))

    def _read(
        self, path: bytes, headers: Headers, body: bytes
    ) -> tuple[Credential, Posting] | None:
        read: dict[bytes, bytes] = {}
        for name, value in headers:
            if name in _READ:
                if name in read:
                    return None
                read[name] = value
            elif name in _ASKING:
                return None
        key = read.get(b"idempotency-key")
        if not key or read.get(b"content-type", _JSON) != _JSON:
            return None
        ledger = self._ledger(path)
        credential = self._skin.authenticator.remembered(
            read.get(b"authorization", b"").decode("latin-1")
        )
        if ledger is None or credential is None:
            return None
        check_ledger(credential, ledger.name)
        check_unlimited(credential)
        check_scope(credential, WRITE_SCOPES[Kind.EFFECT])
        submission = plain_submission(
            parse_json(body),
            {**_PLACE, "key": key.decode("latin-1")},
            ledger.rules,
            datetime.now(UTC),
        )
        if submission is None or submission.effect.observed:
            return None
        return credential, Posting(
            ledger=ledger.name, principal=credential.principal, submissions=(submission,)
        )

    def _ledger(self, path: bytes) -> LedgerRecord | None:
        name = path[len(_BEFORE) : -len(_BEHIND)].decode("ascii")
        return None if name == REGISTRY else self._skin.known_ledger(name)

    def _answer(self, asked: _Asked, answer: Answer) -> None:
        """Send what became of it. On the event loop, which must not meet an error of ours."""
        if asked.is_answered:
            # It was given up, and told so.
            return
        asked.is_answered = True
        self._waiting.discard(asked)
        try:
            status = self._send_answer(asked, answer)
        except Exception:
            logger.exception(
                "a request failed", extra={"fields": {"trace_id": self._state(asked)["trace_id"]}}
            )
            detail = "the service failed; the trace id finds it in the log"
            status = self._send_problem(asked, UnexpectedWriteError(detail))
        note(
            self._skin.metrics,
            method=METHOD,
            route=_ROUTE,
            status=status,
            seconds=time.perf_counter() - asked.began,
            state=asked.state,
            read_state=lambda: self._state(asked),
        )

    def _send_answer(self, asked: _Asked, answer: Answer) -> int:
        outcome = answer if isinstance(answer, LedgerError) else answer[0]
        if not isinstance(outcome, Recorded):
            return self._send_problem(asked, outcome)
        status = 200 if outcome.replayed else 201
        headers = [(b"location", location(outcome).encode()), (b"content-type", _JSON)]
        if outcome.replayed:
            headers.append((b"idempotent-replayed", b"true"))
        asked.send(status, headers, orjson.dumps(recorded_document(outcome)))
        return status

    def _send_problem(self, asked: _Asked, error: LedgerError) -> int:
        response = problem_response(error, self._state(asked))
        headers = [each for each in response.raw_headers if each[0] != b"content-length"]
        asked.send(response.status_code, headers, bytes(response.body))
        return response.status_code

    def _state(self, asked: _Asked) -> dict[str, Any]:
        """What is known of a request, as the routes have it; made where somebody asks."""
        if not asked.state:
            asked.state.update(
                trace_id=trace_id_of(asked.headers),
                principal=asked.credential.principal,
                labels=asked.credential.labels,
            )
        return asked.state
