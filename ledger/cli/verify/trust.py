"""
Trust: what whoever verifies knows beforehand, and evidence cannot vouch for itself.

The keys of logs, the witnesses and how many of them must agree, and a checkpoint that was kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from ledger.checkpoint import Checkpoint, open_checkpoint, parse_checkpoint, read_checkpoint
from ledger.cli.files import read_file
from ledger.cosignature import cosignatures_of, is_checkable
from ledger.errors import ConsistencyError, MalformedProofError, SettingsError, SignatureError
from ledger.forms.timestamps import from_posix
from ledger.note import VerifierKey, open_note, parse_note
from ledger.policy import Policy, parse_policy
from ledger.rfc3161 import Authorities, load_authorities
from ledger.signing.key_history import read_key

VkeyOption = Annotated[
    list[str] | None,
    typer.Option(help="Verifier key of the ledger that you trust. Repeatable."),
]
KeysOption = Annotated[
    Path | None,
    typer.Option(
        help="File with verifier keys, one per line; with `until SIZE` behind one that was retired."
    ),
]
PolicyOption = Annotated[
    Path | None,
    typer.Option(help="C2SP tlog-policy file: the logs and witnesses that you trust."),
]
TsaCertificatesOption = Annotated[
    Path | None,
    typer.Option(help="PEM file with the roots of the timestamp authorities that you trust."),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Whose signatures count, and what was signed before."""

    logs: tuple[VerifierKey, ...]
    witnesses: tuple[VerifierKey, ...] = ()
    quorum: int = 0
    policy: Policy | None = None
    """Says who else counts, and how many; then there are no `witnesses` beside it."""
    kept: Checkpoint | None = None
    """Of a history that what is shown today must extend."""
    kept_note: bytes | None = None
    """The same as it is in its file."""
    kept_at: datetime | None = None
    """When it was the newest, as witnesses under it say; None where none that is trusted does."""
    authorities: Authorities | None = None
    """Whose timestamps count."""

    def require_logs(self) -> None:
        """
        Refuse to judge what its own sender would have to vouch for.

        Raises:
            SettingsError: No log is trusted.
        """
        if not self.logs:
            raise SettingsError(
                "say whose signature you trust: --vkey with the ledger's verifier key, as `effect-"
                "ledger ledger list` prints it. What is verified cannot vouch for the key itself"
            )

    @property
    def wants_witnesses(self) -> bool:
        """Whether a checkpoint that no witness cosigned is not enough."""
        return self.quorum > 0 or (self.policy is not None and self.policy.quorum is not None)

    def open_log(
        self, read_note: Callable[[bool], bytes]
    ) -> tuple[Checkpoint, Checkpoint | None, tuple[str, ...]]:
        """
        The newest checkpoint of a log, the newest that enough witnesses saw, and who they are.

        The second is None where nobody is asked for, and may be of fewer entries than the first;
        whether the first extends it, is for the caller to prove.

        Args:
            read_note: Reads the newest checkpoint, or with True the newest that is cosigned.

        Raises:
            SignatureError, MalformedProofError: As `open`.
            ConsistencyError: Witnesses have seen more, or another log, than is shown.
        """
        note = read_note(False)
        if not self.wants_witnesses:
            newest, names = self.open(note)
            return newest, None, names
        newest = open_checkpoint(note, self.logs)
        try:
            cosigned, names = self.open(note)
        except SignatureError:
            # It is newer than what they have seen.
            cosigned, names = self.open(read_note(True))
        if cosigned.origin != newest.origin or cosigned.size > newest.size:
            raise ConsistencyError(
                f"witnesses have seen {cosigned.size} entries of {cosigned.origin}, and "
                f"{newest.size} of {newest.origin} are shown"
            )
        return newest, cosigned, names

    def open(self, note: bytes) -> tuple[Checkpoint, tuple[str, ...]]:
        """
        The checkpoint that a trusted log signed, and the witnesses that cosigned it.

        Raises:
            SignatureError: No trusted log signed it, a known key's line is not good, or fewer
                witnesses than must have agreed.
            MalformedProofError: It is no signed checkpoint.
        """
        if self.policy is not None:
            found = self.policy.verify(note, self.logs)
            return found.checkpoint, found.names
        opened = open_note(note, [*self.logs, *self.witnesses])
        checkpoint = read_checkpoint(opened, self.logs)
        seen = cosignatures_of(opened, self.witnesses)
        # By name: one witness with two keys is one witness.
        names = tuple(dict.fromkeys(each.witness.name for each in seen))
        if len(names) < self.quorum:
            raise SignatureError(
                f"expected {self.quorum} of {len(self.witnesses)} witnesses, found {len(names)}",
                expected=self.quorum,
                found=list(names),
            )
        return checkpoint, names

    def unasked(self) -> list[str]:
        """What nobody is asked about witnesses, in words."""
        if self.policy is not None:
            return [
                f"witness {each.name}: its kind of signature cannot be checked here"
                for each in self.policy.witnesses
                if not is_checkable(each.verifier)
            ]
        if self.witnesses:
            return []
        return ["witnesses: give theirs with --policy or --witness to learn whether they saw it"]


