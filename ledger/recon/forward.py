"""
Forward: the entry that would close a break, drafted from what both sides say.

Only a draft: a person proposes it, and another one approves it. Where the two sides do not say
enough, there is none, and the person writes the entry.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ledger.effect import Kind, Rules
from ledger.entry import Entry, parse_entry
from ledger.errors import BreakError
from ledger.forms.money import exponent, format_amount
from ledger.reader import EntryFilter, Reader
from ledger.recon.matching.link import digest_of
from ledger.recon.statement import LineKind

FOUND_MAX = 20
"""Entries that cite one id of a provider; more are nobody's one movement."""

Seen = Mapping[str, Any]


def draft_entry(seen: Seen, reader: Reader, ledger: str, rules: Rules) -> dict[str, Any]:
    """
    The entry that makes the ledger say what statements say, as an item of a batch without key.

    Its `business_key` says what it is, so that of two that are approved at once one is recorded.

    Raises:
        BreakError: What both sides say does not tell which entry that is.
        BadReferenceError: The ledger has no such unit.
    """
    told = [item for item in seen["items"] if item["side"] == "ledger"]
    found = [item for item in seen["items"] if item["side"] != "ledger"]
    if seen["leg"] != "ledger_to_statement" or seen["sub_state"] in {"ambiguous", "currency"}:
        raise _no_draft()
    if not told and len(found) == 1:
        return _of_line(found[0], reader, ledger, rules)
    if len(told) == 1 and not found:
        return _changed(told[0], -int(told[0]["minor"]), "correction.not_executed", found, rules)
    if _is_one_too_many(seen, told):
        # The later of those that say the same.
        return _changed(told[-1], -int(told[-1]["minor"]), "correction.duplicate", found, rules)
    if len(told) == len(found) == 1 and told[0]["currency"] == found[0]["currency"]:
        delta = int(found[0]["minor"]) - int(told[0]["minor"])
        return _changed(told[0], delta, "correction.amount", found, rules)
    raise _no_draft()


def check_untold(proposal: Mapping[str, Any], reader: Reader, ledger: str) -> None:
    """
    Check that the ledger did not tell itself, meanwhile, what a proposal would make it tell.

    An entry of the same kind that cites the same evidence, and that the run behind the proposal
    did not know, is the same movement: a second one would count it twice.

    Args:
        proposal: The `entry`, and as `seen_at` the number of entries which that run knew.
        reader: Reads the entries.
        ledger: Its name.

    Raises:
        BreakError: There is such an entry.
    """
    proposed = proposal["entry"]
    for cited in proposed.get("evidence", ()):
        for entry in _citing(reader, ledger, f"{cited['system']}:{cited['ref']}"):
            if (
                entry.seq >= proposal.get("seen_at", 0)
                and entry.effect.kind.value == proposed["kind"]
                and entry.effect.key != proposed["key"]
            ):
                raise BreakError(
                    f"entry {entry.id} tells this already, and came after the run that this goes "
                    "by: run the reconciliation again",
                    entry=entry.id,
                    seq=entry.seq,
                )


def draft_explanation(seen: Seen, words: str, reason: str) -> dict[str, Any]:
    """The explanation of a break: about its first entry or, without one, about the line."""
    told = [item for item in seen["items"] if item["side"] == "ledger"]
    common = {
        "kind": "explanation",
        "type": "recon.explanation",
        "reason": reason,
        "audience": "finance",
        "note": words,
    }
    if told:
        return common | {"corrects": _entry_id(told[0])}
    line = seen["items"][0]
    external = {"system": _system(line), "ref": _ref(line)}
    return common | {"corrects_external": external, "observed": True, "evidence": evidence_of(line)}


def evidence_of(line: Seen) -> list[dict[str, str]]:
    """Where a statement says it: the provider's id of the movement, or the bank's line."""
    rel = "bank_line" if line["side"] == "bank" else "transaction"
    return [{"system": _system(line), "rel": rel, "ref": _ref(line)}]


def _is_one_too_many(seen: Seen, told: Sequence[Seen]) -> bool:
    """Whether the ledger says one movement once more than statements do, and nothing beside."""
    if seen["state"] != "duplicate" or not told:
        return False
    amounts = {(item["currency"], int(item["minor"])) for item in told}
    differences = {currency: int(minor) for currency, minor in seen["differences"].items()}
    currency, minor = min(amounts)
    return len(amounts) == 1 and differences == {currency: -minor}


