"""Timestamp authorities for tests: openssl signs, with certificates made for the occasion."""

from __future__ import annotations

import http.server
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = timedelta(days=1)
CONFIG = """
[tsa]
default_tsa = one
[one]
serial = {home}/serial
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha512
accuracy = secs:1
ess_cert_id_alg = sha256
"""


@dataclass(kw_only=True)
class Authority:
    """A root, a certificate for timestamps under it, and openssl to use them."""

    home: Path
    refuses: bool = False
    """Whether it answers 503, as one that is away."""
    queries: list[bytes] = field(default_factory=list)

    @property
    def root(self) -> Path:
        return self.home / "root.pem"

    def reply(self, query: bytes) -> bytes:
        """What openssl answers to a query."""
        (self.home / "query.tsq").write_bytes(query)
        openssl(
            *("ts", "-reply", "-config", self.home / "tsa.cnf", "-section", "one"),
            *("-queryfile", self.home / "query.tsq", "-out", self.home / "reply.tsr"),
            *("-signer", self.home / "tsa.pem", "-inkey", self.home / "tsa.key"),
        )
        return (self.home / "reply.tsr").read_bytes()


def authority(home: Path, *, until: timedelta = 30 * DAY, for_timestamps: bool = True) -> Authority:
    """
    A new authority that lives in `home`.

    Args:
        home: A directory of its own.
        until: How long from now its certificate is valid; negative where it has expired.
        for_timestamps: Whether its certificate is for that.
    """
    home.mkdir(parents=True, exist_ok=True)
    (home / "tsa.cnf").write_text(CONFIG.format(home=home))
    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root_name, now = _name(f"Root of {home.name}"), datetime.now(UTC)
    valid = {"not_before": now - 60 * DAY, "not_after": now + 60 * DAY}
    root = (
        _certificate(root_name, root_name, root_key.public_key(), **valid)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(root_key, hashes.SHA256())
    )
    usage = ExtendedKeyUsageOID.TIME_STAMPING if for_timestamps else ExtendedKeyUsageOID.SERVER_AUTH
    valid["not_after"] = now + until
    leaf = (
        _certificate(_name(f"Authority of {home.name}"), root_name, key.public_key(), **valid)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=True)
        .sign(root_key, hashes.SHA256())
    )
    (home / "root.pem").write_bytes(root.public_bytes(Encoding.PEM))
    (home / "tsa.pem").write_bytes(leaf.public_bytes(Encoding.PEM))
    (home / "tsa.key").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    return Authority(home=home)


def found_openssl() -> str:
    """Where openssl is; what it signs cannot be replaced by anything of ours."""
    found = shutil.which("openssl")
    if found is None:
        pytest.skip("there is no openssl here")
    return found


def openssl(*arguments: str | Path) -> str:
    """Run openssl, which must succeed; what it printed."""
    done = subprocess.run(
        [found_openssl(), *map(str, arguments)], capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def openssl_verifies(token: Path, data: Path, root: Path) -> bool:
    """Whether `openssl ts -verify` finds a token good."""
    arguments = ["-verify", "-in", token, "-data", data, "-CAfile", root]
    done = subprocess.run(
        [found_openssl(), "ts", *map(str, arguments)],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    return done.returncode == 0 and "Verification: OK" in done.stdout + done.stderr


@contextmanager
def listening(serves: Authority) -> Iterator[str]:
    """The authority over HTTP (RFC 3161 Section 3.4) until the block ends; its URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = self.rfile.read(int(self.headers["Content-Length"]))
            if serves.refuses or self.headers["Content-Type"] != "application/timestamp-query":
                self.send_error(503)
                return
            serves.queries.append(query)
            reply = serves.reply(query)
            self.send_response(200)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *_words: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


def _name(words: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, words)])


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    *,
    not_before: datetime,
    not_after: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
    )
