"""
OFX and QFX: version 1 (SGML, tags without an end) and version 2 (XML), in one small reader.

Own reader: of the libraries at hand one refuses what banks commonly send and one is no longer
kept. Tags are read as they stand and nothing is expanded, so no entity or DTD can do anything.
There is no opening balance, so a missing line cannot show. Source: OFX specification 1.6, 2.2.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone

from ledger.recon.draft import Draft, StatementDraft
from ledger.recon.formats.days import YEAR_MIN, offset_name, plausible
from ledger.recon.formats.table import HEAD_BYTES
from ledger.recon.statement import FindingCode, LineKind

FORMAT = "ofx"
PARSER = "ofx/1"

TOKEN = re.compile(
    r"<!\[CDATA\[(?P<cdata>.*?)\]\]>|<(?P<end>/?)(?P<tag>[A-Z][A-Z0-9._]*)\s*(?P<empty>/?)>"
    r"|(?P<text>[^<]+)",
    re.DOTALL,
)
VERSION = re.compile(r'\bVERSION[:=]\s*"?(\d+)')
CHARSET = re.compile(rb"\b(?:ENCODING[:=]\s*\"?UTF-?8|encoding=\"UTF-8\")", re.IGNORECASE)
STATEMENTS = ("STMTRS", "CCSTMTRS")
INVESTMENTS = "INVSTMTRS"
TIME = re.compile(
    r"(\d{4})(\d{2})(\d{2})(?:(\d{2})(\d{2})(\d{2})?(?:[.:]\d{1,3})?)?"
    r"\s*(?:\[([+-]?\d{1,2}(?:\.\d{1,2})?)(?::[A-Za-z]*)?\])?"
)
FEES = frozenset({"FEE", "SRVCHG"})
KEPT = frozenset({"TRNTYPE", "FITID", "CHECKNUM", "REFNUM", "CORRECTACTION", "CORRECTFITID"})


@dataclass(slots=True)
class Node:
    """A tag, its text and what stands in it."""

    tag: str
    line: int
    text: str = ""
    children: list[Node] = field(default_factory=list)

    def get(self, *path: str) -> str:
        """The text at this path, or empty."""
        node = self
        for tag in path:
            found = next((child for child in node.children if child.tag == tag), None)
            if found is None:
                return ""
            node = found
        return node.text.strip()

    def walk(self, *tags: str) -> Iterator[Node]:
        """Every node with one of these tags, at any depth."""
        for child in self.children:
            if child.tag in tags:
                yield child
            yield from child.walk(*tags)


def recognises(data: bytes) -> bool:
    """By its header or its outermost tag."""
    head = data[:HEAD_BYTES]
    return b"OFXHEADER" in head or b"<OFX>" in head


def read(data: bytes, draft: Draft) -> None:
    """Each account is a statement."""
    text = _decode(data)
    version = VERSION.search(text[:HEAD_BYTES])
    draft.version = version[1] if version else ""
    root = _tree(text, draft)
    if root is None:
        return
    for kind in root.walk(INVESTMENTS):
        message = "an investment account, which is not read here"
        draft.error(FindingCode.WRONG_REPORT, f"line {kind.line}", message)
    for node in root.walk(*STATEMENTS):
        _statement(node, draft)


def _decode(data: bytes) -> str:
    if CHARSET.search(data[:HEAD_BYTES]):
        return data.decode("utf-8-sig", errors="replace")
    return data.decode("cp1252", errors="replace")


def _tree(text: str, draft: Draft) -> Node | None:
    """
    The tags from <OFX> to </OFX>.

    A tag without an end closes with the text in it, or where one around it closes.
    """
    start = text.find("<OFX>")
    if start < 0:
        draft.error(FindingCode.TRUNCATED, "", "no <OFX>")
        return None
    line = text.count("\n", 0, start) + 1
    root = Node("", line)
    stack = [root]
    at = start
    while at < len(text):
        match = TOKEN.match(text, at)
        if match is None:
            draft.error(FindingCode.MALFORMED, f"line {line}", "a tag that is not one")
            return None
        at = match.end()
        if match["tag"] is None:
            _fill(stack[-1], match, draft, line)
        elif match["end"]:
            if not _end(stack, match["tag"]):
                message = f"</{match['tag']}> ends nothing"
                draft.error(FindingCode.MALFORMED, f"line {line}", message)
                return None
        else:
            if len(stack) > 1 and stack[-1].text.strip():
                # SGML: an element with text in it ends where the next tag begins.
                stack.pop()
            node = Node(match["tag"], line)
            stack[-1].children.append(node)
            if not match["empty"]:
                stack.append(node)
        line += match[0].count("\n")
    if len(stack) > 1 or not root.children:
        draft.error(FindingCode.TRUNCATED, f"line {line}", "no </OFX>: the end is missing")
        return None
    return root


def _fill(node: Node, match: re.Match[str], draft: Draft, line: int) -> None:
    said = match["cdata"] if match["cdata"] is not None else html.unescape(match["text"])
    if not node.tag and said.strip():
        draft.error(FindingCode.MALFORMED, f"line {line}", "text outside of <OFX>")
    node.text += said


def _end(stack: list[Node], tag: str) -> bool:
    """Close `tag` and whatever without an end stands in it."""
    for depth in range(len(stack) - 1, 0, -1):
        node = stack[depth]
        if node.tag == tag:
            del stack[depth:]
            return True
        if node.children:
            # Only elements may lack an end: to go past an aggregate would hide a missing part.
            return False
    return False


def _statement(node: Node, draft: Draft) -> None:
    here = f"line {node.line}"
    currency = node.get("CURDEF").upper() or draft.source.currency
    if not node.get("CURDEF"):
        if not currency:
            draft.error(FindingCode.CURRENCY_UNKNOWN, here, "no CURDEF; give the source a currency")
            return
        draft.warn(FindingCode.DEVIATION, here, f"no CURDEF: read in the source's {currency}")
    account = node.get("BANKACCTFROM", "ACCTID") or node.get("CCACCTFROM", "ACCTID")
    statement = draft.statement(currency, account_ref=account, locator=here)
    start, end = node.get("BANKTRANLIST", "DTSTART"), node.get("BANKTRANLIST", "DTEND")
    if start and end:
        statement.period_from = _time(start, draft, here, "DTSTART").date()
        statement.period_to = _time(end, draft, here, "DTEND").date()
    for line in node.walk("STMTTRN"):
        _line(line, statement, draft)
    balance = node.get("LEDGERBAL", "BALAMT")
    if balance:
        # Kept to be shown: without an opening balance there is nothing to hold it to.
        statement.closing_minor = _amount(balance, statement, draft, here, "BALAMT")


def _amount(text: str, statement: StatementDraft, draft: Draft, here: str, name: str) -> int:
    mark = "," if "," in text and "." not in text else "."
    return draft.amount(text, statement.currency, here, name, decimal_separator=mark)


def _time(text: str, draft: Draft, here: str, name: str) -> datetime:
    """`20090401122017.000[-5:EST]`; no offset means GMT."""
    match = TIME.fullmatch(text.strip())
    if match:
        year, month, day, hour, minute, second, offset = match.groups()
        try:
            zone = timezone(timedelta(hours=float(offset))) if offset else UTC
            found = datetime(
                int(year), int(month), int(day), int(hour or 0), int(minute or 0),
                int(second or 0), tzinfo=zone,
            )  # fmt: skip
        except ValueError:
            pass
        else:
            if plausible(found.year):
                return found
    draft.no_date(text, here, name)
    return datetime(YEAR_MIN, 1, 1, tzinfo=UTC)


def _line(node: Node, statement: StatementDraft, draft: Draft) -> None:
    here = f"line {node.line}"
    posted = node.get("DTPOSTED")
    at = _time(posted, draft, here, "DTPOSTED")
    has_time = len(posted) > 8  # noqa: PLR2004
    number = node.get("FITID")
    if not number:
        draft.once(FindingCode.DEVIATION, here, "no FITID: the line is known by what it says",
                   key="FITID")  # fmt: skip
    word = node.get("TRNTYPE").upper()
    minor = _amount(node.get("TRNAMT"), statement, draft, here, "TRNAMT")
    corrected = node.get("CORRECTFITID")
    statement.add(
        identity=number or None,
        locator=here,
        kind=LineKind.FEE if word in FEES else LineKind.MOVEMENT,
        amount_minor=minor,
        booked_date=at.date(),
        booked_tz=offset_name(at) if has_time else draft.source.iana_tz,
        booked_at_utc=at.astimezone(UTC) if has_time else None,
        bank_ref=node.get("REFNUM") or None,
        # NAME is the other party; what the bank says of the payment is in MEMO.
        remittance=node.get("MEMO") or None,
        raw={tag: found for tag in sorted(KEPT) if (found := node.get(tag))},
        supersedes=f"id:{corrected}" if corrected else None,
    )
