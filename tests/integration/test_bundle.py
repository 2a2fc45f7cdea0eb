"""
Laws of bundles: the same bytes for the same request, and every kind of damage caught by verify.py.

verify.py is run as an auditor runs it: the file in the bundle, by an interpreter that knows nothing
of this project; with the package `cryptography` beside it, and with the standard library alone.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pyarrow import parquet
from typer.testing import CliRunner

from ledger.anchoring.stamper import ask_timestamp
from ledger.anchoring.tsa import HttpAuthority
from ledger.audit import verify
from ledger.audit.kept import KEPT_S
from ledger.audit.parquet import write_parquet
from ledger.audit.selection import Selection
from ledger.canonical import canonical_bytes
from ledger.cli.bundles import read_sample
from ledger.cli.main import app
from ledger.entry import PosterSignature, effect_signing_bytes
from ledger.errors import NotFoundError, SettingsError
from ledger.rfc3161 import load_authorities
from tests.faults.house import House, asks, open_house
from tests.integration.authorities import authority, listening
from tests.integration.rooms import (
    AUDITOR,
    EVERYTHING,
    Room,
    open_room,
    record_april,
    record_march,
)

WITHIN_S = 30.0
# -I: nothing from the environment or the working directory. -S: no installed packages either.
INTERPRETERS = {"with-cryptography": ["-I"], "standard-library": ["-I", "-S"]}


@dataclass(frozen=True, kw_only=True)
class Taken:
    """Bundles of three periods, and of another ledger."""

    vkey: str
    other_vkey: str
    march: Path
    april: Path
    may: Path
    selection: Path
    other: Path
    later_checkpoint: bytes


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with open_house() as opened:
        yield opened


@pytest.fixture(scope="module")
def room(house, tmp_path_factory) -> Room:
    return open_room(house, tmp_path_factory.mktemp("exports") / "made")


@pytest.fixture(scope="module")
def taken(house, room, tmp_path_factory) -> Taken:
    base = tmp_path_factory.mktemp("taken")
    ledger, other = house.open_ledger(), house.open_ledger()
    for name in (ledger, other):
        record_march(house, name)
        room.closing.close(name, "2026-03", preparer="anna", reviewer="ben")
    record_april(house, ledger)
    room.closing.close(ledger, "2026-04", preparer="anna")
    house.record(ledger, asks("may", occurred_at="2026-05-02T00:00:00Z"))
    room.closing.close(ledger, "2026-05", preparer="anna")
    return Taken(
        vkey=house.reader.ledger(ledger).vkey,
        other_vkey=house.reader.ledger(other).vkey,
        march=room.unpacked(ledger, "2026-03", base),
        april=room.unpacked(ledger, "2026-04", base),
        may=room.unpacked(ledger, "2026-05", base),
        selection=room.unpacked(ledger, "2026-03", base, Selection(type="card.capture")),
        other=room.unpacked(other, "2026-03", base),
        later_checkpoint=house.reader.checkpoint(ledger),
    )


def run(bundle: Path, *arguments: str | Path, flags: list[str] = INTERPRETERS["standard-library"]):
    """verify.py of the bundle, run as an auditor runs it; exit code and what it found."""
    done = subprocess.run(
        [sys.executable, *flags, bundle / "verify.py", bundle, "--json", *map(str, arguments)],
        capture_output=True,
        encoding="utf-8",
        cwd="/",
        env={},
        check=False,
    )
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


# ---- What is good ----


@pytest.mark.parametrize("flags", INTERPRETERS.values(), ids=INTERPRETERS)
@pytest.mark.parametrize("which", ["march", "april", "may", "selection"])
def test_a_bundle_proves_itself_offline(taken, which, flags):
    code, told = run(getattr(taken, which), "--vkey", taken.vkey, flags=flags)

    assert (code, told["findings"], told["verified"]) == (0, [], True)
    assert told["complete"] is (which != "selection")


def test_the_verifier_needs_nothing_of_ours(taken):
    """The copy in the bundle is the module, byte for byte, and imports no module of ours."""
    source = (taken.march / "verify.py").read_bytes()

    assert source == Path(verify.__file__).read_bytes()
    lines = [line.strip() for line in source.decode().splitlines()]
    assert not [each for each in lines if each.startswith(("from ledger", "import ledger"))]


def test_without_a_trusted_key_nothing_is_said_to_be_good(taken):
    code, told = run(taken.march)

    assert (code, told["verified"], told["authenticated"]) == (2, False, False)
    assert told["findings"] == []


def test_a_period_is_joined_to_the_one_before_it(taken):
    code, told = run(taken.april, "--vkey", taken.vkey, "--previous", taken.march)

    assert (code, told["notes"]) == (0, [])
    assert verify.JOINED in told["checked"]


def test_a_packed_bundle_is_as_good(taken, room):
    ledger = orjson.loads((taken.march / "manifest.json").read_bytes())["ledger"]
    _, packed = room.made(ledger, "2026-03")
    verdict, manifest = verify.verify(packed, [verify.Key.parse(taken.vkey)])

    assert (verdict.code, manifest["ledger"]) == (0, ledger)
    with zipfile.ZipFile(packed) as opened:
        assert {each.date_time for each in opened.infolist()} == {(1980, 1, 1, 0, 0, 0)}


@pytest.mark.parametrize("more", [0, 1])
def test_sizes_that_a_zip_states_twice_are_the_same(taken, room, tmp_path, more):
    """Python 3.11.2 leaves sizes that fit where they stand, and repeats them in the wide field."""
    ledger = orjson.loads((taken.march / "manifest.json").read_bytes())["ledger"]
    _, packed = room.made(ledger, "2026-03")
    octets = bytearray(packed.read_bytes())
    with zipfile.ZipFile(packed) as opened:
        for each in opened.infolist():
            named = int.from_bytes(octets[each.header_offset + 26 :][:2], "little")
            struct.pack_into(
                "<2L", octets, each.header_offset + 18, each.compress_size, each.file_size
            )
            struct.pack_into(
                "<2Q",
                octets,
                each.header_offset + 30 + named + 4,
                each.file_size + more,
                each.compress_size,
            )
    twice = tmp_path / "twice.zip"
    twice.write_bytes(octets)

    verdict, _ = verify.verify(twice, [verify.Key.parse(taken.vkey)])

    assert [each.code for each in verdict.findings] == ["zip.contradiction"] * more


def kept_receipt(house: House, bundle: Path, seq: int, into: Path, *, whole: bool = False) -> Path:
    """The receipt of an entry, as somebody kept it: in JSON, or in one file."""
    ledger = orjson.loads((bundle / "manifest.json").read_bytes())["ledger"]
    receipt = house.reader.receipt(ledger, seq)
    path = into / f"receipt-{seq}{'.tlog-proof' if whole else '.json'}"
    path.write_text(receipt.to_text() if whole else json.dumps({"receipt": receipt.to_document()}))
    return path


def test_a_receipt_that_somebody_kept_is_found_in_the_bundle(house, taken, tmp_path):
    """Also the one of the close itself; and the command says what verify.py says."""
    kept = kept_receipt(house, taken.march, 3, tmp_path)
    whole = kept_receipt(house, taken.march, 4, tmp_path, whole=True)
    close = kept_receipt(house, taken.march, 18, tmp_path)
    receipts = [part for each in (kept, whole, close) for part in ("--receipt", each)]

    code, told = run(taken.march, "--vkey", taken.vkey, *receipts)
    assert (code, told["unrelated"], told["findings"]) == (0, [], [])
    for each in (kept, whole, close):
        assert f"that the bundle has the entry of {each.name}" in told["checked"]
    judged = orjson.loads(judge(taken.march, "--vkey", taken.vkey, *receipts, "--json"))
    assert (judged["verified"], judged["checked"]) == (True, told["checked"])


def test_a_genuine_receipt_of_another_entry_is_evidence_against_the_bundle(house, taken, tmp_path):
    kept = kept_receipt(house, taken.march, 7, tmp_path)
    bundle = shutil.copytree(taken.march, tmp_path / "bundle")
    entry_byte(bundle, taken)
    code, told = run(bundle, "--vkey", taken.vkey, "--receipt", kept)

    assert (code, told["unrelated"]) == (1, [])
    assert "receipt.forked" in {each["code"] for each in told["findings"]}


NO_RECEIPTS: dict[str, tuple[str, Callable[[str], str]]] = {
    "forged": (
        "receipt.bad",
        lambda text: text.replace("because", "BECAUSE").replace("desk", "dusk"),
    ),
    "unsigned": (
        "receipt.bad",
        lambda _: json.dumps({"receipt": {"entry": '{"seq":3}', "proof": ""}}),
    ),
    "nothing": ("receipt.bad", lambda _: ""),
    "no-object": ("receipt.bad", lambda _: "[1]"),
    "deep": ("receipt.bad", lambda _: "[" * 200_000),
    "deep-entry": (
        "receipt.bad",
        lambda text: json.dumps(json.loads(text)["receipt"] | {"entry": "[" * 200_000}),
    ),
    "signed-by-nobody": ("receipt.bad", lambda text: text.replace("\\u2014 ", "\\u2014 x")),
}


@pytest.mark.parametrize("name", NO_RECEIPTS)
def test_a_bad_receipt_says_nothing_of_the_bundle(house, taken, tmp_path, name):
    """It ends with 2 and names the receipt; the bundle is as good as it was."""
    code, change = NO_RECEIPTS[name]
    path = kept_receipt(house, taken.march, 3, tmp_path)
    path.write_text(change(path.read_text()))
    exit_code, told = run(taken.march, "--vkey", taken.vkey, "--receipt", path)

    assert (exit_code, told["verified"], told["findings"]) == (2, False, [])
    assert [each["code"] for each in told["unrelated"]] == [code]
    assert path.name in told["unrelated"][0]["message"]
    done = CliRunner().invoke(
        app, ["verify", str(taken.march), "--vkey", taken.vkey, "--receipt", str(path)]
    )
    assert "NOT COMPARED: the bundle is good" in done.stdout


def test_a_receipt_too_large_to_be_one_says_nothing_of_the_bundle(house, taken, tmp_path):
    """It is named and not read, and the other receipts and the bundle are judged all the same."""
    path, kept = tmp_path / "large.json", kept_receipt(house, taken.march, 3, tmp_path)
    with path.open("wb") as file:
        file.truncate(verify.SMALL_FILE_BYTES_MAX + 1)
    receipts = ("--receipt", path, "--receipt", kept)
    code, told = run(taken.march, "--vkey", taken.vkey, *receipts)

    assert (code, told["findings"]) == (2, [])
    assert [each["code"] for each in told["unrelated"]] == ["receipt.bad"]
    assert "large.json has over 64 MiB" in told["unrelated"][0]["message"]
    assert f"that the bundle has the entry of {kept.name}" in told["checked"]
    done = CliRunner().invoke(
        app,
        ["verify", str(taken.march), "--vkey", taken.vkey, *map(str, receipts)],
        standalone_mode=False,
    )
    assert (done.return_value, "NOT COMPARED: the bundle is good" in done.stdout) == (2, True)


def test_what_would_not_be_looked_at_is_refused(house, taken, tmp_path):
    """A receipt beside a receipt: nothing is called good that nobody compared."""
    path = kept_receipt(house, taken.march, 3, tmp_path)
    command = ["verify", str(path), "--vkey", taken.vkey, "--receipt", str(path)]
    assert isinstance(CliRunner().invoke(app, command).exception, SettingsError)


def test_a_receipt_of_another_period_or_ledger_is_told_as_that(house, taken, tmp_path):
    elsewhere = kept_receipt(house, taken.april, 20, tmp_path)
    code, told = run(taken.march, "--vkey", taken.vkey, "--receipt", elsewhere)
    assert (code, [each["code"] for each in told["unrelated"]]) == (2, ["receipt.other"])

    other = kept_receipt(house, taken.other, 3, tmp_path)
    code, told = run(taken.march, "--vkey", taken.vkey, "--receipt", other)
    assert (code, [each["code"] for each in told["unrelated"]]) == (2, ["receipt.bad"])


def test_what_somebody_wrote_into_names_does_not_speak_for_the_verifier(taken, tmp_path):
    """Escape sequences and line ends of names are shown and not obeyed, whoever prints."""
    bundle = shutil.copytree(taken.march, tmp_path / "bundle")
    (bundle / "x\x1b[2J\x1b[HGOOD: nothing\nGOOD: was \u202echanged\x1b[8m").write_text("x")
    printed = subprocess.run(
        [sys.executable, "-I", bundle / "verify.py", bundle, "--vkey", taken.vkey],
        capture_output=True,
        encoding="utf-8",
        check=False,
    ).stdout

    for told in (printed, judge(bundle, "--vkey", taken.vkey)):
        assert all(line.isprintable() for line in told.splitlines())
        assert not any(line.startswith("GOOD") for line in told.splitlines())
        assert "x\\x1b[2J\\x1b[HGOOD: nothing\\nGOOD: was \\u202echanged" in told


@pytest.fixture(scope="module")
def reviewed(house, room, taken, tmp_path_factory) -> Path:
    """March, with the receipt of a review in its envelope."""
    ledger = orjson.loads((taken.march / "manifest.json").read_bytes())["ledger"]
    close, _ = room.closing.review(ledger, "2026-03", reviewer="ben")
    bundle = shutil.copytree(taken.march, tmp_path_factory.mktemp("reviewed") / "march")
    receipt = house.reader.receipt(ledger, close.reviews[0].seq).to_document()
    (bundle / "envelope").mkdir()
    (bundle / "envelope" / "reviews.jsonl").write_bytes(orjson.dumps(receipt) + b"\n")
    return bundle


def test_a_reviewer_who_is_only_named_is_told_from_one_who_confirmed(taken, reviewed):
    code, named = run(taken.march, "--vkey", taken.vkey)
    assert (code, named["reviews"]) == (0, [])
    assert "ben reviewed the close by the word of its preparer" in named["notes"][0]

    code, told = run(reviewed, "--vkey", taken.vkey)
    assert (code, told["notes"]) == (0, [])
    assert [each["reviewer"] for each in told["reviews"]] == ["ben"]


@pytest.mark.parametrize(
    ("made_up", "says"),
    [
        ((b"ben", b"eve"), "is not in the tree that was signed"),
        ((b"ben", b"anna"), "prepared the close, and reviewed it too"),
        ((b"period.reviewed", b"period.reviewer"), "is of another close"),
        ((b"tlog-proof@v1", b"tlog-proof@v2"), "no receipt of a review"),
        ((b'{"level"', b"[" * 200_000), "no receipt of a review"),
    ],
)
def test_a_review_that_was_made_up_is_found_out(taken, reviewed, tmp_path, made_up, says):
    bundle = shutil.copytree(reviewed, tmp_path / "bundle")
    path = bundle / "envelope" / "reviews.jsonl"
    path.write_bytes(path.read_bytes().replace(*made_up))
    code, told = run(bundle, "--vkey", taken.vkey)

    assert (code, told["first_bad"]["code"]) == (1, "review.bad")
    assert says in told["first_bad"]["message"]


def test_a_timestamp_of_the_manifest_stands_beside_what_was_signed(house, taken, tmp_path):
    """Where an authority answers; where it is away the bundle is as good, and says so."""
    ledger = orjson.loads((taken.march / "manifest.json").read_bytes())["ledger"]
    tsa = authority(tmp_path / "tsa")
    authorities = load_authorities(tsa.root)
    with listening(tsa) as where:
        transport = HttpAuthority(where)
        room = open_room(
            house,
            tmp_path / "made",
            lambda octets: ask_timestamp(transport, octets, authorities),
        )
        told, packed = room.made(ledger, "2026-03")
        tsa.refuses = True
        away, packed_again = room.made(ledger, "2026-03")
        transport.close()
    assert packed.read_bytes() == packed_again.read_bytes()
    assert "answers 503" in away["bundle"]["timestamp"]["error"]

    bundle = shutil.copytree(taken.march, tmp_path / "bundle")
    token = base64.b64decode(told["bundle"]["timestamp"]["token"])
    (bundle / "envelope").mkdir()
    (bundle / "envelope" / "manifest.tsr").write_bytes(token)
    code, found = run(bundle, "--vkey", taken.vkey)
    assert (code, verify.STAMPED in found["not_checked"]) == (0, True)
    assert f"was there at {told['bundle']['timestamp']['at'][:19]}Z" in " ".join(found["notes"])
    command = ("verify", str(bundle), "--vkey", taken.vkey, "--json")
    done = CliRunner().invoke(app, [*command, "--tsa-certificates", str(tsa.root)])
    judged = orjson.loads(done.stdout)
    assert judged["timestamp"]["at"] == told["bundle"]["timestamp"]["at"]
    assert verify.STAMPED not in judged["not_checked"]
    other = authority(tmp_path / "other")
    done = CliRunner().invoke(app, [*command, "--tsa-certificates", str(other.root)])
    refused = orjson.loads(done.stdout)
    assert (refused["verified"], refused["first_bad"]["check"]) == (False, "timestamp")

    elsewhere = shutil.copytree(taken.april, tmp_path / "april")
    (elsewhere / "envelope").mkdir()
    for octets, says in ((token, "something else than this"), (token[:-9], "no timestamp")):
        (elsewhere / "envelope" / "manifest.tsr").write_bytes(octets)
        code, found = run(elsewhere, "--vkey", taken.vkey)
        assert (code, found["first_bad"]["code"]) == (1, "timestamp.bad")
        assert says in found["first_bad"]["message"]


def test_tables_are_parquet_for_those_who_compute(taken, tmp_path):
    """Row by row what the tables say, typed; and the same bytes each time with one release."""
    first, again = (write_parquet(taken.march, tmp_path / name) for name in ("a", "b"))
    assert [path.name for path in first] == [f"{table}.parquet" for table in verify.COLUMNS]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]
    for path in first:
        lines = (taken.march / "tables" / f"{path.stem}.csv").read_text().splitlines()
        assert parquet.read_table(path).num_rows == len(lines) - 1
    table = parquet.read_table(tmp_path / "a" / "entries.parquet")
    assert table.column("seq").to_pylist() == list(range(18))
    assert sum(each for each in table.column("amount").to_pylist() if each) == Decimal("166.00")
    assert table.schema.field("recorded_at").type.tz == "UTC"


def test_an_empty_selection_shows_nothing_and_is_not_called_good(room, taken, tmp_path):
    ledger = orjson.loads((taken.march / "manifest.json").read_bytes())["ledger"]
    bundle = room.unpacked(ledger, "2026-03", tmp_path, Selection(type="no.such"))
    code, told = run(bundle, "--vkey", taken.vkey)
    judged = orjson.loads(judge(bundle, "--vkey", taken.vkey, "--json"))

    assert (code, told["verified"], told["empty"], told["findings"]) == (2, False, True, [])
    assert (judged["verified"], judged["verdicts"]["tamper"]) == (False, "unchecked")
    assert "NOTHING SHOWN" in judge(bundle, "--vkey", taken.vkey)


def test_a_manifest_of_something_else_is_not_called_tampered(taken, tmp_path):
    (tmp_path / "manifest.json").write_text('{"manifest_version": 3, "files": []}')
    done = CliRunner().invoke(app, ["verify", str(tmp_path), "--vkey", taken.vkey])

    assert isinstance(done.exception, SettingsError)
    assert verify.main([str(tmp_path), "--vkey", taken.vkey]) == 2


def test_a_sample_is_taken_as_it_was_drawn(taken, tmp_path):
    paper = tmp_path / "paper.xlsx"
    drawn = ["--method", "random", "--size", "3", "--seed", "7", "--out", str(paper)]
    CliRunner().invoke(app, ["sample", str(taken.march), *drawn])
    told = orjson.loads(paper.with_suffix(".json").read_bytes())

    assert read_sample(f"@{paper.with_suffix('.json')}") == [each["seq"] for each in told["items"]]
    with pytest.raises(SettingsError):
        read_sample('{"items": [{"seq": 3}]}')


def judge(*arguments: str | Path) -> str:
    """What `effect-ledger verify` prints."""
    return CliRunner().invoke(app, ["verify", *map(str, arguments)]).stdout


# ---- The same bytes ----


def test_the_same_request_gives_the_same_bytes_whatever_came_since(house, room, tmp_path):
    """Later refunds leave a closed period's bundle as it was; the next period points back."""
    ledger = house.open_ledger()
    record_march(house, ledger)
    room.closing.close(ledger, "2026-03", preparer="anna")
    first, packed = room.made(ledger, "2026-03")
    bytes_then = packed.read_bytes()
    record_april(house, ledger)
    room.closing.close(ledger, "2026-04", preparer="anna")
    again, packed_again = room.made(ledger, "2026-03")
    april = room.unpacked(ledger, "2026-04", tmp_path)

    assert packed_again.read_bytes() == bytes_then
    assert first["bundle"]["bundle_hash"] == hashlib.sha256(bytes_then).hexdigest()
    assert again["bundle"]["manifest_hash"] == first["bundle"]["manifest_hash"]
    manifest = orjson.loads((april / "manifest.json").read_bytes())
    assert manifest["previous"]["manifest_hash"] == first["bundle"]["manifest_hash"]
    [row] = (april / "tables" / "corrections.csv").read_text().splitlines()[1:]
    assert "refund,card.refund" in row
    assert ",0,capture,effect,card.capture,100.00,EUR,till," in row
    reference = orjson.loads((april / "references.jsonl").read_bytes())
    assert orjson.loads(reference["entry"])["effect"]["key"] == "capture"
    cut = (april / "tables" / "cutoff.csv").read_text().splitlines()
    assert [line.split(",")[2] for line in cut[1:]] == ["late"]


