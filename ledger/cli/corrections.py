"""Corrections: refunds, adjustments and explanations, each a forward entry about an earlier one."""

from __future__ import annotations

from typing import Any

from ledger.cli.words import CorrectionWords, send, takes
from ledger.errors import SettingsError
from ledger.forms.grammar import UUID

TARGETS = ("corrects", "corrects_key", "corrects_external")


@takes(CorrectionWords)
def refund(words: CorrectionWords) -> None:
    """Record money taken back from an effect, in whole or in part."""
    body = _body(words, "refund")
    if isinstance(body.get("money"), dict):
        # Of what came in. A refund of a payout flows in, and says so.
        body["money"].setdefault("flow", "out")
    send(words, "/corrections", body)


@takes(CorrectionWords)
def adjust(words: CorrectionWords) -> None:
    """Record a signed change of an amount, or of what has none."""
    send(words, "/corrections", _body(words, "adjustment"))


@takes(CorrectionWords)
def explain(words: CorrectionWords) -> None:
    """Record words about an entry, kept as an erasable payload."""
    send(words, "/corrections", _body(words, "explanation"))


def _body(words: CorrectionWords, kind: str) -> dict[str, Any]:
    body = words.body() | {"kind": kind}
    if sum(name in body for name in TARGETS) != 1:
        raise SettingsError(
            "say which entry it corrects: its ID, or --corrects-key, or --corrects-external"
        )
    if "corrects" in body and not UUID.fullmatch(str(body["corrects"])):
        raise SettingsError(
            "the ID of an entry is a UUID, as `effect-ledger show` prints it for a seq or a key"
        )
    body.setdefault("type", kind)
    return body
