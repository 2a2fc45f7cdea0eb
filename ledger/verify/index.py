"""
Index: whether ids, keys and business keys are unique, and whether all search terms stand.

Neither can be checked along the way in memory that does not grow: a bit map finds the few
values that may have come twice, and keyed sums tell whether two sets of terms are equal.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal

from ledger.entry import Entry, UnreadEntry, parse_entry
from ledger.errors import MalformedProofError
from ledger.terms import placed, split_placed, terms_of
from ledger.verify.links import Add
from ledger.verify.report import shown
from ledger.verify.sift import Run
from ledger.verify.stored import PAGE, SEPARATOR, Source

_BITS_PER_VALUE = 64
_BITS_MIN = 2**16
# 64 MiB: at ten million entries one value in thirty is looked up, and none is missed.
_BITS_MAX = 2**29

Column = Literal["id", "key", "business_key"]


class Index:
    """Ids, keys and terms of the entries that were read."""

    def __init__(self, source: Source, *, size: int, whole: bool, add: Add) -> None:
        """
        Begin to read.

        Args:
            source: What is stored.
            size: About how many entries will come.
            whole: They are all there are. If not, each value is looked up among the others.
            add: Where findings go.
        """
        self._source = source
        self._whole = whole
        self._add = add
        self._seen: dict[Column, _Seen] = {
            "id": _Seen(size, whole=whole),
            "key": _Seen(size, whole=whole),
            "business_key": _Seen(size if whole else 0, whole=whole),
        }
        self._sums = _Sums()
        self._new_terms: list[str] = []
        # Versions never go down: from the first entry that cannot be read on, none can.
        self._unread_from: int | None = None

    def take_unread(self, entry: UnreadEntry) -> None:
        """An entry of a later version: it has an id in every version."""
        self._seen["id"].take([entry.id])
        if self._unread_from is None:
            self._unread_from = entry.seq

    def take(self, entry: Entry) -> None:
        """The next entry."""
        effect = entry.effect
        self._seen["id"].take([entry.id])
        self._seen["key"].take([effect.key])
        if effect.business_key is not None and effect.repeat_of is None:
            self._seen["business_key"].take([f"{effect.kind} {effect.type} {effect.business_key}"])
        self._take_terms(entry.seq, [placed(term, entry.seq) for term in terms_of(effect)])

    def take_run(self, run: Run) -> None:
        """The next entries."""
        self._seen["id"].take(run.ids)
        self._seen["key"].take(run.keys)
        self._seen["business_key"].take(run.business_keys)
        self._take_terms(run.start, run.terms)

    def _take_terms(self, start: int, terms: Sequence[str]) -> None:
        """Of entries of the page in which `start` is."""
        if self._whole:
            self._sums.add(start, terms)
        else:
            self._new_terms += terms

    def look_up(self, *, least: int = PAGE) -> None:
        """Look up what has gathered, where it is `least` values or more."""
        for column, seen in self._seen.items():
            if len(seen.suspects) >= least:
                self._check_unique(column, seen.suspects)
                seen.suspects.clear()
        if len(self._new_terms) >= least:
            self._check_new_terms(list(map(split_placed, self._new_terms)))
            self._new_terms.clear()

    def _check_unique(self, column: Column, values: Sequence[str]) -> None:
        holders: dict[str, list[int]] = {}
        for value, seq in self._source.holders(column, values):
            holders.setdefault(value, []).append(seq)
        for value, seqs in holders.items():
            if len(seqs) > 1:
                first, second, *_ = sorted(seqs)
                self._add(
                    f"{column}.twice",
                    second,
                    f"entries {first} and {second} have the same {column} {shown(value)}",
                )

    def _check_new_terms(self, wanted: Sequence[tuple[str, int]]) -> None:
        held = set(self._source.held_terms(wanted))
        for term, seq in wanted:
            if (term, seq) not in held:
                self._report("term.missing", term, seq)

    def end(self, size: int, beat: Callable[[], None]) -> None:
        """
        Look up the rest and, if all entries were read, compare all terms.

        Args:
            size: One above the last entry that was read.
            beat: Called between two reads.
        """
        self.look_up(least=1)
        if self._whole:
            self._check_all_terms(size, beat)

    def _check_all_terms(self, size: int, beat: Callable[[], None]) -> None:
        stop = size if self._unread_from is None else self._unread_from
        beyond: tuple[str, int] | None = None
        for text, others in self._source.salted_terms(self._sums.salt, stop):
            self._sums.remove_joined(text)
            for term, seq in others:
                if 0 <= seq < stop:
                    self._sums.remove(term, seq)
                elif beyond is None or seq < 0 or seq > beyond[1] >= 0:
                    beyond = (term, seq)
            beat()
        if self._sums.differ():
            for start in self._sums.differing(self._terms_before(stop, beat)):
                self._compare_terms(start, min(start + PAGE, stop))
        # Terms of entries that came since are met too; one beyond even those has no entry.
        if beyond is not None and not 0 <= beyond[1] < self._source.pin().size:
            self._report("term.extra", *beyond)

    def _terms_before(self, stop: int, beat: Callable[[], None]) -> Iterator[tuple[str, int]]:
        for page in self._source.terms():
            yield from ((term, seq) for term, seq in page if 0 <= seq < stop)
            beat()

    def _compare_terms(self, start: int, stop: int) -> None:
        """Read a stretch again: the sums tell only that something differs there."""
        expected: Counter[tuple[str, int]] = Counter()
        for row in self._source.entries(start, stop):
            entry = _parse(row.body)
            if entry is not None:
                expected.update((term, row.seq) for term in terms_of(entry.effect))
        stored: Counter[tuple[str, int]] = Counter()
        for page in self._source.terms():
            stored.update((term, seq) for term, seq in page if start <= seq < stop)
        for term, seq in expected - stored:
            self._report("term.missing", term, seq)
        for term, seq in stored - expected:
            self._report("term.extra", term, seq)

    def _report(self, check: str, term: str, seq: int) -> None:
        says = "lacks" if check == "term.missing" else "wrongly has"
        self._add(check, seq, f"the search index {says} the term {shown(term)} of entry {seq}")


def _parse(body: bytes) -> Entry | None:
    try:
        entry = parse_entry(body)
    except MalformedProofError:
        return None
    return entry if isinstance(entry, Entry) else None


class _Seen:
    """
    Which values may have come before: a bit per value, found by its hash.

    A second coming always meets its own bit, so none is missed, whoever chose the values; a
    bit that another value set costs a look-up.
    """

    def __init__(self, size: int, *, whole: bool) -> None:
        bits = _BITS_MIN
        while bits < min(size * _BITS_PER_VALUE, _BITS_MAX):
            bits *= 2
        self._bits = bytearray(bits // 8 if whole else 0)
        self._mask = bits - 1
        self._whole = whole
        self.suspects: list[str] = []

    def take(self, values: Sequence[str]) -> None:
        if not self._whole:
            self.suspects += values
            return
        bits, mask = self._bits, self._mask
        for value in values:
            at = hash(value) & mask
            held = bits[at >> 3]
            after = held | 1 << (at & 7)
            if held == after:
                self.suspects.append(value)
            else:
                bits[at >> 3] = after


class _Sums:
    """
    Whether two multisets of terms are equal, in 8 bytes per stretch of entries.

    Each term counts as a keyed hash, SipHash as Python has it. The key, `salt`, is drawn anew
    each time, so nobody can have chosen terms whose hashes cancel out, but by a chance of one
    in 2^64.
    """

    def __init__(self) -> None:
        self.salt = os.urandom(16).hex()
        self._sums: defaultdict[int, int] = defaultdict(int)
        self._stored = 0

    def add(self, start: int, terms: Sequence[str]) -> None:
        """Terms of entries of the stretch in which `start` is, as `terms.placed` has them."""
        if terms:
            self._sums[start // PAGE] += sum(map(hash, map(self.salt.__add__, terms)))

    def remove_joined(self, salted: str) -> None:
        """Take away stored terms, as `Source.salted_terms` has them in one text."""
        if salted:
            self._stored += sum(map(hash, salted.split(SEPARATOR)))

    def remove(self, term: str, seq: int) -> None:
        """Take away one stored term."""
        self._stored += hash(self.salt + placed(term, seq))

    def differ(self) -> bool:
        """Whether what was added is not what was taken away."""
        return sum(self._sums.values()) != self._stored

    def differing(self, terms: Iterable[tuple[str, int]]) -> list[int]:
        """First entries of the first stretches that differ; few, for each is read again."""
        salt, sums = self.salt, self._sums
        for term, seq in terms:
            sums[seq // PAGE] -= hash(salt + placed(term, seq))
        return [stretch * PAGE for stretch in sorted(sums) if sums[stretch]][:4]
