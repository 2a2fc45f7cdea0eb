"""
Paging: who is called for what, and when. History wakes people; a closed world waits.

One list of rules, in order; the first that fires decides. The alert rules that operators load
into Prometheus have the same names, and a test holds them to this list. Pure: what befell is an
argument, and so is the hour.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, time

HANDOFF_NEAR_S = 900
"""An effect that happened must be history within so much of `answer_by`, or somebody is called."""

OFFICE_FROM, OFFICE_TO = time(8), time(18)
_SATURDAY = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """What somebody may have to be called for. Members that do not apply stay as they are."""

    world: str
    """`RML1`, `RML2` or `RML3`."""
    code: str | None = None
    """Of a problem that was answered."""
    severity: str | None = None
    """Of that problem."""
    standing: str | None = None
    """Of an intent: promised, executing, executed, unknown, or an end of it."""
    on_silence: str | None = None
    answer_in_s: float | None = None
    """Seconds until the intent must be answered; below zero once that is past."""
    is_stopped: bool = False
    """A ledger takes no writes until a person has looked."""
    is_bad: bool = False
    """The newest verification of a ledger found something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PagingRule:
    """When it fires, somebody is called: at any hour, or in office hours."""

    name: str
    """As the alert in Prometheus is called."""
    world: str
    at_night: bool
    when: str
    """In words."""
    fires: Callable[[Happening], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What becomes of a happening at an hour."""

    rule: PagingRule | None
    """The first that fires; None where nobody is called."""
    is_office_hour: bool
    pages: str
    """`now`, `in_office_hours` or `nobody`."""
    why: str


RULES: Sequence[PagingRule] = (
    PagingRule(
        name="EffectLedgerStopped",
        world="RML3",
        at_night=True,
        when="a ledger was stopped: its history is not what was signed or witnessed",
        fires=lambda what: what.is_stopped,
    ),
    PagingRule(
        name="EffectLedgerVerificationBad",
        world="RML3",
        at_night=True,
        when="the newest verification of a ledger found something",
        fires=lambda what: what.is_bad,
    ),
    PagingRule(
        name="EffectLedgerHistoryRefused",
        world="RML3",
        at_night=True,
        when="a request was refused because of history, or history itself cannot be read",
        fires=lambda what: what.code is not None and what.world == "RML3",
    ),
    PagingRule(
        name="EffectLedgerIntentUnknown",
        world="RML2",
        at_night=True,
        when="the outcome of an intent is unknown, and it says to escalate",
        fires=lambda what: what.standing == "unknown" and what.on_silence == "escalate",
    ),
    PagingRule(
        name="EffectLedgerHandoffDue",
        world="RML2",
        at_night=True,
        when=f"an effect happened and is not history {HANDOFF_NEAR_S // 60} minutes before it "
        "must be answered, or later",
        fires=lambda what: (
            what.standing == "executed"
            and what.answer_in_s is not None
            and what.answer_in_s < HANDOFF_NEAR_S
        ),
    ),
    PagingRule(
        name="EffectLedgerOutcomeUnknown",
        world="RML2",
        at_night=True,
        when="the service failed in a way that leaves a write unknown to whoever asked for it",
        fires=lambda what: (
            what.code is not None and what.world == "RML2" and what.severity == "critical"
        ),
    ),
    PagingRule(
        name="EffectLedgerIntentToAsk",
        world="RML2",
        at_night=False,
        when="the outcome of an intent is unknown, and it says to ask",
        fires=lambda what: what.standing == "unknown",
    ),
    PagingRule(
        name="EffectLedgerDialogFailing",
        world="RML2",
        at_night=False,
        when="requests keep failing in the dialog world; a single one is for its client to retry",
        fires=lambda what: (
            what.code is not None and what.world == "RML2" and what.severity == "error"
        ),
    ),
    PagingRule(
        name="EffectLedgerClosedWorldFailing",
        world="RML1",
        at_night=False,
        when="requests keep failing before anything has escaped",
        fires=lambda what: what.code is not None and what.world == "RML1",
    ),
)
"""In this order; the first that fires decides."""


def explain(what: Happening, at: datetime) -> Explanation:
    """
    Who is called for `what` at that hour, and why.

    Args:
        what: What befell.
        at: With its offset; office hours are those of its own clock.
    """
    office = is_office_hour(at)
    rule = next((each for each in RULES if each.fires(what)), None)
    if rule is None:
        return Explanation(
            rule=None, is_office_hour=office, pages="nobody", why="no rule fires for this"
        )
    if rule.at_night or office:
        pages = "now"
        hours = "at any hour" if rule.at_night else "in office hours, which it is now"
    else:
        pages = "in_office_hours"
        hours = f"in office hours, from {OFFICE_FROM:%H:%M} to {OFFICE_TO:%H:%M} on working days"
    return Explanation(
        rule=rule, is_office_hour=office, pages=pages, why=f"{rule.when}: this calls {hours}"
    )


def is_office_hour(at: datetime) -> bool:
    """Monday to Friday from 8 to 18, by the clock of `at`."""
    return at.weekday() < _SATURDAY and OFFICE_FROM <= at.time() < OFFICE_TO