def test_rights_decide_about_payloads_and_what_is_left_out_is_declared(house, room, tmp_path):
    ledger = house.open_ledger()
    record_march(house, ledger)
    room.closing.close(ledger, "2026-03", preparer="anna")
    shown = room.unpacked(ledger, "2026-03", tmp_path / "shown")
    denied = room.unpacked(ledger, "2026-03", tmp_path / "denied", Selection(payloads="denied"))
    with house.superuser() as connection:
        connection.execute(
            "update payloads set sealed = null where ledger = %s and seq = 0", (ledger,)
        )
    erased = room.unpacked(ledger, "2026-03", tmp_path / "erased")

    assert b"a secret" not in (denied / "payloads.jsonl").read_bytes()
    payloads = [orjson.loads(line) for line in (shown / "payloads.jsonl").read_bytes().splitlines()]
    assert [(each["seq"], each["name"]) for each in payloads] == [(0, "note"), (3, "note")]
    omitted = {
        which: [
            (each["seq"], each["reason"])
            for each in map(orjson.loads, (path / "omissions.jsonl").read_bytes().splitlines())
        ]
        for which, path in (("shown", shown), ("denied", denied), ("erased", erased))
    }
    assert omitted == {
        "shown": [],
        "denied": [(0, "denied"), (3, "denied")],
        "erased": [(0, "erased")],
    }
    same = ["entries.jsonl", "close.json", "tables/entries.csv", "workbook.xlsx"]
    for path in same:
        assert len({(each / path).read_bytes() for each in (shown, denied, erased)}) == 1
    vkey = house.reader.ledger(ledger).vkey
    assert [run(each, "--vkey", vkey)[0] for each in (shown, denied, erased)] == [0, 0, 0]


