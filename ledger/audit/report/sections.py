"""Sections: what a report says of a bundle, from its files alone and in the order of auditors."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import orjson

from ledger import __version__
from ledger.audit import verify
from ledger.audit.report.content import Bars, Block, Facts, Grid, Section, Text, escaped
from ledger.audit.report.reconciliations import reconciliations
from ledger.forms.timestamps import parse_time

ROWS_MAX = 1_000
"""Rows of one table that are printed; the bundle has all."""
LATE_DAYS = 30
"""Entries that occurred so long before they were recorded are told as exceptions."""
NIGHT = (22, 6)
"""Hours in UTC from which to which a person's entry is out of hours."""
EDGE = 5
"""Entries shown before and after the end of the period."""
_HOW = (
    "Get the ledger's verifier key from its operator by another channel than this bundle. Run "
    "python3 verify.py --vkey KEY in the directory of the bundle, on any machine with Python 3.10; "
    "no network and no other program is needed. It ends with 0 if the bundle is good, with 1 and "
    "the first bad record if it is not. It checks the signature over manifest.json, the hash of "
    "every file, every entry's place, link and hash, the tree against the signed checkpoints "
    "before and after, and all tables and totals against the entries. A file changed, added or "
    "left out is named. Give the bundle of the period before with --previous, and receipts you "
    "hold with --receipt."
)
_GLOSSARY = (
    ("effect", "something that happened and cannot be rolled back, as its owner describes it"),
    ("entry", "an effect with its place in the ledger; never changed"),
    ("correction", "a later entry that refers to an earlier one: refund, adjustment, explanation"),
    ("seq", "the number of an entry, from 0, without gaps"),
    ("checkpoint", "a signed statement of how many entries there are, and of their tree's root"),
    ("close", "the entry that ends a period and sums it up"),
    ("late", "recorded after the close of the period in which it occurred"),
    ("observed", "a fact that a provider or bank reported; it is recorded whatever remains"),
)


_PAYLOADS = {
    "shown": "here, but for those that were erased",
    "withheld": "left out by whoever asked for the bundle",
    "denied": "left out: beyond the rights of the key it was asked for with",
}


@dataclass(slots=True)
class _Seen:
    """What one reading of the entries gathers."""

    first: list[Mapping[str, Any]] = field(default_factory=list)
    last: list[Mapping[str, Any]] = field(default_factory=list)
    months: Counter[str] = field(default_factory=Counter)
    occurred: dict[str, verify.Totals] = field(
        default_factory=lambda: {when: verify.Totals() for when in ("in it", "before", "after")}
    )
    exceptions: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict)
    counted: Counter[str] = field(default_factory=Counter)


def sections(
    bundle: verify.Bundle,
    verdict: verify.Verdict,
    *,
    purpose: str = "",
    large: Decimal = Decimal(10_000),
    sample: Mapping[str, Any] | None = None,
    earlier: Sequence[verify.Bundle] = (),
) -> list[Section]:
    """
    The fifteen sections of a report.

    Args:
        bundle: Opened.
        verdict: What its verification found.
        purpose: What the report is for, in a sentence.
        large: Amounts of this size are told as exceptions, in any currency.
        sample: As `drawing.document` has it; None where none was drawn.
        earlier: Bundles of all periods before, from the first entry on, for the roll-forward.
    """
    manifest = bundle.manifest
    seen = _read(bundle, large)
    told: list[tuple[str, Iterable[Block]]] = [
        ("Conclusion", _conclusion(manifest, verdict, purpose)),
        ("Scope and parameters", _scope(manifest, bundle)),
        ("Integrity", _integrity(manifest, verdict)),
        ("Completeness and roll-forward", _completeness(bundle, earlier)),
        ("Totals", _totals(manifest, seen)),
        ("Corrections", _corrections(bundle)),
        ("Cut-off", _cutoff(bundle, seen)),
        ("Reconciliation", reconciliations(bundle)),
        ("Exceptions", _exceptions(seen, large)),
        ("Access and segregation of duties", _segregation(bundle)),
        ("Sample", _sample(sample)),
        ("Erasures and omissions", _omissions(manifest)),
        ("Chain of custody", _custody()),
        ("How to verify", _how(manifest)),
        ("Glossary", [Facts(_GLOSSARY)]),
    ]
    return [Section(f"{at}. {title}", list(blocks)) for at, (title, blocks) in enumerate(told, 1)]


