"""
Selection: which entries of a closed period a bundle is of, and what its reader may see of them.

All of them, which alone shows that none was left out; or some, by what they say or by number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ledger.effect import TEXT_MAX, TYPE_MAX
from ledger.forms.grammar import NAME, NAME_FORM, form, integer, items, members, text
from ledger.forms.names import check_principal_name

SAMPLE_MAX = 10_000
"""Entries of one sample."""

Payloads = Literal["shown", "withheld", "denied"]
"""Whether payloads come along; `denied` where the reader's key does not reach them."""

_filter = members(
    {
        "type": form(NAME, NAME_FORM, TYPE_MAX),
        "poster": check_principal_name,
        "subject": text(TEXT_MAX),
        "seqs": items(integer(0), SAMPLE_MAX, minimum=1),
    },
    optional=["type", "poster", "subject", "seqs"],
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Entries of one period that pass every one of these; all of them where there is none."""

    type: str | None = None
    poster: str | None = None
    subject: str | None = None
    seqs: tuple[int, ...] = ()
    """A sample: numbers of entries, rising; empty for no sample."""
    payloads: Payloads = "denied"

    @property
    def is_complete(self) -> bool:
        """Whether nothing of the period is left out."""
        return not self.filter()

    def filter(self) -> dict[str, Any]:
        """What selects, as the manifest states it."""
        words = {"type": self.type, "poster": self.poster, "subject": self.subject}
        found: dict[str, Any] = {name: word for name, word in words.items() if word is not None}
        if self.seqs:
            found["seqs"] = list(self.seqs)
        return found


def parse_selection(document: Mapping[str, Any], payloads: Payloads) -> Selection:
    """
    The selection that `{type?, poster?, subject?, seqs?}` asks for.

    Raises:
        MalformedEffectError, TooLargeError: A member is unknown, wrong or over its limit.
    """
    words = _filter(dict(document), "/filter")
    return Selection(
        type=words.get("type"),
        poster=words.get("poster"),
        subject=words.get("subject"),
        seqs=tuple(sorted(set(words.get("seqs") or ()))),
        payloads=payloads,
    )
