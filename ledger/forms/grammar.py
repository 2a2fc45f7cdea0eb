"""
Grammar: small parsers that hold one member of a document to its one right form.

A parser takes a value and its JSON pointer (RFC 6901) and returns the value as it is
hashed, or None where an empty value stands for an absent member. What members there are,
and which may stand together, is said by `effect`, `notices`, `payload` and `entry`.

Every parser raises MalformedEffectError for a wrong value and TooLargeError for one that
is over a limit, with the pointer in `details`. Messages never repeat the value: it may be
the personal data that must not be kept.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ledger.canonical import INTEGER_MAX, check_text
from ledger.errors import MalformedEffectError, TooLargeError
from ledger.forms.timestamps import normalise_time

Parser = Callable[[Any, str], Any]

UUID = re.compile("[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")
NAME = re.compile(r"[a-z][a-z0-9_-]*(?:\.[a-z0-9_-]+)*")
NAME_FORM = "dotted lower-case words, such as card.capture"
KEY = re.compile("[!-~]+")
KEY_FORM = "visible ASCII characters without spaces"
HASH = re.compile("[0-9a-f]{64}")
HASH_FORM = "a SHA-256 as 64 lower-case hexadecimal digits"


def wrong(pointer: str, says: str) -> MalformedEffectError:
    """The error for the member at `pointer`, of which `says` tells what is wrong."""
    return MalformedEffectError(f"{pointer or '/'} {says}", pointer=pointer)


def too_large(pointer: str, found: int, limit: int, unit: str) -> TooLargeError:
    """The error for a member that has `found` units where `limit` are allowed."""
    message = f"{pointer or '/'} has {found} {unit}, the limit is {limit}"
    return TooLargeError(message, pointer=pointer, limit=limit, found=found)


def below(pointer: str, name: object) -> str:
    """The pointer of member `name` under `pointer`, escaped as RFC 6901 Section 3 has it."""
    return f"{pointer}/{str(name).replace('~', '~0').replace('/', '~1')}"


def text(limit: int) -> Parser:
    """Words of the caller: 1 to `limit` code points under the text rules of hashed strings."""

    def parse(value: Any, pointer: str) -> str:
        if not isinstance(value, str):
            raise wrong(pointer, "must be a string")
        if not value:
            raise wrong(pointer, "must not be empty; leave the member out instead")
        if len(value) > limit:
            raise too_large(pointer, len(value), limit, "characters")
        # Printable ASCII obeys every text rule, and is nearly all there is.
        if not (value.isascii() and value.isprintable()):
            check_text(value, pointer)
        return value

    return parse


def form(pattern: re.Pattern[str], says: str, limit: int) -> Parser:
    """A string of at most `limit` characters that `pattern` matches whole."""
    matches = pattern.fullmatch

    def parse(value: Any, pointer: str) -> str:
        if not isinstance(value, str):
            raise wrong(pointer, "must be a string")
        if len(value) > limit:
            raise too_large(pointer, len(value), limit, "characters")
        if not matches(value):
            raise wrong(pointer, f"must be {says}")
        return value

    return parse


def one_of(*values: str) -> Parser:
    """One of these words."""
    # Looked up rather than passed on: an enum's member comes out as the plain word.
    allowed = {str(value): str(value) for value in values}
    says = f"must be one of {', '.join(values)}"

    def parse(value: Any, pointer: str) -> str:
        word = allowed.get(value) if isinstance(value, str) else None
        if word is None:
            raise wrong(pointer, says)
        return word

    return parse


def boolean(value: Any, pointer: str) -> bool:
    """A JSON true or false."""
    if value is not True and value is not False:
        raise wrong(pointer, "must be true or false")
    return bool(value)


def integer(minimum: int, maximum: int = INTEGER_MAX) -> Parser:
    """A whole number from `minimum` to `maximum`."""

    def parse(value: Any, pointer: str) -> int:
        # bool is an int to Python and not to JSON.
        if not isinstance(value, int) or isinstance(value, bool):
            raise wrong(pointer, "must be a whole number")
        if not minimum <= value <= maximum:
            raise wrong(pointer, f"must be from {minimum} to {maximum}")
        return value

    return parse


def uuid(value: Any, pointer: str) -> str:
    """An identifier in the form of RFC 9562 Section 4, in lower case."""
    if not isinstance(value, str) or not UUID.fullmatch(value):
        raise wrong(pointer, "must be a UUID")
    return value.lower()


def moment(value: Any, pointer: str) -> str:
    """An RFC 3339 time with any offset, as UTC with six fractional digits."""
    if not isinstance(value, str):
        raise wrong(pointer, "must be a string")
    try:
        return normalise_time(value)
    except ValueError as error:
        raise wrong(pointer, f"must be an RFC 3339 time: {error}") from error


def base64_text(limit: int, *, size: int | None = None) -> Parser:
    """
    Octets in the one padded base64 spelling (RFC 4648 Section 4).

    Args:
        limit: Most characters of text.
        size: How many octets the text must stand for, where that is fixed.
    """

    def parse(value: Any, pointer: str) -> str:
        if not isinstance(value, str):
            raise wrong(pointer, "must be a string")
        if len(value) > limit:
            raise too_large(pointer, len(value), limit, "characters")
        octets = decode_base64(value, pointer)
        if size is not None and len(octets) != size:
            raise wrong(pointer, f"must be the base64 of {size} bytes, found {len(octets)}")
        return value

    return parse


def decode_base64(value: str, pointer: str) -> bytes:
    """The octets of `value`, which must be their only padded base64 spelling."""
    try:
        octets = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise wrong(pointer, "must be padded base64") from error
    # RFC 4648 Section 3.5: spare bits of the last character would give a second spelling.
    if base64.b64encode(octets).decode() != value:
        raise wrong(pointer, "must be padded base64 without spare bits")
    return octets


def members(parsers: Mapping[str, Parser], *, optional: Iterable[str] = ()) -> Parser:
    """A JSON object with exactly these members, of which those in `optional` may be absent."""
    may_be_absent = frozenset(optional)
    assert may_be_absent <= parsers.keys(), "an optional member needs a parser"

    def parse(value: Any, pointer: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise wrong(pointer, "must be an object")
        parsed = {}
        for name, parse_member in parsers.items():
            if name in value:
                parsed[name] = parse_member(value[name], f"{pointer}/{name}")
            elif name not in may_be_absent:
                raise wrong(f"{pointer}/{name}", "is required")
        if len(parsed) != len(value):
            raise unknown(pointer, value.keys() - parsers.keys())
        return parsed

    return parse


def unknown(pointer: str, names: Iterable[object]) -> MalformedEffectError:
    """The error for members nobody knows, naming the first of them."""
    first = min(map(str, names))
    return wrong(below(pointer, first[:63]), "is not a member known here")


def items(parse_item: Parser, limit: int, *, minimum: int = 0) -> Parser:
    """A list of `minimum` to `limit` items; an empty one stands for an absent member."""

    def parse(value: Any, pointer: str) -> list[Any] | None:
        if not isinstance(value, list | tuple):
            raise wrong(pointer, "must be a list")
        if len(value) > limit:
            raise too_large(pointer, len(value), limit, "items")
        if len(value) < minimum:
            raise wrong(pointer, f"must have at least {minimum} items")
        return [parse_item(item, f"{pointer}/{at}") for at, item in enumerate(value)] or None

    return parse


def entries(key: re.Pattern[str], says: str, parse_value: Parser, limit: int) -> Parser:
    """An object of at most `limit` members whose names `key` matches whole; may be empty."""

    def parse(value: Any, pointer: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise wrong(pointer, "must be an object")
        if len(value) > limit:
            raise too_large(pointer, len(value), limit, "members")
        parsed = {}
        for name, item in value.items():
            if not isinstance(name, str) or not key.fullmatch(name):
                raise wrong(below(pointer, str(name)[:63]), f"must have a name of {says}")
            parsed[name] = parse_value(item, f"{pointer}/{name}")
        return parsed

    return parse