def test_cells_that_would_run_are_inert(taken):
    text = (taken.march / "tables" / "entries.csv").read_text()

    assert ",'=cmd|" in text
    assert verify.inert("-5.00") == "-5.00"
    assert verify.inert("-5.00+1") == "'-5.00+1"
    with zipfile.ZipFile(taken.march / "workbook.xlsx") as book:
        sheets = [book.read(name) for name in book.namelist() if "worksheets/sheet" in name]
    assert not any(b"<f>" in sheet for sheet in sheets)


def test_what_posters_signed_is_checked_where_it_can_be(house, room, tmp_path):
    """By the package that is quick at it; otherwise it is said to be left."""
    ledger, key = house.open_ledger(), Ed25519PrivateKey.generate()
    key_id = house.registry.enrol_poster_key("till", key.public_key().public_bytes_raw())
    asked = asks("signed", type="card.capture", labels={"shop": "berlin"})
    sig = base64.b64encode(key.sign(effect_signing_bytes(asked.effect))).decode()
    house.record(ledger, replace(asked, signature=PosterSignature(key_id=key_id, sig=sig)))
    room.closing.close(ledger, "2026-03", preparer="anna")
    bundle = room.unpacked(ledger, "2026-03", tmp_path)
    vkey = ("--vkey", house.reader.ledger(ledger).vkey)

    code, told = run(bundle, *vkey, flags=INTERPRETERS["with-cryptography"])
    assert (code, "1 signatures of posters" in told["checked"]) == (0, True)
    code, told = run(bundle, *vkey)
    assert (code, "1 signatures of posters were not checked" in told["notes"][0]) == (0, True)

    keys = orjson.loads((bundle / "keys" / "keys.json").read_bytes())
    keys["posters"][0]["public_key"] = "ab" * 32
    (bundle / "keys" / "keys.json").write_bytes(canonical_bytes(keys))
    code, told = run(bundle, *vkey, flags=INTERPRETERS["with-cryptography"])
    assert (code, told["first_bad"]["code"]) == (1, "entry.signature")


