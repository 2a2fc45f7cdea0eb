"""
Intent: an effect that is promised and not yet history, as a fold over its events.

    promised --> executing --> handed_off         past `answer_by` without an answer,
        |            |-------> failed             promised and executing are unknown;
        |            `-------> unknown            unknown is left by evidence only
        `--> cancelled

    event  ->  steps: which event may come next  ->  standing: the intent after it

Pure: given the events before it and its own time, every step is allowed or refused in one way.
Who asks, how events are stored, what a promise holds and how an intent becomes an entry is for
others.
"""

from ledger.intent.event import FENCED, Event, Hold, Step, digest_events, parse_event
from ledger.intent.standing import (
    OPEN,
    Approval,
    Intent,
    IntentRow,
    Outcome,
    State,
    digest_content,
    row_of,
)
from ledger.intent.steps import (
    EVENTS_MAX,
    STARTS_MAX,
    before_handoff,
    begin,
    fold,
    is_conclusive,
    next_event,
    take,
)

__all__ = [
    "EVENTS_MAX",
    "FENCED",
    "OPEN",
    "STARTS_MAX",
    "Approval",
    "Event",
    "Hold",
    "Intent",
    "IntentRow",
    "Outcome",
    "State",
    "Step",
    "before_handoff",
    "begin",
    "digest_content",
    "digest_events",
    "fold",
    "is_conclusive",
    "next_event",
    "parse_event",
    "row_of",
    "take",
]
