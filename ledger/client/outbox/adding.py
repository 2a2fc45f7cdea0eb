"""
Adding: an effect put into the outbox in the transaction that makes it true.

The row is there exactly if the business transaction commits. Whatever needs no history is judged
here and now, by the rules the ledger itself has: what is wrong fails the transaction that said it,
and is not found out by a relay tomorrow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import orjson

from ledger.client.outbox.link import Link, link_to
from ledger.client.outbox.table import (
    DDL,
    INSERT,
    LOCK_SEED,
    LOCK_SUBJECT,
    SELECT_BY_KEY,
)
from ledger.client.requests import encode
from ledger.effect import Effect, Rules, build_effect
from ledger.entry import parse_signature
from ledger.errors import IdempotencyConflictError, MalformedEffectError, TooLargeError
from ledger.forms.names import check_ledger_name
from ledger.forms.payload import build_payloads

BODY_BYTES_MAX = 4 * 1024 * 1024
"""Of one effect with its payloads, as JSON: what a batch carries with room to spare."""

State = Literal["waiting", "parked", "handed_off"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """A row of the outbox."""

    id: int
    """Rows of one subject are handed off in this order."""
    key: str
    state: State
    """`waiting`, unless it was added before and a relay has had it since."""
    repeated: bool
    """The same effect was in the outbox under this key already; nothing was added."""


def add(
    connection: Any,
    effect: Mapping[str, Any],
    *,
    key: str,
    ledger: str,
    rules: Rules | None = None,
) -> Added:
    """
    Put an effect into the outbox, in the transaction that `connection` is in.

    Nothing is committed here. Effects with the same `subject` are recorded in the order in which
    their transactions commit; in PostgreSQL a second transaction that adds to a subject waits for
    the first to end, so two that add to several subjects should do so in one order. A correction
    that names its target with `corrects_key` may do so while that is in the outbox itself.

    Args:
        connection: Of psycopg or sqlite3, or a Connection or Session of SQLAlchemy; in a
            transaction. With an asynchronous one: `await connection.run_sync(outbox.add, ...)`.
        effect: Members as `POST /batch` takes an item: `kind` (`effect` unless it says `refund`,
            `adjustment` or `explanation`), `type`, `occurred_at`, `subject`, `money`, payloads and
            so on. Times may be datetimes that know their offset, amounts may be Decimals.
        key: Idempotency key, chosen by the caller: the same for the same effect, whatever happens.
        ledger: Name of the ledger it is for.
        rules: What that ledger adds to the usual ones: `Rules(units={"USDC": 6})`.

    Raises:
        RejectedError: A rule that needs no history is broken; nothing was added. Its leaves
            say which: MalformedEffectError, PersonalDataError, TooLargeError, ...
        IdempotencyConflictError: The key is in the outbox for another effect, or for one that
            was withdrawn.
        NotSent: Something in it has no JSON; nothing was added.
        SettingsError: The connection is of another kind, or in no transaction.
    """
    rules = rules if rules is not None else Rules()
    if effect.get("key", key) != key:
        raise MalformedEffectError(
            "/key is another one than the effect is added under", pointer="/key"
        )
    check_ledger_name(ledger, "ledger")
    item = orjson.loads(encode({"kind": "effect", **effect, "key": key}))
    judged = _judge(item, rules)
    body = orjson.dumps(item, option=orjson.OPT_SORT_KEYS)
    if len(body) > BODY_BYTES_MAX:
        raise TooLargeError(
            f"the effect and its payloads have {len(body)} bytes as JSON, the limit of the outbox "
            f"is {BODY_BYTES_MAX}; post what is larger with the client",
            limit=BODY_BYTES_MAX,
            found=len(body),
            unit="bytes",
        )

    link = link_to(connection)
    link.require_transaction()
    if judged.subject is not None and link.dialect == "postgresql":
        line = {"ledger": ledger, "subject": judged.subject, "seed": LOCK_SEED}
        link.rows(LOCK_SUBJECT, line)
    row = {
        "ledger": ledger,
        "subject": judged.subject,
        "kind": judged.kind.value,
        "target": judged.corrects_key,
        "key": key,
        "body": body.decode(),
    }
    inserted = link.rows(INSERT, row)
    if inserted:
        return Added(id=inserted[0][0], key=key, state="waiting", repeated=False)
    return _added_before(link, ledger, key, body.decode())


def create(connection: Any) -> None:
    """
    Make the outbox's table where it is not there yet; safe to repeat.

    In the transaction that `connection` is in; nothing is committed here.

    Args:
        connection: As for `add`.
    """
    link = link_to(connection)
    for statement in DDL[link.dialect].split(";\n"):
        if statement.strip():
            link.rows(statement, {})


def _judge(item: Mapping[str, Any], rules: Rules) -> Effect:
    """Hold an item to everything that needs no history, as the service does."""
    words = dict(item)
    payloads, note = words.pop("payloads", ()), words.pop("note", None)
    signature = words.pop("signature", None)
    judged = build_effect(words, rules=rules, now=datetime.now(UTC))
    if payloads or note is not None:
        build_payloads(payloads, note=note, screen=rules.screen)
    if signature is not None:
        parse_signature(signature)
    return judged


def _added_before(link: Link, ledger: str, key: str, body: str) -> Added:
    [(number, before, state)] = link.rows(SELECT_BY_KEY, {"ledger": ledger, "key": key})
    if before != body:
        raise IdempotencyConflictError("the key is in the outbox already, for another effect")
    if state == "withdrawn":
        raise IdempotencyConflictError(
            "the effect under this key was withdrawn from the outbox; under its key it is not sent "
            "again"
        )
    return Added(id=number, key=key, state=state, repeated=True)