def read_trust(
    *,
    vkeys: list[str] | None,
    keys: Path | None,
    witnesses: list[str] | None = None,
    quorum: int = 0,
    policy: Path | None = None,
    checkpoint: Path | None = None,
    tsa_certificates: Path | None = None,
) -> Trust:
    """
    What the options say is trusted.

    Raises:
        SettingsError: A file cannot be read, something is not in its form, or the checkpoint
            that was kept is not signed by a key that is trusted.
    """
    if policy is not None and (witnesses or quorum):
        raise SettingsError("--policy says which witnesses count; leave --witness and --quorum out")
    stated = None if policy is None else parse_policy(read_file(policy))
    logs = (*trusted_keys(vkeys, keys), *_logs_of(stated))
    kept_note = None if checkpoint is None else read_file(checkpoint)
    trust = Trust(
        logs=logs,
        witnesses=_keys(witnesses or []),
        quorum=quorum,
        policy=stated,
        kept=None if kept_note is None else _kept(kept_note, logs, str(checkpoint)),
        kept_note=kept_note,
        authorities=None if tsa_certificates is None else load_authorities(tsa_certificates),
    )
    return replace(trust, kept_at=_kept_at(trust))


def trusted_keys(vkeys: list[str] | None, path: Path | None) -> tuple[VerifierKey, ...]:
    """
    The keys that were given as options, and those in a file, one per line.

    Raises:
        SettingsError: One is none, or the file cannot be read.
    """
    return _keys([*(vkeys or ()), *_lines(path)])


def _logs_of(policy: Policy | None) -> tuple[VerifierKey, ...]:
    return () if policy is None else tuple(log.verifier for log in policy.logs)


def _lines(path: Path | None) -> list[str]:
    if path is None:
        return []
    text = read_file(path).decode(errors="replace")
    return [line.strip() for line in text.splitlines() if line.strip() and line[0] != "#"]


def _keys(vkeys: list[str]) -> tuple[VerifierKey, ...]:
    try:
        return tuple(read_key(vkey) for vkey in vkeys)
    except MalformedProofError as error:
        # The key is the caller's word, not evidence.
        raise SettingsError(error.message) from error


def _kept(note: bytes, logs: tuple[VerifierKey, ...], where: str) -> Checkpoint:
    try:
        # Without keys the file itself is what is trusted.
        return open_checkpoint(note, logs) if logs else parse_checkpoint(parse_note(note).text)
    except (MalformedProofError, SignatureError) as error:
        raise SettingsError(f"the checkpoint in {where} cannot be held: {error.message}") from error


def _kept_at(trust: Trust) -> datetime | None:
    """When the checkpoint that was kept had been seen by enough of the witnesses."""
    if trust.kept_note is None or not trust.logs:
        return None
    if trust.policy is not None:
        reached_at = trust.policy.read(trust.kept_note, trust.logs).reached_at
        return None if reached_at is None else from_posix(reached_at)
    opened = open_note(trust.kept_note, [*trust.logs, *trust.witnesses])
    times = sorted(each.time for each in cosignatures_of(opened, trust.witnesses))
    enough = max(trust.quorum, 1)
    return from_posix(times[enough - 1]) if len(times) >= enough else None
