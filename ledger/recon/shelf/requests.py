"""Requests: what was answered under each key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from psycopg.types.json import Jsonb

from ledger.errors import IdempotencyConflictError
from ledger.recon.shelf.rows import Rows

SELECT_REQUEST = "select asked, answer from recon_requests where ledger = %s and key = %s"
INSERT_REQUEST = """
insert into recon_requests (ledger, key, asked, answer) values (%s, %s, %s, %s)
on conflict do nothing
"""


class Requests(Rows):
    """The rows of requests."""

    def answer(self, ledger: str, key: str, asked: bytes) -> Mapping[str, Any] | None:
        """
        What this request was answered before.

        Raises:
            IdempotencyConflictError: The key names another request.
        """
        found = self._rows(SELECT_REQUEST, (ledger, key))
        if not found:
            return None
        if bytes(found[0][0]) != asked:
            raise IdempotencyConflictError("the idempotency key already names another request")
        answer: Mapping[str, Any] = found[0][1]
        return answer

    def keep_answer(self, ledger: str, key: str, asked: bytes, answer: Mapping[str, Any]) -> None:
        """Remember an answer for whoever asks the same again."""
        self._write(INSERT_REQUEST, (ledger, key, asked, Jsonb(answer)))