def title_of(manifest: Mapping[str, Any]) -> str:
    """What the report is called."""
    return f"Audit report: {manifest['ledger']}, {manifest['period']['name']}"


def _read(bundle: verify.Bundle, large: Decimal) -> _Seen:
    seen, period = _Seen(), bundle.manifest["period"]
    for line in bundle.lines("entries.jsonl"):
        entry = orjson.loads(line)
        effect = entry["effect"]
        if len(seen.first) < EDGE:
            seen.first.append(entry)
        seen.last = [*seen.last[1 - EDGE :], entry]
        seen.months[entry["recorded_at"][:7]] += 1
        if effect["kind"] != "notice":
            seen.occurred[_when(effect["occurred_at"], period)].add_effect(effect)
        for name in _exceptional(entry, effect, large):
            seen.counted[name] += 1
            if len(shown := seen.exceptions.setdefault(name, [])) < EDGE * 4:
                shown.append(entry)
    return seen


def _when(occurred_at: str, period: Mapping[str, str]) -> str:
    if occurred_at < period["from_at"]:
        return "before"
    return "after" if occurred_at >= period["to_at"] else "in it"


def _exceptional(
    entry: Mapping[str, Any], effect: Mapping[str, Any], large: Decimal
) -> Iterator[str]:
    money, actor = effect.get("money"), effect.get("actor") or {}
    approval = effect.get("approval") or {}
    if money and abs(Decimal(money["amount"])) >= large:
        yield "large"
    if money and Decimal(money["amount"]) % 1_000 == 0:
        yield "round"
    if actor.get("kind") == "human":
        yield "by a person"
        hour = int(entry["recorded_at"][11:13])
        if hour >= NIGHT[0] or hour < NIGHT[1]:
            yield "by a person at night"
    if approval and approval["by"] == entry["poster"]:
        yield "approved by its poster"
    if _days(effect["occurred_at"], entry["recorded_at"]) > LATE_DAYS:
        yield "recorded long after it occurred"
    if money and not effect.get("evidence"):
        yield "money without a provider's reference"


def _days(from_at: str, to_at: str) -> int:
    return (parse_time(to_at) - parse_time(from_at)).days


# ---- The sections ---------------------------------------------------------------------------


def _conclusion(
    manifest: Mapping[str, Any], verdict: verify.Verdict, purpose: str
) -> Iterator[Block]:
    told = verify.document(verdict, dict(manifest))
    if told["first_bad"]:
        yield Text(f"<b>NOT GOOD.</b> {escaped(told['first_bad']['message'])}")
    elif verdict.trusted:
        left_out = " or left out" if manifest["complete"] else ""
        yield Text(
            f"<b>Verified:</b> {verdict.entries:,} entries, 0 failures. Nothing in the bundle was "
            f"changed{left_out}."
        )
    else:
        yield Text(
            f"<b>Not authenticated:</b> {verdict.entries:,} entries agree with each other, under a "
            "key that the bundle names itself."
        )
    yield Facts(
        [
            ("Ledger", f"{manifest['ledger']} ({manifest['origin']})"),
            ("Period", _span(manifest)),
            ("Purpose", escaped(purpose) or "not stated"),
            ("Report id", _report_id(manifest, verdict)),
            ("As of", f"{manifest['created_at']} (UTC), the close of the period"),
            ("Prepared by", escaped(manifest["close"].get("preparer", "not stated"))),
            ("Reviewed by", escaped(_reviewers(manifest["close"], verdict))),
            ("Program", f"Effect Ledger {__version__}"),
        ]
    )
    yield Text(
        "This report is a view of a bundle. The bundle is the evidence: it can be verified "
        "without this report, and without the service that made it."
    )


