"""A real service, logs of many sizes in it, and the programs of others that read them."""

from __future__ import annotations

import functools
import itertools
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.support import item
from tests.integration.commands import Shell, settled_directory
from tests.interop.tools import Ended, Program, build_fsck, build_reader

BATCH = 1_000
SHUTDOWN_POLL_S = 0.01
LEDGERS = itertools.count()


@dataclass(frozen=True, kw_only=True)
class Log:
    """One ledger of the running service."""

    shell: Shell
    ledger: str
    vkey: str
    vkey_file: Path
    http: httpx.Client = field(repr=False)

    @property
    def url(self) -> str:
        """Prefix of its tiles."""
        return f"{self.shell.variables['EFFECT_LEDGER_URL']}/v1/ledgers/{self.ledger}/log"

    @property
    def token(self) -> str:
        """A key that reads it."""
        return self.shell.variables["EFFECT_LEDGER_KEY"]

    def grow(self, start: int, stop: int) -> None:
        """Record effects `start` to `stop`, a thousand at a time."""
        for first in range(start, stop, BATCH):
            items = [item(f"k{seq}") for seq in range(first, min(stop, first + BATCH))]
            answer = self.http.post(
                f"/v1/ledgers/{self.ledger}/batch", json={"mode": "atomic", "items": items}
            )
            assert answer.status_code == 200, answer.text
            assert answer.json()["recorded"] == len(items)

    def read(self, path: str) -> bytes:
        """What the service answers under the ledger."""
        return self.http.get(f"/v1/ledgers/{self.ledger}{path}").raise_for_status().content


@pytest.fixture(scope="session")
def shell() -> Iterator[Shell]:
    """A shell beside a running service, with a key for everything."""
    with settled_directory() as base:
        alone = Shell(data_dir=base / "data")
        with alone.serving() as (_, announced):
            made = alone.good("key", "create", "--name", "tester", "--scope", "*")
            yield alone.set(URL=announced["url"], KEY=made["key"])


@pytest.fixture(scope="session")
def http(shell: Shell) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {shell.variables['EFFECT_LEDGER_KEY']}"}
    url = shell.variables["EFFECT_LEDGER_URL"]
    with httpx.Client(base_url=url, headers=headers, timeout=60) as client:
        yield client


@pytest.fixture(scope="session")
def make_log(
    shell: Shell, http: httpx.Client, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Log]:
    """`make_log(size, *arguments of ledger create)` -> a new one."""
    keys = tmp_path_factory.mktemp("vkeys")

    def make(size: int = 0, *arguments: str) -> Log:
        made = shell.good("ledger", "create", f"interop-{next(LEDGERS)}", *arguments)
        vkey_file = keys / made["ledger"]
        vkey_file.write_text(made["vkey"] + "\n")
        log = Log(
            shell=shell, ledger=made["ledger"], vkey=made["vkey"], vkey_file=vkey_file, http=http
        )
        log.grow(0, size)
        return log

    return make


@pytest.fixture(scope="session")
def log_of(make_log: Callable[..., Log]) -> Callable[[int], Log]:
    """`log_of(size)` -> a private log of that size, the same one each time."""
    return functools.cache(make_log)


@pytest.fixture(scope="session")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """Verifies logs and receipts with golang.org/x/mod."""
    return build_reader(tmp_path_factory.mktemp("reader"))


@pytest.fixture(scope="session")
def fsck(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """Verifies logs with Tessera."""
    return build_fsck(tmp_path_factory.mktemp("fsck"))


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A log in files, as `export` wrote it, and one receipt."""

    directory: Path
    vkey_file: Path
    proof: bytes
    entry: bytes


@pytest.fixture(scope="session")
def kept(log_of: Callable[[int], Log], tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """The export of a log of 600 entries; not to be changed."""
    log = log_of(600)
    directory = tmp_path_factory.mktemp("kept")
    log.shell.good(*("export", "--tiles", directory, log.ledger, "--vkey", log.vkey))
    receipt = json.loads(log.read("/entries/77/receipt"))
    return Kept(
        directory=directory,
        vkey_file=log.vkey_file,
        proof=receipt["proof"].encode(),
        entry=receipt["entry"].encode(),
    )


@contextmanager
def served(directory: Path) -> Iterator[str]:
    """A directory over HTTP, by the plainest of file servers: its URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(directory)))
    thread = threading.Thread(target=server.serve_forever, args=(SHUTDOWN_POLL_S,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Nobody reads a line per tile."""


def good(ended: Ended) -> dict[str, Any]:
    """What a program found, which must be that all is well."""
    assert ended.code == 0, ended.said
    found: dict[str, Any] = json.loads(ended.out)
    return found
