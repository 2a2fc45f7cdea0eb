"""Sample: entries of a bundle that an auditor looks at, chosen so that anyone can repeat it."""

from __future__ import annotations

import secrets
from contextlib import ExitStack
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from ledger.cli.files import check_writable, read_file
from ledger.cli.output import JsonOption, Output, QuietOption, facts
from ledger.cli.verify.bundle import check_bundle
from ledger.errors import MalformedProofError, SettingsError


class Method(StrEnum):
    """How entries are chosen."""

    ATTRIBUTE = "attribute"
    MONETARY_UNIT = "monetary-unit"
    RANDOM = "random"
    SYSTEMATIC = "systematic"
    STRATIFIED = "stratified"
    ABOVE = "above"


def sample(
    bundle: Annotated[Path, typer.Argument(help="Directory or .zip of a bundle.")],
    *,
    method: Annotated[Method, typer.Option(help=f"How entries are chosen: {', '.join(Method)}.")],
    out: Annotated[
        Path | None, typer.Option(help="Working paper to write (.xlsx), and .json beside it.")
    ] = None,
    seed: Annotated[
        str | None, typer.Option(help="Any text; drawn and printed where it is not given.")
    ] = None,
    confidence: Annotated[str, typer.Option(help="Per cent.")] = "95",
    tolerable: Annotated[
        str | None,
        typer.Option(help="Per cent for attribute, an amount for monetary-unit."),
    ] = None,
    expected: Annotated[int, typer.Option(min=0, help="Deviations that may be found.")] = 0,
    size: Annotated[int | None, typer.Option(min=1, help="Entries to choose.")] = None,
    bound: Annotated[
        list[str] | None,
        typer.Option(help="Amount at which a stratum begins, or above which all are taken."),
    ] = None,
    kind: Annotated[str | None, typer.Option(help="Only entries of this kind.")] = None,
    type_: Annotated[str | None, typer.Option("--type", help="Only entries of this type.")] = None,
    poster: Annotated[str | None, typer.Option(help="Only entries of this principal.")] = None,
    currency: Annotated[str | None, typer.Option(help="Only entries in this currency.")] = None,
    vkey: Annotated[
        list[str] | None, typer.Option(help="The ledger's verifier key, from another channel.")
    ] = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """
    Choose entries of a bundle by attribute, monetary-unit, random, systematic or stratified
    sampling, or all above an amount. The bundle is verified first, and from a bad one nothing is
    drawn; without --vkey the paper says that nobody you trust stands for it.
    """
    # Imported here: it takes longer to load than most commands take to run.
    from ledger.audit import verify
    from ledger.audit.drawing import Wanted, document, draw

    output = Output(as_json, quiet)
    check_bundle(bundle)
    if out is not None:
        if out.suffix != ".xlsx":
            raise SettingsError(
                f"{out} must end in .xlsx: it is a workbook, with a .json beside it"
            )
        check_writable(out)
    wanted = Wanted(
        method=method.value,
        seed=seed or secrets.token_hex(16),
        confidence=decimal_option(confidence, "--confidence"),
        tolerable=None if tolerable is None else decimal_option(tolerable, "--tolerable"),
        expected=expected,
        size=size,
        bounds=tuple(decimal_option(each, "--bound") for each in bound or ()),
        kind=kind,
        type=type_,
        poster=poster,
        currency=currency,
    )
    with ExitStack() as opened:
        try:
            found = verify.open_bundle(bundle, opened)
            keys = [verify.Key.parse(each) for each in vkey or ()]
            with output.progress("Verifying the bundle", "entries") as tell:
                verdict = verify.Verification(found, keys, progress=tell).run()
            if verdict.first is not None:
                raise verdict.first
            told = document(draw(found, wanted), is_authenticated=verdict.trusted)
        except ValueError as error:
            raise SettingsError(f"--vkey is no verifier key: {error}") from error
        except verify.DamageError as damage:
            raise MalformedProofError(damage.message, check=damage.code) from damage
        if out is not None:
            _write(out, told, found.manifest)
    output.answer(told, _prose(told, out))


def evaluate(
    drawn: Annotated[Path, typer.Argument(help="The .json that `sample --out` wrote.")],
    results: Annotated[
        Path,
        typer.Argument(
            help="CSV with the columns seq, and audited, deviation, or both; a line each."
        ),
    ],
    *,
    as_json: JsonOption = False,
) -> None:
    """What the results of a sample say of its population."""
    from ledger.audit.drawing import FORMATS
    from ledger.audit.results import evaluate as evaluate_results

    try:
        told = orjson.loads(read_file(drawn))
    except orjson.JSONDecodeError as error:
        raise SettingsError(f"{drawn} is not JSON") from error
    if not isinstance(told, dict) or told.get("format") not in FORMATS:
        raise SettingsError(f"{drawn} is not a sample: name the .json that `sample --out` wrote")
    found = evaluate_results(told, read_file(results).decode("utf-8-sig", errors="replace"))
    Output(as_json).answer(found, facts(**found))


def decimal_option(text: str, option: str) -> Decimal:
    """
    The number of an option.

    Raises:
        SettingsError: It is none.
    """
    try:
        value = Decimal(text)
    except InvalidOperation as error:
        raise SettingsError(f"{option} must be a decimal number, not {text[:40]!r}") from error
    if not value.is_finite():
        raise SettingsError(f"{option} must be a decimal number, not {text[:40]!r}")
    return value


def _write(out: Path, told: dict[str, Any], manifest: dict[str, Any]) -> None:
    from ledger.audit.paper import write_paper
    from ledger.forms.timestamps import parse_time

    write_paper(out, told, made_at=parse_time(manifest["close"]["recorded_at"]))
    beside = out.with_suffix(".json")
    beside.write_bytes(orjson.dumps(told, option=orjson.OPT_INDENT_2) + b"\n")


def _prose(told: dict[str, Any], out: Path | None) -> str:
    population, parameters = told["population"], told["parameters"]
    head = facts(
        method=told["method"],
        seed=parameters["seed"],
        population=f"{population['count']:,} entries"
        + (f", {population['sum']}" if population["sum"] is not None else ""),
        digest=population["digest"],
        interval=parameters["interval"],
        start=parameters["start"],
        left_out=told["left_out"] or None,
        written=out,
    )
    chosen = "\n".join(
        f"  {item['seq']:>10}  {item['id']}  {item['amount'] or '':>16} {item['currency'] or ''}"
        for item in told["items"]
    )
    headline = f"{len(told['items'])} entries chosen"
    if (parameters["size"] or 0) > population["count"]:
        headline = (
            f"All {population['count']} entries of the population chosen; {parameters['size']} "
            "were asked for"
        )
    if not told["authenticated"]:
        headline += "\nNOT AUTHENTICATED: give the ledger's key with --vkey, from another channel"
    return f"{headline}\n{head}\n{chosen}"
