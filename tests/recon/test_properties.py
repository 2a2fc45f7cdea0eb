"""What holds for files of every format, whatever stands in them."""

from __future__ import annotations

from collections import Counter
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.recon.reading import FORMATS, read_statement
from ledger.recon.statement import FindingCode, Line, Reading, ReadingStatus, Statement
from tests.effort import examples

from .files import IN_ANY_ORDER, WRITERS, Movement, source_of
from .samples import FIXTURES, make_source

MOVEMENTS = st.lists(
    st.builds(
        Movement,
        minor=st.integers(-(10**9), 10**9).filter(bool),
        day=st.integers(1, 28),
        ref=st.sampled_from(["R1", "R2", "R3", "Q17", "X9"]),
    ),
    min_size=1,
    max_size=12,
)
EXAMPLES = [
    Movement(12_000, 2, "R1"),
    Movement(-4_500, 3, "R2"),
    Movement(-4_500, 3, "R2"),
    Movement(9, 28, "R3"),
    Movement(-1_234_567, 28, "R4"),
]
every_format = pytest.mark.parametrize("name", WRITERS)
few = settings(max_examples=examples(50), deadline=None)


def read(name: str, data: bytes) -> Reading:
    return read_statement(data, source_of(name))


def said(line: Line) -> tuple:
    """What a line says, wherever it stands."""
    return (line.identity_key, line.kind, line.net_minor, line.booked_date, line.merchant_ref)


def lines(reading: Reading) -> Counter:
    return Counter(said(line) for each in reading.statements for line in each.lines)


@every_format
@given(movements=MOVEMENTS)
@few
def test_lines_add_up_to_what_moved(name, movements):
    # A download with a running balance is in the order of days.
    movements = sorted(movements, key=lambda each: each.day)
    reading = read(name, WRITERS[name](movements))
    assert (reading.status, reading.format) == (ReadingStatus.ACCEPTED, name)
    [statement] = reading.statements
    moved = [line for line in statement.lines if line.kind != "payout"]
    assert [line.net_minor for line in moved] == [each.minor for each in movements]
    # BAI2 dates the report, not its lines.
    days = [each.date for each in movements] if name != "bai2" else [date(2026, 3, 31)] * len(moved)
    assert [line.booked_date for line in moved] == days


@every_format
@given(movements=MOVEMENTS)
@few
def test_the_same_bytes_are_read_the_same(name, movements):
    data = WRITERS[name](movements)
    assert read(name, data) == read(name, data)


@every_format
def test_lines_that_say_the_same_stay_two(name):
    reading = read(name, WRITERS[name]([Movement(-500), Movement(-500), Movement(700)]))
    first, second, *_ = reading.statements[0].lines
    assert said(first) == said(second)
    assert (first.occurrence, second.occurrence) == (1, 2)


@pytest.mark.parametrize("name", IN_ANY_ORDER)
@given(movements=MOVEMENTS, data=st.data())
@few
def test_the_order_of_lines_does_not_matter(name, movements, data):
    shuffled = data.draw(st.permutations(movements))
    one, other = (read(name, WRITERS[name](each)) for each in (movements, shuffled))
    assert lines(one) == lines(other)
    assert one.status is other.status is ReadingStatus.ACCEPTED


@every_format
@given(movements=MOVEMENTS, at=st.integers(0, 12))
@few
def test_a_file_in_two_parts_has_the_same_lines(name, movements, at):
    parts = [part for part in (movements[:at], movements[at:]) if part]
    whole = lines(read(name, WRITERS[name](movements)))
    split = sum((lines(read(name, WRITERS[name](part))) for part in parts), Counter())
    # The payout of a batch is not split with its lines.
    assert {k: v for k, v in whole.items() if k[1] != "payout"} == {
        k: v for k, v in split.items() if k[1] != "payout"
    }


def nothing_is_quietly_lost(whole: Reading, cut: Reading) -> bool:
    """Refused, held back, told loudly; or every statement called complete is one of the whole."""
    if cut.status is not ReadingStatus.ACCEPTED:
        return True
    proved = [each for each in cut.statements if each.complete]
    loud = FindingCode.COMPLETENESS_NOT_PROVABLE in {each.code for each in cut.findings}
    known = {_content(each) for each in whole.statements}
    return all(_content(each) in known for each in proved) and (
        loud or len(proved) == len(cut.statements)
    )


def _content(statement: Statement) -> tuple:
    return (
        statement.account_ref,
        statement.currency,
        statement.opening_minor,
        statement.closing_minor,
        tuple(said(line) for line in statement.lines),
    )


@every_format
def test_a_file_cut_at_any_byte_is_never_quietly_accepted(name):
    data = WRITERS[name](EXAMPLES)
    whole = read(name, data)
    quiet = [
        at for at in range(len(data)) if not nothing_is_quietly_lost(whole, read(name, data[:at]))
    ]
    assert quiet == []


@pytest.mark.parametrize(
    "name", sorted(path.name for path in FIXTURES.iterdir() if path.suffix != ".md")
)
def test_a_synthetic_file_cut_at_any_byte_is_never_quietly_accepted(name):
    data = (FIXTURES / name).read_bytes()
    source = make_source()
    whole = read_statement(data, source)
    quiet = [
        at
        for at in range(0, len(data), 3)
        if not nothing_is_quietly_lost(whole, read_statement(data[:at], source))
    ]
    assert quiet == []


@every_format
@given(movements=MOVEMENTS, data=st.data())
@few
def test_a_file_with_bytes_changed_is_read_or_refused_and_never_raises(name, movements, data):
    whole = bytearray(WRITERS[name](movements))
    for _ in range(data.draw(st.integers(1, 6))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    reading = read(name, bytes(whole))
    assert reading.statements or reading.status is ReadingStatus.REJECTED


@given(data=st.binary(max_size=400))
def test_any_bytes_are_refused_with_a_reason(data):
    reading = read_statement(data, make_source())
    assert reading.status is ReadingStatus.REJECTED
    assert reading.findings


def test_entities_and_dtds_are_refused():
    hostile = WRITERS["camt.053"](EXAMPLES).decode()
    laughs = '<!DOCTYPE lolz [<!ENTITY lol "lol"><!ENTITY x SYSTEM "file:///etc/passwd">]>'
    reading = read("camt.053", (laughs + hostile.replace("R1", "&lol;&x;")).encode())
    assert reading.status is ReadingStatus.REJECTED
    assert "DTD" in reading.findings[0].message


def test_each_format_is_recognised_by_one_reader_only():
    for name, write in WRITERS.items():
        if name != "csv":
            found = [each.name for each in FORMATS if each.recognises(write(EXAMPLES))]
            assert found == [name]
