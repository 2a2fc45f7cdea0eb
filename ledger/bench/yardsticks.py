"""
Yardsticks: the same bytes through PostgreSQL alone, on the same server, in the same run.

What no service on this machine could do better, whatever it was written in.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import psycopg

from ledger.bench.load import percentile
from ledger.errors import SettingsError

SCHEMA = "effect_ledger_bench"

CREATE_SCHEMA = f"drop schema if exists {SCHEMA} cascade; create schema {SCHEMA}"

CREATE_ROWS = f"""
create table {SCHEMA}.rows (seq bigserial primary key, key text unique, body bytea not null)
"""

INSERT_ROW = f"insert into {SCHEMA}.rows (key, body) values (%s, %b)"  # noqa: S608 - our own name

# Same columns, same indexes, no triggers: what COPY would have to keep up as well.
CREATE_TWIN = f"create table {SCHEMA}.entries (like effect_ledger.entries including all)"

SELECT_COLUMNS = """
select attname, format_type(atttypid, null) from pg_attribute
where attrelid = 'effect_ledger.entries'::regclass and attnum > 0 and not attisdropped
order by attnum
"""

SCAN = "select body from effect_ledger.entries where ledger = %s and seq >= %s and seq < %s"

SELECT_RANGE = """
select * from effect_ledger.entries where ledger = %s and seq >= %s and seq < %s
"""


def pgbench(
    binaries: Path, conninfo: str, *, clients: int, seconds: float, row_bytes: int
) -> float:
    """
    Commits per second of a prepared one-row insert with a unique key.

    Raises:
        SettingsError: There is no pgbench among PostgreSQL's programs.
    """
    program = binaries / "pgbench"
    if not program.is_file():
        raise SettingsError(f"there is no pgbench in {binaries}")
    values = f"(gen_random_uuid()::text, decode(repeat('ab', {row_bytes}), 'hex'))"
    script = f"insert into {SCHEMA}.rows (key, body) values {values};\n"  # noqa: S608 - our own
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as file:
        file.write(script)
        file.flush()
        done = subprocess.run(  # noqa: S603 - PostgreSQL's own program
            [
                *(str(program), "--no-vacuum", "--protocol=prepared", f"--client={clients}"),
                *(f"--jobs={os.cpu_count()}", f"--time={seconds:.0f}", f"--file={file.name}"),
                conninfo,
            ],
            check=True,
            capture_output=True,
            text=True,
        )
    found = re.search(r"tps = ([0-9.]+)", done.stdout)
    assert found is not None, done.stdout
    return float(found[1])


def prepare(connection: psycopg.Connection[Any]) -> None:
    """Make the tables that yardsticks write to."""
    connection.execute(CREATE_SCHEMA)
    connection.execute(CREATE_ROWS)
    connection.execute(CREATE_TWIN)


def insert_and_commit_ms(conninfo: str, *, seconds: float, row_bytes: int) -> float:
    """Median milliseconds of one INSERT and its COMMIT through psycopg, one after the other."""
    took = []
    with psycopg.connect(conninfo) as connection:
        ends_at = time.perf_counter() + seconds
        while (began := time.perf_counter()) < ends_at:
            connection.execute(INSERT_ROW, (os.urandom(16).hex(), os.urandom(row_bytes)))
            connection.commit()
            took.append(time.perf_counter() - began)
    return 1_000 * percentile(sorted(took), 50)


def copy_rows(conninfo: str, ledger: str, *, connections: int, batch: int, seconds: float) -> float:
    """
    Rows per second by binary COPY into a twin of the entries table, a commit for each batch.

    Args:
        conninfo: Of a role that may read the entries and write the twin.
        ledger: Whose first entries are the rows; it has at least `batch` of them.
        connections: Each copies on its own.
        batch: Rows of one COPY.
        seconds: How long.
    """
    with psycopg.connect(conninfo) as connection:
        columns = connection.execute(SELECT_COLUMNS).fetchall()
        rows = connection.execute(SELECT_RANGE, (ledger, 0, batch), binary=True).fetchall()
    assert len(rows) == batch, f"the ledger has only {len(rows)} entries"
    copied = [0] * connections
    ends_at = time.perf_counter() + seconds

    def copy(worker: int) -> None:
        with psycopg.connect(conninfo) as connection:
            number = 0
            while time.perf_counter() < ends_at:
                # The rows of the ledger, each time in a ledger of their own: keys are unique.
                name = f"copy-{worker}-{number}"
                with connection.cursor().copy(
                    f"copy {SCHEMA}.entries from stdin with (format binary)"
                ) as sink:
                    sink.set_types([kind for _, kind in columns])
                    for row in rows:
                        sink.write_row((name, *row[1:]))
                connection.commit()
                copied[worker] += batch
                number += 1

    began = time.perf_counter()
    threads = [threading.Thread(target=copy, args=(worker,)) for worker in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(copied) / (time.perf_counter() - began)


def scan_and_hash(conninfo: str, ledger: str, size: int, *, chunk: int = 2_048) -> float:
    """Entries per second of reading all entry bytes and taking their SHA-256, in one process."""
    began = time.perf_counter()
    seen = 0
    with psycopg.connect(conninfo, autocommit=True) as connection:
        for start in range(0, size, chunk):
            bounds = (ledger, start, start + chunk)
            for (body,) in connection.execute(SCAN, bounds, binary=True):
                sha256(b"\0" + body).digest()
                seen += 1
    assert seen == size, f"expected {size} entries, found {seen}"
    return seen / (time.perf_counter() - began)


def reads_ms(conninfo: str, ledger: str, seqs: Sequence[int], *, rows: int) -> list[float]:
    """Milliseconds of reading `rows` entries by primary key from each of `seqs` on, sorted."""
    took = []
    with psycopg.connect(conninfo, autocommit=True) as connection:
        for seq in seqs:
            began = time.perf_counter()
            connection.execute(SELECT_RANGE, (ledger, seq, seq + rows), binary=True).fetchall()
            took.append(1_000 * (time.perf_counter() - began))
    return sorted(took)
