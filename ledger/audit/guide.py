"""Guide: VERIFY.md, which tells whoever gets a bundle how to check it without us."""

from __future__ import annotations

from ledger.audit.request import BundleRequest

_GUIDE = """\
# {ledger}, period {period}

Entries {first} to {last} of the ledger `{origin}`, from {from_at} to {to_at} ({time_zone}); closed
at {closed_at} by {preparer}; reviewer, as {preparer} states: {reviewer}. {claim}

## Verify it

1. Get the ledger's verifier key by another channel than this bundle: from the contract, an earlier
   audit, or the finance team by telephone. It has to be this one:

       {vkey}

   Or a key that it took the place of: keys/history.json leads from that one to this.

2. With Python 3.10 or later, without network:

       python3 verify.py --vkey '{vkey}'

   `GOOD` and exit code 0: nothing bad was found. `BAD` and 1: the first bad record is named.
   `NOT AUTHENTICATED` and 2: no key was given, so nobody stands for what was found.
3. With the bundle of the period before: `--previous DIR`. With receipts that somebody kept:
   `--receipt FILE`. Each is checked itself first: `NOT COMPARED` and 2 mean that one is bad or of
   something else, and say nothing against this bundle.

Whoever can change a bundle can change the verify.py in it. Compare it with a copy you got before,
or run `effect-ledger verify BUNDLE --vkey VKEY` of an installation you trust: it is the same code.
verify.py prints what it did not check. It is {lines} lines of plain Python; read it, or write your
own: the formats are RFC 6962, RFC 8032, RFC 8785 and C2SP tlog-checkpoint and signed-note.

## What is in it

| File | What |
|---|---|
| `manifest.json`, `manifest.sig` | every other file with its hash; the signature over it |
| `entries.jsonl` | the evidence: a line for each entry, exactly the bytes that were hashed |
| `close.json` | the entry that closed the period: counts, sums, root |
| `checkpoints/`, `proofs/` | signed trees before and after, and how the entries join them |
| `payloads.jsonl`, `omissions.jsonl` | words and documents with salts; what is left out |
| `references.jsonl` | the entries that corrections point at |
| `statements/` | reconciliations: figures (.json), prints, lists; signed ones and unsigned ones |
| `tables/`, `workbook.xlsx` | views for people, made of the entries |
| `keys/`, `policy.txt` | public keys |
| `envelope/` | what was added after signing: reviews of the close, who got it when, timestamps |

Cells of tables that begin with one of = + - @ have an apostrophe before it, but for numbers.
Omissions: `erased` was destroyed on request, and every proof stays valid; `withheld` was left out
by whoever asked for the bundle; `denied` is beyond the rights of the key it was asked for with.
"""


def guide(request: BundleRequest, entries: int, verifier: bytes) -> str:
    """The text of VERIFY.md, for a bundle of so many entries that has this verify.py."""
    data, record = request.close.data, request.record
    claim = (
        f"All {entries:,} entries are here."
        if request.selection.is_complete
        else f"This is a selection of {entries:,} entries, and completeness is not claimed."
    )
    return _GUIDE.format(
        ledger=record.name,
        origin=record.origin,
        vkey=record.vkey,
        time_zone=record.time_zone,
        period=data["name"],
        first=data["from_seq"],
        last=data["to_seq"],
        from_at=data["from_at"],
        to_at=data["to_at"],
        closed_at=request.close.entry.recorded_at,
        preparer=data["preparer"],
        reviewer=data.get("reviewer", "nobody"),
        claim=claim,
        lines=verifier.count(b"\n"),
    )
