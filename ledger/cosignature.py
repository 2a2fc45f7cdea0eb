"""
Cosignatures: a witness's word that a checkpoint was, at a time, the largest tree it had seen.

Here they are signed, and read from a note that was opened. What exactly is under such a line, and
whether it is good, `note` knows; how many of them are enough is for `policy`.
https://c2sp.org/tlog-cosignature
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.errors import SettingsError
from ledger.note import (
    COSIGNATURES,
    ED25519_COSIGNATURE,
    ML_DSA_44_COSIGNATURE,
    TIME_END,
    Note,
    Signature,
    VerifierKey,
    check_key_name,
    dated_text,
    dated_tree,
    key_id,
    split_time,
)

# ---- Signing --------------------------------------------------------------------------


class _PublicKey(Protocol):
    def public_bytes_raw(self) -> bytes: ...


class _PrivateKey(Protocol):
    def public_key(self) -> _PublicKey: ...

    def sign(self, data: bytes) -> bytes: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CosignerKey:
    """A private key with the name it cosigns under; one key has one name."""

    name: str
    algorithm: int
    private_key: _PrivateKey = field(repr=False)

    def __post_init__(self) -> None:
        check_key_name(self.name)
        assert self.algorithm in COSIGNATURES, f"type {self.algorithm:#04x} does not cosign"

    @property
    def verifier(self) -> VerifierKey:
        """The public half."""
        public_key = self.private_key.public_key().public_bytes_raw()
        return VerifierKey(
            name=self.name,
            key_id=key_id(self.name, self.algorithm, public_key),
            algorithm=self.algorithm,
            public_key=public_key,
        )

    def sign(self, text: str, *, time: int) -> Signature:
        """
        The line that says that `text` was the largest checkpoint seen.

        Args:
            text: Text of a checkpoint without extension lines, with its final line end.
            time: POSIX seconds. Not 0, which would say nothing about what was the largest.
        """
        assert 0 < time < TIME_END, f"nothing was seen at {time}"
        if self.algorithm == ED25519_COSIGNATURE:
            message = dated_text(time, text)
        else:
            message = dated_tree(self.name, time, text)
        return Signature(
            name=self.name,
            key_id=self.verifier.key_id,
            signature=time.to_bytes(8) + self.private_key.sign(message),
        )


def ed25519_cosigner(name: str, private_key: Ed25519PrivateKey) -> CosignerKey:
    """The key that cosigns as every witness does; never one that signs for a log as well."""
    return CosignerKey(name=name, algorithm=ED25519_COSIGNATURE, private_key=private_key)


def ml_dsa_44_cosigner(name: str, seed: bytes) -> CosignerKey:
    """
    The key that cosigns so that a quantum computer cannot.

    Args:
        name: Of the witness; it is under the signature too.
        seed: 32 bytes, secret.

    Raises:
        SettingsError: What is installed here cannot sign with ML-DSA-44.
    """
    # Imported where it is needed: older releases of cryptography do not have it.
    try:
        from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

        private_key = MLDSA44PrivateKey.from_seed_bytes(seed)
    except (ImportError, UnsupportedAlgorithm) as error:
        raise SettingsError(
            "ML-DSA-44 cannot be signed with here: it needs a newer release of cryptography"
        ) from error
    return CosignerKey(name=name, algorithm=ML_DSA_44_COSIGNATURE, private_key=private_key)


# ---- Reading --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Cosignature:
    """One line of a witness."""

    witness: VerifierKey
    time: int
    """POSIX seconds at which the witness says it had seen nothing larger."""
    line: Signature


def cosignatures_of(opened: Note, witnesses: Sequence[VerifierKey]) -> tuple[Cosignature, ...]:
    """
    What `witnesses` say of a note, in the order of its lines.

    A line that names no time is left out: it does not say that anything was the largest.

    Args:
        opened: As `open_note` gave it for these witnesses, so that every line is good.
        witnesses: Keys that cosign.
    """
    known = {
        (witness.name, witness.key_id): witness
        for witness in witnesses
        if witness.algorithm in COSIGNATURES
    }
    found = []
    for line in opened.signatures:
        witness = known.get((line.name, line.key_id))
        if witness is not None:
            time, _ = split_time(line.signature)
            if time:
                found.append(Cosignature(witness=witness, time=time, line=line))
    return tuple(found)


def is_checkable(verifier: VerifierKey) -> bool:
    """Whether what is installed here can check this key's signatures at all."""
    if verifier.algorithm != ML_DSA_44_COSIGNATURE:
        return True
    try:
        from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

        MLDSA44PublicKey.from_public_bytes(verifier.public_key)
    except (ImportError, UnsupportedAlgorithm):
        return False
    except ValueError:
        # Checkable, and no signature will be good under it.
        return True
    return True
