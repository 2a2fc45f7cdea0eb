"""What the tests of the HTTP skin speak with: a client of one ledger, and requests to send."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import httpx
import orjson

NOBODYS_ID = "01890a5d-ac96-774b-bcce-b302099a8057"
"""In the form of an entry's id, and none."""

Headers = Mapping[str, str | bytes] | Sequence[tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class Api:
    """One ledger of a running service, spoken to with one key."""

    http: httpx.Client
    ledger: str
    token: str | None
    make_key: Callable[..., str]
    """`make_key(*scopes, principal=..., ledgers=...)` -> a key."""

    def with_key(self, *scopes: str, principal: str = "tester", ledgers: Any = None) -> Api:
        """The same ledger, spoken to with another key."""
        return replace(self, token=self.make_key(*scopes, principal=principal, ledgers=ledgers))

    def without_key(self) -> Api:
        """The same ledger, spoken to by a stranger."""
        return replace(self, token=None)

    def on(self, ledger: str) -> Api:
        """Another ledger, spoken to with the same key."""
        return replace(self, ledger=ledger)

    def url(self, path: str) -> str:
        """The whole path of `path` under this ledger."""
        return f"/v1/ledgers/{self.ledger}{path}"

    def headers(self, key: str | None, more: Headers = ()) -> list[tuple[bytes, bytes]]:
        """Everything that goes beside a body."""
        pairs: list[tuple[str, str | bytes]] = []
        if self.token is not None:
            pairs.append(("Authorization", f"Bearer {self.token}"))
        if key is not None:
            pairs.append(("Idempotency-Key", key))
        pairs += more.items() if isinstance(more, Mapping) else more
        return [
            (name.encode(), value if isinstance(value, bytes) else value.encode())
            for name, value in pairs
        ]

    def get(self, path: str, headers: Headers = (), **query: Any) -> httpx.Response:
        """GET under this ledger."""
        return self.http.get(
            self.url(path), headers=self.headers(None, headers), params=query or None
        )

    def post(
        self, path: str, body: Any, *, key: str | None = None, headers: Headers = ()
    ) -> httpx.Response:
        """POST JSON under this ledger."""
        more = [*(headers.items() if isinstance(headers, Mapping) else headers)]
        more.append(("Content-Type", "application/json"))
        return self.send(path, orjson.dumps(body), key=key, headers=more)

    def send(
        self, path: str, raw: bytes, *, key: str | None = None, headers: Headers = ()
    ) -> httpx.Response:
        """POST these bytes under this ledger."""
        return self.http.post(self.url(path), content=raw, headers=self.headers(key, headers))


def capture(amount: str = "19.99", **members: Any) -> dict[str, Any]:
    """An effect with money."""
    return {
        "type": "card.capture",
        "occurred_at": "2026-03-02T09:15:00Z",
        "money": {"amount": amount, "currency": "EUR", "flow": "in"},
    } | members


def refund(amount: str, **members: Any) -> dict[str, Any]:
    """A refund of such an effect."""
    return {
        "type": "card.refund",
        "occurred_at": "2026-03-03T09:15:00Z",
        "reason": "customer.request",
        "money": {"amount": amount, "currency": "EUR", "flow": "out"},
    } | members


def item(key: str, **members: Any) -> dict[str, Any]:
    """An effect as an item of a batch."""
    return {"kind": "effect", "key": key, **capture(), **members}
