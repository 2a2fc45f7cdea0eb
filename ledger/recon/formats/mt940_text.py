"""
The text of a :86: field, which each country writes in its own way.

German banks number their parts (`?20` to `?29`), Dutch ones name them (`/EREF/`), the rest write
prose. Names and accounts of the other party (`?30` to `?38`, `/NAME/`) are left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

PART = re.compile(r"\?(\d{2})")
PURPOSE = frozenset(f"{number:02}" for number in (*range(20, 30), *range(60, 64)))
SEPA = re.compile(r"(EREF|KREF|MREF|CRED|DEBT|SVWZ|ABWA|ABWE|RREF|PREF)\+")
# Longer names first: /REMI/ and /REM/ would both fit.
NAMED = re.compile(
    r"/(EREF|REMI|PREF|MARF|CSID|RTRN|TRCD|ORDP|BENM|NAME|IBAN|BIC|TRTP|ISDT|OCMT|CHGS)/"
)
RETURN_WORDS = re.compile(
    r"\b(?:RETOURE|RUECKUEBERWEISUNG|RUECKLASTSCHRIFT|STORNO|RETURN|REJECT|RETOUR)\b"
)
REASON = re.compile(r"\b(A[CGM]\d{2}|MD\d{2}|MS\d{2}|R[CR]\d{2}|SL01|BE\d{2}|FOCR|CNOR|DNOR)\b")
RETURN_CODES = frozenset({"108", "109", "159", "181", "184", "185", "186"})
"""Business transaction codes (GVC) of the German banks that mean a return."""


@dataclass(slots=True, kw_only=True)
class Narrative:
    """What a :86: says."""

    text: str = ""
    end_to_end: str | None = None
    transaction: str | None = None
    reason: str | None = None
    returned: bool = False
    codes: dict[str, str] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Whether there was no text."""
        return not self.text


def read_narrative(text: str) -> Narrative:
    """The parts of a :86: that are no personal data."""
    if PART.search(text):
        found = _numbered(text)
    elif NAMED.search(text):
        found = _named(text)
    else:
        found = Narrative(text=" ".join(text.split()))
    reason = REASON.search(found.text) if found.returned else None
    if reason and not found.reason:
        found.reason = reason[1]
    return found


def _numbered(text: str) -> Narrative:
    # Lines are wrapped at a fixed width, also within a number or a word.
    head, *rest = PART.split(text.replace("\n", ""))
    pairs = list(zip(rest[::2], rest[1::2], strict=True))
    purpose = "".join(content for number, content in pairs if number in PURPOSE)
    booking = next((content for number, content in pairs if number == "00"), "")
    code = head.strip()[:3]
    pieces = SEPA.split(purpose)
    named = dict(zip(pieces[1::2], pieces[2::2], strict=True))
    end_to_end = named.get("EREF", "").strip()
    returned = code in RETURN_CODES or bool(RETURN_WORDS.search(f"{booking} {purpose}".upper()))
    return Narrative(
        text=purpose.strip(),
        end_to_end=end_to_end if end_to_end not in ("", "NOTPROVIDED") else None,
        returned=returned,
        codes={"code": code} if code.isdigit() else {},
    )


def _named(text: str) -> Narrative:
    _, *rest = NAMED.split(text.replace("\n", ""))
    named = dict(zip(rest[::2], rest[1::2], strict=True))
    end_to_end = named.get("EREF", "").strip("/ ")
    reason = named.get("RTRN", "").strip("/ ")
    words = [named.get(name, "").strip("/ ") for name in ("REMI", "PREF", "OCMT")]
    return Narrative(
        text=" ".join(word for word in words if word),
        end_to_end=end_to_end if end_to_end not in ("", "NOTPROVIDED") else None,
        reason=reason or None,
        returned=bool(reason) or bool(RETURN_WORDS.search(text.upper())),
    )
