"""
The outbox: effects leave a service's own database exactly once, in order per subject.

    adding      in the service's transaction: the row is there if the transaction commits
    table       the rows, and all that is said to the database
    sending     rows to the ledger, and what becomes of each
    relay       takes, sends and settles, beside any number of others
    standing    what is there, what is refused, and what a person decides about it
    running     a relay with a client, as a thread or until a signal

    link        whichever connection the caller has: psycopg, sqlite3, SQLAlchemy
    opening     connections of a relay's own
"""

from ledger.client.outbox.adding import Added, add, create
from ledger.client.outbox.relay import Relay, RelayThread
from ledger.client.outbox.running import open_relay, start_relay
from ledger.client.outbox.standing import release, status, withdraw
from ledger.client.outbox.table import DDL

__all__ = [
    "DDL",
    "Added",
    "Relay",
    "RelayThread",
    "add",
    "create",
    "open_relay",
    "release",
    "start_relay",
    "status",
    "withdraw",
]