def _reviewers(close: Mapping[str, Any], verdict: verify.Verdict) -> str:
    """Who reviewed the close, and whether they said so with a key of their own."""
    told = [
        f"{each['reviewer']}: confirmed by own key, entry {each['seq']}, at {each['recorded_at']}"
        for each in verdict.reviews
    ]
    named = close.get("reviewer")
    if named is not None and named not in {each["reviewer"] for each in verdict.reviews}:
        told.append(f"{named}: named by preparer, not confirmed by own key")
    return "; ".join(told) or "nobody"


def _report_id(manifest: Mapping[str, Any], verdict: verify.Verdict) -> str:
    """Of this manifest and of what was found: the report of a damaged copy is another one."""
    found = verify.document(verdict, dict(manifest))
    told = {name: found[name] for name in ("authenticated", "findings", "reviews")}
    return hashlib.sha256(verify.canonical({"manifest": manifest, **told})).hexdigest()[:32]


def _span(manifest: Mapping[str, Any]) -> str:
    period = manifest["period"]
    return f"{period['name']}: {period['from_at']} to {period['to_at']} ({manifest['time_zone']})"


def _scope(manifest: Mapping[str, Any], bundle: verify.Bundle) -> Iterator[Block]:
    chosen = ", ".join(f"{name} = {value}" for name, value in (manifest["filter"] or {}).items())
    yield Facts(
        [
            ("Entries", f"seq {manifest['range']['from_seq']} to {manifest['range']['to_seq']}"),
            ("Selection", escaped(chosen) or "all of the period"),
            ("Complete", "yes" if manifest["complete"] else "no: a selection, and no more claimed"),
            ("Payloads", _PAYLOADS[manifest["payloads"]]),
            ("Manifest, SHA-256", hashlib.sha256(bundle.manifest_bytes).hexdigest()),
            ("Files", str(len(bundle.files))),
        ]
    )
    excluded = ", ".join(f"{n} {reason}" for reason, n in manifest["omissions"].items())
    yield Text(f"Left out and declared: {escaped(excluded) or 'nothing'}.")


def _integrity(manifest: Mapping[str, Any], verdict: verify.Verdict) -> Iterator[Block]:
    yield Facts(
        [
            ("Root after the last entry", manifest["root"]),
            ("Close", f"entry {manifest['close']['seq']}, {manifest['close']['entry_hash']}"),
            ("Verifier key", manifest["vkey"]),
        ]
    )
    for title, lines in (
        ("Checked", verdict.checked),
        ("Found", [each.message for each in verdict.findings] or ["nothing"]),
        ("Not checked", verify.document(verdict, dict(manifest))["not_checked"]),
    ):
        yield Text(f"<b>{title}</b>")
        yield from (Text(f"- {escaped(line)}") for line in lines)


def _completeness(bundle: verify.Bundle, earlier: Sequence[verify.Bundle]) -> Iterator[Block]:
    manifest = bundle.manifest
    first, last = manifest["range"]["from_seq"], manifest["range"]["to_seq"]
    yield Text(
        f"Entries are numbered without gaps: {first:,} before the period, {last - first + 1:,} in "
        f"it, {last + 1:,} at its end."
    )
    yield _table(
        bundle, "posters", ("poster", "kind", "count"), (3, 2, 1), right={"count"}, title="posters"
    )
    yield from _roll_forward(manifest, earlier)
    yield Text("Requests that were refused or repeated record nothing and are in no entry.")


def _roll_forward(manifest: Mapping[str, Any], earlier: Sequence[verify.Bundle]) -> Iterator[Block]:
    before: Counter[tuple[str, ...]] = Counter()
    reached = 0
    for other in sorted(earlier, key=lambda each: each.manifest["range"]["from_seq"]):
        if other.manifest["range"]["from_seq"] != reached or not other.manifest["complete"]:
            break
        reached = other.manifest["range"]["to_seq"] + 1
        before.update(_by_line(other.manifest))
    if reached != manifest["range"]["from_seq"] and manifest["range"]["from_seq"]:
        yield Text(
            "The roll-forward by type and currency needs the complete bundles of all periods "
            "before; they were not given."
        )
        return
    added = _by_line(manifest)
    rows = [
        (*key, f"{before[key]:,}", f"{added[key]:,}", f"{before[key] + added[key]:,}")
        for key in sorted(before.keys() | added.keys())
    ]
    yield Grid(
        head=("kind", "type", "currency", "flow", "opening", "additions", "closing"),
        rows=rows,
        widths=(2, 3, 1.5, 1, 1.5, 1.5, 1.5),
        right=frozenset({4, 5, 6}),
    )


