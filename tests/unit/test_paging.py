"""Who is called: for history, and the last chance before it, at any hour; else in the morning."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from api.problems import PROBLEMS
from ledger.worlds.paging import RULES, Happening, explain, is_office_hour

NIGHT = datetime(2026, 11, 25, 3, tzinfo=UTC)
DAY = datetime(2026, 11, 25, 11, tzinfo=UTC)


@pytest.mark.parametrize("row", PROBLEMS.values(), ids=lambda row: row.code)
def test_every_problem_calls_as_its_world_says(row):
    what = Happening(world=row.world, code=row.code, severity=row.severity)

    at_night, by_day = explain(what, NIGHT), explain(what, DAY)

    if row.world == "RML3" or (row.world, row.severity) == ("RML2", "critical"):
        assert at_night.pages == "now"
    else:
        assert at_night.pages in ("in_office_hours", "nobody")
    assert by_day.pages in ("now", "nobody")
    assert (at_night.rule is None) == (by_day.rule is None)


@pytest.mark.parametrize(
    ("standing", "on_silence", "answer_in_s", "rule", "pages"),
    [
        ("promised", "escalate", 5.0, None, "nobody"),
        ("executing", "escalate", 5.0, None, "nobody"),
        ("unknown", "escalate", -5.0, "EffectLedgerIntentUnknown", "now"),
        ("unknown", "ask", -5.0, "EffectLedgerIntentToAsk", "in_office_hours"),
        ("executed", "ask", 901.0, None, "nobody"),
        ("executed", "ask", 899.0, "EffectLedgerHandoffDue", "now"),
        ("executed", "ask", -9_999.0, "EffectLedgerHandoffDue", "now"),
        ("handed_off", "escalate", -5.0, None, "nobody"),
        ("failed", "escalate", -5.0, None, "nobody"),
    ],
)
def test_an_intent_calls_when_it_is_about_to_be_history_unrecorded(
    standing, on_silence, answer_in_s, rule, pages
):
    what = Happening(
        world="RML2", standing=standing, on_silence=on_silence, answer_in_s=answer_in_s
    )

    told = explain(what, NIGHT)

    assert (told.rule.name if told.rule else None, told.pages) == (rule, pages)


def test_a_ledger_that_does_not_prove_itself_calls():
    assert explain(Happening(world="RML3", is_stopped=True), NIGHT).pages == "now"
    assert explain(Happening(world="RML3", is_bad=True), NIGHT).pages == "now"
    assert explain(Happening(world="RML3"), NIGHT).pages == "nobody"


@pytest.mark.parametrize(
    ("at", "office"),
    [
        (datetime(2026, 11, 25, 8, tzinfo=UTC), True),
        (datetime(2026, 11, 25, 7, 59, 59, tzinfo=UTC), False),
        (datetime(2026, 11, 25, 18, tzinfo=UTC), False),
        (datetime(2026, 11, 28, 12, tzinfo=UTC), False),
        (datetime(2026, 11, 25, 3, tzinfo=timezone(timedelta(hours=9))), False),
    ],
)
def test_office_hours_are_those_of_the_clock_that_is_asked_about(at, office):
    assert is_office_hour(at) == office


def test_an_explanation_says_which_rule_and_when():
    what = Happening(world="RML1", code="X", severity="info")

    assert explain(what, NIGHT).why.endswith("in office hours, from 08:00 to 18:00 on working days")
    assert explain(what, DAY).why.endswith("in office hours, which it is now")
    assert len({rule.name for rule in RULES}) == len(RULES)
