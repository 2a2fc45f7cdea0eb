"""
Values to the bytes that are hashed, and JSON text to values, each in exactly one way.

The canonical form is RFC 8785. It is not the gate: what two readers would read differently
is refused before it is hashed. Which members a value may have is for others to say.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

import orjson
import rfc8785

from ledger.errors import MalformedEffectError, MalformedJsonError

INTEGER_MAX = 2**53 - 1
"""RFC 8785 Section 3.2.2.3: beyond it, readers that hold numbers as doubles disagree."""

DEPTH_MAX = 64
"""Containers inside containers; a text that nests deeper has no use here but to exhaust us."""

_CONTAINERS = (dict, list, tuple)
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f]")
_SURROGATES = re.compile("[\ud800-\udfff]")
# A name in a message tells where to look; a long one would only fill logs.
_NAME_SHOWN = 63


# ---- Reading --------------------------------------------------------------------------


def parse_json(text: bytes | str) -> Any:
    """
    The one value that every reader finds in `text`.

    Numbers with a point or an exponent come back as finite floats.

    Args:
        text: JSON (RFC 8259), as UTF-8 without byte order mark where it is bytes.

    Raises:
        MalformedJsonError: Not JSON, or not I-JSON (RFC 7493): a name twice in one object,
            also once unescaped, an unpaired surrogate, an integer beyond 53 bits or a number
            beyond a double, text after the value. Also for more than 64 nested containers.
    """
    try:
        encoded = text.encode() if isinstance(text, str) else text
        value = orjson.loads(encoded)
    except UnicodeEncodeError as error:
        raise MalformedJsonError(
            f"unpaired surrogate at character {error.start}", position=error.start
        ) from error
    except orjson.JSONDecodeError as error:
        raise MalformedJsonError(
            f"not JSON: {error.msg} at line {error.lineno} column {error.colno}",
            line=error.lineno,
            column=error.colno,
        ) from error
    # No text is deeper than it has opening brackets, and most have few.
    if encoded.count(b"{") + encoded.count(b"[") > DEPTH_MAX:
        _check_depth(value)
    if not _is_own_spelling(value, encoded):
        _check_pairs_and_numbers(encoded)
    return value


def _is_own_spelling(value: Any, encoded: bytes) -> bool:
    """
    Whether `encoded` is what `value` is written as, character for character.

    Most clients write JSON compactly. Then nothing was lost in reading: a second member of
    one name would be missing from the output, and an integer that became a float would have
    another form. It is three times as fast as looking at every pair.
    """
    try:
        return orjson.dumps(value, option=orjson.OPT_STRICT_INTEGER) == encoded
    except orjson.JSONEncodeError:
        return False


def _check_depth(value: Any) -> None:
    # The value stands in a list, so that it is looked at like all others; this is no level.
    layer: list[Any] = [[value]]
    for _ in range(DEPTH_MAX + 1):
        layer = [
            item
            for container in layer
            for item in (container.values() if isinstance(container, dict) else container)
            if isinstance(item, dict | list)
        ]
        if not layer:
            return
    raise MalformedJsonError(f"more than {DEPTH_MAX} nested containers", limit=DEPTH_MAX)


def _check_pairs_and_numbers(encoded: bytes) -> None:
    # The grammar was checked; this reader only sees what the fast one does not tell.
    _PAIRS_AND_NUMBERS.decode(encoded.decode())


def _check_pairs(pairs: list[tuple[str, Any]]) -> None:
    names = set()
    for name, _ in pairs:
        if name in names:
            raise MalformedJsonError(
                f'member "{name[:_NAME_SHOWN]}" stands twice in one object',
                name=name[:_NAME_SHOWN],
            )
        names.add(name)


def _check_integer(digits: str) -> None:
    # The length comes first: int() refuses very long texts in its own way.
    if len(digits) > len("-9007199254740991") or abs(int(digits)) > INTEGER_MAX:
        raise MalformedJsonError(
            f"integer {digits[:20]} is beyond 53 bits; send it as a string", limit=INTEGER_MAX
        )


_PAIRS_AND_NUMBERS = json.JSONDecoder(object_pairs_hook=_check_pairs, parse_int=_check_integer)


# ---- Writing --------------------------------------------------------------------------


def canonical_bytes(value: Any) -> bytes:
    """
    `value` as it is hashed: RFC 8785, UTF-8.

    Args:
        value: Made of dict with str names, list, tuple, str, int, bool and None only;
            subclasses are refused, for they have more than one spelling.

    Raises:
        MalformedEffectError: Something else, a float, an integer beyond 53 bits or more than
            64 nested containers, and where; or, wherever it is, an unpaired surrogate.
    """
    if isinstance(value, _CONTAINERS):
        names_are_ascii = _check_container(value, "", 1)
    else:
        _check_leaf(value, "")
        names_are_ascii = True
    try:
        if names_are_ascii:
            return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
        # RFC 8785 Section 3.2.3 orders names by UTF-16 code units, orjson by code points:
        # they differ where names reach beyond U+FFFF.
        return rfc8785.dumps(value)
    except (orjson.JSONEncodeError, rfc8785.CanonicalizationError, UnicodeEncodeError) as error:
        raise MalformedEffectError("a string has an unpaired surrogate") from error


def canonical_bytes_of_words(value: Any) -> bytes:
    """
    The same, of what a grammar has passed: names are ASCII, and nothing is a number.

    Raises:
        MalformedEffectError: A string has an unpaired surrogate.
    """
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError as error:
        raise MalformedEffectError("a string has an unpaired surrogate") from error


def _check_container(value: Any, pointer: str, depth: int) -> bool:
    """Refuse what has no one spelling; tell whether all names are ASCII."""
    if depth > DEPTH_MAX:
        raise MalformedEffectError(
            f"{pointer} is inside more than {DEPTH_MAX} containers", pointer=pointer
        )
    ascii_only = True
    for name, item in _items(value, pointer):
        if type(name) is str and not name.isascii():
            ascii_only = False
        # Strings are nearly all there is, and orjson refuses the bad ones itself.
        if type(item) is str:
            continue
        if isinstance(item, _CONTAINERS):
            ascii_only &= _check_container(item, f"{pointer}/{name}", depth + 1)
        else:
            _check_leaf(item, f"{pointer}/{name}")
    return ascii_only


def _items(value: Any, pointer: str) -> Iterable[tuple[Any, Any]]:
    kind = type(value)
    if kind is dict:
        for name in value:
            if type(name) is not str:
                _refuse(pointer, f"has a name of type {type(name).__name__}, expected str")
        mapping: Mapping[str, Any] = value
        return mapping.items()
    if kind is list or kind is tuple:
        return enumerate(value)
    return _refuse(pointer, f"is a {kind.__name__}")


def _check_leaf(value: Any, pointer: str) -> None:
    kind = type(value)
    if kind is int:
        if not -INTEGER_MAX <= value <= INTEGER_MAX:
            _refuse(pointer, "is an integer beyond 53 bits; send it as a string")
    elif kind is float:
        # A float has no encoding that two languages are sure to share.
        _refuse(pointer, "is a number with a fraction or an exponent; send it as a string")
    elif kind is not str and kind is not bool and value is not None:
        _refuse(pointer, f"is a {kind.__name__}, which has no canonical form")


def _refuse(pointer: str, says: str) -> NoReturn:
    raise MalformedEffectError(f"{pointer or '/'} {says}", pointer=pointer)


def canonical_bytes_with_floats(value: Any) -> bytes:
    """
    `value` as RFC 8785 has it, floats included: for payloads, which are kept as octets.

    Raises:
        MalformedJsonError: Not a finite number, an integer beyond 53 bits, an unpaired
            surrogate, or no JSON value.
    """
    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError) as error:
        raise MalformedJsonError(f"no canonical form: {error}") from error
    except RecursionError as error:
        raise MalformedJsonError("no canonical form: nested too deeply") from error


# ---- Text rules -----------------------------------------------------------------------


def check_text(text: str, where: str) -> None:
    """
    Hold a string that is hashed to the text rules.

    Args:
        text: Any string.
        where: JSON pointer of the string, for the message.

    Raises:
        MalformedEffectError: It has control characters (C0, DEL, C1) or unpaired surrogates,
            or is not in Unicode normalisation form NFC.
    """
    if text.isascii() and text.isprintable():
        return
    if _CONTROLS.search(text):
        _refuse(where, "must not have control characters")
    if _SURROGATES.search(text):
        _refuse(where, "must not have unpaired surrogates")
    if not unicodedata.is_normalized("NFC", text):
        _refuse(where, "must be in Unicode normalisation form NFC")
