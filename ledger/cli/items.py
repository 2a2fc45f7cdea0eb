"""
Items: many entries from one file, a JSON object with its kind and key on each line.

What an item must be is for the service; here they are counted, sent in batches and answered
for by line number. Every line has its key, so the same file may be sent again at any time.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import orjson
import typer

from ledger.cli.output import BAD_EVIDENCE, JsonOption, LedgerArgument, Output, QuietOption, facts
from ledger.cli.remote import Remote, open_remote
from ledger.client.errors import WORLDS
from ledger.client.requests import ledger_path
from ledger.errors import LedgerError, SettingsError

FileArgument = Annotated[Path, typer.Argument(help="NDJSON, one item per line; - is stdin.")]
ErrorsOption = Annotated[
    Path | None, typer.Option("--errors", help="Write refused lines and their problems here.")
]

BATCH_ITEMS_MAX = 500
# Half of what the service takes, so that a line more never makes a batch too large.
BATCH_BYTES_MAX = 4 * 1024 * 1024
LINE_BYTES_MAX = 2 * 1024 * 1024
QUESTION_ITEMS_MAX = 1_000
REFUSED_SHOWN_MAX = 20
# A long import outlives a restart of the service.
IMPORT_PATIENCE_S = 120.0


@dataclass(frozen=True, slots=True)
class Line:
    """One item, as it stands in the file."""

    number: int
    """One-based."""
    text: bytes


@dataclass(slots=True)
class Tally:
    """What became of the items so far."""

    recorded: int = 0
    replayed: int = 0
    refused: int = 0
    unlinked: int = 0
    """Corrections of originals that were recorded elsewhere: no position follows them."""
    totals: dict[str, dict[str, Decimal]] = field(default_factory=dict)
    """Currency -> flow -> sum over what was recorded, now or before."""
    lines_refused: list[dict[str, Any]] = field(default_factory=list)

    @property
    def seen(self) -> int:
        """How many items have an answer."""
        return self.recorded + self.replayed + self.refused

    def count(self, line: Line, result: dict[str, Any]) -> dict[str, Any] | None:
        """Count the answer to one line; the refusal, where it is one."""
        if "problem" in result:
            self.refused += 1
            problem = result["problem"]
            refusal = {"line": line.number, "key": result["key"], "problem": problem}
            if len(self.lines_refused) < REFUSED_SHOWN_MAX:
                self.lines_refused.append(refusal)
            return refusal
        if result["result"].get("replayed"):
            self.replayed += 1
        else:
            self.recorded += 1
        item = orjson.loads(line.text)
        self.unlinked += "corrects_external" in item
        money = item.get("money")
        if money:
            flows = self.totals.setdefault(money["currency"], {"in": Decimal(0), "out": Decimal(0)})
            flows[money["flow"]] += Decimal(money["amount"])
        return None

    def document(self) -> dict[str, Any]:
        """The counts as JSON; amounts are strings."""
        return {
            "recorded": self.recorded,
            "replayed": self.replayed,
            "refused": self.refused,
            "unlinked": self.unlinked,
            "totals": {
                currency: {flow: f"{amount:f}" for flow, amount in flows.items()}
                for currency, flows in sorted(self.totals.items())
            },
            "lines_refused": self.lines_refused,
        }


def import_file(
    ledger: LedgerArgument,
    file: FileArgument,
    *,
    errors: ErrorsOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> int:
    """
    Record every item of a file; safe to repeat.

    Each line stands or falls alone.
    """
    output = Output(as_json, quiet)
    tally = Tally()
    with (
        open_remote() as remote,
        _open(file) as source,
        _refusals(errors) as refuse,
        output.progress("Importing", "items") as tell,
    ):
        total = _count(source, file)
        for batch in batches(lines_of(source, file)):
            answer = _send(remote, ledger, batch, tally, file)
            for line, result in zip(batch, answer["items"], strict=True):
                refusal = tally.count(line, result)
                if refusal is not None:
                    refuse(refusal, line)
            tell(tally.seen, total)
    output.answer({"ledger": ledger, **tally.document()}, _prose(ledger, tally, errors))
    for refusal in tally.lines_refused:
        output.note(_refusal_line(refusal))
    if tally.refused > len(tally.lines_refused):
        output.note(f"  and {tally.refused - len(tally.lines_refused):,} more")
    return BAD_EVIDENCE if tally.refused else 0


def dry_run(ledger: LedgerArgument, file: FileArgument, as_json: JsonOption = False) -> int:
    """
    Say what `import` would do with a file, and leave no trace.

    For up to 1,000 items, which see those before them.
    """
    output = Output(as_json)
    with open_remote() as remote, _open(file) as source:
        lines = list(lines_of(source, file))
        if len(lines) > QUESTION_ITEMS_MAX:
            # Parts would not see each other: corrections of items before them would fail.
            raise SettingsError(
                f"{file} has {len(lines):,} items; a dry run takes up to {QUESTION_ITEMS_MAX:,}"
            )
        if not lines:
            raise SettingsError(f"{file} has no items")
        answer = remote.post(
            ledger_path(ledger, "/batch"),
            _join(lines),
            query={"mode": "independent", "dry_run": "true"},
        )
    refused = [
        {"line": line.number, "key": result["key"], "problem": result["problem"]}
        for line, result in zip(lines, answer["items"], strict=True)
        if "problem" in result
    ]
    replays = sum(bool(item.get("result", {}).get("replays")) for item in answer["items"])
    fresh = len(lines) - len(refused) - replays
    output.answer(
        {
            "ledger": ledger,
            "provisional": True,
            "would_record": fresh,
            "would_replay": replays,
            "would_refuse": len(refused),
            "lines_refused": refused,
        },
        f"{WORLDS['RML1']}: nothing was written. Of {len(lines):,} items, {fresh:,} would be "
        f"recorded, {replays:,} replayed and {len(refused):,} refused.",
    )
    for refusal in refused[:REFUSED_SHOWN_MAX]:
        output.note(_refusal_line(refusal))
    return BAD_EVIDENCE if refused else 0


def lines_of(source: BinaryIO, file: Path) -> Iterator[Line]:
    """
    The items of a file, blank lines left out.

    Raises:
        SettingsError: A line is longer than any item can be.
    """
    number = 0
    while text := source.readline(LINE_BYTES_MAX + 1):
        number += 1
        if len(text) > LINE_BYTES_MAX:
            raise SettingsError(
                f"{file} line {number} has more than {LINE_BYTES_MAX:,} bytes; an item is one line"
            )
        if text.strip():
            yield Line(number, text.rstrip(b"\r\n"))


def batches(lines: Iterable[Line]) -> Iterator[list[Line]]:
    """Lines in runs that one request may carry, in order."""
    batch: list[Line] = []
    size = 0
    for line in lines:
        if batch and (len(batch) == BATCH_ITEMS_MAX or size + len(line.text) > BATCH_BYTES_MAX):
            yield batch
            batch, size = [], 0
        batch.append(line)
        size += len(line.text) + 1
    if batch:
        yield batch


def _count(source: BinaryIO, file: Path) -> int | None:
    """How many items there will be; None where they come through a pipe."""
    if not source.seekable():
        return None
    start = source.tell()
    # Reading is nothing beside sending. A line that is too long is found before any is sent.
    total = sum(1 for _ in lines_of(source, file))
    source.seek(start)
    return total


def _send(remote: Remote, ledger: str, batch: list[Line], tally: Tally, file: Path) -> Any:
    try:
        return remote.post(
            ledger_path(ledger, "/batch"),
            _join(batch),
            query={"mode": "independent"},
            patience_s=IMPORT_PATIENCE_S,
        )
    except LedgerError as error:
        if not tally.seen:
            raise
        error.message += (
            f" (after {tally.seen:,} items of {file}, up to line {batch[0].number - 1:,}; "
            "the same command goes on, and replays what is recorded)"
        )
        raise


def _join(lines: Iterable[Line]) -> bytes:
    return b"\n".join(line.text for line in lines) + b"\n"


@contextmanager
def _open(file: Path) -> Iterator[BinaryIO]:
    if str(file) == "-":
        yield sys.stdin.buffer
        return
    try:
        source = file.open("rb")
    except OSError as error:
        raise SettingsError(f"{file} cannot be read: {error.strerror}") from error
    with source:
        yield source


@contextmanager
def _refusals(path: Path | None) -> Iterator[Any]:
    """Write refusals with their lines to a file, where one is wanted."""
    if path is None:
        yield lambda _refusal, _line: None
        return
    try:
        target = path.open("wb")
    except OSError as error:
        raise SettingsError(f"{path} cannot be written: {error.strerror}") from error
    with target:

        def refuse(refusal: dict[str, Any], line: Line) -> None:
            text = line.text.decode(errors="replace")
            target.write(orjson.dumps({**refusal, "item": text}) + b"\n")

        yield refuse


def _refusal_line(refusal: dict[str, Any]) -> str:
    problem = refusal["problem"]
    world = WORLDS.get(problem["world"], problem["world"])
    return f"  line {refusal['line']:,}: {world}: {problem['detail']} ({problem['code']})"


def _prose(ledger: str, tally: Tally, errors: Path | None) -> str:
    told = facts(
        recorded=f"{tally.recorded:,}",
        replayed=f"{tally.replayed:,} (were there already)",
        refused=f"{tally.refused:,}{f', in {errors}' if errors and tally.refused else ''}",
        unlinked=f"{tally.unlinked:,} (correct originals recorded elsewhere)"
        if tally.unlinked
        else None,
    )
    sums = "".join(
        f"\n  {currency}  {flows['in']:f} in, {flows['out']:f} out"
        for currency, flows in sorted(tally.totals.items())
    )
    items = f"{tally.seen:,} item{'s' * (tally.seen != 1)} for {ledger}"
    stands = tally.recorded + tally.replayed
    if not stands:
        headline = f"{WORLDS['RML1']}: nothing was recorded of {items}."
    elif tally.refused:
        headline = f"{WORLDS['RML3']}: {stands:,} of {items}."
    else:
        headline = f"{WORLDS['RML3']}: {items}."
    return f"{headline}\n{told}" + (
        f"\nTotals of what the ledger holds of this file{sums}" if sums else ""
    )
