"""
Rehearsal: a generated shop reconciled from its files, and held to what was planted in it.

Everything a run does but storage: files are read, lines and entries become items, all is
matched and classified. Says what was found otherwise than planted, which should be nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from ledger.canonical import parse_json
from ledger.effect import Rules as LedgerRules
from ledger.effect import build_effect
from ledger.entry import Admitted, Entry, Head, chain
from ledger.recon.account import Account, build_account, joined_rules
from ledger.recon.ledger_side import LedgerSide, fold_entries
from ledger.recon.matching import Item, Side, key_of
from ledger.recon.reading import read_statement
from ledger.recon.reconciliation import Reconciliation, reconcile
from ledger.recon.scoping import coverage_of, providers_of, zones_of
from ledger.recon.sharing import Shared
from ledger.recon.source import Control
from ledger.recon.statement_side import (
    Known,
    LineFold,
    known_statements,
    line_rows,
    statement_document,
)
from ledger.recon.states import Scope, State

LEDGER = "rehearsal"
BATCH = 1_000

Tell = Callable[[str, int], None]
Placed = Mapping[tuple[str, ...], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """What became of a generated shop."""

    items: int
    """Movements of the ledger."""
    lines: int
    """Lines of providers and banks."""
    planted: int
    wrong: list[dict[str, Any]]
    """Items that stand otherwise than they were planted, and false breaks."""
    unexplained: list[str]
    output_digest: str
    seconds: Mapping[str, float]
    """Stage -> how long it took."""


@dataclass(slots=True)
class _Files:
    items: list[Item] = field(default_factory=list)
    restated: set[str] = field(default_factory=set)
    statements: list[Known] = field(default_factory=list)
    placed: dict[tuple[str, ...], str] = field(default_factory=dict)
    lines: int = 0


def rehearse(directory: Path, clock: Callable[[], float], tell: Tell) -> Rehearsal:
    """
    Reconcile what `generate` wrote into a directory, and compare with its truth.

    Args:
        directory: As `synthetic.generate` filled it.
        clock: Seconds, for the length of each stage.
        tell: Told what it is at, and how far.
    """
    setup = json.loads((directory / "setup.json").read_bytes())
    truth = json.loads((directory / "truth.json").read_bytes())
    accounts = {account.source.name: account for account in map(build_account, setup["sources"])}
    zones = zones_of(list(accounts.values()))
    began = clock()
    shared, asked = Shared(), _places(truth)
    files = _read_files(directory, setup, accounts, asked=asked, shared=shared, tell=tell)
    read = clock()
    side, keys = _read_ledger(directory, zones, asked, shared, tell)
    del shared
    folded = clock()
    found = reconcile(
        [*side.items, *files.items],
        joined_rules(list(accounts.values())),
        _scope(setup, accounts, files),
        tell=tell,
    )
    ended = clock()
    return Rehearsal(
        items=len(side.items),
        lines=files.lines,
        planted=len(truth["planted"]),
        wrong=_compare(truth, found, {**files.placed, **keys}),
        unexplained=[
            f"{proof.currency} {proof.heading.value}: {proof.unexplained}"
            for proof in found.proofs
            if proof.unexplained
        ],
        output_digest=found.output_digest,
        seconds={
            "files": read - began,
            "ledger": folded - read,
            "matching": ended - folded,
        },
    )


def _places(truth: Mapping[str, Any]) -> set[tuple[str, ...]]:
    """Where the items of the truth are told."""
    return {_place(located) for planted in truth["planted"] for located in planted["items"]}


def _place(located: Mapping[str, Any]) -> tuple[str, ...]:
    if located["side"] == "ledger":
        return (located["key"],)
    if located["side"] == "bank":
        return (located["source"], located["bank_ref"])
    occurrence = str(located["occurrence"])
    return (located["source"], located["currency"], located["identity_key"], occurrence)


def _read_files(
    directory: Path,
    setup: Mapping[str, Any],
    accounts: Mapping[str, Account],
    *,
    asked: set[tuple[str, ...]],
    shared: Shared,
    tell: Tell,
) -> _Files:
    files, fold = _Files(), LineFold(shared)
    for each in setup["imports"]:
        account, name = accounts[each["source"]], each["source"]
        controls = [
            Control(
                **{
                    **given,
                    "period_from": date.fromisoformat(given["period_from"]),
                    "period_to": date.fromisoformat(given["period_to"]),
                }
            )
            for given in each["controls"]
        ]
        reading = read_statement((directory / each["file"]).read_bytes(), account.source, controls)
        documents = [statement_document(statement) for statement in reading.statements]
        files.statements += known_statements(name, each["file"], documents)
        for row in line_rows(reading, name):
            said = row.document
            fold.add(row.line, row.said, said, account)
            place = (name, said["currency"], said["identity"], str(said["occurrence"]))
            for told in (place, (name, said["bank_ref"])):
                if told in asked:
                    files.placed[told] = row.line
            files.lines += 1
        tell("lines of statements", files.lines)
    files.items, files.restated = fold.items, fold.restated
    return files


def _read_ledger(
    directory: Path,
    zones: Mapping[str, str],
    asked: set[tuple[str, ...]],
    shared: Shared,
    tell: Tell,
) -> tuple[LedgerSide, Placed]:
    """The ledger's side, and the id of the entry of each key that is asked for."""
    placed: dict[tuple[str, ...], str] = {}

    def entries() -> Iterator[Entry]:
        for entry in _entries(directory, tell):
            if (entry.effect.key,) in asked:
                placed[entry.effect.key,] = entry.id
            yield entry

    return fold_entries(entries(), zones, "UTC", LEDGER, shared), placed


