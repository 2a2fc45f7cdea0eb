"""Posters: whether the signatures of posters are good, under keys that the registry announces."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from ledger.effect import Kind
from ledger.entry import Entry, parse_entry, verify_poster_signature
from ledger.errors import MalformedProofError, SignatureError
from ledger.forms.names import REGISTRY
from ledger.forms.timestamps import format_time, parse_time
from ledger.verify.links import Add
from ledger.verify.stored import Source, StoredPosterKey

# Whoever held the head when a key was retired may not have known it yet.
RETIREMENT_GRACE = timedelta(minutes=1)


class Posters:
    """Checks the signed entries of a page at a time."""

    def __init__(self, source: Source, add: Add) -> None:
        self._source = source
        self._add = add
        self._keys: dict[str, StoredPosterKey] = {}

    def begin_page(self, entries: Sequence[Entry]) -> None:
        """Read the keys that these entries are signed with."""
        wanted = {entry.signature.key_id for entry in entries if entry.signature}
        rows = self._source.poster_keys(wanted) if wanted else ()
        self._keys = {key.key_id: key for key in rows}

    def take(self, entry: Entry) -> None:
        """An entry of the page; one without a signature is left alone."""
        if entry.signature is None:
            return
        key = self._keys.get(entry.signature.key_id)
        if key is None or not _is_announced(key):
            self._add(
                "poster.key",
                entry.seq,
                f"entry {entry.seq} is signed with key {entry.signature.key_id}, which "
                f"{REGISTRY} does not announce like this",
            )
            return
        if key.principal != entry.poster:
            self._add(
                "poster.key",
                entry.seq,
                f"entry {entry.seq} of {entry.poster} is signed with a key of {key.principal}",
            )
        retired_at = _retired_at(key)
        if retired_at is not None and entry.recorded_at > retired_at:
            self._add(
                "poster.retired",
                entry.seq,
                f"entry {entry.seq} was recorded at {entry.recorded_at} and is signed with key "
                f"{key.key_id}, which was retired",
            )
        try:
            verify_poster_signature(entry.effect, entry.signature, key.public_key)
        except SignatureError as error:
            self._add("poster.signature", entry.seq, f"entry {entry.seq}: {error.message}")


def _retired_at(key: StoredPosterKey) -> str | None:
    """From when on a signature of `key` is none; None while it is good."""
    notice = None if key.retired is None else _read(key.retired)
    if not isinstance(notice, Entry) or notice.effect.type != "key.retired":
        return None
    return format_time(parse_time(notice.recorded_at) + RETIREMENT_GRACE)


def _is_announced(key: StoredPosterKey) -> bool:
    notice = None if key.notice is None else _read(key.notice)
    return (
        isinstance(notice, Entry)
        and notice.ledger == REGISTRY
        and notice.effect.kind is Kind.NOTICE
        and notice.effect.type == "key.added"
        and notice.effect.data
        == {
            "key_id": key.key_id,
            "purpose": "poster",
            "principal": key.principal,
            "public_key": key.public_key.hex(),
        }
    )


def _read(body: bytes) -> Entry | None:
    try:
        entry = parse_entry(body)
    except MalformedProofError:
        return None
    return entry if isinstance(entry, Entry) else None
