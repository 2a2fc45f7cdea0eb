"""Laws of effects: what is refused, and that one request has one form."""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import errors
from ledger.canonical import parse_json
from ledger.effect import (
    EFFECT_BYTES_MAX,
    Actor,
    Cause,
    Evidence,
    External,
    Kind,
    Money,
    Rules,
    build_effect,
    read_effect,
)
from ledger.errors import BadReferenceError, MalformedEffectError, PersonalDataError, TooLargeError
from ledger.forms.timestamps import parse_time

VECTORS = json.loads((Path(__file__).parents[1] / "vectors/effect.json").read_text("utf-8"))
NOW = parse_time(VECTORS["now"])
RULES = Rules(units=VECTORS["units"])
ACCEPTED = {case["name"]: case for case in VECTORS["accepted"]}
EFFECT = ACCEPTED["least"]["document"]
REFUND = ACCEPTED["refund"]["document"]


def build(rules=RULES, now=NOW, **members):
    return build_effect({**EFFECT, **members}, rules=rules, now=now)


def by_name(cases):
    return [pytest.param(case, id=case["name"]) for case in cases]


@pytest.mark.parametrize("case", by_name(VECTORS["accepted"]))
def test_accepted_vectors_give_their_bytes(case):
    effect = build_effect(case["document"], rules=RULES, now=NOW)

    assert effect.encoded.decode() == case["encoded"]
    assert hashlib.sha256(effect.encoded).hexdigest() == case["sha256"]


@pytest.mark.parametrize("case", by_name(VECTORS["refused"]))
def test_refused_vectors_are_refused_as_they_say(case):
    with pytest.raises(getattr(errors, case["error"])) as caught:
        build_effect(case["document"], rules=RULES, now=NOW)
    assert type(caught.value).__name__ == case["error"]
    assert caught.value.details["pointer"] == case["pointer"]
    assert caught.value.details.get("limit") == case.get("limit")
    assert case["pointer"] in caught.value.message


@pytest.mark.parametrize("case", by_name(VECTORS["accepted"]))
def test_what_was_built_reads_back_equal(case):
    effect = build_effect(case["document"], rules=RULES, now=NOW)

    assert read_effect(parse_json(effect.encoded)) == effect


@pytest.mark.parametrize("case", by_name(VECTORS["accepted"]))
def test_building_again_from_the_bytes_changes_nothing(case):
    effect = build_effect(case["document"], rules=RULES, now=NOW)

    assert build_effect(parse_json(effect.encoded), rules=RULES, now=NOW) == effect


@given(st.permutations(list(ACCEPTED["every-member"]["document"].items())))
def test_the_order_of_members_is_no_part_of_a_request(members):
    effect = build_effect(dict(members), rules=RULES, now=NOW)
    assert effect.encoded.decode() == ACCEPTED["every-member"]["encoded"]


def test_every_member_stands_where_its_name_says():
    effect = build_effect(ACCEPTED["every-member"]["document"], rules=RULES, now=NOW)

    assert effect.kind is Kind.EFFECT
    assert effect.actor == Actor(id="checkout", kind="service")
    assert effect.money == Money(amount="120.00", currency="EUR", flow="in", applied=None)
    assert effect.handoff == "settled"
    assert effect.evidence[0] == Evidence(
        system="stripe", rel="transaction", ref="txn_A1", digest=None
    )
    assert effect.causes[0] == Cause(kind="entry", ref="01957f5e-8c00-7009-8000-000000000000")
    assert effect.labels == (("channel", "web"), ("region", "eu"))
    assert effect.observed is True
    assert effect.approval.at == "2026-03-01T16:00:00.000000Z"
    assert effect.reversible_until == "2026-03-09T00:00:00.000000Z"

    elsewhere = ACCEPTED["refund-of-an-original-elsewhere"]["document"]
    external = build_effect(elsewhere, rules=RULES, now=NOW).corrects_external
    assert external == External(system="erp", ref="4711")


def test_a_kind_may_be_given_as_its_member():
    assert build(kind=Kind.EFFECT) == build()


@pytest.mark.parametrize("member", ["kind", "type", "key", "occurred_at"])
def test_when_several_members_are_wrong_the_first_in_documented_order_is_told(member):
    order = ["kind", "type", "key", "occurred_at", "subject", "money"]
    wrong = dict.fromkeys([*order[order.index(member) :], "unknown"], 7)
    with pytest.raises(MalformedEffectError) as caught:
        build(**wrong)
    assert caught.value.details["pointer"] == f"/{member}"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=6,
    ),
    st.sampled_from(
        [*ACCEPTED["every-member"]["document"], "corrects", "corrects_external", "data", "x/~y"]
    ),
)
def test_whatever_a_member_holds_it_is_refused_or_hashed_and_nothing_else(value, member):
    """No input makes anything but an effect or one of our errors."""
    try:
        effect = build(**{member: value})
    except errors.RejectedError as error:
        assert error.details["pointer"].startswith("/")  # noqa: PT017
        return
    assert read_effect(parse_json(effect.encoded)) == effect


