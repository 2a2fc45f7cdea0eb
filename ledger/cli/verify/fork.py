"""Evidence of a fork, as a watch keeps it: good evidence is bad news of the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ledger.cli.verify.judgement import Judgement
from ledger.cli.verify.trust import Trust
from ledger.errors import ConsistencyError, SettingsError
from ledger.watch.evidence import verify_evidence

_NOT_CHECKED = (
    "which of the two histories is the right one",
    "what entries say: evidence of a fork holds none",
)


def judge_fork(document: Mapping[str, Any], trust: Trust) -> Judgement:
    """
    What evidence of a fork proves: that its log signed two histories.

    Raises:
        SettingsError: One history can have both checkpoints, so nothing is known against it.
        SignatureError, MalformedProofError: As `verify_evidence`.
    """
    try:
        found = verify_evidence(document, trust.logs)
    except ConsistencyError as error:
        raise SettingsError(f"this proves no fork: {error.message}") from error
    old, new = found.old, found.new
    told = {
        "origin": old.origin,
        "size": old.size,
        "root": old.root.hex(),
        "other_size": new.size,
        "other_root_there": found.old_root.hex(),
    }
    return Judgement(
        subject="the ledger",
        verdicts={"tamper": "bad", "completeness": "bad", "time": "unchecked"},
        level="log-signed",
        document=told,
        told=told,
        not_checked=_NOT_CHECKED,
        first_bad={
            "check": "fork",
            "seq": None,
            "message": f"two histories were signed: at {old.size} entries one has the root "
            f"{old.root.hex()}, and the one of {new.size} has {found.old_root.hex()}",
        },
    )
