"""Small lies: what a forger may do to any evidence, each by its name, and none of it random."""

from __future__ import annotations

import base64
import re
import unicodedata
from collections.abc import Callable, Sequence

Change = Callable[[bytes, int, int], bytes]
"""(evidence, and two numbers that say where and what) -> the changed evidence."""

NUMBERS = (
    *("0", "1", "-1", "+1", "01", "1e3", "1.0", " 1", "1_0", "0x10", "\u0661", "\uff11", ""),
    *(str(2**bits + off) for bits in (31, 32, 53, 63, 64, 200) for off in (-1, 0, 1)),
    "9" * 5_000,
)
ORIGINS = (
    *("log.example/other", "log.example/orders2", "LOG.example/orders", "log.example/orders/"),
    *("log.example/orders ", "log.example//orders", "x" * 300, "log.example/ordérs", "/orders"),
)
LINES = (
    *("", " ", "\t", "extra AAAA", "index 0", "index 1", "c2sp.org/tlog-proof@v1", "— x AAAAAAA="),
    *("— log.example/orders AAAAAAAA", "quorum none", "old 0", "#", "\u2014", "=" * 80, "\0", "\r"),
    "A" * 44,
    "A" * 43 + "=",
)
_NUMBER = re.compile(rb"[0-9]+")
_BASE64 = re.compile(rb"[A-Za-z0-9+/]{20,}={0,2}")
_ORIGIN = re.compile(rb"log\.example/[a-z]+")


def _bit(data: bytes, at: int, which: int) -> bytes:
    place = at % max(len(data), 1)
    return (
        data[:place]
        + bytes(each ^ 1 << which % 8 for each in data[place : place + 1])
        + (data[place + 1 :])
    )


def _put(data: bytes, at: int, octet: int) -> bytes:
    place = at % (len(data) + 1)
    return data[:place] + bytes([octet % 256]) + data[place:]


def _drop(data: bytes, at: int, many: int) -> bytes:
    place = at % max(len(data), 1)
    return data[:place] + data[place + 1 + many % 40 :]


def _cut(data: bytes, at: int, _which: int) -> bytes:
    return data[: at % (len(data) + 1)]


def _on_lines(change: Callable[[list[bytes], int, int], None]) -> Change:
    def apply(data: bytes, at: int, which: int) -> bytes:
        # In JSON the lines of a note are behind escapes.
        end = b"\\n" if data[:1] == b"{" else b"\n"
        lines = data.split(end)
        change(lines, at % len(lines), which)
        return end.join(lines)

    return apply


def _double(lines: list[bytes], at: int, _which: int) -> None:
    lines.insert(at, lines[at])


def _remove(lines: list[bytes], at: int, _which: int) -> None:
    del lines[at]


def _swap(lines: list[bytes], at: int, which: int) -> None:
    other = which % len(lines)
    lines[at], lines[other] = lines[other], lines[at]


def _add(lines: list[bytes], at: int, which: int) -> None:
    lines.insert(at, LINES[which % len(LINES)].encode())


def _on_match(pattern: re.Pattern[bytes], change: Callable[[bytes, int], bytes]) -> Change:
    def apply(data: bytes, at: int, which: int) -> bytes:
        found = list(pattern.finditer(data))
        if not found:
            return data
        match = found[at % len(found)]
        return data[: match.start()] + change(match[0], which) + data[match.end() :]

    return apply


def _other_number(_number: bytes, which: int) -> bytes:
    return NUMBERS[which % len(NUMBERS)].encode()


def _near_number(number: bytes, which: int) -> bytes:
    return str(int(number[:18]) + which % 7 - 3).encode()


def _other_origin(_origin: bytes, which: int) -> bytes:
    return ORIGINS[which % len(ORIGINS)].encode()


