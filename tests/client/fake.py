"""A service that misbehaves on purpose, on a real socket, and signs what it says it recorded."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.canonical import canonical_bytes
from ledger.checkpoint import Checkpoint, sign_checkpoint
from ledger.forms.payload import SALT_BYTES, build_payloads, commitment
from ledger.merkle import leaf_hash
from ledger.note import NoteKey
from ledger.receipt import Receipt, TlogProof

LEDGER = "shop"
KEY = NoteKey(
    name=f"ledger.example/{LEDGER}", private_key=Ed25519PrivateKey.from_private_bytes(b"L" * 32)
)
VKEY = KEY.verifier.encode()
# Made once: reading the certificates of the world takes longer than most tests.
CERTIFICATES = ssl.create_default_context()
SALT = b"s" * SALT_BYTES
EFFECT = {
    "type": "card.capture",
    "occurred_at": "2026-03-02T09:15:00Z",
    "money": {"amount": "19.99", "currency": "EUR", "flow": "in"},
}


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A request as it arrived."""

    line: str
    headers: Mapping[str, str]
    body: bytes
    at: float


Behaviour = Callable[[socket.socket, Seen], None]


@dataclass(kw_only=True)
class FakeService:
    """Behaves to each request as the script says; to the last one for ever."""

    script: list[Behaviour]
    port: int = 0
    seen: list[Seen] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def serve(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            try:
                request = _read(connection)
                self.seen.append(request)
                self.script[min(len(self.seen), len(self.script)) - 1](connection, request)
            except OSError:
                # The client has hung up, which is its good right.
                return


def _read(connection: socket.socket) -> Seen:
    text = b""
    while b"\r\n\r\n" not in text:
        text += connection.recv(65_536) or _hung_up()
    head, _, body = text.partition(b"\r\n\r\n")
    line, *fields = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (each.partition(": ") for each in fields)}
    while len(body) < int(headers.get("content-length", 0)):
        body += connection.recv(65_536) or _hung_up()
    return Seen(line=line, headers=headers, body=body, at=time.monotonic())


def _hung_up() -> bytes:
    raise ConnectionError("the client hung up")


@contextmanager
def fake_service(*script: Behaviour) -> Iterator[FakeService]:
    service = FakeService(script=list(script))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        service.port = listener.getsockname()[1]
        thread = threading.Thread(target=service.serve, args=(listener,), daemon=True)
        thread.start()
        try:
            yield service
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


# ---- Behaviours -----------------------------------------------------------------------


def answers(status: int, document: Any, **headers: str) -> Behaviour:
    """Answers with JSON, or with bytes as they are."""
    content = document if isinstance(document, bytes) else orjson.dumps(document)
    return lambda connection, _seen: connection.sendall(_http(status, content, headers))


def problem(action: str | None, status: int = 503, **members: Any) -> Behaviour:
    """Answers with a problem; without a member where it is None."""
    document = {
        "status": status,
        "detail": "as the script says",
        "code": "LEDGER_BUSY",
        "world": "RML2",
        "action": action,
        "reason": "service.busy",
        "retryable": action == "retry-with-backoff",
        "retry_after_ms": None,
        "details": {},
    } | members
    return answers(status, {k: v for k, v in document.items() if v is not None})


def records(connection: socket.socket, seen: Seen) -> None:
    """Records what was sent, and proves it."""
    connection.sendall(_http(201, orjson.dumps(recorded_document(seen)), {}))


def lies(**members: Any) -> Behaviour:
    """Records something else than was sent, under a signature that is good."""

    def behave(connection: socket.socket, seen: Seen) -> None:
        connection.sendall(_http(201, orjson.dumps(recorded_document(seen, **members)), {}))

    return behave


def drops(_connection: socket.socket, _seen: Seen) -> None:
    """Hangs up without a word."""


def resets(connection: socket.socket, _seen: Seen) -> None:
    """Breaks the connection off, as a host does that dies."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def halves(connection: socket.socket, seen: Seen) -> None:
    """Answers, and breaks off in the middle."""
    whole = _http(201, orjson.dumps(recorded_document(seen)), {})
    connection.sendall(whole[: len(whole) - 40])


def sleeps(seconds: float) -> Behaviour:
    """Says nothing for so long, and then answers."""

    def behave(connection: socket.socket, seen: Seen) -> None:
        time.sleep(seconds)
        records(connection, seen)

    return behave


def drips(connection: socket.socket, seen: Seen) -> None:
    """Answers octet by octet, so that there is always a little more."""
    whole = _http(201, orjson.dumps(recorded_document(seen)), {})
    connection.sendall(whole[:150])
    for octet in whole[150:]:
        connection.sendall(bytes([octet]))
        time.sleep(0.02)


def recorded_document(seen: Seen, **members: Any) -> dict[str, Any]:
    """What a ledger of one entry answers."""
    said = orjson.loads(seen.body)
    payloads = [
        {
            "name": each.name,
            "media_type": each.media_type,
            "commitment": commitment(SALT, each.content).hex(),
        }
        for each in build_payloads(said.pop("payloads", ()), note=said.pop("note", None))
    ]
    effect = {
        **said,
        "kind": "effect",
        "key": seen.headers.get("idempotency-key", ""),
        **members,
    }
    place = {
        "id": "01890a5d-ac96-774b-bcce-b302099a8057",
        "ledger": LEDGER,
        "recorded_at": "2026-03-02T09:15:01.000000Z",
        "seq": 0,
    }
    words = {**place, "effect": effect, "prev": "0" * 64, "v": 1}
    entry = canonical_bytes(words | ({"payloads": payloads} if payloads else {}))
    hashed = leaf_hash(entry)
    note = sign_checkpoint(Checkpoint(origin=KEY.name, size=1, root=hashed), KEY)
    proof = TlogProof(index=0, hashes=(), checkpoint_note=note).encode()
    receipt = Receipt(level="log-signed", proof=proof, entry=entry)
    return {
        **place,
        "entry_hash": hashed.hex(),
        "world": "RML3",
        "replayed": False,
        "receipt": receipt.to_document(),
        "payloads": [
            {**each, "salt": b64encode(SALT).decode(), "erased": False} for each in payloads
        ],
    }


def _http(status: int, content: bytes, headers: Mapping[str, str]) -> bytes:
    fields = {
        "Content-Type": "application/json",
        "Content-Length": str(len(content)),
        "Connection": "close",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} As It Is\r\n{head}\r\n".encode() + content
