"""
Attacks by those who run a ledger are caught by those who do not, and the README says how.

The play is made once, with real services, databases, witnesses and commands; see `attack_stage`.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.architecture.repository import README, rows
from tests.faults.attack_stage import Caught, play
from tests.integration.commands import settled_directory

HEADER = "Whoever runs it would"
NAMES = (
    *("rollback", "fork", "split view", "truncated tail", "re-signed history", "swapped ledgers"),
    *("receipt replayed", "stale witness", "lying clock", "expired TSA token", "wrong TSA token"),
)
PARTIES = {"signer", "service", "watcher", "witness", "offline verifier", "receipt holder"}


@pytest.fixture(scope="module")
def seen() -> Iterator[list[Caught]]:
    with settled_directory() as base:
        yield sorted(play(base), key=lambda each: (name_of(each), each.attack, each.by))


def name_of(each: Caught) -> int:
    [at] = [at for at, name in enumerate(NAMES) if each.attack.startswith(name)]
    return at


@pytest.mark.slow
def test_every_attack_is_caught_by_name(seen):
    """
    Exit code 1 by whoever looks, 4 where nothing new is signed, 2 where a write is refused.

    A clock that is not believed may be right again later: 3.
    """
    assert {name_of(each) for each in seen} == set(range(len(NAMES)))
    for each in seen:
        if "`post`" in each.by:
            expected = 3 if "clock" in each.attack else 2
        else:
            expected = 4 if "--stale" in each.by else 1
        assert each.code == expected, each


@pytest.mark.slow
def test_the_readme_says_who_catches_what_and_in_which_words(seen):
    expected = [[each.attack, each.by, each.says] for each in seen]

    shown = rows(README, header=HEADER)
    assert shown == expected, "\n".join(f"| {' | '.join(row)} |" for row in expected)


def test_the_readme_names_every_attack_and_every_party():
    """What is measured in the slow suite is not forgotten in the fast one."""
    shown = rows(README, header=HEADER)

    for name in NAMES:
        assert any(attack.startswith(name) for attack, _, _ in shown), name
    assert {by.partition(":")[0] for _, by, _ in shown} >= PARTIES