# ---- What is bad ----

Damage = Callable[[Path, Taken], None]


def lines_of(bundle: Path, path: str = "entries.jsonl") -> list[bytes]:
    return (bundle / path).read_bytes().splitlines(keepends=True)


def put(bundle: Path, lines: list[bytes], path: str = "entries.jsonl") -> None:
    (bundle / path).write_bytes(b"".join(lines))


def entry_byte(bundle: Path, _taken: Taken) -> None:
    lines = lines_of(bundle)
    lines[7] = lines[7].replace(b'"2.50"', b'"9.50"')
    put(bundle, lines)


def last_entry_byte(bundle: Path, _taken: Taken) -> None:
    lines = lines_of(bundle)
    lines[-1] = lines[-1].replace(b'"2.50"', b'"9.50"')
    put(bundle, lines)


def swapped(bundle: Path, _taken: Taken) -> None:
    lines = lines_of(bundle)
    lines[8], lines[9] = lines[9], lines[8]
    put(bundle, lines)


def dropped(at: int) -> Damage:
    def damage(bundle: Path, _taken: Taken) -> None:
        lines = lines_of(bundle)
        del lines[at]
        put(bundle, lines)

    return damage


def doubled(bundle: Path, _taken: Taken) -> None:
    lines = lines_of(bundle)
    put(bundle, [*lines[:5], lines[4], *lines[5:]])


def edited_table(bundle: Path, _taken: Taken) -> None:
    lines = lines_of(bundle, "tables/entries.csv")
    lines[2] = lines[2].replace(b"30.00", b"3.00")
    put(bundle, lines, "tables/entries.csv")