def _of_line(line: Seen, reader: Reader, ledger: str, rules: Rules) -> dict[str, Any]:
    """What the ledger lacks of one line."""
    amount, kind = int(line["minor"]), LineKind(line["kind"])
    observed = {
        "occurred_at": f"{line['day']}T12:00:00Z",
        "evidence": evidence_of(line),
        "observed": True,
        "business_key": _business_key(_system(line), _ref(line), line["currency"]),
    }
    if kind is LineKind.REFUND_FAILED:
        refund = _find(reader, ledger, line, line.get("ids", ()), Kind.REFUND)
        return observed | _correction(refund, "adjustment", "refund.failed", line, rules)
    if kind is LineKind.REFUND:
        paid = _find(reader, ledger, line, _original(line), Kind.EFFECT)
        return observed | {
            "kind": "refund",
            "type": "provider.refund",
            "reason": "recon.missing_in_ledger",
            "corrects": paid.id,
            "money": _money(abs(amount), line["currency"], "out" if amount < 0 else "in", rules),
        }
    if kind is LineKind.CHARGEBACK:
        paid = _find(reader, ledger, line, _original(line), Kind.EFFECT)
        return observed | _correction(paid, "adjustment", "chargeback", line, rules)
    if kind is LineKind.CHARGEBACK_REVERSED:
        back = _find(reader, ledger, line, line.get("ids", ()), Kind.ADJUSTMENT)
        return observed | _correction(back, "adjustment", "chargeback.reversed", line, rules)
    return observed | {
        "kind": "effect",
        "type": f"provider.{kind.value}",
        "reason": "recon.missing_in_ledger",
        "money": _money(abs(amount), line["currency"], "in" if amount > 0 else "out", rules),
    }


def _correction(target: Entry, kind: str, type_: str, line: Seen, rules: Rules) -> dict[str, Any]:
    """An adjustment that moves a target by a signed amount of the merchant's."""
    assert target.effect.money is not None
    flow, amount = target.effect.money.flow, int(line["minor"])
    in_flow = amount if flow == "in" else -amount
    return {
        "kind": kind,
        "type": type_,
        "reason": "recon.missing_in_ledger",
        "corrects": target.id,
        "money": _money(in_flow, line["currency"], flow, rules),
    }


def _changed(
    item: Seen, delta: int, type_: str, found: Sequence[Seen], rules: Rules
) -> dict[str, Any]:
    """The movement of the ledger, changed by `delta`."""
    flow = "in" if int(item["minor"]) > 0 else "out"
    evidence = [each for line in found[:1] for each in evidence_of(line)]
    becomes = str(int(item["minor"]) + delta)
    return {
        "kind": "adjustment",
        "type": type_,
        "reason": "recon.difference",
        "business_key": _business_key(_entry_id(item), becomes),
        "corrects": _entry_id(item),
        "money": _money(delta if flow == "in" else -delta, item["currency"], flow, rules),
    } | ({"evidence": evidence, "observed": True} if evidence else {})


def _find(reader: Reader, ledger: str, line: Seen, refs: Sequence[str], kind: Kind) -> Entry:
    """The one entry of a kind that cites one of these ids of the provider."""
    found: dict[str, Entry] = {}
    for ref in refs:
        for entry in _citing(reader, ledger, f"{line['provider']}:{ref}"):
            if entry.effect.kind is kind and entry.effect.money:
                found[entry.id] = entry
    if len(found) != 1:
        raise BreakError(
            f"{len(found)} entries of kind {kind.value} cite {' or '.join(refs) or 'its payment'}: "
            "say which entry closes this break",
            found=sorted(found)[:FOUND_MAX],
        )
    return next(iter(found.values()))


def _citing(reader: Reader, ledger: str, evidence: str) -> Iterator[Entry]:
    """The newest entries that cite this evidence."""
    page = reader.page(ledger, EntryFilter(evidence=evidence), limit=FOUND_MAX, order="desc")
    for place in page.entries:
        entry = parse_entry(place.encoded)
        if isinstance(entry, Entry):
            yield entry


def _original(line: Seen) -> list[str]:
    return [line["original_id"]] if line.get("original_id") else []


def _business_key(*names: str) -> str:
    """
    What the entry is, whichever break or run it is drafted for: the ledger takes one of its kind.

    A hash, for a bank's reference may be an account number.
    """
    return f"recon/{digest_of(*names)}"


def _system(line: Seen) -> str:
    return str(line["provider"] or line["account"])


def _ref(line: Seen) -> str:
    ids = line.get("ids") or [line["key"].partition(":")[2]]
    return str(ids[0])


def _entry_id(item: Seen) -> str:
    return str(item["key"]).partition(":")[2]


def _money(minor: int, currency: str, flow: str, rules: Rules) -> dict[str, str]:
    return {
        "amount": format_amount(minor, exponent(currency, rules.units)),
        "currency": currency,
        "flow": flow,
    }


def _no_draft() -> BreakError:
    return BreakError(
        "what both sides say does not tell which entry closes this break: say it with `entry`, or "
        "explain the break"
    )
