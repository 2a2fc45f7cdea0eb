"""
Standing: what is in the outbox, what stands in its way, and what a person decides about it.

A row that the ledger refused stays where it is, with the problem, and holds its subject. It goes on
by a decision with a reason: released, to be sent again as it is, or withdrawn, never to be sent.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson

from ledger.client.outbox.link import Link, link_to
from ledger.client.outbox.table import (
    COUNT,
    COUNT_BEHIND,
    LOCK_TAKE,
    RELEASE,
    SELECT_BY_KEY,
    SELECT_LEDGERS,
    SELECT_PARKED,
    SELECT_TROUBLED,
    WITHDRAW,
)
from ledger.errors import NotFoundError, SettingsError
from ledger.forms.timestamps import format_time, parse_time

STATES = ("waiting", "parked", "handed_off", "withdrawn")
ROWS_SHOWN_MAX = 100
REASON_MAX = 255


def status(connection: Any) -> dict[str, Any]:
    """
    What is in the outbox.

    Args:
        connection: As for `add`.

    Returns:
        Rows by state, in all and by ledger; `behind`: how many wait for one that is parked;
        `oldest_waiting_at` and `oldest_waiting_s`, None where nothing waits; `refused`: the rows
        that are parked, with their problems; `troubled`: those that wait and met one. Of
        both the first 100.
    """
    link = link_to(connection)
    now = link.now()
    ledgers: dict[str, dict[str, int]] = {}
    oldest: str | None = None
    for ledger, state, count, since in link.rows(COUNT, {}):
        ledgers.setdefault(ledger, dict.fromkeys(STATES, 0))[state] = count
        if state == "waiting":
            oldest = min(oldest or _moment(since), _moment(since))
    [(behind,)] = link.rows(COUNT_BEHIND, {})
    return {
        **{state: sum(counts[state] for counts in ledgers.values()) for state in STATES},
        "behind": behind,
        "oldest_waiting_at": oldest,
        "oldest_waiting_s": oldest and max(0.0, (now - parse_time(oldest)).total_seconds()),
        "ledgers": ledgers,
        "refused": _listed(link, SELECT_PARKED),
        "troubled": _listed(link, SELECT_TROUBLED),
    }


def release(connection: Any, key: str, *, reason: str, ledger: str | None = None) -> None:
    """
    Have a parked row sent again, as it is, in its old place; something else has changed.

    In the transaction that `connection` is in; nothing is committed here.

    Args:
        connection: As for `add`.
        key: Of the row.
        reason: Why, in words that name nobody; kept beside the row.
        ledger: Where several ledgers have the key.

    Raises:
        NotFoundError: No row under that key is parked.
        SettingsError: Several ledgers have the key, or there is no reason.
    """
    _decide(connection, RELEASE, "released", key=key, reason=reason, ledger=ledger)


def withdraw(connection: Any, key: str, *, reason: str, ledger: str | None = None) -> None:
    """
    Decide that a row is never sent; what follows in its subject goes on.

    Its key stays taken. What was sent and has no answer yet, or none that is proved, is not
    withdrawn: it may be history already, and the relay finds out. So is what was refused after
    such a try, until the relay has looked its key up and it is not there. What waits because
    every try was refused, by a ledger that is not there or a key that may not, is withdrawn.

    Args:
        connection: As for `add`.
        key: Of the row.
        reason: Why, in words that name nobody; kept beside the row.
        ledger: Where several ledgers have the key.

    Raises:
        NotFoundError: No row under that key is parked, or waits and is known not to be history.
        SettingsError: Several ledgers have the key, or there is no reason.
    """
    _decide(connection, WITHDRAW, "withdrawn", key=key, reason=reason, ledger=ledger)


def _decide(
    connection: Any, statement: str, decided: str, *, key: str, reason: str, ledger: str | None
) -> None:
    if not reason.strip() or len(reason) > REASON_MAX:
        raise SettingsError(f"a decision needs a reason, of up to {REASON_MAX} characters")
    link = link_to(connection)
    if link.dialect == "postgresql":
        # Not between what a relay sees and what it takes.
        link.rows(LOCK_TAKE, {})
    found = [name for (name,) in link.rows(SELECT_LEDGERS, {"key": key})]
    if ledger is None and len(found) > 1:
        raise SettingsError(f"the ledgers {', '.join(found)} have this key: say which")
    decision = {"decided": decided, "at": format_time(link.now()), "reason": reason}
    values = {
        "ledger": ledger or next(iter(found), None),
        "key": key,
        "decision": orjson.dumps(decision).decode(),
    }
    if not link.rows(statement, values):
        states = [state for _, _, state in link.rows(SELECT_BY_KEY, values)]
        why = (
            "; it was sent, or a relay has it, and may be history: a relay finds out first"
            if statement == WITHDRAW and states == ["waiting"]
            else ""
        )
        raise NotFoundError(f"no row of the outbox under this key can be {decided} now{why}")


def _listed(link: Link, statement: str) -> list[dict[str, Any]]:
    return [
        {
            "id": number,
            "ledger": ledger,
            "subject": subject,
            "kind": kind,
            "key": key,
            "added_at": _moment(added_at),
            "tries": tries,
            "problem": problem and orjson.loads(problem),
        }
        for number, ledger, subject, kind, key, added_at, tries, problem in link.rows(
            statement, {"rows_max": ROWS_SHOWN_MAX}
        )
    ]


def _moment(value: datetime | str) -> str:
    """A time as text; SQLite has it so already."""
    return value if isinstance(value, str) else format_time(value.astimezone(UTC))
