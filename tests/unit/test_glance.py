"""Law of verification at a glance: it finds what verification entry by entry finds."""

from __future__ import annotations

from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.entry import Head
from ledger.errors import MalformedEffectError
from ledger.verify import StoredPosition
from ledger.verify.stored import COLUMNS
from tests.effort import examples
from tests.unit.test_block import block_of
from tests.unit.test_verify import LEDGER, ORIGIN, Memory, append, effect, set_head, verify


class AtAGlance(Memory):
    """The same lists, which also hand in pages by columns."""

    def block(self, start, stop):
        rows = self.entries(start, stop)
        return block_of(rows) if rows else None


AMOUNTS = st.sampled_from(["3.00", "0.01", "2.50", "9.99", "10.00", "5.0", "-1.00"])


def money(draw, flow):
    currency = draw(st.sampled_from(["EUR"] * 5 + ["USD"]))
    flow = draw(st.sampled_from([flow] * 6 + ["in"]))
    amount = draw(AMOUNTS)
    return {"amount": amount, "currency": currency, "flow": flow}


@st.composite
def histories(draw):
    """What was said, with corrections that the rules allow and others that they refuse."""
    said = [
        {"money": {"amount": "10.00", "currency": "EUR", "flow": "in"}},
        {"business_key": "b"},
    ]
    for _ in range(draw(st.integers(1, 9))):
        kind = draw(st.sampled_from(["refund", "refund", "explanation", "adjustment", "effect"]))
        of = draw(st.just(0) | st.integers(0, len(said)))
        by_key = {"corrects_key": f"k{of}"}
        named = draw(st.sampled_from([by_key, by_key, {"corrects": str(UUID(int=1000 + of))}]))
        if kind == "effect":
            each = draw(st.sampled_from([{"business_key": "b"}, {"subject": "s"}, {}]))
        else:
            each = {"kind": kind, "reason": "customer.request", **named}
            each |= {"money": money(draw, "out")} if kind != "explanation" else {}
        if draw(st.integers(0, 3)) == 0:
            each = {**each, "evidence": [{"system": "psp", "rel": "transaction", "ref": "r"}]}
        said.append(each)
    return said


@st.composite
def damages(draw, count):
    """Which column of which entry is changed, and to what; or its bytes."""
    return [
        (
            draw(st.integers(0, count - 1)),
            draw(st.sampled_from(["corrects", "key", "subject", "currency", "id", "body", "term"])),
        )
        for _ in range(draw(st.integers(0, 2)))
    ]


def damaged(rows, damage):
    for at, what in damage:
        row = rows[at]
        if what == "body":
            rows[at] = row._replace(body=row.body.replace(b'"poster":"checkout"', b'"poster":"x"'))
        elif what != "term":
            columns = list(row.columns)
            is_id = what in ("corrects", "id")
            columns[COLUMNS.index(what)] = str(UUID(int=1001)) if is_id else "GBP"
            rows[at] = row._replace(columns=tuple(columns))
    return rows


@given(histories(), st.data())
@settings(max_examples=examples(600))
def test_verification_at_a_glance_finds_what_verification_by_entry_finds(said, data):
    memory, head = Memory(), Head.genesis(ledger=LEDGER, origin=ORIGIN)
    set_head(memory, head)
    effects = []
    for at, each in enumerate(said):
        try:
            effects.append(effect(at, **{"labels": {}, **each}))
        except MalformedEffectError:
            # Nobody can post that.
            effects.append(effect(at))
    append(memory, head, effects)
    damage = data.draw(damages(len(said)))
    memory.rows = damaged(memory.rows, damage)
    if any(what == "term" for _, what in damage):
        memory.term_rows = [*memory.term_rows[1:], ("label:x:y", 1)]
    # Rows that are never right: what corrections give is told in the findings.
    memory.position_rows = [
        StoredPosition(str(UUID(int=1000 + at)), "EUR", 7, 7, 7, 0, 0) for at in range(len(said))
    ]

    by_entry = verify(memory)
    at_a_glance = verify(AtAGlance(**{n: getattr(memory, n) for n in Memory.__dataclass_fields__}))

    assert at_a_glance.findings == by_entry.findings
    assert at_a_glance.root == by_entry.root
