"""The service says which paging rule something fires, and calls nobody by saying so."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter

from api import intent_schemas as schemas
from api.routes.paging import EXAMPLE
from tests.api.support import Api
from tests.api.test_intents import (
    code,
    execute,
    good,
    promise,
    promised,
    silence,
    soon,
    start,
    step,
)

NIGHT, DAY = "2026-11-25T03:00:00+01:00", "2026-11-25T11:00:00Z"


def explain(api: Api, **query: Any) -> Any:
    return api.http.get("/v1/paging:explain", headers=api.headers(None), params=query)


def told(api: Api, **query: Any) -> tuple[str | None, str]:
    answered = good(explain(api, **query))
    TypeAdapter(schemas.PagingOut).validate_python(answered)
    return answered["rule"], answered["pages"]


def test_problems_are_explained_by_their_code(api: Api) -> None:
    refused = "EffectLedgerHistoryRefused"
    assert told(api, code="OVER_REFUND", at=NIGHT) == (refused, "now")
    waits = "EffectLedgerClosedWorldFailing"
    assert told(api, code="MALFORMED_EFFECT", at=NIGHT) == (waits, "in_office_hours")
    assert told(api, code="MALFORMED_EFFECT", at=DAY) == (waits, "now")
    assert told(api, code="POSSIBLE_REPEAT", at=DAY) == (None, "nobody")


def test_intents_are_explained_as_they_stand(api: Api) -> None:
    """Executed and due pages; silence pages or waits, as the promise said."""
    due, _ = execute(api, promised(answer_by=soon(60)))
    begun, _ = start(api)
    silent = silence(api)

    def of(intent: str) -> tuple[str | None, str]:
        return told(api, ledger=api.ledger, intent=intent, at=NIGHT)

    assert of(due) == ("EffectLedgerHandoffDue", "now")
    assert of(begun) == (None, "nobody")
    assert of(silent) == ("EffectLedgerIntentToAsk", "in_office_hours")
    doubted, token = start(api, promised(on_silence="escalate"))
    good(step(api, doubted, "execution", step="error", token=token, outcome="unknown"))
    assert of(doubted) == ("EffectLedgerIntentUnknown", "now")


def test_a_ledger_is_explained_as_it_stands(api: Api) -> None:
    assert told(api, ledger=api.ledger) == (None, "nobody")


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"code": "NO_SUCH"},
        {"code": "OVER_REFUND", "ledger": "x"},
        {"code": "OVER_REFUND", "intent": "x"},
        {"code": "OVER_REFUND", "at": "noon"},
        {"colour": "red"},
    ],
)
def test_a_question_that_is_none_is_refused(api: Api, query: dict[str, str]) -> None:
    assert explain(api, **query).status_code == 422


def test_what_a_key_does_not_reach_is_not_explained(api: Api) -> None:
    other = api.with_key("entries:read", ledgers=["another"])
    assert code(explain(other, ledger=api.ledger)) == "FORBIDDEN"
    assert code(explain(api.with_key("verify"), ledger=api.ledger)) == "FORBIDDEN"
    assert explain(api.without_key(), code="OVER_REFUND").status_code == 401
    assert code(explain(api, ledger="no-such-ledger")) == "NOT_FOUND"


def test_open_intents_are_counted_without_business_labels(api: Api) -> None:
    promise(api, promised(subject="order/secret", business_key="b/secret"))
    execute(api)

    page = api.http.get("/metrics", headers=api.headers(None)).text
    lines = [line for line in page.splitlines() if f'ledger="{api.ledger}"' in line]

    place = f'ledger="{api.ledger}",on_silence="ask",state='
    assert f'effect_ledger_intents{{{place}"promised"}} 1.0' in lines
    assert f'effect_ledger_intents{{{place}"executed"}} 1.0' in lines
    assert any(line.startswith("effect_ledger_intent_due_seconds") for line in lines)
    assert "secret" not in page


def test_the_example_has_the_published_shape() -> None:
    TypeAdapter(schemas.PagingOut).validate_python(EXAMPLE)
