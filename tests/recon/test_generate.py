"""The synthetic shop as its user makes it: by the command, and into a real ledger."""

from __future__ import annotations

import json

import pytest

from tests.integration.commands import Shell, passable_directory


@pytest.mark.slow
def test_the_command_writes_a_shop_that_a_ledger_takes_whole():
    with passable_directory() as path:
        alone, shop = Shell(data_dir=path / "data"), path / "shop"
        made = alone.good(
            "recon", "generate", "--lines", "300", "--breaks", "27", "--seed", "7", "--out", shop
        )
        assert made["breaks"] == len(json.loads((shop / "truth.json").read_bytes())["planted"])
        with alone.serving() as (_, announced):
            key = alone.good("key", "create", "--name", "shop", "--scope", "*")["key"]
            alone.good("ledger", "create", "shop", "--time-zone", "Europe/Berlin")
            shell = alone.set(URL=announced["url"], KEY=key)
            first = shell.good("import", "shop", shop / "ledger.ndjson")
            again = shell.good("import", "shop", shop / "ledger.ndjson")
    assert (first["recorded"], first["refused"]) == (made["ledger_items"], 0)
    assert (again["recorded"], again["replayed"]) == (0, made["ledger_items"])


def test_what_cannot_be_generated_is_refused_with_the_limit(tmp_path):
    shell = Shell(data_dir=tmp_path / "data")
    few = shell.run("recon", "generate", "--lines", "3", "--out", tmp_path)
    month = shell.run("recon", "generate", "--from", "March", "--out", tmp_path)
    place = shell.run("recon", "generate", "--out", "/proc/nowhere")
    assert [few.code, month.code, place.code] == [2, 2, 2]
    assert "at least 50 lines" in few.err
    assert "2026-03" in month.err
    assert "cannot be written" in place.err


def test_people_are_told_what_to_do_next(tmp_path):
    done = Shell(data_dir=tmp_path / "data").run(
        "recon", "generate", "--lines", "100", "--breaks", "5", "--out", tmp_path / "shop"
    )
    assert done.code == 0
    assert "Synthetic" in done.out
    assert "effect-ledger import LEDGER" in done.out