def _entries(directory: Path, tell: Tell) -> Iterator[Entry]:
    """The items of the file as a ledger would hold them; one batch in memory at a time."""
    head = Head.genesis(ledger=LEDGER, origin=f"rehearsal.invalid/{LEDGER}")
    now = datetime.now(UTC)
    with (directory / "ledger.ndjson").open("rb") as file:
        batch: list[Admitted] = []
        for at, text in enumerate(file):
            effect = build_effect(parse_json(text), rules=LedgerRules(), now=now)
            batch.append(Admitted(effect=effect, id=str(UUID(int=at)), poster="shop"))
            if len(batch) == BATCH:
                entries, head = chain(head, batch, recorded_at="2026-01-01T00:00:00.000000Z")
                yield from entries
                batch = []
                tell("entries of the ledger", at + 1)
        entries, _ = chain(head, batch, recorded_at="2026-01-01T00:00:00.000000Z")
        yield from entries


def _scope(setup: Mapping[str, Any], accounts: Mapping[str, Account], files: _Files) -> Scope:
    asked = {name: date.fromisoformat(day) for name, day in setup["run"].items()}
    return Scope(
        today=asked["today"],
        period_from=asked["period_from"],
        period_to=asked["period_to"],
        coverage=coverage_of(files.statements),
        providers=providers_of(list(accounts.values())),
        banks=tuple(
            sorted(name for name, account in accounts.items() if account.side is Side.BANK)
        ),
        restated=frozenset(files.restated),
    )


def _compare(
    truth: Mapping[str, Any], found: Reconciliation, placed: Placed
) -> list[dict[str, Any]]:
    expected: dict[str, tuple[str, str | None, str]] = {}
    for planted in truth["planted"]:
        for located in planted["items"]:
            key = _key(located, placed)
            if (planted["leg"] == "payout_to_bank") and located["side"] == "provider":
                key = f"provider:payout-{key.partition(':')[2]}"
            expected[key] = (planted["state"], planted["sub_state"], planted["way"])
    stands: dict[str, tuple[str, str | None]] = {}
    wrong = []
    for standing in found.standings:
        state = (standing.state.value, standing.sub_state and standing.sub_state.value)
        for item in standing.items:
            if item.key in expected:
                stands[item.key] = state
            elif state[0] != State.MATCHED:
                planted_as = [State.MATCHED.value, None]
                wrong.append({"item": item.key, "way": None, "planted": planted_as, "found": state})
    return [
        {"item": key, "way": way, "planted": [state, sub_state], "found": stands.get(key)}
        for key, (state, sub_state, way) in expected.items()
        if stands.get(key) != (state, sub_state)
    ] + wrong


def _key(located: Mapping[str, Any], placed: Placed) -> str:
    """How an item of the truth is called here."""
    return key_of(Side(located["side"]), placed[_place(located)])