def _by_line(manifest: Mapping[str, Any]) -> Counter[tuple[str, ...]]:
    names = ("kind", "type", "currency", "flow")
    return Counter(
        {
            tuple(str(line.get(name, "")) for name in names): line["count"]
            for line in manifest["totals"]
        }
    )


def _totals(manifest: Mapping[str, Any], seen: _Seen) -> Iterator[Block]:
    columns = ("kind", "type", "currency", "flow", "count", "amount")
    span = manifest["range"]
    yield Text(
        f"Of all that was recorded from entry {span['from_seq']} to entry {span['to_seq']}, "
        "whenever it occurred:"
    )
    yield Grid(
        head=columns,
        rows=[[str(line.get(name, "")) for name in columns] for line in manifest["totals"]],
        widths=(2, 3, 1.5, 1, 1.5, 2.5),
        right=frozenset({4, 5}),
    )
    yield Text(f"Hash of these totals: {manifest['totals_hash']}")
    yield Text(
        "How much of it occurred in the period, before and after it; what the ledger notes of "
        "itself is left out:"
    )
    yield Grid(
        head=("occurred", *columns),
        rows=[
            [when, *(str(line.get(name, "")) for name in columns)]
            for when, totals in seen.occurred.items()
            for line in totals.lines()
        ],
        widths=(2, 2, 3, 1.5, 1, 1.5, 2.5),
        right=frozenset({5, 6}),
    )
    yield Bars(title="Entries by month of recording", values=sorted(seen.months.items()))
    kinds: Counter[str] = Counter()
    for line in manifest["totals"]:
        kinds[line["kind"]] += line["count"]
    yield Bars(title="Entries by kind", values=sorted(kinds.items()))


def _corrections(bundle: verify.Bundle) -> Iterator[Block]:
    yield Text("Each correction beside what it corrects; neither ever replaces the other.")
    shown = (
        *("seq", "kind", "type", "amount", "currency", "reason", "corrector", "approver"),
        *("corrects_seq", "corrects_type", "original_amount", "days_between"),
    )
    yield _table(
        bundle,
        "corrections",
        shown,
        (0.9, 1.3, 2, 1.4, 1, 2.7, 1.5, 1.5, 1, 2.4, 1.4, 0.9),
        right={"seq", "amount", "corrects_seq", "original_amount", "days_between"},
        title="corrections",
    )


def _cutoff(bundle: verify.Bundle, seen: _Seen) -> Iterator[Block]:
    period = bundle.manifest["period"]
    yield Text(
        f"Entries of this bundle that occurred outside {period['from_at']} to {period['to_at']}: "
        "late for a period that was closed already, earlier than this one, or early for one that "
        "follows:"
    )
    yield _table(
        bundle,
        "cutoff",
        ("seq", "cut", "occurred_at", "recorded_at", "late_for", "type"),
        (1, 1.2, 3, 3, 1.2, 2),
        right={"seq"},
        title="such entries",
    )
    yield Text("The first and the last entries of the period:")
    yield _entries([*seen.first, *(each for each in seen.last if each not in seen.first)])


def _entries(entries: Iterable[Mapping[str, Any]]) -> Grid:
    rows = []
    for entry in entries:
        effect = entry["effect"]
        money = effect.get("money") or {}
        amount = f"{money['amount']} {money['currency']}" if money else ""
        rows.append(
            [
                str(entry["seq"]),
                effect["type"],
                entry["poster"],
                amount,
                effect["occurred_at"][:19],
                entry["recorded_at"][:19],
                effect.get("subject") or "",
            ]
        )
    return Grid(
        head=("seq", "type", "poster", "amount", "occurred", "recorded", "subject"),
        rows=rows,
        widths=(0.8, 2.6, 1.4, 1.7, 1.9, 1.9, 2),
        right=frozenset({0, 3}),
    )


