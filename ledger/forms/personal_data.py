"""
Personal data that must not be hashed for ever: e-mail addresses, IBANs and card numbers.

Finds what looks like one in texts given with their JSON pointers. This is a net for
accidents and proves nothing: a name in a subject passes. Words about people belong in
payloads, which can be erased.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

from ledger.errors import PersonalDataError

AT_SIGN = "at-sign"
IBAN = "iban"
CARD = "card"
CHECKS = frozenset({AT_SIGN, IBAN, CARD})
"""Names of the checks; a ledger may switch each of them off."""

# BBAN structure by country from the SWIFT IBAN registry: n digits, a letters, c both.
_IBAN_STRUCTURES = """
AD 8n12c     AE 19n       AL 8n16c     AT 16n       AZ 4a20c     BA 16n       BE 12n
BG 4a6n8c    BH 4a14c     BI 23n       BR 23n1a1c   BY 4c4n16c   CH 5n12c     CR 18n
CY 8n16c     CZ 20n       DE 18n       DJ 23n       DK 14n       DO 4c20n     EE 16n
EG 25n       ES 20n       FI 14n       FK 2a12n     FO 14n       FR 10n11c2n  GB 4a14n
GE 2a16n     GI 4a15c     GL 14n       GR 7n16c     GT 24c       HN 4a20n     HR 17n
HU 24n       IE 4a14n     IL 19n       IQ 4a15n     IS 22n       IT 1a10n12c  JO 4a4n18c
KW 4a22c     KZ 3n13c     LB 4n20c     LC 4a24c     LI 5n12c     LT 16n       LU 3n13c
LV 4a13c     LY 21n       MC 10n11c2n  MD 20c       ME 18n       MK 3n10c2n   MN 16n
MR 23n       MT 4a5n18c   MU 4a19n3a   NI 4a20n     NL 4a10n     NO 11n       OM 3n16c
PK 4a16c     PL 24n       PS 4a21c     PT 21n       QA 4a21c     RO 4a16c     RS 18n
RU 14n15c    SA 2n18c     SC 4a20n3a   SD 14n       SE 20n       SI 15n       SK 20n
SM 1a10n12c  SO 19n       ST 21n       SV 4a20n     TL 19n       TN 20n       TR 6n16c
UA 6n19c     VA 18n       VG 4a16n     XK 16n       YE 4a4n18c
"""
_CLASSES = {"n": "[0-9]", "a": "[A-Za-z]", "c": "[0-9A-Za-z]"}


def _iban_pattern(country: str, structure: str) -> re.Pattern[str]:
    # People write an IBAN in groups of four, so one space may stand between any two.
    # Not followed by a letter or digit: the whole word is the account, not its beginning.
    runs = re.findall("([0-9]+)([nac])", structure)
    body = "".join(f"(?: ?{_CLASSES[kind]}){{{count}}}" for count, kind in runs)
    return re.compile(f"{country} ?[0-9] ?[0-9]{body}(?![0-9A-Za-z])", re.ASCII | re.IGNORECASE)


_words = _IBAN_STRUCTURES.split()
_IBAN_PATTERNS = {
    country: _iban_pattern(country, structure)
    for country, structure in zip(_words[::2], _words[1::2], strict=True)
}
_IBAN_BEGINNING = re.compile("(?<![0-9A-Za-z])([A-Za-z]{2}) ?[0-9] ?[0-9]")

# Cards are written without a break, or in the groups that are embossed on them. Other
# groupings are left alone: those of a UUID would else give a card number now and then.
_CARD = re.compile(
    "(?<![0-9A-Za-z])(?:"
    "[0-9]{13,19}|"
    "[0-9]{4}([ -])[0-9]{4}\\1[0-9]{4}\\1[0-9]{4}(?:\\1[0-9]{3})?|"
    "[0-9]{4}([ -])[0-9]{6}\\2[0-9]{4,5}"
    ")(?![0-9A-Za-z])"
)
# Issuer identification ranges by scheme, with the lengths in use.
_ISSUERS = re.compile(
    "(?:"
    "4(?:[0-9]{12}|[0-9]{15}|[0-9]{18})|"  # Visa
    "5[1-5][0-9]{14}|"  # Mastercard
    "2(?:22[1-9]|2[3-9][0-9]|[3-6][0-9]{2}|7[01][0-9]|720)[0-9]{12}|"  # Mastercard, since 2017
    "3[47][0-9]{13}|"  # American Express
    "3(?:0[0-5]|09|6[0-9]|[89][0-9])[0-9]{11,16}|"  # Diners Club
    "(?:6011|64[4-9][0-9]|65[0-9]{2})[0-9]{12,15}|"  # Discover
    "35(?:2[89]|[3-8][0-9])[0-9]{12,15}|"  # JCB
    "62[0-9]{14,17}|"  # UnionPay
    "220[0-4][0-9]{12,15}|"  # Mir
    "(?:5018|5020|5038|5893|6304|6759|676[1-3])[0-9]{9,15}"  # Maestro
    ")"
)

# Where people put the number they are charging: elsewhere sixteen digits are a reference.
_CARD_POINTERS = re.compile("/(?:subject|actor/id|key|labels(?:/.*)?)")
# A provider's or bank's reference is worth nothing unless it is kept as it is.
_EXEMPT_POINTERS = re.compile("/evidence/[0-9]+/ref")

# Digits as 0, letters as a, all else as a full stop: what a text looks like from afar.
_SHAPES = bytes(
    ord("0" if chr(octet) in string.digits else "a" if chr(octet) in string.ascii_letters else ".")
    for octet in range(256)
)
_SHORTEST = 13
# Small and full width are what mail programs of East Asia make of one, and take for one.
_AT_SIGNS = re.compile("[@\ufe6b\uff20]")
_WIDE_AT_SIGNS = re.compile(b"\xef(?:\xb9\xab|\xbc\xa0)")
_CARD_SHAPE = b"0" * _SHORTEST
# Begins with what is the same in all of them, which is looked for at once.
_IBAN_SHAPE = re.compile(rb"\.aa\.?0\.?0(?:\.?[a0]){11}")


def is_suspicious(encoded: bytes) -> bool:
    """
    Whether `screen` could find anything in the texts of these canonical JSON bytes.

    Quick, so that the usual effect is done with; true more often than there is something.
    """
    # JSON escapes nothing that an address, an account or a card number is made of, and what it
    # writes before a text or an escaped character is no letter and no digit.
    return (
        b"@" in encoded
        or (not encoded.isascii() and _WIDE_AT_SIGNS.search(encoded) is not None)
        or _CARD_SHAPE in encoded.translate(_SHAPES, b" -")
        or _IBAN_SHAPE.search(encoded.translate(_SHAPES)) is not None
    )


def screen(texts: Iterable[tuple[str, str]], checks: Collection[str] = CHECKS) -> None:
    """
    Refuse texts that seem to name a person.

    Args:
        texts: JSON pointer within the effect, and the text there. `/evidence/N/ref` is
            exempt; card numbers are looked for in subject, actor id, key and labels only.
        checks: Which of `CHECKS` to make.

    Raises:
        PersonalDataError: Names the pointer and the check, never the text.
    """
    for pointer, text in texts:
        # Nothing that is looked for is shorter, but for an address.
        if (len(text) < _SHORTEST and not has_at_sign(text)) or _EXEMPT_POINTERS.fullmatch(pointer):
            continue
        for check, says, finds in _FINDERS:
            if check not in checks or (check == CARD and not _CARD_POINTERS.fullmatch(pointer)):
                continue
            if finds(text):
                message = f"{pointer} {says}; put words about people into a payload"
                raise PersonalDataError(message, pointer=pointer, check=check)


def texts_of(value: Any, pointer: str = "") -> Iterator[tuple[str, str]]:
    """
    Every string in a JSON value with its pointer.

    Names of labels are the caller's words too, and told without themselves in the pointer; all
    other member names are ours.
    """
    if isinstance(value, str):
        yield pointer, value
    elif isinstance(value, dict):
        for name, member in value.items():
            if pointer == "/labels":
                yield pointer, name
            yield from texts_of(member, f"{pointer}/{name}")
    elif isinstance(value, list):
        for at, item in enumerate(value):
            yield from texts_of(item, f"{pointer}/{at}")


def has_at_sign(text: str) -> bool:
    """Whether an `@` stands anywhere, in any of its three widths."""
    return _AT_SIGNS.search(text) is not None


def has_iban(text: str) -> bool:
    """
    Whether a valid IBAN stands anywhere, written together or with spaces, in either case.

    Source: ISO 13616-1; check digits per ISO 7064, MOD 97-10.
    """
    for beginning in _IBAN_BEGINNING.finditer(text):
        pattern = _IBAN_PATTERNS.get(beginning[1].upper())
        found = pattern.match(text, beginning.start()) if pattern else None
        if found:
            iban = found[0].replace(" ", "")
            # Letters count as two digits, A as 10; int(_, 36) reads both kinds.
            if int("".join(str(int(char, 36)) for char in iban[4:] + iban[:4])) % 97 == 1:
                return True
    return False


def has_card_number(text: str) -> bool:
    """
    Whether 13 to 19 digits of a card scheme with a good check digit stand anywhere.

    Source: ISO/IEC 7812-1, Annex B.
    """
    for found in _CARD.finditer(text):
        digits = found[0].replace(" ", "").replace("-", "")
        if _ISSUERS.fullmatch(digits) and _luhn_sum(digits) % 10 == 0:
            return True
    return False


def _luhn_sum(digits: str) -> int:
    doubled = (2 * int(digit) for digit in digits[-2::-2])
    return sum(map(int, digits[-1::-2])) + sum(two // 10 + two % 10 for two in doubled)


_FINDERS: tuple[tuple[str, str, Callable[[str], bool]], ...] = (
    (AT_SIGN, "has an @, which e-mail addresses have", has_at_sign),
    (IBAN, "has the IBAN of a bank account", has_iban),
    (CARD, "has the number of a payment card", has_card_number),
)