def test_only_the_ledger_writes_notices_and_keys_with_an_underscore():
    released = {"hold_id": "01957f5e-8c00-7004-8000-000000000000"}
    notice = {"kind": "notice", "type": "hold.released", "data": released}
    itself = Rules(notices=True)

    assert build(rules=itself, key="_h", **notice).data == released
    with pytest.raises(MalformedEffectError, match="/kind"):
        build(key="_h", **notice)
    with pytest.raises(MalformedEffectError, match="/key"):
        build(rules=itself, key="h", **notice)
    with pytest.raises(MalformedEffectError, match="/key"):
        build(key="_h")


def test_reading_asks_neither_clock_nor_currency_table_nor_screen():
    """What was acceptable when it was recorded stays readable for ever."""
    words = {
        **EFFECT,
        "occurred_at": "2999-01-01T00:00:00.000000Z",
        "subject": "anna@example.org",
        "money": {"amount": "1.234567", "currency": "OLD", "flow": "in"},
    }
    assert read_effect(words).money.amount == "1.234567"
    with pytest.raises(BadReferenceError):
        build(money=words["money"])
    with pytest.raises(PersonalDataError):
        build(subject=words["subject"])


@pytest.mark.parametrize(
    ("check", "subject"),
    [
        ("at-sign", "anna@example.org"),
        ("iban", "DE89370400440532013000"),
        ("card", "4111111111111111"),
    ],
)
def test_each_check_for_personal_data_can_be_switched_off(check, subject):
    others = Rules(screen=RULES.screen - {check})
    only = Rules(screen=frozenset({check}))

    assert build(rules=others, subject=subject).subject == subject
    with pytest.raises(PersonalDataError):
        build(rules=only, subject=subject)


def test_an_effect_has_at_most_32768_bytes():
    def of(fill):
        return build(
            causes=[{"kind": "case", "ref": "東" * 255}] * 32,
            evidence=[{"system": "s", "rel": "result", "ref": "東" * 255}] * 8,
            labels={"a": "x" * 255, "b": "x" * 255, "c": "x" * 250},
            subject="x" * fill,
        )

    fill = 1 + EFFECT_BYTES_MAX - len(of(1).encoded)
    assert len(of(fill).encoded) == EFFECT_BYTES_MAX
    with pytest.raises(TooLargeError) as caught:
        of(fill + 1)
    assert caught.value.details["limit"] == EFFECT_BYTES_MAX
    assert caught.value.details["found"] == EFFECT_BYTES_MAX + 1


def test_the_clock_is_the_one_given():
    later = datetime(2030, 1, 1, tzinfo=UTC)
    assert build(now=later, occurred_at="2030-01-01T00:05:00Z")
    with pytest.raises(MalformedEffectError, match="5 minutes"):
        build(now=later, occurred_at="2030-01-01T00:05:01Z")


@pytest.mark.parametrize("currency", ["EUR", "JPY"])
def test_a_correction_is_held_to_the_decimals_of_its_own_currency(currency):
    money = {"amount": "45.00", "currency": currency, "flow": "out"}
    if currency == "EUR":
        assert build_effect({**REFUND, "money": money}, rules=RULES, now=NOW).money.flow == "out"
        return
    with pytest.raises(MalformedEffectError, match="exactly 0 decimals"):
        build_effect({**REFUND, "money": money}, rules=RULES, now=NOW)


@pytest.mark.parametrize("member", ["subject", "business_key"])
@pytest.mark.parametrize(
    "words",
    [
        *(
            " order/1",
            "order/1 ",
            "order\u200b/1",
            "\u202eorder/1",
            "order/1\u00ad",
            "order\u00a01",
        ),
        *("order/1\U000e0041", "order/1\ufe0f", "\u3164", "order\u2028/1", "order\u2800/1"),
    ],
)
def test_references_that_look_alike_are_not_two(member, words):
    """Refused when asked for; what was recorded with one is read as it is."""
    with pytest.raises(MalformedEffectError) as refused:
        build(**{member: words})
    assert refused.value.details["pointer"] == f"/{member}"

    recorded = json.loads(build(**{member: "order/1"}).encoded) | {member: words}
    assert getattr(read_effect(recorded), member) == words


@pytest.mark.parametrize(
    "words", ["order/1 of 2", "Bestellung/Stra\u00dfe", "\u6ce8\u6587/1", "\u05d4/1"]
)
def test_references_in_any_script_are_taken_as_they_are(words):
    assert build(subject=words).subject == words
