"""What a key's caller is told of worlds is what its maker chose; hints to wait are told to all."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.support import Api, capture, item

SHOWN = {
    "full": {"world", "action", "reason", "severity"},
    "action-only": {"action"},
    "none": set(),
}
LABELS = SHOWN["full"]


def with_labels(api: Api, engine: Any, labels: str) -> Api:
    made = engine.credentials.create("quiet", ["*"], labels=labels)
    return Api(http=api.http, ledger=api.ledger, token=made.key, make_key=api.make_key)


@pytest.mark.parametrize("labels", SHOWN)
@pytest.mark.parametrize("path", ["/effects", "/intents", "/nowhere", "/entries/x"])
def test_errors_tell_as_much_as_the_key_says(api: Api, engine, labels: str, path: str) -> None:
    """Whoever answers: a plain endpoint, the framework, or nobody at all."""
    caller = with_labels(api, engine, labels)

    for response in (caller.post(path, {"type": 1}, key="k"), caller.get(path, limit="x")):
        problem = response.json()
        assert response.status_code >= 400
        assert problem.keys() & LABELS == SHOWN[labels]
        assert {"code", "detail", "retryable", "retry_after_ms", "trace_id"} <= problem.keys()
        assert ("RML-World" in response.headers) == (labels == "full")
        assert ("RML-Action" in response.headers) == (labels != "none")


@pytest.mark.parametrize("labels", SHOWN)
def test_items_of_a_batch_tell_no_more(api: Api, engine, labels: str) -> None:
    caller = with_labels(api, engine, labels)

    body = {"mode": "independent", "items": [item("k1"), item("k2", colour="red")]}
    answered = caller.post("/batch", body).json()

    assert answered["items"][1]["problem"].keys() & LABELS == SHOWN[labels]


def test_a_stranger_is_told_everything(api: Api) -> None:
    """Whose key it is is not known, and there is nothing to hide in a missing one."""
    assert api.without_key().post("/effects", capture(), key="k").json().keys() >= LABELS


def test_problems_are_counted_by_world(api: Api) -> None:
    """Whatever the caller was told; no label says whose they were."""
    api.post("/effects", {}, key="k")

    page = api.http.get("/metrics", headers=api.headers(None)).text

    assert (
        'effect_ledger_problems_total{code="MALFORMED_EFFECT",severity="info",world="RML1"}' in page
    )
