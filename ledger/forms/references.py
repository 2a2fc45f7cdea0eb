"""
References: names by which people tell one thing from another, and must be able to.

Two that look alike are one to an auditor and two to a ledger. What is asked for now is refused
where it has what no reader sees; what is recorded stays as it is, and is read as it is.
"""

from __future__ import annotations

import re
import unicodedata

from ledger.forms.grammar import wrong

# Format characters (zero-width, bidirectional, tags), separators that are not the space, and what
# is drawn as nothing: Unicode's Default_Ignorable_Code_Point (DerivedCoreProperties), and the
# braille blank.
_UNSEEN = frozenset({"Cf", "Zl", "Zp", "Zs"})
_DRAWN_AS_NOTHING = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U000e0000-\U000e0fff]"
)


def check_reference(text: str, pointer: str) -> None:
    """
    Check that readers see a reference as it is.

    Raises:
        MalformedEffectError: It begins or ends with a blank, or has a character that is not seen.
    """
    if text[0] == " " or text[-1] == " ":
        raise wrong(pointer, "must not begin or end with a blank: nobody sees that it does")
    if text.isascii():
        return
    for letter in text:
        if letter != " " and (
            unicodedata.category(letter) in _UNSEEN or _DRAWN_AS_NOTHING.match(letter)
        ):
            raise wrong(
                pointer,
                f"must not have U+{ord(letter):04X}, which readers do not see or take for another",
            )
