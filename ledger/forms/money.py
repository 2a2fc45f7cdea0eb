"""
Money as text: currencies, their exponents, and amounts in exactly that many decimals.

Amounts are never floats and are never rounded. Whose money it is and what may be done with
it is said by `effect` and `lifecycle`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ledger.errors import BadReferenceError, MalformedEffectError
from ledger.forms.grammar import wrong

EXPONENT_MAX = 18

DECIMAL = r"-?(?:0|[1-9][0-9]{0,19})(?:\.[0-9]{1,18})?"
AMOUNT = re.compile(r"(?!-0(?:\.0+)?\Z)" + DECIMAL)
"""Any amount in any currency: what a verifier holds recorded amounts to."""

CURRENCY = re.compile("[A-Z][A-Z0-9]{2,11}")
"""A code of ISO 4217 or a unit that a ledger declared."""

# ISO 4217 list one, by number of decimals; fund codes included.
_ACTIVE = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD "
    "CAD CDF CHE CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL "
    "GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR "
    "LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD "
    "PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC "
    "SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XAD XCD XCG YER ZAR "
    "ZMW ZWG",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
# Withdrawn since 2021 and still met in refunds of older effects.
_WITHDRAWN = {2: "ANG BGN CUC HRK SLL ZWL"}

# ISO 4217 gives these no minor unit: metals, baskets, the test code and "no currency". An
# amount in them would have no smallest unit to be held to.
_WITHOUT_UNIT = "XAG XAU XBA XBB XBC XBD XDR XPD XPT XSU XTS XUA XXX"
WITHOUT_UNIT = frozenset(_WITHOUT_UNIT.split())

ISO_4217: Mapping[str, int] = {
    code: decimals
    for table in (_ACTIVE, _WITHDRAWN)
    for decimals, codes in table.items()
    for code in codes.split()
}
"""Currency code -> number of decimals."""


def exponent(currency: str, units: Mapping[str, int], pointer: str = "/money/currency") -> int:
    """
    Number of decimals of `currency`, from ISO 4217 or from the `units` a ledger declared.

    Raises:
        MalformedEffectError: Not the form of a currency code.
        BadReferenceError: No such currency or unit here, or one without a smallest unit.
    """
    found = ISO_4217.get(currency)
    if found is None:
        found = units.get(currency)
    if found is not None:
        return found
    if not CURRENCY.fullmatch(currency):
        raise wrong(pointer, "must be a currency code of 3 to 12 upper-case letters and digits")
    if currency in WITHOUT_UNIT:
        message = f"{pointer} {currency} has no smallest unit in ISO 4217, so no amount is exact"
        raise BadReferenceError(message, pointer=pointer, currency=currency)
    message = f"{pointer} {currency} is neither in ISO 4217 nor a unit this ledger declared"
    raise BadReferenceError(message, pointer=pointer, currency=currency)


def check_amount(amount: str, exponent: int, pointer: str = "/money/amount") -> None:
    """
    Hold `amount` to the grammar, with exactly `exponent` decimals.

    "19" is not taken for 19.00: who sends "1999" may have meant 19.99, and history would
    keep the mistake.

    Raises:
        MalformedEffectError: Another form, or another number of decimals.
    """
    check_amount_form(amount, pointer)
    check_decimals(amount, exponent, pointer)


def check_decimals(amount: str, exponent: int, pointer: str = "/money/amount") -> None:
    """
    Hold a well-formed amount to exactly `exponent` decimals.

    Raises:
        MalformedEffectError: It has another number of them.
    """
    found = decimals(amount)
    if found != exponent:
        raise wrong(pointer, f"must have exactly {exponent} decimals, found {found}")


def check_amount_form(amount: str, pointer: str = "/money/amount") -> None:
    """
    Hold `amount` to what every currency's amounts have in common.

    Raises:
        MalformedEffectError: Another form.
    """
    if not AMOUNT.fullmatch(amount):
        raise wrong(
            pointer,
            "must be a decimal number such as 19.99 or -5: at most 20 digits before and 18 "
            "after the point, no leading zero, plus sign or exponent, and no minus zero",
        )


def decimals(amount: str) -> int:
    """How many digits stand after the point of a well-formed amount."""
    return len(amount.partition(".")[2])


def minor_units(amount: str) -> int:
    """A well-formed amount in its currency's smallest unit: "19.99" is 1999."""
    return int(amount.replace(".", ""))


def format_amount(minor: int, exponent: int) -> str:
    """`minor` smallest units as an amount with `exponent` decimals: 1999 and 2 give "19.99"."""
    digits = f"{abs(minor):0{exponent + 1}d}"
    whole = len(digits) - exponent
    point = "." if exponent else ""
    return f"{'-' if minor < 0 else ''}{digits[:whole]}{point}{digits[whole:]}"


def amount_text(minor: int, currency: str) -> str:
    """An amount with the decimals of its currency, as people read it; two where none is known."""
    return format_amount(minor, ISO_4217.get(currency, 2))


def check_units(declared: Mapping[str, int], pointer: str = "/units") -> None:
    """
    Hold the units a ledger declares at its creation to their form.

    Raises:
        MalformedEffectError: A name is not 3 to 12 upper-case letters and digits or is one
            of ISO 4217's, or an exponent is not from 0 to 18.
    """
    for name, decimals_declared in declared.items():
        here = f"{pointer}/{name}"
        if not CURRENCY.fullmatch(name):
            raise MalformedEffectError(
                f"{pointer} has a unit whose name is not 3 to 12 upper-case letters and digits",
                pointer=pointer,
            )
        if name in ISO_4217 or name in WITHOUT_UNIT:
            raise wrong(here, "is a code of ISO 4217 and cannot be declared anew")
        if type(decimals_declared) is not int or not 0 <= decimals_declared <= EXPONENT_MAX:
            raise wrong(here, f"must be from 0 to {EXPONENT_MAX} decimals")
