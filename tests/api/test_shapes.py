"""Laws of shapes: what is taken without a look at its shape has the shape."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.schemas import (
    BODIES,
    ItemIn,
    plain_submission,
)
from api.shapes import (
    parse_shape,
)
from ledger.effect import Kind, Rules

NOW = datetime(2026, 3, 1, tzinfo=UTC)
ID = "019cd5b4-9b8e-7d0c-9a0f-5f3f3c1d7a52"
DIGEST = "ab" * 32

EVERYTHING: dict[str, Any] = {
    "type": "card.capture",
    "occurred_at": "2026-02-28T10:00:00+01:00",
    "subject": "order/1",
    "business_key": "invoice/1",
    "actor": {"id": "checkout", "kind": "service"},
    "handoff": {"point": "executed"},
    "evidence": [{"system": "psp", "rel": "transaction", "ref": "ch_1", "digest": DIGEST}],
    "causes": [{"kind": "workflow", "ref": "nightly"}],
    "labels": {"shop": "berlin"},
    "observed": True,
    "repeat_of": ID,
    "approval": {"by": "ann", "at": "2026-02-28T10:00:00Z", "digest": DIGEST},
    "intent": {"id": ID, "digest": DIGEST},
    "reason": "customer.request",
}
MONEY = {"amount": "1.00", "currency": "EUR", "flow": "in"}
OF_KIND: dict[Kind, dict[str, Any]] = {
    Kind.EFFECT: {"money": MONEY, "reversible_until": "2026-04-01T00:00:00Z"},
    Kind.REFUND: {"money": MONEY | {"flow": "out"}},
    Kind.ADJUSTMENT: {"money": MONEY | {"applied": "1.10"}},
    Kind.EXPLANATION: {"audience": "tax.office"},
}
SHAPES = [*BODIES, None]
"""Bodies by kind, and an item of a batch."""

odd = st.sampled_from([None, 0, 7, 1.5, True, False, "", "x", [], ["x"], {}, {"x": "y"}, [{}]])
names = st.sampled_from(["x", "kind", "key", "corrects", "corrects_key", "data", "money", "note"])


def written(kind: Kind | None) -> tuple[dict[str, Any], dict[str, str]]:
    """A document with every member that it can have, and what path and header say beside it."""
    if kind is None:
        told = {"kind": "refund", "key": "k", "corrects_key": "other"}
        return deepcopy(EVERYTHING | OF_KIND[Kind.REFUND] | told), {}
    place = {"kind": kind.value, "key": "k"}
    if kind is not Kind.EFFECT:
        place["corrects"] = ID
    return deepcopy(EVERYTHING | OF_KIND[kind]), place


def containers(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        yield value
        for each in value.values() if isinstance(value, dict) else value:
            yield from containers(each)


def spoil(draw: st.DataObject, document: dict[str, Any]) -> None:
    """Take a member away, put another in its place, or add one, anywhere in the document."""
    container = draw.draw(st.sampled_from(list(containers(document))))
    if isinstance(container, list):
        container.append(deepcopy(draw.draw(odd)))
        return
    present = [st.sampled_from(sorted(container))] if container else []
    name = draw.draw(st.one_of(names, *present))
    if draw.draw(st.booleans()) and name in container:
        del container[name]
    else:
        container[name] = deepcopy(draw.draw(odd))


@pytest.mark.parametrize("kind", SHAPES)
def test_a_document_with_every_member_is_plain(kind):
    document, place = written(kind)

    assert plain_submission(document, place, Rules(), NOW) is not None


@given(kind=st.sampled_from(SHAPES), changes=st.integers(0, 3), draw=st.data())
def test_what_is_taken_without_a_look_at_its_shape_is_what_its_shape_gives(kind, changes, draw):
    document, place = written(kind)
    for _ in range(changes):
        spoil(draw, document)
    plain = plain_submission(document, place, Rules(), NOW)

    if plain is not None:
        shape = ItemIn if kind is None else BODIES[kind]
        assert parse_shape(shape, document).to_submission(place, Rules(), NOW) == plain


@pytest.mark.parametrize("beside", [{"note": "words"}, {"payloads": []}, {"signature": {}}])
def test_what_is_kept_outside_the_effect_is_not_plain(beside):
    document, place = written(Kind.EFFECT)

    assert plain_submission(document | beside, place, Rules(), NOW) is None