def edited_total(bundle: Path, _taken: Taken) -> None:
    path = bundle / "tables" / "totals.csv"
    path.write_bytes(path.read_bytes().replace(b"35.00", b"30.00"))


def edited_manifest(bundle: Path, _taken: Taken) -> None:
    path = bundle / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b'"preparer":"anna"', b'"preparer":"adam"'))


def edited_close(bundle: Path, _taken: Taken) -> None:
    path = bundle / "close.json"
    path.write_bytes(path.read_bytes().replace(b'"35.00"', b'"30.00"'))


def forged_signature(bundle: Path, _taken: Taken) -> None:
    path = bundle / "manifest.sig"
    head, _, tail = path.read_text().rpartition(" ")
    path.write_text(f"{head} {tail[:40]}{'B' if tail[40] != 'B' else 'C'}{tail[41:]}")


def truncated(bundle: Path, _taken: Taken) -> None:
    path = bundle / "workbook.xlsx"
    path.write_bytes(path.read_bytes()[:-100])


def changed_workbook(bundle: Path, _taken: Taken) -> None:
    path = bundle / "workbook.xlsx"
    data = bytearray(path.read_bytes())
    data[200] ^= 1
    path.write_bytes(data)


def missing_file(bundle: Path, _taken: Taken) -> None:
    (bundle / "tables" / "posters.csv").unlink()


def added_file(bundle: Path, _taken: Taken) -> None:
    (bundle / "tables" / "final.csv").write_text("all,good\n")


def replaced_checkpoint(bundle: Path, taken: Taken) -> None:
    (bundle / "checkpoints" / "after.txt").write_bytes(taken.later_checkpoint)


def changed_payload(bundle: Path, _taken: Taken) -> None:
    lines = lines_of(bundle, "payloads.jsonl")
    record = orjson.loads(lines[0]) | {"content": "YSBsaWU="}
    put(bundle, [canonical_bytes(record) + b"\n", *lines[1:]], "payloads.jsonl")


def dropped_payload(bundle: Path, _taken: Taken) -> None:
    put(bundle, lines_of(bundle, "payloads.jsonl")[1:], "payloads.jsonl")


def other_start(bundle: Path, _taken: Taken) -> None:
    path = bundle / "proofs" / "range.json"
    proofs = orjson.loads(path.read_bytes())
    proofs["frontier"] = ["ab" * 32 for _ in proofs["frontier"]]
    path.write_bytes(canonical_bytes(proofs))


DAMAGE: dict[str, tuple[str, Damage, str, str]] = {
    "entry-byte": ("march", entry_byte, "entry.changed", "entry 7 was changed"),
    "last-entry-byte": ("march", last_entry_byte, "entry.changed", "entry 17 was changed"),
    "swapped-order": ("march", swapped, "entry.order", "entries 8 and 9 stand in the wrong order"),
    "dropped-first": ("april", dropped(0), "entry.missing-first", "entry 18, the first of the"),
    "dropped-middle": ("march", dropped(6), "entry.missing", "entry 6 is missing"),
    "dropped-last": ("march", dropped(-1), "entry.missing-last", "entries 17 to 17 are missing"),
    "doubled-entry": ("march", doubled, "entry.added", "entry 4 on line 6 does not belong"),
    "edited-table": ("march", edited_table, "table.edited", "tables/entries.csv line 3"),
    "edited-total": ("march", edited_total, "totals.wrong", "the totals were edited"),
    "edited-manifest": ("march", edited_manifest, "manifest.edited", "not the one that was signed"),
    "edited-close": ("march", edited_close, "close.wrong", "close.json is not the close"),
    "forged-signature": ("march", forged_signature, "signature.bad", "signature of the manifest"),
    "truncated-file": ("march", truncated, "file.truncated", "workbook.xlsx is cut short"),
    "changed-file": ("march", changed_workbook, "file.changed", "workbook.xlsx was changed"),
    "missing-file": ("march", missing_file, "file.missing", "tables/posters.csv is missing"),
    "added-file": ("march", added_file, "file.added", "tables/final.csv is not in the manifest"),
    "replaced-checkpoint": ("march", replaced_checkpoint, "checkpoint.replaced", "was replaced"),
    "changed-payload": ("march", changed_payload, "payload.changed", "payload note of entry 0 is"),
    "dropped-payload": ("march", dropped_payload, "payload.missing", "entry 0 is missing, and not"),
    "other-start": ("april", other_start, "tree.start", "the start of the tree is wrong"),
}


