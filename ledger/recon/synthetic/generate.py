"""
Generate: from a plan to a directory with every side's files, a setup and the truth.

    ledger.ndjson        for `effect-ledger import`
    reports/...          of the providers and the bank
    setup.json           sources, files with their control totals, and the run to make
    truth.json           every planted break and where it must be found to stand
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from ledger.recon.synthetic import bank_files, breaking, ledger_file, ordinary, provider_files
from ledger.recon.synthetic.payouts import pay_out
from ledger.recon.synthetic.plan import Plan
from ledger.recon.synthetic.world import (
    ADYEN,
    BANK_CAMT,
    BANK_MT940,
    PROVIDERS,
    STRIPE,
    ZONE,
    World,
)

LEDGER_FILE = "ledger.ndjson"
SETUP_FILE = "setup.json"
TRUTH_FILE = "truth.json"
TRUTH_FORMAT = "effect-ledger/recon-truth/v1"
BANK = "synthetic-bank"

Tell = Callable[[int, int | None], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Generated:
    """What was written."""

    directory: Path
    items: int
    lines: int
    """Of the providers."""
    bank_lines: int
    breaks: int
    files: int


def generate(plan: Plan, directory: Path, tell: Tell = lambda _done, _of: None) -> Generated:
    """
    Write the plan's files into `directory`, which is made where it is not there.

    Args:
        plan: How much, and of which days.
        directory: Where to; files of the same names are replaced.
        tell: Told how many of about how many lines there are.
    """
    world = build_world(plan, tell)
    reports = directory / "reports"
    reports.mkdir(parents=True, exist_ok=True)
    imports = []
    for source, name, text, controls in _reports(world):
        (reports / name).write_text(text, encoding="utf-8", newline="")
        imports.append({"source": source, "file": f"reports/{name}", "controls": controls})
    with (directory / LEDGER_FILE).open("wb") as file:
        file.writelines(ledger_file.items(world.told))
    _write_json(directory / SETUP_FILE, setup_document(plan, imports))
    _write_json(directory / TRUTH_FILE, truth_document(world))
    return Generated(
        directory=directory,
        items=len(world.told),
        lines=len(world.shown),
        bank_lines=len(world.arrived),
        breaks=len(world.planted),
        files=len(imports),
    )


def build_world(plan: Plan, tell: Tell = lambda _done, _of: None) -> World:
    """Everything that is said, with the breaks among it; not yet written."""
    world = World(plan)
    for at in range(plan.breaks):
        way = breaking.WAYS[at % len(breaking.WAYS)]
        turn = at // len(breaking.WAYS) + at
        way(world, STRIPE if way in breaking.STRIPE_ONLY else PROVIDERS[turn % len(PROVIDERS)])
    ways, weights = zip(*ordinary.WAYS, strict=True)
    while len(world.shown) < plan.lines:
        way = world.chance.choices(ways, weights=weights)[0]
        way(world, world.chance.choice(PROVIDERS))
        if len(world.shown) % 1_000 == 0:
            tell(len(world.shown), plan.lines)
    pay_out(world)
    provider_files.name_rows(world.shown)
    return world


def _reports(world: World) -> Iterator[tuple[str, str, str, list[Any]]]:
    """Source, name, text and control totals of every file."""
    plan = world.plan
    for name, text, controls in provider_files.stripe_files(plan, world.shown):
        yield STRIPE, name, text, controls
    if world.restated:
        rows = provider_files.in_order(world.restated)
        text = "".join(provider_files.stripe_row(row, more=-1) for row in rows)
        # Only some rows of days that another report covers whole: it brings no totals.
        yield STRIPE, "stripe-restated.csv", provider_files.STRIPE_HEAD + text, []
    for name, text in provider_files.adyen_files(world.shown):
        yield ADYEN, name, text, []
    for name, text in bank_files.camt_files(plan, world.arrived):
        yield BANK_CAMT, name, text, []
    for name, text in bank_files.mt940_files(plan, world.arrived):
        yield BANK_MT940, name, text, []


def setup_document(plan: Plan, imports: list[Any]) -> Mapping[str, Any]:
    """Sources as finance would set them up, and what to do with the files."""
    rules = {
        "tolerances": [
            {
                "kind": "payment",
                "currency": "EUR",
                "cap_minor": breaking.TOLERATED,
                "becomes": "rounding",
                "automatic": True,
            }
        ],
        "fee_caps": {"EUR": breaking.CHARGE_MAX},
    }
    return {
        "synthetic": True,
        "sources": [
            {"name": STRIPE, "side": "provider", "provider": STRIPE, "iana_tz": ZONE,
             "report_type": "stripe.itemized", "account_ref": "acct_synthetic", **rules},
            {"name": ADYEN, "side": "provider", "provider": ADYEN, "iana_tz": ZONE,
             "report_type": "adyen.settlement_details",
             "account_ref": provider_files.MERCHANT, **rules},
            {"name": BANK_CAMT, "side": "bank", "provider": BANK, "iana_tz": ZONE,
             "report_type": "camt.053", "account_ref": bank_files.IBAN},
            {"name": BANK_MT940, "side": "bank", "provider": BANK, "iana_tz": ZONE,
             "report_type": "mt940", "account_ref": bank_files.MT940_ACCOUNT},
        ],
        "imports": imports,
        "run": {
            "period_from": plan.first.isoformat(),
            "period_to": plan.last.isoformat(),
            "today": plan.today.isoformat(),
        },
    }  # fmt: skip


def truth_document(world: World) -> Mapping[str, Any]:
    """Every planted break; whatever is not named here is matched."""
    return {
        "format": TRUTH_FORMAT,
        "synthetic": True,
        "seed": world.plan.seed,
        "everything_else": "matched",
        "planted": [planted.document(number) for number, planted in enumerate(world.planted, 1)],
    }


def _write_json(path: Path, document: Mapping[str, Any]) -> None:
    path.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")
