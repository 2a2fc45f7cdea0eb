"""Room: the paths of finance's room for one ledger, and options its commands share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any
from uuid import uuid4

import orjson
import typer

from ledger.cli.remote import PATIENCE_S, Remote
from ledger.forms.names import check_ledger_name

PAGE = 1_000

KeyOption = Annotated[
    str | None, typer.Option(help="Idempotency key, to send the same command again.")
]
NoteOption = Annotated[str | None, typer.Option(help="Words for whoever reads it later.")]


class Room:
    """The paths of finance's room for one ledger."""

    def __init__(self, remote: Remote, ledger: str, key: str | None = None) -> None:
        self._remote = remote
        self._query = {"ledger": check_ledger_name(ledger, "LEDGER")}
        self._key = key

    def get(self, path: str, **query: str | None) -> Any:
        """The answer to a GET."""
        asked = {name: value for name, value in query.items() if value is not None}
        return self._remote.get(f"/v1/recon/{path}", self._query | asked, patience_s=PATIENCE_S)

    def raw(self, path: str, **query: str) -> bytes:
        """The answer to a GET, as it is."""
        return self._remote.send(
            "GET", f"/v1/recon/{path}", query=self._query | query, patience_s=PATIENCE_S
        )

    def all(self, path: str, **query: str | None) -> list[dict[str, Any]]:
        """All pages of a listing."""
        found: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            page = self.get(path, limit=str(PAGE), cursor=cursor, **query)
            found += page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                return found

    def post(self, path: str, words: Mapping[str, Any]) -> Any:
        """The answer to a POST; under one key, however often it is sent."""
        said = {name: value for name, value in words.items() if value is not None}
        return self._remote.post(
            f"/v1/recon/{path}",
            said,
            key=self._key or str(uuid4()),
            query=self._query,
            patience_s=PATIENCE_S,
        )

    def bring(self, content: bytes, query: Mapping[str, str]) -> Any:
        """The answer to a file."""
        headers = {
            "Content-Type": "application/octet-stream",
            "Idempotency-Key": self._key or str(uuid4()),
        }
        answer = self._remote.send(
            "POST",
            "/v1/recon/imports",
            query=self._query | dict(query),
            headers=headers,
            content=content,
            patience_s=PATIENCE_S,
        )
        return orjson.loads(answer)
