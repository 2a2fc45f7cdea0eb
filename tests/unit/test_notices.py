"""Laws of notices: each type has one closed schema, with a vector."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ledger import errors
from ledger.canonical import parse_json
from ledger.effect import Rules, build_effect, read_effect
from ledger.errors import MalformedEffectError
from ledger.forms.notices import SCHEMAS

VECTORS = json.loads((Path(__file__).parents[1] / "vectors/notice.json").read_text("utf-8"))
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
ITSELF = Rules(notices=True)


def by_name(cases):
    return [pytest.param(case, id=case["name"]) for case in cases]


@pytest.mark.parametrize("case", by_name(VECTORS["accepted"]))
def test_accepted_vectors_give_their_bytes_and_read_back(case):
    effect = build_effect(case["document"], rules=ITSELF, now=NOW)

    assert effect.encoded.decode() == case["encoded"]
    assert read_effect(parse_json(effect.encoded)) == effect


@pytest.mark.parametrize("case", by_name(VECTORS["refused"]))
def test_refused_vectors_are_refused_as_they_say(case):
    with pytest.raises(getattr(errors, case["error"])) as caught:
        build_effect(case["document"], rules=ITSELF, now=NOW)
    assert type(caught.value).__name__ == case["error"]
    assert caught.value.details["pointer"] == case["pointer"]


def test_every_type_has_a_vector():
    assert {case["document"]["type"] for case in VECTORS["accepted"]} == SCHEMAS.keys()


def test_no_schema_is_open():
    for case in VECTORS["accepted"]:
        words = case["document"]
        with pytest.raises(MalformedEffectError):
            build_effect(
                {**words, "data": {**words["data"], "colour": "red"}}, rules=ITSELF, now=NOW
            )


@pytest.mark.parametrize("case", by_name(VECTORS["accepted"]))
def test_every_member_is_held_to_a_form(case):
    words = case["document"]
    for member in words["data"]:
        for value in (None, {"x": None}, -2.5):
            with pytest.raises(MalformedEffectError):
                build_effect(
                    {**words, "data": {**words["data"], member: value}}, rules=ITSELF, now=NOW
                )


def test_a_type_of_a_later_release_is_read_and_never_written():
    """An old verifier does not call a ledger broken because the ledger learned a word."""
    words = {
        "kind": "notice",
        "type": "ledger.renewed",
        "key": "_r",
        "occurred_at": "2026-03-02T09:14:07.000000Z",
        "data": {"years": 7, "words": ["a", {"b": None}]},
    }
    assert read_effect(words).data == words["data"]
    with pytest.raises(MalformedEffectError, match="/type"):
        build_effect(words, rules=ITSELF, now=NOW)
    with pytest.raises(MalformedEffectError):
        read_effect({**words, "data": [1]})
    with pytest.raises(MalformedEffectError):
        read_effect({**words, "data": {"text": "not\nallowed"}})
