"""Figures are measured for real: a service of its own, its database, and load between them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ledger.bench import CASES
from ledger.bench.load import percentile
from tests.integration.commands import Shell


def test_a_percentile_is_one_of_the_values() -> None:
    """Nearest rank: so many percent of the values are not above it."""
    values = [1.0, 2.0, 3.0, 4.0]

    assert [percentile(values, each) for each in (1, 25, 26, 50, 75, 99, 100)] == [
        *(1.0, 1.0, 2.0, 2.0, 3.0, 4.0, 4.0),
    ]


def test_a_figure_nobody_knows_is_refused(tmp_path: Path) -> None:
    """Nothing is started for it."""
    done = Shell(data_dir=tmp_path).run("bench", "R99", "--json")

    assert done.code == 2
    assert "R1, R2" in done.json["error"]["message"]


@pytest.mark.slow
def test_every_figure_has_its_yardstick(tmp_path: Path, monkeypatch) -> None:
    """All of them, small and short: what was answered was good, and nothing took no time."""
    monkeypatch.setattr("tests.integration.commands.TIMEOUT_S", 500.0)
    found = Shell(data_dir=tmp_path).good("bench", "--entries", "10000", "--seconds", "1")

    figures = {each["name"]: each for each in found["figures"]}
    assert list(figures) == [case.name for case in CASES]
    assert all(each["ratio"] > 0 for each in figures.values())
    for name in ("R1", "R4"):
        assert set(figures[name]["details"]["posts"]["statuses"]) == {"201"}
    assert set(figures["R5"]["details"]["replays"]["statuses"]) == {"200"}
    assert set(figures["R2"]["details"]["batches"]["statuses"]) == {"200"}
    assert set(figures["R8"]["details"]["inclusion"]["statuses"]) == {"200"}
    assert figures["R6"]["details"]["entries"] >= 10_000
    assert [each["wrong"] for each in figures["R13"]["details"]["sizes"]] == [0, 0]
    assert found["machine"]["entries"] == 10_000
