"""The table of attacks in the README is the one that is measured here."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.architecture.repository import README, rows
from tests.faults.attacks import SIZE, UNDETECTED, table

# Each attack is made once more; whether it is found is a law of the matrix itself.
pytestmark = pytest.mark.slow

HEADER = "A superuser would"
# More checks than this of one family, and the family stands for them.
NAMED_MAX = 2


def condensed(lines: list[str]) -> Iterator[list[str]]:
    """The measured table with one row per table for edits of columns; the rest as it is."""
    measured = [[cell.strip() for cell in line.strip("|").split("|")][:3] for line in lines[2:]]
    edits: dict[str, list[tuple[str, str]]] = {}
    for name, check, place in measured:
        column = re.fullmatch(r"edit (\w+)\.\w+", name)
        if column is not None:
            edits.setdefault(column[1], []).append((check, place))
    for edited, found in edits.items():
        places = {"the entry" if place.isdecimal() else place for _, place in found}
        yield [
            f"edit a column of `{edited}`, any of {len(found)}",
            ", ".join(families([check.strip("`") for check, _ in found])),
            " or ".join(sorted(places)),
        ]
    for name, check, place in measured:
        if not re.match(r"edit \w+\.\w+$", name):
            yield [name, check, f"entry {place}" if place.isdecimal() else place]


def families(checks: list[str]) -> list[str]:
    by_family: dict[str, set[str]] = {}
    for check in checks:
        by_family.setdefault(check.partition(".")[0], set()).add(check)
    return [
        f"`{each}`"
        for family, members in sorted(by_family.items())
        for each in (sorted(members) if len(members) <= NAMED_MAX else [f"{family}.*"])
    ]


@pytest.fixture(scope="module")
def measured(findings) -> list[str]:
    return list(table(findings))


def test_the_readme_shows_the_matrix_that_is_measured(measured):
    expected = list(condensed(measured))

    shown = rows(README, header=HEADER)
    assert shown == expected, "\n".join(f"| {' | '.join(row)} |" for row in expected)


def test_the_readme_says_how_many_attacks_there_are(measured):
    """Counted anew each time: a number in a text is soon an old one."""
    text = " ".join(README.read_text("utf-8").split())

    assert f"a ledger of {SIZE} entries" in text
    assert f"each of these {len(measured) - 2} changes" in text
    assert f"The {len(measured) - 2} attacks" in text


def test_the_readme_says_what_is_not_found():
    """A limit that is known is told where the strength is."""
    text = README.read_text("utf-8")

    assert all(f"`{column}`" in text for column in UNDETECTED)
