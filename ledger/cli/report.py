"""Report: a bundle as pages for people, sealed on request."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from ledger.cli.files import check_writable, read_file, write_file
from ledger.cli.output import BAD_EVIDENCE, BAD_INPUT, JsonOption, Output, facts
from ledger.cli.sample import decimal_option
from ledger.cli.verify.bundle import check_bundle
from ledger.errors import MalformedProofError, SettingsError

PASSPHRASE = "EFFECT_LEDGER_SEAL_PASSPHRASE"  # noqa: S105 - the name of a variable


def report(
    bundle: Annotated[Path, typer.Argument(help="Directory or .zip of a bundle.")],
    *,
    out: Annotated[Path, typer.Option(help="PDF to write.")],
    vkey: Annotated[
        list[str] | None, typer.Option(help="The ledger's verifier key, from another channel.")
    ] = None,
    purpose: Annotated[str, typer.Option(help="What the report is for, in a sentence.")] = "",
    large: Annotated[str, typer.Option(help="Amounts from this size are exceptions.")] = "10000",
    sample: Annotated[
        Path | None, typer.Option(help="The .json of a sample that was drawn from the bundle.")
    ] = None,
    earlier: Annotated[
        list[Path] | None, typer.Option(help="Bundle of a period before, for the roll-forward.")
    ] = None,
    seal: Annotated[
        Path | None,
        typer.Option(
            help=f"PKCS #12 file to seal the PDF with; its passphrase is in {PASSPHRASE}."
        ),
    ] = None,
    tsa: Annotated[str | None, typer.Option(help="URL of a timestamp authority.")] = None,
    as_json: JsonOption = False,
) -> None:
    """
    Write the audit report of a bundle. The bundle is verified first, and what was found is its
    first line; the report of a bad one is written too, and says so.
    """
    # Imported here: it takes longer to load than most commands take to run.
    from ledger.audit import verify
    from ledger.audit.report.pages import print_report
    from ledger.audit.report.seal import seal as put_seal
    from ledger.audit.report.sections import sections, title_of
    from ledger.forms.letters import missing_fonts

    output = Output(as_json)
    check_bundle(bundle)
    check_writable(out)
    with ExitStack() as opened:
        try:
            keys = [verify.Key.parse(each) for each in vkey or ()]
            found = verify.open_bundle(bundle, opened)
            before = [verify.open_bundle(each, opened) for each in earlier or ()]
            verdict = verify.Verification(found, keys).run(None, [])
            pages = print_report(
                title_of(found.manifest),
                sections(
                    found,
                    verdict,
                    purpose=purpose,
                    large=decimal_option(large, "--large"),
                    sample=None if sample is None else _read_sample(sample),
                    earlier=before,
                ),
            )
        except verify.DamageError as damage:
            raise MalformedProofError(damage.message, check=damage.code) from damage
        except ValueError as error:
            raise SettingsError(f"--vkey is no verifier key: {error}") from error
    if seal is not None:
        passphrase = os.environ.get(PASSPHRASE, "")
        pages = put_seal(pages, pkcs12=seal, passphrase=passphrase, tsa_url=tsa)
    missing = missing_fonts(pages)
    if missing:
        output.note(
            f"Letters of {', '.join(missing)} are not in the file: who reads it needs these fonts, "
            "or install them here: pip install 'effect-ledger[pdf-cjk]'"
        )
    write_file(out, pages)
    told = verify.document(verdict, found.manifest)
    document = {
        "report": str(out),
        "bytes": len(pages),
        "sealed": seal is not None,
        "verified": told["verified"],
        "authenticated": told["authenticated"],
        "entries": told["entries"],
        "first_bad": told["first_bad"],
    }
    output.answer(document, facts(**document))
    if told["first_bad"]:
        raise typer.Exit(BAD_EVIDENCE)
    if not told["authenticated"]:
        raise typer.Exit(BAD_INPUT)


def _read_sample(path: Path) -> dict[str, Any]:
    try:
        sample: dict[str, Any] = orjson.loads(read_file(path))
    except orjson.JSONDecodeError as error:
        raise SettingsError(f"{path} is not JSON") from error
    return sample
