"""
The auditor: reads a whole ledger, entry by entry, and says what differs from its bytes.

Holds the order of an audit and what concerns one entry alone; links, tree, rules, payloads
and indexes are judged in the files beside it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta
from operator import attrgetter
from typing import Any

from ledger.effect import FUTURE_MAX
from ledger.entry import (
    VERSION,
    Entry,
    UnreadEntry,
    genesis_hash,
    parse_entry,
)
from ledger.errors import MalformedProofError
from ledger.forms.names import REGISTRY
from ledger.forms.timestamps import format_time, parse_time
from ledger.merkle import EMPTY_ROOT, leaf_hash
from ledger.note import VerifierKey
from ledger.signing.key_history import key_history, read_notice
from ledger.statement import Verdict
from ledger.tiles import TILE_WIDTH, Tile
from ledger.verify.announced import check_announcement
from ledger.verify.attachments import Attachments, OpenPayloads
from ledger.verify.closes import Closes
from ledger.verify.index import Index
from ledger.verify.intents import Intents
from ledger.verify.links import Links
from ledger.verify.outside import Outside
from ledger.verify.page import ReadPage, read_page
from ledger.verify.posters import Posters
from ledger.verify.report import Findings, Report, shown
from ledger.verify.roots import Roots, open_published
from ledger.verify.rules import Rules
from ledger.verify.sift import Correction, Judged, Page, Run
from ledger.verify.stored import (
    COLUMNS,
    Pinned,
    Progress,
    Source,
    StoredEntry,
)
from ledger.verify.times import Times, limits
from ledger.verify.tree import Tree, check_tiles

CLOCK_SLACK = timedelta(minutes=1)
"""How far two clocks that took part in recording one entry may have been apart."""

_Parsed = Entry | UnreadEntry | str
"""An entry, or why the bytes are none."""


def audit(
    source: Source,
    *,
    outside: Outside | None = None,
    since: tuple[int, bytes] | None = None,
    open_payloads: OpenPayloads | None = None,
    progress: Progress = lambda _checked, _size: None,
    read_page: ReadPage | None = None,
) -> Report:
    """
    Verify a whole ledger, or what came after an earlier verification.

    Args:
        source: What is stored.
        outside: What is known from elsewhere.
        since: Size and root that an earlier verification found good. Only entries after it
            are read, and those that share its last tile; the tree before it is rebuilt from
            its stored hashes and must still have this root.
        open_payloads: Opens payloads; without it their content is not checked.
        progress: Told how far the audit is.
        read_page: Who reads and sifts pages, where `source` is not to.

    Raises:
        NotFoundError: The ledger has no row.
    """
    return _Audit(
        source,
        outside or Outside(),
        since=since,
        open_payloads=open_payloads,
        progress=progress,
        read_page=read_page,
    ).run()


class _Audit:
    def __init__(
        self,
        source: Source,
        outside: Outside,
        *,
        since: tuple[int, bytes] | None,
        open_payloads: OpenPayloads | None,
        progress: Progress,
        read_page: ReadPage | None,
    ) -> None:
        self._began = time.perf_counter()
        self._source = source
        self._outside = outside
        self._progress = progress
        self._read_page = read_page or self._read_here
        self._opens_payloads = open_payloads is not None
        self._found = Findings()
        self._add = self._found.add
        self._not_checked: list[str] = []

        # 1. Who this ledger is, and which moment is audited.
        self._ledger = source.ledger()
        self._origin, self._vkey = check_announcement(self._ledger, self._add)
        # Before the pin: what was signed by now is in what the pin will show.
        self._signed = outside.read_signed(self._origin)
        self._pinned = source.pin()
        self._size = self._pinned.size
        self._start = _first_to_read(since, self._size)

        self._next = self._start
        self._read = self._unread = self._version = 0
        self._anchored = 0
        self._recorded_at = ""
        self._roots = self._known_roots(since)
        self._links = Links(
            start=self._start,
            before=None if self._start else genesis_hash(self._origin),
            add=self._add,
        )
        self._tree = Tree.at(self._start, source.hashes)
        if self._tree is None:
            self._add("tile.missing", None, f"the stored tree before entry {self._start} has holes")
        self._rules = Rules(source, start=self._start, add=self._add)
        earlier = map(_parse, (row.body for row in source.closes(self._start)))
        self._closes = Closes([each for each in earlier if isinstance(each, Entry)], self._add)
        self._attachments = Attachments(
            source, origin=self._origin, open_payloads=open_payloads, add=self._add
        )
        self._intents = Intents(source, self._add)
        self._posters = Posters(source, self._add)
        self._index = Index(
            source, size=self._size - self._start, whole=self._start == 0, add=self._add
        )

    def run(self) -> Report:
        # 2. Every entry, with its tiles and payload rows.
        self._read_to(self._pinned)

        # 3. Positions move while writers go on: those that differ are read again at one
        #    moment, and the entries that came in between are read up to there.
        unsettled = self._rules.unsettled(self._beat)
        pinned = self._source.pin(unsettled)
        self._read_to(pinned)
        self._end_links(pinned)
        if not self._unread:
            self._rules.check_positions(unsettled, pinned.positions)
        self._attachments.end()
        self._intents.end(self._attachments.is_lost, self._beat, whole=not self._start)

        # 4. Tables that are not in the order of entries.
        self._index.end(self._next, self._beat)
        self._closes.end(self._source.periods(), self._next)
        for check, words in self._source.strays(pinned.size):
            self._add(check, None, f"{words} belongs to nothing that is there")

        # 5. What the ledger says of itself, and what others know of it.
        self._check_head(pinned)
        checkpoint = self._check_published(pinned)
        signed, outside = self._roots.check(self._next, self._root_at, self._add)
        if pinned.published is None and self._signed is not None and self._signed[0]:
            self._add(
                "checkpoint.missing",
                None,
                f"no checkpoint is published, though the signer has signed size {self._signed[0]}",
            )
        self._check_now()
        self._check_anchored()
        self._state_limits(signed, outside)
        return self._report(signed, outside, checkpoint)

    def _known_roots(self, since: tuple[int, bytes] | None) -> Roots:
        roots = Roots()
        if since is not None:
            roots.say("earlier", *since)
        if self._outside.trusted is not None:
            roots.say("trusted", self._outside.trusted.size, self._outside.trusted.root)
        if self._signed is not None:
            roots.say("signer", *self._signed)
        return roots

    # ---- 2. Entries ----

    def _read_to(self, pinned: Pinned) -> None:
        self._size = pinned.size
        if pinned.published is not None:
            self._roots.expect(pinned.published.size)
        while self._next < pinned.end:
            page = self._read_page(self._next, pinned.end)
            if not page:
                break
            self._take_page(page)
            self._beat()

    def _read_here(self, start: int, stop: int) -> Page:
        return read_page(self._source, start, stop, ledger=self._ledger.name)

    def _beat(self) -> None:
        self._progress(min(self._next, self._size), self._size)

    def _take_page(self, page: Page) -> None:
        parsed = [None if isinstance(each, Run) else _parse(each.body) for each in page]
        readable = [entry for entry in parsed if isinstance(entry, Entry)]
        runs = [each for each in page if isinstance(each, Run)]
        readable += [judged.entry for run in runs for judged in run.others]
        self._rules.prepare(
            readable,
            [each.usual for run in runs for each in run.corrections],
            [each for run in runs for each in run.named],
        )
        self._posters.begin_page(readable)
        self._attachments.begin_page(self._next, _stop(page[-1]))

        leaves: list[bytes] = []
        for each, entry in zip(page, parsed, strict=True):
            if isinstance(each, Run):
                self._take_run(each, leaves)
            elif entry is not None:
                self._take(each, entry, leaves)

        self._grow(leaves)
        self._attachments.end_page()
        self._intents.end_page()
        self._index.look_up()
        self._read += sum(len(each.leaves) if isinstance(each, Run) else 1 for each in page)

    def _take_run(self, run: Run, leaves: list[bytes]) -> None:
        """The next entries, of which nothing is to be said but how they follow."""
        self._reach(run.start, leaves)
        self._next = run.stop
        leaves += run.leaves
        self._links.take_run(run.start, run.leaves, run.prev)
        self._check_order(run.start, VERSION, run.recorded_from)
        self._recorded_at = run.recorded_to
        self._index.take_run(run)
        self._take_corrections(run)
        if self._closes.may_concern(run):
            for row in self._source.entries(run.start, run.stop):
                read = _parse(row.body)
                if isinstance(read, Entry):
                    self._closes.take(read)
        else:
            for entry, _ in run.others:
                self._closes.take(entry)

    def _take_corrections(self, run: Run) -> None:
        judged: list[Correction | Judged] = [*run.corrections, *run.others]
        for each in sorted(judged, key=_seq_of):
            if isinstance(each, Correction):
                self._take_usual(each)
            else:
                self._check_target(each.seq, each.corrects, self._rules.judge(each.entry))
                self._attachments.take(each.entry)
                self._intents.take(each.entry)

    def _take_usual(self, correction: Correction) -> None:
        usual, body, corrects = correction
        target = self._rules.take(usual)
        if target is None:
            entry = _parse(body)
            assert isinstance(entry, Entry), "sifted as one"
            self._rules.prepare([entry])
            target = self._rules.judge(entry)
        self._check_target(usual.seq, corrects, target)

    def _check_target(self, seq: int, stored: str | None, target: str | None) -> None:
        if stored != target:
            self._name_column("corrects", seq, stored, target)

    def _take(
        self,
        row: StoredEntry,
        entry: _Parsed,
        leaves: list[bytes],
    ) -> None:
        """The next entry, judged; its leaf is added to `leaves`."""
        if row.seq < self._next:
            self._add("entry.twice", row.seq, f"entry {row.seq} stands twice")
            return
        self._reach(row.seq, leaves)
        self._next = row.seq + 1
        leaf = leaf_hash(row.body) if isinstance(entry, str) else entry.hash
        leaves.append(leaf)
        stored = row.columns[0] if row.columns else leaf
        if isinstance(entry, str):
            self._links.take(row.seq, leaf, stored, None)
            self._add("entry.malformed", row.seq, f"entry {row.seq} cannot be read: {entry}")
            return
        # Bytes of another place say nothing about what stands before this one.
        at_home = (entry.ledger, entry.seq) == (self._ledger.name, row.seq)
        self._links.take(row.seq, leaf, stored, entry.prev if at_home else None)
        self._check_place(row.seq, entry)
        self._check_order(row.seq, entry.v, entry.recorded_at)
        if isinstance(entry, Entry):
            self._check_entry(row, entry)
        else:
            self._check_unread(row, entry)

    def _reach(self, seq: int, leaves: list[bytes]) -> None:
        """Come to entry `seq`; what is missing before it is told."""
        if seq > self._next:
            self._grow(leaves)
            leaves.clear()
            self._miss(self._next, seq)

    def _miss(self, start: int, stop: int) -> None:
        which = f"entry {start} is" if stop == start + 1 else f"entries {start} to {stop - 1} are"
        self._add("entry.missing", start, f"{which} missing")
        self._links.gap()
        # Without every leaf there is no tree; tiles and roots from here on say nothing.
        self._tree = None

    def _check_place(self, seq: int, entry: Entry | UnreadEntry) -> None:
        if entry.ledger != self._ledger.name:
            self._add("entry.ledger", seq, f"entry {seq} was recorded in ledger {entry.ledger}")
        if entry.seq != seq:
            self._add(
                "entry.place", seq, f"place {seq} holds what was recorded as entry {entry.seq}"
            )

    def _check_order(self, seq: int, v: int, recorded_at: str) -> None:
        if v < self._version:
            self._add(
                "entry.version",
                seq,
                f"entry {seq} has version {v}, the one before it {self._version}",
            )
        if recorded_at < self._recorded_at:
            self._add(
                "time.order",
                seq,
                f"entry {seq} was recorded at {recorded_at}, the one before it later, at "
                f"{self._recorded_at}",
            )
        self._version, self._recorded_at = v, recorded_at

    def _check_entry(self, row: StoredEntry, entry: Entry) -> None:
        effect = entry.effect
        target = self._rules.judge(entry)
        self._closes.take(entry)
        if row.columns is not None:
            computed = (
                # Judged with the links: it is one of the memories of the hash.
                row.columns[0],
                entry.id,
                effect.key,
                effect.kind,
                effect.type,
                entry.poster,
                effect.subject,
                effect.business_key,
                effect.actor.id if effect.actor else None,
                effect.money.currency if effect.money else None,
                target,
                effect.repeat_of,
                effect.occurred_at,
                entry.recorded_at,
            )
            if row.columns != computed:
                self._name_columns(row.seq, row.columns, computed)
        self._index.take(entry)
        self._attachments.take(entry)
        self._intents.take(entry)
        if effect.occurred_at > entry.recorded_at:
            self._check_occurred(entry)
        self._posters.take(entry)

    def _check_unread(self, row: StoredEntry, entry: UnreadEntry) -> None:
        """Of a later version, the columns whose meaning all versions share."""
        self._unread += 1
        self._index.take_unread(entry)
        self._attachments.take_unread(entry)
        if row.columns is not None:
            shared = {"id": entry.id, "recorded_at": entry.recorded_at}
            computed = tuple(
                shared.get(column, stored)
                for column, stored in zip(COLUMNS, row.columns, strict=True)
            )
            self._name_columns(row.seq, row.columns, computed)

    def _name_columns(self, seq: int, stored: Sequence[Any], computed: Sequence[Any]) -> None:
        for column, here, there in zip(COLUMNS, stored, computed, strict=True):
            if here != there:
                self._name_column(column, seq, here, there)

    def _name_column(self, column: str, seq: int, stored: Any, computed: Any) -> None:
        self._add(
            f"index.{column}",
            seq,
            f"column {column} of entry {seq} says {shown(stored)}, its bytes say {shown(computed)}",
        )

    def _check_occurred(self, entry: Entry) -> None:
        occurred_at = entry.effect.occurred_at
        ahead = parse_time(occurred_at) - parse_time(entry.recorded_at)
        if ahead > FUTURE_MAX + CLOCK_SLACK:
            self._add(
                "time.occurred",
                entry.seq,
                f"entry {entry.seq} says it occurred at {occurred_at}, long after it was "
                f"recorded at {entry.recorded_at}",
            )

    # ---- The tree ----

    def _grow(self, leaves: Sequence[bytes]) -> None:
        """Add leaf hashes, note the root at every size somebody knows, compare full tiles."""
        tree = self._tree
        if tree is None:
            return
        full: list[Tile] = []
        while leaves:
            size = self._roots.next_size(tree.size)
            run = leaves if size is None else leaves[: size - tree.size]
            leaves = leaves[len(run) :]
            full += tree.extend(run)
            if tree.size == size:
                self._roots.computed[size] = tree.root()
        if full:
            check_tiles(full, self._source.tiles, self._add)

    # ---- 5. What the ledger says of itself ----

    def _end_links(self, pinned: Pinned) -> None:
        head = pinned.head
        if head is not None and head.size > self._next:
            self._miss(self._next, head.size)
        self._links.end(head.last_hash if head and head.size == self._next else None)

    def _check_head(self, pinned: Pinned) -> None:
        head, last = pinned.head, self._links.last
        if head is None:
            self._add("head.missing", None, "the ledger has no head: nothing says how long it is")
            return
        if head.size < self._next:
            self._add(
                "head.size",
                head.size,
                f"the head counts {head.size} entries, {self._next} are there",
            )
        if head.size != self._next or last is None:
            return
        wrong_hash = head.last_hash != last
        wrong_tree = self._tree is not None and (head.frontier != self._tree.frontier().to_bytes())
        if wrong_hash and wrong_tree and head.size:
            # Two memories of the last entry against its row: it is the row that changed.
            self._add(
                "chain.rewritten",
                head.size - 1,
                f"entry {head.size - 1} was rewritten: the head has another hash of it",
            )
        if wrong_hash:
            self._add("head.last_hash", None, "the head has another hash of the last entry")
        if wrong_tree:
            self._add(
                "head.frontier",
                None,
                f"the head's frontier is not that of the {head.size} entries",
            )
        if not self._start and not self._unread and head.closes != self._closes.count:
            self._add(
                "head.closes",
                None,
                f"the head counts {head.closes} closed periods, the entries say "
                f"{self._closes.count}",
            )
        if head.last_recorded_at != (self._recorded_at or None):
            self._add(
                "head.last_recorded_at",
                None,
                f"the head says the last entry was recorded at {head.last_recorded_at}, the "
                f"entry says {self._recorded_at}",
            )

    def _check_published(self, pinned: Pinned) -> str | None:
        """The published note, if it is a good one of this ledger."""
        stored = pinned.published
        if stored is None:
            return None

        def read_keys() -> Sequence[VerifierKey]:
            notices = map(read_notice, self._ledger.key_notices)
            return key_history(self._vkey, self._origin, notices)

        checkpoint = open_published(stored, read_keys, self._add)
        if checkpoint is None:
            return None
        self._roots.say("checkpoint", checkpoint.size, checkpoint.root)
        return stored.note.decode()

    def _root_at(self, size: int) -> bytes | None:
        if size == 0:
            return EMPTY_ROOT
        if size not in self._roots.computed and self._tree is not None:
            # Before the first entry that was read, or published while we read on.
            tree = Tree.at(size, self._source.hashes)
            return None if tree is None else tree.root()
        return self._roots.computed.get(size)

    def _check_now(self) -> None:
        now = self._outside.now
        if now is None:
            self._not_checked.append("whether the last entries are from the future")
        elif self._recorded_at > format_time(now + FUTURE_MAX):
            self._add(
                "time.future",
                self._next - 1,
                f"entry {self._next - 1} was recorded at {self._recorded_at}, and it is only "
                f"{format_time(now)}",
            )

    def _check_anchored(self) -> None:
        """Hold the tree, and the times of its entries, to what others have seen."""
        held = []
        for tree in self._outside.dated.trees:
            if tree.size > self._next:
                self._add(
                    "anchor.ahead",
                    self._next,
                    f"{tree.who} saw {tree.size} entries, {self._next} are here: entry "
                    f"{self._next} and what followed are gone",
                )
                continue
            if tree.size <= self._start:
                continue
            computed = self._root_at(tree.size)
            if computed is not None and computed != tree.root:
                self._add(
                    "anchor.root",
                    None,
                    f"{tree.who} saw another history: of the first {tree.size} entries here, at "
                    f"least one was changed, added or left out",
                )
            elif computed is not None:
                held.append(tree)
        Times(self._source, self._add).check(held, self._next)
        self._anchored = max((tree.size for tree in held), default=0)

    # ---- The report ----

    def _state_limits(self, signed: int, outside: int) -> None:
        say = self._not_checked.append
        if signed < self._next:
            say(
                f"entries {signed} to {self._next - 1} against a signed root: they are linked to "
                f"each other, and nothing else holds them"
            )
        if outside < self._next:
            say(
                f"whether anything was left out after the first {outside} entries: only the "
                f"database says so; bring a checkpoint that was kept elsewhere"
            )
        if not self._opens_payloads:
            say("what payloads contain: no payload key was at hand")
        if self._attachments.lost:
            say(
                f"what {self._attachments.lost} payloads contained: they were lost with a database "
                "whose entries were restored from a log, as notices say, and not erased"
            )
        if self._intents.lost:
            say(
                f"how {self._intents.lost} intents came to be entries: their events were lost with "
                "a database whose entries were restored from a log, as notices say"
            )
        if self._unread:
            say(
                f"what {self._unread} entries of a later version say, their columns, terms and "
                f"payloads, and all positions: this program is older"
            )
        if self._start:
            say(
                f"entries before {self._start}, their index columns, terms, payloads and tiles, "
                f"positions that nothing moved since, and terms of no entry: verify in full"
            )
        if self._ledger.name != REGISTRY:
            say(f"{REGISTRY}, which announces this ledger and its keys: verify it as well")
        say("which personal-data checks the ledger has on: no notice records them")
        self._not_checked += limits(self._anchored, self._next, self._outside.dated.refused)

    def _report(self, signed: int, outside: int, checkpoint: str | None) -> Report:
        bad, first = self._found.bad, self._found.first
        tamper: Verdict = "ok" if signed or not self._next else "unchecked"
        completeness: Verdict = "ok" if outside or not self._next else "unchecked"
        return Report(
            ledger=self._ledger.name,
            mode="incremental" if self._start else "full",
            tamper="bad" if "tamper" in bad else tamper,
            completeness="bad" if "completeness" in bad else completeness,
            time="bad" if "time" in bad else "ok",
            first_bad=first,
            first_bad_id=None if first is None else self._id_at(first.seq),
            findings=self._found.listed(),
            findings_total=self._found.total,
            not_checked=tuple(self._not_checked),
            level="log-signed" if signed else "unsigned",
            size=self._next,
            root=None if self._tree is None else self._tree.root(),
            checkpoint=checkpoint,
            start=self._start,
            entries=self._read,
            seconds=time.perf_counter() - self._began,
        )

    def _id_at(self, seq: int | None) -> str | None:
        rows = () if seq is None else self._source.entries(seq, seq + 1)
        for row in rows:
            entry = _parse(row.body)
            return None if isinstance(entry, str) else entry.id
        return None


def _first_to_read(since: tuple[int, bytes] | None, size: int) -> int:
    # A base that is no longer there is none to go on from.
    if since is None or since[0] > size:
        return 0
    # From the tile boundary before it: the last leaves are then read and not believed.
    return max(since[0] - 1, 0) // TILE_WIDTH * TILE_WIDTH


_seq_of = attrgetter("seq")


def _stop(last: Run | StoredEntry) -> int:
    """One above the last entry of a page."""
    return last.stop if isinstance(last, Run) else last.seq + 1


def _parse(body: bytes) -> _Parsed:
    try:
        return parse_entry(body)
    except MalformedProofError as error:
        return error.message