@pytest.mark.parametrize(
    "flags",
    [
        INTERPRETERS["standard-library"],
        pytest.param(INTERPRETERS["with-cryptography"], marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_named_and_ends_with_1(taken, tmp_path, name, flags):
    which, damage, code, says = DAMAGE[name]
    bundle = shutil.copytree(getattr(taken, which), tmp_path / "bundle")
    damage(bundle, taken)
    exit_code, told = run(bundle, "--vkey", taken.vkey, flags=flags)

    assert exit_code == 1
    assert told["first_bad"]["code"] == code, told["findings"]
    assert says in told["first_bad"]["message"]


def test_each_kind_of_damage_has_its_own_words():
    kinds = {code: says for _, _, code, says in DAMAGE.values()}

    assert len(set(kinds.values())) == len(kinds)
    assert {code for _, _, code, _ in DAMAGE.values()} <= set(verify.RANKS)


def test_a_bundle_of_another_ledger_is_told_by_its_name(taken):
    code, told = run(taken.other, "--vkey", taken.vkey)

    assert (code, told["first_bad"]["code"]) == (1, "ledger.other")
    assert "this bundle is of ledger" in told["first_bad"]["message"]


def test_another_key_of_the_same_name_is_told(taken):
    """What somebody else signed in the ledger's name."""
    name, _, _ = taken.vkey.partition("+")
    public = b"\x01" + bytes(range(32))
    key_id = hashlib.sha256(name.encode() + b"\n" + public).digest()[:4].hex()
    wrong = f"{name}+{key_id}+{base64.b64encode(public).decode()}"
    code, told = run(taken.march, "--vkey", wrong)

    assert (code, told["first_bad"]["code"]) == (1, "key.other")
    assert "signed by another key than the one you trust" in told["first_bad"]["message"]


@pytest.mark.parametrize(
    ("which", "previous", "code", "says"),
    [
        ("may", "march", "previous.gap", "there is a gap: the previous bundle ends with entry 17"),
        ("march", "april", "previous.overlap", "the bundles overlap"),
        ("april", "other", "previous.bad", "this bundle is of ledger"),
    ],
)
def test_a_previous_bundle_that_does_not_join_is_no_word_against_this_one(
    taken, which, previous, code, says
):
    exit_code, told = run(
        getattr(taken, which), "--vkey", taken.vkey, "--previous", getattr(taken, previous)
    )

    assert (exit_code, told["findings"], told["verified"]) == (2, [], False)
    assert [each["code"] for each in told["unrelated"]] == [code]
    assert says in told["unrelated"][0]["message"]


def sign(house: House, bundle: Path, **members: object) -> None:
    """Sign the manifest anew, with other members: what whoever holds the key can do."""
    manifest = orjson.loads((bundle / "manifest.json").read_bytes()) | members
    for each in manifest["files"]:
        data = (bundle / each["path"]).read_bytes()
        each |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    encoded = canonical_bytes(manifest) + b"\n"
    (bundle / "manifest.json").write_bytes(encoded)
    signature = house.signer.sign_bundle(manifest["origin"], hashlib.sha256(encoded).digest())
    (bundle / "manifest.sig").write_bytes(signature)


def test_two_histories_are_not_joined_by_what_their_manifests_say(house, taken, tmp_path):
    """The operator shows another March, and names its close in the manifest of April."""
    march = shutil.copytree(taken.march, tmp_path / "march")
    april = shutil.copytree(taken.april, tmp_path / "april")
    close = (march / "close.json").read_bytes().replace(b'"preparer":"anna"', b'"preparer":"adam"')
    (march / "close.json").write_bytes(close)
    other = verify.leaf_hash(close).hex()
    stated = orjson.loads((march / "manifest.json").read_bytes())["close"]
    previous = orjson.loads((april / "manifest.json").read_bytes())["previous"]
    sign(house, march, close=stated | {"entry_hash": other})
    sign(house, april, previous=previous | {"entry_hash": other, "manifest_hash": None})

    code, told = run(april, "--vkey", taken.vkey, "--previous", march)
    assert (code, told["first_bad"]["code"]) == (1, "previous.forked")
    assert "is not the close with which the previous one ends" in told["first_bad"]["message"]
    assert verify.JOINED not in told["checked"]


@pytest.mark.parametrize(("which", "previous"), [("may", "march"), ("march", "april")])
def test_a_bundle_that_names_one_it_does_not_follow_is_bad(house, taken, tmp_path, which, previous):
    """The operator leaves a period out, or tells it twice, and signs that the two are joined."""
    bundle = shutil.copytree(getattr(taken, which), tmp_path / "bundle")
    other = orjson.loads((getattr(taken, previous) / "manifest.json").read_bytes())
    named = {"entry_hash": other["close"]["entry_hash"], "manifest_hash": None}
    stated = orjson.loads((bundle / "manifest.json").read_bytes())["previous"] or {}
    sign(house, bundle, previous=stated | named)

    _, told = run(bundle, "--vkey", taken.vkey, "--previous", getattr(taken, previous))
    assert "previous.forked" in {each["code"] for each in told["findings"]}
    assert (told["verified"], told["unrelated"]) == (False, [])
    assert verify.JOINED not in told["checked"]


def test_a_tree_that_the_previous_bundle_does_not_end_with_is_no_joint(house, taken, tmp_path):
    april = shutil.copytree(taken.april, tmp_path / "april")
    other_start(april, taken)
    sign(house, april)

    _, told = run(april, "--vkey", taken.vkey, "--previous", taken.march)
    assert "previous.forked" in {each["code"] for each in told["findings"]}
    assert verify.JOINED not in told["checked"]


def test_a_previous_bundle_whose_close_was_edited_is_no_joint(taken, tmp_path):
    march = shutil.copytree(taken.march, tmp_path / "march")
    edited_close(march, taken)

    code, told = run(taken.april, "--vkey", taken.vkey, "--previous", march)
    assert (code, told["unrelated"][0]["code"]) == (2, "previous.bad")
    code, told = run(taken.april, "--vkey", taken.vkey, "--previous", tmp_path / "nothing")
    assert (code, told["unrelated"][0]["code"]) == (2, "previous.bad")


def test_a_selection_does_not_claim_its_joint_or_what_it_has_not(house, room, taken, tmp_path):
    """Neither good nor bad: it is told among what was not checked."""
    ledger = orjson.loads((taken.april / "manifest.json").read_bytes())["ledger"]
    some = room.unpacked(ledger, "2026-04", tmp_path, Selection(type="card.refund"))
    seqs = [orjson.loads(line)["seq"] for line in lines_of(some)]
    kept = kept_receipt(house, some, seqs[0], tmp_path)
    missing = kept_receipt(house, some, seqs[-1] + 1, tmp_path)
    code, told = run(
        some,
        *("--vkey", taken.vkey, "--previous", taken.march),
        *("--receipt", kept, "--receipt", missing),
    )
    assert (code, told["findings"]) == (0, [])
    assert verify.JOINED not in told["checked"]
    assert verify.NOT_JOINED in told["not_checked"]
    assert f"that the bundle has the entry of {kept.name}" in told["checked"]
    assert f"that the bundle has the entry of {missing.name}" not in told["checked"]
    assert any("is not in this selection" in each for each in told["not_checked"])


def test_whoever_holds_the_key_still_cannot_leave_an_entry_out(house, taken, tmp_path):
    """The operator itself drops the last entry, makes every hash right and signs the manifest."""
    bundle = shutil.copytree(taken.march, tmp_path / "bundle")
    dropped(-1)(bundle, taken)
    manifest = orjson.loads((bundle / "manifest.json").read_bytes())
    data = (bundle / "entries.jsonl").read_bytes()
    for each in manifest["files"]:
        if each["path"] == "entries.jsonl":
            each |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(), "rows": 17}
    manifest["entries"] = 17
    encoded = canonical_bytes(manifest) + b"\n"
    (bundle / "manifest.json").write_bytes(encoded)
    signature = house.signer.sign_bundle(manifest["origin"], hashlib.sha256(encoded).digest())
    (bundle / "manifest.sig").write_bytes(signature)

    code, told = run(bundle, "--vkey", taken.vkey)
    assert (code, told["first_bad"]["code"]) == (1, "entry.missing-last")
    # Not even with a close of its own making: the checkpoint has the entry.
    manifest["range"]["to_seq"] = 16
    encoded = canonical_bytes(manifest) + b"\n"
    (bundle / "manifest.json").write_bytes(encoded)
    signature = house.signer.sign_bundle(manifest["origin"], hashlib.sha256(encoded).digest())
    (bundle / "manifest.sig").write_bytes(signature)
    code, told = run(bundle, "--vkey", taken.vkey)
    assert (code, "close.wrong" in {each["code"] for each in told["findings"]}) == (1, True)


NO_BUNDLES = {
    "nothing": lambda _path: None,
    "empty": lambda path: path.mkdir(),
    "no-zip": lambda path: path.write_bytes(b"PK nonsense"),
}


@pytest.mark.parametrize("name", NO_BUNDLES)
def test_what_is_no_bundle_is_bad(taken, tmp_path, name):
    path = tmp_path / "what"
    NO_BUNDLES[name](path)
    verdict, manifest = verify.verify(path, [verify.Key.parse(taken.vkey)])

    assert (verdict.code, manifest) == (1, {})


def packed_members(taken: Taken) -> dict[str, bytes]:
    """Files of March by their names in a .zip."""
    return {
        f"march/{path.relative_to(taken.march).as_posix()}": path.read_bytes()
        for path in sorted(taken.march.rglob("*"))
        if path.is_file()
    }


def zipped(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes], comment: bytes = b"") -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
            for member, data in members:
                made.writestr(member, data)
            made.comment = comment
    return path


def unix(name: str, mode: int, extra: bytes = b"") -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr, info.extra = 3, mode << 16, extra
    return info


def gap(packed: bytes) -> bytes:
    """Nine octets before the list at the end, which is told to begin behind them."""
    listed = int.from_bytes(packed[-6:-2], "little")
    moved = (listed + 9).to_bytes(4, "little")
    return packed[:listed] + b"ninebytes" + packed[listed:-6] + moved + packed[-2:]


def padded(packed: bytes) -> bytes:
    """The first member is said to be a byte longer than what it unpacks from."""
    listed = int.from_bytes(packed[-6:-2], "little")
    head = bytearray(packed)
    for at in (18, listed + 20):
        longer = int.from_bytes(head[at : at + 4], "little") + 1
        head[at : at + 4] = longer.to_bytes(4, "little")
    named = int.from_bytes(head[26:28], "little")
    end = 30 + named + int.from_bytes(head[18:22], "little") - 1
    only = bytes(head[:end]) + b"!" + bytes(head[listed : listed + 46 + named])
    size = 46 + named
    return only + (
        b"PK\5\6"
        + bytes(4)
        + b"\1\0\1\0"
        + size.to_bytes(4, "little")
        + (end + 1).to_bytes(4, "little")
        + bytes(2)
    )


def renamed(packed: bytes) -> bytes:
    """One name where the file stands, another in the list."""
    return packed.replace(b"march/manifest.json", b"march/manifest.jsob", 1)


TOTALS = "march/tables/totals.csv"
UNICODE_PATH = b"\x75\x70\x09\x00\x01" + bytes(4) + b"evil"
ZIP_TRICKS: dict[str, tuple[str, Callable[[list[tuple[str, bytes]], Path], object]]] = {
    "same-name-twice": ("zip.doubled", lambda good, to: zipped(to, (TOTALS, b"forged"), *good)),
    "same-name-in-capitals": (
        "zip.doubled",
        lambda good, to: zipped(to, *good, (TOTALS.upper(), b"forged")),
    ),
    "beside-the-folder": ("file.added", lambda good, to: zipped(to, *good, ("NEW.csv", b"x"))),
    "in-the-folder": ("file.added", lambda good, to: zipped(to, *good, ("march/NEW.csv", b"x"))),
    "folder-without-files": (
        "zip.name",
        lambda good, to: zipped(to, *good, (unix("march/PAID/", 0o040755), b"")),
    ),
    "prepended": (
        "zip.foreign",
        lambda good, to: to.write_bytes(b"#!/bin/sh\n" + zipped(to, *good).read_bytes()),
    ),
    "appended": (
        "zip.foreign",
        lambda good, to: to.write_bytes(zipped(to, *good).read_bytes() + b"x"),
    ),
    "much-appended": (
        "zip.foreign",
        lambda good, to: to.write_bytes(zipped(to, *good).read_bytes() + bytes(1 << 20)),
    ),
    "between": (
        "zip.foreign",
        lambda good, to: to.write_bytes(gap(zipped(to, *good).read_bytes())),
    ),
    "behind-a-stream": (
        "zip.foreign",
        lambda good, to: to.write_bytes(padded(zipped(to, *good).read_bytes())),
    ),
    "comment": ("zip.foreign", lambda good, to: zipped(to, *good, comment=b"all good")),
    "second-name": (
        "zip.foreign",
        lambda good, to: zipped(to, *good, (unix("march/x", 0o100644, UNICODE_PATH), b"x")),
    ),
    "two-listings": (
        "zip.contradiction",
        lambda good, to: to.write_bytes(renamed(zipped(to, *good).read_bytes())),
    ),
    "link": ("zip.kind", lambda good, to: zipped(to, *good, (unix("march/x", 0o120777), b"/etc"))),
    "leads-out": ("zip.name", lambda good, to: zipped(to, *good, ("../../outside", b"x"))),
    "absolute": ("zip.name", lambda good, to: zipped(to, *good, ("/outside", b"x"))),
    "backslash": ("zip.name", lambda good, to: zipped(to, *good, ("march\\..\\outside", b"x"))),
    "escapes": ("zip.name", lambda good, to: zipped(to, *good, ("march/\x1b[2J", b"x"))),
    "long": (
        "zip.name",
        lambda good, to: zipped(to, *good, (f"march/{'/'.join(['x' * 250] * 17)}", b"x")),
    ),
    "longer-than-a-path": (
        "zip.name",
        lambda good, to: zipped(to, *good, (f"march/{'/'.join(['x' * 250] * 4)}/{'x' * 20}", b"x")),
    ),
    "deep": ("zip.name", lambda good, to: zipped(to, *good, (f"march/{'a/' * 1900}x", b"x"))),
    "deeper-than-a-bundle": (
        "zip.name",
        lambda good, to: zipped(to, *good, (f"march/{'a/' * 15}x", b"x")),
    ),
    "no-text": (
        "zip.name",
        lambda good, to: to.write_bytes(
            zipped(to, *good, ("march/qqqq", b"x"))
            .read_bytes()
            .replace(b"qqqq", b"\xff\xfe\xfd\xfc")
        ),
    ),
}


@pytest.mark.parametrize("name", ZIP_TRICKS)
def test_every_octet_of_a_zip_belongs_to_the_bundle(taken, tmp_path, name):
    """What another unpacker may show, and nobody verified, is bad; and nothing leaves its place."""
    code, make = ZIP_TRICKS[name]
    path = tmp_path / "march.zip"
    make(list(packed_members(taken).items()), path)
    verdict, _ = verify.verify(path, [verify.Key.parse(taken.vkey)])

    assert (verdict.code, verdict.first.code) == (1, code)
    assert [each.name for each in tmp_path.iterdir()] == ["march.zip"]
    assert not (tmp_path.parent / "outside").exists()


def test_a_name_takes_no_more_memory_than_it_has_octets(tmp_path):
    """Thirty thousand directories of one name are not made up before it is refused."""
    path = zipped(tmp_path / "deep.zip", ("manifest.json", b"{}"), ("a/" * 32_000 + "x", b"x"))
    tracemalloc.start()
    try:
        verdict, _ = verify.verify(path, [])
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert (verdict.code, verdict.first.code) == (1, "zip.name")
    assert most < 8 * 1024 * 1024


def test_a_name_that_a_file_system_has_no_place_for_is_bad(taken, tmp_path, monkeypatch):
    """Where a bundle is unpacked far down, as on a system whose paths are short."""
    base = tmp_path.joinpath(*["d" * 250] * 13)
    base.mkdir(parents=True)
    monkeypatch.setattr(tempfile, "tempdir", str(base))
    name = f"march/{'/'.join(['x' * 240] * 4)}"
    path = zipped(tmp_path / "march.zip", *packed_members(taken).items(), (name, b"x"))
    verdict, _ = verify.verify(path, [verify.Key.parse(taken.vkey)])

    assert (verdict.code, verdict.first.code) == (1, "zip.name")
    assert list(base.iterdir()) == []


def test_an_error_of_the_machine_is_told_in_one_short_line(taken, capsys):
    long = f"no\nway/{'x' * 60_000}"
    code = verify.main([str(taken.march), "--vkey", taken.vkey, "--receipt", long])
    told = capsys.readouterr()

    assert (code, told.out, told.err.count("\n")) == (2, "", 1)
    assert "File name too long" in told.err
    assert len(told.err) < 400


class Pipe(io.BytesIO):
    """Who writes into one cannot go back to say how long a member turned out."""

    def tell(self) -> int:
        raise OSError


@pytest.mark.parametrize("how", ["deflated", "stored", "streamed", "folders"])
def test_a_bundle_that_somebody_packed_again_is_as_good(taken, tmp_path, how):
    path = tmp_path / "march.zip"
    method = zipfile.ZIP_STORED if how == "stored" else zipfile.ZIP_DEFLATED
    written = Pipe() if how == "streamed" else io.BytesIO()
    with zipfile.ZipFile(written, "w", method) as made:
        if how == "folders":
            made.mkdir("march")
        for member, data in packed_members(taken).items():
            made.writestr(member, data)
    path.write_bytes(written.getvalue())
    verdict, _ = verify.verify(path, [verify.Key.parse(taken.vkey)])

    assert (verdict.code, verdict.findings) == (0, [])


def test_a_reader_that_has_read_enough_changes_no_verdict(taken, tmp_path):
    """`verify | head` ends as `verify` does, whoever prints; good and bad alike."""
    bad = shutil.copytree(taken.march, tmp_path / "bad")
    entry_byte(bad, taken)
    ours = [sys.executable, "-m", "ledger.cli.main", "verify"]
    for bundle, verdict in ((taken.march, 0), (bad, 1)):
        for command in ([sys.executable, "-I", bundle / "verify.py"], ours):
            reading, writing = os.pipe()
            os.close(reading)
            with os.fdopen(writing, "wb") as pipe:
                done = subprocess.run(
                    [*command, bundle, "--vkey", taken.vkey],
                    stdout=pipe,
                    stderr=subprocess.PIPE,
                    check=False,
                )
            assert (done.returncode, done.stderr) == (verdict, b"")


def test_a_small_file_does_not_unpack_to_fill_the_disk(taken, tmp_path, monkeypatch):
    monkeypatch.setattr(verify, "UNPACKED_BYTES_MAX", 1024 * 1024)
    packed = tmp_path / "large.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("manifest.json", "{}")
        made.writestr("payloads.jsonl", bytes(2 * 1024 * 1024))
    verdict, _ = verify.verify(packed, [verify.Key.parse(taken.vkey)])

    assert (verdict.code, verdict.first.code) == (1, "bundle.too-large")
    assert "would unpack to 2,097,154 bytes" in verdict.first.message


@pytest.mark.parametrize("how", ["encrypted", "packed-as-nobody-does"])
def test_a_zip_that_cannot_be_unpacked_is_bad_and_no_crash(taken, tmp_path, how):
    packed = tmp_path / "odd.zip"
    with zipfile.ZipFile(packed, "w") as made:
        made.writestr("manifest.json", "{}")
    data = bytearray(packed.read_bytes())
    listed = data.index(b"PK\x01\x02")
    # APPNOTE.TXT 4.3.7 and 4.3.12: flags at 6 and 8, methods at 8 and 10.
    if how == "encrypted":
        data[6] |= 1
        data[listed + 8] |= 1
    else:
        data[8] = data[listed + 10] = 99
    packed.write_bytes(data)
    verdict, _ = verify.verify(packed, [verify.Key.parse(taken.vkey)])

    assert (verdict.code, verdict.first.code) == (1, "zip.kind")


# ---- A bundle is kept for its day ----


def test_a_bundle_is_not_served_beyond_its_day(house, room):
    ledger = house.open_ledger()
    record_march(house, ledger)
    room.closing.close(ledger, "2026-03", preparer="anna")
    told, packed = room.made(ledger, "2026-03")
    yesterday = time.time() - KEPT_S - 1
    os.utime(packed, (yesterday, yesterday))

    with pytest.raises(NotFoundError, match="kept for a day"):
        room.exports.packed(ledger, told["id"])
    assert room.exports.get(ledger, told["id"])["bundle"]["available"] is False


def test_old_bundles_are_removed_by_the_clock_whatever_others_remove(house, tmp_path):
    """Also where a file is gone before it is looked at, as where another process took it."""
    made = tmp_path / "made"
    exports = open_room(house, made).exports
    made.mkdir()
    (made / "0-gone.zip").symlink_to(tmp_path / "nowhere")
    new, old = made / "new.zip", made / "old.zip"
    exports.begin(every_s=0.02)
    new.write_bytes(b"new")
    old.write_bytes(b"old")
    os.utime(old, (0, 0))
    began = time.monotonic()
    while old.exists():
        assert time.monotonic() - began < WITHIN_S
        time.sleep(0.02)
    exports.end()

    assert new.exists()


# ---- Stored entries that are not what was closed ----


def test_a_false_bundle_does_not_leave_the_house(house, room):
    ledger = house.open_ledger()
    record_march(house, ledger)
    room.closing.close(ledger, "2026-03", preparer="anna")
    with house.superuser() as connection:
        connection.execute("set session_replication_role = replica")
        connection.execute("alter table entries disable trigger append_only")
        connection.execute(
            "update entries set body = convert_to(replace(convert_from(body, 'UTF8'),"
            " '\"2.50\"', '\"9.50\"'), 'UTF8') where ledger = %s and seq = 9",
            (ledger,),
        )
        connection.execute("alter table entries enable always trigger append_only")
    job = room.exports.start(house.reader.ledger(ledger), "2026-03", EVERYTHING, by=AUDITOR)
    room.exports.wait()
    told = room.exports.get(ledger, job)

    assert told["state"] == "failed"
    assert "not stored as they were closed" in told["error"]
    with pytest.raises(NotFoundError):
        room.exports.packed(ledger, job)