def _exceptions(seen: _Seen, large: Decimal) -> Iterator[Block]:
    yield Text(
        f"Told for a look, not as faults. Large is {large:,} or more in any currency; night is "
        f"{NIGHT[0]}:00 to {NIGHT[1]:02}:00 UTC; long after is more than {LATE_DAYS} days."
    )
    if not seen.counted:
        yield Text("None.")
    for name, count in sorted(seen.counted.items()):
        shown = seen.exceptions[name]
        more = f", of which {len(shown)} are shown" if count > len(shown) else ""
        yield Text(f"<b>{name.capitalize()}</b>: {count:,} entries{more}")
        yield _entries(shown)


def _segregation(bundle: verify.Bundle) -> Iterator[Block]:
    yield Text("Who posted, who corrected it and who approved that; conflicts say yes.")
    yield _table(
        bundle,
        "segregation",
        verify.COLUMNS["segregation"],
        (2, 2, 2, 1.2, 1.4, 1.4),
        right={"corrections"},
        title="combinations",
    )
    yield Text(
        "Keys that were added, revoked or retired, and changes of settings, are entries of the "
        "ledger _registry: ask for its bundle of the same period."
    )


def _sample(sample: Mapping[str, Any] | None) -> Iterator[Block]:
    if sample is None:
        yield Text("No sample was drawn for this report.")
        return
    population, parameters = sample["population"], sample["parameters"]
    yield Facts(
        [
            ("Method", sample["method"]),
            ("Seed", escaped(parameters["seed"])),
            ("Population", f"{population['count']:,} entries, digest {population['digest']}"),
            ("Confidence", f"{parameters['confidence_percent']} %"),
            ("Interval", parameters["interval"] or "none"),
        ]
    )
    yield Grid(
        head=("seq", "id", "amount", "currency", "stratum"),
        rows=[
            [
                str(item["seq"]),
                item["id"],
                item["amount"] or "",
                item["currency"] or "",
                item["stratum"],
            ]
            for item in sample["items"][:ROWS_MAX]
        ],
        widths=(1, 4, 1.5, 1, 2),
        right=frozenset({0, 2}),
    )


def _omissions(manifest: Mapping[str, Any]) -> Iterator[Block]:
    omitted = manifest["omissions"]
    if not omitted:
        yield Text("No payload is left out of this bundle.")
        return
    words = {"erased": "erased since", "withheld": "not asked for", "denied": "not this reader's"}
    yield Facts(
        [(words.get(reason, reason), f"{count:,} payloads") for reason, count in omitted.items()]
    )
    yield Text("Each is declared in the bundle with its commitment; every proof stays valid.")


def _custody() -> Iterator[Block]:
    yield Text(
        "Who made this bundle and who fetched it is recorded in the ledger _registry and in "
        "envelope/custody.jsonl beside the bundle. It is no part of the evidence and not printed "
        "here, so that the same bundle gives the same report, byte for byte."
    )


def _how(manifest: Mapping[str, Any]) -> Iterator[Block]:
    key = manifest["vkey"]
    yield Text(_HOW)
    yield Facts([("Verifier key", key), ("Its SHA-256", hashlib.sha256(key.encode()).hexdigest())])


def _table(
    bundle: verify.Bundle,
    table: str,
    columns: Sequence[str],
    widths: Sequence[float],
    *,
    right: set[str],
    title: str,
) -> Block:
    """Columns of a table of the bundle."""
    rows: list[list[str]] = []
    count = 0
    for row in _rows(bundle, table):
        count += 1
        if len(rows) < ROWS_MAX:
            rows.append([row[name] for name in columns])
    if not rows:
        return Text(f"No {title}.")
    more = f"{count - len(rows):,} more are in tables/{table}.csv." if count > len(rows) else ""
    return Grid(
        head=[name.replace("_", " ") for name in columns],
        rows=rows,
        widths=widths,
        right=frozenset(at for at, name in enumerate(columns) if name in right),
        more=more,
    )


def _rows(bundle: verify.Bundle, table: str) -> Iterable[Mapping[str, str]]:
    return csv.DictReader(line.decode() + "\n" for line in bundle.lines(f"tables/{table}.csv"))