def _base64_bit(text: bytes, which: int) -> bytes:
    octets = bytearray(base64.b64decode(text[: len(text) // 4 * 4]))
    octets[which // 8 % len(octets)] ^= 1 << which % 8
    return base64.b64encode(bytes(octets))


def _base64_length(text: bytes, which: int) -> bytes:
    octets = base64.b64decode(text[: len(text) // 4 * 4])
    return base64.b64encode(octets[:-1] if which % 2 else octets + b"\0")


def _base64_spelling(text: bytes, which: int) -> bytes:
    bare = text.rstrip(b"=")
    last = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".find(bare[-1:])
    return (
        bare,
        text + b"=",
        text.replace(b"+", b"-").replace(b"/", b"_"),
        text + b" ",
        bare[:10] + b"\n" + text[10:],
        # The bits that padding leaves over: another spelling of the same octets.
        bare[:-1]
        + b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[last ^ 1 :][:1]
        + text[len(bare) :],
        text.lower(),
        base64.b32encode(base64.b64decode(text[: len(text) // 4 * 4])),
        base64.b64decode(text[: len(text) // 4 * 4]).hex().encode(),
    )[which % 9]


def _swap_hashes(data: bytes, at: int, which: int) -> bytes:
    found = list(_BASE64.finditer(data))
    if len(found) < 2:
        return data
    one, other = sorted({at % len(found), which % len(found)} | {0, 1})[:2]
    first, second = found[one], found[other]
    return (
        data[: first.start()]
        + second[0]
        + data[first.end() : second.start()]
        + first[0]
        + data[second.end() :]
    )


def _encoded(data: bytes, _at: int, which: int) -> bytes:
    text = data.decode(errors="replace")
    return (
        text.encode("utf-16"),
        text.encode("utf-8-sig"),
        text.encode("latin-1", errors="replace"),
        unicodedata.normalize("NFD", text).encode(),
        unicodedata.normalize("NFKC", text).encode(),
        text.replace("\n", "\r\n").encode(),
        text.replace("\n", "\u2028").encode(),
        text.replace("—", "-").encode(),
        text.upper().encode(),
        text.encode() + b"\0",
        b"\n" + text.encode(),
        text.strip().encode(),
    )[which % 12]


def _json(data: bytes, at: int, which: int) -> bytes:
    """Another JSON text: the same value in another spelling, or a value of another type."""
    places = [match.start() for match in re.finditer(rb'[":,{}\[\]]', data)]
    if not places:
        return data
    place = places[at % len(places)]
    said = (
        *(b"null,", b"true", b"1.0", b"[", b"]", b"{", b"}", b'"', b",", b":", b"\\u0000", b"NaN"),
        *(b'"entry":"{}",', b'"proof":null,', b"\\ud800", b"\\/", b" ", b"[" * 2_000, b'"x":'),
    )
    return data[:place] + said[which % len(said)] + data[place:]


def _escaped(data: bytes, at: int, _which: int) -> bytes:
    """A letter as its escape: in JSON the same text."""
    letters = [match.start() for match in re.finditer(rb"(?<!\\)[a-z]", data)]
    if not letters:
        return data
    place = letters[at % len(letters)]
    return data[:place] + b"\\u%04x" % data[place] + data[place + 1 :]


CHANGES: dict[str, Change] = {
    "flip a bit": _bit,
    "put in an octet": _put,
    "drop octets": _drop,
    "cut it off": _cut,
    "double a line": _on_lines(_double),
    "remove a line": _on_lines(_remove),
    "swap two lines": _on_lines(_swap),
    "add a line": _on_lines(_add),
    "another number": _on_match(_NUMBER, _other_number),
    "a number beside it": _on_match(_NUMBER, _near_number),
    "another origin": _on_match(_ORIGIN, _other_origin),
    "flip a bit of what is encoded": _on_match(_BASE64, _base64_bit),
    "an encoded octet more or less": _on_match(_BASE64, _base64_length),
    "spell base64 otherwise": _on_match(_BASE64, _base64_spelling),
    "swap two hashes": _swap_hashes,
    "encode it otherwise": _encoded,
    "other JSON": _json,
    "escape a letter": _escaped,
}


def splice(data: bytes, other: bytes, at: int, which: int) -> bytes:
    """Lines of another piece of evidence in the place of as many of this one's."""
    lines, others = data.split(b"\n"), other.split(b"\n")
    start, many = at % len(lines), 1 + which % 4
    lines[start : start + many] = others[start : start + many]
    return b"\n".join(lines)


def forge(data: bytes, mutations: Sequence[tuple[str, int, int]], others: Sequence[bytes]) -> bytes:
    """The evidence after these changes, in order; `splice` takes from one of `others`."""
    for name, at, which in mutations:
        if name == "splice":
            data = splice(data, others[at % len(others)], which, at)
        else:
            data = CHANGES[name](data, at, which)
    return data
