"""
Home: the directory a witness lives in. Its keys and its memory belong together.

A key without its memory would cosign a rolled back log, and a memory without its key would go on
under another one; neither is begun.
"""

from __future__ import annotations

from pathlib import Path

from ledger.cosignature import CosignerKey, ed25519_cosigner, ml_dsa_44_cosigner
from ledger.errors import MalformedProofError, SettingsError
from ledger.note import ED25519_COSIGNATURE, ML_DSA_44_COSIGNATURE, VerifierKey, check_key_name
from ledger.signing.keys import load_seed, load_signing_key
from ledger.witness.store import WitnessStore

MEMORY = "memory.sqlite"
KEYS = {ED25519_COSIGNATURE: "key.pem", ML_DSA_44_COSIGNATURE: "key-ml-dsa-44"}
"""Algorithm -> name of the file with its private key; made on first use, mode 0600."""


def open_home(
    directory: Path, name: str | None, *, ml_dsa_44: bool = False
) -> tuple[list[CosignerKey], WitnessStore]:
    """
    The keys and the memory of the witness that lives in `directory`, begun where there is none.

    Args:
        directory: Made and closed to others where needed.
        name: Of the witness, for ever; None is the one it began with.
        ml_dsa_44: Whether it cosigns with ML-DSA-44 as well.

    Raises:
        SettingsError: Nothing was begun here and there is no name, the name is another, or key
            and memory do not belong together.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"{directory} cannot be made: {error.strerror}") from error
    memory = directory / MEMORY
    for each in KEYS.values():
        if (directory / each).exists() and not memory.exists():
            raise SettingsError(
                f"{directory} has the key of a witness and not its memory: whoever cosigned and "
                f"forgot would cosign a rolled back log. Bring back {MEMORY}, or begin another "
                "witness, with another name, in another directory"
            )
    # The memory first: a start that is cut short leaves no key without one.
    store = WitnessStore(memory)
    known = {algorithm: VerifierKey.parse(vkey) for algorithm, vkey in store.identity().items()}
    name = _name(directory, name, known)
    algorithms = [ED25519_COSIGNATURE] + [ML_DSA_44_COSIGNATURE] * ml_dsa_44
    return [_key(directory, name, each, known, store) for each in algorithms], store


def _name(directory: Path, name: str | None, known: dict[int, VerifierKey]) -> str:
    names = {verifier.name for verifier in known.values()}
    if name is None:
        if not names:
            raise SettingsError(
                "a new witness needs --name: a URL without scheme, such as witness.example.org/w1"
            )
        [name] = names
    if names and names != {name}:
        raise SettingsError(f"{directory} is the home of {names.pop()}, not of {name}")
    try:
        check_key_name(name)
    except MalformedProofError as error:
        raise SettingsError(error.message) from error
    return name


def _key(
    directory: Path,
    name: str,
    algorithm: int,
    known: dict[int, VerifierKey],
    store: WitnessStore,
) -> CosignerKey:
    path = directory / KEYS[algorithm]
    if algorithm in known and not path.exists():
        raise SettingsError(f"{directory} has the memory of a witness and not its key {path.name}")
    if algorithm == ED25519_COSIGNATURE:
        key = ed25519_cosigner(name, load_signing_key(None, path))
    else:
        key = ml_dsa_44_cosigner(name, load_seed(path))
    vkey = key.verifier.encode()
    if store.claim(algorithm, vkey) != vkey:
        raise SettingsError(f"{path} is not the key that cosigned what {MEMORY} remembers")
    return key
