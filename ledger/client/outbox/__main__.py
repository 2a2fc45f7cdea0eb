"""The relay's command, for whoever has the client alone: what it tells is one JSON object."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path
from typing import Any

import orjson

from ledger.client.outbox.command import Wanted, perform
from ledger.client.outbox.running import DATABASE_VARIABLE, LEASE_S
from ledger.errors import DatabaseUnavailableError, LedgerError

BAD_INPUT = 2
NOBODY = 3
"""The ledger or the database does not answer, or not now."""


class _Line(logging.Formatter):
    """A record as one line, with the fields that stand beside its words."""

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = getattr(record, "fields", {})
        beside = "".join(f" {name}={value}" for name, value in fields.items())
        return super().format(record) + beside


def main(arguments: list[str] | None = None) -> int:
    """Run the command; its exit code."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Line("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    # Each request has a line otherwise.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    wanted = _wanted(arguments)
    try:
        code, told = perform(wanted)
    except LedgerError as error:
        sys.stderr.write(f"outbox: {error.message}\n")
        is_not_now = getattr(error, "action", None) == "retry-with-backoff"
        return NOBODY if is_not_now or isinstance(error, DatabaseUnavailableError) else BAD_INPUT
    sys.stdout.write(orjson.dumps(told, default=str).decode() + "\n")
    return code


def _wanted(arguments: list[str] | None) -> Wanted:
    parser = argparse.ArgumentParser(
        prog="python -m ledger.client.outbox",
        description="Hand off what services left in the outbox of their database, until SIGTERM. "
        "Reads EFFECT_LEDGER_URL and EFFECT_LEDGER_KEY.",
    )
    database = os.environ.get(DATABASE_VARIABLE)
    add = parser.add_argument
    add("--database-url", dest="database", default=database, required=database is None)
    add("--once", action="store_true", help="hand off what is there, and end")
    add("--status", action="store_true", help="show what is in the outbox, and end")
    add("--create", action="store_true", help="make the outbox's table, and end")
    add("--ddl", action="store_true", help="print the table for your own migrations, and end")
    add("--release", action="append", default=[], metavar="KEY", help="needs --reason")
    add("--withdraw", action="append", default=[], metavar="KEY", help="needs --reason")
    add("--reason", help="why it is released or withdrawn")
    add("--ledger", help="of the key, where several ledgers have it")
    add("--receipts", type=Path, help="keep receipts below this directory, too")
    add("--vkey", action="append", default=[], help="verifier key of the ledger that you trust")
    add("--lease", dest="lease_s", type=float, default=LEASE_S, help="seconds")
    add("--keep", help="delete rows that were handed off after 12h, 30d")
    return Wanted(**vars(parser.parse_args(arguments)))


if __name__ == "__main__":
    sys.exit(main())
