"""
Seal: a visible PAdES signature on a finished report, by pyHanko (extra `pdf-seal`).

The last step: the report is the same without it, and its bytes differ with each seal. PAdES
baseline B, or T where a timestamp authority is asked (ETSI EN 319 142-1).
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from ledger.errors import SettingsError

FIELD = "Seal"
_BOX = (330, 32, 545, 74)
"""On the first page, in points from its lower left."""


def seal(pdf: bytes, *, pkcs12: Path, passphrase: str, tsa_url: str | None = None) -> bytes:
    """
    The sealed PDF.

    Args:
        pdf: The report.
        pkcs12: File with key and certificates.
        passphrase: Of that file.
        tsa_url: RFC 3161 authority whose time is put under the seal.

    Raises:
        SettingsError: pyHanko is not installed, or the file cannot be opened.
    """
    try:
        from pyhanko import stamp
        from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
        from pyhanko.sign import fields, signers, timestamps
    except ImportError as error:
        raise SettingsError(
            "a seal needs pyHanko: pip install 'effect-ledger[pdf-seal]'"
        ) from error
    load: Any = signers.SimpleSigner.load_pkcs12
    signer = load(str(pkcs12), passphrase=passphrase.encode())
    if signer is None:
        raise SettingsError(f"{pkcs12} cannot be opened: is the passphrase right?")
    writer = IncrementalPdfFileWriter(io.BytesIO(pdf))
    box = fields.SigFieldSpec(FIELD, on_page=0, box=_BOX)
    fields.append_signature_field(writer, box)
    sealed = io.BytesIO()
    signers.PdfSigner(
        signers.PdfSignatureMetadata(
            field_name=FIELD,
            certify=True,
            subfilter=fields.SigSeedSubFilter.PADES,
            docmdp_permissions=fields.MDPPerm.NO_CHANGES,
        ),
        signer=signer,
        timestamper=None if tsa_url is None else timestamps.HTTPTimeStamper(tsa_url),
        stamp_style=stamp.TextStampStyle(stamp_text="Sealed by %(signer)s\n%(ts)s", border_width=1),
    ).sign_pdf(writer, output=sealed)
    return sealed.getvalue()
